use std::time::Duration;

use bytes::Bytes;

use super::subject::{LONG, StoreUnderTest, ok};
use crate::{
    BoxFuture,
    store::{LeaseRequest, Leased, MAX_MEMBERS, Space, Store, StoreError},
};

static SETS: Space = Space::shared("conformance");

const SECOND: Duration = Duration::from_secs(1);

async fn sorted(store: &dyn Store) -> Vec<Bytes> {
    let mut members = ok(store.members(SETS.key(b"a"))).await;
    members.sort();
    members
}

pub(super) async fn a_set_has_its_members(test: &dyn StoreUnderTest) {
    let (store, set) = (test.store(), SETS.key(b"a"));
    assert!(sorted(&*store).await.is_empty() && !ok(store.discard(set, b"1")).await);
    assert!(ok(store.insert(set, b"1", 3 * SECOND)).await);
    assert!(ok(store.insert(set, b"", 60 * SECOND)).await, "an empty member is one as well");
    assert!(ok(store.insert(set, b"2", 3 * SECOND)).await);
    assert!(!ok(store.insert(set, b"2", 60 * SECOND)).await, "it is there, and its end is moved");
    assert_eq!(sorted(&*test.store()).await, ["", "1", "2"]);
    test.pass(5 * SECOND).await;
    assert_eq!(sorted(&*store).await, ["", "2"], "each member has an end of its own");
    assert!(ok(store.insert(set, b"1", SECOND)).await, "what has ended is new again");
    assert!(ok(store.discard(set, b"")).await && !ok(store.discard(set, b"")).await);
    assert!(!ok(store.insert(set, b"2", SECOND)).await, "an end can be moved forward");
    test.pass(3 * SECOND).await;
    assert!(sorted(&*store).await.is_empty());
    assert!(ok(store.members(SETS.key(b"b"))).await.is_empty());
}

pub(super) async fn a_set_is_bounded(test: &dyn StoreUnderTest) {
    let (store, set) = (test.store(), SETS.key(b"a"));
    for number in 0..MAX_MEMBERS {
        assert!(ok(store.insert(set, number.to_string().as_bytes(), 10 * SECOND)).await);
    }
    assert!(matches!(store.insert(set, b"one more", LONG).get().await, Err(StoreError::Full(_))));
    assert!(!ok(store.insert(set, b"7", LONG)).await, "what is there can be kept for longer");
    assert_eq!(ok(store.members(set)).await.len(), MAX_MEMBERS, "none was forgotten");
    test.pass(12 * SECOND).await;
    assert!(ok(store.insert(set, b"one more", LONG)).await, "what has ended makes room");
    assert_eq!(sorted(&*store).await, ["7", "one more"]);
}

fn lock(holder: &[u8], keep: Duration) -> LeaseRequest<'_> {
    LeaseRequest { key: SETS.key(b"a"), holder, at_most: 1, keep }
}

async fn fence(store: &dyn Store, request: LeaseRequest<'_>) -> Option<u64> {
    match ok(store.lease(request)).await {
        Leased::Granted { fence } => Some(fence),
        Leased::Taken { .. } => None,
    }
}

pub(super) async fn a_lock_has_one_holder(test: &dyn StoreUnderTest) {
    let (store, key) = (test.store(), SETS.key(b"a"));
    let mut last = 0;
    for round in 0..8_u8 {
        let work = (0..8_u8).map(|number| {
            let store = test.store();
            let work: BoxFuture<'static, bool> =
                Box::pin(async move { fence(&*store, lock(&[round, number], LONG)).await.is_some() });
            work
        });
        assert_eq!(test.race(work.collect()).await, 1);
        let mut holder = None;
        for number in 0..8 {
            let Some(fence) = fence(&*store, lock(&[round, number], 10 * SECOND)).await else { continue };
            assert!(holder.replace([round, number]).is_none(), "one holder has it still");
            assert!(fence > last, "numbers grow: {fence} after {last}");
            last = fence;
        }
        let holder = holder.expect("the one who won can ask again");
        assert!(!ok(store.release(key, b"nobody")).await && !ok(store.renew(key, b"nobody", LONG)).await);
        assert!(ok(store.release(key, &holder)).await && !ok(store.release(key, &holder)).await);
    }
    assert!(fence(&*store, lock(b"x", 4 * SECOND)).await.is_some());
    test.pass(2 * SECOND).await;
    assert!(ok(store.renew(key, b"x", 4 * SECOND)).await);
    test.pass(2 * SECOND).await;
    let Leased::Taken { retry_after } = ok(store.lease(lock(b"y", LONG))).await else {
        panic!("it was renewed");
    };
    assert!(!retry_after.is_zero() && retry_after <= 2 * SECOND, "{retry_after:?}");
    test.pass(4 * SECOND).await;
    let next = fence(&*store, lock(b"y", LONG)).await;
    assert!(next > Some(last), "its time has passed, and another has it with a higher number");
    assert!(!ok(store.renew(key, b"x", LONG)).await, "a lease that is lost cannot be renewed");
    assert!(!ok(store.release(key, b"x")).await && fence(&*store, lock(b"z", LONG)).await.is_none());
}

pub(super) async fn places_are_given_to_so_many(test: &dyn StoreUnderTest) {
    let (store, key) = (test.store(), SETS.key(b"a"));
    let work = (0..20_u8).map(|number| {
        let store = test.store();
        let work: BoxFuture<'static, bool> = Box::pin(async move {
            let request = LeaseRequest { key: SETS.key(b"a"), holder: &[number], at_most: 5, keep: 10 * SECOND };
            fence(&*store, request).await.is_some()
        });
        work
    });
    assert_eq!(test.race(work.collect()).await, 5);
    let request = LeaseRequest { key, holder: b"next", at_most: 5, keep: LONG };
    assert_eq!(fence(&*store, request).await, None);
    let mut released = 0;
    for number in 0..20_u8 {
        released += usize::from(released == 0 && ok(store.release(key, &[number])).await);
    }
    assert_eq!(released, 1);
    assert!(fence(&*store, request).await.is_some(), "a place that was given back is free");
    assert_eq!(fence(&*store, LeaseRequest { holder: b"none", at_most: 0, ..request }).await, None);
    test.pass(12 * SECOND).await;
    for number in 0..4_u8 {
        let request = LeaseRequest { key, holder: &[100 + number], at_most: 5, keep: LONG };
        assert!(fence(&*store, request).await.is_some(), "those who did not come back have lost theirs");
    }
    assert_eq!(fence(&*store, LeaseRequest { holder: b"one more", ..request }).await, None);
}
