use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, request::Parts};
use sha2::{Digest, Sha256};

use crate::{BoxFuture, Identity, ManagedHeader, PolicyData, Reason, UnixTime};

/// A client certificate, as the TLS layer saw it at the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCert {
    /// The certificate, DER encoded.
    pub der: Vec<u8>,
    /// The certificates that the client sent after it, in that order, DER encoded: as a rule those that lead to a CA,
    /// without the CA's own. Nothing says that they belong together; only the certificate itself was verified.
    pub chain: Vec<Vec<u8>>,
    /// The SHA-256 of `der`.
    pub sha256: [u8; 32],
}

impl ClientCert {
    /// A certificate and what came with it.
    pub fn new(der: Vec<u8>, chain: Vec<Vec<u8>>) -> Self {
        let sha256 = Sha256::digest(&der).into();
        Self { der, chain, sha256 }
    }
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is larger than the limit asked for.
    #[error("the body is too large")]
    TooLarge,
    /// All requests together hold as much as they may: `server.max_held_body_bytes`.
    #[error("too many bodies are held at once")]
    NoRoom,
    /// The client went away, or sent a malformed body.
    #[error("the body could not be read: {0}")]
    Broken(String),
}

/// The engine's side of a [`RequestCx`]. The engine implements it over its session, tests by
/// [`testing::Request`](crate::testing::Request).
pub trait Exchange: Send + Sync {
    /// The request head as it was matched: the path is canonical.
    fn head(&self) -> &Parts;
    /// The client's address, after the hops that the configuration trusts; IPv4-mapped IPv6 is made plain.
    fn address(&self) -> IpAddr;
    /// The other end of the connection.
    fn peer(&self) -> SocketAddr;
    /// The client's certificate; see [`RequestCx::certificate`].
    fn certificate(&self) -> Result<Option<&ClientCert>, Reason>;
    /// The name of the matched route.
    fn route(&self) -> &str;
    /// The request's id, as in the logs and in `X-Request-ID`.
    fn request_id(&self) -> &str;
    /// Who is calling, once authentication has found out.
    fn identity(&self) -> Option<&Arc<Identity>>;
    /// The time of the request.
    fn now(&self) -> UnixTime;
    /// The request's target in origin form as it came, before its path was made canonical: what a signature is over.
    fn received_target(&self) -> &str;
    /// Returns `true` if the client spoke TLS, to the gateway or to a hop that is trusted.
    fn is_https(&self) -> bool;
    /// Returns the part of the path at `{name}` of the route's pattern, still percent-encoded.
    fn path_parameter(&self, name: &str) -> Option<&str>;
    /// Reads the body whole; it is forwarded all the same.
    fn body(&mut self, limit: usize) -> BoxFuture<'_, Result<Bytes, BodyError>>;
    /// Lets the body take memory that is kept free for clients that have proven themselves.
    fn vouch(&mut self);
    /// Has the body held back until it is whole and `check` has accepted it. `policy` is the number of the policy that
    /// asks for it.
    fn hold_body(&mut self, policy: usize, limit: usize, check: BodyCheck);
    /// The data that policies keep with the request.
    fn data(&self) -> &PolicyData;
}

/// Judges a whole body: the reason for which it is refused (401), if it is.
pub type BodyCheck = Box<dyn FnOnce(&[u8]) -> Result<(), Reason> + Send + Sync>;

/// One request, as a hook sees it.
pub struct RequestCx<'r> {
    exchange: &'r mut dyn Exchange,
    policy: usize,
}

impl<'r> RequestCx<'r> {
    /// Borrows the exchange for one hook.
    pub fn new(exchange: &'r mut dyn Exchange) -> Self {
        Self { exchange, policy: 0 }
    }

    /// Says whose hook is called next: the policy's number in its configuration. Only the engine calls it.
    pub fn enter(&mut self, policy: usize) {
        self.policy = policy;
    }

    /// Keeps a value for later hooks of the same policy, in place of its last of this type; every hook that is called
    /// with the request can ask for it, [`Observe`](crate::Observe) too. It lasts as long as the request, and is dropped
    /// however that ends: with its response, at a deadline, when the client leaves, after a panic.
    ///
    /// ```
    /// use portcullis_plugin::testing;
    ///
    /// struct Attempt(u32);
    ///
    /// let mut request = testing::Request::get("/");
    /// request.cx().set_data(Attempt(3));
    /// assert_eq!(request.cx().data::<Attempt>().map(|attempt| attempt.0), Some(3));
    /// ```
    pub fn set_data<T: Send + Sync + 'static>(&self, value: T) {
        self.exchange.data().set(self.policy, value);
    }

    /// Returns the value of this type that an earlier hook of the same policy has kept.
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.exchange.data().get(self.policy)
    }

    /// The request head; its path is the canonical one.
    pub fn head(&self) -> &Parts {
        self.exchange.head()
    }

    /// The request's headers, as they came.
    pub fn headers(&self) -> &HeaderMap {
        &self.head().headers
    }

    /// The request's method.
    pub fn method(&self) -> &Method {
        &self.head().method
    }

    /// The canonical path: what was matched and will be forwarded.
    pub fn path(&self) -> &str {
        self.head().uri.path()
    }

    /// The query, as it came.
    pub fn query(&self) -> Option<&str> {
        self.head().uri.query()
    }

    /// The client's address, after trusted hops.
    pub fn address(&self) -> IpAddr {
        self.exchange.address()
    }

    /// The other end of the connection.
    pub fn peer(&self) -> SocketAddr {
        self.exchange.peer()
    }

    /// The certificate that the client proved to hold when this connection was made; `None` where it sent none. It was
    /// verified then, and what a newer configuration trusts was looked at for this request.
    ///
    /// # Errors
    /// A certificate was sent, and it is not acceptable, or not any more: it has expired or was revoked since, or its
    /// CA is no longer trusted. Whoever goes by certificates refuses the request for this reason, and does not take it
    /// for one without a certificate.
    pub fn certificate(&self) -> Result<Option<&ClientCert>, Reason> {
        self.exchange.certificate()
    }

    /// The name of the matched route.
    pub fn route(&self) -> &str {
        self.exchange.route()
    }

    /// The request's id.
    pub fn request_id(&self) -> &str {
        self.exchange.request_id()
    }

    /// Who is calling; `None` before authentication and on public routes.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.exchange.identity()
    }

    /// The time of the request.
    pub fn now(&self) -> UnixTime {
        self.exchange.now()
    }

    /// The request's target in origin form as it came, query and all, before its path was made canonical. A signature
    /// is over this; everything else goes by [`RequestCx::path`].
    pub fn received_target(&self) -> &str {
        self.exchange.received_target()
    }

    /// Returns `true` if the client spoke TLS, to the gateway or to a hop that is trusted.
    pub fn is_https(&self) -> bool {
        self.exchange.is_https()
    }

    /// Returns the part of the path at `{name}` or `{*name}` of the route's pattern, still percent-encoded.
    pub fn path_parameter(&self, name: &str) -> Option<&str> {
        self.exchange.path_parameter(name)
    }

    /// Reads the body whole, at most `limit` bytes, before the upstream is connected; it is forwarded all the same.
    ///
    /// # Errors
    /// [`BodyError`], which says for each of its variants when.
    pub async fn body(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        self.exchange.body(limit).await
    }

    /// Says that whoever sends this request has proven themselves from their address a while ago, though this request
    /// is not judged yet: its body may take the part of `server.max_held_body_bytes` that is kept free for such
    /// clients, so that bodies of strangers leave room for it.
    pub fn vouch(&mut self) {
        self.exchange.vouch();
    }

    /// Has the whole body judged when everything else about the request has been decided, other hooks' verdicts
    /// included: the upstream gets nothing of the request before `check` has said yes. Everything else has to be proven
    /// already. A body above `limit` is refused; what an authenticator asked for counts only if it granted.
    pub fn hold_body(&mut self, limit: usize, check: BodyCheck) {
        self.exchange.hold_body(self.policy, limit, check);
    }
}

/// The request as it will go to the upstream, while plugins may still change it.
pub trait RequestHead: Send {
    /// Its headers.
    fn headers(&self) -> &HeaderMap;
    /// The path that will be asked for.
    fn path(&self) -> &str;
    /// Sets a header in place of all of that name.
    ///
    /// # Errors
    /// [`ManagedHeader`] where the name belongs to the engine.
    fn set(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), ManagedHeader>;
    /// Removes all headers of that name. Removing what the engine manages does nothing.
    fn remove(&mut self, name: &HeaderName);
    /// Asks the upstream for another path (with or without a query). It is made canonical like any other.
    ///
    /// # Errors
    /// The problem of a path that no client could have sent, in words.
    fn set_path(&mut self, path_and_query: &str) -> Result<(), String>;
}

/// The response on its way to the client.
///
/// Of the gateway's own answers ([`is_own`](Self::is_own)) a plugin may add and remove headers, but for those that make
/// them what they are: the status does not change, nor do challenges, `Cache-Control`, `Location` and the like.
pub trait ResponseHead: Send {
    /// Returns `true` for a refusal, an error, or an answer that a plugin has made; `false` for the upstream's, and for
    /// what the route says by `respond` or `echo`.
    fn is_own(&self) -> bool;
    /// Its status.
    fn status(&self) -> StatusCode;
    /// Changes its status, unless it is the gateway's own answer.
    fn set_status(&mut self, status: StatusCode);
    /// Its headers.
    fn headers(&self) -> &HeaderMap;
    /// Sets a header in place of all of that name.
    ///
    /// # Errors
    /// [`ManagedHeader`] for headers that frame the message, and for those that the gateway's own answer has to have.
    fn set(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), ManagedHeader>;
    /// Adds a header beside those of that name: another `Set-Cookie`, another `Vary`.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    fn append(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), ManagedHeader>;
    /// Removes all headers of that name, but for those that cannot be set.
    fn remove(&mut self, name: &HeaderName);
}
