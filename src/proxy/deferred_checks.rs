//! Checks that wait for the whole body: [`RequestCx::hold_body`](portcullis_plugin::RequestCx::hold_body).

use parking_lot::Mutex;
use portcullis_plugin::BodyCheck;

/// The checks of one request.
///
/// Behind a lock because hooks and the trail of one request share its state; nobody ever waits for it.
#[derive(Default)]
pub(crate) struct DeferredChecks(Mutex<Vec<DeferredCheck>>);

/// A check that a hook has asked for.
pub(crate) struct DeferredCheck {
    /// The number of the policy that asked for it.
    pub policy: usize,
    /// The largest body that it takes.
    pub limit: usize,
    /// The check itself.
    pub check: BodyCheck,
}

impl DeferredChecks {
    /// Adds a check.
    pub(crate) fn add(&self, check: DeferredCheck) {
        self.0.lock().push(check);
    }

    /// Returns the number of checks.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().len()
    }

    /// Removes all but the first `count`: whoever asked for the others did not grant in the end.
    pub(crate) fn truncate(&self, count: usize) {
        self.0.lock().truncate(count);
    }

    /// Removes and returns all checks, the one with the least limit first, and otherwise in their order.
    pub(crate) fn take(&self) -> Vec<DeferredCheck> {
        let mut checks = std::mem::take(&mut *self.0.lock());
        let least = (0..checks.len()).min_by_key(|at| checks[*at].limit).unwrap_or(0);
        checks.get_mut(..=least).into_iter().for_each(|first| first.rotate_right(1));
        checks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_with_the_least_limit_is_the_first() {
        let checks = DeferredChecks::default();
        assert!(checks.take().is_empty());
        for (policy, limit) in [(1, 10), (2, 20), (3, 5), (4, 5), (5, 1)] {
            checks.add(DeferredCheck { policy, limit, check: Box::new(|_| Ok(())) });
        }
        checks.truncate(4);
        assert_eq!(checks.take().iter().map(|check| check.policy).collect::<Vec<_>>(), [3, 1, 2, 4]);
        assert_eq!(checks.count(), 0);
    }
}
