//! Checks the age of a signature against the policy's window.

use std::time::Duration;

use portcullis_plugin::{Reason, UnixTime};

use crate::scheme::{Claim, Wrong};

/// The window of time in which a signature is taken.
pub(crate) struct Clock {
    /// The greatest age of a signature.
    pub window: Duration,
    /// The most that the client's clock may be ahead or behind.
    pub skew: Duration,
}

impl Clock {
    /// The greatest age of a signature, unless the policy sets one.
    pub(crate) const WINDOW: Duration = Duration::from_secs(5 * 60);
    /// The longest window: signatures are remembered for as long.
    pub(crate) const WINDOW_MAX: Duration = Duration::from_secs(24 * 60 * 60);
    /// The most that clocks may be apart, unless the policy says otherwise.
    pub(crate) const SKEW: Duration = Duration::from_secs(30);
    /// The largest skew that a policy can allow.
    pub(crate) const SKEW_MAX: Duration = Duration::from_secs(15 * 60);
    /// The longest life of a presigned request, which has no window: that of AWS.
    pub(crate) const PRESIGNED_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    /// Returns the time for which the claim will still be taken, counted from `now`; an error if it is not taken now.
    pub(crate) fn left(&self, claim: &Claim, now: UnixTime) -> Result<Duration, Wrong> {
        let created = claim.created.ok_or(Wrong::incomplete("the signature has no time"))?;
        if created > now.after(self.skew) {
            return Err(stale("it was made in the future"));
        }
        let end = match (claim.is_presigned, claim.expires) {
            (true, None) => return Err(Wrong::incomplete("a presigned request has no end")),
            (true, Some(expires)) => expires.min(created.after(Self::PRESIGNED_MAX)),
            (false, None) => created.after(self.window),
            (false, Some(expires)) => expires.min(created.after(self.window)),
        };
        // The last second counts: `expires` is the first moment at which it is over (RFC 9421 section 2.3), and times
        // are whole seconds.
        let left = end.after(self.skew).0.saturating_sub(now.0);
        match u64::try_from(left) {
            Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
            _ => Err(stale("it was made too long ago")),
        }
    }
}

fn stale(why: &'static str) -> Wrong {
    Wrong { reason: Reason::SignatureStale, why }
}

#[cfg(test)]
mod tests;
