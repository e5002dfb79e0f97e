use std::cmp::Ordering;

use openssl::x509::{CrlStatus, X509Crl, X509Ref};
use portcullis_plugin::UnixTime;
use sha2::{Digest, Sha256};
use x509_parser::{
    asn1_rs::{Oid, oid},
    extensions::X509Extension,
    oid_registry::{
        OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_CRL_NUMBER, OID_X509_EXT_DELTA_CRL_INDICATOR,
        OID_X509_EXT_ISSUER_ALT_NAME, OID_X509_EXT_ISSUER_DISTRIBUTION_POINT, OID_X509_EXT_REASON_CODE,
    },
    prelude::FromDer,
    revocation_list::CertificateRevocationList,
};

use crate::pem;

/// The longest file of CRLs that is read, in bytes: about 800,000 revoked certificates.
pub const CRL_MAX_BYTES: usize = 32 * 1024 * 1024;

/// The most that the clock of whoever made a CRL may be ahead of ours, in seconds.
const CLOCK_SKEW_SECONDS: i64 = 5 * 60;

/// An entry that is about a certificate of another CA than the list's (RFC 5280 section 5.3.3).
const CERTIFICATE_ISSUER: Oid<'static> = oid!(2.5.29.29);

/// Why a CRL is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// The file is no CRL, or a broken one.
    #[error("is not a CRL, in PEM or DER form")]
    Malformed,
    /// Something else than CRLs is in the file.
    #[error("holds something else than CRLs: only `X509 CRL` blocks belong here")]
    Other,
    /// It is larger than [`CRL_MAX_BYTES`].
    #[error("is larger than {CRL_MAX_BYTES} bytes")]
    TooLarge,
    /// Without an end nobody could know that it is out of date.
    #[error("does not say until when it holds (`nextUpdate`)")]
    NoEnd,
    /// A delta CRL: only what changed.
    #[error("holds only what changed since another CRL (a delta CRL): the complete one is needed")]
    Delta,
    /// It is about some certificates only, or about those of other CAs.
    #[error(
        "is about a part of a CA's certificates, or about those of others (`issuingDistributionPoint`): the complete \
             CRL of the CA itself is needed"
    )]
    Partial,
    /// A critical extension that is not known here.
    #[error("has an extension that must be understood and is not known here: {0}")]
    Critical(String),
}

/// A list of revoked certificates (RFC 5280 section 5): complete, and with an end.
pub struct Crl {
    pub(crate) list: X509Crl,
    pub(crate) this_update: UnixTime,
    pub(crate) next_update: UnixTime,
    pub(crate) sha256: [u8; 32],
}

impl Crl {
    /// The CRLs in a file: any number in PEM form, or one in DER. [`Trust::new`](crate::Trust::new) checks who signed
    /// them.
    ///
    /// # Errors
    /// It holds none, or one that is not taken.
    pub fn parse(file: &[u8]) -> Result<Vec<Self>, CrlError> {
        if file.len() > CRL_MAX_BYTES {
            return Err(CrlError::TooLarge);
        }
        if !file.windows(pem::BEGIN.len()).any(|window| window == pem::BEGIN) {
            return Ok(vec![Self::of_der(file)?]);
        }
        let blocks = pem::blocks(file).ok_or(CrlError::Malformed)?;
        if blocks.iter().any(|block| block.tag() != "X509 CRL") {
            return Err(CrlError::Other);
        }
        blocks.iter().map(|block| Self::of_der(block.contents())).collect()
    }

    fn of_der(der: &[u8]) -> Result<Self, CrlError> {
        let (rest, parsed) = CertificateRevocationList::from_der(der).map_err(|_| CrlError::Malformed)?;
        if !rest.is_empty() {
            return Err(CrlError::Malformed);
        }
        check_extensions(parsed.extensions(), &[&OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, &OID_X509_EXT_CRL_NUMBER])?;
        for revoked in parsed.iter_revoked_certificates() {
            check_extensions(revoked.extensions(), &[&OID_X509_EXT_REASON_CODE])?;
        }
        Ok(Self {
            list: X509Crl::from_der(der).map_err(|_| CrlError::Malformed)?,
            this_update: UnixTime(parsed.last_update().timestamp()),
            next_update: UnixTime(parsed.next_update().ok_or(CrlError::NoEnd)?.timestamp()),
            sha256: Sha256::digest(der).into(),
        })
    }

    /// Returns `true` if the list is in force at this moment.
    pub fn is_fresh(&self, now: UnixTime) -> bool {
        self.this_update.0.saturating_sub(CLOCK_SKEW_SECONDS) <= now.0 && now < self.next_update
    }

    /// The moment from which it is out of date.
    pub fn next_update(&self) -> UnixTime {
        self.next_update
    }

    /// Returns `true` if a certificate of its CA is on it. One that is to be taken off again counts: only deltas say
    /// that.
    pub(crate) fn lists(&self, certificate: &X509Ref) -> bool {
        !matches!(self.list.get_by_serial(certificate.serial_number()), CrlStatus::NotRevoked)
    }

    /// Returns `true` if it is about certificates of this certificate's issuer.
    pub(crate) fn is_about(&self, certificate: &X509Ref) -> bool {
        self.list.issuer_name().try_cmp(certificate.issuer_name()).is_ok_and(Ordering::is_eq)
    }

    /// Returns `true` if this CA has signed it. That reads the whole list, and is too slow for requests.
    pub(crate) fn is_signed_by(&self, ca: &X509Ref) -> bool {
        let is_named = self.list.issuer_name().try_cmp(ca.subject_name()).is_ok_and(Ordering::is_eq);
        // A key usage that leaves out `cRLSign` forbids it (RFC 5280 section 4.2.1.3).
        let may_sign = ca.key_usage().is_none_or(|usage| usage.contains(openssl::x509::X509KeyUsage::CRL_SIGN));
        is_named && may_sign && ca.public_key().is_ok_and(|key| self.list.verify(&key).unwrap_or(false))
    }
}

/// Refuses what would change the meaning of the list: it must be complete, and about its own CA.
fn check_extensions(extensions: &[X509Extension<'_>], known: &[&Oid<'_>]) -> Result<(), CrlError> {
    for extension in extensions {
        let oid = &extension.oid;
        if *oid == OID_X509_EXT_DELTA_CRL_INDICATOR {
            return Err(CrlError::Delta);
        }
        if *oid == OID_X509_EXT_ISSUER_DISTRIBUTION_POINT || *oid == CERTIFICATE_ISSUER {
            return Err(CrlError::Partial);
        }
        let is_known = known.contains(&oid) || *oid == OID_X509_EXT_ISSUER_ALT_NAME;
        if extension.critical && !is_known {
            return Err(CrlError::Critical(oid.to_id_string()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
