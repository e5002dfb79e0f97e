//! Tests that attackers with many addresses can neither spoil the counts nor keep others waiting.

use super::*;

const FLOOD: u32 = 500_000;

/// An address of a flood.
fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(number << 4))
}

/// Makes an attempt that fails if it may be judged; `true` if it may.
fn guess(scene: &Scene, address: IpAddr, principal: &str, proof: &str) -> bool {
    scene.begins(address, principal, proof).is_some_and(|begun| {
        begun.failed().count();
        true
    })
}

#[test]
fn a_flood_of_failures_switches_no_limit_off_here_or_elsewhere() {
    let (flooded, other) = (scene("true"), scene("true"));
    flooded.succeeds(HOME, "grace");
    let judged = (0..FLOOD).filter(|n| guess(&flooded, address(*n), &format!("user-{n}"), "123456")).count();
    assert_eq!(judged, 1000, "and the others were told to wait");
    for policy in [&flooded, &other] {
        // As well known as anybody can be who guesses at another's password.
        policy.succeeds(AWAY, "ada");
        let judged = (0..30).filter(|n| guess(policy, AWAY, "ada", &n.to_string())).count();
        assert_eq!(judged, 5);
        assert!(policy.may(HOME, "grace") || policy.counted().distinct.value() < 1000, "who is known goes on");
    }
}

#[test]
fn failures_that_nothing_held_back_are_counted_all_the_same() {
    let scene = scene("true");
    scene.succeeds(HOME, "grace");
    // More than there is room for.
    for n in 0..100_000 {
        scene.fails(address(n), &format!("user-{n}"), "123456");
    }
    (0..5).for_each(|n| scene.fails(AWAY, "ada", &n.to_string()));
    assert!(scene.asked(AWAY, "ada").is_some());
    (0..1000).for_each(|n| scene.fails(address(FLOOD + n), &format!("user-{n}"), "123456"));
    assert!(scene.asked(AWAY, "ada").is_some_and(|wait| wait > Attempts::UNDER_WAY_WAIT));
    assert!(scene.may(HOME, "grace"), "what is known of good clients is in a table of its own");
}

/// Credential stuffing: a guess for each user, each from an address of its own.
#[test]
fn above_its_rate_a_policy_lets_strangers_wait_and_nobody_who_is_known() {
    let scene = scene(r#"{"per_policy": 60, "window": "60s"}"#);
    scene.succeeds(HOME, "grace");
    assert_eq!((0..500).filter(|n| guess(&scene, address(*n), &format!("user-{n}"), "123456")).count(), 60);
    assert_eq!(scene.asked(AWAY, "alan"), Some(Duration::from_secs(1)));
    assert!(scene.may(HOME, "grace"));
    assert!(!scene.may(AWAY, "grace"), "known elsewhere");
    // Failures are forgotten one by one, so that those who wait do not come all at once.
    let hour = |scene: &Scene| {
        let second = |_| {
            scene.after(Duration::from_secs(1));
            let first = u32::try_from(scene.ms.load(SeqCst)).unwrap();
            (first..first + 9).filter(|n| guess(scene, address(*n), &format!("user-{n}"), "123456")).count()
        };
        (0..3600).map(second).sum::<usize>()
    };
    assert_eq!(hour(&scene), 3600);
    scene.after(Duration::from_secs(60));
    assert!(scene.may(AWAY, "alan"));
}

#[test]
fn attempts_under_way_count_for_the_policy_as_well() {
    let scene = scene(r#"{"per_policy": 60, "window": "60s"}"#);
    let begun: Vec<_> = (0..500).filter_map(|n| scene.begins(address(n), &format!("user-{n}"), "123456")).collect();
    assert_eq!(begun.len(), 60);
    begun.into_iter().for_each(Begun::excuse);
    assert!(scene.may(AWAY, "alan"));
}

#[test]
fn a_client_with_an_old_password_takes_nothing_from_others() {
    let scene = scene(r#"{"per_principal": 1000, "per_policy": 60, "window": "60s"}"#);
    (0..500).for_each(|_| _ = guess(&scene, HOME, "ada", "an old password"));
    assert!(scene.may(AWAY, "alan"));
}

#[test]
fn one_good_password_used_from_everywhere_makes_nobody_else_a_stranger() {
    let scene = scene(r#"{"per_policy": 1}"#);
    let known = KnownCallers::new(&mut BuildCx::new(&mut Build::new()));
    for n in 0..100 {
        scene.succeeds(HOME, &format!("user-{n}"));
        known.note(HOME, Some(format!("user-{n}").as_bytes()));
    }
    // More than there is room for.
    for n in 0..90_000 {
        scene.succeeds(address(n), "mallory");
        known.note(address(n), Some(b"mallory"));
    }
    scene.fails(AWAY, "alan", "1");
    assert!(!scene.may(AWAY, "grace"), "strangers wait");
    for n in 0..100 {
        assert!(scene.may(HOME, &format!("user-{n}")), "{n}");
        assert!(known.has(HOME, Some(format!("user-{n}").as_bytes())), "{n}");
    }
}

/// They are let through although the policy is at its limit, and fail as often as they like.
#[test]
fn failures_of_callers_who_are_known_do_not_add_up_against_strangers() {
    let scene = scene(r#"{"per_principal": 1000000, "per_address": 1000000, "per_policy": 60, "window": "60s"}"#);
    scene.succeeds(HOME, "mallory");
    (0..10_000).for_each(|n| scene.fails(HOME, "mallory", &n.to_string()));
    assert!(scene.asked(AWAY, "alan").is_some_and(|wait| wait <= Duration::from_secs(3)));
    scene.after(Duration::from_secs(3));
    assert!(scene.may(AWAY, "alan"));
}
