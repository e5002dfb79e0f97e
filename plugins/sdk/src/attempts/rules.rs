//! Who has to wait, and for how long: arithmetic over what was counted. Nothing here knows a clock or where counts are
//! kept, so that the same rules hold for counts of this process and for counts that several gateways share.

use std::time::Duration;

use super::limits::{AttemptTable, UNDER_WAY_WAIT};

/// Failures that were counted under one name. Times are those since the counts began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Their number.
    pub count: u32,
    /// When the first of them came; when the limit is reached, the last.
    pub at: Duration,
}

/// Attempts under way beside one: of the same pair, from the same address, and of the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beside {
    pub pair: u32,
    pub block: u32,
    pub policy: u32,
}

/// All that decides whether an attempt may be judged now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    /// Failures of the pair, where there is a principal.
    pub pair: Option<Record>,
    /// Different failures of the address.
    pub block: Option<Record>,
    /// The time that it takes to forget the policy's failures.
    pub policy: Duration,
    pub beside: Beside,
    pub has_principal: bool,
    /// Any number of attempts of a pair that has succeeded may be under way.
    pub may_crowd: bool,
}

impl AttemptTable {
    /// After so many doublings of its 64th part a wait is as long as the window.
    const DOUBLINGS: u32 = 6;

    /// Returns the time that an attempt has to wait, if it has to. `is_proven` says whether the pair has succeeded
    /// lately; it is called only where it makes a difference.
    pub(super) fn wait(&self, standing: &Standing, now: Duration, is_proven: impl Fn() -> bool) -> Option<Duration> {
        if standing.has_principal
            && let Some(wait) = self.wait_of_pair(standing, now, &is_proven)
        {
            return Some(wait);
        }
        let wait = self.wait_of_block(standing, now).max(self.wait_of_policy(standing));
        wait.filter(|_| !is_proven())
    }

    fn wait_of_pair(&self, standing: &Standing, now: Duration, is_proven: impl Fn() -> bool) -> Option<Duration> {
        let limit = self.per_principal.get();
        let room = match standing.pair {
            Some(pair) if pair.count >= limit => match self.left_of_pair(pair, now) {
                // Once a pair has had to wait, one attempt at a time.
                None => 1,
                wait => return wait,
            },
            pair => {
                let room = limit - pair.map_or(0, |pair| pair.count);
                if standing.may_crowd && standing.beside.pair >= room && is_proven() {
                    return None;
                }
                room
            }
        };
        (standing.beside.pair >= room).then_some(UNDER_WAY_WAIT)
    }

    fn wait_of_block(&self, standing: &Standing, now: Duration) -> Option<Duration> {
        let limit = self.per_address.get();
        match standing.block {
            Some(block) if block.count >= limit => left(block.at, self.window.0, now),
            block => {
                let room = limit - block.map_or(0, |block| block.count);
                (standing.beside.block >= room).then_some(UNDER_WAY_WAIT)
            }
        }
    }

    /// The policy forgets its failures one by one, evenly over the window: whoever waits is let through at that rate, and
    /// not all at once.
    fn wait_of_policy(&self, standing: &Standing) -> Option<Duration> {
        let under_way = self.step().saturating_mul(standing.beside.policy.saturating_add(1));
        let over = standing.policy.saturating_add(under_way).checked_sub(self.window.0)?;
        (!over.is_zero()).then(|| over.max(UNDER_WAY_WAIT))
    }

    /// The time in which the policy forgets one failure.
    fn step(&self) -> Duration {
        self.window.0 / self.per_policy.get()
    }

    /// The record of a pair after another failure, and its end.
    pub(super) fn pair_after(&self, pair: Option<Record>, now: Duration) -> (Record, Duration) {
        let limit = self.per_principal.get();
        let after = match pair {
            // Of failures that come together only the first makes the wait longer.
            Some(pair) if pair.count >= limit && self.left_of_pair(pair, now).is_some() => pair,
            Some(pair) => {
                let count = pair.count.saturating_add(1);
                Record { count, at: if count >= limit { now } else { pair.at } }
            }
            None => Record { count: 1, at: now },
        };
        let wait = if after.count >= limit { self.length(after.count) } else { Duration::ZERO };
        (after, after.at + wait + self.window.0)
    }

    /// The record of an address after another failure that is different from those before, and its end.
    pub(super) fn block_after(&self, block: Option<Record>, now: Duration) -> (Record, Duration) {
        let limit = self.per_address.get();
        let after = match block {
            Some(block) if block.count >= limit => block,
            Some(block) => {
                let count = block.count.saturating_add(1);
                Record { count, at: if count >= limit { now } else { block.at } }
            }
            None => Record { count: 1, at: now },
        };
        (after, after.at + self.window.0)
    }

    /// The moment at which the policy will have forgotten all its failures, after another one.
    pub(super) fn policy_after(&self, forgotten_at: Duration, now: Duration) -> Duration {
        // Callers who are let through although the policy is at its limit fail as well. What they add must not make
        // strangers wait for longer than a window.
        (forgotten_at.max(now) + self.step()).min(now + self.window.0 + self.step())
    }

    /// Returns `true` if an address has to wait for its own failures.
    pub(super) fn is_closed(&self, block: Option<Record>, now: Duration) -> bool {
        block.is_some_and(|block| block.count >= self.per_address.get() && left(block.at, self.window.0, now).is_some())
    }

    fn left_of_pair(&self, pair: Record, now: Duration) -> Option<Duration> {
        left(pair.at, self.length(pair.count), now)
    }

    /// Returns the wait of a pair after so many failures.
    fn length(&self, count: u32) -> Duration {
        let doublings = count.saturating_sub(self.per_principal.get()).min(Self::DOUBLINGS);
        self.window.0 / (1 << (Self::DOUBLINGS - doublings))
    }
}

/// Returns the rest of a wait that began then.
fn left(began: Duration, length: Duration, now: Duration) -> Option<Duration> {
    (began + length).checked_sub(now).filter(|left| !left.is_zero())
}
