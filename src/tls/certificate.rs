//! A certificate chain and its key, read and checked, so that `check` reports an error and not the first client.

use std::{collections::BTreeMap, net::IpAddr, ops::Range};

use openssl::{
    nid::Nid,
    pkey::{Id, PKey, PKeyRef, Private},
    x509::X509,
};
use portcullis_plugin::{SecretSource, UnixTime};
use portcullis_x509::Facts;

use super::staple::Staple;
use crate::{
    certificates,
    config::{Location, Problems, Secrets, file},
};

/// A server certificate with its key.
pub(super) struct Certified {
    /// The certificate itself first, then its intermediates.
    pub(super) chain: Vec<X509>,
    pub(super) key: PKey<Private>,
    /// The stapled OCSP response.
    pub(super) ocsp: Option<Staple>,
    /// The names it is for, in lower case.
    pub(super) names: Vec<String>,
    pub(super) until: UnixTime,
    pub(super) sha256: [u8; 32],
    /// The location of its file's name.
    pub(super) span: Range<usize>,
    pub(super) index: usize,
}

impl Certified {
    pub(super) fn read(
        file: &file::Certificate,
        index: usize,
        at: &Location,
        secrets: &Secrets,
        problems: &mut Problems,
    ) -> Option<Self> {
        let path = |field: &str| format!("{}.certificates[{index}].{field}", at.path);
        let problem = |problems: &mut Problems, field: &str, span: Range<usize>, text: String| {
            problems.add(at.file, span, path(field), text);
        };
        let key_file = match &file.key.get_ref().0 {
            SecretSource::File(key) => Some(key),
            _ => None,
        };
        let has_key = key_file == Some(file.cert.get_ref());
        let chain = certificates::chain(&secrets.path(file.cert.get_ref()), has_key, certificates::Purpose::Server);
        let chain = chain.map_err(|why| problem(problems, "cert", file.cert.span(), why)).ok();
        let key = secrets.read(&file.key.get_ref().0);
        let key = key.and_then(|pem| chain.as_ref().map(|chain| certificates::key(&pem, chain)).transpose());
        let key = key.map_err(|why| problem(problems, "key", file.key.span(), why)).ok().flatten();
        let stapled = file.ocsp.as_ref().map(|ocsp| {
            let staple = Staple::read(&secrets.path(ocsp.get_ref()));
            staple.map_err(|why| problem(problems, "ocsp", ocsp.span(), why)).ok()
        });
        let (chain, key, ocsp) = (chain?, key?, stapled.map_or(Some(None), |staple| staple.map(Some))?);
        if chain.len() == 1 && !certificates::is_issued_by(&chain[0], &chain[0]) {
            let text = "the file has the certificate alone: a client that does not know who issued it will refuse it. \
                        Put the certificates that lead to its CA behind it";
            problems.warn(at.file, file.cert.span(), path("cert"), text);
        }
        if let Err(why) = check_key(&key) {
            problem(problems, "key", file.key.span(), why);
            return None;
        }
        let facts = Facts::of(&chain[0])
            .map_err(|fault| problem(problems, "cert", file.cert.span(), fault.to_string()))
            .ok()?;
        let names: Vec<String> =
            facts.dns.iter().cloned().chain(facts.addresses.iter().map(IpAddr::to_string)).collect();
        if names.is_empty() {
            let text = "the certificate has no DNS name and no address among its alternative names (RFC 6125)";
            problem(problems, "cert", file.cert.span(), text.to_owned());
            return None;
        }
        if let Some((file, staple)) = file.ocsp.as_ref().zip(ocsp.as_ref())
            && let Err(why) = staple.check(&chain)
        {
            problem(problems, "ocsp", file.span(), why.to_owned());
            return None;
        }
        let (until, sha256) = (facts.not_after, facts.sha256);
        Some(Self { chain, key, ocsp, names, until, sha256, span: file.cert.span(), index })
    }

    /// Returns the type of its key: a context has one certificate of each type.
    pub(super) fn key_type(&self) -> Id {
        self.key.id()
    }
}

/// Checks that clients accept the key: one that is too short or of another kind would be accepted here, and nowhere
/// else.
fn check_key(key: &PKeyRef<Private>) -> Result<(), String> {
    const RSA_MIN_BITS: u32 = 2048;
    const CURVES: [Nid; 3] = [Nid::X9_62_PRIME256V1, Nid::SECP384R1, Nid::SECP521R1];
    match key.id() {
        Id::RSA | Id::RSA_PSS if key.bits() >= RSA_MIN_BITS => Ok(()),
        Id::RSA | Id::RSA_PSS => {
            Err(format!("an RSA key has {RSA_MIN_BITS} bits or more, and this one {}", key.bits()))
        }
        Id::EC if key.ec_key().is_ok_and(|key| key.group().curve_name().is_some_and(|name| CURVES.contains(&name))) => {
            Ok(())
        }
        Id::ED25519 | Id::ED448 => Ok(()),
        _ => Err("clients take keys of RSA, of the curves P-256, P-384 and P-521, and of Ed25519".to_owned()),
    }
}

/// Refuses two certificates for the same name and type of key, because it is not clear which to use.
pub(super) fn refuse_duplicates(certificates: &[std::sync::Arc<Certified>], at: &Location, problems: &mut Problems) {
    let mut seen: BTreeMap<(&str, i32), usize> = BTreeMap::new();
    for certificate in certificates {
        for name in &certificate.names {
            if let Some(first) = seen.insert((name, certificate.key_type().as_raw()), certificate.index) {
                let path = format!("{}.certificates[{}].cert", at.path, certificate.index);
                let text = format!("`{name}` has a certificate with a key of this type already: certificates[{first}]");
                problems.add(at.file, certificate.span.clone(), path, text);
                break;
            }
        }
    }
}

/// Returns the end of each name's certificate.
pub(super) fn expiries(certificates: &[std::sync::Arc<Certified>]) -> Vec<(String, UnixTime)> {
    let mut of_names: BTreeMap<&str, UnixTime> = BTreeMap::new();
    for certificate in certificates {
        for name in &certificate.names {
            let until = of_names.entry(name).or_insert(certificate.until);
            *until = (*until).min(certificate.until);
        }
    }
    of_names.into_iter().map(|(name, until)| (name.to_owned(), until)).collect()
}
