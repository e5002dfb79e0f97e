use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::names::Name;

/// The pairs that have succeeded lately with nothing left to reset, so that a client that is well takes no lock and
/// writes nothing.
///
/// It has a fixed size and may forget: then the success is put on record once more.
pub(super) struct Noted {
    slots: Box<[AtomicU64]>,
}

impl Noted {
    const SLOTS: usize = 4096;

    /// Much less than what is noted is remembered for.
    const NOTE_AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);

    /// The low bits of a slot hold the hour, the others whose it is.
    const HOUR: u64 = 0xffff;

    pub(super) fn has(&self, pair: Name, now: Duration) -> bool {
        self.at(pair).load(Relaxed) == entry(pair, now)
    }

    pub(super) fn note(&self, pair: Name, now: Duration) {
        self.at(pair).store(entry(pair, now), Relaxed);
    }

    /// Something failed: the next success has something to reset.
    pub(super) fn forget(&self, pair: Name) {
        self.at(pair).store(0, Relaxed);
    }

    fn at(&self, pair: Name) -> &AtomicU64 {
        &self.slots[usize::try_from(pair.0 % Self::SLOTS as u64).expect("fewer slots than that")]
    }
}

/// Never zero: hours begin at one.
fn entry(pair: Name, now: Duration) -> u64 {
    let hours = now.as_secs() / Noted::NOTE_AGAIN_AFTER.as_secs();
    (pair.0 & !Noted::HOUR) | (hours % Noted::HOUR + 1)
}

impl Default for Noted {
    fn default() -> Self {
        Self { slots: (0..Self::SLOTS).map(|_| AtomicU64::new(0)).collect() }
    }
}
