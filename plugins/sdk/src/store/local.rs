use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
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
///
/// Most entries are marks, which say no more than that they are there: a nonce, a failure that was seen. One takes 16
/// bytes that stand for its key and 4 of its end; with the table that it stands in these are 25 to 50 bytes, where the key
/// itself and a value took 150 to 210. For that ends are whole seconds, and come up to a second late.
pub struct LocalStore {
    shards: Box<[Mutex<Shard>]>,
    max_marks: usize,
    names: [RandomState; 2],
    began: Instant,
}

/// Locks are held for moments, and the more of them there are the less often two cores meet.
const SHARDS: usize = 64;
/// After so many additions a shard looks for what has ended.
const SWEEP_EVERY: usize = 256;
/// An entry with a value takes the room of so many marks.
const MARKS_PER_VALUE: usize = 4;
/// A table with fewer places than that is not made smaller when it is empty.
const CAPACITY_MIN: usize = 1024;

/// What stands for a key: SipHash twice, with two secrets of this store. Whoever does not know them cannot make two keys
/// meet, and by chance any two of a billion do less than once in 10^20 times.
type Name = [u8; 16];
/// Seconds since the store began.
type Second = u32;

/// By kind.
type Shard = HashMap<Box<str>, Kind>;

#[derive(Default)]
struct Kind {
    /// Entries without a value, by their end.
    marks: HashMap<Name, Second>,
    values: HashMap<Name, Entry>,
    since_sweep: usize,
    /// No entry ends before.
    first_end: Second,
}

struct Entry {
    value: Value,
    ends: Second,
}

enum Value {
    Bytes(Bytes),
    Number(u64),
}

impl Default for LocalStore {
    fn default() -> Self {
        Self::new(Self::MAX_MARKS)
    }
}

fn kind(key: &str) -> &str {
    key.split_once(':').map_or(key, |(kind, _)| kind)
}

impl LocalStore {
    /// The most entries of one kind, unless said otherwise. In each part they fill a table of 2^17 places to the seven
    /// eighths at which it would grow: 168 MiB in all, and twice that where removals have left holes in it. At a window of
    /// five minutes and its skew these are 22,000 signed requests a second.
    pub const MAX_MARKS: usize = 7 << 20;

    /// Holds at most about so many entries of one kind that have no value, or a quarter of them with one.
    pub fn new(max_marks: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            max_marks: max_marks.div_ceil(SHARDS),
            names: [RandomState::new(), RandomState::new()],
            began: Instant::now(),
        }
    }

    /// The name of a key, and where it is kept.
    fn find(&self, key: &str) -> (Name, &Mutex<Shard>) {
        let [first, second] = [0, 1].map(|half| self.names[half].hash_one(key));
        let mut name = [0; 16];
        name[..8].copy_from_slice(&first.to_ne_bytes());
        name[8..].copy_from_slice(&second.to_ne_bytes());
        let shard = usize::try_from(first % SHARDS as u64).expect("fewer shards than that");
        (name, &self.shards[shard])
    }

    fn now(&self) -> Second {
        Second::try_from(self.began.elapsed().as_secs()).unwrap_or(Second::MAX)
    }

    /// The end of what is kept for so long from now on: the first whole second after it.
    fn end(&self, keep: Duration) -> Result<Second, StoreError> {
        if keep.is_zero() {
            return Ok(0);
        }
        let end = self.began.elapsed().checked_add(keep).and_then(|end| Second::try_from(end.as_secs()).ok());
        let end = end.and_then(|end| end.checked_add(1));
        end.ok_or_else(|| StoreError("an end beyond all time".to_owned()))
    }

    /// Changes or makes the entry under a key: `change` gets what is there and has not ended, and gives what it says
    /// and what is to be kept, if anything.
    fn change<T>(
        &self,
        key: &str,
        keep: Duration,
        change: impl FnOnce(Option<Found<'_>>) -> (T, Option<Value>),
    ) -> Result<T, StoreError> {
        let (now, ends, (name, shard)) = (self.now(), self.end(keep)?, self.find(key));
        let mut shard = shard.lock();
        let there = shard.get_mut(kind(key)).and_then(|kind| kind.get(&name, now));
        let (said, value) = change(there);
        let Some(value) = value else { return Ok(said) };
        if let Some(of_kind) = shard.get_mut(kind(key)) {
            of_kind.put(name, value, ends, self.max_marks, now).map_err(|Full| full(key))?;
        } else {
            let mut of_kind = Kind::default();
            of_kind.put(name, value, ends, self.max_marks, now).map_err(|Full| full(key))?;
            shard.insert(kind(key).into(), of_kind);
        }
        Ok(said)
    }
}

/// There is no room.
struct Full;

fn full(key: &str) -> StoreError {
    StoreError(format!("no room for another `{}`", kind(key)))
}

/// What is kept under a key.
enum Found<'e> {
    Mark,
    Value(&'e mut Value),
}

impl Kind {
    fn get(&mut self, name: &Name, now: Second) -> Option<Found<'_>> {
        if self.marks.get(name).is_some_and(|ends| *ends > now) {
            return Some(Found::Mark);
        }
        let entry = self.values.get_mut(name).filter(|entry| entry.ends > now)?;
        Some(Found::Value(&mut entry.value))
    }

    /// Keeps it in place of what is there.
    fn put(&mut self, name: Name, value: Value, ends: Second, max_marks: usize, now: Second) -> Result<(), Full> {
        let was_there = self.remove(&name);
        if ends <= now {
            return Ok(());
        }
        // What was there has made room; what is larger than it may be one entry too many.
        if !was_there {
            self.make_room(max_marks, now)?;
        }
        self.first_end = self.first_end.min(ends);
        match value {
            Value::Bytes(bytes) if bytes.is_empty() => _ = self.marks.insert(name, ends),
            value => _ = self.values.insert(name, Entry { value, ends }),
        }
        Ok(())
    }

    fn remove(&mut self, name: &Name) -> bool {
        self.marks.remove(name).is_some() | self.values.remove(name).is_some()
    }

    /// Looks whether one more entry fits.
    fn make_room(&mut self, max_marks: usize, now: Second) -> Result<(), Full> {
        self.since_sweep += 1;
        if self.since_sweep >= SWEEP_EVERY.max(self.len() / 2) || self.room_taken() >= max_marks {
            self.sweep(now);
        }
        if self.room_taken() >= max_marks { Err(Full) } else { Ok(()) }
    }

    fn len(&self) -> usize {
        self.marks.len() + self.values.len()
    }

    fn room_taken(&self) -> usize {
        self.marks.len() + MARKS_PER_VALUE * self.values.len()
    }

    /// Forgets what has ended. While nothing can have, which a store that is full is asked all the time, this is nothing.
    fn sweep(&mut self, now: Second) {
        if self.first_end > now {
            return;
        }
        self.since_sweep = 0;
        let mut first_end = Second::MAX;
        let mut stays = |ends: Second| {
            if ends > now {
                first_end = first_end.min(ends);
            }
            ends > now
        };
        self.marks.retain(|_, ends| stays(*ends));
        self.values.retain(|_, entry| stays(entry.ends));
        self.first_end = first_end;
        shrink(&mut self.marks);
        shrink(&mut self.values);
    }
}

/// Gives back the memory of what was a flood.
fn shrink<V>(table: &mut HashMap<Name, V>) {
    if table.capacity() > CAPACITY_MIN && table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2);
    }
}

impl Store for LocalStore {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Result<Option<Bytes>, StoreError>> {
        let (now, (name, shard)) = (self.now(), self.find(key));
        let mut shard = shard.lock();
        let there = shard.get_mut(kind(key)).and_then(|kind| kind.get(&name, now));
        Answer::Now(Ok(there.map(|there| match there {
            Found::Mark => Bytes::new(),
            Found::Value(Value::Bytes(bytes)) => bytes.clone(),
            Found::Value(Value::Number(number)) => Bytes::from(number.to_string()),
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
            Some(Found::Value(Value::Number(number))) => {
                *number = number.saturating_add(by);
                (*number, None)
            }
            _ => (by, Some(Value::Number(by))),
        }))
    }

    fn remove<'a>(&'a self, key: &'a str) -> Answer<'a, Result<(), StoreError>> {
        let (name, shard) = self.find(key);
        if let Some(kind) = shard.lock().get_mut(kind(key)) {
            kind.remove(&name);
        }
        Answer::Now(Ok(()))
    }
}

#[cfg(test)]
mod tests;
