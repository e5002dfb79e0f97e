//! Limits how many callers are served at once, and how many commands run.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::AcqRel},
};

/// A guard for one of the callers that are served at once, or of the commands that run.
pub(super) struct Slot(Arc<AtomicUsize>);

impl Slot {
    /// Takes a slot; `None`: so many are taken already.
    pub(super) fn take(callers: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let slot = Self(callers.clone());
        (callers.fetch_add(1, AcqRel) < most).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    const MOST: usize = 4;

    #[test]
    fn a_caller_that_panics_gives_its_slot_back() {
        let callers = Arc::default();
        for _ in 0..2 * MOST {
            let slot = Slot::take(&callers, MOST).expect("the ones before it are free again");
            let panicked = catch_unwind(AssertUnwindSafe(move || {
                let _slot = slot;
                std::panic::resume_unwind(Box::new("a bug"));
            }));
            assert!(panicked.is_err());
        }
        let all: Vec<_> = (0..MOST).map(|_| Slot::take(&callers, MOST).expect("a free slot")).collect();
        assert!(Slot::take(&callers, MOST).is_none());
        drop(all);
        assert!(Slot::take(&callers, MOST).is_some());
    }
}
