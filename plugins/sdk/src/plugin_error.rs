use crate::{ManagedHeader, StoreError};

/// A hook could not decide: a server did not answer, a file is gone. The request is refused with 503.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PluginError(String);

impl PluginError {
    /// Describes what failed. The text goes to the log, not to the client; it must not hold a secret.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl From<StoreError> for PluginError {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

impl From<ManagedHeader> for PluginError {
    fn from(error: ManagedHeader) -> Self {
        Self(error.to_string())
    }
}
