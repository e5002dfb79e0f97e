use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// How often values fall into which range, among the gateway's metrics: the time that a server takes to answer. For what
/// is rare, as with a [`Counter`](crate::Counter): all cores share it.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    bounds: &'static [f64],
    /// One more than there are bounds.
    counts: Box<[AtomicU64]>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

impl Histogram {
    /// The bounds for the time that a server takes to answer, in seconds.
    pub const ANSWER_SECONDS: &'static [f64] =
        &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

    /// An empty one with these upper bounds, which grow.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Counts { bounds, counts, sum: AtomicU64::new(0) }))
    }

    /// Counts a value.
    pub fn observe(&self, value: f64) {
        let at = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[at].fetch_add(1, Relaxed);
        let add = |sum: u64| Some((f64::from_bits(sum) + value).to_bits());
        // It is never `None`, and so it is always stored.
        let _ = self.0.sum.fetch_update(Relaxed, Relaxed, add);
    }

    /// Counts a length of time, in seconds.
    pub fn observe_time(&self, time: Duration) {
        self.observe(time.as_secs_f64());
    }

    /// The upper bounds.
    pub fn bounds(&self) -> &'static [f64] {
        self.0.bounds
    }

    /// For each bound the number of values that do not exceed it.
    pub fn cumulative(&self) -> Vec<(f64, u64)> {
        let mut count = 0;
        let counts = self.0.bounds.iter().zip(&self.0.counts);
        counts
            .map(|(bound, more)| {
                count += more.load(Relaxed);
                (*bound, count)
            })
            .collect()
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// The sum of the values.
    pub fn sum(&self) -> f64 {
        f64::from_bits(self.0.sum.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_up_to_their_bound() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 2.0, 9.0] {
            histogram.observe(value);
        }
        histogram.observe_time(Duration::from_millis(250));
        assert_eq!(histogram.cumulative(), [(1.0, 3), (2.0, 5)]);
        assert_eq!((histogram.count(), histogram.sum()), (6, 14.25));
    }
}
