//! The reasons for which a request is not granted.

use portcullis_plugin::{Claimed, Denial, FailedAttempt, PluginError};

use crate::scheme::Wrong;

/// Why a request is not granted.
pub(crate) enum Refused {
    /// The signature is not accepted.
    Denied(Denial),
    /// The request could not be judged.
    Failed(PluginError),
}

impl Refused {
    /// Adds the keys that the request claimed to a denial.
    pub(crate) fn claiming(self, claimed: Claimed) -> Self {
        match self {
            Self::Denied(denial) => Self::Denied(denial.claiming(claimed)),
            failed @ Self::Failed(_) => failed,
        }
    }

    /// Adds the failed attempts to a denial. With a request that could not be judged they count at once, as they are
    /// dropped.
    pub(crate) fn counting(self, failed: Vec<FailedAttempt>) -> Self {
        match self {
            Self::Denied(denial) => Self::Denied(failed.into_iter().fold(denial, Denial::counting)),
            Self::Failed(error) => Self::Failed(error),
        }
    }
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<Wrong> for Refused {
    fn from(wrong: Wrong) -> Self {
        Self::Denied(wrong.into())
    }
}

impl From<PluginError> for Refused {
    fn from(error: PluginError) -> Self {
        Self::Failed(error)
    }
}
