//! Which address a request goes to, and whether it is sent again after it failed.
//!
//! | what happened | sent again |
//! |---|---|
//! | no connection, or one that is not good enough: nothing was sent | to another address, whatever the method |
//! | the upstream refused the stream unprocessed: `REFUSED_STREAM`, or a `GOAWAY` that leaves it out | whatever the method (RFC 9113 section 8.7), after a pause |
//! | a kept connection ended before an answer came | if the method is idempotent (RFC 9110 section 9.2.2) |
//! | the upstream requires HTTP/1.1 | the same, by HTTP/1.1 |
//! | anything else | no |
//!
//! Never more than [`MAX_ATTEMPTS`] in all, nor once the client has a part of an answer, nor where the body is longer
//! than what Pingora keeps of it. What was sent before also needs the upstream's
//! [budget](crate::upstream::RetryBudget): a request that reached nobody adds nothing to anybody's load, and needs
//! none.

use std::{sync::Arc, time::Duration};

use log::Level;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, upstreams::peer::HttpPeer};

use super::{heads::has_begun, state::RequestState};
use crate::{
    telemetry::{Note, Value},
    upstream::{Choice, Upstream},
};

/// The most attempts for one request, for all reasons together.
pub(crate) const MAX_ATTEMPTS: usize = 3;
/// The shortest pause before a request that was refused is sent again. The second one is twice as long; each may be up
/// to twice what it is, so that those who were refused together do not come back together.
const PAUSE: Duration = Duration::from_millis(20);

/// Chooses the address that the request goes to now. `None`: there is none.
pub(crate) async fn next(upstream: &Upstream, state: &mut RequestState) -> Option<Choice> {
    match &state.choice {
        None => upstream.retries.earn(),
        Some(before) => state.tried.push(before.at),
    }
    if let Some(pause) = state.pause.take() {
        tokio::time::sleep(pause).await;
    }
    match upstream.choose(&state.tried) {
        Some(choice) => Some(choice),
        None => upstream.choose_once_resolved(&state.tried).await,
    }
}

/// Returns whether a request that was not sent can be tried with another address. Nothing of it is lost, whatever its
/// method.
fn may_try_another(state: &RequestState) -> bool {
    let addresses = state.upstream.as_ref().map_or(1, |upstream| upstream.len());
    state.attempts < addresses.min(MAX_ATTEMPTS)
}

/// Returns whether a request for which no connection could be made is tried again.
pub(crate) fn after_connecting(state: &mut RequestState, peer: &HttpPeer, error: &Error) -> bool {
    let Some(choice) = &state.choice else { return false };
    let is_tls = matches!(error.etype(), ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert);
    if is_tls && choice.may_speak_http1_now(&peer.options.alpn) {
        // It is no other address that is tried then, so it does not have to be left.
        return state.attempts < MAX_ATTEMPTS;
    }
    unreached(state)
}

/// The target cannot be reached, or is none to send anything to: other requests pass it over for a while. Returns
/// whether this one, of which nothing was sent, can go to another address.
pub(crate) fn unreached(state: &mut RequestState) -> bool {
    let Some(choice) = &state.choice else { return false };
    choice.set_reached(false);
    let name = match choice.target.is_name() {
        true => format!("{} ({})", choice.target.address, choice.at).into(),
        false => choice.target.address.clone(),
    };
    state.unreached.push(name);
    may_try_another(state)
}

/// Returns whether a request that was sent, at least in part, is sent again.
pub(crate) fn after_sending(
    state: &mut RequestState,
    session: &mut Session,
    peer: &HttpPeer,
    error: &Error,
    is_reused: bool,
) -> bool {
    let (Some(upstream), Some(choice)) = (state.upstream.clone(), state.choice.clone()) else { return false };
    let is_unprocessed = is_unprocessed(error);
    let is_idempotent = session.req_header().method.is_idempotent();
    let is_wanted = match error.etype() {
        ErrorType::InvalidH2 => {
            choice.broke_http2(&peer.options.alpn);
            false
        }
        ErrorType::H2Downgrade => turn_to_http1(state, &upstream, &choice, peer) && is_idempotent,
        _ if is_unprocessed => true,
        _ => {
            let mut retry = error.retry;
            retry.decide_reuse(is_reused);
            retry.retry() && is_idempotent
        }
    };
    let is_possible =
        state.attempts < MAX_ATTEMPTS && !has_begun(session) && !session.as_ref().retry_buffer_truncated();
    if !is_wanted || !is_possible {
        return false;
    }
    let is_allowed = upstream.retries.take();
    upstream.metrics.retried(is_allowed);
    if is_unprocessed {
        state.pause = Some(pause(state));
    }
    is_allowed
}

/// Returns whether the upstream says that it has not looked at the request. h2 gives a stream the error of a `GOAWAY`
/// only where its number is above the last one that the upstream has taken.
fn is_unprocessed(error: &Error) -> bool {
    let error = error.root_cause().downcast_ref::<h2::Error>();
    error.is_some_and(|error| {
        let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (is_refused || error.is_go_away())
    })
}

/// Returns whether HTTP/1.1 may be spoken instead of the HTTP/2 that was refused.
fn turn_to_http1(state: &RequestState, upstream: &Arc<Upstream>, choice: &Choice, peer: &HttpPeer) -> bool {
    choice.broke_http2(&peer.options.alpn);
    let Some(is_new) = choice.requires_http1() else { return false };
    if is_new {
        state.services.output.note(&Note {
            level: Level::Warn,
            event: "upstream",
            message: "the upstream requires HTTP/1.1 (HTTP_1_1_REQUIRED): it is spoken for five minutes",
            fields: &[("upstream", Value::Text(&upstream.name)), ("target", Value::Text(&choice.target.address))],
        });
    }
    true
}

fn pause(state: &RequestState) -> Duration {
    let least = PAUSE * 2_u32.saturating_pow(u32::try_from(state.attempts).unwrap_or(u32::MAX).saturating_sub(1));
    // How long the request has lasted is random enough to spread those that were refused together.
    let spread = state.started.elapsed().subsec_nanos() % 1000;
    least + least * spread / 1000
}
