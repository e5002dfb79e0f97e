use portcullis_plugin::{Denial, Reason};

/// Why a token cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// For audit log and metric.
    pub reason: Reason,
    /// More exactly, for the audit log, where the reason alone leaves much open. It holds nothing of the token.
    pub why: Option<&'static str>,
}

impl Wrong {
    /// [`Reason::TokenMalformed`], with the part of the token that is malformed.
    pub const fn malformed(why: &'static str) -> Self {
        Self { reason: Reason::TokenMalformed, why: Some(why) }
    }
}

impl From<Reason> for Wrong {
    fn from(reason: Reason) -> Self {
        Self { reason, why: None }
    }
}

impl From<Wrong> for Denial {
    /// 401.
    fn from(wrong: Wrong) -> Self {
        Self { detail: wrong.why, ..Self::unauthorized(wrong.reason) }
    }
}
