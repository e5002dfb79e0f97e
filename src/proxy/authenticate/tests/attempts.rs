//! Which failed attempts count.

use portcullis_plugin::{AttemptLimits, AttemptTable, BuildCx, testing::Build};

use super::*;

/// How many failures two policies count of a request with these alternatives, which are made of what they say.
fn counted(alternatives: impl Fn(&dyn Fn(usize, &'static str) -> Says) -> Vec<Vec<Says>>) -> [u64; 2] {
    let mut builds = [Build::new(), Build::new()];
    let limits = AttemptLimits::On(AttemptTable::default());
    let policies = builds.each_mut().map(|build| Attempts::new(limits, &mut BuildCx::new(build)));
    let policies = policies.map(|attempts| Arc::new(attempts.expect("limits that make sense")));
    let alternatives = alternatives(&|policy, header| Says::Guess(policies[policy].clone(), header));
    let _ = outcome(&alternatives.iter().map(Vec::as_slice).collect::<Vec<_>>(), None);
    builds.map(|build| build.counters.values().map(portcullis_plugin::Counter::value).sum())
}

fn granted(header: &'static str) -> Says {
    Says::GrantedAt(key("k", "acme", ""), header)
}

#[test]
fn a_failure_counts_when_the_request_is_refused() {
    assert_eq!(counted(|guess| vec![vec![guess(0, "x-a")]]), [1, 0]);
    assert_eq!(counted(|guess| vec![vec![guess(0, "x-a")], vec![guess(1, "x-a")]]), [1, 1]);
    assert_eq!(counted(|guess| vec![vec![guess(0, "x-a")], vec![Says::Absent]]), [1, 0]);
    assert_eq!(counted(|guess| vec![vec![guess(0, "x-a")], vec![Says::Fails]]), [1, 0]);
    assert_eq!(counted(|guess| vec![vec![granted("x-b"), guess(0, "x-a")]]), [1, 0], "all of both");
}

#[test]
fn a_failure_is_excused_where_another_policy_grants_the_same_credential() {
    assert_eq!(counted(|guess| vec![vec![guess(0, "x-a")], vec![granted("x-a")]]), [0, 0]);
    assert_eq!(counted(|guess| vec![vec![guess(0, "x-a")], vec![guess(1, "x-a")], vec![granted("x-a")]]), [0, 0]);
    let part = |guess: &dyn Fn(usize, &'static str) -> Says| {
        vec![vec![guess(0, "x-a"), Says::Absent], vec![granted("x-b"), granted("x-a")]]
    };
    assert_eq!(counted(part), [0, 0], "a part of an all-of as well");
}

#[test]
fn whoever_has_another_credential_cannot_guess_beside_it() {
    assert_eq!(counted(|guess| vec![vec![guess(0, "x-a")], vec![granted("x-b")]]), [1, 0]);
    assert_eq!(counted(|guess| vec![vec![guess(0, "x-a")], vec![Says::Granted(key("cert", "acme", ""))]]), [1, 0]);
    let both = |guess: &dyn Fn(usize, &'static str) -> Says| {
        vec![vec![guess(0, "x-a")], vec![guess(1, "x-b")], vec![granted("x-b")]]
    };
    assert_eq!(counted(both), [1, 0]);
}

#[test]
fn one_guess_at_a_policy_that_stands_in_two_alternatives_is_one_failure() {
    let twice =
        |guess: &dyn Fn(usize, &'static str) -> Says| vec![vec![guess(0, "x-a"), Says::Absent], vec![guess(0, "x-a")]];
    assert_eq!(counted(twice), [1, 0]);
}
