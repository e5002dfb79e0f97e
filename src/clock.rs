//! A clock for differences of time that never goes back, in numbers that an atomic holds.

use std::{sync::LazyLock, time::Instant};

/// Returns the milliseconds since a moment early in the process; never 0.
pub(crate) fn now_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}
