use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use openssl::x509::X509Ref;
use portcullis_plugin::UnixTime;
use sha2::{Digest, Sha256};
use x509_parser::{
    asn1_rs::Any,
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension, X509Extension},
    prelude::FromDer,
};

use crate::{Fault, name};

/// The longest certificate that is read, in bytes.
pub const CERTIFICATE_MAX_BYTES: usize = 64 * 1024;

/// The most names in a certificate's list of alternative names.
pub const MAX_ALTERNATIVE_NAMES: usize = 1000;

/// The longest serial number, in bytes. RFC 5280 section 4.1.2.2 has twenty; some add one of sign.
const SERIAL_MAX_BYTES: usize = 21;

/// The facts that a certificate states about its holder.
///
/// No text in it holds a control character. Names that have one, and lists of names that cannot be read whole, make the
/// certificate malformed: nothing of it counts then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The subject as `openssl x509 -nameopt RFC2253` prints it, visible ASCII and space only; empty where there is none.
    pub subject: String,
    /// The subject's common name, where there is exactly one.
    pub cn: Option<String>,
    /// The issuer, written like the subject.
    pub issuer: String,
    /// The serial number in upper-case hexadecimal digits, an even number of them.
    pub serial: String,
    /// The SHA-256 of the whole certificate.
    pub sha256: [u8; 32],
    /// The first moment at which it is valid.
    pub not_before: UnixTime,
    /// The first moment at which it is not valid any more. RFC 5280 counts this second as valid; OpenSSL does not, and
    /// nor does this crate.
    pub not_after: UnixTime,
    /// Alternative names: host names, in lower case; `*.` at the beginning is a wildcard.
    pub dns: Vec<String>,
    /// Alternative names: URIs, a SPIFFE ID among them.
    pub uris: Vec<String>,
    /// Alternative names: e-mail addresses.
    pub emails: Vec<String>,
    /// Alternative names: addresses.
    pub addresses: Vec<IpAddr>,
    /// It may make certificates (RFC 5280 section 4.2.1.9, and 4.2.1.3 where it has a key usage).
    pub is_ca: bool,
    /// It was made for clients (RFC 5280 section 4.2.1.12); `None` where it does not say what it was made for.
    pub is_for_clients: Option<bool>,
    /// The same for servers.
    pub is_for_servers: Option<bool>,
}

impl Facts {
    /// Reads a certificate that OpenSSL holds.
    ///
    /// # Errors
    /// [`Fault::Malformed`].
    pub fn of(certificate: &X509Ref) -> Result<Self, Fault> {
        Self::of_der(&certificate.to_der().map_err(|_| Fault::Malformed)?)
    }

    /// Reads a certificate, and nothing after it.
    ///
    /// # Errors
    /// [`Fault::Malformed`].
    pub fn of_der(der: &[u8]) -> Result<Self, Fault> {
        if der.len() > CERTIFICATE_MAX_BYTES {
            return Err(Fault::Malformed);
        }
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| Fault::Malformed)?;
        if !rest.is_empty() {
            return Err(Fault::Malformed);
        }
        let usage = certificate.extended_key_usage().map_err(|_| Fault::Malformed)?;
        let mut facts = Self {
            subject: name::text(certificate.subject())?,
            cn: name::common_name(certificate.subject())?,
            issuer: name::text(certificate.issuer())?,
            serial: serial(certificate.raw_serial())?,
            sha256: Sha256::digest(der).into(),
            not_before: UnixTime(certificate.validity().not_before.timestamp()),
            not_after: UnixTime(certificate.validity().not_after.timestamp()),
            dns: Vec::new(),
            uris: Vec::new(),
            emails: Vec::new(),
            addresses: Vec::new(),
            is_ca: is_ca(&certificate)?,
            is_for_clients: usage.as_ref().map(|usage| usage.value.client_auth),
            is_for_servers: usage.as_ref().map(|usage| usage.value.server_auth),
        };
        facts.read_names(&certificate)?;
        check_extensions(&certificate)?;
        Ok(facts)
    }

    fn read_names(&mut self, certificate: &X509Certificate<'_>) -> Result<(), Fault> {
        let names = certificate.subject_alternative_name().map_err(|_| Fault::Malformed)?;
        let names = names.map_or(&[][..], |names| &names.value.general_names);
        if names.len() > MAX_ALTERNATIVE_NAMES {
            return Err(Fault::Malformed);
        }
        for name in names {
            match name {
                GeneralName::DNSName(name) => self.dns.push(visible(name)?.to_ascii_lowercase()),
                GeneralName::URI(name) => self.uris.push(visible(name)?),
                GeneralName::RFC822Name(name) => self.emails.push(visible(name)?),
                GeneralName::IPAddress(bytes) => self.addresses.push(address(bytes)?),
                GeneralName::Invalid(..) => return Err(Fault::Malformed),
                // Nothing here goes by the other kinds.
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that a moment lies within its dates.
    ///
    /// # Errors
    /// [`Fault::Expired`] or [`Fault::NotYetValid`].
    pub fn check_dates(&self, now: UnixTime) -> Result<(), Fault> {
        if now < self.not_before {
            Err(Fault::NotYetValid)
        } else if now >= self.not_after {
            Err(Fault::Expired)
        } else {
            Ok(())
        }
    }
}

/// Refuses an extension that goes on after its value: one reader stops there, another reads on.
fn check_extensions(certificate: &X509Certificate<'_>) -> Result<(), Fault> {
    let is_whole = |extension: &X509Extension<'_>| {
        let is_read = !matches!(extension.parsed_extension(), ParsedExtension::UnsupportedExtension { .. });
        !is_read || Any::from_der(extension.value).is_ok_and(|(rest, _)| rest.is_empty())
    };
    certificate.iter_extensions().all(is_whole).then_some(()).ok_or(Fault::Malformed)
}

/// A name as IA5String has it (RFC 5280 section 4.2.1.6): not empty, and nothing in it that could end or split it.
fn visible(name: &str) -> Result<String, Fault> {
    let is_visible = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    is_visible.then(|| name.to_owned()).ok_or(Fault::Malformed)
}

fn address(bytes: &[u8]) -> Result<IpAddr, Fault> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    let v6 = || <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
    v4.or_else(|_| v6()).map_err(|_| Fault::Malformed)
}

/// Without the zeros in front that keep it positive. A negative one is malformed: one reader drops its sign, and takes
/// it for another's.
fn serial(bytes: &[u8]) -> Result<String, Fault> {
    if bytes.is_empty() || bytes.len() > SERIAL_MAX_BYTES || bytes[0] >= 0x80 {
        return Err(Fault::Malformed);
    }
    let zeros = bytes[..bytes.len() - 1].iter().take_while(|byte| **byte == 0).count();
    Ok(hex::encode_upper(&bytes[zeros..]))
}

fn is_ca(certificate: &X509Certificate<'_>) -> Result<bool, Fault> {
    let constraints = certificate.basic_constraints().map_err(|_| Fault::Malformed)?;
    let usage = certificate.key_usage().map_err(|_| Fault::Malformed)?;
    let may_sign = usage.is_none_or(|usage| usage.value.key_cert_sign());
    Ok(may_sign && constraints.is_some_and(|constraints| constraints.value.ca))
}

#[cfg(test)]
mod tests;
