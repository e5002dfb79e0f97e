use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// The clock of a [`LocalStore`](super::LocalStore): it never goes back.
#[derive(Clone, Debug)]
pub(super) enum Clock {
    /// The system's monotonic clock, from this moment on.
    Since(Instant),
    /// A test's.
    Simulated(SimulatedClock),
}

impl Clock {
    /// Whole microseconds since the clock began.
    pub(super) fn now(&self) -> u64 {
        match self {
            Self::Since(began) => micros(began.elapsed()),
            Self::Simulated(clock) => clock.0.load(Relaxed),
        }
    }
}

/// The time in microseconds; of times beyond all reason, the longest.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A clock that stands still until a test moves it: see [`LocalStore::simulated`](super::LocalStore::simulated). Clones
/// show the same time.
#[derive(Clone, Debug, Default)]
pub struct SimulatedClock(Arc<AtomicU64>);

impl SimulatedClock {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(micros(by), Relaxed);
    }

    /// The time that has passed.
    pub fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.load(Relaxed))
    }
}
