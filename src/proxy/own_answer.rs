//! Sends answers of the gateway's own: refusals, and those of routes without an upstream.

use std::time::Duration;

use bytes::Bytes;
use http::Version;
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::{
    Proxy, edit_response,
    heads::is_grpc,
    refusal::{Answer, Problem},
    respond,
    response_edits::Recipient,
    state::RequestState,
};

/// The time that an HTTP/2 client has to take a small answer of the gateway's own before its stream is reset. Whoever
/// opens no window for a few hundred bytes is not going to.
const OWN_ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest of them. A client may have a reason to take a larger one slowly.
const SMALL_ANSWER_BYTES: usize = 16 << 10;

impl Proxy {
    /// Sends the answer to a request that is not forwarded.
    pub(super) async fn refuse(&self, session: &mut Session, state: &mut RequestState, answer: &Answer) -> Result<()> {
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
    pub(super) async fn answer(
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

    /// Has the route's plugins edit it.
    fn edit_own(&self, session: &mut Session, state: &RequestState, head: &mut ResponseHeader, to: Recipient) {
        if let Some(route) = state.route.as_ref().filter(|route| !route.edit_response.is_empty()) {
            self.with_cx(session, state, route, |cx| edit_response::edit_own(route, state, cx, head));
        }
        state.edits.apply(head, Some(to));
    }
}
