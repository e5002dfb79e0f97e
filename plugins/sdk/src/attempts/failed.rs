use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{
    counted::Counted,
    names::{Name, Who},
};

/// An attempt that failed, and is not counted yet. An authenticator hands it over with its
/// [`Denial`](crate::Denial::counting), and the engine counts it when the whole request was refused.
///
/// It counts when it is dropped, and so whatever becomes of the request, unless it was excused before.
#[derive(Clone)]
#[must_use = "it counts when it is dropped"]
pub struct FailedAttempt(Option<Arc<Pending>>);

struct Pending {
    counted: Arc<Counted>,
    who: Who,
    tried: Name,
    has_place: bool,
    is_excused: AtomicBool,
    is_final: AtomicBool,
}

impl FailedAttempt {
    /// Nothing that counts: there is no limit.
    pub(super) const UNLIMITED: Self = Self(None);

    pub(super) fn new(counted: &Arc<Counted>, who: Who, tried: Name, has_place: bool) -> Self {
        let (is_excused, is_final) = Default::default();
        Self(Some(Arc::new(Pending { counted: counted.clone(), who, tried, has_place, is_excused, is_final })))
    }

    /// Counts it also where another policy grants: for one of several guesses in the same place of a request, of which the
    /// other policy has found only one right.
    pub fn beyond_excuse(self) -> Self {
        if let Some(pending) = &self.0 {
            pending.is_final.store(true, Relaxed);
        }
        self
    }

    /// Returns `true` if a grant by another policy may excuse it.
    pub fn is_excusable(&self) -> bool {
        self.0.as_ref().is_none_or(|pending| !pending.is_final.load(Relaxed))
    }

    /// Counts it now.
    pub fn count(self) {
        drop(self);
    }

    /// Does not count it: the credential was right for somebody else who was asked, or it could not be judged.
    pub fn excuse(self) {
        if let Some(pending) = &self.0 {
            pending.is_excused.store(true, Relaxed);
        }
    }

    pub(super) fn succeed(self) {
        if let Some(pending) = &self.0 {
            pending.is_excused.store(true, Relaxed);
            pending.counted.succeeded(&pending.who);
        }
    }

    /// Returns `true` if there is a limit that it counts for.
    pub fn is_limited(&self) -> bool {
        self.0.is_some()
    }
}

/// Two are equal when they are the same guess at the same policy.
impl PartialEq for FailedAttempt {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(&a.counted, &b.counted) && (a.who, a.tried) == (b.who, b.tried),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for FailedAttempt {}

impl fmt::Debug for FailedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FailedAttempt")
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !*self.is_excused.get_mut() {
            self.counted.failed(&self.who, self.tried);
        }
        // Only now: whoever looks in between sees the attempt in one of the two.
        if self.has_place {
            self.counted.counts.in_flight.leave(&self.who);
        }
    }
}
