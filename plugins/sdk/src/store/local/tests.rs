use super::*;
use crate::{
    store::{ChargeMode, Counters, Rule},
    testing::now,
};

const LONG: Duration = Duration::from_secs(3600);

static MARKS: Space = Space::replay("mark");
static VALUES: Space = Space::shared("value");

#[test]
fn it_is_bounded_by_space_and_a_full_space_refuses() {
    let store = LocalStore::new(64);
    let put = |number: u32| now(store.put(Put::mark(MARKS.key(&number.to_be_bytes()), LONG)));
    let added = (0..10_000).filter(|number| put(*number).is_ok());
    assert!(added.count() <= 64);
    assert!(now(store.put(Put::mark(VALUES.key(b"a"), LONG))).is_ok(), "another space has room of its own");
    assert_eq!(now(store.put(Put::new(MARKS.key(&[0; 4]), Bytes::new(), LONG))), Ok(true), "it can be changed");
    let error = put(20_000).or(put(20_001)).or(put(20_002)).expect_err("there is no room");
    assert_eq!(error.to_string(), "store: no room for another `mark`");
}

/// The number of entries that fit.
fn fit(put: impl Fn(&[u8]) -> Result<(), StoreError>) -> usize {
    (0..20_000_u32).filter(|number| put(&number.to_be_bytes()).is_ok()).count()
}

#[test]
fn an_entry_takes_room_by_its_size() {
    // 64 marks in each of 64 parts; about as many values as fit into a quarter of that.
    let store = LocalStore::new(64 * 64);
    let values = |kind, bytes| {
        let (store, space) = (&store, Space::shared(kind));
        fit(move |name| now(store.put(Put::new(space.key(name), Bytes::from(vec![0; bytes]), LONG))).map(|_| ()))
    };
    assert_eq!(values("marks", 0), 64 * 64);
    assert_eq!(values("short", 4), 64 * 16);
    assert_eq!(values("long", 32 * 12), 64 * 4);
    let counters = Counters::of_policy("numbers", "test");
    assert_eq!(fit(|name| now(store.add(counters.counter(name), 1, LONG)).map(|_| ())), 64 * 32);
    let narrow = Counters::of_policy("numbers", "narrow").holding(64 * 2);
    assert_eq!(fit(|name| now(store.add(narrow.counter(name), 1, LONG)).map(|_| ())), 64 * 2);
    let sets = Space::shared("sets");
    assert!(fit(|name| now(store.insert(sets.key(b"one"), name, LONG)).map(|_| ())) <= 16, "in one part");
}

#[test]
fn a_mark_takes_no_more_than_50_bytes() {
    let mut store = None;
    let used = allocation_counter::measure(|| {
        let made = LocalStore::default();
        for number in 0..200_000 {
            assert!(now(made.put(Put::mark(MARKS.key(format!("{number:043}").as_bytes()), LONG))).unwrap());
        }
        store = Some(made);
    });
    assert!(used.bytes_current < 50 * 200_000, "{} bytes for 200,000", used.bytes_current);
    let first = now(store.expect("it was made").get(MARKS.key(&[b'0'; 43]))).unwrap();
    assert_eq!(first, Some(Bytes::new()));
}

#[test]
fn a_counter_takes_no_more_than_100_bytes() {
    let counters = Counters::of_policy("requests", "test");
    let rule = Rule::gcra(10, LONG, 10).unwrap();
    let mut kept = None;
    let used = allocation_counter::measure(|| {
        let store = LocalStore::default();
        for number in 0..200_000_u32 {
            let name = number.to_be_bytes();
            let charge = Charge { counter: counters.counter(&name), rule, cost: 1 };
            assert!(now(store.charge(&[charge], ChargeMode::AllOrNothing)).unwrap().is_granted);
        }
        kept = Some(store);
    });
    assert!(used.bytes_current < 100 * 200_000, "{} bytes for 200,000", used.bytes_current);
}

#[test]
fn questions_that_are_asked_on_every_request_allocate_nothing() {
    let (store, counters) = (LocalStore::default(), Counters::of_policy("requests", "test"));
    let rules = [
        Rule::gcra(1_000, LONG, 1_000).unwrap(),
        Rule::sliding_window(1_000, LONG).unwrap(),
        Rule::fixed_window(1_000, LONG).unwrap(),
    ];
    let ask = || {
        let names: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
        assert_eq!(now(store.get_many(&names.map(|name| VALUES.key(name)))).unwrap().len(), 4);
        let charges = rules.map(|rule| Charge { counter: counters.counter(b"a"), rule, cost: 1 });
        assert!(now(store.charge(&charges, ChargeMode::AllOrNothing)).unwrap().is_granted);
        let lease = LeaseRequest { key: VALUES.key(b"a"), holder: b"me", at_most: 1, keep: LONG };
        assert!(matches!(now(store.lease(lease)), Ok(Leased::Granted { .. })));
    };
    ask();
    assert_eq!(allocation_counter::measure(ask).count_total, 0);
}

#[test]
fn room_comes_back_when_entries_end() {
    let clock = SimulatedClock::default();
    let store = LocalStore::simulated(64, &clock);
    let counters = Counters::of_policy("requests", "test");
    for number in 0..100_000_u32 {
        let name = number.to_be_bytes();
        now(store.put(Put::mark(MARKS.key(&name), Duration::ZERO))).expect("nothing is kept");
        if number % 64 == 0 {
            clock.advance(Duration::from_secs(2));
        }
        now(store.put(Put::new(VALUES.key(&name[2..]), Bytes::from_static(b"x"), Duration::from_millis(1)))).ok();
        now(store.add(counters.counter(&name), 1, Duration::from_millis(1))).ok();
    }
    clock.advance(Duration::from_secs(2));
    for number in 0..64_u32 {
        let name = number.to_be_bytes();
        now(store.add(counters.counter(&name), 1, Duration::from_millis(1))).expect("what has ended makes room");
        clock.advance(Duration::from_secs(2));
        now(store.put(Put::mark(MARKS.key(&name), Duration::from_millis(1)))).expect("what has ended makes room");
    }
}

#[test]
fn the_memory_of_a_policy_that_is_no_more_comes_back() {
    let clock = SimulatedClock::default();
    let store = LocalStore::simulated(1 << 20, &clock);
    let fill = |policy: &str, entries: u32| {
        let counters = Counters::of_policy("requests", policy);
        for number in 0..entries {
            now(store.add(counters.counter(&number.to_be_bytes()), 1, Duration::from_secs(60))).unwrap();
        }
    };
    fill("old", 100_000);
    clock.advance(Duration::from_secs(62));
    let freed = allocation_counter::measure(|| fill("new", 1_000));
    assert!(freed.bytes_current < -4_000_000, "{}", freed.bytes_current);
}

#[test]
fn a_fence_grows_over_a_restart() {
    let fence = || {
        let request = LeaseRequest { key: VALUES.key(b"a"), holder: b"me", at_most: 1, keep: LONG };
        match now(LocalStore::default().lease(request)) {
            Ok(Leased::Granted { fence }) => fence,
            other => panic!("{other:?}"),
        }
    };
    let first = fence();
    let until = SystemTime::now() + Duration::from_millis(2);
    while SystemTime::now() < until {
        std::thread::yield_now();
    }
    assert!(fence() > first, "the next store begins beyond what this one gave out");
}

#[test]
fn a_value_that_grows_needs_room_and_stays_as_it_was_without() {
    let store = LocalStore::new(64 * 64);
    let names: Vec<_> = (0..10_000_u32).map(u32::to_be_bytes).collect();
    let put = |name: &[u8], bytes: usize| now(store.put(Put::new(VALUES.key(name), Bytes::from(vec![1; bytes]), LONG)));
    let held: Vec<_> = names.iter().filter(|name| put(&name[..], 1).is_ok()).collect();
    let grown = held.iter().filter(|name| put(&name[..], 64 << 10).is_ok()).count();
    assert!(grown <= 64, "at most the last one of each part: {grown} of {}", held.len());
    let small = held.iter().filter(|name| now(store.get(VALUES.key(&name[..]))).unwrap().unwrap().len() == 1).count();
    assert_eq!(small + grown, held.len(), "what found no room has left what was there");
    assert!(held.iter().all(|name| put(&name[..], 1).is_ok()), "smaller ones always fit");
}

#[test]
fn a_cache_forgets_as_much_as_it_has_to() {
    static CACHED: Space = Space::cache("answers");
    let store = LocalStore::new(64 * 64);
    for number in 0..20_000_u32 {
        let bytes = if number % 64 == 0 { 4 << 10 } else { 1 };
        let name = number.to_be_bytes();
        let put = Put::new(CACHED.key(&name), Bytes::from(vec![1; bytes]), LONG);
        assert!(now(store.put(put)).is_ok(), "{number}");
    }
}
