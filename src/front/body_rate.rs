//! The minimum rate of a request body that is streamed to the upstream.
//!
//! Each piece has to come within `body_timeout`, which a client can satisfy with one byte now and then: for an hour it
//! holds a connection here, one to the upstream, and whatever the upstream has reserved for a request. So a body also
//! has a minimum rate. Only the time spent waiting for the client counts, not that in which the gateway or the upstream
//! holds the request, and only until the response begins: from then on both sides talk, and their timing is up to them.

use std::time::{Duration, Instant};

/// The minimum rate of a body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MinBodyRate {
    /// The rate; zero for no minimum.
    pub bytes_per_second: u32,
    /// The time by which it may lag behind in total.
    pub patience: Duration,
}

impl MinBodyRate {
    /// Returns whether a body is too slow of which this many bytes came in this time.
    pub(crate) fn is_missed(&self, bytes: u64, waited: Duration) -> bool {
        // Most pieces come before there is anything to compute.
        waited > self.patience
            && Duration::from_secs(bytes)
                .checked_div(self.bytes_per_second)
                .is_some_and(|time| waited > time + self.patience)
    }
}

/// Measures how much of one body has come, and how long it was waited for.
#[derive(Debug, Default)]
pub(super) struct Throughput {
    bytes: u64,
    waited: Duration,
    /// The beginning of the wait for the next piece.
    waits_since: Option<Instant>,
    /// The moment from which on the gateway does not serve the request, for want of memory for its response.
    held_since: Option<Instant>,
}

impl Throughput {
    /// Notes that the wait for the next piece has begun.
    pub(super) fn wait(&mut self, now: Instant) {
        self.waits_since.get_or_insert(now);
    }

    /// Ends the wait without counting it.
    pub(super) fn pause(&mut self) {
        self.waits_since = None;
    }

    /// Counts a piece. Returns whether the body is slower than this rate.
    pub(super) fn receive(&mut self, bytes: usize, now: Instant, rate: MinBodyRate) -> bool {
        self.bytes += bytes as u64;
        if let Some(since) = self.waits_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        rate.is_missed(self.bytes, self.waited)
    }

    /// Notes that the gateway does not serve the request for now.
    pub(super) fn hold(&mut self, now: Instant) {
        self.held_since.get_or_insert(now);
    }

    /// Notes that the gateway serves the request again. Of the time in between, `most` counts as the gateway's.
    pub(super) fn resume(&mut self, now: Instant, most: Duration) {
        let held = self.held(now, most);
        self.held_since = None;
        if let Some(since) = &mut self.waits_since {
            *since += held;
        }
    }

    /// Returns how long the next piece has been waited for, less the time that the gateway has held the request, of
    /// which `most` counts.
    pub(super) fn waits(&self, now: Instant, most: Duration) -> Duration {
        let waits = self.waits_since.map(|since| now.saturating_duration_since(since));
        waits.unwrap_or_default().saturating_sub(self.held(now, most))
    }

    fn held(&self, now: Instant, most: Duration) -> Duration {
        self.held_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since).min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

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

    #[test]
    fn only_the_time_that_it_was_waited_for_counts() {
        let (rate, now) = (MinBodyRate { bytes_per_second: 1, patience: Duration::ZERO }, Instant::now());
        let mut throughput = Throughput::default();
        assert!(!throughput.receive(0, now + SECOND, rate));
        throughput.wait(now + SECOND);
        throughput.pause();
        assert!(!throughput.receive(0, now + 2 * SECOND, rate));
        throughput.wait(now + 2 * SECOND);
        throughput.wait(now + 3 * SECOND);
        assert_eq!(throughput.waits(now + 4 * SECOND, SECOND), 2 * SECOND);
        assert!(throughput.receive(0, now + 4 * SECOND, rate));
        assert_eq!(throughput.waits(now + 5 * SECOND, SECOND), Duration::ZERO);
    }

    #[test]
    fn the_time_in_which_the_gateway_holds_a_request_counts_for_a_while_as_its_own() {
        let (rate, now) = (MinBodyRate { bytes_per_second: 1, patience: 2 * SECOND }, Instant::now());
        for (most, is_missed) in [(10 * SECOND, false), (SECOND, true)] {
            let mut throughput = Throughput::default();
            throughput.wait(now);
            throughput.hold(now + SECOND);
            throughput.hold(now + 2 * SECOND);
            assert_eq!(throughput.waits(now + 5 * SECOND, most), 5 * SECOND - most.min(4 * SECOND));
            throughput.resume(now + 5 * SECOND, most);
            assert_eq!(throughput.waits(now + 5 * SECOND, most), 5 * SECOND - most.min(4 * SECOND));
            assert_eq!(throughput.receive(0, now + 6 * SECOND, rate), is_missed, "{most:?}");
        }
    }
}
