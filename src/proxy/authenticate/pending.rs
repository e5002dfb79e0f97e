//! Failed attempts of a request that is not decided yet.
//!
//! Whatever is dropped counts: a request that is refused, or ends in the middle.

use portcullis_plugin::FailedAttempt;

use crate::snapshot::route::Authenticator;

/// The attempts that failed, each with the authenticator that says so.
#[derive(Default)]
pub(super) struct Pending<'a>(Vec<(&'a Authenticator, FailedAttempt)>);

impl<'a> Pending<'a> {
    /// Adds what an authenticator denied. One policy may stand in several alternatives, and would see the same guess
    /// several times.
    pub(super) fn add(&mut self, by: &'a Authenticator, failed: Vec<FailedAttempt>) {
        for attempt in failed {
            if self.0.iter().any(|(_, before)| *before == attempt) {
                attempt.excuse();
            } else {
                self.0.push((by, attempt));
            }
        }
    }

    /// Returns the attempts that are excused because this alternative grants: attempts with the credential that it was
    /// granted for. The others count, or whoever has any credential could guess at others beside it.
    pub(super) fn excusable_by(self, granted: &[Authenticator]) -> Vec<FailedAttempt> {
        let is_same = |by: &Authenticator| granted.iter().any(|part| part.places.are_those_of(&by.places));
        self.0
            .into_iter()
            .filter_map(|(by, attempt)| (attempt.is_excusable() && is_same(by)).then_some(attempt))
            .collect()
    }
}
