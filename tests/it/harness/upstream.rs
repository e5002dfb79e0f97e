//! A server behind the gateway that remembers what reached it. HTTP/1.1, HTTP/2 by prior knowledge and WebSocket.
//!
//! The path chooses the answer, whatever stands before its last known part being the gateway's business:
//!
//! | path | answer |
//! |---|---|
//! | `/status/418` | that status |
//! | `/slow?ms=200` | 200, after the request is read and the time has passed |
//! | `/stream?chunks=3&ms=10` | `chunk 0\n` and so on, one each interval |
//! | `/sse?chunks=3&ms=10` | the same as `text/event-stream` |
//! | `/held` | what the test gives to [`Upstream::send`], until [`Upstream::finish`] |
//! | `/echo` | the request's body, both ways at once |
//! | `content-type: application/grpc` | the body back, and the trailer `grpc-status: 0` |
//! | a WebSocket handshake | an echo of every message |
//! | anything else | 200 and a little JSON |
//!
//! [`Upstream::with`] takes the place of the table.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

use self::serving::Serving;
use super::{AnyBody, Chunks, Feed, chunks, eventually, within};

pub(crate) mod frames;
mod raw;
mod serving;
mod tls;

pub(crate) use frames::FrameUpstream;
pub(crate) use raw::RawUpstream;
use tls::Shaken;
pub(crate) use tls::TlsServer;

/// A recording server on a port of its own. Dropping it closes the port and every connection.
pub(crate) struct Upstream {
    serving: Serving,
    site: Arc<Site>,
    held: mpsc::UnboundedSender<Option<Bytes>>,
    shakings: tls::Shakings,
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// Which connection it came on, counted from 1.
    pub(crate) connection: usize,
    /// The version of HTTP.
    pub(crate) version: Version,
    /// The method, as sent.
    pub(crate) method: String,
    /// The request target as sent: path and query, not decoded. For HTTP/2 `:path`.
    pub(crate) target: String,
    /// `:authority` of HTTP/2; `Host` is among the headers.
    pub(crate) authority: Option<String>,
    /// Names in lower case, several values of a name one after the other, a `char` for each byte of a value.
    /// [`RawUpstream`] shows the bytes themselves.
    pub(crate) headers: Vec<(String, String)>,
    /// As much of the body as has come.
    pub(crate) body: Vec<u8>,
    /// Whether the body has come to its proper end.
    pub(crate) is_complete: bool,
}

impl Recorded {
    /// The value of a header that came at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} came {} times: {values:?}", values.len());
        values.first().copied()
    }

    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A number from the query.
    fn number(&self, name: &str) -> Option<u64> {
        let (_, query) = self.target.split_once('?')?;
        let (_, value) = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name)?;
        value.parse().ok()
    }
}

/// An answer that is known once the request is read.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
    after: Duration,
}

impl Reply {
    /// An empty answer with this status.
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new(), trailers: None, after: Duration::ZERO }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a header value");
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    /// Sets the body.
    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Adds a trailer: the body then has no length that is known beforehand.
    pub(crate) fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        self.trailers.get_or_insert_default().append(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    /// Answers so much later.
    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.after = delay;
        self
    }

    fn into_response(self) -> Response<AnyBody> {
        let body = match self.trailers {
            None => Full::new(self.body).boxed_unsync(),
            Some(trailers) => {
                let (feed, body) = chunks();
                feed.send(self.body);
                feed.end_with(trailers);
                body.boxed_unsync()
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a status code");
        *response.headers_mut() = self.headers;
        response
    }
}

impl Upstream {
    /// Starts one that answers by path.
    pub(crate) fn start() -> Self {
        Self::new(None, None, None)
    }

    /// Starts one that answers by path, at this address.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self::new(None, None, Some(address))
    }

    /// Starts one that answers by path, over TLS.
    pub(crate) fn tls(server: &TlsServer) -> Self {
        Self::new(None, Some(server), None)
    }

    /// The same at this address.
    pub(crate) fn tls_at(server: &TlsServer, address: SocketAddr) -> Self {
        Self::new(None, Some(server), Some(address))
    }

    /// Starts one that answers what the function says. WebSocket handshakes do not ask it.
    pub(crate) fn with(answer: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Self {
        Self::new(Some(Box::new(answer)), None, None)
    }

    fn new(answer: Option<Answer>, server: Option<&TlsServer>, at: Option<SocketAddr>) -> Self {
        let (held, to_send) = mpsc::unbounded_channel();
        let to_send = tokio::sync::Mutex::new(to_send);
        let site = Arc::new(Site { saw: Mutex::default(), changed: watch::Sender::new(()), answer, to_send });
        let shared = Arc::clone(&site);
        let shakings = tls::Shakings::default();
        let record = Arc::clone(&shakings);
        let acceptor = server.map(TlsServer::acceptor);
        let at = at.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        let serving = Serving::start_at(at, move |stream, number| {
            let (site, acceptor, record) = (Arc::clone(&shared), acceptor.clone(), Arc::clone(&record));
            async move {
                match acceptor {
                    None => connection(site, stream, number).await,
                    Some(acceptor) => {
                        if let Some(stream) = tls::accept(&acceptor, stream, &record).await {
                            connection(site, stream, number).await;
                        }
                    }
                }
            }
        });
        Self { serving, site, held, shakings }
    }

    /// What clients said in their handshakes, in order, also in those that failed.
    pub(crate) fn shakings(&self) -> Vec<Shaken> {
        self.shakings.lock().expect("no holder panics").clone()
    }

    /// What the first client said in its handshake. A client that refuses knows the end of it before the server does.
    pub(crate) async fn first_shaking(&self) -> Shaken {
        eventually("a client shakes hands", async || !self.shakings().is_empty()).await;
        self.shakings().remove(0)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.serving.address
    }

    /// Every request so far, in order of arrival.
    pub(crate) fn saw(&self) -> Vec<Recorded> {
        self.site.lock().clone()
    }

    /// The latest request.
    pub(crate) fn last(&self) -> Recorded {
        self.site.lock().last().cloned().expect("no request has reached the upstream")
    }

    /// How many requests have arrived, answered or not.
    pub(crate) fn requests(&self) -> usize {
        self.site.lock().len()
    }

    /// Waits until so many requests have arrived.
    pub(crate) async fn wait_for(&self, requests: usize) {
        let mut changed = self.site.changed.subscribe();
        let enough = changed.wait_for(|()| self.requests() >= requests);
        within(&format!("{requests} requests at the upstream"), enough).await.expect("the site is alive");
    }

    /// Sends a chunk to the request on `/held`.
    pub(crate) fn send(&self, chunk: impl Into<Bytes>) {
        self.held.send(Some(chunk.into())).expect("the site is alive");
    }

    /// Ends the body of the request on `/held`.
    pub(crate) fn finish(&self) {
        self.held.send(None).expect("the site is alive");
    }
}

type Answer = Box<dyn Fn(&Recorded) -> Reply + Send + Sync>;

/// What all connections share.
struct Site {
    saw: Mutex<Vec<Recorded>>,
    changed: watch::Sender<()>,
    answer: Option<Answer>,
    to_send: tokio::sync::Mutex<mpsc::UnboundedReceiver<Option<Bytes>>>,
}

impl Site {
    fn lock(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.saw.lock().expect("no holder panics")
    }
}

async fn connection(site: Arc<Site>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, number: usize) {
    let service = service_fn(|request| {
        let arrived = Arrived::record(Arc::clone(&site), number, request);
        async move { Ok::<_, Infallible>(answer(arrived).await) }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    // A peer that goes away in the middle is not the upstream's fault, and what it sent is on record.
    let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}

/// A request whose body is still coming; what comes is put on record.
struct Arrived {
    site: Arc<Site>,
    index: usize,
    recorded: Recorded,
    request: Request<Incoming>,
}

impl Arrived {
    fn record(site: Arc<Site>, connection: usize, request: Request<Incoming>) -> Self {
        let is_http2 = request.version() == Version::HTTP_2;
        let target = match request.uri().path_and_query() {
            Some(target) if is_http2 => target.to_string(),
            _ => request.uri().to_string(),
        };
        let latin1 = |value: &HeaderValue| value.as_bytes().iter().map(|&byte| char::from(byte)).collect();
        let recorded = Recorded {
            connection,
            version: request.version(),
            method: request.method().to_string(),
            target,
            authority: request.uri().authority().filter(|_| is_http2).map(ToString::to_string),
            headers: request.headers().iter().map(|(name, value)| (name.to_string(), latin1(value))).collect(),
            body: Vec::new(),
            is_complete: false,
        };
        let index = {
            let mut saw = site.lock();
            saw.push(recorded.clone());
            saw.len() - 1
        };
        site.changed.send_replace(());
        Self { site, index, recorded, request }
    }

    /// The next piece of the body, trailers left out; `None` at its end, proper or not.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.request.body_mut().frame().await {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    self.site.lock()[self.index].body.extend_from_slice(&data);
                    return Some(data);
                }
                Some(Err(_)) => return None,
                None => {
                    self.site.lock()[self.index].is_complete = true;
                    return None;
                }
            }
        }
    }

    /// Reads the body to its end.
    async fn read(mut self) -> (Arc<Site>, Recorded) {
        while self.next().await.is_some() {}
        let recorded = self.site.lock()[self.index].clone();
        (self.site, recorded)
    }
}

async fn answer(arrived: Arrived) -> Response<AnyBody> {
    let asked = &arrived.recorded;
    if asked.header("sec-websocket-key").is_some() {
        return websocket(arrived);
    }
    match asked.path().rsplit('/').next() {
        _ if arrived.site.answer.is_some() => {}
        Some("echo") => return streamed(|feed| echo(arrived, feed)),
        Some("held") => return streamed(|feed| held(arrived, feed)),
        Some("stream") => return streamed(|feed| intervals(arrived, feed, "chunk ", "\n")),
        Some("sse") => {
            let mut response = streamed(|feed| intervals(arrived, feed, "data: ", "\n\n"));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            return response;
        }
        _ => {}
    }
    let (site, asked) = arrived.read().await;
    let reply = site.answer.as_ref().map_or_else(|| by_path(&asked), |answer| answer(&asked));
    tokio::time::sleep(reply.after).await;
    reply.into_response()
}

fn by_path(asked: &Recorded) -> Reply {
    if asked.all("content-type").first().is_some_and(|kind| kind.starts_with("application/grpc")) {
        let reply = Reply::new(200).header("content-type", "application/grpc").body(asked.body.clone());
        return reply.trailer("grpc-status", "0");
    }
    if let Some((_, status)) = asked.path().rsplit_once("/status/") {
        return Reply::new(status.parse().expect("a number after /status/"));
    }
    let text = json!({ "method": asked.method, "target": asked.target, "connection": asked.connection }).to_string();
    let delay = Duration::from_millis(asked.number("ms").unwrap_or_default());
    Reply::new(200).header("content-type", "application/json").body(text).after(delay)
}

/// 200 at once, and a body that goes on being made.
fn streamed<F: Future<Output = ()> + Send + 'static>(make: impl FnOnce(Feed) -> F) -> Response<AnyBody> {
    let (feed, body): (Feed, Chunks) = chunks();
    tokio::spawn(make(feed));
    Response::new(body.boxed_unsync())
}

async fn echo(mut arrived: Arrived, feed: Feed) {
    while let Some(chunk) = arrived.next().await {
        feed.send(chunk);
    }
}

async fn held(arrived: Arrived, feed: Feed) {
    let site = Arc::clone(&arrived.site);
    arrived.read().await;
    let mut to_send = site.to_send.lock().await;
    while let Some(Some(chunk)) = to_send.recv().await {
        feed.send(chunk);
    }
}

async fn intervals(arrived: Arrived, feed: Feed, before: &'static str, after: &'static str) {
    let (_, asked) = arrived.read().await;
    let pause = Duration::from_millis(asked.number("ms").unwrap_or_default());
    for number in 0..asked.number("chunks").unwrap_or(3) {
        if !feed.send(format!("{before}{number}{after}")) {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Switches protocols (RFC 6455 section 4.2.2) and sends every message back.
fn websocket(mut arrived: Arrived) -> Response<AnyBody> {
    let accept = derive_accept_key(arrived.recorded.header("sec-websocket-key").unwrap_or_default().as_bytes());
    let upgrade = hyper::upgrade::on(&mut arrived.request);
    tokio::spawn(async move {
        let Ok(stream) = upgrade.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let reply = Reply::new(101).header("connection", "upgrade").header("upgrade", "websocket");
    reply.header("sec-websocket-accept", &accept).into_response()
}
