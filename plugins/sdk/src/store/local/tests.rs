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
fn numbers_are_added_in_one_step() {
    let store = LocalStore::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).for_each(|_| _ = now(store.add("count:a", 1, LONG)).unwrap()));
        }
    });
    assert_eq!(now(store.add("count:a", 0, LONG)).unwrap(), 4000);
}

#[test]
fn it_is_bounded_by_kind_and_a_full_kind_refuses() {
    let store = LocalStore::new(64);
    let added = (0..10_000).filter(|number| now(store.put_new(&format!("nonce:{number}"), Bytes::new(), LONG)).is_ok());
    assert!(added.count() <= 64);
    assert!(now(store.put("revoked:a", Bytes::new(), LONG)).is_ok(), "another kind has room of its own");
    assert!(now(store.put("nonce:0", Bytes::new(), LONG)).is_ok(), "what is there can be changed");
}

#[test]
fn an_entry_with_a_value_takes_the_room_of_several_without() {
    // 64 marks in each of 64 parts; about as many values as fit into a quarter of that.
    let store = LocalStore::new(64 * 64);
    let fit = |kind: &str, value: &'static [u8]| {
        let put = |number| now(store.put(&format!("{kind}:{number}"), Bytes::from_static(value), LONG));
        (0..20_000).filter(|number| put(*number).is_ok()).count()
    };
    let (marks, values) = (fit("marks", b""), fit("values", b"some"));
    assert_eq!((marks, values), (64 * 64, 64 * 16));
    let numbers = (0..20_000).filter(|number| now(store.add(&format!("numbers:{number}"), 1, LONG)).is_ok());
    assert_eq!(numbers.count(), 64 * 16);
}

#[test]
fn a_mark_takes_no_more_than_50_bytes() {
    let mut store = None;
    let used = allocation_counter::measure(|| {
        let made = LocalStore::default();
        for number in 0..200_000 {
            assert!(now(made.put_new(&format!("nonce:{number:043}"), Bytes::new(), LONG)).unwrap());
        }
        store = Some(made);
    });
    assert!(used.bytes_current < 50 * 200_000, "{} bytes for 200,000", used.bytes_current);
    let first = now(store.expect("it was made").get("nonce:0000000000000000000000000000000000000000000")).unwrap();
    assert_eq!(first, Some(Bytes::new()));
}

#[test]
fn what_takes_the_place_of_a_mark_and_of_a_value_is_there_and_nothing_else() {
    let store = LocalStore::default();
    for value in ["", "1", "2", "", "3"] {
        now(store.put("a:b", Bytes::from(value), LONG)).unwrap();
        assert_eq!(now(store.get("a:b")).unwrap(), Some(Bytes::from(value)));
        assert!(!now(store.put_new("a:b", Bytes::from("9"), LONG)).unwrap());
    }
    assert_eq!(now(store.add("a:b", 7, LONG)).unwrap(), 7, "what is no number counts as none");
    assert_eq!(now(store.get("a:b")).unwrap(), Some(Bytes::from("7")));
    assert_eq!(now(store.get("c:b")).unwrap(), None, "the kind is part of the name");
    now(store.remove("a:b")).unwrap();
    assert_eq!(now(store.get("a:b")).unwrap(), None);
}

#[test]
fn nothing_ends_early_and_what_has_ended_gives_its_memory_back() {
    let store = LocalStore::default();
    for keep in [1, 999, 1_000, 1_001, 86_400_000].map(Duration::from_millis) {
        let before = store.began.elapsed();
        let end = Duration::from_secs(store.end(keep).unwrap().into());
        assert!(end > before + keep && end <= store.began.elapsed() + keep + Duration::from_secs(1), "{keep:?}");
    }
    assert!(store.end(Duration::MAX).is_err() && store.end(Duration::from_secs(1 << 32)).is_err());

    let (mut kind, max_marks) = (Kind::default(), 1 << 20);
    let name = |number: u32| [number.to_ne_bytes(); 4].concat().try_into().unwrap();
    for number in 0..20_000_u32 {
        let value = Value::Bytes(Bytes::from("x".repeat(number as usize % 2)));
        let ends = if number < 100 { 11 } else { 10 };
        assert!(kind.put(name(number), value, ends, max_marks, 0).is_ok());
    }
    assert!((0..20_000).all(|number| kind.get(&name(number), 9).is_some()));
    assert!((0..20_000).all(|number| kind.get(&name(number), 10).is_some() == (number < 100)));
    kind.sweep(9);
    assert_eq!(kind.len(), 20_000);
    kind.sweep(10);
    assert_eq!((kind.len(), kind.first_end), (100, 11));
    assert!(kind.marks.capacity() < 1_000 && kind.values.capacity() < 1_000, "the memory of a flood comes back");
}

#[test]
fn room_comes_back_when_entries_end() {
    let store = LocalStore::new(64);
    for number in 0..100_000 {
        now(store.put_new(&format!("nonce:{number}"), Bytes::new(), Duration::ZERO))
            .expect("what has ended makes room");
    }
}
