use std::{error::Error, fmt::Write};

use portcullis_plugin::{Span, http::StatusCode};

/// The reason why there is no answer, or none that can be used.
///
/// Its text is for the log. It names the host and never the path, the query, a header or a body, which may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The name was not found, nobody took the connection, or it ended before the answer did.
    #[error("{0}")]
    Unreachable(String),
    /// The answer was not complete in time.
    #[error("no complete answer within {within}: {stage}", within = Span(*.0), stage = .1.words())]
    Timeout(std::time::Duration, Stage),
    /// No secure connection: the server's certificate is not accepted, or ours is not.
    #[error("{0}")]
    Tls(String),
    /// An answer with another status than the expected one.
    #[error("the answer was {0}")]
    Status(StatusCode),
    /// The answer is larger than allowed.
    #[error("the answer has more than {1} bytes{part}", part = .0.words())]
    TooLarge(Part, usize),
    /// The answer breaks the rules of HTTP, or of its encoding.
    #[error("{0}")]
    Malformed(String),
    /// The address must not be asked.
    #[error("{0}")]
    Forbidden(String),
}

/// The step of an exchange that was not finished in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for a turn: as many exchanges as allowed are under way.
    Queue,
    /// Connecting, sending, and waiting for the head of the answer.
    Head,
    /// Reading the body.
    Body,
}

impl Stage {
    fn words(self) -> &'static str {
        match self {
            Self::Queue => "too many requests to this server are waiting for an answer",
            Self::Head => "the server has not begun to answer",
            Self::Body => "the server is too slow with the body",
        }
    }
}

/// The part of an answer that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The status line and the headers.
    Head,
    /// The body as it was sent.
    Body,
    /// The body after it was unpacked.
    Unpacked,
}

impl Part {
    fn words(self) -> &'static str {
        match self {
            Self::Head => " in its head",
            Self::Body => "",
            Self::Unpacked => " once it is unpacked",
        }
    }
}

impl HttpError {
    /// All values of [`HttpError::kind`], for counters that are made at build time.
    pub const KINDS: [&'static str; 7] =
        ["unreachable", "timeout", "tls", "status", "too_large", "malformed", "forbidden"];

    /// The label for metrics and reasons.
    pub fn kind(&self) -> &'static str {
        Self::KINDS[match self {
            Self::Unreachable(_) => 0,
            Self::Timeout(..) => 1,
            Self::Tls(_) => 2,
            Self::Status(_) => 3,
            Self::TooLarge(..) => 4,
            Self::Malformed(_) => 5,
            Self::Forbidden(_) => 6,
        }]
    }

    /// Returns `true` where the server gave no answer that is its own, so that what was known before may serve on: it
    /// could not be reached, was too slow, or a connection to it was not safe.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Timeout(..) | Self::Tls(_) | Self::Forbidden(_))
    }
}

/// An error with its causes; the outermost alone says next to nothing.
pub(crate) fn words(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    for cause in causes(error).skip(1) {
        let _ = write!(words, ": {cause}");
    }
    words
}

/// The error itself, its cause, the cause of that, and so on.
pub(crate) fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| (*error).source())
}
