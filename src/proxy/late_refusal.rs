//! Refusals of requests that are under way: each is an error for Pingora, which ends the exchange with the upstream,
//! and then [`ProxyHttp::fail_to_proxy`](pingora::proxy::ProxyHttp::fail_to_proxy) sends the answer.
//!
//! The errors are `new_down`, because one of any other source is swallowed on the way to an HTTP/2 upstream.
//!
//! # When Pingora is upgraded
//! That is so in Pingora 0.9.1: an error of the request's body that is not the client's ends the exchange with the
//! upstream and not the request, which hangs. The test
//! `http2::uploads::a_body_that_is_too_large_is_refused_also_where_the_upstream_speaks_http2` fails when it is no
//! longer enough. To be offered upstream: every error of `request_body_filter` ends the request.

use pingora::{Error, ErrorType};
use portcullis_plugin::Refusal;

use super::{
    audit,
    hook::Undecided,
    refusal::{Answer, Problem},
    state::RequestState,
};
use crate::front::NotForwarded;

/// Returns the error for a refusal, by a policy or else by the gateway itself.
pub(super) fn refused(state: &mut RequestState, policy: Option<&str>, refusal: &Refusal) -> Box<Error> {
    state.reason = Some(refusal.reason);
    state.edits.add(refusal.headers.clone());
    audit::refused_late(state, policy, refusal.reason, refusal.detail.as_deref());
    let problem = Problem::from(refusal.status);
    state.late_answer = Some(Box::new(Answer { retry_after: refusal.retry_after, ..problem.into() }));
    Error::new_down(ErrorType::HTTPStatus(problem.status().as_u16()))
}

/// Returns the error for a piece of the body that did not get through.
pub(super) fn not_forwarded(state: &mut RequestState, why: NotForwarded) -> Box<Error> {
    let (problem, why) = match why {
        NotForwarded::UpstreamStalled => {
            (Problem::UpstreamTimeout, "upstream: nothing of the body was taken for write_timeout")
        }
        NotForwarded::NoMemory => (Problem::Unavailable, "max_unsent_bytes: no memory for a part of the body"),
    };
    state.failed(why);
    Error::new_down(ErrorType::HTTPStatus(problem.status().as_u16()))
}

/// Returns the error for a plugin that could not do its part.
pub(super) fn undecided(state: &mut RequestState, policy: &str, why: &Undecided) -> Box<Error> {
    state.failed(format!("{policy}: {why}"));
    state.reason = Some(why.reason());
    audit::refused_late(state, Some(policy), why.reason(), None);
    Error::new_down(ErrorType::HTTPStatus(why.problem().status().as_u16()))
}
