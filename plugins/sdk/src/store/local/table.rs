use std::{collections::HashMap, time::Duration};

use bytes::Bytes;

use super::{
    counting::Cell,
    members::Members,
    name::{BuildPassOn, Name},
};
use crate::store::{clock::micros, error::StoreError, key::Space};

/// The entries of one space in one shard.
#[derive(Default)]
pub(super) struct Table {
    /// Entries without a value, by their end.
    marks: HashMap<Name, Second, BuildPassOn>,
    cells: HashMap<Name, Cell, BuildPassOn>,
    values: HashMap<Name, Entry, BuildPassOn>,
    /// The room that `values` take.
    values_room: usize,
    since_sweep: usize,
    /// No entry ends before.
    first_end: Second,
    /// No entry ends after.
    last_end: Second,
    /// The part of a cache that is forgotten next.
    next_sixteenth: u8,
}

/// The room of a space in one shard.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub max_marks: usize,
    pub is_cache: bool,
}

/// A table's reason not to take an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

impl Refused {
    pub(super) fn of(self, space: &Space) -> StoreError {
        StoreError::Full(space.name())
    }
}

/// Seconds since the clock began.
type Second = u32;

/// After so many additions a table looks for what has ended.
const SWEEP_EVERY: usize = 256;
/// A counter takes the room of so many marks.
pub(super) const MARKS_PER_COUNTER: usize = 2;
/// An entry with a short value takes the room of so many marks.
const MARKS_PER_VALUE: usize = 4;
/// So many bytes of a value take the room of another mark.
const BYTES_PER_MARK: usize = 32;
/// A table with fewer places than that is not made smaller when it is empty.
const CAPACITY_MIN: usize = 1024;

struct Entry {
    stored: Stored,
    /// In microseconds since the clock began.
    ends: u64,
}

pub(super) enum Stored {
    Value(Bytes),
    Members(Box<Members>),
}

impl Entry {
    fn room(&self) -> usize {
        match &self.stored {
            Stored::Value(bytes) => MARKS_PER_VALUE + bytes.len() / BYTES_PER_MARK,
            Stored::Members(members) => MARKS_PER_VALUE * (1 + members.len()) + members.bytes() / BYTES_PER_MARK,
        }
    }
}

/// The end of a mark that is kept for so long: the first whole second after it.
fn mark_end(keep: Duration, now: u64) -> Second {
    if keep.is_zero() { 0 } else { second(now.saturating_add(micros(keep))).saturating_add(1) }
}

fn second(micros: u64) -> Second {
    Second::try_from(micros / 1_000_000).unwrap_or(Second::MAX)
}

impl Table {
    pub(super) fn value(&self, name: &Name, now: u64) -> Option<&Bytes> {
        static MARK: Bytes = Bytes::new();
        if self.marks.get(name).is_some_and(|ends| *ends > second(now)) {
            return Some(&MARK);
        }
        match self.values.get(name) {
            Some(Entry { stored: Stored::Value(bytes), ends }) if *ends > now => Some(bytes),
            _ => None,
        }
    }

    /// Keeps a value in place of what is there.
    pub(super) fn put(
        &mut self,
        name: Name,
        value: Bytes,
        keep: Duration,
        room: Room,
        now: u64,
    ) -> Result<(), Refused> {
        // Before what is there goes: a value that finds no room leaves it as it was.
        if !keep.is_zero() && self.grows(&name, &value) {
            self.make_room(room, now)?;
        }
        self.remove(&name);
        if keep.is_zero() {
            return Ok(());
        }
        if value.is_empty() {
            let ends = mark_end(keep, now);
            self.note_end(ends);
            self.marks.insert(name, ends);
        } else {
            self.keep(name, Stored::Value(value), now.saturating_add(micros(keep)));
        }
        Ok(())
    }

    pub(super) fn touch(&mut self, name: &Name, keep: Duration, now: u64) -> bool {
        if self.value(name, now).is_none() {
            return false;
        }
        let (mark_end, end) = (mark_end(keep, now), now.saturating_add(micros(keep)));
        self.note_end(mark_end);
        if let Some(ends) = self.marks.get_mut(name) {
            *ends = mark_end;
        } else if let Some(entry) = self.values.get_mut(name) {
            entry.ends = end;
        }
        true
    }

    pub(super) fn remove(&mut self, name: &Name) -> bool {
        let mark = self.marks.remove(name).is_some();
        let value = self.values.remove(name);
        self.values_room -= value.as_ref().map_or(0, Entry::room);
        mark | value.is_some()
    }

    /// Keeps what is no mark, where there is room for it.
    fn keep(&mut self, name: Name, stored: Stored, ends: u64) {
        self.note_end(second(ends).saturating_add(1));
        let entry = Entry { stored, ends };
        self.values_room += entry.room();
        let before = self.values.insert(name, entry);
        self.values_room -= before.as_ref().map_or(0, Entry::room);
    }

    /// A set or the holders of a lease, as far as they have not ended.
    pub(super) fn members_there(&self, name: &Name, now: u64) -> Option<&Members> {
        match self.values.get(name) {
            Some(Entry { stored: Stored::Members(members), ends }) if *ends > now => Some(members),
            _ => None,
        }
    }

    /// A set or the holders of a lease, without members that have ended.
    pub(super) fn live_members(&mut self, name: &Name, now: u64) -> Option<&Members> {
        if self.members_there(name, now)?.first_end() <= now {
            self.change_members(name, now, |_| ());
        }
        self.members_there(name, now)
    }

    /// Changes a set or the holders of a lease; room for another one was made before.
    pub(super) fn change_members<T>(&mut self, name: &Name, now: u64, change: impl FnOnce(&mut Members) -> T) -> T {
        let entry = self.values.remove(name);
        self.values_room -= entry.as_ref().map_or(0, Entry::room);
        let mut members = match entry {
            Some(Entry { stored: Stored::Members(members), ends }) if ends > now => members,
            _ => Box::default(),
        };
        members.forget_ended(now);
        let changed = change(&mut members);
        if let Some(ends) = members.last_end() {
            self.keep(*name, Stored::Members(members), ends);
        }
        changed
    }

    /// The state of a counter, if it has any.
    pub(super) fn cell(&self, name: &Name, now: u64) -> Option<Cell> {
        self.cells.get(name).filter(|cell| cell.ends > now).copied()
    }

    /// Makes room for the state of a counter. Until it is put, one that has ended stands there.
    pub(super) fn reserve_cell(&mut self, name: Name, room: Room, now: u64) -> Result<(), Refused> {
        if !self.cells.contains_key(&name) {
            self.make_room(room, now)?;
            self.cells.insert(name, Cell { ends: 0, first: 0, second: 0 });
        }
        Ok(())
    }

    /// Gives back the room of a counter that was reserved and not put.
    pub(super) fn release_cell(&mut self, name: &Name, now: u64) {
        if self.cell(name, now).is_none() {
            self.cells.remove(name);
        }
    }

    /// Keeps the state of a counter for which room is reserved; one that has ended is nothing to keep.
    pub(super) fn put_cell(&mut self, name: Name, cell: Cell, now: u64) {
        if cell.ends <= now {
            self.cells.remove(&name);
            return;
        }
        self.note_end(second(cell.ends).saturating_add(1));
        self.cells.insert(name, cell);
    }

    fn note_end(&mut self, ends: Second) {
        self.first_end = self.first_end.min(ends);
        self.last_end = self.last_end.max(ends);
    }

    /// Returns `true` if this value takes more room than what is under the name.
    fn grows(&self, name: &Name, value: &Bytes) -> bool {
        let before = match self.values.get(name) {
            Some(entry) => entry.room(),
            None => usize::from(self.marks.contains_key(name)),
        };
        let after = match value.len() {
            0 => 1,
            bytes => MARKS_PER_VALUE + bytes / BYTES_PER_MARK,
        };
        after > before
    }

    /// Everything in it has ended.
    pub(super) fn is_over(&self, now: u64) -> bool {
        self.last_end <= second(now)
    }

    /// Makes room for one more entry, if it can be made.
    pub(super) fn make_room(&mut self, room: Room, now: u64) -> Result<(), Refused> {
        self.since_sweep += 1;
        if self.since_sweep >= SWEEP_EVERY.max(self.len() / 2) || self.room_taken() >= room.max_marks {
            self.sweep(second(now), now);
        }
        // Sixteen parts are all there are.
        for _ in 0..16 {
            if !room.is_cache || self.room_taken() < room.max_marks {
                break;
            }
            self.forget_some();
        }
        if self.room_taken() >= room.max_marks { Err(Refused) } else { Ok(()) }
    }

    fn len(&self) -> usize {
        self.marks.len() + self.cells.len() + self.values.len()
    }

    fn room_taken(&self) -> usize {
        self.marks.len() + MARKS_PER_COUNTER * self.cells.len() + self.values_room
    }

    /// Forgets what has ended. While nothing can have, which a store that is full is asked all the time, this is nothing.
    fn sweep(&mut self, this_second: Second, now: u64) {
        if self.first_end > this_second {
            return;
        }
        self.since_sweep = 0;
        let mut first_end = Second::MAX;
        let mut stays = |ends: Second, has_ended: bool| {
            if !has_ended {
                first_end = first_end.min(ends);
            }
            !has_ended
        };
        self.marks.retain(|_, ends| stays(*ends, *ends <= this_second));
        self.cells.retain(|_, cell| stays(second(cell.ends).saturating_add(1), cell.ends <= now));
        self.values.retain(|_, entry| stays(second(entry.ends).saturating_add(1), entry.ends <= now));
        self.first_end = first_end;
        self.settle();
    }

    /// Forgets a sixteenth of a cache: names are random, and so is what goes.
    fn forget_some(&mut self) {
        let before = self.len();
        for _ in 0..16 {
            let part = self.next_sixteenth;
            self.next_sixteenth = (part + 1) % 16;
            self.marks.retain(|name, _| name.sixteenth() != part);
            self.cells.retain(|name, _| name.sixteenth() != part);
            self.values.retain(|name, _| name.sixteenth() != part);
            if self.len() < before {
                break;
            }
        }
        self.settle();
    }

    /// Counts anew after entries have gone, and gives back the memory of what was a flood.
    fn settle(&mut self) {
        self.values_room = self.values.values().map(Entry::room).sum();
        shrink(&mut self.marks);
        shrink(&mut self.cells);
        shrink(&mut self.values);
    }
}

fn shrink<V>(table: &mut HashMap<Name, V, BuildPassOn>) {
    if table.capacity() > CAPACITY_MIN && table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2);
    }
}

#[cfg(test)]
mod tests;
