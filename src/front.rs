//! A connection before Pingora: counted and limited, its HTTP/1 heads read under a deadline and checked strictly, every
//! request given an end.
//!
//! [`Front`] wraps an HTTP application (the proxy) and is what the listening service runs. It exists because a bare
//! Pingora lets through what it should not: a head that drips for hours, connections that stay idle for ever, two
//! lengths in one request, lines that end in a bare LF. What passes here is well formed and unambiguous, and Pingora
//! gets it as bytes already read, so that it has nothing left to mend or to refuse.
//!
//! The danger: whatever this module reads and Pingora would read differently is a way to smuggle a request. That is why
//! the check refuses what it does not know, and why the bytes that were checked are the bytes that are handed over.
//!
//! - `entrance`: what a connection passes before its first request: the load balancer's word, the TLS handshake.
//! - `proxy_protocol`: that word.
//! - `head`: the check, pure.
//! - `connection`: the first bytes of a request, with all that can end the wait for them.
//! - `replayed`: a stream with bytes put back, for HTTP/2.
//! - `life`: how long a request may last.
//! - `open`: what is open and in flight, for limits and for the end of the process.
//! - `frames`: floods of control frames, which end an HTTP/2 connection.
//! - `streams`: how many requests of one HTTP/2 connection are in flight.

mod connection;
mod entrance;
mod frames;
mod head;
mod life;
mod open;
mod proxy_protocol;
mod replayed;
mod streams;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use pingora_core::{
    apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp},
    protocols::{
        ALPN, Stream,
        http::{ServerSession, v2::server::H2Options},
    },
    server::ShutdownWatch,
};

use self::{
    connection::{End, Expected, Opening, Waits},
    life::Timer,
    replayed::Replayed,
    streams::Streams,
};

pub(crate) use self::head::is_authority;
pub use self::{
    entrance::{Entered, Entrance, Told},
    life::{StreamEnd, StreamLife, current_life},
    open::Open,
    streams::{CONNECTION_REQUESTS_MAX, small_frames_budget},
};

/// The limits of a listener's connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest head of an HTTP/1 request, request line and all.
    pub head_bytes: usize,
    /// The most header lines of an HTTP/1 request.
    pub head_lines: usize,
    /// From the first byte of an HTTP/1 head, or of an HTTP/2 connection, to its last.
    pub head_timeout: Duration,
    /// How long a connection stays open without a request.
    pub idle_timeout: Duration,
    /// How long to wait for the next piece of an HTTP/1 request's body.
    pub body_timeout: Duration,
    /// The longest that a request, an upgraded connection or an HTTP/2 stream may last.
    pub max_stream_age: Duration,
    /// How many connections may be open at once, over all listeners that share an [`Open`].
    pub max_connections: usize,
}

/// Why a request ended before Pingora saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Malformed or ambiguous; the words say in what way, for the log only.
    BadRequest(&'static str),
    /// TRACE or CONNECT, which no route can allow.
    MethodNotAllowed,
    /// More bytes or lines than [`Limits`] allow; the words say which.
    HeadTooLarge(&'static str),
    /// The head was not complete in time.
    HeadTimeout,
}

impl Fault {
    /// The status of the answer (RFC 9110 section 15.5, RFC 6585 section 5).
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::MethodNotAllowed => 405,
            Self::HeadTimeout => 408,
            Self::HeadTooLarge(_) => 431,
        }
    }

    /// What was wrong, for the log. The answer does not say it.
    pub fn why(self) -> &'static str {
        match self {
            Self::BadRequest(why) | Self::HeadTooLarge(why) => why,
            Self::MethodNotAllowed => "method TRACE or CONNECT",
            Self::HeadTimeout => "head took too long",
        }
    }
}

/// Makes the whole HTTP/1 response to a request that ends here: status line, headers, body. The engine's one table
/// makes it, and logs and counts it as well. A peer without an internet address (a Unix socket) is `0.0.0.0:0`. Over TLS
/// the response has the listener's `Strict-Transport-Security` (RFC 6797 section 7.1), if it has any.
pub type Refuse = Arc<dyn Fn(Fault, SocketAddr, Option<&HeaderValue>) -> Bytes + Send + Sync>;

/// What a listening service runs: see the module.
pub struct Front<A> {
    app: Arc<App<A>>,
    limits: Limits,
    refuse: Refuse,
    entrance: Entrance,
}

impl<A: HttpServerApp + Send + Sync + 'static> Front<A> {
    /// Puts itself in front of `app`. Where the listener says `h2c`, a plain connection that begins with the HTTP/2
    /// preface speaks HTTP/2 (RFC 9113 section 3.3); elsewhere the preface is a bad request. On TLS the handshake
    /// decides.
    pub fn new(app: Arc<A>, limits: Limits, open: Arc<Open>, refuse: Refuse, entrance: Entrance) -> Self {
        let mut options = app.server_options().cloned().unwrap_or_default();
        // Pingora is handed connections only once they have proven to be HTTP/2.
        options.h2c = true;
        options.h2_idle_timeout = Some(limits.idle_timeout);
        let (max_age, body_timeout) = (limits.max_stream_age, limits.body_timeout);
        let app = Arc::new(App { inner: app, options, open, max_age, body_timeout, streams: Arc::default() });
        Self { app, limits, refuse, entrance }
    }

    /// A new connection: who is let in, and what its first bytes can be.
    async fn enter(&self, stream: Stream, closing: &ShutdownWatch) -> Option<(Stream, Expected)> {
        let listener = self.entrance.listener();
        let stream = tokio::select! {
            biased;
            stream = self.entrance.enter(&listener, stream, self.limits.head_timeout, &self.refuse) => stream?,
            () = connection::closed(closing) => return None,
        };
        let expected = match stream.selected_alpn_proto() {
            Some(ALPN::H2) => Expected::Http2,
            _ if listener.h2c && stream.get_ssl_digest().is_none() => Expected::Either,
            _ => Expected::Http1,
        };
        Some((stream, expected))
    }

    /// One connection, to its end.
    async fn connection(&self, mut stream: Stream, mut expected: Expected, closing: &ShutdownWatch) {
        let mut waits = Waits::new(closing);
        let life = Arc::new(StreamLife::default());
        let mut pulse = Timer::default();
        let mut settings = None;
        loop {
            let head = match connection::read_head(&mut stream, &mut waits, &self.limits, expected).await {
                Ok(Opening::Head(head)) => head,
                Ok(Opening::Preface(read)) => {
                    let stream = Replayed::new(read, stream, self.app.open.clone());
                    return self.http2(stream, closing).await;
                }
                Err(End::Refuse(fault)) if expected != Expected::Http2 => {
                    let listener = self.entrance.listener();
                    let hsts = listener.hsts.as_ref().filter(|_| stream.get_ssl_digest().is_some());
                    let answer = (self.refuse)(fault, connection::peer(&*stream), hsts);
                    return connection::refuse(&mut stream, &answer).await;
                }
                Err(_) => return connection::farewell(&mut stream).await,
            };
            // Only the first bytes of a connection can be the preface (RFC 9113 section 3.4).
            expected = Expected::Http1;
            let session = self.session(stream, head, settings.take(), closing);
            life.reset();
            let Some(reused) = self.app.serve(session, closing, &life, &mut pulse).await else { return };
            (stream, settings) = reused.consume();
            if *closing.borrow() {
                return connection::farewell(&mut stream).await;
            }
        }
    }

    /// An HTTP/1 session whose head has been read. Pipelining stays off: bytes read past the request close the
    /// connection after the answer.
    fn session(
        &self,
        stream: Stream,
        head: BytesMut,
        settings: Option<HttpPersistentSettings>,
        closing: &ShutdownWatch,
    ) -> ServerSession {
        let mut session = ServerSession::new_http1(stream);
        if let Some(settings) = settings {
            settings.apply_to_session(&mut session);
        } else {
            session.set_keepalive_reuses_remaining(self.app.options.keepalive_request_limit);
        }
        // Pingora takes zero for "no limit".
        let idle_s = self.limits.idle_timeout.as_secs().max(1);
        session.set_keepalive((!*closing.borrow()).then_some(idle_s));
        session.set_read_timeout(Some(self.limits.body_timeout));
        session.set_total_drain_timeout(Some(self.limits.body_timeout));
        session.set_pipelined_prefix(head);
        session
    }

    /// An HTTP/2 connection; each of its streams comes back through [`App::process_new_http`].
    async fn http2(&self, stream: Replayed, closing: &ShutdownWatch) {
        let app = Arc::new(self.app.for_connection());
        app.process_new(Box::new(stream), closing).await;
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Front<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, closing: &ShutdownWatch) -> Option<Stream> {
        // Over the limit the connection is closed without an answer: writing one could be made to wait.
        let _connection = self.app.open.connection(self.limits.max_connections)?;
        let (stream, expected) = self.enter(stream, closing).await?;
        self.connection(stream, expected, closing).await;
        None
    }

    async fn cleanup(&self) {
        self.app.inner.http_cleanup().await;
    }
}

/// The wrapped application, each of whose requests is counted and has an end.
struct App<A> {
    inner: Arc<A>,
    options: HttpServerOptions,
    open: Arc<Open>,
    max_age: Duration,
    body_timeout: Duration,
    /// Of one HTTP/2 connection; over HTTP/1 requests come one after the other.
    streams: Arc<Streams>,
}

impl<A: HttpServerApp + Send + Sync + 'static> App<A> {
    /// The same for the streams of one connection, which Pingora hands over without saying whose they are.
    fn for_connection(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            options: self.options.clone(),
            open: self.open.clone(),
            streams: Arc::default(),
            ..*self
        }
    }

    /// One request. When its life is over it is dropped where it stands: an HTTP/1 connection closes, an HTTP/2 stream
    /// is reset. Whoever must see the end of it (the log line) does so in `Drop`.
    async fn serve(
        &self,
        session: ServerSession,
        closing: &ShutdownWatch,
        life: &Arc<StreamLife>,
        pulse: &mut Timer,
    ) -> Option<ReusedHttpStream> {
        let _request = self.open.request();
        let served = life::within(life, self.inner.process_new_http(session, closing));
        tokio::select! {
            biased;
            reused = served => reused,
            () = life.over(self.max_age, self.body_timeout, pulse) => None,
        }
    }
}

/// For HTTP/2: Pingora makes the connection and calls this for each stream, in a task of its own.
#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> HttpServerApp for App<A> {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        closing: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let Some(_stream) = self.streams.begin() else {
            self.open.refuse_stream();
            streams::refuse(session);
            return None;
        };
        self.serve(session, closing, &Arc::default(), &mut Timer::default()).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.inner.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

#[cfg(test)]
mod tests;
