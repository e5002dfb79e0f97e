use std::{sync::Arc, time::Duration};

use crate::{Challenge, HeaderEdits, Reason, Respond};

/// The answer to a request that a hook refuses. The engine makes the response, from one table for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The answer that the client gets.
    pub status: RefusalStatus,
    /// The reason, for log and metric.
    pub reason: Reason,
    /// When it is worth trying again.
    pub retry_after: Option<Duration>,
    /// The challenge for `WWW-Authenticate`. The engine sends it only where the identity was proven by an authenticator
    /// that challenges with the same scheme: who sent a key is not told about tokens.
    pub challenge: Option<Arc<Challenge>>,
    /// For the audit log alone: what was missing, in the words of the configuration. Never anything of the request,
    /// which may be personal, or secret.
    pub detail: Option<Arc<str>>,
    /// Changes to the headers of this answer, such as the state of a limit.
    pub headers: HeaderEdits,
}

/// The answer that a refused client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalStatus {
    /// 400: the request is malformed.
    BadRequest,
    /// 403: the identity is known, and may not make this request.
    Forbidden,
    /// 413: the body is too large.
    BodyTooLarge,
    /// 429: too often.
    TooManyRequests,
    /// 503: it cannot be decided now.
    Unavailable,
}

impl Refusal {
    /// 403.
    pub fn forbidden(reason: Reason) -> Self {
        Self::new(RefusalStatus::Forbidden, reason)
    }

    /// 403 for a scope that is missing, with a challenge that names what would be enough: see
    /// [`Challenge::insufficient_scope`].
    pub fn insufficient_scope(challenge: Arc<Challenge>) -> Self {
        Self { challenge: Some(challenge), ..Self::forbidden(Reason::ScopeMissing) }
    }

    /// 400.
    pub fn bad_request(reason: Reason) -> Self {
        Self::new(RefusalStatus::BadRequest, reason)
    }

    /// 413.
    pub fn body_too_large() -> Self {
        Self::new(RefusalStatus::BodyTooLarge, Reason::BodyTooLarge)
    }

    /// 429, with the time after which it is worth trying again.
    pub fn too_many_requests(reason: Reason, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(RefusalStatus::TooManyRequests, reason) }
    }

    fn new(status: RefusalStatus, reason: Reason) -> Self {
        Self { status, reason, retry_after: None, challenge: None, detail: None, headers: HeaderEdits::new() }
    }

    /// Adds what was missing, for the audit log: see [`Refusal::detail`].
    #[must_use]
    pub fn detailed(self, detail: impl Into<Arc<str>>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// Adds changes to the headers of this answer.
    #[must_use]
    pub fn with(self, headers: HeaderEdits) -> Self {
        Self { headers, ..self }
    }
}

/// The verdict of a guard or a restriction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allow,
    /// Go on, with changes to the headers of whatever response ends the request.
    AllowWith(HeaderEdits),
    /// End here, with an answer from the engine's table.
    Refuse(Refusal),
    /// End here, with this answer.
    Respond(Respond),
}
