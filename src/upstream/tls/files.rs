//! The CAs that are trusted for an upstream, read from files.

use std::{cell::OnceCell, cmp::Ordering, path::Path, sync::Arc};

use openssl::{
    asn1::Asn1Time,
    x509::{X509, X509Ref},
};

use crate::{
    certificates::{self, CERTIFICATES_MAX_BYTES},
    files,
};

/// The CAs of the system, read on first use: once for a configuration.
#[derive(Default)]
pub(crate) struct SystemAuthorities(OnceCell<Result<Arc<[X509]>, String>>);

impl SystemAuthorities {
    /// Returns the current CAs.
    ///
    /// # Errors
    /// There are none, and so nobody could be verified.
    pub(crate) fn read(&self) -> Result<Arc<[X509]>, String> {
        self.0.get_or_init(read_system).clone()
    }
}

/// Reads `$SSL_CERT_FILE` and `$SSL_CERT_DIR`, as OpenSSL does, or the usual places of systems.
fn read_system() -> Result<Arc<[X509]>, String> {
    let found = openssl_probe::probe();
    let certificates: Vec<X509> = match found.cert_file {
        Some(file) => pem_list(&file)?,
        // A file there that is no certificate does not affect the others.
        None => {
            let folders = found.cert_dir.iter().filter_map(|folder| folder.read_dir().ok());
            let files = folders.flatten().flatten().map(|entry| entry.path());
            files.filter_map(|file| pem_list(&file).ok()).flatten().collect()
        }
    };
    if certificates.is_empty() {
        return Err("the system has no trusted CAs: set `ca` to a file with yours".to_owned());
    }
    Ok(certificates.into())
}

/// Reads the CAs of a `ca` file.
pub(super) fn authorities(path: &Path) -> Result<Arc<[X509]>, String> {
    let certificates = pem_list(path)?;
    let now = now()?;
    if certificates.iter().all(|certificate| has_expired(certificate, &now)) {
        return Err(format!("`{}`: {}", path.display(), expired(&certificates[0])));
    }
    Ok(certificates.into())
}

/// Reads the certificates of a PEM file; never an empty list. Those of the system are read as OpenSSL reads them: an
/// old CA may look odd.
fn pem_list(path: &Path) -> Result<Vec<X509>, String> {
    let say = |why| Err(format!("`{}`: {why}", path.display()));
    match X509::stack_from_pem(&files::read(path, CERTIFICATES_MAX_BYTES)?) {
        Err(_) => say("one of its certificates cannot be read"),
        Ok(list) if list.is_empty() => say("there is no certificate in it (PEM, `-----BEGIN CERTIFICATE-----`)"),
        Ok(list) => Ok(list),
    }
}

fn now() -> Result<Asn1Time, String> {
    Asn1Time::days_from_now(0).map_err(|error| format!("the time is not to be had: {error}"))
}

/// Returns whether a certificate has expired. A time that cannot be compared counts as expired.
fn has_expired(certificate: &X509Ref, now: &Asn1Time) -> bool {
    !certificate.not_after().compare(now).is_ok_and(Ordering::is_gt)
}

fn expired(certificate: &X509Ref) -> String {
    format!("the certificate of {} expired: {}", certificates::subject(certificate), certificate.not_after())
}
