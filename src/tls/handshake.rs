//! One TLS handshake, and the reasons for which it can fail.

use std::sync::Arc;

use openssl::{
    error::ErrorStack,
    ssl::{self, Ssl, SslRef},
};
use pingora::protocols::{l4::stream::Stream as L4Stream, tls::SslStream};
use portcullis_plugin::Reason;

use super::{
    compiled::Tls,
    observer::{HandshakeObserver, attach},
    secured::Secured,
};
use crate::config::file;

/// The reason why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The client's certificate was not accepted.
    Certificate(Reason),
    /// The client sent no certificate, and one is required.
    NoCertificate,
    /// The server name is unknown, and unknown names are refused.
    UnknownName,
    /// There is no version that both support.
    Version,
    /// There is no cipher, group or signature that both support, or no application protocol.
    NothingInCommon,
    /// The client did not accept our certificate, or sent another alert.
    RefusedByClient,
    /// The client spoke plain HTTP.
    PlainHttp,
    /// The client sent a PROXY protocol header, which is not expected from it.
    UnexpectedProxyProtocol,
    /// The handshake took too long.
    Timeout,
    /// The client left.
    Closed,
    /// The client did not speak TLS, or it was malformed.
    Malformed,
}

impl Failure {
    /// Returns the code for log and metric.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Certificate(reason) => reason.code(),
            Self::NoCertificate => "certificate_absent",
            Self::UnknownName => "server_name_unknown",
            Self::Version => "version",
            Self::NothingInCommon => "nothing_in_common",
            Self::RefusedByClient => "refused_by_client",
            Self::PlainHttp => "plain_http",
            Self::UnexpectedProxyProtocol => "proxy_protocol_unexpected",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Malformed => "malformed",
        }
    }
}

/// The result of a handshake, for log and metric.
pub(crate) struct Handshake {
    /// The requested name.
    pub server_name: Option<Box<str>>,
    /// The subject of a certificate that was not accepted, as the certificate has it.
    pub subject: Option<String>,
    /// Its issuer, as the certificate has it: if the issuer is not known, this tells somebody else's CA from an
    /// intermediate that the client should have sent along.
    pub issuer: Option<String>,
    /// Set if the client sent anything. One that connects and leaves only checks whether the port is open.
    pub has_begun: bool,
    /// `Ok` says whether a session was resumed; `Err` is the reason of the failure.
    pub outcome: Result<bool, Failure>,
}

/// A connection whose handshake is over, successful or not.
pub(crate) struct HandshakeResult {
    /// The result.
    pub handshake: Handshake,
    /// The connection. After a failure it can only be closed.
    pub stream: Option<SslStream<L4Stream>>,
    /// The facts known about it, if the handshake succeeded.
    pub secured: Option<Secured>,
}

/// Performs a handshake on a connection to this listener.
pub(crate) async fn accept(tls: &Tls, plain: L4Stream) -> HandshakeResult {
    let observer = Arc::new(HandshakeObserver::default());
    let made = Ssl::new(&tls.entry().1).map(|mut ssl| {
        attach(&mut ssl, &observer);
        ssl
    });
    let Some(mut stream) = made.ok().and_then(|ssl| SslStream::new(ssl, plain).ok()) else {
        return HandshakeResult { handshake: observer.result(Err(Failure::Malformed)), stream: None, secured: None };
    };
    let outcome = match pingora::time::timeout(tls.handshake_timeout, stream.accept()).await {
        Ok(Ok(())) => observer.secured(stream.ssl()),
        Ok(Err(error)) => Err(observer.failure(&error)),
        Err(_) => Err(Failure::Timeout),
    };
    let is_resumed = stream.ssl().session_reused();
    match outcome {
        Ok(secured) => {
            HandshakeResult { handshake: observer.result(Ok(is_resumed)), stream: Some(stream), secured: Some(secured) }
        }
        Err(failure) => {
            HandshakeResult { handshake: observer.result(Err(failure)), stream: Some(stream), secured: None }
        }
    }
}

impl HandshakeObserver {
    fn result(&self, outcome: Result<bool, Failure>) -> Handshake {
        let (asked, named) = (self.asked.get(), self.named.get());
        Handshake {
            server_name: asked.and_then(|(server_name, _)| server_name.clone()),
            subject: named.map(|(subject, _)| subject.clone()),
            issuer: named.map(|(_, issuer)| issuer.clone()),
            has_begun: asked.is_some(),
            outcome,
        }
    }

    /// Returns the facts that a successful handshake established.
    fn secured(&self, ssl: &SslRef) -> Result<Secured, Failure> {
        let Some((server_name, Some(name))) = self.asked.get() else { return Err(Failure::Malformed) };
        let clients = &name.clients;
        // A name that asks for certificates accepts no session: one that was resumed all the same brings another name's
        // certificate.
        if clients.trust.is_some() && ssl.session_reused() {
            return Err(Failure::Malformed);
        }
        let own = ssl.peer_certificate().filter(|_| clients.trust.is_some());
        if own.is_none() && clients.auth == file::ClientAuth::Required {
            return Err(Failure::NoCertificate);
        }
        let sent = || ssl.peer_cert_chain().into_iter().flatten().map(ToOwned::to_owned);
        let certificate = own.map(|own| (own, sent().collect()));
        Secured::new(server_name.clone(), clients, certificate).map_err(|_| Failure::Malformed)
    }

    fn failure(&self, error: &ssl::Error) -> Failure {
        if let Some(fault) = self.fault.get() {
            return Failure::Certificate(fault.reason());
        }
        if matches!(self.asked.get(), Some((_, None))) {
            return Failure::UnknownName;
        }
        match error.ssl_error() {
            Some(stack) => of_openssl(stack),
            None => Failure::Closed,
        }
    }
}

/// Maps numbers of OpenSSL's sslerr.h, which are part of its interface. The first error of its TLS library is the
/// cause: those of other libraries have numbers of their own, and may be older.
fn of_openssl(stack: &ErrorStack) -> Failure {
    /// The number of a client's alert (RFC 8446 section 6) is added to this.
    const ALERTS: i32 = 1000;
    /// `ERR_LIB_SSL` of OpenSSL's err.h.
    const TLS_LIBRARY: i32 = 20;
    if stack.errors().is_empty() {
        return Failure::Closed;
    }
    let own = stack.errors().iter().find(|error| error.library_code() == TLS_LIBRARY);
    let Some(first) = own else { return Failure::Malformed };
    match first.reason_code() {
        // UNEXPECTED_EOF_WHILE_READING
        294 => Failure::Closed,
        // PEER_DID_NOT_RETURN_A_CERTIFICATE
        199 => Failure::NoCertificate,
        // UNSUPPORTED_PROTOCOL, VERSION_TOO_LOW, NO_PROTOCOLS_AVAILABLE
        258 | 396 | 191 => Failure::Version,
        // NO_SHARED_CIPHER, NO_SHARED_GROUPS, NO_SUITABLE_KEY_SHARE, NO_SUITABLE_SIGNATURE_ALGORITHM,
        // NO_SHARED_SIGNATURE_ALGORITHMS, NO_APPLICATION_PROTOCOL
        193 | 410 | 101 | 118 | 376 | 235 => Failure::NothingInCommon,
        // HTTP_REQUEST, HTTPS_PROXY_REQUEST
        156 | 155 => Failure::PlainHttp,
        alert if alert >= ALERTS => Failure::RefusedByClient,
        _ => Failure::Malformed,
    }
}
