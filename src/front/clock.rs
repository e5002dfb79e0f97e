use std::{sync::OnceLock, time::Instant};

/// Returns milliseconds of a clock for differences, starting at 1.
pub(super) fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}
