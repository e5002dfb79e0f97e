use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};

/// A number that goes up and down, among the gateway's metrics: entries of a cache, work that is under way.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Says how many there are.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// So many more, or fewer.
    pub fn add(&self, more: i64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// One more, until the returned value is dropped.
    #[must_use = "it counts until it is dropped"]
    pub fn one(&self) -> OneMore {
        self.add(1);
        OneMore(self.clone())
    }

    /// How many there are.
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// One of those that a [`Gauge`] counts.
#[derive(Debug)]
pub struct OneMore(Gauge);

impl Drop for OneMore {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}
