//! The admin listener: health, metrics and status. It changes nothing.
//!
//! It listens on loopback or a Unix socket, or asks for a token. `Host` is checked, so that a web page whose name was
//! rebound to a loopback address cannot read it through an operator's browser.
//!
//! It runs on threads of its own: its requests take no time from the workers that serve the proxied ones, and
//! `/healthz` does not wait for a long `/metrics`.
//!
//! - `page`: long answers, made and sent in pieces.
//! - `status`: the answers of `/status`.

mod page;
mod status;

use std::{
    io::{self, Write},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{HeaderValue, Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{
    apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream},
    protocols::http::ServerSession,
    server::ShutdownWatch,
};
use portcullis_plugin::{Secret, UnixTime};
use tokio::sync::watch;

use self::{
    page::Pages,
    status::{Credentials, Status, Wanted, policies, write_json},
};
use crate::{
    config::file::AdminAddress,
    front::Open,
    proxy::{
        refusal::{Answer, Problem},
        request_id::RequestId,
    },
    router::host_key,
    services::Services,
    snapshot::Snapshot,
    telemetry::{clock::rfc3339, metrics},
};

pub(crate) use page::PAGES_AT_ONCE_MAX;

/// The time that a client may take for the whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The time that it may take for a piece of it.
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers requests to the admin listener.
pub(crate) struct Admin {
    services: Arc<Services>,
    current: Arc<ArcSwap<Snapshot>>,
    open: Arc<Open>,
    closing: watch::Receiver<bool>,
    /// The IP address it listens on, if it has one.
    own: Option<IpAddr>,
    started: UnixTime,
    pages: Pages,
}

/// A valid request.
enum Request {
    /// A short text, with this status.
    Words(StatusCode, &'static str),
    /// `/metrics`.
    Metrics,
    /// `/status`.
    Status,
    /// `/status/credentials`.
    Credentials(Wanted),
}

impl Admin {
    /// Returns an admin service for a running gateway.
    pub(crate) fn new(
        services: Arc<Services>,
        current: Arc<ArcSwap<Snapshot>>,
        open: Arc<Open>,
        closing: watch::Receiver<bool>,
        listen: &AdminAddress,
    ) -> Self {
        let own = match listen {
            AdminAddress::Tcp(address) => Some(address.ip()),
            AdminAddress::Unix(_) => None,
        };
        Self { services, current, open, closing, own, started: UnixTime::now(), pages: Pages::default() }
    }

    /// Parses a request, or returns the refusal.
    fn parse(&self, head: &RequestHeader) -> Result<Request, Answer> {
        let host = head.headers.get(header::HOST).map_or(&b""[..], HeaderValue::as_bytes);
        if !self.is_own_host(host) {
            return Err(Problem::Forbidden.into());
        }
        let authorization = head.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        if let Some(token) = &self.current.load().settings.admin_token
            && !authorization.is_some_and(|value| is_bearer(value, token))
        {
            let challenge = HeaderValue::from_static("Bearer realm=\"portcullis admin\"");
            return Err(Answer { challenges: vec![challenge], ..Problem::Unauthenticated.into() });
        }
        let request = match head.uri.path() {
            // Healthy as long as it answers; ready as long as it takes new requests.
            "/healthz" => Request::Words(StatusCode::OK, "ok\n"),
            "/readyz" if *self.closing.borrow() => Request::Words(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
            "/readyz" => Request::Words(StatusCode::OK, "ready\n"),
            "/metrics" => Request::Metrics,
            "/status" => Request::Status,
            "/status/credentials" => match Wanted::parse(head.uri.query()) {
                Some(wanted) => Request::Credentials(wanted),
                None => return Err(Problem::BadRequest.into()),
            },
            _ => return Err(Problem::RouteNotFound.into()),
        };
        if head.method != Method::GET && head.method != Method::HEAD {
            let allow = Some(Box::new(HeaderValue::from_static("GET, HEAD")));
            return Err(Answer { allow, ..Problem::MethodNotAllowed.into() });
        }
        Ok(request)
    }

    /// Answers a request; `None`: only a part of the answer was sent.
    async fn answer(self: &Arc<Self>, session: &mut ServerSession) -> Option<()> {
        let (content_type, request) = match self.parse(session.req_header()) {
            Ok(Request::Words(status, words)) => {
                let head = head(status, "text/plain; charset=utf-8", Some(words.len()));
                return send(session, head, words).await;
            }
            Err(answer) => return refuse(session, &answer).await,
            Ok(Request::Metrics) => (metrics::CONTENT_TYPE, Request::Metrics),
            Ok(request) => ("application/json", request),
        };
        let mut head = head(StatusCode::OK, content_type, None);
        if session.req_header().method == Method::HEAD {
            return send(session, head, "").await;
        }
        let admin = self.clone();
        let mut page = match self.pages.make(move |out| admin.write(&request, out)).await {
            Ok(page) => page,
            Err(answer) => return refuse(session, &answer).await,
        };
        match session.req_header().version {
            Version::HTTP_11 => head.insert_header(header::TRANSFER_ENCODING, "chunked").ok()?,
            // The end of the connection is the end of the body.
            _ => session.set_keepalive(None),
        }
        session.write_response_header(Box::new(head)).await.ok()?;
        while let Some(piece) = page.pieces.recv().await {
            session.write_response_body(piece, false).await.ok()?;
        }
        page.finish().await.then_some(())
    }

    /// Writes an answer that takes long.
    fn write(&self, request: &Request, out: &mut dyn Write) -> io::Result<()> {
        match request {
            Request::Words(_, words) => out.write_all(words.as_bytes()),
            Request::Metrics => self.services.metrics.write(out),
            Request::Status => write_json(&self.status(&self.current.load_full()), out),
            Request::Credentials(wanted) => write_json(&Credentials::of(&self.current.load_full(), wanted), out),
        }
    }

    /// Returns whether this is a loopback name or an address written as such: nothing that DNS could point here.
    fn is_own_host(&self, host: &[u8]) -> bool {
        let Some(own) = self.own else { return true };
        let Some(name) = host_key(host) else { return false };
        let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
        match address {
            Ok(address) => address.is_loopback() || address == own || own.is_unspecified(),
            Err(_) => name == "localhost" || !own.is_loopback(),
        }
    }

    fn status<'s>(&self, snapshot: &'s Snapshot) -> Status<'s> {
        let listeners = snapshot.settings.listeners.iter().enumerate();
        let tls = listeners
            .filter_map(|(number, listener)| Some((format!("listeners[{number}]"), listener.tls.as_ref()?.status())));
        let upstreams = snapshot.upstreams.iter().map(|upstream| (upstream.name.to_string(), upstream.status()));
        Status {
            version: env!("CARGO_PKG_VERSION"),
            started: rfc3339(self.started),
            generation: snapshot.generation,
            stopping: *self.closing.borrow(),
            connections: self.open.connections(),
            connections_rejected: self.open.rejected(),
            streams_refused: self.open.streams_refused(),
            floods_ended: self.open.floods(),
            requests_in_flight: self.open.in_flight(),
            log_lines_dropped: self.services.output.dropped(),
            upstreams: upstreams.collect(),
            tls: tls.collect(),
            policies: policies(snapshot),
            credentials: snapshot.credentials.len(),
            routes: snapshot,
        }
    }
}

fn is_bearer(value: &[u8], token: &Secret) -> bool {
    let (scheme, given) = value.split_at(value.len().min(7));
    scheme.eq_ignore_ascii_case(b"bearer ") && Secret::new(given.trim_ascii().to_vec()) == *token
}

fn head(status: StatusCode, content_type: &'static str, length: Option<usize>) -> ResponseHeader {
    let response = http::Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CACHE_CONTROL, "no-store");
    let response =
        length.into_iter().fold(response, |response, length| response.header(header::CONTENT_LENGTH, length));
    response.body(()).expect("a status and constant headers").into_parts().0.into()
}

async fn send(session: &mut ServerSession, head: ResponseHeader, body: impl Into<bytes::Bytes>) -> Option<()> {
    let has_body = session.req_header().method != Method::HEAD;
    session.write_response_header(Box::new(head)).await.ok()?;
    if has_body {
        session.write_response_body(body.into(), true).await.ok()?;
    }
    Some(())
}

async fn refuse(session: &mut ServerSession, answer: &Answer) -> Option<()> {
    let (head, body) = answer.response(RequestId::random().as_str(), false);
    send(session, head, body).await
}

#[async_trait]
impl HttpServerApp for Admin {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        closing: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        session.read_request().await.ok().filter(|is_whole| *is_whole)?;
        if *closing.borrow() {
            session.set_keepalive(None);
        }
        session.set_write_timeout(Some(PIECE_TIMEOUT));
        tokio::time::timeout(ANSWER_TIMEOUT, self.answer(&mut session)).await.ok()??;
        let settings = HttpPersistentSettings::for_session(&session);
        let stream = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }
}
