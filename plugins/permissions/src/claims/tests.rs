use std::sync::Arc;

use portcullis_plugin::serde_json::from_str;

use super::*;
use crate::tests::{ALLOWED, both, detail, hook, outcome, problems, strings, verdict};

const CLAIM: &str = "claim_mismatch";

/// A token with these claims.
fn token(claims: &str) -> Identity {
    Identity { claims: Some(Arc::new(from_str(claims).unwrap())), ..Identity::default() }
}

/// A key, which has no claims.
fn key() -> Identity {
    Identity { scopes: strings(&["orders:read"]), ..Identity::default() }
}

fn get(toml: &str, identity: Identity) -> &'static str {
    outcome(&*hook::<Claims>(toml), "GET", identity)
}

#[test]
fn all_rules_are_needed_and_one_of_any() {
    let toml = "all = [{ claim = 'org.id', equals = 'acme' }, { claim = 'act', absent = true }]
                any = [{ claim = 'amr', contains_any = ['hwk', 'otp'] }, { claim = 'level', one_of = [3, 4] }]";
    for (claims, expected) in [
        (r#"{"org":{"id":"acme"},"amr":["pwd","otp"]}"#, ALLOWED),
        (r#"{"org":{"id":"acme"},"level":4}"#, ALLOWED),
        (r#"{"org":{"id":"acme"},"level":2,"amr":["hwk"]}"#, ALLOWED),
        (r#"{"org":{"id":"acme"}}"#, CLAIM),
        (r#"{"org":{"id":"acme"},"level":"4"}"#, CLAIM),
        (r#"{"org":{"id":"acme"},"level":4,"act":{"sub":"x"}}"#, CLAIM),
        (r#"{"org":{"id":"acme"},"level":4,"act":null}"#, CLAIM),
        (r#"{"org":{"id":"Acme"},"level":4}"#, CLAIM),
        (r#"{"org":"acme","level":4}"#, CLAIM),
        (r#"{"org.id":"acme","level":4}"#, CLAIM),
        ("{}", CLAIM),
    ] {
        assert_eq!(get(toml, token(claims)), expected, "{claims}");
    }
}

#[test]
fn a_method_needs_what_its_entry_says() {
    let toml = "per_method = [
        { methods = ['GET'], all = [{ claim = 'plan', exists = true }] },
        { methods = ['POST'], all = [{ claim = 'plan', equals = 'gold' }] },
    ]";
    let hook = hook::<Claims>(toml);
    for (method, expected) in [("GET", ALLOWED), ("HEAD", ALLOWED), ("POST", CLAIM), ("PUT", CLAIM)] {
        assert_eq!(outcome(&*hook, method, token(r#"{"plan":"free"}"#)), expected, "{method}");
    }
}

#[test]
fn a_request_without_token_fulfils_no_rule() {
    for toml in ["all = [{ claim = 'act', absent = true }]", "any = [{ claim = 'org', exists = true }]"] {
        assert_eq!(get(toml, key()), CLAIM, "{toml}");
        assert_eq!(get(toml, both(key(), key())), CLAIM, "{toml}");
    }
}

#[test]
fn every_token_of_the_request_is_held_to_the_rules() {
    let toml = "all = [{ claim = 'plan', equals = 'gold' }, { claim = 'act', absent = true }]";
    let gold = || token(r#"{"plan":"gold"}"#);
    assert_eq!(get(toml, both(key(), gold())), ALLOWED, "a key beside it has none to be held to");
    assert_eq!(get(toml, both(gold(), gold())), ALLOWED);
    assert_eq!(get(toml, both(gold(), token(r#"{"plan":"free"}"#))), CLAIM);
    assert_eq!(get(toml, both(token(r#"{"plan":"gold","act":"x"}"#), gold())), CLAIM);
    let toml = "all = [{ claim = 'a', exists = true }, { claim = 'b', exists = true }]";
    assert_eq!(get(toml, both(token(r#"{"a":1}"#), token(r#"{"b":1}"#))), CLAIM, "claims are not added up");
}

#[test]
fn a_refusal_is_a_plain_403() {
    let hook = hook::<Claims>("all = [{ claim = 'a', exists = true }]");
    assert_eq!(
        verdict(&*hook, "GET", key()),
        Verdict::Refuse(Refusal::forbidden(Reason::ClaimMismatch).detailed("no token, and so no claims"))
    );
}

#[test]
fn the_log_is_told_which_claim_and_never_its_value() {
    let hook = hook::<Claims>(
        "all = [{ claim = 'plan', equals = 'gold' }, { claim = 'org.id', exists = true }]
        per_method = [{ methods = ['POST'], any = [{ claim = 'a', exists = true }, { claim = 'b', equals = 1 }] }]",
    );
    for (method, claims, expected) in [
        ("GET", r#"{"plan":"free"}"#, "claim plan"),
        ("GET", r#"{"plan":"gold","org":{"name":"x"}}"#, "claim org.id"),
        ("POST", r#"{"plan":"gold","org":{"id":1},"b":2}"#, "none of the claims a, b"),
    ] {
        assert_eq!(detail(&*hook, method, token(claims)), expected, "{method} {claims}");
    }
    let toml = "per_method = [{ methods = ['GET'], all = [{ claim = 'a', exists = true }] }]";
    let hook = crate::tests::hook::<Claims>(toml);
    assert_eq!(detail(&*hook, "POST", token("{}")), "no entry of per_method is about this method");
}

#[test]
fn claims_that_make_no_sense_are_refused_by_field() {
    for (toml, expected) in [
        ("", ": asks for nothing"),
        ("all = []", "all: is empty"),
        ("per_method = [{ methods = ['get'], any = [] }]", "per_method[0].methods: `get` has to be"),
    ] {
        assert!(problems::<Claims>(toml)[0].starts_with(expected), "{toml}");
    }
    for toml in [
        "all = [{ claim = 'a' }]",
        "all = [{ claim = '', exists = true }]",
        "all = [{ claim = 'a', equals = 1, absent = true }]",
        "all = [{ claim = 'a', one_of = [] }]",
        "all = [{ claim = 'a', matches = '(' }]",
        "all = [{ claim = 'a', equal = 1 }]",
    ] {
        assert!(toml::from_str::<Config<Rule>>(toml).is_err(), "{toml}");
    }
}
