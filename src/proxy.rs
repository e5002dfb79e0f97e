//! The one [`ProxyHttp`] implementation, and what its phases call.
//!
//! A request's way: [`check`] makes its head unambiguous, the router finds its route, [`pipeline`] runs guards,
//! authentication and restrictions, and then the route's ending answers or forwards. Whatever refuses goes through
//! [`refusal`], and whatever happens ends in one log line, written by [`state`].

pub mod audit;
pub mod authenticate;
mod body_filter;
mod challenges;
pub mod check;
mod deferred_checks;
pub mod edit;
mod edit_response;
mod end;
pub mod exchange;
pub mod failure;
pub mod forward;
pub mod held_body;
pub mod hook;
pub mod judging;
mod pipeline;
pub mod recheck;
pub mod refusal;
pub mod request_id;
mod respond;
mod response_edits;
mod response_head;
pub mod retry;
pub mod state;
mod target;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{StatusCode, Version, header};
use pingora_core::{
    Error, ErrorType, Result,
    modules::http::HttpModules,
    protocols::{Digest, http::ServerSession},
    upstreams::peer::HttpPeer,
};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use portcullis_plugin::{Refusal, RequestCx};
use tokio::sync::watch;

use self::{
    body_filter::Filter,
    edit_response::Unedited,
    exchange::SessionExchange,
    held_body::Held,
    hook::{Call, Client, Undecided},
    refusal::{Answer, Problem},
    response_edits::Recipient,
    response_head::Asked,
    state::RequestState,
};
use crate::{
    front::{BodyFault, NotForwarded},
    services::Services,
    snapshot::{Route, Snapshot, route::Ending},
    telemetry::metrics::Phase,
};

/// How long an HTTP/2 client may leave a small answer of the gateway's own where it is before its stream is reset. Whoever
/// opens no window for a few hundred bytes is not going to.
const OWN_ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest of them. A client may have a reason to take a larger one slowly.
const SMALL_ANSWER_BYTES: usize = 16 << 10;

/// Everything between Pingora and the snapshot.
pub struct Proxy {
    services: Arc<Services>,
    current: Arc<ArcSwap<Snapshot>>,
    closing: watch::Receiver<bool>,
    write_timeout: Duration,
}

impl Proxy {
    /// Serves whatever snapshot is current. Connections are told to close once `closing` is true. A client that does
    /// not take a piece of a response within `write_timeout` is given up.
    pub fn new(
        services: Arc<Services>,
        current: Arc<ArcSwap<Snapshot>>,
        closing: watch::Receiver<bool>,
        write_timeout: Duration,
    ) -> Self {
        Self { services, current, closing, write_timeout }
    }

    /// From the head to an answer, or to `None`: forward it.
    async fn decide(&self, session: &mut Session, state: &mut RequestState) -> Result<Option<Answer>> {
        let round = self.services.streams.round();
        let gate = {
            // The guard keeps the snapshot without counting; the gate that is taken out of it holds all that it needs.
            let snapshot = self.current.load();
            match check::matched(&snapshot, session, state) {
                Ok(gate) => gate,
                Err(answer) => return Ok(Some(answer)),
            }
        };
        state.matched(&gate.route);
        let mut held = Held::default();
        let answer = pipeline::run(&gate, session, state, &mut held).await?;
        state.made_up_bytes = held.made_up_bytes();
        if answer.is_some() {
            return Ok(answer);
        }
        state.held = (!held.is_empty()).then(|| Box::new(held));
        self.services.metrics.observe(Phase::Policy, state.started.elapsed());
        // Copied before credentials are removed: a condition may be about one.
        let conditions =
            state.is_conditional.then(|| self.current.load().conditions_of(&session.req_header().headers)).flatten();
        let hidden = gate.auth.as_ref().map(|auth| &auth.hidden);
        forward::strip(session.req_header_mut(), &gate.route.callers, hidden)?;
        if let Some(life) = &state.life {
            let deadline = state.identity.as_ref().and_then(|identity| identity.deadline());
            deadline.into_iter().for_each(|deadline| life.set_deadline(deadline));
            state.basis(session, round, conditions).into_iter().for_each(|basis| life.rest_on(basis));
        }
        Ok(None)
    }

    /// Waits until the client takes what was sent to it before.
    async fn may_forward(&self, state: &mut RequestState) -> Result<()> {
        if let Some(life) = &state.life
            && !life.backlog().forward().await
        {
            state.failed("client: nothing was taken for write_timeout");
            return Err(Error::new_down(ErrorType::WriteTimedout));
        }
        state.forwarded = Some(Instant::now());
        Ok(())
    }

    /// Sends an answer of the gateway's own.
    async fn refuse(&self, session: &mut Session, state: &mut RequestState, answer: &Answer) -> Result<()> {
        let (mut head, body) = answer.response(state.id.as_str(), is_grpc(session));
        self.edit_own(session, state, &mut head, answer.recipient());
        if matches!(answer.problem, Problem::BadRequest | Problem::BadPath | Problem::RequestTimeout) {
            session.set_keepalive(None);
        }
        self.answer(session, state, head, body).await?;
        // A gRPC refusal travels as 200: the log and the metrics have the status that it stands for.
        state.answered(answer.status().as_u16());
        Ok(())
    }

    /// Sends a response that the gateway has made. One that is small and that its HTTP/2 client does not take is soon
    /// given up, and until then its connection counts as idle.
    async fn answer(
        &self,
        session: &mut Session,
        state: &mut RequestState,
        head: ResponseHeader,
        body: Bytes,
    ) -> Result<()> {
        if session.req_header().version == Version::HTTP_2 && body.len() <= SMALL_ANSWER_BYTES {
            session.set_write_timeout(Some(self.write_timeout.min(OWN_ANSWER_TIMEOUT)));
            state.life.iter().for_each(|life| life.vacate());
        }
        respond::send(session, state, head, body).await
    }
}

/// Whether the head of the response has been sent.
fn has_begun(session: &Session) -> bool {
    session.response_written().is_some_and(|head| !head.status.is_informational())
}

/// Whether the caller speaks gRPC: over HTTP/2 alone, and `application/grpc` or a kind of it.
fn is_grpc(session: &Session) -> bool {
    let media_type = session.get_header_bytes(header::CONTENT_TYPE);
    let rest = media_type.strip_prefix(b"application/grpc");
    session.req_header().version == Version::HTTP_2 && rest.is_some_and(|rest| matches!(rest, [] | [b'+' | b';', ..]))
}

/// Ends a request that is under way with an answer of the gateway's own; [`ProxyHttp::fail_to_proxy`] sends it.
/// `new_down`, because an error of any other source is swallowed on the way to an HTTP/2 upstream.
fn refused(state: &mut RequestState, policy: Option<&str>, refusal: &Refusal) -> Box<Error> {
    state.reason = Some(refusal.reason);
    state.edits.add(refusal.headers.clone());
    audit::refused_late(state, policy, refusal.reason, refusal.detail.as_deref());
    let problem = Problem::from(refusal.status);
    state.late_answer = Some(Box::new(Answer { retry_after: refusal.retry_after, ..problem.into() }));
    Error::new_down(ErrorType::HTTPStatus(problem.status().as_u16()))
}

/// The same where a piece of the body did not get through.
fn not_forwarded(state: &mut RequestState, why: NotForwarded) -> Box<Error> {
    let (problem, why) = match why {
        NotForwarded::UpstreamStalled => {
            (Problem::UpstreamTimeout, "upstream: nothing of the body was taken for write_timeout")
        }
        NotForwarded::NoMemory => (Problem::Unavailable, "max_unsent_bytes: no memory for a part of the body"),
    };
    state.failed(why);
    Error::new_down(ErrorType::HTTPStatus(problem.status().as_u16()))
}

/// The same where a plugin could not do its part.
fn undecided(state: &mut RequestState, policy: &str, why: &Undecided) -> Box<Error> {
    state.failed(format!("{policy}: {why}"));
    state.reason = Some(why.reason());
    audit::refused_late(state, Some(policy), why.reason(), None);
    Error::new_down(ErrorType::HTTPStatus(why.problem().status().as_u16()))
}

#[async_trait]
impl ProxyHttp for Proxy {
    /// Boxed: Pingora's futures hold it in many places and are copied whole when they are boxed, so that every byte of
    /// it would be copied a dozen times for each request.
    type CTX = Box<RequestState>;

    fn new_ctx(&self) -> Self::CTX {
        Box::new(RequestState::new(self.services.clone()))
    }

    /// None: what Pingora would add compresses nothing and costs a little on each request.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, state: &mut Self::CTX) -> Result<bool> {
        state.begin(session);
        session.set_write_timeout(Some(self.write_timeout));
        // It knows no informational answers (RFC 9110 section 15.2).
        let is_http10 = session.req_header().version == Version::HTTP_10;
        session.set_ignore_info_resp(is_http10);
        if let Some(answer) = self.decide(session, state).await? {
            self.refuse(session, state, &answer).await?;
            return Ok(true);
        }
        let Some(route) = state.route.clone() else {
            return Error::e_explain(ErrorType::InternalError, "a request without a route got through");
        };
        let (head, body) = match &route.ending {
            Ending::Forward(_) => return self.may_forward(state).await.map(|()| false),
            Ending::Respond { status, body, content_type } => respond::fixed(*status, body, content_type)?,
            Ending::Echo => {
                let mut head = session.req_header().clone();
                self.complete(session, state, &route, &mut head)?;
                respond::echo(&head)?
            }
        };
        let mut head = head;
        self.edit_response(session, state, &mut head)?;
        self.answer(session, state, head, body).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, session: &mut Session, state: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        let Some(route) = &state.route else {
            return Error::e_explain(ErrorType::InternalError, "a request without a route was forwarded");
        };
        let Ending::Forward(upstream) = &route.ending else {
            return Error::e_explain(ErrorType::InternalError, "a route without an upstream was forwarded");
        };
        let upstream = upstream.clone();
        // Until there is a connection the client waits for the gateway.
        state.life.iter().for_each(|life| life.upload().pause());
        state.upstream = Some(upstream.clone());
        let choice = retry::next(&upstream, state).await.ok_or_else(|| failure::unresolved(&upstream))?;
        let is_upgrade = session.req_header().headers.contains_key(header::UPGRADE);
        let (peer, handshake) = if is_upgrade { choice.upgradable_peer() } else { choice.peer() };
        (state.handshake, state.is_connected) = (handshake, false);
        state.choice = Some(choice);
        state.attempts += 1;
        Ok(peer)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        state: &mut Self::CTX,
    ) -> Result<()> {
        let Some(route) = state.route.clone() else {
            return Error::e_explain(ErrorType::InternalError, "a request without a route was forwarded");
        };
        state.body_bytes = 0;
        if let Some(held) = &mut state.held {
            held.frame(head)?;
        }
        self.complete(session, state, &route, head)?;
        // A body filter may change the length, so it is not said beforehand. Made anew when a request is tried again.
        state.bodies = self.body_filters(session, state, &route)?;
        if !state.bodies.is_empty()
            && head.remove_header(&header::CONTENT_LENGTH).is_some()
            && head.version != Version::HTTP_2
        {
            head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        if session.req_header().version == Version::HTTP_2
            && !session.is_body_done()
            && let Some(life) = &state.life
        {
            life.upload().expect();
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        state: &mut Self::CTX,
    ) -> Result<()> {
        if session.was_upgraded() {
            return Ok(());
        }
        if let Some(held) = &mut state.held {
            held.hand_on(body);
        }
        let bytes = body.as_ref().map_or(0, Bytes::len);
        state.body_bytes += bytes as u64;
        let is_http2 = session.req_header().version == Version::HTTP_2;
        let upload = state.life.as_ref().map(|life| life.upload().clone());
        let is_slow = upload.as_ref().filter(|_| is_http2).is_some_and(|upload| upload.receive(bytes));
        if end_of_stream && is_http2 {
            upload.iter().for_each(|upload| upload.end());
        } else if is_slow && !is_grpc(session) {
            // A call of gRPC may say little for long.
            state.failed(format!("client: {}", BodyFault::TooSlow));
            return Err(Error::new_down(ErrorType::HTTPStatus(Problem::RequestTimeout.status().as_u16())));
        }
        if state.max_body_bytes.is_some_and(|limit| state.body_bytes > limit) {
            return Err(refused(state, None, &Refusal::body_too_large()));
        }
        let mut filters = std::mem::take(&mut state.bodies);
        for Filter { policy, filter } in &mut filters {
            let call = Call { state, policy, hook: "body" };
            match call.run(|| Ok(filter.request(body, end_of_stream))) {
                Ok(Ok(())) => {}
                Ok(Err(refusal)) => return Err(refused(state, Some(policy), &refusal)),
                Err(why) => return Err(undecided(state, policy, &why)),
            }
        }
        state.bodies = filters;
        if end_of_stream {
            // An HTTP/2 body may end with an empty frame. Pingora would write it as an empty chunk, which ends the body,
            // and end the body again: the next request on that connection to the upstream would begin with a `0`.
            body.take_if(|piece| piece.is_empty());
        }
        let Some(upload) = upload else { return Ok(()) };
        match body.take_if(|piece| !piece.is_empty()) {
            Some(piece) => *body = Some(upload.forward(piece).await.map_err(|why| not_forwarded(state, why))?),
            None => upload.wait(),
        }
        Ok(())
    }

    /// Every head of an upstream comes by here as it was read, informational ones too.
    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        _: &mut Self::CTX,
    ) -> Result<()> {
        let request = session.req_header();
        let wants_upgrade = request.headers.contains_key(header::UPGRADE);
        response_head::receive(head, Asked { version: request.version, wants_upgrade })
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        state: &mut Self::CTX,
    ) -> Result<()> {
        if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        if let Some(life) = &state.life {
            // What comes after the response has begun comes when it comes: both sides talk now.
            life.answered();
        }
        if let Some(asked) = state.forwarded {
            self.services.metrics.observe(Phase::Upstream, asked.elapsed());
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            // Frames come when they come: what holds for a request's body does not hold for them.
            let silence = state.upstream.as_ref().map(|upstream| upstream.read_timeout);
            session.set_read_timeout(silence);
            // Nor are they a body: of the client's frames filters see nothing, and so of neither side's. Of a 101 that
            // nobody asked for nothing comes.
            if session.req_header().headers.contains_key(header::UPGRADE) {
                state.bodies.clear();
                state.life.iter().for_each(|life| life.upgraded());
            }
        }
        self.edit_response(session, state, head)?;
        state.secure(head)?;
        if !state.bodies.is_empty()
            && head.remove_header(&header::CONTENT_LENGTH).is_some()
            && session.req_header().version == Version::HTTP_11
        {
            head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        if session.req_header().version == Version::HTTP_10 && head.remove_header(&header::TRANSFER_ENCODING).is_some()
        {
            // It knows no chunks (RFC 9112 section 6.1): the end of the connection is the end of the body.
            session.set_keepalive(None);
        }
        if *self.closing.borrow() {
            session.set_keepalive(None);
        }
        state.answered(head.status.as_u16());
        // From here on a slim record is enough: a stream of an hour holds on to no configuration.
        state.route = None;
        // Nor can it be tried again.
        state.held.take_if(|held| held.is_handed_on());
        Ok(())
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        state: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        let mut filters = std::mem::take(&mut state.bodies);
        for Filter { policy, filter } in filters.iter_mut().rev() {
            let call = Call { state, policy, hook: "body" };
            call.run(|| filter.response(body, end_of_stream)).map_err(|why| undecided(state, policy, &why))?;
        }
        state.bodies = filters;
        state.sends(body.as_ref().map_or(0, Bytes::len));
        if session.req_header().version == Version::HTTP_2
            && let Some(life) = &state.life
            && let Some(piece) = body.take_if(|piece| !piece.is_empty())
        {
            *body = Some(life.backlog().response(piece));
        }
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        peer: &HttpPeer,
        state: &mut Self::CTX,
        mut error: Box<Error>,
    ) -> Box<Error> {
        if failure::is_out_of_descriptors(&error) {
            error.set_retry(false);
            return error;
        }
        failure::count(state, &error);
        error.set_retry(retry::after_connecting(state, peer, &error));
        error
    }

    /// Every request comes by here before a byte of it is written, on new connections and on kept ones.
    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        _: bool,
        _: &HttpPeer,
        _: std::os::fd::RawFd,
        connection: Option<&Digest>,
        state: &mut Self::CTX,
    ) -> Result<()> {
        if let Some(handshake) = &state.handshake
            && let Err(fault) = handshake.admit(connection)
        {
            let mut error = Error::explain(ErrorType::InvalidCert, fault.why);
            error.as_up();
            failure::count(state, &error);
            error.set_retry(retry::unreached(state));
            return Err(error);
        }
        state.is_connected = true;
        if let Some(choice) = &state.choice {
            choice.set_reached(true);
        }
        Ok(())
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        state: &mut Self::CTX,
        is_reused: bool,
    ) -> Box<Error> {
        // Of one that was not sent it is decided already.
        if state.is_connected {
            error.set_retry(retry::after_sending(state, session, peer, &error, is_reused));
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, state: &mut Self::CTX) -> FailToProxy {
        let problem = failure::problem(state, error);
        let has_begun = has_begun(session);
        let error_code = match problem {
            // The client is gone, or has half an answer already: there is nobody to tell.
            None => 0,
            Some(_) if has_begun => 0,
            Some(problem) => {
                session.set_keepalive(None);
                let answer = state.late_answer.take().map_or_else(|| problem.into(), |answer| *answer);
                let sent = self.refuse(session, state, &answer).await;
                if let (Ok(()), ServerSession::H1(stream)) = (&sent, &mut *session.downstream_session) {
                    // A client that still sends its body is to hear it: the front waits for that where an answer is whole.
                    stream.shutdown().await;
                }
                if sent.is_ok() { problem.status().as_u16() } else { 0 }
            }
        };
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, state: &mut Self::CTX) {
        state.end(Some(session));
    }

    /// Ours are in the access line, without the query that Pingora would print.
    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Self::CTX,
        _: &Error,
        _: pingora_proxy::ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn request_summary(&self, _: &Session, state: &Self::CTX) -> String {
        format!("{} {}, request {}", state.method(), state.path(), state.id.as_str())
    }
}

impl Proxy {
    /// Runs `f` with the request as plugins see it. A certificate is judged by the configuration that serves now.
    fn with_cx<T>(
        &self,
        session: &mut Session,
        state: &RequestState,
        route: &Route,
        f: impl FnOnce(&mut RequestCx<'_>) -> T,
    ) -> T {
        let snapshot = self.current.load();
        let (mut held, client) = (Held::default(), Client::of(session));
        let mut exchange = SessionExchange::new(&client, state, route, &snapshot.settings, &mut held);
        f(&mut RequestCx::new(&mut exchange))
    }

    /// Makes the upstream's request out of the client's.
    fn complete(
        &self,
        session: &mut Session,
        state: &mut RequestState,
        route: &Route,
        head: &mut RequestHeader,
    ) -> Result<()> {
        forward::set_host(head, route);
        if !route.edit_request.is_empty() {
            let edited = self.with_cx(session, state, route, |cx| forward::edit(head, route, state, cx));
            edited.map_err(|(policy, why)| undecided(state, policy, &why))?;
        }
        forward::announce(head, &route.callers, state, &session.req_header().headers);
        Ok(())
    }

    /// Begins the filters of this request's bodies.
    fn body_filters(&self, session: &mut Session, state: &mut RequestState, route: &Route) -> Result<Vec<Filter>> {
        if route.body.is_empty() {
            return Ok(Vec::new());
        }
        let begun = self.with_cx(session, state, route, |cx| {
            let filters = route.body.iter().filter_map(|step| {
                let call = Call { state, policy: &step.policy, hook: "body" };
                cx.enter(step.number);
                let begun = call.run(|| Ok(step.hook.begin(cx))).transpose()?;
                let filter = begun.map(|filter| Filter { policy: step.policy.clone(), filter });
                Some(filter.map_err(|why| (&*step.policy, why)))
            });
            filters.collect::<Result<Vec<_>, _>>()
        });
        begun.map_err(|(policy, why)| undecided(state, policy, &why))
    }

    /// Has the route's plugins edit the response of the upstream, or what the route says in its place.
    fn edit_response(&self, session: &mut Session, state: &mut RequestState, head: &mut ResponseHeader) -> Result<()> {
        if let Some(route) = state.route.clone().filter(|route| !route.edit_response.is_empty()) {
            let edited = self.with_cx(session, state, &route, |cx| edit_response::edit(&route, state, cx, head));
            if let Err(Unedited { step, policy, why }) = edited {
                state.failed_edit = Some(step);
                return Err(undecided(state, &policy, &why));
            }
        }
        state.edits.apply(head, None);
        Ok(())
    }

    /// The same for an answer of the gateway's own.
    fn edit_own(&self, session: &mut Session, state: &RequestState, head: &mut ResponseHeader, to: Recipient) {
        if let Some(route) = state.route.as_ref().filter(|route| !route.edit_response.is_empty()) {
            self.with_cx(session, state, route, |cx| edit_response::edit_own(route, state, cx, head));
        }
        state.edits.apply(head, Some(to));
    }
}
