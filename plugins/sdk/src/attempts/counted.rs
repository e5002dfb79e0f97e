use std::{sync::Arc, time::Duration};

use super::{
    counts::Counts,
    limits::AttemptTable,
    names::{Name, Who},
    rules::{Beside, Standing},
};
use crate::Counter;

/// The limits and the counts of one policy.
#[derive(Clone)]
pub(super) struct Counted {
    pub limits: AttemptTable,
    pub counts: Arc<Counts>,
    pub distinct: Counter,
    pub repeated: Counter,
    /// Attempts are under way because bodies are waited for.
    pub are_bodies: bool,
}

impl Counted {
    /// Returns the time to wait as an error, if there is one.
    pub(super) fn wait(&self, who: &Who, beside: Beside) -> Result<(), Duration> {
        let now = self.counts.now();
        let standing = Standing { may_crowd: self.are_bodies, ..self.counts.standing(who, beside, now) };
        let wait = self.limits.wait(&standing, now, || self.counts.is_proven(who, now));
        wait.map_or(Ok(()), Err)
    }

    pub(super) fn failed(&self, who: &Who, tried: Name) {
        let is_new = self.counts.failed(who, tried, &self.limits);
        if is_new { &self.distinct } else { &self.repeated }.increment();
    }

    pub(super) fn succeeded(&self, who: &Who) {
        if !self.counts.is_noted(who.pair) {
            self.counts.succeeded(who, &self.limits);
        }
    }
}
