//! A piece of the request's body on its way to the upstream.
//!
//! # When Pingora is upgraded
//! Pingora 0.9.1 writes an empty piece at the end of an HTTP/2 body as an empty chunk to an HTTP/1 upstream, and then
//! ends the body again. It is taken out here; the test `streams::http2::a_streamed_body_ends_once_at_an_http1_upstream`
//! fails without that. To be offered upstream: an empty piece is not written as a chunk.

use bytes::Bytes;
use http::Version;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use portcullis_plugin::Refusal;

use super::{
    body_filter::Filter,
    heads::is_grpc,
    hook::Call,
    late_refusal::{not_forwarded, refused, undecided},
    refusal::Problem,
    state::RequestState,
};
use crate::front::BodyFault;

/// Counts a piece, has the route's plugins inspect it, and waits until there is memory for it.
///
/// # Errors
/// The request is refused: its body is too slow, too large, or not what a plugin lets through, or nobody takes it.
pub(super) async fn pass(
    session: &mut Session,
    body: &mut Option<Bytes>,
    end_of_stream: bool,
    state: &mut RequestState,
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
    if !state.bodies.is_empty() {
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
    }
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
