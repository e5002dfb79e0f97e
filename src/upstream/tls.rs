//! TLS to the upstream: the verification of its certificate, and the gateway's own client certificate.
//!
//! # Where it is verified
//! Pingora 0.9.1 can verify, but not as needed here: it reports "invalid certificate" and never why; it switches
//! verification off if there is no SNI; it looks for an IP address among the DNS names, and accepts the common name for
//! one; it accepts TLS 1.0; and it accepts a server that does not speak HTTP/2 where only that was offered. So its own
//! verification is off, and ours, in [`handshake`], stands in two places: once a handshake is complete, before anything
//! is written to the connection; and before each request, which goes only over a connection that was verified under the
//! very settings of its target.
//!
//! # How connections are shared
//! Pingora shares connections by address, SNI and the serial number of the client certificate, and knows nothing of
//! CAs. Everything that [`Tls`] holds is part of its `settings`, which is part of that key: after a reload that changes
//! a file no connection is used that was opened before.

mod files;
mod handshake;
#[cfg(test)]
mod tests;
mod trust;

use std::{net::SocketAddr, sync::Arc};

use pingora::{protocols::ALPN, upstreams::peer::HttpPeer, utils::tls::CertKey};
use portcullis_plugin::{SecretSource, UnixTime};
use portcullis_x509::Facts;
use sha2::{Digest as _, Sha256};

use crate::{
    certificates,
    config::{
        Secrets,
        file::{Protocol, ServerName, UpstreamTls},
    },
};

pub(crate) use files::SystemAuthorities;
pub(crate) use handshake::{Fault, Handshake, Verifier};
pub(crate) use trust::Trust;

/// The errors of an upstream, each with its field.
pub(crate) type Wrong = Vec<(String, String)>;

/// The TLS settings of all targets of an upstream.
pub(crate) struct Tls {
    trust: Trust,
    server_name: Option<ServerName>,
    own: Option<Arc<CertKey>>,
    alpn: ALPN,
    /// The fingerprint of all of the above.
    settings: [u8; 32],
}

impl Tls {
    /// Reads the files and checks that they fit together. In a run without secrets nothing is read.
    ///
    /// # Errors
    /// Returns everything that is wrong.
    pub(crate) fn read(
        file: &UpstreamTls,
        protocol: Option<Protocol>,
        secrets: &Secrets,
        system: &SystemAuthorities,
    ) -> Result<Self, Wrong> {
        let mut wrong = Wrong::new();
        let mut say = |field: &str, why: String| wrong.push((format!("tls.{field}"), why));
        let trust = trust(file, secrets, system).unwrap_or_else(|(field, why)| {
            say(field, why);
            Trust::Named(Arc::default())
        });
        let own = own(file, secrets).unwrap_or_else(|(field, why)| {
            say(field, why);
            None
        });
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let alpn = match protocol {
            None => ALPN::H2H1,
            Some(Protocol::H2) => ALPN::H2,
            Some(Protocol::Http1 | Protocol::H2c) => ALPN::H1,
        };
        let server_name = file.server_name.as_ref().map(|name| name.0.clone());
        let settings = settings(&trust, own.as_deref(), &alpn);
        Ok(Self { trust, server_name, own, alpn, settings })
    }

    /// Returns whether the upstream's certificate is not verified.
    pub(crate) fn is_unverified(&self) -> bool {
        matches!(self.trust, Trust::Anybody)
    }

    /// Returns the subject and the end of the gateway's client certificate.
    pub(crate) fn own_certificate(&self) -> Option<(String, UnixTime)> {
        let facts = Facts::of(self.own.as_ref()?.leaf()).ok()?;
        Some((facts.subject, facts.not_after))
    }

    /// Returns the fingerprint of everything that was read.
    pub(crate) fn settings(&self) -> [u8; 32] {
        self.settings
    }

    /// Returns a peer at this address, and the verifier of its handshakes. `host` is the target's name as the file has
    /// it.
    ///
    /// # Errors
    /// Returns why there can be none of that name.
    pub(crate) fn peer(&self, address: SocketAddr, host: &str) -> Result<(HttpPeer, Arc<Verifier>), String> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let own_name = || host.parse().map_err(|why| format!("`{host}`: {why}; say `tls.server_name`"));
        let name = self.server_name.clone().map_or_else(own_name, Ok)?;
        let mut hasher = Sha256::new_with_prefix(self.settings);
        hasher.update(name.to_string());
        let settings: [u8; 32] = hasher.finalize().into();
        // OpenSSL sends no SNI if this is an address.
        let mut peer = HttpPeer::new(address, true, name.to_string());
        peer.client_cert_key = self.own.clone();
        peer.group_key = u64::from_le_bytes(*settings.first_chunk().expect("a digest has 32 bytes"));
        peer.options.alpn = self.alpn.clone();
        peer.options.verify_cert = false;
        peer.options.verify_hostname = false;
        // OpenSSL looks at the certificate all the same. Without a single CA that ends at once.
        peer.options.ca = Some(Arc::new(Box::new([])));
        let verifier = Verifier::new(&self.trust, &name, self.alpn == ALPN::H2, settings);
        let verifier = verifier.map_err(|error| format!("OpenSSL will not verify `{name}`: {error}"))?;
        Ok((peer, Arc::new(verifier)))
    }
}

/// A field below `tls`, and its error.
type WrongField = (&'static str, String);

fn trust(file: &UpstreamTls, secrets: &Secrets, system: &SystemAuthorities) -> Result<Trust, WrongField> {
    if file.unverified.is_some() {
        return match &file.ca {
            None => Ok(Trust::Anybody),
            Some(_) => Err(("unverified", "with `ca` the upstream is verified: leave one of them out".to_owned())),
        };
    }
    if secrets.is_absent_fine() {
        return Ok(Trust::Named(Arc::default()));
    }
    match &file.ca {
        Some(path) => files::authorities(&secrets.path(path)).map(Trust::Named).map_err(|why| ("ca", why)),
        None => system.read().map(Trust::Authorities).map_err(|why| ("", why)),
    }
}

fn own(file: &UpstreamTls, secrets: &Secrets) -> Result<Option<Arc<CertKey>>, WrongField> {
    let (cert, key) = match (&file.cert, &file.key) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        (Some(_), None) => return Err(("cert", "a certificate is proved by its `key`, which is missing".to_owned())),
        (None, Some(_)) => return Err(("key", "this is the key of no certificate: `cert` is missing".to_owned())),
    };
    if secrets.is_absent_fine() {
        return Ok(None);
    }
    let is_one_file = matches!(&key.0, SecretSource::File(path) if path == cert);
    let chain = certificates::chain(&secrets.path(cert), is_one_file, certificates::Purpose::Client)
        .map_err(|why| ("cert", why))?;
    let key = secrets.read(&key.0).map_err(|why| ("key", why))?;
    let key = certificates::key(&key, &chain).map_err(|why| ("key", why))?;
    Ok(Some(Arc::new(CertKey::new(chain, key))))
}

/// Hashes each part after its type and length, so that no two settings feed the same bytes.
fn settings(trust: &Trust, own: Option<&CertKey>, alpn: &ALPN) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut feed = |kind: u8, bytes: &[u8]| {
        hasher.update([kind]);
        hasher.update(bytes.len().to_le_bytes());
        hasher.update(bytes);
    };
    let (kind, authorities) = match trust {
        Trust::Authorities(authorities) => (b's', &authorities[..]),
        Trust::Named(authorities) => (b'n', &authorities[..]),
        Trust::Anybody => (b'a', &[][..]),
    };
    feed(kind, &authorities.len().to_le_bytes());
    let own = own.into_iter().flat_map(|own| std::iter::once(own.leaf()).chain(own.intermediates()));
    for (kind, certificate) in authorities.iter().map(|one| (b'c', one)).chain(own.map(|one| (b'o', one))) {
        feed(kind, &certificate.to_der().unwrap_or_default());
    }
    feed(b'p', alpn.to_string().as_bytes());
    hasher.finalize().into()
}
