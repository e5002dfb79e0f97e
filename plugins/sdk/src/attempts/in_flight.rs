use std::{
    collections::{HashMap, hash_map::Entry},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use parking_lot::Mutex;

use super::{
    Beside,
    names::{Name, Who},
};

/// The attempts that are under way in this process. Whoever begins them bounds how many there are; there is no entry
/// without one.
#[derive(Default)]
pub(super) struct InFlight {
    /// How many there are: what a request looks at while there are none, so that it takes no lock.
    count: AtomicUsize,
    by_name: Mutex<HashMap<Name, u64>>,
}

/// One of them, until it is dropped.
pub(super) struct Place<'a> {
    all: &'a InFlight,
    names: [Name; 2],
    /// How many were under way when this one began.
    pub(super) beside: Beside,
}

impl InFlight {
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(SeqCst) == 0
    }

    /// How many are under way beside an attempt that has no place itself.
    pub(super) fn beside(&self, who: &Who) -> Beside {
        if self.is_empty() {
            return Beside::default();
        }
        let by_name = self.by_name.lock();
        let [pair, block] = [who.pair, who.block].map(|name| by_name.get(&name).copied().unwrap_or(0));
        Beside { pair, block }
    }

    pub(super) fn enter(&self, who: &Who) -> Place<'_> {
        self.count.fetch_add(1, SeqCst);
        let names = [who.pair, who.block];
        let mut by_name = self.by_name.lock();
        let [pair, block] = names.map(|name| {
            let count = by_name.entry(name).or_default();
            *count += 1;
            *count - 1
        });
        Place { all: self, names, beside: Beside { pair, block } }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut by_name = self.all.by_name.lock();
        for name in self.names {
            if let Entry::Occupied(mut entry) = by_name.entry(name) {
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
        self.all.count.fetch_sub(1, SeqCst);
    }
}
