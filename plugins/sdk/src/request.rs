use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, request::Parts};

use crate::{BoxFuture, Identity, UnixTime};

/// A client certificate, as the TLS layer saw it at the handshake.
#[derive(Clone, Debug)]
pub struct ClientCert {
    /// The certificate, DER encoded.
    pub der: Vec<u8>,
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is larger than the limit asked for, or than the engine can hold and still forward.
    #[error("the body is too large")]
    TooLarge,
    /// The client went away, or sent what is not a body.
    #[error("the body could not be read: {0}")]
    Broken(String),
}

/// What the engine lends a plugin for one request. The engine implements it over its session, tests by
/// [`testing::Request`](crate::testing::Request).
pub trait Exchange: Send + Sync {
    /// The request head as it was matched: the path is canonical.
    fn head(&self) -> &Parts;
    /// The client's address, after the hops that the configuration trusts; IPv4-mapped IPv6 is made plain.
    fn address(&self) -> IpAddr;
    /// The other end of the connection.
    fn peer(&self) -> SocketAddr;
    /// The client's certificate, where it sent one.
    fn certificate(&self) -> Option<&ClientCert>;
    /// The name of the matched route.
    fn route(&self) -> &str;
    /// The request's id, as in the logs and in `X-Request-ID`.
    fn request_id(&self) -> &str;
    /// Who is calling, once authentication has found out.
    fn identity(&self) -> Option<&Arc<Identity>>;
    /// The time of the request.
    fn now(&self) -> UnixTime;
    /// Reads the body whole; it is forwarded all the same. At most `limit` bytes, and at most 64 KiB.
    fn body(&mut self, limit: usize) -> BoxFuture<'_, Result<Bytes, BodyError>>;
}

/// One request, as a hook sees it.
pub struct RequestCx<'r> {
    exchange: &'r mut dyn Exchange,
}

impl<'r> RequestCx<'r> {
    /// Borrows the exchange for one hook.
    pub fn new(exchange: &'r mut dyn Exchange) -> Self {
        Self { exchange }
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

    /// The client's certificate, where it sent one.
    pub fn certificate(&self) -> Option<&ClientCert> {
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

    /// Reads the body whole, at most `limit` bytes; it is forwarded all the same.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] above the limit, and above the 64 KiB that can be held and still be forwarded.
    pub async fn body(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        self.exchange.body(limit).await
    }
}

/// A header that belongs to the engine: an identity header, a framing header, or one that names the client.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is set by the gateway alone")]
pub struct ManagedHeader(pub HeaderName);

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
    /// The path is not one that a client could have sent: what is wrong with it, in words.
    fn set_path(&mut self, path_and_query: &str) -> Result<(), String>;
}

/// The response on its way to the client.
pub trait ResponseHead: Send {
    /// Its status.
    fn status(&self) -> StatusCode;
    /// Changes its status.
    fn set_status(&mut self, status: StatusCode);
    /// Its headers.
    fn headers(&self) -> &HeaderMap;
    /// Sets a header in place of all of that name.
    ///
    /// # Errors
    /// [`ManagedHeader`] for headers that frame the message.
    fn set(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), ManagedHeader>;
    /// Removes all headers of that name, but for those that frame the message.
    fn remove(&mut self, name: &HeaderName);
}
