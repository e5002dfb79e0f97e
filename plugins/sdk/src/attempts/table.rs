use std::{cmp::Reverse, collections::HashMap, time::Duration};

use parking_lot::Mutex;

use super::{names::Name, rules::Record};

/// Records by name, of a bounded number and never full: where there is no room for a new record, one that is over makes
/// room for it, or else one of the owner who has the most, and of these the least dangerous one, which has the fewest
/// failures and is the oldest. So whoever makes many records pushes out their own, and nobody else's.
///
/// There is one for each policy and purpose, so that no policy takes room from another.
pub(super) struct Table {
    shards: Box<[Mutex<Vec<Entry>>]>,
}

struct Entry {
    name: Name,
    /// Whose record it is.
    owner: Name,
    record: Record,
    /// When the record means nothing any more.
    ends: Duration,
}

/// Locks are held for moments, and the more of them there are the less often two cores meet.
const SHARDS: usize = 256;
/// So many entries are looked through for each question, at most.
const SHARD_MAX_ENTRIES: usize = 256;

impl Default for Table {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Table {
    /// The record under this name, unless it has ended.
    pub(super) fn get(&self, name: Name, now: Duration) -> Option<Record> {
        let entries = self.shard(name).lock();
        entries.iter().find(|entry| entry.name == name && entry.ends > now).map(|entry| entry.record)
    }

    /// Changes or makes the record under this name: `change` gets the one that is there and gives the one to keep, with
    /// its end. It has no owner beside its name.
    pub(super) fn change(&self, name: Name, now: Duration, change: impl FnOnce(Option<Record>) -> (Record, Duration)) {
        self.change_of(name, name, now, change);
    }

    /// Does what [`change`](Self::change) does, for a record of this owner.
    pub(super) fn change_of(
        &self,
        owner: Name,
        name: Name,
        now: Duration,
        change: impl FnOnce(Option<Record>) -> (Record, Duration),
    ) {
        let mut entries = self.shard(name).lock();
        let known = entries.iter_mut().find(|entry| entry.name == name);
        let there = known.as_ref().filter(|entry| entry.ends > now).map(|entry| entry.record);
        let (record, ends) = change(there);
        let new = Entry { name, owner, record, ends };
        match known {
            Some(entry) => *entry = new,
            None => insert(&mut entries, new, now),
        }
    }

    /// Forgets the record under this name.
    pub(super) fn remove(&self, name: Name) {
        let mut entries = self.shard(name).lock();
        if let Some(at) = entries.iter().position(|entry| entry.name == name) {
            entries.swap_remove(at);
        }
    }

    /// Forgets all records.
    pub(super) fn clear(&self) {
        self.shards.iter().for_each(|shard| shard.lock().clear());
    }

    /// Returns the number of records that have not ended.
    pub(super) fn len(&self, now: Duration) -> usize {
        self.shards.iter().map(|shard| shard.lock().iter().filter(|entry| entry.ends > now).count()).sum()
    }

    fn shard(&self, name: Name) -> &Mutex<Vec<Entry>> {
        &self.shards[usize::try_from(name.0 % SHARDS as u64).expect("fewer shards than that")]
    }
}

fn insert(entries: &mut Vec<Entry>, new: Entry, now: Duration) {
    if let Some(ended) = entries.iter_mut().find(|entry| entry.ends <= now) {
        *ended = new;
    } else if entries.len() < SHARD_MAX_ENTRIES {
        entries.push(new);
    } else if let Some(at) = dispensable(entries) {
        entries[at] = new;
    }
}

/// The one that makes room for another.
fn dispensable(entries: &[Entry]) -> Option<usize> {
    let mut owned: HashMap<Name, usize> = HashMap::new();
    entries.iter().for_each(|entry| *owned.entry(entry.owner).or_default() += 1);
    let rank = |entry: &Entry| (Reverse(owned[&entry.owner]), entry.record.count, entry.record.at);
    (0..entries.len()).min_by_key(|at| rank(&entries[*at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room for a second for a record of this count.
    fn put(table: &Table, name: u64, count: u32, now: Duration) {
        table.change(Name(name), now, |_| (Record { count, at: now }, now + Duration::from_secs(1)));
    }

    fn count(table: &Table, name: u64, now: Duration) -> Option<u32> {
        table.get(Name(name), now).map(|record| record.count)
    }

    #[test]
    fn a_record_lasts_until_its_end_and_is_changed_where_it_stands() {
        let (table, start) = (Table::default(), Duration::ZERO);
        put(&table, 1, 1, start);
        table.change(Name(1), start, |there| {
            assert_eq!(there.unwrap().count, 1);
            (Record { count: 2, at: start }, Duration::from_secs(1))
        });
        assert_eq!(count(&table, 1, Duration::from_millis(999)), Some(2));
        assert_eq!(count(&table, 1, Duration::from_secs(1)), None);
        table.change(Name(1), Duration::from_secs(1), |there| {
            assert_eq!(there, None, "it has ended");
            (Record::default(), Duration::from_secs(2))
        });
        table.remove(Name(1));
        assert_eq!(count(&table, 1, start), None);
    }

    #[test]
    fn a_flood_pushes_out_what_has_ended_first_and_then_what_is_least_dangerous() {
        let table = Table::default();
        // All in one shard.
        let name = |number: u64| number * SHARDS as u64;
        let (start, later) = (Duration::ZERO, Duration::from_millis(500));
        (0..4).for_each(|number| put(&table, name(number), 3, start));
        (4..1_000).for_each(|number| put(&table, name(number), 1, later));
        (0..4).for_each(|number| assert_eq!(count(&table, name(number), later), Some(3), "{number}"));
        let kept = (4..1_000).filter(|number| count(&table, name(*number), later).is_some()).count();
        assert_eq!(kept, SHARD_MAX_ENTRIES - 4);
        assert_eq!(count(&table, name(999), later), Some(1), "the newest is always there");
        // A record that has ended goes before one that has not.
        let after = Duration::from_secs(1);
        put(&table, name(2_000), 1, after);
        assert_eq!((count(&table, name(2_000), after), count(&table, name(999), after)), (Some(1), Some(1)));
        assert_eq!(table.shard(Name(0)).lock().len(), SHARD_MAX_ENTRIES);
    }
    #[test]
    fn an_owner_of_many_records_pushes_out_their_own() {
        let table = Table::default();
        let name = |number: u64| Name(number * SHARDS as u64);
        let put = |owner: u64, number: u64, ms: u64| {
            let at = Duration::from_millis(ms);
            table.change_of(Name(owner), name(number), at, |_| (Record { count: 1, at }, Duration::from_secs(60)));
        };
        let has = |number: u64| table.get(name(number), Duration::from_secs(1)).is_some();
        // Older than anything that comes after.
        (0..20).for_each(|number| put(1_000 + number, number, 0));
        (100..2_000).for_each(|number| put(7, number, number));
        (20..40).for_each(|number| put(1_000 + number, number, 2_000));
        assert!((0..40).all(has), "the records of others, old and new");
        let kept = (100..2_000).filter(|number| has(*number)).count();
        assert_eq!(kept, SHARD_MAX_ENTRIES - 40);
        assert!(!has(100) && has(1_999), "the oldest went first");
    }
}
