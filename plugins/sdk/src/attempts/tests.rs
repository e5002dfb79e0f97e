use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    time::Instant,
};

use super::*;
use crate::{
    LocalStore, Span,
    testing::{Build, now},
};

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));

fn limits(text: &str) -> AttemptLimits {
    serde_json::from_str(text).unwrap()
}

fn attempts(text: &str) -> Attempts {
    Attempts::new(limits(text), &mut BuildCx::new(&mut Build::new())).ok().unwrap()
}

/// Waits in this thread; the store answers at once.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

impl Attempts {
    /// How long an attempt would have to wait.
    fn asked(&self, address: IpAddr, principal: &str) -> Option<Duration> {
        run(self.check(address, principal.as_bytes()).get()).unwrap().err()
    }

    fn may(&self, address: IpAddr, principal: &str) -> bool {
        self.asked(address, principal).is_none()
    }

    fn fails(&self, address: IpAddr, principal: &str, proof: &str) {
        run(self.failed(address, principal.as_bytes(), proof.as_bytes()).get());
    }

    fn succeeds(&self, address: IpAddr, principal: &str) {
        run(self.succeeded(address, principal.as_bytes()).get());
    }

    /// `None`: it has to wait.
    fn begins(&self, address: IpAddr, principal: &str) -> Option<Begun<'_>> {
        run(self.begin(address, principal.as_bytes()).get()).unwrap().ok()
    }
}

#[test]
fn limits_are_a_table_or_a_switch() {
    let AttemptLimits::On(default) = AttemptLimits::default() else { panic!("on unless said") };
    assert_eq!((default.per_principal.get(), default.per_address.get()), (5, 100));
    assert_eq!(default.window, Span(Duration::from_secs(900)));
    assert_eq!(default.on_store_failure, OnStoreFailure::Allow);
    assert_eq!(limits("true"), AttemptLimits::default());
    assert_eq!(limits("{}"), AttemptLimits::default());
    assert_eq!(limits("false"), AttemptLimits::Off);
    let some = limits(r#"{"per_principal": 3, "window": "1h", "on_store_failure": "refuse"}"#);
    let AttemptLimits::On(some) = some else { panic!("a table is on") };
    assert_eq!((some.per_principal.get(), some.per_address.get(), some.window.0.as_secs()), (3, 100, 3600));
    for (text, words) in [
        (r#"{"per_principle": 3}"#, "unknown field `per_principle`"),
        (r#"{"per_principal": 0}"#, "nonzero"),
        (r#"{"window": 900}"#, "a length of time"),
        (r#"{"on_store_failure": "open"}"#, "unknown variant"),
        ("5", "or false"),
    ] {
        let error = serde_json::from_str::<AttemptLimits>(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    for window in ["0s", "999ms", "2d"] {
        let limits = limits(&format!(r#"{{"window": "{window}"}}"#));
        let error = Attempts::new(limits, &mut BuildCx::new(&mut Build::new())).err().unwrap();
        assert_eq!(error.problems[0].0, "attempts.window");
    }
}

#[test]
fn pitfall_34_after_so_many_failures_the_pair_waits_and_nobody_else_does() {
    let attempts = attempts("true");
    for n in 0..5 {
        assert!(attempts.may(HOME, "ada"), "{n}");
        attempts.fails(HOME, "ada", &n.to_string());
    }
    let wait = attempts.asked(HOME, "ada").expect("a wait");
    assert!(wait > Duration::from_secs(10) && wait <= Duration::from_secs(900) / 64, "{wait:?}");
    assert!(attempts.may(AWAY, "ada"), "the real user, somewhere else");
    assert!(attempts.may(HOME, "grace"), "a colleague");
}

#[test]
fn pitfall_34_a_success_resets_the_pair() {
    let attempts = attempts("true");
    for round in 0..10 {
        (0..4).for_each(|_| attempts.fails(HOME, "ada", "typo"));
        assert!(attempts.may(HOME, "ada"), "{round}");
        attempts.succeeds(HOME, "ada");
    }
    (0..5).for_each(|_| attempts.fails(HOME, "ada", "typo"));
    assert!(!attempts.may(HOME, "ada"));
}

#[test]
fn waits_double_up_to_the_window_and_then_one_attempt_at_a_time() {
    let window = Duration::from_secs(64);
    let mut back_off = BackOff::first(window);
    let mut waits = vec![back_off.wait(window).as_secs()];
    for _ in 0..8 {
        back_off = back_off.next(window);
        waits.push(back_off.wait(window).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
    assert_eq!(BackOff::from_bytes(&back_off.to_bytes()), Some(back_off));
    for bytes in [&b""[..], b"3", b"12345678", b"\x0712345678", b"\x01123456789"] {
        assert_eq!(BackOff::from_bytes(bytes), None, "{bytes:?}");
    }

    // The first wait is two seconds, in which a busy machine gets through the next lines.
    let attempts = attempts(r#"{"per_principal": 1, "window": "128s"}"#);
    attempts.fails(HOME, "ada", "1");
    let first = attempts.asked(HOME, "ada").expect("a wait");
    assert!(first <= Duration::from_secs(2), "{first:?}");
    (0..20).for_each(|n| attempts.fails(HOME, "ada", &n.to_string()));
    let wait = attempts.asked(HOME, "ada");
    assert!(wait.is_none_or(|wait| wait <= first), "failures that come together make no wait longer: {wait:?}");
    wait_for(|| attempts.may(HOME, "ada"));
    let one = attempts.begins(HOME, "ada").expect("the wait is over");
    assert!(attempts.begins(HOME, "ada").is_none(), "one attempt at a time");
    run(one.failed(b"2"));
    let second = attempts.asked(HOME, "ada").expect("a wait");
    assert!(second > first && second <= Duration::from_secs(4), "{second:?}");
}

/// Until something is so, which it is within the test's windows.
fn wait_for(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "waited in vain");
        std::thread::yield_now();
    }
}

#[test]
fn the_clock_of_another_gateway_makes_nobody_wait_longer_than_a_window() {
    let ahead = BackOff::from_bytes(&[0, 255, 255, 255, 255, 255, 255, 255, 255]).unwrap();
    assert_eq!(ahead.left(Duration::from_secs(60)), Some(Duration::from_secs(60)));
    assert_eq!(BackOff::from_bytes(&[0; 9]).unwrap().left(Duration::from_secs(60)), None);
}

#[test]
fn pitfall_34_distinct_failures_close_an_address_and_the_same_one_again_does_not() {
    let attempts = attempts(r#"{"per_principal": 1000, "per_address": 10}"#);
    (0..50).for_each(|_| attempts.fails(HOME, "ada", "an old password"));
    assert!(attempts.may(HOME, "grace"), "a client with an old configuration is one failure");
    (0..8).for_each(|n| attempts.fails(HOME, &format!("user-{n}"), "123456"));
    assert!(attempts.may(HOME, "grace"));
    attempts.fails(HOME, "user-9", "123456");
    let wait = attempts.asked(HOME, "grace").expect("a wait");
    assert!(wait > Duration::from_secs(890) && wait <= Duration::from_secs(900), "{wait:?}");
    assert!(attempts.may(AWAY, "grace"));
}

#[test]
fn pitfall_34_a_closed_address_does_not_lock_out_whoever_succeeded_from_it() {
    let attempts = attempts(r#"{"per_principal": 3, "per_address": 10}"#);
    attempts.succeeds(HOME, "grace");
    attempts.succeeds(AWAY, "alan");
    (0..10).for_each(|n| attempts.fails(HOME, &format!("user-{n}"), "123456"));
    assert!(!attempts.may(HOME, "ada"), "never seen");
    assert!(!attempts.may(HOME, "alan"), "seen elsewhere");
    assert!(attempts.may(HOME, "grace"));
    for n in 0..3 {
        assert!(attempts.may(HOME, "grace"), "{n}");
        attempts.fails(HOME, "grace", &n.to_string());
        attempts.succeeds(HOME, "grace");
    }
    assert!(!attempts.may(HOME, "grace"), "nor may anybody guess behind the back of one who is well known");
}

#[test]
fn an_ipv6_client_is_its_network_and_a_mapped_address_is_plain() {
    let attempts = attempts(r#"{"per_principal": 2}"#);
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    attempts.fails(address("2001:db8:0:1::1"), "ada", "1");
    attempts.fails(address("2001:db8:0:1:ffff::2"), "ada", "2");
    assert!(!attempts.may(address("2001:db8:0:1:a:b:c:d"), "ada"));
    assert!(attempts.may(address("2001:db8:0:2::1"), "ada"));
    attempts.fails(HOME, "ada", "1");
    attempts.fails(address("::ffff:203.0.113.7"), "ada", "2");
    assert!(!attempts.may(HOME, "ada"));
}

#[test]
fn a_limit_that_is_off_counts_nothing() {
    let mut build = Build::new();
    let off = Attempts::new(AttemptLimits::Off, &mut BuildCx::new(&mut build)).ok().unwrap();
    for n in 0..1_000 {
        off.fails(HOME, "ada", &n.to_string());
    }
    assert!(off.may(HOME, "ada") && off.begins(HOME, "ada").is_some());
    assert!(build.counters.is_empty());
}

#[test]
fn what_the_store_gets_to_see_names_nobody() {
    let store = Arc::new(Recording::default());
    let attempts = recorded(&store, "true");
    (0..6).for_each(|_| attempts.fails(HOME, "ada.lovelace", "hunter2-hunter2"));
    attempts.succeeds(HOME, "ada.lovelace");
    let (log, hex) = (store.log.lock().clone(), |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(log.len() > 20);
    for key in log {
        let (kind, name) = key.split_once(':').unwrap();
        assert!(matches!(kind, "attempts" | "attempts-proven"), "{key}");
        assert!(name.len() >= 32 && hex(&name[name.len() - 32..]), "{key}");
    }
    let other = recorded(&store, "true");
    let name = |attempts: &Attempts| attempts.0.as_ref().unwrap().names.block(HOME).mark().to_owned();
    assert_ne!(name(&attempts), name(&other), "each process has a key of its own");
}

#[test]
fn a_clean_request_costs_one_look_up_and_no_allocation() {
    let store = Arc::new(Recording::default());
    let attempts = recorded(&store, "true");
    attempts.succeeds(HOME, "ada");
    store.log.lock().clear();
    store.log.lock().reserve(16);
    assert_eq!(now(attempts.check(HOME, b"ada")).unwrap(), Ok(()));
    now(attempts.succeeded(HOME, b"ada"));
    assert_eq!(store.log.lock().len(), 1, "{:?}", store.log.lock());

    let attempts = self::attempts("true");
    attempts.succeeds(HOME, "ada");
    let allocations = allocation_counter::measure(|| {
        assert!(matches!(now(attempts.check(HOME, b"ada")), Ok(Ok(()))));
        now(attempts.succeeded(HOME, b"ada"));
    });
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn pitfall_47_a_burst_gets_no_more_than_its_share() {
    let attempts = attempts("true");
    let (judged, open) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for n in 0..64 {
            let (attempts, judged, open) = (&attempts, &judged, &open);
            scope.spawn(move || {
                let begun = attempts.begins(HOME, "ada");
                if begun.is_some() {
                    judged.fetch_add(1, SeqCst);
                }
                // All are under way at once: nobody has failed before everybody has asked.
                wait_for(|| open.load(SeqCst));
                if let Some(begun) = begun {
                    run(begun.failed(format!("guess {n}").as_bytes()));
                }
            });
        }
        wait_for(|| judged.load(SeqCst) == 5);
        open.store(true, SeqCst);
    });
    assert_eq!(judged.load(SeqCst), 5);
    assert!(!attempts.may(HOME, "ada"));
}

#[test]
fn pitfall_47_a_burst_that_fails_as_it_goes_gets_no_more_either() {
    for _ in 0..20 {
        let attempts = attempts("true");
        let judged = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (attempts, judged) = (&attempts, &judged);
                scope.spawn(move || {
                    for n in 0..20 {
                        if let Some(begun) = attempts.begins(HOME, "ada") {
                            judged.fetch_add(1, SeqCst);
                            run(begun.failed(format!("guess {thread} {n}").as_bytes()));
                        }
                    }
                });
            }
        });
        // Fewer where those that are refused stand in each other's way; with this window no wait is over yet.
        assert!((1..=5).contains(&judged.load(SeqCst)), "{judged:?}");
    }
}

#[test]
fn pitfall_47_an_answer_that_is_known_waits_while_guesses_are_under_way() {
    let attempts = attempts("true");
    let guesses: Vec<_> = (0..5).map(|_| attempts.begins(HOME, "ada").unwrap()).collect();
    assert_eq!(attempts.asked(HOME, "ada"), Some(Attempts::UNDER_WAY_WAIT));
    assert!(attempts.may(AWAY, "ada") && attempts.may(HOME, "grace"));
    drop(guesses);
    assert!(attempts.may(HOME, "ada"), "what was given up counts neither way");
    assert!(attempts.0.as_ref().unwrap().in_flight.is_empty());
}

#[test]
fn pitfall_47_one_address_has_so_many_attempts_under_way() {
    let attempts = attempts(r#"{"per_address": 10}"#);
    attempts.succeeds(HOME, "grace");
    attempts.fails(HOME, "user-0", "123456");
    let spray: Vec<_> = (1..20).filter_map(|n| attempts.begins(HOME, &format!("user-{n}"))).collect();
    assert_eq!(spray.len(), 9, "one is on record");
    assert!(attempts.begins(HOME, "grace").is_some(), "who is known does not stand behind them");
    assert!(attempts.begins(AWAY, "user-1").is_some());
}

#[test]
fn where_bodies_are_waited_for_places_bound_strangers_and_nobody_else() {
    let attempts = attempts(r#"{"per_principal": 3, "per_address": 10}"#).for_bodies();
    attempts.succeeds(HOME, "grace");
    let strangers: Vec<_> = (0..3).map(|_| attempts.begins(HOME, "ada").expect("a place")).collect();
    assert!(attempts.begins(HOME, "ada").is_none(), "so many are under way");
    assert!(attempts.may(HOME, "ada"), "what needs no place is not kept waiting by those that have one");
    let known: Vec<_> = (0..50).map(|_| attempts.begins(HOME, "grace").expect("a place")).collect();
    attempts.fails(HOME, "grace", "1");
    assert!(attempts.begins(HOME, "grace").is_some(), "a body that broke off makes nobody wait");
    (2..4).for_each(|n| attempts.fails(HOME, "grace", &n.to_string()));
    assert!(attempts.begins(HOME, "grace").is_none(), "three of them do");
    drop((strangers, known));
    assert!(attempts.begins(HOME, "ada").is_some());
}

#[test]
fn pitfall_50_a_store_that_fails_is_no_limit_unless_the_policy_says_so() {
    let store = Arc::new(Recording::default());
    store.is_broken.store(true, SeqCst);
    let lenient = recorded(&store, "true");
    assert!(lenient.may(HOME, "ada") && lenient.begins(HOME, "ada").is_some());
    lenient.fails(HOME, "ada", "1");
    lenient.succeeds(HOME, "ada");
    assert!(lenient.0.as_ref().unwrap().store_failures.value() >= 4);
    let strict = recorded(&store, r#"{"on_store_failure": "refuse"}"#);
    assert!(run(strict.check(HOME, b"ada").get()).is_err());
    assert!(run(strict.begin(HOME, b"ada").get()).is_err());
    assert!(strict.0.as_ref().unwrap().in_flight.is_empty());
}

#[test]
fn pitfall_51_memory_is_the_stores_and_what_is_known_of_good_clients_has_room_of_its_own() {
    let store = Arc::new(Recording { inner: LocalStore::new(640), ..Recording::default() });
    let attempts = recorded(&store, "true");
    for n in 0..5_000_u32 {
        attempts.fails(IpAddr::V4(Ipv4Addr::from_bits(n)), "ada", "1");
    }
    assert!(attempts.0.as_ref().unwrap().store_failures.value() > 0, "the store is full");
    attempts.succeeds(HOME, "grace");
    let counted = attempts.0.as_ref().unwrap();
    assert!(counted.noted.has(HOME, b"grace"), "and has room for this");
}

#[test]
fn a_store_that_does_not_answer_at_once_is_waited_for() {
    let store = Arc::new(Recording { is_slow: true, ..Recording::default() });
    let attempts = recorded(&store, "true");
    assert!(matches!(attempts.check(HOME, b"ada"), Answer::Later(_)));
    assert!(attempts.may(HOME, "ada"));
    (0..5).for_each(|n| attempts.fails(HOME, "ada", &n.to_string()));
    assert!(!attempts.may(HOME, "ada"));
}

/// A store that notes what it is asked, fails, or takes its time.
#[derive(Default)]
struct Recording {
    inner: LocalStore,
    log: parking_lot::Mutex<Vec<String>>,
    is_broken: AtomicBool,
    is_slow: bool,
}

impl Recording {
    fn ask<'a, T: Send + 'a>(
        &'a self,
        key: &'a str,
        answer: impl FnOnce() -> Answer<'a, Result<T, StoreError>> + Send + 'a,
    ) -> Answer<'a, Result<T, StoreError>> {
        if self.is_slow {
            return Answer::later(async move {
                tokio::task::yield_now().await;
                answer().get().await
            });
        }
        self.log.lock().push(key.to_owned());
        if self.is_broken.load(SeqCst) { Answer::Now(Err(StoreError("gone".to_owned()))) } else { answer() }
    }
}

impl Store for Recording {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Result<Option<Bytes>, StoreError>> {
        self.ask(key, || self.inner.get(key))
    }
    fn put<'a>(&'a self, key: &'a str, value: Bytes, keep: Duration) -> Answer<'a, Result<(), StoreError>> {
        self.ask(key, move || self.inner.put(key, value, keep))
    }
    fn put_new<'a>(&'a self, key: &'a str, value: Bytes, keep: Duration) -> Answer<'a, Result<bool, StoreError>> {
        self.ask(key, move || self.inner.put_new(key, value, keep))
    }
    fn add<'a>(&'a self, key: &'a str, by: u64, keep: Duration) -> Answer<'a, Result<u64, StoreError>> {
        self.ask(key, move || self.inner.add(key, by, keep))
    }
    fn remove<'a>(&'a self, key: &'a str) -> Answer<'a, Result<(), StoreError>> {
        self.ask(key, || self.inner.remove(key))
    }
}

/// Over a store of the test's own.
fn recorded(store: &Arc<Recording>, text: &str) -> Attempts {
    let mut attempts = attempts(text);
    attempts.0.as_mut().unwrap().store = store.clone();
    attempts
}
