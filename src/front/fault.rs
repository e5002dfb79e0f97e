//! The faults of heads that are refused before Pingora sees them.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::HeaderValue;

/// The reason why a request ended before Pingora saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Malformed or ambiguous; the text says how, for the log only.
    BadRequest(&'static str),
    /// TRACE or CONNECT, which no route can allow.
    MethodNotAllowed,
    /// More bytes or lines than [`Limits`](super::Limits) allow; the text says which.
    HeadTooLarge(&'static str),
    /// The head was not complete in time.
    HeadTimeout,
}

impl Fault {
    /// Returns the status of the answer (RFC 9110 section 15.5, RFC 6585 section 5).
    #[cfg(test)]
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::MethodNotAllowed => 405,
            Self::HeadTimeout => 408,
            Self::HeadTooLarge(_) => 431,
        }
    }

    /// Returns the details for the log. They are not part of the answer.
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::BadRequest(why) | Self::HeadTooLarge(why) => why,
            Self::MethodNotAllowed => "method TRACE or CONNECT",
            Self::HeadTimeout => "head took too long",
        }
    }
}

/// A callback that makes the whole HTTP/1 response to a request that ends here: status line, headers, body. It is made,
/// logged and counted like every other response of the engine. A peer without an internet address (a Unix socket) is
/// `0.0.0.0:0`. Over TLS the response has the listener's `Strict-Transport-Security` (RFC 6797 section 7.1), if it has
/// any.
pub(crate) type Refuse = Arc<dyn Fn(Fault, SocketAddr, Option<&HeaderValue>) -> Bytes + Send + Sync>;
