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
//! - `admission`: who may have a connection, and which one closes when nearly all are taken.
//! - `acceptor`: what a connection passes before its first request: the load balancer's word, the TLS handshake.
//! - `proxy_protocol`: that word.
//! - `head`: the check, pure.
//! - `body_rate`: how slowly a body may come.
//! - `framing`: where a request's body ends, pure.
//! - `connection`: the first bytes of a request, with all that can end the wait for them.
//! - `request_stream`: one request of a connection, and nothing behind it.
//! - `replayed`: a stream with bytes put back, for HTTP/2.
//! - `delegated`: what both of these leave to the stream inside.
//! - `linger`: closing a connection so that the last answer is heard.
//! - `life`: how long a request may last.
//! - `open`: what is open and in flight, for limits and for the end of the process.
//! - `frames`: floods of control frames, which end an HTTP/2 connection.
//! - `unsent`: the responses that wait to be sent, counted and bounded.
//! - `upload`: the same for a request's body, and the time for which its client is waited for.
//! - `metered`: writes in HTTP/1 that the client does not take.
//! - `streams`: how many requests of one HTTP/2 connection are in flight.

mod acceptor;
mod admission;
mod body_rate;
mod connection;
mod delegated;
mod fault;
mod frames;
mod framing;
mod grammar;
mod head;
mod life;
mod limits;
mod linger;
mod metered;
mod open;
mod proxy_protocol;
mod replayed;
mod request_stream;
mod streams;
mod unsent;
mod upload;

use std::{pin::pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::{
    apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp},
    protocols::{
        ALPN, Stream,
        http::{ServerSession, v2::server::H2Options},
    },
    server::ShutdownWatch,
};

use tokio::sync::watch;

use self::{
    admission::Place,
    connection::{End, Expected, Opening, Waits},
    head::Request,
    life::Timer,
    open::Connection,
    replayed::Replayed,
    request_stream::{Home, RequestStream, Returned},
    streams::Streams,
    unsent::ConnectionBacklog,
};

pub(crate) use self::{
    acceptor::{Acceptor, Entered, RejectionListener},
    admission::Rejection,
    body_rate::MinBodyRate,
    fault::{Fault, Refuse},
    head::{MAX_HEAD_BYTES, MAX_HEAD_LINES, http2::MAX_HEADER_LIST_BYTES},
    life::{StreamEnd, StreamLife, current_life},
    limits::Limits,
    open::Open,
    request_stream::BodyFault,
    streams::small_frames_budget,
    upload::NotForwarded,
};
pub(crate) use self::{
    grammar::is_target,
    head::{http2::fits as http2_head_fits, is_authority},
};

/// The time that an HTTP/2 client has to leave when its connection is closed for another one.
const GOAWAY_TIME: Duration = Duration::from_secs(1);

/// The application that a listening service runs: see the module.
pub(crate) struct Front<A> {
    app: Arc<App<A>>,
    limits: Limits,
    refuse: Refuse,
    acceptor: Acceptor,
}

impl<A: HttpServerApp + Send + Sync + 'static> Front<A> {
    /// Puts itself in front of `app`. Where the listener says `h2c`, a plain connection that begins with the HTTP/2
    /// preface speaks HTTP/2 (RFC 9113 section 3.3); elsewhere the preface is a bad request. On TLS the handshake
    /// decides.
    pub(crate) fn new(app: Arc<A>, limits: Limits, open: Arc<Open>, refuse: Refuse, acceptor: Acceptor) -> Self {
        let mut options = app.server_options().cloned().unwrap_or_default();
        // Pingora is handed connections only once they have proven to be HTTP/2.
        options.h2c = true;
        options.h2_idle_timeout = Some(limits.idle_timeout);
        let app = App {
            inner: app,
            options,
            open,
            max_age: limits.max_stream_age,
            body_timeout: limits.body_timeout,
            write_timeout: limits.write_timeout,
            min_body_rate: limits.min_body_rate,
            streams: Arc::default(),
            place: None,
            backlog: Arc::default(),
        };
        let app = Arc::new(app);
        Self { app, limits, refuse, acceptor }
    }

    /// Admits a new connection, and determines the protocol that it may begin with.
    async fn enter(
        &self,
        stream: Stream,
        connection: &mut Connection,
        waits: &mut Waits,
    ) -> Option<(Stream, Expected)> {
        let listener = self.acceptor.listener();
        let stream = tokio::select! {
            biased;
            stream = self.acceptor.enter(&listener, stream, connection, &self.limits, &self.refuse) => stream?,
            () = waits.over() => return None,
        };
        let expected = match stream.selected_alpn_proto() {
            Some(ALPN::H2) => Expected::Http2,
            _ if listener.h2c && stream.get_ssl_digest().is_none() => Expected::Either,
            _ => Expected::Http1,
        };
        Some((stream, expected))
    }

    /// Serves one connection, to its end.
    async fn connection(
        &self,
        stream: Stream,
        mut expected: Expected,
        place: &Arc<Place>,
        waits: &mut Waits,
        closing: &ShutdownWatch,
    ) {
        let life = Arc::new(StreamLife::new(self.app.connection_backlog()));
        let mut pulse = Timer::default();
        let mut settings = None;
        let home = Home::default();
        let mut stream = RequestStream::new(stream, life.clone(), home.clone());
        loop {
            let (raw, read) = stream.parts();
            let request = match connection::read_head(raw, read, waits, &self.limits, expected).await {
                Ok(Opening::Head(request)) => request,
                Ok(Opening::Preface(read)) => {
                    return self.http2(read, stream.into_stream(), place, closing).await;
                }
                Err(End::Refuse(fault)) if expected != Expected::Http2 => {
                    let listener = self.acceptor.listener();
                    let hsts = listener.hsts.as_ref().filter(|_| raw.get_ssl_digest().is_some());
                    let answer = (self.refuse)(fault, connection::peer(&**raw), hsts);
                    return linger::refuse(raw, &answer).await;
                }
                Err(_) => return linger::farewell(raw).await,
            };
            // Only the first bytes of a connection can be the preface (RFC 9113 section 3.4).
            expected = Expected::Http1;
            let session = self.session(stream, request, settings.take(), closing);
            let Some(busy) = place.request() else { return };
            let served = self.app.serve(session, closing, &life, &mut pulse).await;
            drop(busy);
            let Some(reused) = served else {
                let returned = home.lock().take();
                return tokio::select! {
                    () = close(returned) => {}
                    () = place.displaced() => {}
                };
            };
            // For the next request; and what this one rested on is not kept while the connection is idle.
            life.reset();
            let (back, kept) = reused.consume();
            let Some(back) = RequestStream::back(back) else { return };
            (stream, settings) = (back, kept);
            if *closing.borrow() || !stream.is_at_end() {
                return linger::farewell(stream.parts().0).await;
            }
        }
    }

    /// Returns an HTTP/1 session whose head has been read. Pingora's pipelining stays off: it sees no byte behind the
    /// request.
    fn session(
        &self,
        mut stream: Box<RequestStream>,
        Request { bytes, behind, framing }: Request,
        settings: Option<HttpPersistentSettings>,
        closing: &ShutdownWatch,
    ) -> ServerSession {
        stream.begin(framing, behind);
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
        session.set_pipelined_prefix(bytes);
        session
    }

    /// Serves an HTTP/2 connection; each of its streams comes back through [`App::process_new_http`].
    async fn http2(&self, read: BytesMut, stream: Stream, place: &Arc<Place>, closing: &ShutdownWatch) {
        let app = Arc::new(self.app.for_connection(place));
        let stream = Replayed::new(read, stream, app.open.clone(), app.backlog.clone());
        let (close, told) = watch::channel(false);
        let mut served = pin!(unsent::driven(app.process_new(Box::new(stream), &told)));
        let is_displaced = tokio::select! {
            biased;
            _ = &mut served => return,
            () = connection::closed(closing) => false,
            () = place.displaced() => true,
        };
        // The client gets GOAWAY (RFC 9113 section 6.8). Even if it does not leave, its place has been freed.
        let _ = close.send(true);
        let limit = if is_displaced { GOAWAY_TIME } else { Duration::MAX };
        let _ = tokio::time::timeout(limit, served).await;
    }
}

/// Ends a connection on which the last request has been served. A response that was cut off ends as it is.
async fn close(returned: Option<Returned>) {
    let Some(Returned { mut stream, is_shut: true, is_unread }) = returned else { return };
    if is_unread || linger::has_unread(&mut stream).await {
        linger::until_gone(&mut stream).await;
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Front<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, closing: &ShutdownWatch) -> Option<Stream> {
        // Over the limit the connection is closed without an answer: a client could make us wait to write one.
        let max = self.limits.max_connections;
        let connection = self.app.open.connection(max, || self.acceptor.reject(Rejection::Displaced, None));
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(rejection) => {
                self.acceptor.reject(rejection, Some(connection::peer(&*stream).ip().to_canonical()));
                return None;
            }
        };
        let mut waits = Waits::new(closing, connection.place().clone());
        let (stream, expected) = self.enter(stream, &mut connection, &mut waits).await?;
        self.connection(stream, expected, connection.place(), &mut waits, closing).await;
        None
    }

    async fn cleanup(&self) {
        self.app.inner.http_cleanup().await;
    }
}

/// The wrapped application. Counts each request and limits its lifetime.
struct App<A> {
    inner: Arc<A>,
    options: HttpServerOptions,
    open: Arc<Open>,
    max_age: Duration,
    body_timeout: Duration,
    write_timeout: Duration,
    min_body_rate: MinBodyRate,
    /// The streams of one HTTP/2 connection; unused over HTTP/1, where requests come one after the other.
    streams: Arc<Streams>,
    /// The place of the HTTP/2 connection; over HTTP/1 the reader of its heads keeps it.
    place: Option<Arc<Place>>,
    /// The data that waits to be sent on it.
    backlog: Arc<ConnectionBacklog>,
}

impl<A: HttpServerApp + Send + Sync + 'static> App<A> {
    /// Returns the same application for the streams of one connection, because Pingora hands them over without saying
    /// which connection they belong to.
    fn for_connection(&self, place: &Arc<Place>) -> Self {
        Self {
            place: Some(place.clone()),
            inner: self.inner.clone(),
            options: self.options.clone(),
            open: self.open.clone(),
            streams: Arc::default(),
            backlog: self.connection_backlog(),
            ..*self
        }
    }

    /// Returns the empty backlog of a new connection.
    fn connection_backlog(&self) -> Arc<ConnectionBacklog> {
        Arc::new(ConnectionBacklog::new(self.open.unsent().clone(), self.write_timeout, self.min_body_rate))
    }

    /// Serves one request. At the end of its lifetime it is dropped where it stands: an HTTP/1 connection closes, an
    /// HTTP/2 stream is reset. Code that must run at its end (the log line) does so in `Drop`.
    fn serve<'a>(
        &'a self,
        session: ServerSession,
        closing: &'a ShutdownWatch,
        life: &'a Arc<StreamLife>,
        pulse: &'a mut Timer,
    ) -> impl Future<Output = Option<ReusedHttpStream>> {
        let is_http2 = matches!(session, ServerSession::H2(_));
        // Made here and not in the future: a session has three kilobytes, and would be copied once more.
        let served = self.inner.process_new_http(session, closing);
        async move {
            let _request = self.open.request();
            let served = life::within(life, unsent::paced(life.backlog(), is_http2, served));
            tokio::select! {
                biased;
                reused = served => reused,
                () = life.over(self.max_age, self.body_timeout, pulse) => None,
            }
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
        let life = Arc::new(StreamLife::new(self.backlog.clone()));
        if let Some(place) = &self.place {
            let Some(busy) = place.request() else {
                streams::refuse(session);
                return None;
            };
            life.occupy(busy);
        }
        let served = self.serve(session, closing, &life, &mut Timer::default()).await;
        // The life may be kept beyond the request, and must not keep the connection in use.
        life.vacate();
        served
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = self.inner.h2_options()?;
        streams::set_window(&mut options, self.open.connections());
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

#[cfg(test)]
mod tests;
