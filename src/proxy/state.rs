//! One request, from its first hook to its log line.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use http::{HeaderValue, Method, Uri, Version, header};
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use portcullis_plugin::{Identity, Outcome, Reason, UnixTime};

use super::{
    audit,
    held_body::{Held, Holds},
    hook::{Call, Filter},
    refusal::Answer,
    request_id::RequestId,
};
use crate::{
    front::{StreamEnd, StreamLife, current_life},
    router::KeptHeaders,
    services::Services,
    snapshot::{Route, route::RouteRecord},
    streams::{Basis, Withdrawn},
    telemetry::{Access, metrics::Phase},
    upstream::{Choice, Upstream, tls::Handshake},
};

/// Pingora's `CTX`. It writes the request's log line when it is dropped, so that a request which was cut off by its
/// deadline, by a client that left or by a panic leaves one as well.
pub struct RequestState {
    /// What outlives reloads.
    pub services: Arc<Services>,
    /// When the request began.
    pub started: Instant,
    /// The same, by the clock.
    pub now: UnixTime,
    /// Its id.
    pub id: RequestId,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Who calls, by address.
    pub client: IpAddr,
    /// The hops between both, the farthest first.
    pub hops: Vec<IpAddr>,
    /// Whether the client spoke TLS: to the gateway, or to a peer that is believed and says so.
    pub is_https: bool,
    /// What `Strict-Transport-Security` says in the response.
    pub hsts: Option<HeaderValue>,
    /// The target in origin form as it came, where that is not the canonical one.
    pub received_target: Option<Box<str>>,
    /// The matched route, until the response has begun.
    pub route: Option<Arc<Route>>,
    /// What is left of the route afterwards.
    pub record: Option<Arc<RouteRecord>>,
    /// Who is calling.
    pub identity: Option<Arc<Identity>>,
    /// The alternative of the route's `auth` that found it out.
    pub granted_by: Option<usize>,
    /// Why the request was refused.
    pub reason: Option<Reason>,
    /// The answer to a request that was refused while it was under way.
    pub late_answer: Option<Box<Answer>>,
    /// What failed, for the log.
    pub error: Option<String>,
    /// Body filters of this request.
    pub bodies: Vec<Filter>,
    /// The largest body the route takes.
    pub max_body_bytes: Option<u64>,
    /// What of the body was read before the upstream was chosen.
    pub held: Option<Box<Held>>,
    /// Body bytes that the session counts and the client never sent.
    pub made_up_bytes: usize,
    /// Checks that wait for the whole body.
    pub holds: Holds,
    /// Request body bytes seen so far.
    pub body_bytes: u64,
    /// Connections tried so far.
    pub attempts: usize,
    /// Where this request has been sent before, or could not be.
    pub tried: Vec<SocketAddr>,
    /// How long it waits before it is sent again.
    pub pause: Option<Duration>,
    /// The targets that could not be connected to.
    pub unreached: Vec<Arc<str>>,
    /// The upstream that the request goes to.
    pub upstream: Option<Arc<Upstream>>,
    /// Where it was tried last.
    pub choice: Option<Choice>,
    /// What judges its handshake, where TLS is spoken.
    pub handshake: Option<Arc<Handshake>>,
    /// Whether the request may go, or has gone, over a connection to it.
    pub is_connected: bool,
    /// When the upstream was asked.
    pub forwarded: Option<Instant>,
    /// How long the request may last.
    pub life: Option<Arc<StreamLife>>,
    line: Line,
}

/// What the log line needs and the session will not tell once it is gone.
#[derive(Default)]
struct Line {
    method: Method,
    uri: Uri,
    host: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    version: Option<Version>,
    status: u16,
    /// As far as the body has gone by; how much of it was written is the session's to say.
    sent: u64,
    is_written: bool,
    has_begun: bool,
}

impl RequestState {
    /// Before anything is known.
    pub fn new(services: Arc<Services>) -> Self {
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
            holds: Holds::default(),
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

    /// A request has come; Pingora makes its state when the head has been read.
    pub fn begin(&mut self, session: &Session) {
        self.now = UnixTime::now();
        self.peer = session.client_addr().and_then(|address| address.as_inet()).copied().unwrap_or(self.peer);
        self.client = self.peer.ip().to_canonical();
        self.line.version = Some(session.req_header().version);
        self.line.has_begun = true;
    }

    /// The head is as it will be matched and logged.
    pub fn remember(&mut self, session: &Session) {
        let head = session.req_header();
        self.line.method = head.method.clone();
        self.line.uri = head.uri.clone();
        self.line.host = head.headers.get(header::HOST).cloned();
        self.line.user_agent = head.headers.get(header::USER_AGENT).cloned();
    }

    /// The route was found.
    pub fn matched(&mut self, route: &Arc<Route>) {
        self.record = Some(route.record.clone());
        self.max_body_bytes = route.max_body_bytes;
        self.route = Some(route.clone());
    }

    /// What the request rests on from here on: it was let through.
    pub fn basis(&self, session: &Session, round: u64, headers: Option<Box<KeptHeaders>>) -> Option<Basis> {
        Some(Basis {
            round,
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

    /// The status that goes to the client.
    pub fn answered(&mut self, status: u16) {
        self.line.status = status;
    }

    /// Has a client that spoke TLS told to go on doing so, where the configuration says that it is.
    pub fn secure(&self, head: &mut ResponseHeader) -> Result<()> {
        self.hsts.as_ref().map_or(Ok(()), |hsts| head.insert_header(header::STRICT_TRANSPORT_SECURITY, hsts))
    }

    /// The path for logs: canonical where the request came that far, and never with its query.
    pub fn path(&self) -> &str {
        self.line.uri.path()
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.line.method
    }

    /// A piece of a body goes to the client.
    pub fn sends(&mut self, bytes: usize) {
        self.line.sent += bytes as u64;
    }

    /// Notes what failed, for the log; the first failure is the one that counts.
    pub fn failed(&mut self, error: impl Into<String>) {
        self.error.get_or_insert_with(|| error.into());
    }

    /// Writes the request's line and counts it, once.
    pub fn end(&mut self, session: Option<&Session>) {
        if std::mem::replace(&mut self.line.is_written, true) || !self.line.has_begun {
            return;
        }
        if let Some(session) = session {
            self.line.sent = session.body_bytes_sent() as u64;
            self.body_bytes = session.body_bytes_read().saturating_sub(self.made_up_bytes) as u64;
        }
        if let Some(end) = self.life.as_ref().and_then(|life| life.ended()) {
            self.ended(end);
        } else if session.is_none() && self.services.has_stopped.load(Relaxed) {
            self.failed("the gateway stopped");
        }
        let duration = self.started.elapsed();
        let metrics = &self.services.metrics;
        metrics.observe(Phase::Total, duration);
        match &self.record {
            Some(record) => record.metrics.answered(self.line.status),
            None => metrics.unrouted().answered(self.line.status),
        }
        self.observe(duration);
        if self.record.as_ref().is_none_or(|record| record.is_logged) {
            self.write(duration);
        }
    }

    /// Says why the request was ended before its time.
    fn ended(&mut self, end: StreamEnd) {
        let (code, text) = match &end {
            StreamEnd::TooOld => ("max_stream_age", "the request lasted longer than max_stream_age"),
            StreamEnd::Expired => ("expired", "the credential expired while the request lasted"),
            StreamEnd::BodyStalled => ("body_timeout", "client: the body stood still for longer than body_timeout"),
            StreamEnd::ClientStalled => {
                ("write_timeout", "client: nothing of the response was taken for write_timeout")
            }
            StreamEnd::Withdrawn(why) => (why.reason.code(), "ended: the caller is no longer allowed"),
        };
        self.failed(text);
        self.services.metrics.stream_ended(code);
        let why = match end {
            StreamEnd::Withdrawn(why) => why,
            StreamEnd::Expired => Withdrawn::by(self.expired()),
            StreamEnd::TooOld | StreamEnd::BodyStalled | StreamEnd::ClientStalled => return,
        };
        self.reason = Some(why.reason);
        audit::stream_ended(self, &why);
    }

    /// Which of the things that prove who is calling has expired.
    fn expired(&self) -> Reason {
        let identity = self.identity.as_deref();
        let is_proof =
            identity.is_some_and(|identity| identity.expires.is_some() && identity.expires == identity.deadline());
        match identity.filter(|_| is_proof) {
            Some(identity) if identity.claims.is_some() => Reason::TokenExpired,
            Some(identity) if identity.certificate.is_some() => Reason::CertificateExpired,
            _ => Reason::KeyExpired,
        }
    }

    fn observe(&self, duration: Duration) {
        let Some(record) = &self.record else { return };
        let (id, status, identity) = (self.id.as_str(), self.line.status, self.identity.as_ref());
        for step in &record.observe {
            let outcome = Outcome::new(id, &record.name, status, identity, self.reason, duration);
            let call = Call { state: self, policy: &step.policy, hook: "observe" };
            // Whatever becomes of it is in the log, and the request is over.
            let _ = call.run(|| {
                step.hook.observe(&outcome);
                Ok(())
            });
        }
    }

    fn write(&self, duration: Duration) {
        let consumer = self.identity.as_ref().and_then(|identity| identity.consumer.as_ref());
        let reached = self.choice.as_ref().filter(|_| self.is_connected);
        self.services.output.access(&Access {
            request_id: self.id.as_str(),
            method: self.line.method.as_str(),
            host: self.line.host.as_ref().and_then(|host| host.to_str().ok()).or(self.line.uri.host()),
            path: self.path(),
            protocol: protocol(self.line.version),
            status: self.line.status,
            bytes_sent: self.line.sent,
            bytes_received: self.body_bytes,
            duration,
            upstream: self.upstream.as_ref().map(|upstream| &*upstream.name),
            target: reached.map(|choice| &*choice.target.address),
            target_address: reached.filter(|choice| choice.target.is_name()).map(|choice| choice.at),
            unreached: &self.unreached,
            route: self.record.as_ref().map(|record| &*record.name),
            consumer: consumer.map(|consumer| consumer.name.as_str()),
            address: self.client,
            reason: self.reason.map(Reason::code),
            error: self.error.as_deref(),
            user_agent: self.line.user_agent.as_ref().map(HeaderValue::as_bytes),
        });
    }
}

impl Drop for RequestState {
    fn drop(&mut self) {
        self.end(None);
    }
}

fn protocol(version: Option<Version>) -> &'static str {
    match version {
        Some(Version::HTTP_10) => "HTTP/1.0",
        Some(Version::HTTP_2) => "HTTP/2",
        _ => "HTTP/1.1",
    }
}
