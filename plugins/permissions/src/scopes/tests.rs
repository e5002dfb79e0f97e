use portcullis_plugin::{
    RefusalStatus,
    testing::{Request, now},
};

use super::*;
use crate::tests::{ALLOWED, both, detail, hook, outcome, problems, strings, verdict};

const SCOPE: &str = "scope_missing";

fn with(scopes: &[&str]) -> Identity {
    Identity { scopes: strings(scopes), ..Identity::default() }
}

fn get(toml: &str, identity: Identity) -> &'static str {
    outcome(&*hook::<Scopes>(toml), "GET", identity)
}

/// The `scope` of the challenge to a request that is refused.
fn told(toml: &str, method: &str) -> Option<String> {
    let Verdict::Refuse(refusal) = verdict(&*hook::<Scopes>(toml), method, with(&["x"])) else { panic!("is allowed") };
    assert_eq!(refusal.status, RefusalStatus::Forbidden);
    let challenge = refusal.challenge.expect("a challenge");
    assert_eq!(challenge.scheme, "Bearer");
    assert_eq!(challenge.parameters[0], ("error", "insufficient_scope".to_owned()));
    challenge.parameters.get(1).map(|(name, scopes)| {
        assert_eq!(*name, "scope");
        scopes.clone()
    })
}

#[test]
fn all_are_needed_and_one_of_any() {
    for (toml, scopes, expected) in [
        ("all = ['read', 'write']", &["write", "more", "read"][..], ALLOWED),
        ("all = ['read', 'write']", &["read"], SCOPE),
        ("all = ['read']", &[], SCOPE),
        ("all = ['read']", &["READ", "rea", "read2", "read write"], SCOPE),
        ("any = ['read', 'admin']", &["admin"], ALLOWED),
        ("any = ['read', 'admin']", &["read"], ALLOWED),
        ("any = ['read', 'admin']", &["write"], SCOPE),
        ("any = ['read', 'admin']", &[], SCOPE),
        ("all = ['a', 'b']\nany = ['c', 'd']", &["a", "b", "d"], ALLOWED),
        ("all = ['a', 'b']\nany = ['c', 'd']", &["a", "b"], SCOPE),
        ("all = ['a', 'b']\nany = ['c', 'd']", &["a", "c", "d"], SCOPE),
    ] {
        assert_eq!(get(toml, with(scopes)), expected, "{toml} with {scopes:?}");
    }
}

#[test]
fn a_method_needs_what_its_entry_says_and_get_includes_head() {
    let alone =
        "per_method = [{ methods = ['GET'], any = ['read', 'write'] }, { methods = ['POST', 'PUT'], all = ['write'] }]";
    let under = format!("all = ['orders']\n{alone}");
    for (toml, method, scopes, expected) in [
        (alone, "GET", &["read"][..], ALLOWED),
        (alone, "HEAD", &["read"], ALLOWED),
        (alone, "HEAD", &["x"], SCOPE),
        (alone, "POST", &["read"], SCOPE),
        (alone, "POST", &["write"], ALLOWED),
        (alone, "PUT", &["write"], ALLOWED),
        (alone, "DELETE", &["read", "write"], SCOPE),
        (alone, "get", &["read", "write"], SCOPE),
        (&under, "GET", &["read"], SCOPE),
        (&under, "GET", &["orders"], SCOPE),
        (&under, "GET", &["orders", "read"], ALLOWED),
        (&under, "HEAD", &["orders"], SCOPE),
        (&under, "DELETE", &["orders"], ALLOWED),
        (&under, "DELETE", &["read"], SCOPE),
        ("per_method = [{ methods = ['HEAD'], all = ['read'] }]", "GET", &["read"], SCOPE),
    ] {
        assert_eq!(outcome(&*hook::<Scopes>(toml), method, with(scopes)), expected, "{toml}: {method} with {scopes:?}");
    }
}

#[test]
fn scopes_are_those_of_who_speaks_and_never_a_union() {
    let toml = "all = ['read', 'write']";
    assert_eq!(get(toml, both(with(&["read"]), with(&["write"]))), SCOPE);
    assert_eq!(get(toml, both(with(&["x"]), with(&["read", "write"]))), SCOPE);
    assert_eq!(get(toml, both(with(&["read", "write"]), with(&["x"]))), ALLOWED);
    let toml = "any = ['a', 'b']\nper_method = [{ methods = ['GET'], all = ['c'] }]";
    assert_eq!(get(toml, both(with(&["a"]), with(&["c"]))), SCOPE, "nor over a general and a special need");
    assert_eq!(get(toml, both(with(&["b", "c"]), with(&["a"]))), ALLOWED);
}

#[test]
fn a_client_is_told_what_would_be_enough() {
    let told = |toml: &str, method: &str| told(toml, method);
    assert_eq!(told("all = ['read', 'write']", "GET").as_deref(), Some("read write"));
    assert_eq!(told("any = ['read', 'admin']", "GET").as_deref(), Some("read"), "not all that would do as well");
    let toml = "all = ['orders']\nper_method = [{ methods = ['POST'], all = ['write', 'orders'], any = ['eu', 'us'] }]";
    assert_eq!(told(toml, "GET").as_deref(), Some("orders"));
    assert_eq!(told(toml, "POST").as_deref(), Some("orders write eu"));
    assert_eq!(told("per_method = [{ methods = ['POST'], all = ['write'] }]", "GET"), None, "no scope would be enough");
}

#[test]
fn scopes_that_make_no_sense_are_refused_by_field() {
    for (toml, expected) in [
        ("", ": asks for nothing"),
        ("all = []", "all: is empty"),
        ("any = []", "any: is empty"),
        ("per_method = []", "per_method: is empty"),
        ("all = ['a', '']", "all[1]: is empty"),
        ("any = ['read write']", "any[0]: `read write` is not one scope"),
        ("any = ['a\"b']", "any[0]: `a\\\"b` is not a scope"),
        ("any = ['a\u{e9}']", "any[0]: `a\u{e9}` is not a scope"),
        ("any = [\"a\\u0000\"]", "any[0]: `a\\0` is not a scope"),
        ("per_method = [{ methods = ['GET'] }]", "per_method[0]: asks for nothing"),
        ("per_method = [{ methods = [], all = ['a'] }]", "per_method[0].methods: is empty"),
        ("per_method = [{ methods = ['GET'], all = [] }]", "per_method[0].all: is empty"),
        ("per_method = [{ methods = ['GET'], any = ['a b'] }]", "per_method[0].any[0]: `a b` is not one scope"),
        (
            "per_method = [{ methods = ['get'], all = ['a'] }]",
            "per_method[0].methods: `get` has to be written in capitals",
        ),
        ("per_method = [{ methods = ['G T'], all = ['a'] }]", "per_method[0].methods: `G T` is not a method"),
        ("per_method = [{ methods = ['TRACE'], all = ['a'] }]", "per_method[0].methods: `TRACE` is refused before"),
        ("per_method = [{ methods = ['PUT', 'PUT'], all = ['a'] }]", "per_method[0].methods: has `PUT` twice"),
        ("per_method = [{ methods = ['GET', 'HEAD'], all = ['a'] }]", "per_method[0].methods: has `HEAD` twice"),
        (
            "per_method = [{ methods = ['PUT'], all = ['a'] }, { methods = ['POST', 'PUT'], all = ['b'] }]",
            "per_method[1].methods: `PUT` belongs to per_method[0]",
        ),
        (
            "per_method = [{ methods = ['HEAD'], all = ['a'] }, { methods = ['GET'], all = ['b'] }]",
            "per_method[1].methods: `GET` belongs to per_method[0]",
        ),
        (
            "per_method = [{ methods = ['GET'], all = ['a'] }, { methods = ['HEAD'], all = ['b'] }]",
            "per_method[1].methods: `HEAD` belongs to per_method[0]",
        ),
    ] {
        let problems = problems::<Scopes>(toml);
        assert_eq!(problems.len(), 1, "{toml}: {problems:?}");
        assert!(problems[0].starts_with(expected), "{toml}: {problems:?}");
    }
    let toml = "all = ['', 'a b']\nany = []\nper_method = [{ methods = ['get'] }]";
    assert_eq!(problems::<Scopes>(toml).len(), 5, "all of it in one run");
}

#[test]
fn unknown_fields_and_other_types_are_refused() {
    for toml in
        ["scopes = ['a']", "all = 'a'", "all = [1]", "per_method = [{ all = ['a'] }]", "per_method = { GET = 1 }"]
    {
        assert!(toml::from_str::<Config<String>>(toml).is_err(), "{toml}");
    }
}

#[test]
fn letting_a_request_pass_allocates_nothing() {
    let hook = hook::<Scopes>("all = ['a']\nper_method = [{ methods = ['GET'], any = ['b', 'c'] }]");
    let mut request = Request::get("/");
    let identity = Arc::new(both(with(&["c", "a"]), with(&["x"])));
    let allocations = allocation_counter::measure(|| {
        assert_eq!(now(hook.admit(&mut request.cx(), &identity)).unwrap(), Verdict::Allow);
    });
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn the_log_is_told_what_was_asked_for() {
    let hook = hook::<Scopes>("all = ['a', 'b']\nper_method = [{ methods = ['POST'], all = ['c'], any = ['d', 'e'] }]");
    assert_eq!(detail(&*hook, "GET", with(&["secret"])), "needs all of a, b");
    assert_eq!(detail(&*hook, "POST", with(&["a", "b"])), "needs all of a, b and all of c and one of d, e");
}
