//! The memory budget of responses and uploads that wait to be sent, over all connections.

use std::sync::{
    Arc,
    atomic::{
        AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
};

/// A connection may hold one part in this many of the free budget.
pub(crate) const SHARE: usize = 128;

/// The budget of all bytes that wait to be sent, to clients and to upstreams.
#[derive(Debug)]
pub struct UnsentBudget {
    max_bytes: AtomicUsize,
    used: Arc<AtomicUsize>,
    /// Those that are used by uploads. Uploads wait for each other, and no response waits for them.
    uploads: AtomicUsize,
}

impl Default for UnsentBudget {
    fn default() -> Self {
        let max_bytes = AtomicUsize::new(Self::DEFAULT_MAX_BYTES);
        Self { max_bytes, used: Arc::default(), uploads: AtomicUsize::new(0) }
    }
}

impl UnsentBudget {
    /// The limit where the file does not name one.
    pub const DEFAULT_MAX_BYTES: usize = 128 << 20;

    /// Sets the limit.
    pub fn set_max_bytes(&self, max_bytes: usize) {
        self.max_bytes.store(max_bytes, Relaxed);
    }

    /// Returns the counter of bytes that wait.
    pub fn used(&self) -> Arc<AtomicUsize> {
        self.used.clone()
    }

    /// Returns whether less than a quarter is free: then uploads wait.
    pub(crate) fn is_tight(&self) -> bool {
        self.is_tight_with(self.used.load(Relaxed))
    }

    /// Returns whether responses alone leave less than a quarter: then clients that do not read are closed sooner.
    /// Uploads do not count, because a client that only reads slowly must not be closed for what others send.
    pub(crate) fn is_tight_for_responses(&self) -> bool {
        self.is_tight_with(self.responses())
    }

    fn is_tight_with(&self, used: usize) -> bool {
        let max_bytes = self.max_bytes.load(Relaxed);
        used > max_bytes - max_bytes / 4
    }

    fn responses(&self) -> usize {
        self.used.load(SeqCst).saturating_sub(self.uploads.load(SeqCst))
    }

    /// Adds bytes of responses that wait.
    pub(crate) fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, SeqCst);
    }

    /// Removes bytes of responses.
    pub(crate) fn remove(&self, bytes: usize) {
        self.used.fetch_sub(bytes, SeqCst);
    }

    pub(crate) fn add_upload(&self, bytes: usize) {
        self.used.fetch_add(bytes, SeqCst);
        self.uploads.fetch_add(bytes, SeqCst);
    }

    pub(crate) fn remove_upload(&self, bytes: usize) {
        self.uploads.fetch_sub(bytes, SeqCst);
        self.used.fetch_sub(bytes, SeqCst);
    }

    /// Returns how much the responses of one connection may hold now.
    pub(crate) fn share(&self) -> usize {
        self.max_bytes.load(Relaxed).saturating_sub(self.responses()) / SHARE
    }
}
