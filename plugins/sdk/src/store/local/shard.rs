use std::collections::{HashMap, hash_map::Entry};

use super::{name::BuildPassOn, table::Table};

/// One of the parts of a store under a lock of its own: a table for each space.
#[derive(Default)]
pub(super) struct Shard(HashMap<u64, Table, BuildPassOn>);

impl Shard {
    /// The table of a space. When one is made, tables in which everything has ended go: those of policies that are no more.
    pub(super) fn table(&mut self, space: u64, now: u64) -> &mut Table {
        if !self.0.contains_key(&space) {
            self.0.retain(|_, table| !table.is_over(now));
        }
        match self.0.entry(space) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(none) => none.insert(Table::default()),
        }
    }

    pub(super) fn table_there(&mut self, space: u64) -> Option<&mut Table> {
        self.0.get_mut(&space)
    }
}
