//! The reasons why the gateway does not start.

use std::io;

use crate::config::Report;

/// The reason why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The configuration is wrong.
    #[error("{0}")]
    Configuration(#[from] Report),
    /// A socket, a thread or the runtime could not be created.
    #[error("{0}: {1}")]
    System(String, io::Error),
}

/// Adds the purpose of a failed system call to its error.
pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> StartError {
    |error| StartError::System(what.into(), error)
}
