//! What went wrong on the way, and which answer that makes.

mod openssl;

use std::io;

use pingora::{Error, ErrorSource, ErrorType};

use super::{refusal::Problem, state::RequestState};
use crate::{
    front::BodyFault,
    telemetry::metrics::UpstreamError,
    upstream::{Upstream, tls::Fault},
};

/// Returns whether this process (`EMFILE`) or the machine (`ENFILE`) has no descriptor left for a connection: no fault
/// of an upstream, and the next target cannot be reached either.
pub(crate) fn is_out_of_descriptors(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    matches!(cause, Some(libc::EMFILE | libc::ENFILE))
}

/// Counts an error of an upstream.
pub(crate) fn count(state: &RequestState, error: &Error) {
    if let Some(upstream) = &state.upstream {
        upstream.metrics.failed(kind_of(state, error));
    }
}

/// Returns the error for an upstream without an address: none of its names resolves.
pub(crate) fn unresolved(upstream: &Upstream) -> Box<Error> {
    upstream.metrics.failed(UpstreamError::Unresolved);
    let mut error = Error::new(UNRESOLVED);
    error.as_up();
    error
}

const UNRESOLVED: ErrorType = ErrorType::new("unresolved");

/// Returns the fault of the handshake, which says more than the error of Pingora that followed it.
fn fault(state: &RequestState) -> Option<Fault> {
    state.handshake.as_ref().filter(|_| !state.is_connected).and_then(|handshake| handshake.fault())
}

fn kind_of(state: &RequestState, error: &Error) -> UpstreamError {
    match fault(state) {
        Some(fault) => fault.kind,
        // A server that refuses the gateway's certificate may say so when the handshake is over for the gateway (TLS 1.3,
        // RFC 8446 section 4.4.2.4): then the answer cannot be read, and why is known to OpenSSL.
        None if openssl::reason(error).is_some() => UpstreamError::Tls,
        None => kind(error.etype()),
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
        _ if *error == UNRESOLVED => UpstreamError::Unresolved,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => UpstreamError::Timeout,
        ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed => UpstreamError::Closed,
        _ => UpstreamError::Protocol,
    }
}

/// Returns the answer to an error, and stores the text for the log; `None`: the client is gone.
pub(crate) fn problem(state: &mut RequestState, error: &Error) -> Option<Problem> {
    // Only the kind of error: Pingora's words about it hold parts of the request.
    let what = error.etype().as_str().to_owned();
    if is_out_of_descriptors(error) {
        state.failed("gateway: too many open files".to_owned());
        return Some(Problem::Unavailable);
    }
    match (error.esource(), error.etype()) {
        (_, ErrorType::HTTPStatus(status)) => {
            let known = Problem::ALL.into_iter().find(|problem| problem.status().as_u16() == *status);
            Some(known.unwrap_or(Problem::Internal))
        }
        (ErrorSource::Upstream, etype) => {
            // Failures to connect were counted as they came, one for each target.
            if state.is_connected {
                count(state, error);
            }
            let tls = || openssl::reason(error).map(|why| format!("{}: {why}", UpstreamError::Tls.as_str()));
            let what = fault(state).map(|fault| fault.to_string()).or_else(tls).unwrap_or(what);
            let names =
                state.upstream.as_ref().filter(|_| *etype == UNRESOLVED).map(|upstream| upstream.unresolved_names());
            let what = names.map_or(what, |names| format!("{}: {names}", UNRESOLVED.as_str()));
            state.failed(format!("upstream: {what}"));
            Some(match kind_of(state, error) {
                _ if *etype == ErrorType::ConnectTimedout => Problem::UpstreamTimeout,
                UpstreamError::Timeout => Problem::UpstreamTimeout,
                UpstreamError::Connect | UpstreamError::Unresolved => Problem::UpstreamUnreachable,
                _ => Problem::UpstreamBroken,
            })
        }
        (ErrorSource::Downstream, etype) => {
            let fault = BodyFault::of(error);
            state.failed(format!("client: {}", fault.map_or(what, |fault| fault.to_string())));
            match etype {
                _ if matches!(fault, Some(BodyFault::Malformed(_))) => Some(Problem::BadRequest),
                _ if fault == Some(BodyFault::TooSlow) => Some(Problem::RequestTimeout),
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
            Some(Problem::Internal)
        }
    }
}
