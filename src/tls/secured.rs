//! The facts that TLS established about a connection, checked again when a request comes: by then the configuration may
//! have changed, and time has passed.

use openssl::{error::ErrorStack, x509::X509};
use parking_lot::Mutex;
use portcullis_plugin::{ClientCert, Reason, UnixTime};

use super::{clients::Clients, compiled::Tls};
use crate::config::file;

/// The time that a verdict about a certificate is valid: until then neither its dates nor its CRLs are checked again. A
/// new configuration checks at once.
const VERDICT_SECONDS: i64 = 10;

/// A connection whose handshake succeeded.
pub(crate) struct Secured {
    /// The name that the client asked for (RFC 6066 section 3), in lower case.
    pub server_name: Option<Box<str>>,
    certificate: Option<Certificate>,
}

struct Certificate {
    shown: ClientCert,
    own: X509,
    sent: Vec<X509>,
    verdict: Mutex<Verdict>,
}

/// The last verdict about a certificate.
#[derive(Clone, Copy)]
struct Verdict {
    by: [u8; 32],
    at: UnixTime,
    outcome: Result<(), Reason>,
}

/// The reason why a request is on the wrong connection (RFC 9110 section 15.5.20): on a connection of its own it may
/// succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misdirected {
    /// The reason as text.
    pub why: &'static str,
    /// A more detailed reason for the log, if there is one.
    pub reason: Option<Reason>,
}

impl Misdirected {
    fn by_name(why: &'static str) -> Self {
        Self { why, reason: Some(Reason::ServerNameMismatch) }
    }

    /// Returns the error that a connection is older than the change that makes it the wrong one.
    pub(crate) fn by_age(why: &'static str) -> Self {
        Self { why, reason: None }
    }
}

impl Secured {
    pub(super) fn new(
        server_name: Option<Box<str>>,
        clients: &Clients,
        certificate: Option<(X509, Vec<X509>)>,
    ) -> Result<Self, ErrorStack> {
        let verdict = Verdict { by: clients.fingerprint, at: UnixTime::now(), outcome: Ok(()) };
        let certificate = certificate.map(|(own, sent)| {
            let chain = sent.iter().map(|above| above.to_der()).collect::<Result<_, _>>()?;
            let shown = ClientCert::new(own.to_der()?, chain);
            Ok(Certificate { shown, own, sent, verdict: Mutex::new(verdict) })
        });
        Ok(Self { server_name, certificate: certificate.transpose()? })
    }

    /// Returns the client's certificate, judged by the current configuration; see
    /// [`RequestCx::certificate`](portcullis_plugin::RequestCx::certificate).
    pub(crate) fn certificate(&self, tls: Option<&Tls>, now: UnixTime) -> Result<Option<&ClientCert>, Reason> {
        let Some(certificate) = &self.certificate else { return Ok(None) };
        let clients = tls.map(|tls| &tls.names.of_name(self.server_name.as_deref()).clients);
        // No CA is trusted for it any more.
        let Some(clients) = clients.filter(|clients| clients.trust.is_some()) else {
            return Err(Reason::CertificateUnknownCa);
        };
        certificate.judged(clients, now).map(|()| Some(&certificate.shown))
    }

    /// Checks whether a request to this host, in lower case and without its port, belongs on this connection. A
    /// connection names its server once, and every request on it again: if the two names have different client
    /// certificate settings, the request would bypass its own name's. With `needs_certificate` both must be the same
    /// name.
    ///
    /// A name that requires a certificate requires it for every request, even on a route that no policy protects: a
    /// certificate that was revoked or has expired since would not pass the handshake today.
    pub(crate) fn fits(
        &self,
        tls: Option<&Tls>,
        host: &str,
        needs_certificate: bool,
        now: UnixTime,
    ) -> Result<(), Misdirected> {
        let is_same_name = self.server_name.as_deref().is_none_or(|name| name == host);
        if needs_certificate && !is_same_name {
            return Err(Misdirected::by_name("the host is not the server name of the connection"));
        }
        let Some(tls) = tls.filter(|tls| tls.names.ask_anywhere) else { return Ok(()) };
        let by_name = &tls.names.of_name(self.server_name.as_deref()).clients;
        // Nearly always it is the same name, which need not be looked up twice.
        let is_same_entry = self.server_name.as_deref() == Some(host);
        if !is_same_entry && !tls.names.of_host(host).clients.are_like(by_name) {
            let why = "the host asks for other certificates than the server name of the connection";
            return Err(Misdirected::by_name(why));
        }
        if by_name.auth != file::ClientAuth::Required {
            return Ok(());
        }
        match self.certificate(Some(tls), now) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Misdirected::by_name(
                "the server name asks for a certificate, and did not when the connection was made",
            )),
            Err(reason) => {
                Err(Misdirected { why: "the certificate of the connection is not good any more", reason: Some(reason) })
            }
        }
    }
}

impl Certificate {
    fn judged(&self, clients: &Clients, now: UnixTime) -> Result<(), Reason> {
        let mut verdict = self.verdict.lock();
        let is_fresh = (verdict.at.0..verdict.at.0 + VERDICT_SECONDS).contains(&now.0);
        if verdict.by != clients.fingerprint || !is_fresh {
            let outcome = match &clients.trust {
                Some(trust) => {
                    trust.verify(&self.own, &self.sent, now).map(drop).map_err(portcullis_x509::Fault::reason)
                }
                None => Err(Reason::CertificateUnknownCa),
            };
            *verdict = Verdict { by: clients.fingerprint, at: now, outcome };
        }
        verdict.outcome
    }
}
