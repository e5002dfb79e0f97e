use std::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::names::slot;

/// The pairs of which this process has told the store lately that they succeeded, so that a client that is well does not
/// write to the store with every request.
///
/// It has a fixed size and may forget: then the store is told once more.
pub(super) struct Noted {
    slots: Box<[AtomicU64]>,
    since: Instant,
}

impl Noted {
    const SLOTS: usize = 4096;

    /// Much less than what is told is kept for.
    const TELL_AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);

    /// The low bits of a slot hold the hour, the others whose it is.
    const HOUR: u64 = 0xffff;

    pub(super) fn has(&self, address: IpAddr, principal: &[u8]) -> bool {
        self.has_slot(slot(address, principal))
    }

    pub(super) fn has_slot(&self, slot: u64) -> bool {
        self.at(slot).load(Relaxed) == self.entry(slot)
    }

    pub(super) fn note(&self, slot: u64) {
        self.at(slot).store(self.entry(slot), Relaxed);
    }

    /// Something failed: the next success has something to reset.
    pub(super) fn forget(&self, slot: u64) {
        self.at(slot).store(0, Relaxed);
    }

    fn at(&self, slot: u64) -> &AtomicU64 {
        &self.slots[usize::try_from(slot % Self::SLOTS as u64).expect("fewer slots than that")]
    }

    /// Never zero: hours begin at one.
    fn entry(&self, slot: u64) -> u64 {
        let hours = self.since.elapsed().as_secs() / Self::TELL_AGAIN_AFTER.as_secs();
        (slot & !Self::HOUR) | (hours % Self::HOUR + 1)
    }
}

impl Default for Noted {
    fn default() -> Self {
        let slots = (0..Self::SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { slots, since: Instant::now() }
    }
}
