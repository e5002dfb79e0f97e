//! What the TLS layer knows of a connection, and what of it still holds when a request comes: the configuration may be
//! another one by then, and time has passed.

use openssl::{error::ErrorStack, x509::X509};
use parking_lot::Mutex;
use portcullis_plugin::{ClientCert, Reason, UnixTime};

use super::{clients::Clients, compiled::Tls};
use crate::config::file;

/// For how long a verdict about a certificate is believed: until then neither its dates nor its CRLs are looked at
/// again. A new configuration asks at once.
const VERDICT_SECONDS: i64 = 10;

/// A connection whose handshake succeeded.
pub struct Secured {
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

/// What was last found out about a certificate.
#[derive(Clone, Copy)]
struct Verdict {
    by: [u8; 32],
    at: UnixTime,
    outcome: Result<(), Reason>,
}

/// Why a request is on the wrong connection (RFC 9110 section 15.5.20): on a connection of its own it may do better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misdirected {
    /// In words.
    pub why: &'static str,
    /// For the log, where there is more to say.
    pub reason: Option<Reason>,
}

impl Misdirected {
    fn by_name(why: &'static str) -> Self {
        Self { why, reason: Some(Reason::ServerNameMismatch) }
    }

    /// The connection is older than what makes it the wrong one.
    pub fn by_age(why: &'static str) -> Self {
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

    /// The client's certificate by what the configuration says now; see
    /// [`RequestCx::certificate`](portcullis_plugin::RequestCx::certificate).
    pub fn certificate(&self, tls: Option<&Tls>, now: UnixTime) -> Result<Option<&ClientCert>, Reason> {
        let Some(certificate) = &self.certificate else { return Ok(None) };
        let clients = tls.map(|tls| &tls.names.of_name(self.server_name.as_deref()).clients);
        // Nobody vouches for it any more.
        let Some(clients) = clients.filter(|clients| clients.trust.is_some()) else {
            return Err(Reason::CertificateUnknownCa);
        };
        certificate.judged(clients, now).map(|()| Some(&certificate.shown))
    }

    /// Whether a request to this host, in lower case and without its port, belongs on this connection. A connection
    /// says once who it is for, and every request on it again: where the two are not asked for certificates alike, the
    /// request would get around the question. With `needs_certificate` both have to be the same name.
    ///
    /// A name that requires a certificate requires it of every request, also of those that no policy asks: one that was
    /// revoked or has expired since would not get as far today.
    pub fn fits(
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
