use std::{ops::Deref, time::Duration};

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    key::{Counter, Key},
    rule::{Budget, Rule},
};

/// A value to keep: see [`Store::put`](super::Store::put).
#[derive(Clone, Debug)]
pub struct Put<'p> {
    /// Its key.
    pub key: Key<'p>,
    /// The value; an empty one is a mark, which takes the least room.
    pub value: Bytes,
    /// The time after which it is gone. Nothing is kept for a time of zero.
    pub keep: Duration,
    /// The condition on what is there.
    pub when: When<'p>,
}

impl<'p> Put<'p> {
    /// Keeps a value in place of what is there.
    pub const fn new(key: Key<'p>, value: Bytes, keep: Duration) -> Self {
        Self { key, value, keep, when: When::Always }
    }

    /// Keeps a value if there is none.
    pub const fn if_absent(key: Key<'p>, value: Bytes, keep: Duration) -> Self {
        Self { key, value, keep, when: When::Absent }
    }

    /// Keeps a value without content if there is none: a mark that something has happened.
    pub const fn mark(key: Key<'p>, keep: Duration) -> Self {
        Self::if_absent(key, Bytes::new(), keep)
    }

    /// Keeps a value in place of this one.
    pub const fn instead_of(there: &'p [u8], key: Key<'p>, value: Bytes, keep: Duration) -> Self {
        Self { key, value, keep, when: When::Equals(there) }
    }
}

/// The condition under which a value is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When<'p> {
    /// Whatever is there; it is replaced.
    Always,
    /// Nothing is there. Of several who put at once exactly one does.
    Absent,
    /// This value is there.
    Equals(&'p [u8]),
}

/// The values that [`Store::get_many`](super::Store::get_many) found, in the order of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values(SmallVec<[Option<Bytes>; 4]>);

impl FromIterator<Option<Bytes>> for Values {
    fn from_iter<I: IntoIterator<Item = Option<Bytes>>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Deref for Values {
    type Target = [Option<Bytes>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// The value of a plain counter: see [`Store::add`](super::Store::add).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The sum, with what was added now.
    pub value: u64,
    /// The time until it begins at zero again.
    pub left: Duration,
}

/// A charge on one counter: see [`Store::charge`](super::Store::charge).
#[derive(Clone, Copy, Debug)]
pub struct Charge<'c> {
    /// The counter.
    pub counter: Counter<'c>,
    /// The rule that it counts by. A counter that is charged by another algorithm is another counter.
    pub rule: Rule,
    /// The units to take.
    pub cost: u64,
}

/// The way in which [`Store::charge`](super::Store::charge) charges its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargeMode {
    /// Takes the cost from every counter if all have it, and otherwise takes nothing from any.
    AllOrNothing,
    /// Takes the same number of units from every counter: as many as the lowest cost asks for and all of them have.
    UpTo,
    /// Answers as `AllOrNothing` would, and takes nothing.
    Peek,
    /// Gives back what was taken and not used; a counter never has more than its limit for it.
    GiveBack,
}

/// The outcome of a [`Store::charge`](super::Store::charge).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charged {
    /// All counters had the cost; of [`ChargeMode::UpTo`], at least one unit.
    pub is_granted: bool,
    /// The units that [`ChargeMode::UpTo`] took from each counter.
    pub taken: u64,
    /// The state of each counter, in the order of the charges.
    pub budgets: Budgets,
}

/// The state of several counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budgets(SmallVec<[Budget; 3]>);

impl FromIterator<Budget> for Budgets {
    fn from_iter<I: IntoIterator<Item = Budget>>(budgets: I) -> Self {
        Self(budgets.into_iter().collect())
    }
}

impl Deref for Budgets {
    type Target = [Budget];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A request for one of a bounded number of places: see [`Store::lease`](super::Store::lease).
#[derive(Clone, Copy, Debug)]
pub struct LeaseRequest<'l> {
    /// Its key.
    pub key: Key<'l>,
    /// Who asks, by a name that nobody else has: a random one for each attempt.
    pub holder: &'l [u8],
    /// The number of places: one for a lock.
    pub at_most: u32,
    /// The time after which the place is free again, unless the holder renews it.
    pub keep: Duration,
}

/// The outcome of a [`Store::lease`](super::Store::lease).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leased {
    /// The holder has a place.
    Granted {
        /// A number that grows with each grant of this key. What is written under a lock carries it, so that a holder who
        /// lost the lock without noticing can be told from the one who has it.
        fence: u64,
    },
    /// Others have all places.
    Taken {
        /// The earliest time at which one may be free; [`Duration::MAX`] where there are none.
        retry_after: Duration,
    },
}
