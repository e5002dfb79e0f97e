use std::time::Duration;

use super::subject::{LONG, StoreUnderTest, ok};
use crate::{
    BoxFuture,
    store::{Budget, Charge, ChargeMode, Charged, Counter, Counters, Rule, Store, StoreError},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

pub(super) fn counters() -> Counters {
    Counters::of_policy("conformance", "test")
}

pub(super) fn rule(rule: Result<Rule, StoreError>) -> Rule {
    rule.expect("a valid rule")
}

/// One of each kind that takes ten at once, and nothing comes back for a while.
fn ten_a_minute() -> [Rule; 3] {
    [rule(Rule::gcra(10, MINUTE, 10)), rule(Rule::sliding_window(10, MINUTE)), rule(Rule::fixed_window(10, MINUTE))]
}

async fn charge(store: &dyn Store, counter: Counter<'_>, rule: Rule, cost: u64, mode: ChargeMode) -> Charged {
    ok(store.charge(&[Charge { counter, rule, cost }], mode)).await
}

pub(super) async fn a_counter_adds_up_and_ends(test: &dyn StoreUnderTest) {
    let (store, counters) = (test.store(), counters());
    let counter = counters.counter(b"a");
    assert_eq!(ok(store.add(counter, 2, 10 * SECOND)).await.value, 2);
    let work = (0..16).map(|_| {
        let (store, counters) = (test.store(), counters.clone());
        let work: BoxFuture<'static, bool> =
            Box::pin(async move { ok(store.add(counters.counter(b"a"), 1, LONG)).await.value > 2 });
        work
    });
    assert_eq!(test.race(work.collect()).await, 16);
    test.pass(2 * SECOND).await;
    let count = ok(store.add(counter, 0, LONG)).await;
    assert_eq!(count.value, 18);
    assert!(count.left <= 8 * SECOND && count.left > 3 * SECOND, "later additions do not move the end: {count:?}");
    assert_eq!(ok(store.add(counters.counter(b"b"), 5, LONG)).await.value, 5);
    test.pass(9 * SECOND).await;
    assert_eq!(ok(store.add(counter, 1, LONG)).await.value, 1);
}

pub(super) async fn a_limit_takes_as_many_as_it_says(test: &dyn StoreUnderTest) {
    let (store, counters) = (test.store(), counters());
    for rule in ten_a_minute() {
        // So that a window does not end in the middle of the test.
        test.pass(2 * MINUTE).await;
        for taken in 1..=10 {
            let charged = charge(&*store, counters.counter(b"a"), rule, 1, ChargeMode::AllOrNothing).await;
            assert!(charged.is_granted && charged.budgets[0].is_within, "{rule:?} {taken}");
            assert_eq!(charged.budgets[0].remaining, 10 - taken, "{rule:?}");
            assert!(charged.budgets[0].retry_after.is_zero() && !charged.budgets[0].resets_in.is_zero());
        }
        let refused = charge(&*store, counters.counter(b"a"), rule, 1, ChargeMode::AllOrNothing).await;
        let Budget { is_within, remaining, retry_after, resets_in } = refused.budgets[0];
        assert!(!refused.is_granted && !is_within && remaining == 0, "{rule:?}");
        assert!(!retry_after.is_zero() && retry_after <= 2 * MINUTE && resets_in <= 2 * MINUTE, "{rule:?}");
        let other = charge(&*store, counters.counter(b"b"), rule, 1, ChargeMode::AllOrNothing).await;
        assert!(other.is_granted, "another counter");
        test.pass(retry_after).await;
        let charged = charge(&*store, counters.counter(b"a"), rule, 1, ChargeMode::AllOrNothing).await;
        assert!(charged.is_granted, "{rule:?} after the time that was told");
        let never = charge(&*store, counters.counter(b"c"), rule, 11, ChargeMode::AllOrNothing).await;
        assert_eq!(never.budgets[0].retry_after, Duration::MAX, "{rule:?}: above the limit itself");
    }
}

pub(super) async fn all_are_taken_or_none(test: &dyn StoreUnderTest) {
    let (store, counters) = (test.store(), counters());
    let [gcra, sliding, fixed] = ten_a_minute();
    let charges = |cost| {
        [(b"a", gcra, 1), (b"b", sliding, 1), (b"c", fixed, cost)].map(|(name, rule, cost)| Charge {
            counter: counters.counter(name),
            rule,
            cost,
        })
    };
    let remaining = |charged: &Charged| -> Vec<_> { charged.budgets.iter().map(|budget| budget.remaining).collect() };
    let charged = ok(store.charge(&charges(4), ChargeMode::AllOrNothing)).await;
    assert!(charged.is_granted);
    assert_eq!(remaining(&charged), [9, 9, 6]);
    let refused = ok(store.charge(&charges(7), ChargeMode::AllOrNothing)).await;
    assert!(!refused.is_granted);
    assert_eq!(remaining(&refused), [9, 9, 6], "nothing was taken");
    let within: Vec<_> = refused.budgets.iter().map(|budget| budget.is_within).collect();
    assert_eq!(within, [true, true, false], "the last one refused");
    let charged = ok(store.charge(&charges(6), ChargeMode::AllOrNothing)).await;
    assert!(charged.is_granted);
    assert_eq!(remaining(&charged), [8, 8, 0]);
    assert!(ok(store.charge(&[], ChargeMode::AllOrNothing)).await.is_granted, "nothing is asked, and nothing refuses");
}

pub(super) async fn modes(test: &dyn StoreUnderTest) {
    let (store, counters) = (test.store(), counters());
    for rule in ten_a_minute() {
        test.pass(2 * MINUTE).await;
        let charge = async |cost, mode| charge(&*store, counters.counter(b"a"), rule, cost, mode).await;
        let peeked = charge(3, ChargeMode::Peek).await;
        assert!(peeked.is_granted && peeked.budgets[0].remaining == 10, "{rule:?}");
        assert!(!charge(11, ChargeMode::Peek).await.is_granted, "{rule:?}");
        let some = charge(7, ChargeMode::UpTo).await;
        assert_eq!((some.is_granted, some.taken, some.budgets[0].remaining), (true, 7, 3), "{rule:?}");
        let rest = charge(7, ChargeMode::UpTo).await;
        assert_eq!((rest.is_granted, rest.taken, rest.budgets[0].remaining), (true, 3, 0), "{rule:?}");
        let none = charge(7, ChargeMode::UpTo).await;
        assert_eq!((none.is_granted, none.taken), (false, 0), "{rule:?}");
        assert!(!none.budgets[0].retry_after.is_zero(), "{rule:?}");
        let back = charge(4, ChargeMode::GiveBack).await;
        assert!(back.is_granted && back.budgets[0].remaining == 4, "{rule:?}");
        assert!(charge(1_000_000, ChargeMode::GiveBack).await.budgets[0].remaining == 10, "{rule:?}");
        assert!(!charge(11, ChargeMode::AllOrNothing).await.is_granted, "{rule:?}: no more than the limit");
        let two = [charge_of(counters.counter(b"a"), rule, 5), charge_of(counters.counter(b"b"), rule, 9)];
        assert_eq!(ok(store.charge(&two, ChargeMode::UpTo)).await.taken, 5, "{rule:?}: of both the same");
        let two = [charge_of(counters.counter(b"a"), rule, 1), charge_of(counters.counter(b"b"), rule, 1)];
        let budgets = ok(store.charge(&two, ChargeMode::Peek)).await.budgets;
        assert_eq!([budgets[0].remaining, budgets[1].remaining], [5, 5], "{rule:?}");
    }
}

const fn charge_of(counter: Counter<'_>, rule: Rule, cost: u64) -> Charge<'_> {
    Charge { counter, rule, cost }
}

pub(super) async fn no_limit_is_exceeded_at_once(test: &dyn StoreUnderTest) {
    for rule in ten_a_minute() {
        test.pass(2 * MINUTE).await;
        let work = (0..40_usize).map(|number| {
            let (store, counters) = (test.store(), counters());
            let work: BoxFuture<'static, bool> = Box::pin(async move {
                // The common counter is named first by some and last by others.
                let own = [u8::try_from(number).unwrap_or(0)];
                let mut charges =
                    [charge_of(counters.counter(b"common"), rule, 1), charge_of(counters.counter(&own), rule, 1)];
                if number % 2 == 0 {
                    charges.reverse();
                }
                ok(store.charge(&charges, ChargeMode::AllOrNothing)).await.is_granted
            });
            work
        });
        assert_eq!(test.race(work.collect()).await, 10, "{rule:?}");
    }
}
