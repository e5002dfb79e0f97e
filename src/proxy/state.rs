//! One request, from its first hook to its log line.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, Method, Uri, Version, header};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use portcullis_plugin::{Identity, PolicyData, Reason, UnixTime};

use super::{
    body_filter::Filter, deferred_checks::DeferredChecks, held_body::Held, refusal::Answer, request_id::RequestId,
    response_edits::ResponseEdits,
};
use crate::{
    front::{StreamLife, current_life},
    router::KeptHeaders,
    services::Services,
    snapshot::{Route, RouteRecord},
    streams::Basis,
    upstream::{Choice, Upstream, tls::Handshake},
};

/// Pingora's `CTX`. It writes the request's log line when it is dropped, so that a request which was cut off by its
/// deadline, by a client that left or by a panic leaves one as well.
pub(crate) struct RequestState {
    /// The state that outlives reloads.
    pub services: Arc<Services>,
    /// The beginning of the request.
    pub started: Instant,
    /// The time of that.
    pub now: UnixTime,
    /// Its id.
    pub id: RequestId,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The client's address.
    pub client: IpAddr,
    /// The hops between both, the farthest first.
    pub hops: Vec<IpAddr>,
    /// Set if the client spoke TLS: to the gateway, or to a trusted peer that says so.
    pub is_https: bool,
    /// The value of `Strict-Transport-Security` in the response.
    pub hsts: Option<HeaderValue>,
    /// The target in origin form as it came, where that is not the canonical one.
    pub received_target: Option<Box<str>>,
    /// Set if the request asks for an upgrade that may pass.
    pub wants_upgrade: bool,
    /// Set if the route was chosen by a header condition, or a route with one was considered.
    pub is_conditional: bool,
    /// The matched route, until the response has begun.
    pub route: Option<Arc<Route>>,
    /// The part of the route that is kept afterwards.
    pub record: Option<Arc<RouteRecord>>,
    /// The caller.
    pub identity: Option<Arc<Identity>>,
    /// The number of the alternative of the route's `auth` that granted.
    pub granted_by: Option<usize>,
    /// The reason why the request was refused.
    pub reason: Option<Reason>,
    /// The answer to a request that was refused while it was under way.
    pub late_answer: Option<Box<Answer>>,
    /// The failure, for the log.
    pub error: Option<String>,
    /// The body filters of this request.
    pub bodies: Vec<Filter>,
    /// The largest body the route takes.
    pub max_body_bytes: Option<u64>,
    /// The part of the body that was read before the upstream was chosen.
    pub held: Option<Box<Held>>,
    /// The number of bytes that the session counts as body and the client never sent.
    pub made_up_bytes: usize,
    /// The checks that wait for the whole body.
    pub deferred_checks: DeferredChecks,
    /// The changes to the headers of the response that came with verdicts.
    pub edits: ResponseEdits,
    /// The index of a hook that could not edit the upstream's response.
    pub failed_edit: Option<usize>,
    /// The data that policies keep.
    pub data: PolicyData,
    /// The bytes of the request's body so far.
    pub body_bytes: u64,
    /// The number of connections tried so far.
    pub attempts: usize,
    /// The addresses that this request has been sent to, or could not be sent to.
    pub tried: Vec<SocketAddr>,
    /// The pause before it is sent again.
    pub pause: Option<Duration>,
    /// The targets that could not be connected to.
    pub unreached: Vec<Arc<str>>,
    /// The upstream that the request goes to.
    pub upstream: Option<Arc<Upstream>>,
    /// The address that was tried last.
    pub choice: Option<Choice>,
    /// The check of its handshake, if TLS is spoken.
    pub handshake: Option<Arc<Handshake>>,
    /// Set if the request may go, or has gone, over a connection to it.
    pub is_connected: bool,
    /// The moment at which the request was ready for an upstream.
    pub forwarded: Option<Instant>,
    /// The deadlines of the request.
    pub life: Option<Arc<StreamLife>>,
    pub(super) line: Line,
}

/// The facts that the log line needs and the session no longer tells once it is gone.
#[derive(Default)]
pub(super) struct Line {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) host: Option<HeaderValue>,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) version: Option<Version>,
    pub(super) status: u16,
    /// The bytes of the response's body that have passed. The session knows how much was written.
    pub(super) sent: u64,
    pub(super) is_written: bool,
    pub(super) has_begun: bool,
}

impl RequestState {
    /// Returns the state of a request of which nothing is known.
    pub(crate) fn new(services: Arc<Services>) -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Self {
            services,
            started: Instant::now(),
            now: UnixTime(0),
            id: RequestId::default(),
            peer: nowhere,
            client: nowhere.ip(),
            hops: Vec::new(),
            is_https: false,
            hsts: None,
            received_target: None,
            wants_upgrade: false,
            is_conditional: false,
            route: None,
            record: None,
            identity: None,
            granted_by: None,
            reason: None,
            late_answer: None,
            error: None,
            bodies: Vec::new(),
            max_body_bytes: None,
            held: None,
            made_up_bytes: 0,
            deferred_checks: DeferredChecks::default(),
            edits: ResponseEdits::default(),
            failed_edit: None,
            data: PolicyData::default(),
            body_bytes: 0,
            attempts: 0,
            tried: Vec::new(),
            pause: None,
            unreached: Vec::new(),
            upstream: None,
            choice: None,
            handshake: None,
            is_connected: false,
            forwarded: None,
            life: current_life(),
            line: Line::default(),
        }
    }

    /// Notes that a request has come. Pingora makes its state when the head has been read.
    pub(crate) fn begin(&mut self, session: &Session) {
        self.now = UnixTime::now();
        self.peer = session.client_addr().and_then(|address| address.as_inet()).copied().unwrap_or(self.peer);
        self.client = self.peer.ip().to_canonical();
        self.line.version = Some(session.req_header().version);
        self.line.has_begun = true;
    }

    /// Stores the facts of the head for the log, as it will be matched.
    pub(crate) fn remember(&mut self, session: &Session) {
        let head = session.req_header();
        self.line.method = head.method.clone();
        self.line.uri = head.uri.clone();
        self.line.host = head.headers.get(header::HOST).cloned();
        self.line.user_agent = head.headers.get(header::USER_AGENT).cloned();
    }

    /// Stores the route that was found.
    pub(crate) fn matched(&mut self, route: &Arc<Route>) {
        self.record = Some(route.record.clone());
        self.max_body_bytes = route.max_body_bytes;
        self.route = Some(route.clone());
    }

    /// Returns the basis of a request that was let through.
    pub(crate) fn basis(&self, session: &Session, round: u64, headers: Option<Box<KeptHeaders>>) -> Option<Basis> {
        Some(Basis {
            round,
            streams: self.services.streams.clone(),
            record: self.record.clone()?,
            identity: self.identity.clone(),
            granted_by: self.granted_by,
            method: self.line.method.clone(),
            uri: self.line.uri.clone(),
            host: self.line.host.clone(),
            headers,
            address: self.client,
            peer: self.peer,
            is_https: self.is_https,
            connection: session.digest().and_then(|digest| digest.proxy_digest.clone()),
        })
    }

    /// Stores the status that goes to the client.
    pub(crate) fn answered(&mut self, status: u16) {
        self.line.status = status;
    }

    /// Adds `Strict-Transport-Security`, if the client spoke TLS and the configuration has a value for it.
    pub(crate) fn secure(&self, head: &mut ResponseHeader) -> Result<()> {
        self.hsts.as_ref().map_or(Ok(()), |hsts| head.insert_header(header::STRICT_TRANSPORT_SECURITY, hsts))
    }

    /// Returns the path for logs: canonical if the request came that far, and always without its query.
    pub(crate) fn path(&self) -> &str {
        self.line.uri.path()
    }

    /// Returns the method.
    pub(crate) fn method(&self) -> &Method {
        &self.line.method
    }

    /// Counts a piece of the body that goes to the client.
    pub(crate) fn sends(&mut self, bytes: usize) {
        self.line.sent += bytes as u64;
    }

    /// Notes what failed, for the log; the first failure is the one that counts.
    pub(crate) fn failed(&mut self, error: impl Into<String>) {
        self.error.get_or_insert_with(|| error.into());
    }
}
