use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// A counter among the gateway's metrics. It is for rare events: all cores share one number.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Returns the count.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
