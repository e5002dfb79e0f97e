//! What went wrong on the way, and which answer that makes.

use pingora_core::{Error, ErrorSource, ErrorType};
use portcullis_plugin::Reason;

use super::{refusal::Problem, state::RequestState};
use crate::telemetry::metrics::UpstreamError;

/// The most targets that are tried for one request.
pub const MAX_ATTEMPTS: usize = 3;

/// Counts an error of an upstream.
pub fn count(state: &RequestState, error: &Error) {
    if let Some((upstream, _)) = &state.upstream {
        upstream.metrics.failed(kind(error.etype()));
    }
}

fn kind(error: &ErrorType) -> UpstreamError {
    match error {
        ErrorType::ConnectTimedout
        | ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::BindError
        | ErrorType::SocketError => UpstreamError::Connect,
        ErrorType::TLSHandshakeFailure
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError => UpstreamError::Tls,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => UpstreamError::Timeout,
        ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed => UpstreamError::Closed,
        _ => UpstreamError::Protocol,
    }
}

/// The answer to an error, with what the log should say; `None`: the client is gone.
pub fn problem(state: &mut RequestState, error: &Error) -> Option<Problem> {
    // Only the kind of error: Pingora's words about it hold parts of the request.
    let what = error.etype().as_str().to_owned();
    match (error.esource(), error.etype()) {
        (_, ErrorType::HTTPStatus(status)) => {
            let known = Problem::ALL.into_iter().find(|problem| problem.status().as_u16() == *status);
            Some(known.unwrap_or(Problem::Internal))
        }
        (ErrorSource::Upstream, etype) => {
            let is_connecting = kind(etype) == UpstreamError::Connect;
            // Failures to connect were counted as they came, one for each target.
            if !is_connecting {
                count(state, error);
            }
            state.failed(format!("upstream: {what}"));
            Some(match kind(etype) {
                _ if *etype == ErrorType::ConnectTimedout => Problem::UpstreamTimeout,
                UpstreamError::Timeout => Problem::UpstreamTimeout,
                UpstreamError::Connect => Problem::UpstreamUnreachable,
                _ => Problem::UpstreamBroken,
            })
        }
        (ErrorSource::Downstream, etype) => {
            state.failed(format!("client: {what}"));
            match etype {
                ErrorType::ReadTimedout => Some(Problem::RequestTimeout),
                ErrorType::WriteError
                | ErrorType::WriteTimedout
                | ErrorType::ReadError
                | ErrorType::ConnectionClosed => None,
                _ => Some(Problem::BadRequest),
            }
        }
        _ => {
            state.failed(format!("gateway: {what}"));
            if state.reason == Some(Reason::PluginFailed) {
                Some(Problem::Unavailable)
            } else {
                Some(Problem::Internal)
            }
        }
    }
}
