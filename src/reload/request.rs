use std::sync::mpsc;

use super::outcome::Reloaded;

/// Somebody wants a reload.
pub struct ReloadRequest {
    /// Of what.
    pub of: Of,
    /// Whoever waits for it is told what came of it.
    pub waits: Option<mpsc::Sender<Reloaded>>,
}

/// What is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The configuration, and all that it names.
    File,
    /// All that the configuration which serves names, and not the configuration itself.
    Named,
}
