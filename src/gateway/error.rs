use std::io;

use crate::config::Report;

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("{0}")]
    Configuration(#[from] Report),
    /// A socket, a thread or the runtime is not to be had.
    #[error("{0}: {1}")]
    System(String, io::Error),
}

/// Says of what a system call was wanted for that it could not be had.
pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> StartError {
    |error| StartError::System(what.into(), error)
}
