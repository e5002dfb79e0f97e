//! Counters that cores do not share.
//!
//! A counter that all workers add to moves its cache line from core to core with each request: some 100 ns under load
//! at 32 cores, against 2 ns for a line that stays. So each counter is an array of cells, one for each core, two cache
//! lines wide (processors fetch lines in pairs), and a thread adds to the cell of its number. Reading adds up the
//! cells.

use std::{
    cell::Cell,
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// The most cells of a counter. With more threads than this, some share.
pub(crate) const MAX_SHARDS: usize = 32;

/// `N` counters that are counted together: one allocation, on the first use.
///
/// A configuration may have a hundred thousand routes, of which most are quiet: those cost a pointer.
#[derive(Debug, Default)]
pub(crate) struct Sharded<const N: usize> {
    cells: OnceLock<Box<[Counts<N>]>>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Counts<const N: usize>([AtomicU64; N]);

impl<const N: usize> Sharded<N> {
    /// Adds to one of the counters. One relaxed addition, on a cache line that belongs to this thread.
    #[inline]
    pub(crate) fn add(&self, which: usize, amount: u64) {
        self.here()[which].fetch_add(amount, Relaxed);
    }

    /// Returns one of the counters, over all threads. Concurrent additions may or may not be included.
    pub(crate) fn sum(&self, which: usize) -> u64 {
        let cells = self.cells.get().map_or(&[][..], |cells| cells);
        cells.iter().fold(0, |sum, cell| sum.wrapping_add(cell.0[which].load(Relaxed)))
    }

    /// Returns whether anything was ever counted.
    pub(crate) fn is_used(&self) -> bool {
        self.cells.get().is_some()
    }

    #[inline]
    fn here(&self) -> &[AtomicU64; N] {
        let cells = self.cells.get_or_init(|| {
            std::iter::repeat_with(|| Counts(std::array::from_fn(|_| AtomicU64::new(0)))).take(shards()).collect()
        });
        // The number of cells is a power of two.
        &cells[thread_number() & (cells.len() - 1)].0
    }
}

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(Sharded<1>);

impl Counter {
    /// Adds to it.
    #[inline]
    pub(crate) fn add(&self, amount: u64) {
        self.0.add(0, amount);
    }

    /// Returns its value.
    pub(crate) fn sum(&self) -> u64 {
        self.0.sum(0)
    }
}

/// The upper bounds of the buckets in nanoseconds: 0.5 ms to 10 s.
const BOUNDS_NANOS: [u64; 14] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// The unit of the sum. In nanoseconds 100,000 streams that are open at once would overflow it in two days; in
/// microseconds a policy that takes 0.9 of one would count as nothing.
const TICK_NANOS: u64 = 100;
const TICKS_PER_SECOND: f64 = 1e7;

/// The index of the sum, after the buckets.
const SUM: usize = BOUNDS_NANOS.len() + 1;

/// Durations, counted in buckets. A shard's buckets and their sum fill one cell exactly.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    cells: Sharded<{ SUM + 1 }>,
}

/// The content of a histogram at one moment.
#[derive(Debug, PartialEq)]
pub(crate) struct Observed {
    /// The upper bound in seconds, and the number of durations up to it.
    pub buckets: Vec<(f64, u64)>,
    /// The number of durations.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Counts a duration.
    #[inline]
    pub(crate) fn observe(&self, took: Duration) {
        let nanos = took.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(took.subsec_nanos()));
        let bucket = BOUNDS_NANOS.iter().map(|&bound| usize::from(nanos > bound)).sum::<usize>();
        let here = self.cells.here();
        here[bucket].fetch_add(1, Relaxed);
        here[SUM].fetch_add(nanos / TICK_NANOS, Relaxed);
    }

    /// Adds up the shards.
    pub(crate) fn observed(&self) -> Observed {
        let mut count = 0;
        let buckets = BOUNDS_NANOS.iter().enumerate().map(|(bucket, &bound)| {
            count += self.cells.sum(bucket);
            (bound as f64 / 1e9, count)
        });
        let buckets = buckets.collect();
        count += self.cells.sum(BOUNDS_NANOS.len());
        Observed { buckets, count, sum: self.cells.sum(SUM) as f64 / TICKS_PER_SECOND }
    }
}

/// Returns the number of cells of a counter: the cores, rounded up to a power of two.
fn shards() -> usize {
    // Finding out reads files of the control group: only once.
    static SHARDS: OnceLock<usize> = OnceLock::new();
    *SHARDS.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        cores.next_power_of_two().min(MAX_SHARDS)
    })
}

/// Returns the number of this thread, in the order in which threads first counted something.
#[inline]
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    let number = NUMBER.get();
    if number != usize::MAX {
        return number;
    }
    let number = NEXT.fetch_add(1, Relaxed) & (usize::MAX >> 1);
    NUMBER.set(number);
    number
}
