//! A certificate for the proxies that speak TLS, and the key to it: the same for all of them.

use std::{fs, path::PathBuf};

use openssl::{
    asn1::Asn1Time,
    bn::{BigNum, MsbOption},
    ec::{EcGroup, EcKey},
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    rsa::Rsa,
    x509::{
        X509, X509Name,
        extension::{BasicConstraints, SubjectAlternativeName},
    },
};
use tempfile::TempDir;

/// The name that every client asks for.
pub(crate) const NAME: &str = "api.example.com";

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 2048 bits: a signature costs the proxy far more than the client's check of it.
    Rsa,
    /// P-256: what a proxy of today should have, and cheaper to make than to check.
    Ecdsa,
}

/// Two files of PEM.
pub(crate) struct Certificate {
    /// The leaf, then the one that signed it.
    pub cert: PathBuf,
    /// The leaf's key.
    pub key: PathBuf,
    _dir: TempDir,
}

impl Certificate {
    /// For [`NAME`], good for a day.
    pub(crate) fn new(kind: Kind) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let (chain, private) = chain(kind).expect("OpenSSL signs");
        fs::write(&cert, chain).and_then(|()| fs::write(&key, private)).expect("the directory can be written to");
        Self { cert, key, _dir: dir }
    }
}

/// The leaf and its issuer, and the leaf's key.
fn chain(kind: Kind) -> Result<(Vec<u8>, Vec<u8>), ErrorStack> {
    let (ca_key, key) = (pair(kind)?, pair(kind)?);
    let ca = signed("The CA of the benches", &ca_key, None)?;
    let leaf = signed(NAME, &key, Some((&ca, &ca_key)))?;
    Ok(([leaf.to_pem()?, ca.to_pem()?].concat(), key.private_key_to_pem_pkcs8()?))
}

fn pair(kind: Kind) -> Result<PKey<Private>, ErrorStack> {
    match kind {
        Kind::Rsa => PKey::from_rsa(Rsa::generate(2048)?),
        Kind::Ecdsa => PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?),
    }
}

/// Signed by an issuer, or by itself and then a CA.
fn signed(name: &str, key: &PKey<Private>, issuer: Option<(&X509, &PKey<Private>)>) -> Result<X509, ErrorStack> {
    let mut subject = X509Name::builder()?;
    subject.append_entry_by_text("CN", name)?;
    let subject = subject.build();
    let mut serial = BigNum::new()?;
    serial.rand(64, MsbOption::ONE, false)?;

    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(issuer.map_or(&*subject, |(ca, _)| ca.subject_name()))?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(1)?)?;
    builder.set_pubkey(key)?;
    match issuer {
        None => builder.append_extension(BasicConstraints::new().critical().ca().build()?)?,
        Some((ca, _)) => {
            let names = SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(Some(ca), None))?;
            builder.append_extension(names)?;
        }
    }
    builder.sign(issuer.map_or(key, |(_, key)| key), MessageDigest::sha256())?;
    Ok(builder.build())
}
