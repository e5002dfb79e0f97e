use std::time::Duration;

use bytes::Bytes;

use super::now_ms;

/// A wait that was imposed: until when, and how many there were before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BackOff {
    until_ms: u64,
    level: u8,
}

impl BackOff {
    /// After so many doublings of its 64th part a wait is as long as the window.
    const LEVEL_MAX: u8 = 6;

    /// The first wait of a pair.
    pub(super) fn first(window: Duration) -> Self {
        Self::starting_now(0, window)
    }

    /// The longest wait.
    pub(super) fn whole(window: Duration) -> Self {
        Self::starting_now(Self::LEVEL_MAX, window)
    }

    /// The one after this, twice as long.
    pub(super) fn next(self, window: Duration) -> Self {
        Self::starting_now(self.level.saturating_add(1).min(Self::LEVEL_MAX), window)
    }

    fn starting_now(level: u8, window: Duration) -> Self {
        let wait = window / (1 << (Self::LEVEL_MAX - level));
        Self { until_ms: now_ms().saturating_add(millis(wait)), level }
    }

    /// How long it is altogether.
    pub(super) fn wait(self, window: Duration) -> Duration {
        window / (1 << (Self::LEVEL_MAX - self.level))
    }

    /// What is left of it. Never more than a window, whatever clock wrote it.
    pub(super) fn left(self, window: Duration) -> Option<Duration> {
        let left = self.until_ms.saturating_sub(now_ms());
        (left > 0).then(|| Duration::from_millis(left).min(window))
    }

    pub(super) fn to_bytes(self) -> Bytes {
        let mut bytes = [self.level; 9];
        bytes[1..].copy_from_slice(&self.until_ms.to_be_bytes());
        Bytes::copy_from_slice(&bytes)
    }

    /// What another version of the gateway may have written counts for nothing.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (level, until) = bytes.split_first()?;
        let until_ms = u64::from_be_bytes(until.try_into().ok()?);
        (*level <= Self::LEVEL_MAX).then_some(Self { until_ms, level: *level })
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
