use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::subject::{LONG, StoreUnderTest, ok};
use crate::store::{Key, Put, Space, Store, When};

static VALUES: Space = Space::shared("conformance");

const SECOND: Duration = Duration::from_secs(1);

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub(super) async fn a_value_is_there_until_its_end(test: &dyn StoreUnderTest) {
    let (store, key, other) = (test.store(), VALUES.key(b"a"), VALUES.key(b"b"));
    assert_eq!(ok(store.get(key)).await, None);
    for value in ["", "1", "\0\u{ff}", ""] {
        assert!(ok(store.put(Put::new(key, text(value), 2 * SECOND))).await);
        assert_eq!(ok(test.store().get(key)).await, Some(text(value)));
    }
    assert!(ok(store.put(Put::new(other, text("2"), 2 * SECOND))).await);
    test.pass(SECOND).await;
    for key in [key, other] {
        assert!(ok(store.get(key)).await.is_some(), "nothing ends early");
    }
    assert!(ok(store.touch(other, 5 * SECOND)).await);
    test.pass(2 * SECOND).await;
    assert_eq!(ok(store.get(key)).await, None, "a value ends at most a second late");
    assert!(!ok(store.touch(key, LONG)).await && !ok(store.remove(key)).await, "what has ended does not come back");
    assert_eq!(ok(store.get(other)).await, Some(text("2")), "the end was moved");
    assert!(ok(store.touch(other, Duration::ZERO)).await);
    assert_eq!(ok(store.get(other)).await, None, "nothing is kept for no time");
    assert!(ok(store.put(Put::new(key, text("3"), LONG))).await && ok(store.remove(key)).await);
    assert!(ok(store.get(key)).await.is_none() && !ok(store.remove(key)).await);
    assert!(ok(store.put(Put::new(key, text("4"), Duration::ZERO))).await);
    assert_eq!(ok(store.get(key)).await, None);
}

pub(super) async fn several_values_are_read_at_once(test: &dyn StoreUnderTest) {
    let store = test.store();
    let names: Vec<_> = (0..6_u8).map(|name| [name]).collect();
    for name in names.iter().step_by(2) {
        ok(store.put(Put::new(VALUES.key(name), Bytes::copy_from_slice(name), LONG))).await;
    }
    let keys: Vec<_> = names.iter().map(|name| VALUES.key(name)).collect();
    let values = ok(store.get_many(&keys)).await;
    assert_eq!(values.len(), keys.len());
    for (at, value) in values.iter().enumerate() {
        assert_eq!(value.as_deref(), (at % 2 == 0).then_some(&names[at][..]));
    }
    assert!(ok(store.get_many(&[])).await.is_empty());
}

pub(super) async fn a_condition_decides(test: &dyn StoreUnderTest) {
    let (store, key) = (test.store(), VALUES.key(b"a"));
    let put = async |value, when| ok(store.put(Put { key, value: text(value), keep: LONG, when })).await;
    assert!(!put("1", When::Equals(b"")).await, "nothing is there, which is no empty value");
    assert!(put("", When::Absent).await && !put("2", When::Absent).await);
    assert!(!put("3", When::Equals(b"1")).await && put("3", When::Equals(b"")).await);
    assert!(!put("4", When::Equals(b"")).await && put("4", When::Equals(b"3")).await);
    assert_eq!(ok(store.get(key)).await, Some(text("4")));
    assert_eq!(ok(store.take(key)).await, Some(text("4")));
    assert_eq!(ok(store.take(key)).await, None);
    assert!(put("5", When::Absent).await, "what was taken is gone");
    assert!(ok(store.put(Put::instead_of(b"5", key, text("6"), SECOND))).await);
    test.pass(2 * SECOND).await;
    assert_eq!(ok(store.take(key)).await, None, "what has ended cannot be taken");
    assert!(put("7", When::Absent).await, "what has ended is not there");
}

pub(super) async fn one_of_several_does(test: &dyn StoreUnderTest) {
    for round in 0..16_u8 {
        let name = [round];
        let marks = (0..16).map(|_| {
            let store = test.store();
            boxed(async move { ok(store.put(Put::mark(VALUES.key(&name), LONG))).await })
        });
        assert_eq!(test.race(marks.collect()).await, 1, "one puts");
        let takes = (0..16).map(|_| {
            let store = test.store();
            boxed(async move { ok(store.take(VALUES.key(&name))).await.is_some() })
        });
        assert_eq!(test.race(takes.collect()).await, 1, "one takes");
    }
}

pub(super) async fn replaced_in_turns(test: &dyn StoreUnderTest) {
    let key = VALUES.key(b"a");
    ok(test.store().put(Put::new(key, text("0"), LONG))).await;
    let work = (0..8).map(|_| {
        let store = test.store();
        boxed(async move { increment(&store, VALUES.key(b"a")).await })
    });
    assert_eq!(test.race(work.collect()).await, 8);
    assert_eq!(ok(test.store().get(key)).await, Some(text("8")), "no replacement was lost");
}

async fn increment(store: &Arc<dyn Store>, key: Key<'_>) -> bool {
    loop {
        let there = ok(store.get(key)).await.expect("it is there");
        let number: u64 = std::str::from_utf8(&there).ok().and_then(|text| text.parse().ok()).expect("a number");
        if ok(store.put(Put::instead_of(&there, key, (number + 1).to_string().into(), LONG))).await {
            return true;
        }
    }
}

pub(super) async fn spaces_and_parts_are_apart(test: &dyn StoreUnderTest) {
    let store = test.store();
    let spaces = [
        Space::replay("a"),
        Space::replay("b"),
        Space::revocation("a"),
        Space::cache("a"),
        Space::of_policy("a", "p"),
        Space::of_policy("a", "q"),
        VALUES.clone(),
    ];
    let names: [&[u8]; 5] = [b"", b"x", b"x:1", b"}", b"\xff"];
    let keys = spaces.iter().flat_map(|space| names.map(|name| [space.key(name), space.key(name).part(1)]));
    let keys: Vec<_> = keys.flatten().collect();
    for (at, key) in keys.iter().enumerate() {
        assert!(ok(store.put(Put::if_absent(*key, at.to_string().into(), LONG))).await, "{key:?} is another's");
    }
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(ok(store.get(*key)).await, Some(at.to_string().into()), "{key:?}");
    }
    let key = keys[0];
    assert!(ok(store.insert(key, b"member", LONG)).await);
    assert_eq!(ok(store.get(key)).await, Some(text("0")), "a set is beside the value");
    assert!(ok(store.remove(key)).await);
    assert_eq!(ok(store.members(key)).await, [text("member")]);
}

fn boxed(work: impl Future<Output = bool> + Send + 'static) -> crate::BoxFuture<'static, bool> {
    Box::pin(work)
}
