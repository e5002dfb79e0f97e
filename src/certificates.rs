//! The gateway's own certificates and keys, read from files: those it shows to clients and to upstreams. They are
//! checked when they are read, so that an error is one of the configuration and not of the first connection.

use std::path::Path;

use openssl::{
    pkey::{PKey, Private},
    x509::{X509, X509Ref, X509VerifyResult},
};
use portcullis_plugin::{Secret, UnixTime};
use portcullis_x509::{Facts, Fault};

use crate::files::read;

/// The largest file with certificates. A thousand of the longest that are accepted fit.
pub(crate) const CERTIFICATES_MAX_BYTES: usize = 64 << 20;

/// The role that a certificate of the gateway is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The server that clients connect to.
    Server,
    /// The client of an upstream.
    Client,
}

/// Reads a certificate and its intermediates, in this order. Its key may be in the same file only if that file is also
/// named as the key's (`beside_key`); otherwise that is an error: files with certificates are readable by everybody.
///
/// # Errors
/// Returns what a peer would object to.
pub(crate) fn chain(path: &Path, beside_key: bool, purpose: Purpose) -> Result<Vec<X509>, String> {
    let read_all = if beside_key { portcullis_x509::certificates_beside_key } else { portcullis_x509::certificates };
    let chain = read_all(&read(path, CERTIFICATES_MAX_BYTES)?).map_err(|why| format!("`{}` {why}", path.display()))?;
    check(&chain, purpose).map_err(|why| format!("`{}`: {why}", path.display()))?;
    Ok(chain)
}

fn check(chain: &[X509], purpose: Purpose) -> Result<(), String> {
    let now = UnixTime::now();
    for certificate in chain {
        let facts = Facts::of(certificate).map_err(|fault| fault.to_string())?;
        let whose = format!("the certificate of `{}`", facts.subject);
        match facts.check_dates(now) {
            Ok(()) => {}
            Err(Fault::NotYetValid) => return Err(format!("{whose} is not valid before {}", certificate.not_before())),
            Err(_) => return Err(format!("{whose} expired: {}", certificate.not_after())),
        }
    }
    check_purpose(&chain[0], purpose)?;
    match chain.windows(2).find(|pair| !is_issued_by(&pair[0], &pair[1])) {
        None => Ok(()),
        Some(pair) => Err(format!(
            "the chain is broken: the certificate of {} did not sign the one before it, of {}; each is followed by its \
             issuer",
            subject(&pair[1]),
            subject(&pair[0])
        )),
    }
}

/// Refuses a certificate that was issued for another purpose only, as every peer would (RFC 5280 section 4.2.1.12).
/// OpenSSL's peers do not accept `anyExtendedKeyUsage` for it.
fn check_purpose(certificate: &X509Ref, purpose: Purpose) -> Result<(), String> {
    let facts = Facts::of(certificate).map_err(|fault| fault.to_string())?;
    let (is_for, whom, usage) = match purpose {
        Purpose::Server => (facts.is_for_servers, "servers", "serverAuth"),
        Purpose::Client => (facts.is_for_clients, "clients", "clientAuth"),
    };
    if is_for == Some(false) {
        return Err(format!(
            "the certificate of {} was not made for {whom}: its extended key usage has no `{usage}`",
            subject(certificate)
        ));
    }
    Ok(())
}

/// Reads the key of a chain's first certificate.
///
/// # Errors
/// It is not a key, or that of another certificate. The message contains nothing of it.
pub(crate) fn key(secret: &Secret, chain: &[X509]) -> Result<PKey<Private>, String> {
    // OpenSSL would ask the terminal for a passphrase; this gives it none.
    let key = PKey::private_key_from_pem_callback(secret.expose(), |_| Ok(0));
    let key = key.map_err(|_| "this is not a private key in PEM without a passphrase".to_owned())?;
    if chain[0].public_key().is_ok_and(|public| public.public_eq(&key)) {
        return Ok(key);
    }
    Err(format!("this is not the key of the certificate of {}", subject(&chain[0])))
}

/// Returns whether one certificate has issued the other, by name and by signature.
pub(crate) fn is_issued_by(certificate: &X509Ref, issuer: &X509Ref) -> bool {
    issuer.issued(certificate) == X509VerifyResult::OK
        && issuer.public_key().is_ok_and(|key| certificate.verify(&key).unwrap_or(false))
}

/// Returns the subject as text for messages.
pub(crate) fn subject(certificate: &X509Ref) -> String {
    match Facts::of(certificate) {
        Ok(facts) if !facts.subject.is_empty() => format!("`{}`", facts.subject),
        _ => "nobody".to_owned(),
    }
}
