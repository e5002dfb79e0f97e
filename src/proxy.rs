//! The one [`ProxyHttp`] implementation, and what its phases call.
//!
//! The phases of a request, in the order of their calls:
//!
//! - `decide`: the head, the route and its [`pipeline`], up to an answer or to being forwarded.
//! - [`check`], [`pipeline`], [`authenticate`], `challenges`, `deferred_checks`: what that consists of.
//! - [`refusal`], `own_answer`, [`respond`]: answers of the gateway's own.
//! - [`retry`], [`forward`], [`edit`], `target`: where the request goes, and what the upstream gets.
//! - `request_body`, `body_filter`, [`held_body`]: its body.
//! - `response_head`, `edit_response`, `response_edits`: the response.
//! - [`failure`], `late_refusal`: what goes wrong under way.
//! - `end`, [`audit`]: the log line, which every request has however it ends, and the audit log.
//! - [`hook`], [`exchange`]: how plugins are called, and what they see.
//! - [`judging`], [`recheck`]: requests that last, judged again.
//! - [`state`], `heads`, [`request_id`]: what the phases share.

#[cfg(test)]
mod allocations;
pub(crate) mod audit;
pub(crate) mod authenticate;
mod body_filter;
mod challenges;
pub(crate) mod check;
mod decide;
mod deferred_checks;
pub(crate) mod edit;
mod edit_response;
mod end;
pub(crate) mod exchange;
pub(crate) mod failure;
pub(crate) mod forward;
mod heads;
pub(crate) mod held_body;
pub(crate) mod hook;
pub(crate) mod judging;
mod late_refusal;
mod own_answer;
mod pipeline;
pub(crate) mod recheck;
pub(crate) mod refusal;
mod request_body;
pub(crate) mod request_id;
mod respond;
mod response_edits;
mod response_head;
pub(crate) mod retry;
pub(crate) mod state;
mod target;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::{
    Error, ErrorType, Result,
    modules::http::HttpModules,
    protocols::{Digest, http::ServerSession},
    upstreams::peer::HttpPeer,
};
use portcullis_plugin::RequestCx;
use tokio::sync::watch;

use self::{
    body_filter::Filter,
    edit_response::Unedited,
    exchange::SessionExchange,
    heads::has_begun,
    held_body::Held,
    hook::{Call, Client},
    late_refusal::undecided,
    response_head::Asked,
    state::RequestState,
};
use crate::{
    services::Services,
    snapshot::{Route, Snapshot, route::Ending},
    telemetry::metrics::Phase,
};

/// The application that Pingora runs for each request.
pub(crate) struct Proxy {
    services: Arc<Services>,
    current: Arc<ArcSwap<Snapshot>>,
    closing: watch::Receiver<bool>,
    write_timeout: Duration,
}

impl Proxy {
    /// Returns a proxy that serves whatever snapshot is current. Connections are told to close once `closing` is true.
    /// A client that does not take a piece of a response within `write_timeout` is given up.
    pub(crate) fn new(
        services: Arc<Services>,
        current: Arc<ArcSwap<Snapshot>>,
        closing: watch::Receiver<bool>,
        write_timeout: Duration,
    ) -> Self {
        Self { services, current, closing, write_timeout }
    }
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
        if let Some(answer) = self.judge(session, state).await? {
            self.refuse(session, state, &answer).await?;
            return Ok(true);
        }
        let Some(route) = state.route.clone() else {
            return Error::e_explain(ErrorType::InternalError, "a request without a route got through");
        };
        let (mut head, body) = match &route.ending {
            Ending::Own(_) => return Error::e_explain(ErrorType::InternalError, "a policy did not answer on its path"),
            Ending::Forward(_) => return self.may_forward(state).await.map(|()| false),
            Ending::Respond { status, body, content_type } => respond::fixed(*status, body, content_type)?,
            Ending::Echo => {
                let mut head = session.req_header().clone();
                self.complete(session, state, &route, &mut head)?;
                respond::echo(&head)?
            }
        };
        self.edit_response(session, state, &mut head)?;
        self.answer(session, state, head, body).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, state: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        let Some(route) = &state.route else {
            return Error::e_explain(ErrorType::InternalError, "a request without a route was forwarded");
        };
        let Ending::Forward(upstream) = &route.ending else {
            return Error::e_explain(ErrorType::InternalError, "a route without an upstream was forwarded");
        };
        let upstream = upstream.clone();
        // Until there is a connection the client waits for the gateway.
        state.life.iter().for_each(|life| life.upload().suspend());
        state.upstream = Some(upstream.clone());
        let choice = retry::next(&upstream, state).await.ok_or_else(|| failure::unresolved(&upstream))?;
        let (peer, handshake) = if state.wants_upgrade { choice.upgradable_peer() } else { choice.peer() };
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
        request_body::pass(session, body, end_of_stream, state).await
    }

    /// Sees every head of an upstream as it was read, informational ones too.
    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        state: &mut Self::CTX,
    ) -> Result<()> {
        let asked = Asked { version: session.req_header().version, wants_upgrade: state.wants_upgrade };
        response_head::receive(head, asked)?;
        match &state.route {
            Some(route) if !route.callers.cookies.0.is_empty() => {
                response_head::remove_cookies(head, &route.callers.cookies)
            }
            _ => Ok(()),
        }
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
            if state.wants_upgrade {
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
        if !state.bodies.is_empty() {
            let mut filters = std::mem::take(&mut state.bodies);
            for Filter { policy, filter } in filters.iter_mut().rev() {
                let call = Call { state, policy, hook: "body" };
                call.run(|| filter.response(body, end_of_stream)).map_err(|why| undecided(state, policy, &why))?;
            }
            state.bodies = filters;
        }
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

    /// Sees every request before a byte of it is written, on new connections and on kept ones.
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

    /// Suppresses all: the access line has them, without the query that Pingora would print.
    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Self::CTX,
        _: &Error,
        _: pingora::proxy::ProxyWarnLogContext,
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
}
