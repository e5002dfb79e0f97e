use std::time::Duration;

use bytes::Bytes;

use super::{
    charges::{counters, rule},
    subject::{LONG, StoreUnderTest, ok},
};
use crate::store::{
    Charge, ChargeMode, Counters, LeaseRequest, MAX_KEEP, MAX_KEYS, MAX_MEMBER_BYTES, MAX_VALUE_BYTES, Put, Rule,
    Space, StoreAnswer, StoreError,
};

static VALUES: Space = Space::shared("conformance");

async fn is_invalid<T>(answer: StoreAnswer<'_, T>) -> bool {
    matches!(answer.get().await, Err(StoreError::Invalid(_)))
}

pub(super) async fn invalid(test: &dyn StoreUnderTest) {
    let (store, key, counters) = (test.store(), VALUES.key(b"a"), counters());
    let (longest, long) = (vec![0; MAX_VALUE_BYTES], vec![0; MAX_MEMBER_BYTES + 1]);
    assert!(ok(store.put(Put::new(key, longest.clone().into(), MAX_KEEP))).await, "the longest there is");
    assert_eq!(ok(store.get(key)).await.map(|value| value.len()), Some(MAX_VALUE_BYTES));
    let too_long = [&longest[..], b"x"].concat();
    assert!(is_invalid(store.put(Put::new(key, too_long.into(), LONG))).await);
    let too_late = MAX_KEEP + Duration::from_secs(1);
    for keep in [too_late, Duration::MAX] {
        assert!(is_invalid(store.put(Put::mark(key, keep))).await && is_invalid(store.touch(key, keep)).await);
        assert!(is_invalid(store.add(counters.counter(b"a"), 1, keep)).await);
        assert!(is_invalid(store.insert(key, b"member", keep)).await);
        assert!(is_invalid(store.lease(LeaseRequest { key, holder: b"a", at_most: 1, keep })).await);
        assert!(is_invalid(store.renew(key, b"a", keep)).await);
    }
    assert!(is_invalid(store.insert(key, &long, LONG)).await);
    assert!(is_invalid(store.lease(LeaseRequest { key, holder: &long, at_most: 1, keep: LONG })).await);
    assert!(is_invalid(store.publish(key, long.clone().into())).await);
    assert!(is_invalid(store.get_many(&vec![key; MAX_KEYS + 1])).await);
    let charge =
        Charge { counter: counters.counter(b"a"), rule: rule(Rule::fixed_window(1, Duration::from_secs(1))), cost: 1 };
    assert!(is_invalid(store.charge(&[charge; 2], ChargeMode::AllOrNothing)).await, "one counter twice");
    assert!(is_invalid(store.charge(&[charge; MAX_KEYS + 1], ChargeMode::AllOrNothing)).await);
    assert_eq!(ok(store.get(key)).await.map(|value| value.len()), Some(MAX_VALUE_BYTES), "nothing has changed it");
}

pub(super) async fn full(test: &dyn StoreUnderTest) {
    let Some(store) = test.small() else { return };
    let (marks, values, cache) = (Space::replay("small"), Space::shared("small"), Space::cache("small"));
    let (counters, others) = (Counters::of_policy("small", "one"), Counters::of_policy("small", "two"));
    let limit = rule(Rule::fixed_window(10, LONG));
    let (mut kept, mut kept_values, mut counted) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..20_000_u32 {
        let name = number.to_be_bytes();
        match store.put(Put::mark(marks.key(&name), LONG)).get().await {
            Ok(is_new) => {
                assert!(is_new);
                kept.push(name);
            }
            Err(error) => assert!(matches!(error, StoreError::Full(_)), "{error}"),
        }
        let value = Put::new(values.key(&name), Bytes::copy_from_slice(&name), LONG);
        if store.put(value).get().await.is_ok() {
            kept_values.push(name);
        }
        let charge = Charge { counter: counters.counter(&name), rule: limit, cost: 4 };
        if store.charge(&[charge], ChargeMode::AllOrNothing).get().await.is_ok() {
            counted.push(name);
        }
        ok(store.put(Put::new(cache.key(&name), Bytes::copy_from_slice(&name), LONG))).await;
    }
    for kept in [&kept, &kept_values, &counted] {
        assert!(!kept.is_empty() && kept.len() < 20_000, "it was full: {}", kept.len());
    }
    for name in &kept {
        assert!(!ok(store.put(Put::mark(marks.key(name), LONG))).await, "a mark that was kept is there");
    }
    for name in &kept_values {
        let value = Put::new(values.key(name), Bytes::from_static(b"other"), LONG);
        assert!(ok(store.get(values.key(name))).await.is_some(), "a value that was kept is there");
        assert!(ok(store.put(value)).await, "and can be changed");
    }
    for name in &counted {
        let charge = Charge { counter: counters.counter(name), rule: limit, cost: 4 };
        let charged = ok(store.charge(&[charge], ChargeMode::AllOrNothing)).await;
        assert_eq!(charged.budgets[0].remaining, 2, "a counter that was kept still counts");
    }
    let charge = Charge { counter: others.counter(b"a"), rule: limit, cost: 4 };
    assert!(ok(store.charge(&[charge], ChargeMode::AllOrNothing)).await.is_granted, "another policy has its own room");
    assert!(ok(store.get(cache.key(&19_999_u32.to_be_bytes()))).await.is_some(), "a cache has what came last");
}

pub(super) async fn unreachable(test: &dyn StoreUnderTest) {
    async fn fails<T>(answer: StoreAnswer<'_, T>) -> bool {
        matches!(answer.get().await, Err(StoreError::Unavailable(_) | StoreError::Timeout))
    }
    let Some(store) = test.unreachable() else { return };
    let (key, counters) = (VALUES.key(b"a"), counters());
    let limit = rule(Rule::fixed_window(10, LONG));
    let charge = Charge { counter: counters.counter(b"a"), rule: limit, cost: 1 };
    assert!(fails(store.get(key)).await && fails(store.get_many(&[key])).await && fails(store.take(key)).await);
    assert!(fails(store.put(Put::mark(key, LONG))).await && fails(store.touch(key, LONG)).await);
    assert!(fails(store.remove(key)).await && fails(store.add(charge.counter, 1, LONG)).await);
    assert!(fails(store.charge(&[charge], ChargeMode::AllOrNothing)).await);
    assert!(fails(store.insert(key, b"a", LONG)).await && fails(store.discard(key, b"a")).await);
    assert!(fails(store.members(key)).await && fails(store.release(key, b"a")).await);
    assert!(fails(store.lease(LeaseRequest { key, holder: b"a", at_most: 1, keep: LONG })).await);
    assert!(fails(store.renew(key, b"a", LONG)).await && fails(store.publish(key, Bytes::new())).await);
    assert!(fails(store.subscribe(key)).await);
    let impatient = store.within(Duration::from_millis(1));
    assert!(fails(impatient.get(key)).await, "with a deadline of its own as well");
}
