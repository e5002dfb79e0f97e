//! The minimum rate of a request body that is streamed to the upstream.
//!
//! Each piece has to come within `body_timeout`, which a client can satisfy with one byte now and then: for an hour it
//! holds a connection here, one to the upstream, and whatever the upstream has reserved for a request. So a body also
//! has a minimum rate. Only the time spent waiting for the client counts, and only until the response begins: from then
//! on both sides talk, and their timing is up to them.

use std::time::{Duration, Instant};

/// The minimum rate of a body.
#[derive(Clone, Copy, Debug)]
pub struct MinBodyRate {
    /// The rate; zero for no minimum.
    pub bytes_per_second: u32,
    /// The time by which it may lag behind in total.
    pub patience: Duration,
}

impl MinBodyRate {
    /// Returns whether a body is too slow of which this many bytes came in this time.
    pub fn is_missed(&self, bytes: u64, waited: Duration) -> bool {
        // Most pieces come before there is anything to compute.
        waited > self.patience
            && Duration::from_secs(bytes)
                .checked_div(self.bytes_per_second)
                .is_some_and(|time| waited > time + self.patience)
    }
}

/// Measures how much of one body has come, and how long it was waited for.
#[derive(Debug)]
pub(super) struct Throughput {
    rate: MinBodyRate,
    bytes: u64,
    waited: Duration,
    waits_since: Option<Instant>,
}

impl Throughput {
    pub(super) fn new(rate: MinBodyRate) -> Self {
        Self { rate, bytes: 0, waited: Duration::ZERO, waits_since: None }
    }

    /// Resets the measurement for the next body.
    pub(super) fn begin(&mut self) {
        (self.bytes, self.waited, self.waits_since) = (0, Duration::ZERO, None);
    }

    /// Notes that the wait for the next piece has begun.
    pub(super) fn waiting(&mut self) {
        self.waits_since.get_or_insert_with(Instant::now);
    }

    /// Counts a piece. Returns whether the body is too slow.
    pub(super) fn received(&mut self, bytes: usize) -> bool {
        self.bytes += bytes as u64;
        if let Some(since) = self.waits_since.take() {
            self.waited += since.elapsed();
        }
        self.rate.is_missed(self.bytes, self.waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_lag_behind_for_the_patience_and_no_longer() {
        let rate = MinBodyRate { bytes_per_second: 1024, patience: Duration::from_secs(30) };
        let seconds = Duration::from_secs;
        for (bytes, waited, is_missed) in [
            (0, seconds(30), false),
            (1, seconds(31), true),
            (1024, seconds(31), false),
            (1024, seconds(32), true),
            (10 << 20, seconds(10_000), false),
            (u64::MAX, seconds(10_000_000), false),
        ] {
            assert_eq!(rate.is_missed(bytes, waited), is_missed, "{bytes} {waited:?}");
        }
        assert!(!MinBodyRate { bytes_per_second: 0, ..rate }.is_missed(0, seconds(1_000_000)));
    }

    #[tokio::test]
    async fn only_the_time_that_it_was_waited_for_counts() {
        let mut throughput = Throughput::new(MinBodyRate { bytes_per_second: 1, patience: Duration::ZERO });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!throughput.received(0));
        throughput.waiting();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(throughput.received(0));
        throughput.begin();
        assert!(!throughput.received(0));
    }
}
