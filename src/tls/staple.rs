//! OCSP responses: a CA's statement that a certificate is not revoked, stapled to it (RFC 6960; RFC 6066 section 8).
//!
//! Browsers refuse a certificate for a staple that is wrong or stale, though they would accept it without one: so a
//! wrong response is an error when it is read, and a stale one is not sent.

use std::{
    path::Path,
    sync::atomic::{AtomicI64, Ordering::Relaxed},
};

use openssl::{
    hash::MessageDigest,
    ocsp::{OcspCertId, OcspCertStatus, OcspResponse},
    x509::X509,
};
use portcullis_plugin::UnixTime;

use crate::files;

/// The largest response. They have 500 bytes, or 3000 with the certificate of the responder.
const OCSP_MAX_BYTES: usize = 64 << 10;
/// The most that the responder's clock may differ from ours.
const CLOCK_SKEW_SECONDS: u32 = 300;
/// The interval at which the validity of a response is checked.
const LOOK_EVERY_SECONDS: i64 = 60;

/// An OCSP response, read from its file.
pub(super) struct Staple {
    der: Vec<u8>,
    /// The time until which it need not be checked again.
    looked_until: AtomicI64,
}

impl Clone for Staple {
    fn clone(&self) -> Self {
        Self { der: self.der.clone(), looked_until: AtomicI64::new(0) }
    }
}

impl Staple {
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let der = files::read(path, OCSP_MAX_BYTES)?;
        OcspResponse::from_der(&der).map_err(|_| format!("`{}` is not an OCSP response (DER)", path.display()))?;
        Ok(Self { der, looked_until: AtomicI64::new(0) })
    }

    /// Checks that it is about this chain's first certificate and says that it is good. The issuer has to be in the
    /// chain, because a response refers to it.
    pub(super) fn check(&self, chain: &[X509]) -> Result<(), &'static str> {
        const NONE: &str = "the OCSP response says that there is none";
        let said = OcspResponse::from_der(&self.der).and_then(|response| response.basic()).map_err(|_| NONE)?;
        let [leaf, issuer, ..] = chain else { return Ok(()) };
        let about = [MessageDigest::sha1(), MessageDigest::sha256()].into_iter().find_map(|digest| {
            let id = OcspCertId::from_cert(digest, leaf, issuer).ok()?;
            said.find_status(&id).map(|status| (status.status, status.check_validity(CLOCK_SKEW_SECONDS, None).is_ok()))
        });
        match about {
            None => Err("the OCSP response is about another certificate"),
            Some((OcspCertStatus::GOOD, true)) => Ok(()),
            Some((OcspCertStatus::GOOD, false)) => Err("the OCSP response has expired, or does not hold yet"),
            Some(_) => Err("the OCSP response says that the certificate was revoked, or is unknown"),
        }
    }

    /// Returns the response, if it is still valid.
    pub(super) fn fresh(&self, chain: &[X509]) -> Option<&[u8]> {
        let now = UnixTime::now().0;
        if now >= self.looked_until.load(Relaxed) {
            let is_fresh = self.check(chain).is_ok();
            // Errors of `check_validity` stay on OpenSSL's list of errors, where the handshake would find them.
            drop(openssl::error::ErrorStack::get());
            if !is_fresh {
                return None;
            }
            self.looked_until.store(now + LOOK_EVERY_SECONDS, Relaxed);
        }
        Some(&self.der)
    }
}
