//! Those who ask: an HTTP client for what is well formed, raw bytes for what is not, a WebSocket; by TLS or not.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Mutex,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

use super::{
    AnyBody, Feed, LIMIT, chunks,
    tls::{Stream, Tls},
    within,
};

/// A client of one address that keeps one connection, and opens another only when that one has been closed.
pub(crate) struct Client {
    address: SocketAddr,
    version: Version,
    tls: Option<Tls>,
    connection: Mutex<Connection>,
}

#[derive(Default)]
struct Connection {
    sender: Option<Sender>,
    opened: usize,
}

enum Sender {
    Http1(http1::SendRequest<AnyBody>),
    Http2(http2::SendRequest<AnyBody>),
}

impl Client {
    /// Speaks HTTP/1.1. Requests at the same time wait for each other; use one client each.
    pub(crate) fn http1(address: SocketAddr) -> Self {
        Self { address, version: Version::HTTP_11, tls: None, connection: Mutex::default() }
    }

    /// Speaks HTTP/2 by prior knowledge (RFC 9113 section 3.3). Requests at the same time share the connection.
    pub(crate) fn http2(address: SocketAddr) -> Self {
        Self { version: Version::HTTP_2, ..Self::http1(address) }
    }

    /// Speaks TLS, and by it the version of HTTP that it offers. Asks for the name that TLS asks for.
    pub(crate) fn by_tls(address: SocketAddr, tls: &Tls) -> Self {
        Self { version: tls.http(), tls: Some(tls.clone()), ..Self::http1(address) }
    }

    /// A request without a body.
    pub(crate) fn get(&self, target: &str) -> Asking<'_> {
        self.request("GET", target)
    }

    /// A request with a body.
    pub(crate) fn post(&self, target: &str, body: impl Into<Bytes>) -> Asking<'_> {
        self.request("POST", target).body(body)
    }

    /// A request with any method. The target is a path and query.
    pub(crate) fn request(&self, method: &str, target: &str) -> Asking<'_> {
        let target: Uri = target.parse().expect("a path that a client would send; for others there is `raw`");
        let mut request = Request::new(Full::default().boxed_unsync());
        *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("a method; for others there is `raw`");
        *request.uri_mut() = target;
        let name = self.tls.as_ref().and_then(Tls::asked_name);
        Asking { client: self, request, host: name.map_or_else(|| self.address.to_string(), str::to_owned) }
    }

    /// How many connections it has opened so far.
    pub(crate) async fn connections(&self) -> usize {
        self.connection.lock().await.opened
    }

    async fn exchange(&self, request: Request<AnyBody>) -> Result<http::Response<Incoming>, hyper::Error> {
        let mut connection = self.connection.lock().await;
        let is_open = match &mut connection.sender {
            Some(Sender::Http1(sender)) => sender.ready().await.is_ok(),
            Some(Sender::Http2(sender)) => sender.ready().await.is_ok(),
            None => false,
        };
        if !is_open {
            connection.sender = Some(self.connect().await?);
            connection.opened += 1;
        }
        match connection.sender.as_mut().expect("opened above") {
            Sender::Http1(sender) => sender.send_request(request).await,
            Sender::Http2(sender) => {
                let mut sender = sender.clone();
                drop(connection);
                sender.send_request(request).await
            }
        }
    }

    async fn connect(&self) -> Result<Sender, hyper::Error> {
        let stream = TokioIo::new(open(self.address, self.tls.as_ref()).await);
        // The connection's own task ends with the connection, or with the test's runtime.
        if self.version == Version::HTTP_2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(connection);
            return Ok(Sender::Http2(sender));
        }
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Sender::Http1(sender))
    }
}

/// A connection that is ready to be spoken on.
async fn open(address: SocketAddr, tls: Option<&Tls>) -> Box<dyn Stream> {
    let stream = connect(address).await;
    match tls {
        None => Box::new(stream),
        Some(tls) => Box::new(tls.connect(stream).await.unwrap_or_else(|error| panic!("no handshake: {error}"))),
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = within("a connection", TcpStream::connect(address)).await;
    let stream = stream.unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_nodelay(true).expect("a connected socket");
    stream
}

/// A request that is being put together.
#[must_use = "nothing is sent before `send` or `open`"]
pub(crate) struct Asking<'a> {
    client: &'a Client,
    request: Request<AnyBody>,
    host: String,
}

impl Asking<'_> {
    /// Adds a header; the same name again adds another line.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name; for others there is `raw`");
        self.request.headers_mut().append(name, HeaderValue::from_str(value).expect("a header value"));
        self
    }

    /// The host to ask for; without it the address.
    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    /// Sends this body, its length known.
    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        *self.request.body_mut() = Full::new(body.into()).boxed_unsync();
        self
    }

    /// Sends what is given to the feed, until the feed is dropped.
    pub(crate) fn streamed(mut self) -> (Self, Feed) {
        let (feed, body) = chunks();
        *self.request.body_mut() = body.boxed_unsync();
        (self, feed)
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn send(self) -> Response {
        within("a whole answer", async { self.open().await.read().await }).await
    }

    /// Sends it and reads the head of the answer; the body comes by [`Opened::next`].
    pub(crate) async fn open(self) -> Opened {
        self.attempt().await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    /// The same where the exchange itself may fail, as when the gateway ends in the middle.
    pub(crate) async fn attempt(mut self) -> Result<Opened, hyper::Error> {
        if self.client.version == Version::HTTP_2 {
            let target = self.request.uri().path_and_query().map_or("/", |target| target.as_str());
            let scheme = if self.client.tls.is_some() { "https" } else { "http" };
            let uri = format!("{scheme}://{}{target}", self.host).parse().expect("a host that a client would send");
            *self.request.uri_mut() = uri;
        } else {
            let host = HeaderValue::from_str(&self.host).expect("a host that a client would send");
            self.request.headers_mut().insert(header::HOST, host);
        }
        // On the heap: the future of a handshake is larger than a test's own should be.
        let exchange = Box::pin(self.client.exchange(self.request));
        let (head, body) = within("an answer", exchange).await?.into_parts();
        Ok(Opened { head, body, trailers: None })
    }
}

/// An answer whose body is still coming.
pub(crate) struct Opened {
    head: http::response::Parts,
    body: Incoming,
    trailers: Option<HeaderMap>,
}

impl Opened {
    /// The status.
    pub(crate) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// The value of a header that came at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        only(&self.head.headers, name)
    }

    /// Whether nothing follows the head: in HTTP/2 it was the last frame.
    pub(crate) fn has_ended(&self) -> bool {
        self.body.is_end_stream()
    }

    /// The next piece of the body; `None` at its end. An answer that is cut off is an error.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            match within("more of an answer", self.body.frame()).await? {
                Ok(frame) => match frame.into_data() {
                    // HTTP/2 may end a body by an empty frame.
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Some(Ok(data)),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }

    async fn read(mut self) -> Response {
        let mut body = Vec::new();
        while let Some(chunk) = self.next().await {
            body.extend_from_slice(&chunk.unwrap_or_else(|error| panic!("the answer was cut off: {error:?}")));
        }
        Response { status: self.status(), headers: self.head.headers, body, trailers: self.trailers }
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Response {
    /// The status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// What came after the body, if anything did.
    pub(crate) trailers: Option<HeaderMap>,
}

impl Response {
    /// The value of a header that came at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        only(&self.headers, name)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }
}

/// The value of a header that came at most once.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(|value| value.to_str().expect("a header of visible ASCII"));
    assert_eq!(values.next(), None, "{name} came more than once");
    value
}

/// Sends exactly these bytes and gives back all that comes, until the peer closes. A peer that has answered and neither
/// closes nor says more costs a second: send `Connection: close` where that changes nothing.
pub(crate) async fn raw(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut raw = Raw::open(address).await;
    raw.send(bytes).await;
    raw.rest().await
}

/// A connection on which nothing is done but what the test says.
pub(crate) struct Raw {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
}

impl Raw {
    /// Opens it.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self { stream: open(address, None).await, received: Vec::new() }
    }

    /// Opens it, and shakes hands; the bytes go through TLS. What went wrong, where that failed.
    pub(crate) async fn open_by_tls(address: SocketAddr, tls: &Tls) -> Result<Self, String> {
        let stream = tls.connect(connect(address).await).await?;
        Ok(Self { stream: Box::new(stream), received: Vec::new() })
    }

    /// Sends these bytes, and then shakes hands: what a load balancer does that says whose connection it brings.
    pub(crate) async fn open_by_tls_after(address: SocketAddr, first: &[u8], tls: &Tls) -> Result<Self, String> {
        let mut stream = connect(address).await;
        stream.write_all(first).await.map_err(|error| error.to_string())?;
        Ok(Self { stream: Box::new(tls.connect(stream).await?), received: Vec::new() })
    }

    /// Sends exactly these bytes. A peer that has already closed is no error: what it said before can be read.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Says that nothing more comes: the peer reads the end of the stream, and can still answer.
    pub(crate) async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads until these bytes have come, and gives back everything up to and with them.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.received.windows(end.len()).position(|window| window == end.as_bytes()) {
                let rest = self.received.split_off(at + end.len());
                return String::from_utf8_lossy(&std::mem::replace(&mut self.received, rest)).into_owned();
            }
            let read = within(&format!("{end:?}"), self.stream.read_buf(&mut self.received)).await;
            let is_closed = !read.is_ok_and(|length| length > 0);
            assert!(!is_closed, "closed before {end:?} came, after {:?}", String::from_utf8_lossy(&self.received));
        }
    }

    /// Everything that still comes until the peer closes, or has said something and then nothing for a second.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        loop {
            let patience = if self.received.is_empty() { LIMIT } else { Duration::from_secs(1) };
            match tokio::time::timeout(patience, self.stream.read_buf(&mut self.received)).await {
                Ok(Ok(length)) if length > 0 => {}
                // The end of the stream, a reset, or silence: what came before it is the answer.
                _ => return self.received,
            }
        }
    }

    /// Waits until the peer closes the connection; false if it has not within the time.
    pub(crate) async fn is_closed_within(&mut self, limit: Duration) -> bool {
        let closed = async { while self.stream.read_buf(&mut self.received).await.is_ok_and(|length| length > 0) {} };
        tokio::time::timeout(limit, closed).await.is_ok()
    }
}

/// A WebSocket (RFC 6455) as a client sees it.
pub(crate) struct WebSocket(WebSocketStream<Box<dyn Stream>>);

impl WebSocket {
    /// Shakes hands. The answer, where it is not 101.
    pub(crate) async fn open(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Result<Self, Response> {
        Self::open_on(open(address, None).await, &address.to_string(), target, headers).await
    }

    /// The same through TLS.
    pub(crate) async fn open_by_tls(
        address: SocketAddr,
        tls: &Tls,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Response> {
        let host = tls.asked_name().map_or_else(|| address.to_string(), str::to_owned);
        Self::open_on(open(address, Some(tls)).await, &host, target, headers).await
    }

    /// The same with another host than the one that TLS asks for.
    pub(crate) async fn open_on_host(
        address: SocketAddr,
        tls: &Tls,
        host: &str,
        target: &str,
    ) -> Result<Self, Response> {
        Self::open_on(open(address, Some(tls)).await, host, target, &[]).await
    }

    async fn open_on(
        stream: Box<dyn Stream>,
        host: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Response> {
        let mut request = format!("ws://{host}{target}").into_client_request().expect("a target");
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a header name");
            request.headers_mut().append(name, HeaderValue::from_str(value).expect("a header value"));
        }
        match within("a WebSocket handshake", client_async(request, stream)).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(refused)) => {
                let (head, body) = refused.into_parts();
                let body = body.unwrap_or_default();
                Err(Response { status: head.status.as_u16(), headers: head.headers, body, trailers: None })
            }
            Err(error) => panic!("no handshake: {error}"),
        }
    }

    /// Sends a text message.
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.expect("an open WebSocket");
    }

    /// The next text message; `None` once the connection has been closed.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            match within("a WebSocket message", self.0.next()).await {
                Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }
}
