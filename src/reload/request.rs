//! Requests to reload.

use std::sync::mpsc;

use super::outcome::Reloaded;

/// A request for a reload.
pub(crate) struct ReloadRequest {
    /// The files that are read again.
    pub scope: Scope,
    /// Receives the result, if somebody waits for it.
    pub answer: Option<mpsc::Sender<Reloaded>>,
}

/// The files that a reload reads again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The configuration, and all files that it names.
    Configuration,
    /// The files that the current configuration names, but not the configuration itself.
    ReferencedFiles,
}
