use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    time::Instant,
};

use super::*;
use crate::{
    Span,
    testing::{Build, now},
};

mod floods;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));

fn limits(text: &str) -> AttemptLimits {
    serde_json::from_str(text).unwrap()
}

/// The attempts of one policy, at a time that the test sets.
struct Scene {
    attempts: Attempts,
    ms: Arc<AtomicU64>,
}

fn scene(text: &str) -> Scene {
    scene_with(text, false)
}

fn scene_with(text: &str, are_bodies: bool) -> Scene {
    let AttemptLimits::On(limits) = limits(text) else { panic!("limits") };
    let ms = Arc::new(AtomicU64::new(0));
    let clock = ms.clone();
    let counts = Arc::new(Counts::new(Box::new(move || Duration::from_millis(clock.load(SeqCst)))));
    let (distinct, repeated) = Default::default();
    let counted = Counted { limits, counts, distinct, repeated, are_bodies };
    Scene { attempts: Attempts(Some(Arc::new(counted))), ms }
}

impl Scene {
    /// The time that an attempt would have to wait.
    fn asked(&self, address: IpAddr, principal: &str) -> Option<Duration> {
        now(self.attempts.check(address, Some(principal.as_bytes()))).err()
    }

    fn may(&self, address: IpAddr, principal: &str) -> bool {
        self.asked(address, principal).is_none()
    }

    fn fails(&self, address: IpAddr, principal: &str, proof: &str) {
        self.attempts.failed(address, Some(principal.as_bytes()), proof.as_bytes()).count();
    }

    fn succeeds(&self, address: IpAddr, principal: &str) {
        self.attempts.succeeded(address, Some(principal.as_bytes()));
    }

    /// `None`: it has to wait.
    fn begins(&self, address: IpAddr, principal: &str, proof: &str) -> Option<Begun> {
        now(self.attempts.begin(address, Some(principal.as_bytes()), proof.as_bytes())).ok()
    }

    fn after(&self, time: Duration) {
        self.ms.fetch_add(u64::try_from(time.as_millis()).unwrap(), SeqCst);
    }

    fn counted(&self) -> &Counted {
        self.attempts.0.as_ref().unwrap()
    }
}

#[test]
fn limits_are_a_table_or_a_switch() {
    let AttemptLimits::On(default) = limits("true") else { panic!("on") };
    assert_eq!(default, AttemptTable::default());
    assert_eq!((default.per_principal.get(), default.per_address.get(), default.per_policy.get()), (5, 100, 1000));
    assert_eq!(default.window, Span(Duration::from_secs(900)));
    assert_eq!(limits("{}"), AttemptLimits::On(default));
    assert_eq!(limits("false"), AttemptLimits::Off);
    assert_eq!(AttemptLimits::default(), AttemptLimits::Off);
    let AttemptLimits::On(some) = limits(r#"{"per_principal": 3, "window": "1h"}"#) else { panic!("a table is on") };
    assert_eq!((some.per_principal.get(), some.per_address.get(), some.window.0.as_secs()), (3, 100, 3600));
    for (text, words) in [
        (r#"{"per_principle": 3}"#, "unknown field `per_principle`"),
        (r#"{"per_principal": 0}"#, "nonzero"),
        (r#"{"per_policy": 0}"#, "nonzero"),
        (r#"{"window": 900}"#, "a length of time"),
        ("5", "or false"),
    ] {
        let error = serde_json::from_str::<AttemptLimits>(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    let problems = |text: &str| {
        let error = Attempts::new(limits(text), &mut BuildCx::new(&mut Build::new())).err().unwrap();
        error.problems.into_iter().map(|(field, _)| field).collect::<Vec<_>>()
    };
    for window in ["0s", "999ms", "2d"] {
        assert_eq!(problems(&format!(r#"{{"window": "{window}"}}"#)), ["attempts.window"]);
    }
    let both = r#"{"window": "2d", "per_policy": 30001}"#;
    assert_eq!(problems(both), ["attempts.window", "attempts.per_policy"]);
}

#[test]
fn after_so_many_failures_the_pair_waits_and_nobody_else_does() {
    let scene = scene("true");
    for n in 0..5 {
        assert!(scene.may(HOME, "ada"), "{n}");
        scene.fails(HOME, "ada", &n.to_string());
    }
    assert_eq!(scene.asked(HOME, "ada"), Some(Duration::from_secs(900) / 64));
    assert!(scene.may(AWAY, "ada"), "the real user, somewhere else");
    assert!(scene.may(HOME, "grace"), "a colleague");
}

#[test]
fn a_success_resets_the_pair() {
    let scene = scene("true");
    for round in 0..10 {
        (0..4).for_each(|_| scene.fails(HOME, "ada", "typo"));
        assert!(scene.may(HOME, "ada"), "{round}");
        scene.succeeds(HOME, "ada");
    }
    (0..5).for_each(|_| scene.fails(HOME, "ada", "typo"));
    assert!(!scene.may(HOME, "ada"));
}

#[test]
fn failures_are_forgotten_a_window_after_the_first() {
    let scene = scene("true");
    (0..4).for_each(|n| scene.fails(HOME, "ada", &n.to_string()));
    scene.after(Duration::from_secs(899));
    scene.fails(HOME, "ada", "4");
    assert!(!scene.may(HOME, "ada"));
    let scene = self::scene("true");
    (0..4).for_each(|n| scene.fails(HOME, "ada", &n.to_string()));
    scene.after(Duration::from_secs(900));
    scene.fails(HOME, "ada", "4");
    assert!(scene.may(HOME, "ada"));
}

#[test]
fn waits_double_up_to_the_window_and_end_by_a_clock_that_nobody_sets() {
    let scene = scene(r#"{"per_principal": 1, "window": "64s"}"#);
    for (round, seconds) in [1, 2, 4, 8, 16, 32, 64, 64].into_iter().enumerate() {
        let guess = scene.begins(HOME, "ada", &round.to_string()).expect("the wait is over");
        if round > 0 {
            assert!(scene.begins(HOME, "ada", "beside").is_none(), "one attempt at a time");
        }
        guess.failed().count();
        (0..20).for_each(|n| scene.fails(HOME, "ada", &n.to_string()));
        assert_eq!(scene.asked(HOME, "ada"), Some(Duration::from_secs(seconds)), "what comes together counts once");
        scene.after(Duration::from_millis(seconds * 1000 - 1));
        assert_eq!(scene.asked(HOME, "ada"), Some(Duration::from_millis(1)));
        scene.after(Duration::from_millis(1));
        assert!(scene.may(HOME, "ada"));
    }
    scene.after(Duration::from_secs(64));
    assert!(scene.counted().counts.is_quiet(Duration::from_secs(30)));
    scene.fails(HOME, "ada", "later");
    assert_eq!(scene.asked(HOME, "ada"), Some(Duration::from_secs(1)), "a window later all is forgotten");
}

/// Until something is so.
fn wait_for(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "waited in vain");
        std::thread::yield_now();
    }
}

#[test]
fn distinct_failures_close_an_address_and_the_same_one_again_does_not() {
    let scene = scene(r#"{"per_principal": 1000, "per_address": 10}"#);
    (0..50).for_each(|_| scene.fails(HOME, "ada", "an old password"));
    assert!(scene.may(HOME, "grace"), "a client with an old configuration is one failure");
    (0..8).for_each(|n| scene.fails(HOME, &format!("user-{n}"), "123456"));
    assert!(scene.may(HOME, "grace"));
    scene.fails(HOME, "user-9", "123456");
    assert_eq!(scene.asked(HOME, "grace"), Some(Duration::from_secs(900)));
    assert!(scene.may(AWAY, "grace"));
    let counted = scene.counted();
    assert_eq!((counted.distinct.value(), counted.repeated.value()), (10, 49));
    scene.after(Duration::from_secs(900));
    assert!(scene.may(HOME, "grace"));
}

#[test]
fn a_closed_address_does_not_lock_out_whoever_succeeded_from_it() {
    let scene = scene(r#"{"per_principal": 3, "per_address": 10}"#);
    scene.succeeds(HOME, "grace");
    scene.succeeds(AWAY, "alan");
    (0..10).for_each(|n| scene.fails(HOME, &format!("user-{n}"), "123456"));
    assert!(!scene.may(HOME, "ada"), "never seen");
    assert!(!scene.may(HOME, "alan"), "seen elsewhere");
    assert!(scene.may(HOME, "grace"));
    for n in 0..3 {
        assert!(scene.may(HOME, "grace"), "{n}");
        scene.fails(HOME, "grace", &n.to_string());
        scene.succeeds(HOME, "grace");
    }
    assert!(!scene.may(HOME, "grace"), "nor may anybody guess behind the back of one who is well known");
}

#[test]
fn an_ipv6_client_is_its_network_and_a_mapped_address_is_plain() {
    let scene = scene(r#"{"per_principal": 2}"#);
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    scene.fails(address("2001:db8:0:1::1"), "ada", "1");
    scene.fails(address("2001:db8:0:1:ffff::2"), "ada", "2");
    assert!(!scene.may(address("2001:db8:0:1:a:b:c:d"), "ada"));
    assert!(scene.may(address("2001:db8:0:2::1"), "ada"));
    scene.fails(HOME, "ada", "1");
    scene.fails(address("::ffff:203.0.113.7"), "ada", "2");
    assert!(!scene.may(HOME, "ada"));
}

#[test]
fn where_nothing_names_a_principal_only_the_address_is_limited() {
    let Scene { attempts, .. } = scene(r#"{"per_principal": 2, "per_address": 10}"#);
    let may = |address| now(attempts.check(address, None)).is_ok();
    let guess = |n: u8| now(attempts.begin(HOME, None, &[n])).ok();
    let all: Vec<_> = (0..10).map(|n| guess(n).expect("any number of one that nobody names")).collect();
    assert!(guess(10).is_none(), "but not of one address");
    drop(all);
    assert!(!may(HOME) && may(AWAY));
    attempts.succeeded(AWAY, None);
    (0..50).for_each(|n| attempts.failed(AWAY, None, &[n]).count());
    assert!(may(AWAY), "whoever was right goes on");
    assert!(now(attempts.check(HOME, Some(b""))).is_err(), "it waits for all");
    assert!(now(attempts.check(AWAY, Some(b""))).is_err(), "an empty name is a name");
}

#[test]
fn a_limit_that_is_off_counts_nothing() {
    let mut build = Build::new();
    let off = Attempts::new(AttemptLimits::Off, &mut BuildCx::new(&mut build)).ok().unwrap();
    for n in 0..1_000_u32 {
        let failed = off.failed(HOME, Some(b"ada"), &n.to_be_bytes());
        assert!(!failed.is_limited());
        failed.count();
    }
    assert!(now(off.check(HOME, Some(b"ada"))).is_ok() && now(off.begin(HOME, Some(b"ada"), b"")).is_ok());
    assert!(build.counters.is_empty());
}

#[test]
fn a_clean_request_costs_no_allocation() {
    let scene = scene("true");
    scene.succeeds(HOME, "ada");
    let clean = |scene: &Scene| {
        allocation_counter::measure(|| {
            assert!(scene.may(HOME, "ada"));
            scene.succeeds(HOME, "ada");
        })
    };
    assert_eq!(clean(&scene).count_total, 0);
    scene.fails(AWAY, "ada", "1");
    assert_eq!(clean(&scene).count_total, 0, "also while others fail");
}

#[test]
fn a_burst_gets_no_more_than_its_share() {
    let scene = scene("true");
    let (judged, open) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for n in 0..64 {
            let (scene, judged, open) = (&scene, &judged, &open);
            scope.spawn(move || {
                let begun = scene.begins(HOME, "ada", &format!("guess {n}"));
                if begun.is_some() {
                    judged.fetch_add(1, SeqCst);
                }
                // All are under way at once: nobody has failed before everybody has asked.
                wait_for(|| open.load(SeqCst));
                begun.into_iter().for_each(|begun| begun.failed().count());
            });
        }
        wait_for(|| judged.load(SeqCst) == 5);
        open.store(true, SeqCst);
    });
    assert_eq!(judged.load(SeqCst), 5);
    assert!(!scene.may(HOME, "ada"));
}

#[test]
fn a_burst_that_fails_as_it_goes_gets_no_more_either() {
    for _ in 0..20 {
        let scene = scene("true");
        let judged = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (scene, judged) = (&scene, &judged);
                scope.spawn(move || {
                    for n in 0..20 {
                        if let Some(begun) = scene.begins(HOME, "ada", &format!("guess {thread} {n}")) {
                            judged.fetch_add(1, SeqCst);
                            begun.failed().count();
                        }
                    }
                });
            }
        });
        // Fewer where those that are refused stand in each other's way; the clock stands still.
        assert!((1..=5).contains(&judged.load(SeqCst)), "{judged:?}");
    }
}

#[test]
fn an_answer_that_is_known_waits_while_guesses_are_under_way() {
    let scene = scene("true");
    let guesses: Vec<_> = (0..5).map(|_| scene.begins(HOME, "ada", "guess").unwrap()).collect();
    assert_eq!(scene.asked(HOME, "ada"), Some(Attempts::UNDER_WAY_WAIT));
    assert!(scene.may(AWAY, "ada") && scene.may(HOME, "grace"));
    // The place is held until it is decided whether the failure counts.
    let failures: Vec<_> = guesses.into_iter().map(Begun::failed).collect();
    assert_eq!(scene.asked(HOME, "ada"), Some(Attempts::UNDER_WAY_WAIT));
    failures.into_iter().for_each(FailedAttempt::excuse);
    assert!(scene.may(HOME, "ada"));
    assert!(scene.counted().counts.in_flight.is_empty());
}

#[test]
fn an_attempt_counts_unless_it_is_excused_and_only_once() {
    let scene = scene(r#"{"per_principal": 2}"#);
    let guess = || scene.attempts.failed(HOME, Some(b"ada"), b"guess");
    for _ in 0..9 {
        guess().excuse();
        scene.begins(HOME, "ada", "guess").unwrap().excuse();
        scene.begins(HOME, "ada", "guess").unwrap().failed().excuse();
    }
    assert_eq!(scene.counted().distinct.value(), 0);
    drop(scene.begins(HOME, "ada", "given up in the middle"));
    assert!(scene.may(HOME, "ada"));
    let failed = scene.begins(HOME, "ada", "guess").unwrap().failed();
    let (copy, same, other) = (failed.clone(), guess(), scene.attempts.failed(HOME, Some(b"ada"), b"another"));
    assert!(failed == copy && failed == same && failed != other);
    [same, other].into_iter().for_each(FailedAttempt::excuse);
    drop(failed);
    assert_eq!(scene.counted().distinct.value(), 1, "there is a copy of it");
    drop(copy);
    assert_eq!(scene.counted().distinct.value(), 2);
    assert!(!scene.may(HOME, "ada"));
}

#[test]
fn one_address_has_so_many_attempts_under_way() {
    let scene = scene(r#"{"per_address": 10}"#);
    scene.succeeds(HOME, "grace");
    scene.fails(HOME, "user-0", "123456");
    let spray: Vec<_> = (1..20).filter_map(|n| scene.begins(HOME, &format!("user-{n}"), "123456")).collect();
    assert_eq!(spray.len(), 9, "one is on record");
    assert!(scene.begins(HOME, "grace", "right").is_some(), "who is known does not stand behind them");
    assert!(scene.begins(AWAY, "user-1", "123456").is_some());
}

#[test]
fn where_bodies_are_waited_for_places_bound_strangers_and_nobody_else() {
    let scene = scene_with(r#"{"per_principal": 3, "per_address": 10}"#, true);
    scene.succeeds(HOME, "grace");
    let begins = |principal| scene.begins(HOME, principal, "a signature");
    let strangers: Vec<_> = (0..3).map(|_| begins("ada").expect("a place")).collect();
    assert!(begins("ada").is_none(), "so many are under way");
    assert!(scene.may(HOME, "ada"), "what needs no place is not kept waiting by those that have one");
    let known: Vec<_> = (0..50).map(|_| begins("grace").expect("a place")).collect();
    scene.fails(HOME, "grace", "1");
    begins("grace").expect("a body that broke off makes nobody wait").excuse();
    (2..4).for_each(|n| scene.fails(HOME, "grace", &n.to_string()));
    assert!(begins("grace").is_none(), "three of them do");
    strangers.into_iter().chain(known).for_each(Begun::excuse);
    assert!(begins("ada").is_some());
}

#[test]
fn an_operator_lets_somebody_who_is_locked_out_try_again() {
    let mut env = Build::new();
    let limits = limits(r#"{"per_principal":3,"per_address":6}"#);
    let attempts = Attempts::new(limits, &mut BuildCx::new(&mut env)).unwrap();
    let fail = |address, user: &str, count| {
        let one = |n: usize| attempts.failed(address, Some(user.as_bytes()), format!("{user}{n}").as_bytes()).count();
        (0..count).for_each(one);
    };
    let may = |address, user: &str| now(attempts.check(address, Some(user.as_bytes()))).is_ok();
    let run = |name: &str, arguments: &[&str]| {
        let command = env.commands.iter().find(|command| command.name == name).unwrap();
        now(command.run(&arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>()))
    };
    let rows = || env.status[0].rows().into_map();

    fail(HOME, "alice", 3);
    fail(AWAY, "alice", 3);
    assert!(!may(HOME, "alice") && !may(AWAY, "alice") && may(HOME, "bob"));
    assert_eq!((&rows()["principals_with_failures"], &rows()["addresses_with_failures"]), (&2.into(), &2.into()));
    let done = run("forget", &["203.0.113.7", "alice"]).unwrap();
    assert_eq!(done, "failed attempts from 203.0.113.7 that are forgotten: 3 different ones in all, and 3 as `alice`");
    assert!(may(HOME, "alice") && !may(AWAY, "alice"));

    // An address that is closed, by the spelling that a log may have for it.
    (0..6).for_each(|user| fail(HOME, &format!("user{user}"), 1));
    assert!(!may(HOME, "bob"));
    assert!(run("forget", &["::ffff:203.0.113.7"]).is_ok());
    assert!(may(HOME, "bob") && !may(AWAY, "alice"));

    assert!(run("forget-all", &[]).is_ok());
    assert!(may(AWAY, "alice"));
    assert_eq!(rows()["principals_with_failures"], 0);

    for wrong in [&[][..], &["alice"], &[""], &["203.0.113.7", "a", "b"]] {
        assert!(matches!(run("forget", wrong), Err(crate::CommandError::Usage(_))), "{wrong:?}");
    }
    assert!(matches!(run("forget-all", &["x"]), Err(crate::CommandError::Usage(_))));
}
