use super::*;
use crate::testing::now;

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_nonce_is_new_once() {
    let store = LocalStore::default();
    assert!(now(store.put_new("nonce:a", Bytes::new(), LONG)).unwrap());
    assert!(!now(store.put_new("nonce:a", Bytes::new(), LONG)).unwrap());
    assert!(now(store.put_new("nonce:b", Bytes::new(), LONG)).unwrap());
    now(store.remove("nonce:a")).unwrap();
    assert!(now(store.put_new("nonce:a", Bytes::new(), LONG)).unwrap());
}

#[test]
fn what_has_ended_is_not_there() {
    let store = LocalStore::default();
    now(store.put("revoked:a", Bytes::from("1"), Duration::ZERO)).unwrap();
    assert_eq!(now(store.get("revoked:a")).unwrap(), None);
    assert!(now(store.put_new("revoked:a", Bytes::new(), LONG)).unwrap());
    assert_eq!(now(store.get("revoked:a")).unwrap(), Some(Bytes::new()));
}

#[test]
fn pitfall_47_numbers_are_added_in_one_step() {
    let store = LocalStore::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).for_each(|_| _ = now(store.add("count:a", 1, LONG)).unwrap()));
        }
    });
    assert_eq!(now(store.add("count:a", 0, LONG)).unwrap(), 4000);
}

#[test]
fn pitfall_51_it_is_bounded_by_kind_and_a_full_kind_refuses() {
    let store = LocalStore::new(64);
    let added = (0..10_000).filter(|number| now(store.put_new(&format!("nonce:{number}"), Bytes::new(), LONG)).is_ok());
    assert!(added.count() <= 64);
    assert!(now(store.put("revoked:a", Bytes::new(), LONG)).is_ok(), "another kind has room of its own");
    assert!(now(store.put("nonce:0", Bytes::new(), LONG)).is_ok(), "what is there can be changed");
}

#[test]
fn room_comes_back_when_entries_end() {
    let store = LocalStore::new(64);
    for number in 0..100_000 {
        now(store.put_new(&format!("nonce:{number}"), Bytes::new(), Duration::ZERO))
            .expect("what has ended makes room");
    }
}
