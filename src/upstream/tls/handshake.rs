//! The verdict on a handshake, and on whether a request may use the connection.
//!
//! # Unsafe
//! The `openssl` crate sets the shutdown state of a connection only through the stream that owns it, and in a callback
//! of the handshake there is no stream: one call goes to OpenSSL itself.

use std::{
    any::Any,
    fmt,
    os::raw::c_int,
    sync::{Arc, OnceLock},
};

use foreign_types::ForeignTypeRef as _;
use openssl::{
    error::ErrorStack,
    ssl::{SslRef, SslVersion},
    stack::Stack,
    x509::{
        X509, X509PurposeId, X509StoreContext, X509VerifyResult,
        store::{X509Store, X509StoreBuilder},
        verify::{X509CheckFlags, X509VerifyFlags, X509VerifyParam},
    },
};
use pingora::{protocols::Digest, upstreams::peer::HttpPeer};

use super::trust::Trust;
use crate::{config::file::ServerName, telemetry::metrics::UpstreamError, upstream::http2::Http2};

/// The most intermediate certificates between the upstream's and a CA.
const MAX_INTERMEDIATES: c_int = 8;

/// The reason why no request may use a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The kind that is counted.
    pub kind: UpstreamError,
    /// The text that is logged.
    pub why: &'static str,
}

impl Fault {
    const UNSEEN: Self = Self { kind: UpstreamError::Tls, why: "the connection was opened under other settings" };

    fn tls(why: &'static str) -> Self {
        Self { kind: UpstreamError::Tls, why }
    }

    fn invalid(why: &'static str) -> Self {
        Self { kind: UpstreamError::CertificateInvalid, why }
    }

    pub(super) fn of(result: X509VerifyResult) -> Self {
        let kind = match result.as_raw() {
            openssl_sys::X509_V_ERR_CERT_HAS_EXPIRED => UpstreamError::CertificateExpired,
            openssl_sys::X509_V_ERR_CERT_NOT_YET_VALID => UpstreamError::CertificateNotYetValid,
            openssl_sys::X509_V_ERR_HOSTNAME_MISMATCH | openssl_sys::X509_V_ERR_IP_ADDRESS_MISMATCH => {
                UpstreamError::CertificateNameMismatch
            }
            openssl_sys::X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT
            | openssl_sys::X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
            | openssl_sys::X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE
            | openssl_sys::X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
            | openssl_sys::X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN
            | openssl_sys::X509_V_ERR_CERT_UNTRUSTED => UpstreamError::CertificateUnknownCa,
            _ => UpstreamError::CertificateInvalid,
        };
        Self { kind, why: result.error_string() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.why)
    }
}

/// Marks a verified connection with the settings it was verified under.
struct Verified([u8; 32]);

/// Verifies the handshakes of one target.
pub(crate) struct Verifier {
    /// `None`: certificates are not verified.
    store: Option<X509Store>,
    needs_http2: bool,
    verified: Arc<Verified>,
}

impl Verifier {
    pub(super) fn new(
        trust: &Trust,
        name: &ServerName,
        needs_http2: bool,
        settings: [u8; 32],
    ) -> Result<Self, ErrorStack> {
        let store = match trust {
            Trust::Authorities(authorities) => Some(store(authorities, name, false)?),
            Trust::Named(authorities) => Some(store(authorities, name, true)?),
            Trust::Anybody => None,
        };
        Ok(Self { store, needs_http2, verified: Arc::new(Verified(settings)) })
    }

    fn judge(&self, ssl: &SslRef) -> Result<(), Fault> {
        // RFC 8996: older versions are not safe.
        if !matches!(ssl.version2(), Some(SslVersion::TLS1_2 | SslVersion::TLS1_3)) {
            return Err(Fault::tls("the upstream speaks no TLS 1.2"));
        }
        if let Some(store) = &self.store {
            let certificate = ssl.peer_certificate().ok_or(Fault::invalid("the upstream sent no certificate"))?;
            verify(store, ssl, &certificate)?;
        }
        if self.needs_http2 && ssl.selected_alpn_protocol() != Some(b"h2") {
            return Err(Fault::tls("the upstream does not offer HTTP/2"));
        }
        Ok(())
    }
}

/// Returns a store with these CAs and the requirements for a certificate. `is_partial`: a CA that is not a root is
/// trusted too.
fn store(authorities: &[X509], name: &ServerName, is_partial: bool) -> Result<X509Store, ErrorStack> {
    let mut parameters = X509VerifyParam::new()?;
    parameters.set_purpose(X509PurposeId::SSL_SERVER)?;
    parameters.set_auth_level(portcullis_x509::SECURITY_LEVEL.cast_signed());
    parameters.set_depth(MAX_INTERMEDIATES);
    if is_partial {
        parameters.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    }
    match name {
        ServerName::Dns(name) => {
            // The name must be among the alternative names, and wildcards stand for whole labels (RFC 9525 sections 2
            // and 6.3).
            parameters.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS | X509CheckFlags::NEVER_CHECK_SUBJECT);
            parameters.set_host(name)?;
        }
        ServerName::Ip(address) => parameters.set_ip(*address)?,
    }
    let mut store = X509StoreBuilder::new()?;
    for authority in authorities {
        store.add_cert(authority.clone())?;
    }
    store.set_param(&parameters)?;
    Ok(store.build())
}

fn verify(store: &X509Store, ssl: &SslRef, certificate: &X509) -> Result<(), Fault> {
    const BROKEN: Fault =
        Fault { kind: UpstreamError::CertificateInvalid, why: "OpenSSL could not verify the certificate" };
    let none = Stack::new().map_err(|_| BROKEN)?;
    let chain = ssl.peer_cert_chain().unwrap_or(&none);
    let mut context = X509StoreContext::new().map_err(|_| BROKEN)?;
    let verdict = context.init(store, certificate, chain, |context| {
        let is_good = context.verify_cert()?;
        Ok((is_good, context.error()))
    });
    match verdict {
        Ok((true, X509VerifyResult::OK)) => Ok(()),
        Ok((_, X509VerifyResult::OK)) | Err(_) => Err(BROKEN),
        Ok((_, result)) => Err(Fault::of(result)),
    }
}

/// The handshake that a request may need: its verdict decides whether the request may go.
pub(crate) struct Handshake {
    verifier: Arc<Verifier>,
    /// Notes whether the server chose HTTP/2, if it had a choice.
    http2: Option<Arc<Http2>>,
    fault: OnceLock<Fault>,
}

impl Handshake {
    /// Makes the handshakes of this peer verified, and their protocol noted.
    pub(crate) fn watch(verifier: &Arc<Verifier>, http2: Option<&Arc<Http2>>, peer: &mut HttpPeer) -> Arc<Self> {
        let handshake = Arc::new(Self { verifier: verifier.clone(), http2: http2.cloned(), fault: OnceLock::new() });
        let judge = handshake.clone();
        peer.options.upstream_tls_handshake_complete_hook = Some(Arc::new(move |ssl| judge.complete(ssl)));
        handshake
    }

    fn complete(&self, ssl: &SslRef) -> Option<Arc<dyn Any + Send + Sync>> {
        match self.verifier.judge(ssl) {
            Ok(()) => {
                if let Some(http2) = &self.http2 {
                    http2.negotiated(ssl.selected_alpn_protocol());
                }
                Some(self.verifier.verified.clone())
            }
            Err(fault) => {
                self.fault.get_or_init(|| fault);
                silence(ssl);
                None
            }
        }
    }

    /// Returns the fault of a complete handshake, or of a pooled connection.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault.get().copied()
    }

    /// Checks whether the request may use this connection, new or pooled.
    ///
    /// # Errors
    /// Returns why not.
    pub(crate) fn admit(&self, connection: Option<&Digest>) -> Result<(), Fault> {
        let tls = connection.and_then(|digest| digest.ssl_digest.as_ref());
        match tls.and_then(|tls| tls.extension.get::<Verified>()) {
            Some(verified) if verified.0 == self.verifier.verified.0 => Ok(()),
            _ => Err(*self.fault.get_or_init(|| Fault::UNSEEN)),
        }
    }
}

/// Prevents all further writes to this connection, even the preface of HTTP/2: OpenSSL then considers it closed by both
/// sides.
fn silence(ssl: &SslRef) {
    let closed = openssl_sys::SSL_SENT_SHUTDOWN | openssl_sys::SSL_RECEIVED_SHUTDOWN;
    // SAFETY: the handle is valid as long as the borrow; this sets two bits in it, and nobody else has it meanwhile.
    unsafe { openssl_sys::SSL_set_shutdown(ssl.as_ptr(), closed) };
}
