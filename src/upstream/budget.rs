//! The retry budget of an upstream: a share of all its requests, so that an upstream in trouble gets a fifth more
//! requests and not three times as many (a retry storm).

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

use crate::clock::now_ms;

/// The number of requests that earn one retry.
const REQUESTS_PER_RETRY: u64 = 5;
/// The retries that a budget begins with.
const FIRST_RETRIES: u64 = 10;
/// The most retries that are saved up.
const MAX_SAVED_RETRIES: u64 = 100;
/// The interval at which one retry is allowed although the budget is spent: for upstreams with few requests.
const LEAST_INTERVAL_MILLIS: u64 = 1000;

/// The retries of one upstream. Counting takes no lock.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    /// The savings in requests; [`REQUESTS_PER_RETRY`] of them pay for a retry.
    saved: AtomicU64,
    /// The time of the last retry that was allowed without paying.
    granted: AtomicU64,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { saved: (FIRST_RETRIES * REQUESTS_PER_RETRY).into(), granted: 0.into() }
    }
}

impl RetryBudget {
    /// Counts a request that is sent for the first time.
    pub(crate) fn earn(&self) {
        if self.saved.load(Relaxed) < MAX_SAVED_RETRIES * REQUESTS_PER_RETRY {
            self.saved.fetch_add(1, Relaxed);
        }
    }

    /// Takes a retry, if there is one.
    pub(crate) fn take(&self) -> bool {
        self.take_at(now_ms())
    }

    fn take_at(&self, now: u64) -> bool {
        let paid = |saved: u64| saved.checked_sub(REQUESTS_PER_RETRY);
        if self.saved.fetch_update(Relaxed, Relaxed, paid).is_ok() {
            return true;
        }
        let granted = self.granted.load(Relaxed);
        let is_due = now.saturating_sub(granted) >= LEAST_INTERVAL_MILLIS;
        is_due && self.granted.compare_exchange(granted, now, Relaxed, Relaxed).is_ok()
    }
}

/// The budgets of all upstreams, by name: they keep their level over a reload.
#[derive(Default)]
pub(crate) struct RetryBudgets(Mutex<HashMap<String, Weak<RetryBudget>>>);

impl RetryBudgets {
    /// Forgets those of upstreams that no configuration has any more.
    pub(crate) fn forget_unused(&self) {
        self.0.lock().retain(|_, budget| budget.strong_count() > 0);
    }

    /// Returns the budget of this upstream. It lives as long as a configuration has it.
    pub(crate) fn of(&self, upstream: &str) -> Arc<RetryBudget> {
        let mut budgets = self.0.lock();
        let known = budgets.get(upstream).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let budget = Arc::default();
            budgets.insert(upstream.to_owned(), Arc::downgrade(&budget));
            budget
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_fifth_of_the_requests() {
        let budget = RetryBudget::default();
        let mut retries = 0;
        for _ in 0..10_000 {
            budget.earn();
            retries += u64::from(budget.take_at(0));
        }
        assert_eq!(retries, 10_000 / REQUESTS_PER_RETRY + FIRST_RETRIES);
    }

    #[test]
    fn what_is_saved_up_has_a_limit() {
        let budget = RetryBudget::default();
        (0..1_000_000).for_each(|_| budget.earn());
        let retries = (0..1000).filter(|_| budget.take_at(0)).count();
        assert_eq!(retries as u64, MAX_SAVED_RETRIES);
    }

    #[test]
    fn one_in_a_second_is_always_allowed() {
        let budget = RetryBudget::default();
        while budget.take_at(0) {}
        let at = [1000, 1001, 1999, 2000, 2000, 5000].map(|at| budget.take_at(at));
        assert_eq!(at, [true, false, false, true, false, true]);
    }

    #[test]
    fn a_budget_outlives_a_reload_and_not_its_upstream() {
        let budgets = RetryBudgets::default();
        let before = budgets.of("orders");
        while before.take_at(0) {}
        let after = budgets.of("orders");
        assert!(Arc::ptr_eq(&before, &after));
        drop((before, after));
        budgets.forget_unused();
        assert!(budgets.0.lock().is_empty());
        assert!(budgets.of("orders").take_at(0), "another upstream of that name begins anew");
    }
}
