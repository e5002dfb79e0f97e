use super::*;
use crate::tests::{ALLOWED, both, hook, outcome, problems, strings, verdict};

const ROLE: &str = "role_missing";

fn with(roles: &[&str]) -> Identity {
    Identity { roles: strings(roles), ..Identity::default() }
}

#[test]
fn all_are_needed_and_one_of_any_per_method() {
    let toml =
        "all = ['staff']\nany = ['clerk', 'head of sales']\nper_method = [{ methods = ['DELETE'], all = ['admin'] }]";
    let hook = hook::<Roles>(toml);
    for (method, roles, expected) in [
        ("GET", &["staff", "clerk"][..], ALLOWED),
        ("GET", &["head of sales", "staff"], ALLOWED),
        ("GET", &["staff"], ROLE),
        ("GET", &["clerk"], ROLE),
        ("GET", &["Staff", "clerk"], ROLE),
        ("GET", &[], ROLE),
        ("DELETE", &["staff", "clerk"], ROLE),
        ("DELETE", &["admin"], ROLE),
        ("DELETE", &["staff", "clerk", "admin"], ALLOWED),
    ] {
        assert_eq!(outcome(&*hook, method, with(roles)), expected, "{method} with {roles:?}");
    }
}

#[test]
fn a_method_that_nothing_is_asked_of_is_refused() {
    let hook = hook::<Roles>("per_method = [{ methods = ['GET'], any = ['clerk'] }]");
    assert_eq!(outcome(&*hook, "HEAD", with(&["clerk"])), ALLOWED);
    assert_eq!(outcome(&*hook, "POST", with(&["clerk"])), ROLE);
}

#[test]
fn roles_are_those_of_who_speaks() {
    let hook = hook::<Roles>("all = ['a', 'b']");
    assert_eq!(outcome(&*hook, "GET", both(with(&["a"]), with(&["b"]))), ROLE);
    assert_eq!(outcome(&*hook, "GET", both(with(&[]), with(&["b", "a"]))), ROLE);
    assert_eq!(outcome(&*hook, "GET", both(with(&["b", "a"]), with(&[]))), ALLOWED);
}

#[test]
fn a_refusal_is_a_plain_403() {
    let hook = hook::<Roles>("all = ['a']");
    let refusal = Refusal::forbidden(Reason::RoleMissing).detailed("needs all of a");
    assert_eq!(verdict(&*hook, "GET", with(&[])), Verdict::Refuse(refusal));
}

#[test]
fn roles_that_make_no_sense_are_refused_by_field() {
    for (toml, expected) in [
        ("", ": asks for nothing"),
        ("all = []", "all: is empty"),
        ("any = ['a', '']", "any[1]: is empty"),
        ("per_method = [{ methods = ['GET'], all = [''] }]", "per_method[0].all[0]: is empty"),
    ] {
        let problems = problems::<Roles>(toml);
        assert_eq!(problems.len(), 1, "{toml}: {problems:?}");
        assert!(problems[0].starts_with(expected), "{toml}: {problems:?}");
    }
}
