//! The memory budget of responses and uploads that wait to be sent, over all connections.
//!
//! Responses have at least half of it: a client that only reads slowly must not be closed, nor another one wait, for
//! what others send to an upstream that does not read. Uploads wait for each other and for responses.

use std::sync::{
    Arc,
    atomic::{
        AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
};

/// A connection may hold one part in this many of the free budget.
pub(crate) const SHARE: usize = 128;

/// The memory of a piece of a body beside its bytes.
pub(crate) const PIECE_OVERHEAD_BYTES: usize = 256;

/// The budget of all bytes that wait to be sent, to clients and to upstreams.
#[derive(Debug)]
pub(crate) struct UnsentBudget {
    max_bytes: AtomicUsize,
    used: Arc<AtomicUsize>,
    /// Those that are used by uploads.
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
    pub(crate) const DEFAULT_MAX_BYTES: usize = 128 << 20;

    /// Sets the limit.
    pub(crate) fn set_max_bytes(&self, max_bytes: usize) {
        self.max_bytes.store(max_bytes, Relaxed);
    }

    /// Returns the counter of bytes that wait.
    pub(crate) fn used(&self) -> Arc<AtomicUsize> {
        self.used.clone()
    }

    /// Returns whether responses alone leave less than a quarter: then clients that do not read are closed sooner.
    pub(crate) fn is_tight_for_responses(&self) -> bool {
        let max_bytes = self.max_bytes.load(Relaxed);
        self.responses() > max_bytes - max_bytes / 4
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

    /// Adds a piece of a request's body, unless uploads would hold more than half of the budget, or all together more
    /// than all of it. For a piece that is not the first of its request which waits, the limits are three quarters of
    /// these, so that every request gets a piece through before some get many. A piece that is larger than any limit is
    /// added while no other upload waits.
    pub(crate) fn try_add_upload(&self, bytes: usize, is_first: bool) -> bool {
        let max_bytes = self.max_bytes.load(Relaxed);
        let max_bytes = if is_first { max_bytes } else { max_bytes - max_bytes / 4 };
        let responses = self.responses();
        let added = self.uploads.fetch_update(SeqCst, SeqCst, |uploads| {
            let with_it = uploads + bytes;
            let fits = with_it <= max_bytes / 2 && responses + with_it <= max_bytes;
            (fits || uploads == 0).then_some(with_it)
        });
        if added.is_ok() {
            self.used.fetch_add(bytes, SeqCst);
        }
        added.is_ok()
    }

    pub(crate) fn remove_upload(&self, bytes: usize) {
        self.used.fetch_sub(bytes, SeqCst);
        self.uploads.fetch_sub(bytes, SeqCst);
    }

    /// Returns how much the responses of one connection may hold now. Uploads leave half of the budget, also where one
    /// of them is larger.
    pub(crate) fn share(&self) -> usize {
        let max_bytes = self.max_bytes.load(Relaxed);
        let uploads = self.uploads.load(SeqCst).min(max_bytes / 2);
        max_bytes.saturating_sub(self.responses() + uploads) / SHARE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = SHARE * 10_000;

    fn budget() -> UnsentBudget {
        let budget = UnsentBudget::default();
        budget.set_max_bytes(MAX);
        budget
    }

    /// A client that reads slowly is not closed, and no response waits, for bodies that an upstream does not take.
    #[test]
    fn uploads_leave_half_of_it_to_responses() {
        let budget = budget();
        assert!(budget.try_add_upload(MAX / 2, true) && !budget.try_add_upload(1, true));
        assert!(!budget.is_tight_for_responses());
        assert_eq!(budget.share(), MAX / 2 / SHARE);
        budget.add(MAX / 2);
        assert_eq!((budget.share(), budget.used().load(SeqCst)), (0, MAX));
        budget.add(MAX);
        assert!(budget.is_tight_for_responses());
    }

    #[test]
    fn uploads_never_exceed_it() {
        let budget = budget();
        budget.add(MAX - 1000);
        assert!(budget.try_add_upload(900, true) && budget.try_add_upload(100, true));
        assert!(!budget.try_add_upload(1, true), "also not where it is the first piece of its request");
        budget.remove_upload(100);
        budget.remove_upload(900);
        assert!(budget.try_add_upload(3 * MAX, true), "alone it may be of any size, for it would wait for ever");
        assert!(!budget.try_add_upload(1, true));
    }

    #[test]
    fn every_request_gets_a_piece_before_some_get_many() {
        let budget = budget();
        assert!(budget.try_add_upload(3 * (MAX / 8), false));
        assert!(!budget.try_add_upload(1, false) && budget.try_add_upload(1, true));
    }
}
