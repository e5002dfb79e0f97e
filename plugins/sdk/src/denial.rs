use std::{net::IpAddr, time::Duration};

use crate::{Claimed, Credential, FailedAttempt, Reason, UnixTime};

/// The reason why a credential was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// For log and metric.
    pub reason: Reason,
    /// The answer to the client, if nothing else grants.
    pub status: DenialStatus,
    /// For the log: who was claimed, where something says it.
    pub claimed: Option<Claimed>,
    /// For the audit log alone: what exactly is wrong. It is a constant, so that no part of the credential gets in.
    pub detail: Option<&'static str>,
    /// Failed attempts, which count unless something else grants: see [`Denial::counting`].
    pub attempts: Vec<FailedAttempt>,
}

/// The answer to a client whose credential was not taken. Of several alternatives the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DenialStatus {
    /// 401: the credential proves nothing.
    Unauthorized,
    /// 411: the signature is over the body, and a body of unknown length cannot be held.
    LengthRequired,
    /// 413: the signature is over the body, and the body is larger than may be held.
    BodyTooLarge,
    /// 429: too many attempts failed; the time after which it is worth trying again.
    TooManyRequests(Duration),
    /// 403: the credential is known, and may not be used here.
    Forbidden,
}

impl Denial {
    /// 401: the credential proves nothing.
    pub fn unauthorized(reason: Reason) -> Self {
        Self::new(reason, DenialStatus::Unauthorized)
    }

    /// 403: the credential is known, and not allowed here.
    pub fn forbidden(reason: Reason) -> Self {
        Self::new(reason, DenialStatus::Forbidden)
    }

    /// 429: too many attempts failed before this one, which was not looked at.
    pub fn too_many_attempts(retry_after: Duration) -> Self {
        Self::new(Reason::TooManyAttempts, DenialStatus::TooManyRequests(retry_after))
    }

    /// 413: the body that the signature is about is too large to be held.
    pub fn body_too_large() -> Self {
        Self::new(Reason::BodyTooLarge, DenialStatus::BodyTooLarge)
    }

    /// 411: the body that the signature is about has no length.
    pub fn length_required() -> Self {
        Self::new(Reason::BodyLengthUnknown, DenialStatus::LengthRequired)
    }

    fn new(reason: Reason, status: DenialStatus) -> Self {
        Self { reason, status, claimed: None, detail: None, attempts: Vec::new() }
    }

    /// Hands over an attempt that failed. It counts if the whole request is refused, and is excused if another policy
    /// grants what stood in the same place of the request ([`Authenticate::places`](crate::Authenticate::places)).
    #[must_use]
    pub fn counting(mut self, attempt: FailedAttempt) -> Self {
        self.attempts.extend(attempt.is_limited().then_some(attempt));
        self
    }

    /// Adds who was claimed.
    #[must_use]
    pub fn claiming(self, claimed: Claimed) -> Self {
        let says_something = claimed.fields().next().is_some();
        Self { claimed: says_something.then_some(claimed), ..self }
    }

    /// Adds what exactly is wrong, for the audit log: see [`Denial::detail`].
    #[must_use]
    pub fn detailed(self, detail: &'static str) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// Returns `true` if the credential is known, and not allowed here.
    pub fn is_forbidden(&self) -> bool {
        self.status == DenialStatus::Forbidden
    }
}

impl Credential {
    /// Returns the reason why this credential cannot be used here and now, if it cannot. A known credential outside its
    /// routes or addresses is 403; everything that makes it no credential at all is 401.
    pub fn objection(&self, now: UnixTime, route: &str, address: IpAddr) -> Option<Denial> {
        let limits = &self.limits;
        if limits.disabled || self.usage.is_revoked() {
            return Some(Denial::unauthorized(Reason::CredentialDisabled));
        }
        if limits.not_before.is_some_and(|from| now < from) {
            return Some(Denial::unauthorized(Reason::CredentialNotYetValid));
        }
        if limits.expires.is_some_and(|until| now >= until) {
            return Some(Denial::unauthorized(Reason::KeyExpired));
        }
        if limits.routes.as_ref().is_some_and(|routes| !routes.iter().any(|name| name == route)) {
            return Some(Denial::forbidden(Reason::RouteNotAllowed));
        }
        let address = address.to_canonical();
        if limits.addresses.as_ref().is_some_and(|networks| !networks.iter().any(|network| network.contains(&address)))
        {
            return Some(Denial::forbidden(Reason::AddressNotAllowed));
        }
        None
    }
}
