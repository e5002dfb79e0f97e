use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Store, StoreError};
use crate::Answer;

/// A store in this process, for one gateway: what it keeps is gone when the process ends.
///
/// It holds a bounded number of entries for each kind of key (what stands before the first colon), so that a flood of
/// one kind does not push out another. What is full refuses new entries until old ones have ended: forgetting a nonce or
/// a revocation early would let in what they keep out.
pub struct LocalStore {
    shards: Box<[Mutex<Shard>]>,
    max_entries: usize,
    hasher: std::hash::RandomState,
}

/// Locks are held for moments, and the more of them there are the less often two cores meet.
const SHARDS: usize = 64;
/// After so many additions a shard looks for what has ended.
const SWEEP_EVERY: usize = 256;

#[derive(Default)]
struct Shard {
    entries: HashMap<Box<str>, Entry>,
    /// By kind.
    counts: HashMap<Box<str>, usize>,
    since_sweep: usize,
}

struct Entry {
    value: Value,
    ends: Instant,
}

enum Value {
    Bytes(Bytes),
    Number(u64),
}

impl Default for LocalStore {
    fn default() -> Self {
        Self::new(Self::MAX_ENTRIES)
    }
}

fn kind(key: &str) -> &str {
    key.split_once(':').map_or(key, |(kind, _)| kind)
}

impl LocalStore {
    /// The most entries of one kind, unless said otherwise.
    pub const MAX_ENTRIES: usize = 1 << 20;

    /// Holds at most about so many entries of one kind.
    pub fn new(max_entries: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, max_entries: max_entries.div_ceil(SHARDS), hasher: std::hash::RandomState::new() }
    }

    fn shard(&self, key: &str) -> &Mutex<Shard> {
        use std::hash::BuildHasher;
        let hash = self.hasher.hash_one(key);
        &self.shards[usize::try_from(hash % SHARDS as u64).expect("fewer shards than that")]
    }

    /// Changes or makes the entry under a key: `change` gets what is there and has not ended, and gives what it says
    /// and what is to be kept, if anything.
    fn change<T>(
        &self,
        key: &str,
        keep: Duration,
        change: impl FnOnce(Option<&mut Entry>) -> (T, Option<Value>),
    ) -> Result<T, StoreError> {
        let now = Instant::now();
        let mut shard = self.shard(key).lock();
        let shard = &mut *shard;
        let there = shard.entries.get_mut(key).filter(|entry| entry.ends > now);
        let (said, value) = change(there);
        let Some(value) = value else { return Ok(said) };
        let ends = now.checked_add(keep).ok_or_else(|| StoreError("an end beyond all time".to_owned()))?;
        if let Some(entry) = shard.entries.get_mut(key) {
            *entry = Entry { value, ends };
            return Ok(said);
        }
        shard.make_room(kind(key), self.max_entries, now)?;
        shard.entries.insert(key.into(), Entry { value, ends });
        Ok(said)
    }
}

impl Shard {
    /// Counts one more entry of this kind.
    fn make_room(&mut self, kind: &str, max_entries: usize, now: Instant) -> Result<(), StoreError> {
        let is_full = |shard: &Self| shard.counts.get(kind).is_some_and(|count| *count >= max_entries);
        self.since_sweep += 1;
        if self.since_sweep >= SWEEP_EVERY.max(self.entries.len() / 2) || is_full(self) {
            self.sweep(now);
        }
        if is_full(self) {
            return Err(StoreError(format!("no room for another `{kind}`")));
        }
        *self.counts.entry(kind.into()).or_default() += 1;
        Ok(())
    }

    fn sweep(&mut self, now: Instant) {
        self.since_sweep = 0;
        let counts = &mut self.counts;
        self.entries.retain(|key, entry| {
            let stays = entry.ends > now;
            if !stays && let Some(count) = counts.get_mut(kind(key)) {
                *count -= 1;
            }
            stays
        });
    }
}

impl Store for LocalStore {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Result<Option<Bytes>, StoreError>> {
        let shard = self.shard(key).lock();
        let there = shard.entries.get(key).filter(|entry| entry.ends > Instant::now());
        Answer::Now(Ok(there.map(|entry| match &entry.value {
            Value::Bytes(bytes) => bytes.clone(),
            Value::Number(number) => Bytes::from(number.to_string()),
        })))
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, keep: Duration) -> Answer<'a, Result<(), StoreError>> {
        Answer::Now(self.change(key, keep, |_| ((), Some(Value::Bytes(value)))))
    }

    fn put_new<'a>(&'a self, key: &'a str, value: Bytes, keep: Duration) -> Answer<'a, Result<bool, StoreError>> {
        Answer::Now(self.change(key, keep, |there| match there {
            Some(_) => (false, None),
            None => (true, Some(Value::Bytes(value))),
        }))
    }

    fn add<'a>(&'a self, key: &'a str, by: u64, keep: Duration) -> Answer<'a, Result<u64, StoreError>> {
        Answer::Now(self.change(key, keep, |there| match there {
            Some(Entry { value: Value::Number(number), .. }) => {
                *number = number.saturating_add(by);
                (*number, None)
            }
            _ => (by, Some(Value::Number(by))),
        }))
    }

    fn remove<'a>(&'a self, key: &'a str) -> Answer<'a, Result<(), StoreError>> {
        let mut shard = self.shard(key).lock();
        if shard.entries.remove(key).is_some()
            && let Some(count) = shard.counts.get_mut(kind(key))
        {
            *count -= 1;
        }
        Answer::Now(Ok(()))
    }
}

#[cfg(test)]
mod tests;
