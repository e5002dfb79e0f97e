use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use self::{
    channels::Channels,
    name::{Name, Shape},
    shard::Shard,
    table::{MARKS_PER_COUNTER, Refused, Room, Table},
};
use super::{
    MAX_KEEP, MAX_KEYS, MAX_MEMBER_BYTES, MAX_VALUE_BYTES, Store, StoreAnswer, Subscription, Values,
    clock::{Clock, SimulatedClock, micros},
    error::StoreError,
    key::{Counter, Key, Purpose, Space},
    request::{Charge, ChargeMode, Charged, Count, LeaseRequest, Leased, Put, When},
};
use crate::Answer;

mod channels;
mod charging;
mod counting;
mod members;
mod name;
mod sets;
mod shard;
mod table;

/// A store in this process, for one gateway: its content is gone when the process ends.
///
/// Each [`Space`] has room for a bounded number of entries. A full one refuses new entries until old ones have ended:
/// forgetting a nonce or a revocation early would let in what they keep out.
///
/// Most entries are marks, which say no more than that they are there: a nonce, a failure that was seen. One takes 16
/// bytes that stand for its key and 4 of its end; with the table that it stands in these are 25 to 50 bytes, where the key
/// itself and a value took 150 to 210. For that their ends are whole seconds, and come up to a second late.
pub struct LocalStore {
    shards: Box<[Mutex<Shard>]>,
    channels: Channels,
    max_marks: usize,
    names: [RandomState; 2],
    clock: Clock,
    last_fence: AtomicU64,
}

/// Locks are held for moments, and the more of them there are the less often two cores meet.
const SHARDS: usize = 64;

impl Default for LocalStore {
    fn default() -> Self {
        Self::new(Self::MAX_MARKS)
    }
}

impl LocalStore {
    /// The most entries of one space, unless said otherwise. In each part they fill a table of 2^17 places to the seven
    /// eighths at which it would grow: 168 MiB in all, and twice that where removals have left holes in it. At a window of
    /// five minutes and its skew these are 22,000 signed requests a second.
    pub const MAX_MARKS: usize = 7 << 20;

    /// Holds at most about so many entries of one space that have no value, or half as many counters, or a quarter as many
    /// short values.
    pub fn new(max_marks: usize) -> Self {
        Self::with_clock(max_marks, Clock::Since(Instant::now()))
    }

    /// Goes by a clock that a test moves.
    pub fn simulated(max_marks: usize, clock: &SimulatedClock) -> Self {
        Self::with_clock(max_marks, Clock::Simulated(clock.clone()))
    }

    fn with_clock(max_marks: usize, clock: Clock) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            channels: Channels::default(),
            max_marks,
            names: [RandomState::new(), RandomState::new()],
            clock,
            // Beyond the numbers of a process before this one, which may have given out less than one a microsecond.
            last_fence: AtomicU64::new(micros(since_1970)),
        }
    }

    fn name(&self, key: Key<'_>, shape: Shape) -> Name {
        let ((name, part), space) = (key.name(), key.space().id());
        Name::new(self.names.each_ref().map(|secret| secret.hash_one((space, shape, part, name))))
    }

    fn shard(&self, name: Name) -> MutexGuard<'_, Shard> {
        self.shards[name.shard(SHARDS)].lock()
    }

    /// The part of a space's room that one shard has.
    fn room(&self, space: &Space) -> Room {
        let marks_each = if space.purpose() == Purpose::Counter { MARKS_PER_COUNTER } else { 1 };
        let room = space.room().map_or(usize::MAX, |entries| entries.saturating_mul(marks_each));
        let is_cache = space.purpose() == Purpose::Cache;
        Room { max_marks: room.min(self.max_marks).div_ceil(SHARDS), is_cache }
    }

    /// Changes the table of a key's space.
    fn change<T>(
        &self,
        key: Key<'_>,
        shape: Shape,
        change: impl FnOnce(&mut Table, Name, u64) -> Result<T, Refused>,
    ) -> Result<T, StoreError> {
        let (name, space) = (self.name(key, shape), key.space());
        let mut shard = self.shard(name);
        let now = self.clock.now();
        change(shard.table(space.id(), now), name, now).map_err(|refused| refused.of(space))
    }

    /// Changes the table of a key's space, if there is one; otherwise nothing of the space is there.
    fn change_there<T: Default>(
        &self,
        key: Key<'_>,
        shape: Shape,
        change: impl FnOnce(&mut Table, Name, u64) -> T,
    ) -> T {
        let name = self.name(key, shape);
        let mut shard = self.shard(name);
        let now = self.clock.now();
        shard.table_there(key.space().id()).map(|table| change(table, name, now)).unwrap_or_default()
    }

    fn value(&self, key: Key<'_>) -> Option<Bytes> {
        self.change_there(key, Shape::Value, |table, name, now| table.value(&name, now).cloned())
    }

    fn put_now(&self, put: Put<'_>) -> Result<bool, StoreError> {
        check_length(put.value.len(), MAX_VALUE_BYTES)?;
        check_keep(put.keep)?;
        let Put { key, value, keep, when } = put;
        let room = self.room(key.space());
        self.change(key, Shape::Value, |table, name, now| {
            let there = table.value(&name, now);
            let holds = match when {
                When::Always => true,
                When::Absent => there.is_none(),
                When::Equals(expected) => there.is_some_and(|there| there == expected),
            };
            if holds {
                table.put(name, value, keep, room, now)?;
            }
            Ok(holds)
        })
    }
}

fn check_length(bytes: usize, max: usize) -> Result<(), StoreError> {
    if bytes <= max { Ok(()) } else { Err(StoreError::invalid("an entry longer than a store takes")) }
}

fn check_keep(keep: Duration) -> Result<(), StoreError> {
    if keep <= MAX_KEEP {
        Ok(())
    } else {
        Err(StoreError::invalid("an entry that would be kept for longer than 20 years"))
    }
}

fn check_member(member: &[u8], keep: Duration) -> Result<(), StoreError> {
    check_length(member.len(), MAX_MEMBER_BYTES)?;
    check_keep(keep)
}

fn check_keys(keys: usize) -> Result<(), StoreError> {
    if keys <= MAX_KEYS { Ok(()) } else { Err(StoreError::invalid("more keys than one call has")) }
}

impl Store for LocalStore {
    fn within(self: Arc<Self>, _: Duration) -> Arc<dyn Store> {
        self
    }

    fn get_many<'s>(&'s self, keys: &[Key<'_>]) -> StoreAnswer<'s, Values> {
        Answer::Now(check_keys(keys.len()).map(|()| keys.iter().map(|key| self.value(*key)).collect()))
    }

    fn get<'s>(&'s self, key: Key<'_>) -> StoreAnswer<'s, Option<Bytes>> {
        Answer::Now(Ok(self.value(key)))
    }

    fn put<'s>(&'s self, put: Put<'_>) -> StoreAnswer<'s, bool> {
        Answer::Now(self.put_now(put))
    }

    fn take<'s>(&'s self, key: Key<'_>) -> StoreAnswer<'s, Option<Bytes>> {
        Answer::Now(Ok(self.change_there(key, Shape::Value, |table, name, now| {
            let value = table.value(&name, now).cloned();
            table.remove(&name);
            value
        })))
    }

    fn touch<'s>(&'s self, key: Key<'_>, keep: Duration) -> StoreAnswer<'s, bool> {
        let touch = |()| self.change_there(key, Shape::Value, |table, name, now| table.touch(&name, keep, now));
        Answer::Now(check_keep(keep).map(touch))
    }

    fn remove<'s>(&'s self, key: Key<'_>) -> StoreAnswer<'s, bool> {
        Answer::Now(Ok(self.change_there(key, Shape::Value, |table, name, now| {
            let was_there = table.value(&name, now).is_some();
            table.remove(&name);
            was_there
        })))
    }

    fn add<'s>(&'s self, counter: Counter<'_>, by: u64, keep: Duration) -> StoreAnswer<'s, Count> {
        let (key, room) = (counter.key(), self.room(counter.key().space()));
        let add = |()| self.change(key, Shape::Count, |table, name, now| table.add(name, by, keep, room, now));
        Answer::Now(check_keep(keep).and_then(add))
    }

    fn charge<'s>(&'s self, charges: &[Charge<'_>], mode: ChargeMode) -> StoreAnswer<'s, Charged> {
        Answer::Now(check_keys(charges.len()).and_then(|()| self.charge_now(charges, mode)))
    }

    fn insert<'s>(&'s self, set: Key<'_>, member: &[u8], keep: Duration) -> StoreAnswer<'s, bool> {
        let room = self.room(set.space());
        let insert = |()| self.change(set, Shape::Set, |table, name, now| table.insert(name, member, keep, room, now));
        Answer::Now(check_member(member, keep).and_then(insert))
    }

    fn discard<'s>(&'s self, set: Key<'_>, member: &[u8]) -> StoreAnswer<'s, bool> {
        Answer::Now(Ok(self.change_there(set, Shape::Set, |table, name, now| table.discard(&name, member, now))))
    }

    fn members<'s>(&'s self, set: Key<'_>) -> StoreAnswer<'s, Vec<Bytes>> {
        Answer::Now(Ok(self.change_there(set, Shape::Set, |table, name, now| table.members(&name, now))))
    }

    fn lease<'s>(&'s self, request: LeaseRequest<'_>) -> StoreAnswer<'s, Leased> {
        let room = self.room(request.key.space());
        let fence = || self.last_fence.fetch_add(1, Relaxed) + 1;
        let lease = |()| {
            self.change(request.key, Shape::Lease, |table, name, now| table.lease(name, &request, fence, room, now))
        };
        Answer::Now(check_member(request.holder, request.keep).and_then(lease))
    }

    fn renew<'s>(&'s self, key: Key<'_>, holder: &[u8], keep: Duration) -> StoreAnswer<'s, bool> {
        let renew = |()| self.change_there(key, Shape::Lease, |table, name, now| table.renew(&name, holder, keep, now));
        Answer::Now(check_keep(keep).map(renew))
    }

    fn release<'s>(&'s self, key: Key<'_>, holder: &[u8]) -> StoreAnswer<'s, bool> {
        Answer::Now(Ok(self.change_there(key, Shape::Lease, |table, name, now| table.discard(&name, holder, now))))
    }

    fn publish<'s>(&'s self, channel: Key<'_>, message: Bytes) -> StoreAnswer<'s, ()> {
        let name = self.name(channel, Shape::Channel);
        Answer::Now(check_length(message.len(), MAX_MEMBER_BYTES).map(|()| self.channels.publish(name, &message)))
    }

    fn subscribe<'s>(&'s self, channel: Key<'_>) -> StoreAnswer<'s, Subscription> {
        Answer::Now(Ok(self.channels.subscribe(self.name(channel, Shape::Channel))))
    }
}

#[cfg(test)]
mod tests;
