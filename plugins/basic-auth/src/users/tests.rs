use std::{cell::Cell, collections::HashSet};

use portcullis_plugin::testing::Build;

use super::*;
use crate::BasicAuth;

/// By libxcrypt, of `Paß:wörd ☃` and of `x`.
const SNOW: &str = "$2b$10$abcdefghijklmnopqrstuubUS1uDbiGOxzmNsPV28j4Q4QEbnbGNy";
const X: &str = "$2b$11$abcdefghijklmnopqrstuu6lhDwPpwPR5H6lygyoxPy//diwvHrV2";

fn entry(username: &str, hash: &str) -> PasswordEntry {
    toml::from_str(&format!("username = \"{username}\"\npassword_hash = \"{hash}\"")).unwrap()
}

fn users(build: Build) -> Users {
    Users::new(false, &mut BuildCx::new(&mut { build }))
}

fn login(text: &str) -> Login {
    use base64::Engine as _;
    Login::parse(base64::engine::general_purpose::STANDARD.encode(text).as_bytes()).unwrap()
}

/// The credential that was found, and how many hashes were computed for it.
fn verified(users: &Users, text: &str) -> (Option<String>, usize) {
    let count = Cell::new(0);
    let found = users.verify(&login(text), || count.set(count.get() + 1));
    (found.map(|(identity, _)| identity.credentials[0].id.to_string()), count.get())
}

#[test]
fn a_name_that_nobody_has_costs_what_a_wrong_password_does() {
    let one = users(Build::new().credential::<BasicAuth>("acme", "acme-1", entry("ci", SNOW), |_| {}));
    assert_eq!(verified(&one, "ci:Pa\u{df}:w\u{f6}rd \u{2603}"), (Some("acme-1".to_owned()), 1));
    assert_eq!(verified(&one, "ci:wrong"), (None, 1));
    assert_eq!(verified(&one, "nobody:wrong"), (None, 1));
    assert_eq!(verified(&one, "nobody:Pa\u{df}:w\u{f6}rd \u{2603}"), (None, 1));
    let two = users(
        Build::new().credential::<BasicAuth>("acme", "acme-1", entry("ci", SNOW), |_| {}).credential::<BasicAuth>(
            "acme",
            "acme-2",
            entry("ci", X),
            |_| {},
        ),
    );
    assert_eq!(verified(&two, "ci:wrong"), (None, 2));
    assert_eq!(verified(&two, "nobody:wrong"), (None, 2));
    assert_eq!(verified(&users(Build::new()), "nobody:wrong"), (None, 1), "where nobody has a password");
}

#[test]
fn names_that_nobody_has_are_like_real_ones_and_always_the_same() {
    let build = || {
        let build = Build::new().credential::<BasicAuth>("acme", "acme-0", entry("user-0", SNOW), |_| {});
        (1..4).fold(build, |build, n| {
            build.credential::<BasicAuth>("acme", &format!("acme-{n}"), entry(&format!("user-{n}"), X), |_| {})
        })
    };
    let decoys = |users: &Users, name: &str| users.decoys(name).map(|decoy| *decoy.fingerprint()).collect::<Vec<_>>();
    let (one, again) = (users(build()), users(build()));
    let names: Vec<_> = (0..100).map(|n| format!("nobody-{n}")).collect();
    for name in &names {
        assert_eq!(decoys(&one, name), decoys(&again, name), "after a restart too");
    }
    let different: HashSet<_> = names.iter().flat_map(|name| decoys(&one, name)).collect();
    assert_eq!(different.len(), 100, "no two names share a decoy");
    let picked = |name: &String| one.decoys(name).next().unwrap().is_as_costly_as(&SNOW.parse().unwrap());
    let cheap = names.iter().filter(|name| picked(name)).count();
    assert!((5..60).contains(&cheap), "about one in four costs what one in four users does: {cheap}");
}

#[test]
fn of_two_hashes_of_one_password_the_one_that_ends_last_counts() {
    let build = Build::new()
        .credential::<BasicAuth>("acme", "off", entry("ci", X), |common| common.limits.disabled = true)
        .credential::<BasicAuth>("acme", "ended", entry("ci", X), |common| common.limits.expires = Some(UnixTime(1)))
        .credential::<BasicAuth>("acme", "current", entry("ci", X), |_| {});
    assert_eq!(verified(&users(build), "ci:x").0.as_deref(), Some("current"));
}

#[test]
fn one_name_belongs_to_one_consumer_and_has_so_many_passwords() {
    let mut build = Build::new()
        .credential::<BasicAuth>("acme", "acme-1", entry("ci", SNOW), |_| {})
        .credential::<BasicAuth>("other", "other-1", entry("ci", X), |_| {})
        .credential::<BasicAuth>("other", "other-2", entry("CI", X), |_| {});
    Users::new(false, &mut BuildCx::new(&mut build));
    let expected = (1, "username".to_owned(), "is a user name of the consumer `acme` already".to_owned());
    assert_eq!(build.problems, [expected], "names differ by case");
    let mut many = (0..=HASHES_PER_USERNAME_MAX).fold(Build::new(), |build, n| {
        build.credential::<BasicAuth>("acme", &format!("acme-{n}"), entry("ci", X), |_| {})
    });
    Users::new(false, &mut BuildCx::new(&mut many));
    assert_eq!(many.problems.len(), 1);
    assert!(many.problems[0].2.starts_with("has 4 passwords already"), "{:?}", many.problems);
}
