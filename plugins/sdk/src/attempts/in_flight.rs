use std::{
    collections::{HashMap, hash_map::Entry},
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};

use parking_lot::Mutex;

use super::{
    names::{Name, Who},
    rules::Beside,
};

/// The attempts that are under way in this process. Whoever begins them bounds how many there are; there is no entry
/// without one.
#[derive(Default)]
pub(super) struct InFlight {
    /// Their number: a request looks at it first, and takes no lock while it is zero.
    count: AtomicU32,
    by_name: Mutex<HashMap<Name, u32>>,
}

impl InFlight {
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(SeqCst) == 0
    }

    /// Counts those that are under way beside an attempt that has no place itself.
    pub(super) fn beside(&self, who: &Who) -> Beside {
        if self.is_empty() {
            return Beside::default();
        }
        let by_name = self.by_name.lock();
        let [pair, block] = [who.pair, who.block].map(|name| by_name.get(&name).copied().unwrap_or(0));
        Beside { pair, block, policy: self.count.load(SeqCst) }
    }

    /// Takes a place, and says how many have one already.
    pub(super) fn enter(&self, who: &Who) -> Beside {
        let policy = self.count.fetch_add(1, SeqCst);
        let mut by_name = self.by_name.lock();
        let [pair, block] = [who.pair, who.block].map(|name| {
            let count = by_name.entry(name).or_default();
            *count += 1;
            *count - 1
        });
        Beside { pair, block, policy }
    }

    /// Gives a place back.
    pub(super) fn leave(&self, who: &Who) {
        let mut by_name = self.by_name.lock();
        for name in [who.pair, who.block] {
            if let Entry::Occupied(mut entry) = by_name.entry(name) {
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
        self.count.fetch_sub(1, SeqCst);
    }
}
