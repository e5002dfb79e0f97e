//! How slowly a body may come that is held.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, timeout_at};

/// The minimum rate of a held body, on the whole. At 8 MiB, the largest that `hmac` reads unless it is told otherwise,
/// it is nine minutes; of a phone's connection it is a small part.
pub(super) const MIN_BYTES_PER_SECOND: u32 = 16 << 10;

/// The time that one body has: it may stand still, or lag behind the [minimum](MIN_BYTES_PER_SECOND), for no
/// longer than `patience` (`server.body_timeout`).
///
/// A fixed time for the whole would be too long for a byte now and then, which keeps its memory reserved, and too short
/// for a large body that comes steadily.
pub(super) struct MinThroughput {
    begun: Instant,
    moved: Instant,
    patience: Duration,
}

impl MinThroughput {
    /// Returns the time of a body that begins now.
    pub(super) fn new(patience: Duration) -> Self {
        let now = Instant::now();
        Self { begun: now, moved: now, patience }
    }

    /// Waits for the next piece of a body of which so much has come; `None`: it is too slow.
    pub(super) async fn next<T>(&mut self, received_bytes: usize, piece: impl Future<Output = T>) -> Option<T> {
        let piece = timeout_at(self.deadline(received_bytes), piece).await.ok();
        self.moved = Instant::now();
        piece
    }

    fn deadline(&self, received_bytes: usize) -> Instant {
        let received = Duration::from_secs(received_bytes as u64) / MIN_BYTES_PER_SECOND;
        (self.begun + received).min(self.moved) + self.patience
    }
}

#[cfg(test)]
mod tests;
