use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{Duration, Instant},
};

use super::{
    in_flight::InFlight,
    limits::{AttemptTable, PROVEN_KEEP},
    names::{Name, Names, Who},
    noted::Noted,
    rules::{Beside, Record, Standing},
    table::Table,
};

/// The counts of one policy in this process. They outlive a reload.
///
/// Every table has a size of its own that it keeps, so that nothing that anybody sends fills one up, and what is known of
/// good clients is in a table that only successes write to, and in which a principal who succeeds from very many addresses
/// takes no room from others. The limit on the policy's failures (`per_policy`) lets fewer
/// attempts fail in a window than a table has room for.
pub(super) struct Counts {
    clock: Clock,
    pub names: Names,
    pub in_flight: InFlight,
    /// Failures by pair.
    pairs: Table,
    /// Different failures by address.
    blocks: Table,
    /// Different proofs that were tried.
    tried: Table,
    /// Which pairs have succeeded.
    proven: Table,
    noted: Noted,
    /// The moment at which the policy's failures will be forgotten, in nanoseconds: see [`AttemptTable::policy_after`].
    forgotten_at: AtomicU64,
    /// When something last failed, in nanoseconds and one more; zero: never.
    last_failure: AtomicU64,
}

/// The time since the counts began. It is monotonic: setting the time of day makes no wait longer or shorter.
pub(super) type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

impl Default for Counts {
    fn default() -> Self {
        let start = Instant::now();
        Self::new(Box::new(move || start.elapsed()))
    }
}

impl Counts {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            names: Names::default(),
            in_flight: InFlight::default(),
            pairs: Table::default(),
            blocks: Table::default(),
            tried: Table::default(),
            proven: Table::default(),
            noted: Noted::default(),
            forgotten_at: AtomicU64::new(0),
            last_failure: AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self) -> Duration {
        (self.clock)()
    }

    /// Returns `true` if no failure counts any more: a pair is remembered for its wait and another window.
    pub(super) fn is_quiet(&self, window: Duration) -> bool {
        let last = self.last_failure.load(SeqCst);
        last == 0 || Duration::from_nanos(last) + window * 2 < self.now()
    }

    pub(super) fn standing(&self, who: &Who, beside: Beside, now: Duration) -> Standing {
        Standing {
            pair: self.pairs.get(who.pair, now).filter(|_| who.has_principal),
            block: self.blocks.get(who.block, now),
            policy: Duration::from_nanos(self.forgotten_at.load(SeqCst)).saturating_sub(now),
            beside,
            has_principal: who.has_principal,
            may_crowd: false,
        }
    }

    /// Returns `true` if the pair has succeeded within [`PROVEN_KEEP`].
    pub(super) fn is_proven(&self, who: &Who, now: Duration) -> bool {
        self.proven.get(who.pair, now).is_some()
    }

    /// Returns `true` if the last success of the pair is on record and nothing has failed since.
    pub(super) fn is_noted(&self, pair: Name) -> bool {
        self.noted.has(pair, self.now())
    }

    /// Puts a failure on record; `true`: it is different from those before.
    pub(super) fn failed(&self, who: &Who, tried: Name, limits: &AttemptTable) -> bool {
        let now = self.now();
        self.noted.forget(who.pair);
        self.last_failure.fetch_max(nanos(now).saturating_add(1), SeqCst);
        if who.has_principal {
            self.pairs.change(who.pair, now, |pair| limits.pair_after(pair, now));
        }
        let mut is_new = true;
        self.tried.change(tried, now, |there| {
            is_new = there.is_none();
            let first = there.unwrap_or(Record { count: 1, at: now });
            (first, first.at + limits.window.0)
        });
        if is_new {
            self.blocks.change(who.block, now, |block| limits.block_after(block, now));
            let after = |at| Some(nanos(limits.policy_after(Duration::from_nanos(at), now)));
            // It gives a value always, and so cannot fail.
            _ = self.forgotten_at.fetch_update(SeqCst, SeqCst, after);
        }
        is_new
    }

    /// Puts a success on record, and forgets what the pair has failed.
    ///
    /// While its address has to wait, nothing is forgotten: else somebody there could guess on and on behind the back of
    /// a user whose own requests wipe the count.
    pub(super) fn succeeded(&self, who: &Who, limits: &AttemptTable) {
        let now = self.now();
        let record = Record { count: 1, at: now };
        self.proven.change_of(who.owner, who.pair, now, |_| (record, now + PROVEN_KEEP));
        if limits.is_closed(self.blocks.get(who.block, now), now) {
            return;
        }
        if who.has_principal {
            self.pairs.remove(who.pair);
        }
        self.noted.note(who.pair, now);
    }

    /// Forgets the failures of an address, and of the pair. Returns how many there were of the address and of the pair.
    pub(super) fn forget(&self, who: &Who) -> (u32, u32) {
        let now = self.now();
        let count = |table: &Table, name| {
            let there = table.get(name, now).map_or(0, |record| record.count);
            table.remove(name);
            there
        };
        (count(&self.blocks, who.block), count(&self.pairs, who.pair))
    }

    /// Forgets all failures. It is remembered who has succeeded.
    pub(super) fn forget_all(&self) {
        [&self.pairs, &self.blocks, &self.tried].into_iter().for_each(Table::clear);
        self.forgotten_at.store(0, SeqCst);
        self.last_failure.store(0, SeqCst);
    }

    /// Returns the number of pairs and of addresses with failures.
    pub(super) fn failing(&self) -> (usize, usize) {
        let now = self.now();
        (self.pairs.len(now), self.blocks.len(now))
    }

    /// Returns the time after which the policy's failures are forgotten.
    pub(super) fn policy_left(&self) -> Duration {
        Duration::from_nanos(self.forgotten_at.load(SeqCst)).saturating_sub(self.now())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
