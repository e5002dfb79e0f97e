//! The reasons why a hook decided nothing, and what the client gets for each.

use std::time::Duration;

use portcullis_plugin::{PluginError, Reason};

use crate::proxy::refusal::Problem;

/// The reason why a hook decided nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undecided {
    /// The hook returned an error.
    #[error("{0}")]
    Failed(String),
    /// Its deadline passed.
    #[error("it took longer than {} (`hook_timeout`)", portcullis_plugin::Span(*.0))]
    TimedOut(Duration),
    /// It panicked, which is a bug in it.
    #[error("it panicked: a bug in the plugin")]
    Panicked,
    /// The client closed the connection or reset the stream: there is nobody to answer.
    #[error("the client left before it had decided")]
    ClientGone,
    /// The client closed its side of the connection, and may have left: see
    /// [`HALF_CLOSED_WAIT`](super::client::HALF_CLOSED_WAIT).
    #[error("the client closed its side of the connection before it had decided")]
    ClientHalfClosed,
}

impl Undecided {
    /// The answer.
    pub(crate) fn problem(&self) -> Problem {
        if *self == Self::Panicked { Problem::Internal } else { Problem::Unavailable }
    }

    /// The reason, for log and metric.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Failed(_) => Reason::PluginFailed,
            Self::TimedOut(_) => Reason::PluginTimedOut,
            Self::Panicked => Reason::PluginPanicked,
            Self::ClientGone | Self::ClientHalfClosed => Reason::ClientGone,
        }
    }

    /// Returns whether the client has left, so that nobody waits for a decision.
    pub(crate) fn is_about_the_client(&self) -> bool {
        matches!(self, Self::ClientGone | Self::ClientHalfClosed)
    }
}

impl From<PluginError> for Undecided {
    fn from(error: PluginError) -> Self {
        Self::Failed(error.to_string())
    }
}
