use portcullis_plugin::Claims;
use serde_json::{Value, json};

use super::*;

fn claims(value: Value) -> Claims {
    serde_json::from_value(value).unwrap()
}

fn sample() -> Claims {
    claims(json!({
        "sub": "ann", "level": 3, "ratio": 0.5, "whole": 3.0, "verified": true, "nothing": null,
        "scope": "orders:read orders:write", "roles": ["admin", "audit", 7],
        "realm_access": { "roles": ["operator"], "deep": { "er": "x" } },
        "https://example.com/roles": ["gold"], "a.b": "dotted", "~/": "odd", "": "empty", "big": 18_446_744_073_709_551_615_u64,
    }))
}

fn path(text: &str) -> Result<Path, String> {
    text.parse()
}

fn rule(toml: &str) -> Result<Rule, String> {
    #[derive(serde::Deserialize)]
    struct File {
        rule: Rule,
    }
    toml::from_str::<File>(&format!("rule = {toml}")).map(|file| file.rule).map_err(|error| error.to_string())
}

fn holds(toml: &str) -> bool {
    rule(toml).unwrap().holds(&sample())
}

#[test]
fn paths_lead_through_objects() {
    let get = |text: &str| path(text).unwrap().get(&sample()).cloned();
    assert_eq!(get("sub"), Some(json!("ann")));
    assert_eq!(get("realm_access.roles"), Some(json!(["operator"])));
    assert_eq!(get("realm_access.deep.er"), Some(json!("x")));
    assert_eq!(get("nothing"), Some(Value::Null));
    for absent in ["SUB", "sub.x", "roles.0", "realm_access.nothing", "realm_access.roles.operator", "nothing.x", "a.b"]
    {
        assert_eq!(get(absent), None, "{absent}");
    }
}

#[test]
fn names_with_dots_are_written_as_pointers() {
    let get = |text: &str| path(text).unwrap().get(&sample()).cloned();
    assert_eq!(get("/https:~1~1example.com~1roles"), Some(json!(["gold"])));
    assert_eq!(get("/a.b"), Some(json!("dotted")));
    assert_eq!(get("/~0~1"), Some(json!("odd")));
    assert_eq!(get("/realm_access/roles"), Some(json!(["operator"])));
    assert_eq!(path("/https:~1~1example.com~1roles").unwrap().claim(), "https://example.com/roles");
    assert_eq!(path("/a.b").unwrap().to_string(), "/a.b");
}

#[test]
fn a_malformed_path_is_refused_in_words() {
    for (text, words) in [
        ("", "empty name"),
        (".", "empty name"),
        ("a.", "empty name"),
        (".a", "empty name"),
        ("a..b", "empty name"),
        ("/", "empty name"),
        ("/a//b", "empty name"),
        ("/a~", "after `~` comes"),
        ("/a~2", "after `~` comes"),
        ("/~\u{e9}", "after `~` comes"),
        ("https://example.com/roles", "write \"/https:~1~1example.com~1roles\""),
    ] {
        let error = path(text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
    assert!(path(&"a".repeat(MAX_PATH_BYTES)).is_ok());
    assert!(path(&"a".repeat(MAX_PATH_BYTES + 1)).is_err());
    assert!(path(&vec!["a"; MAX_PATH_NAMES].join(".")).is_ok());
    assert!(path(&vec!["a"; MAX_PATH_NAMES + 1].join(".")).is_err());
}

#[test]
fn no_path_panics() {
    bolero::check!().with_type::<String>().for_each(|text| {
        if let Ok(path) = path(text) {
            path.get(&sample());
        }
    });
}

#[test]
fn equals_is_exact_in_type_and_value() {
    for toml in [
        r#"{ claim = "sub", equals = "ann" }"#,
        r#"{ claim = "level", equals = 3 }"#,
        r#"{ claim = "whole", equals = 3 }"#,
        r#"{ claim = "verified", equals = true }"#,
        r#"{ claim = "level", one_of = [1, 2, 3] }"#,
        r#"{ claim = "sub", one_of = ["bob", "ann"] }"#,
    ] {
        assert!(holds(toml), "{toml}");
    }
    for toml in [
        r#"{ claim = "sub", equals = "Ann" }"#,
        r#"{ claim = "sub", equals = "" }"#,
        r#"{ claim = "level", equals = "3" }"#,
        r#"{ claim = "level", equals = 4 }"#,
        r#"{ claim = "ratio", equals = 0 }"#,
        r#"{ claim = "big", equals = 9223372036854775807 }"#,
        r#"{ claim = "verified", equals = "true" }"#,
        r#"{ claim = "verified", equals = false }"#,
        r#"{ claim = "nothing", equals = "" }"#,
        r#"{ claim = "missing", equals = "" }"#,
        r#"{ claim = "roles", equals = "admin" }"#,
        r#"{ claim = "roles", one_of = ["admin"] }"#,
    ] {
        assert!(!holds(toml), "{toml}");
    }
}

#[test]
fn contains_takes_lists_and_words() {
    for toml in [
        r#"{ claim = "roles", contains_all = ["admin", "audit"] }"#,
        r#"{ claim = "roles", contains_all = ["admin", 7] }"#,
        r#"{ claim = "roles", contains_any = ["nobody", "audit"] }"#,
        r#"{ claim = "scope", contains_all = ["orders:write", "orders:read"] }"#,
        r#"{ claim = "scope", contains_any = ["orders:read"] }"#,
        r#"{ claim = "sub", contains_any = ["ann"] }"#,
        r#"{ claim = "/https:~1~1example.com~1roles", contains_any = ["gold"] }"#,
    ] {
        assert!(holds(toml), "{toml}");
    }
    for toml in [
        r#"{ claim = "roles", contains_all = ["admin", "nobody"] }"#,
        r#"{ claim = "roles", contains_any = ["adm", "7"] }"#,
        r#"{ claim = "scope", contains_any = ["orders"] }"#,
        r#"{ claim = "scope", contains_any = ["orders:read orders:write"] }"#,
        r#"{ claim = "realm_access", contains_any = ["roles"] }"#,
        r#"{ claim = "level", contains_any = [3] }"#,
        r#"{ claim = "missing", contains_any = ["x"] }"#,
        r#"{ claim = "nothing", contains_all = ["x"] }"#,
    ] {
        assert!(!holds(toml), "{toml}");
    }
}

#[test]
fn null_neither_exists_nor_is_absent() {
    assert!(holds(r#"{ claim = "sub", exists = true }"#));
    assert!(holds(r#"{ claim = "realm_access.deep", exists = true }"#));
    assert!(!holds(r#"{ claim = "missing", exists = true }"#));
    assert!(!holds(r#"{ claim = "nothing", exists = true }"#));
    assert!(holds(r#"{ claim = "missing", absent = true }"#));
    assert!(!holds(r#"{ claim = "nothing", absent = true }"#));
    assert!(!holds(r#"{ claim = "sub", absent = true }"#));
}

#[test]
fn patterns_fit_the_whole_text() {
    let fits = |pattern: &str, text: &str| {
        let rule = rule(&format!("{{ claim = \"t\", matches = '{pattern}' }}")).unwrap();
        rule.holds(&claims(json!({ "t": text })))
    };
    assert!(fits(r"[^@]+@example\.com", "ann@example.com"));
    assert!(!fits(r"[^@]+@example\.com", "ann@example.com.attacker.example"));
    assert!(!fits(r"[^@]+@example\.com", "ann@example.com\n"));
    assert!(!fits("a", "ba") && !fits("a", "ab"));
    assert!(fits("a|ab", "ab") && fits("a|ab", "a"), "every alternative is tried on the whole");
    assert!(!fits("(?m)^a$", "a\nb"));
    assert!(fits("", ""));
    assert!(!holds(r#"{ claim = "level", matches = "3" }"#));
    assert!(!holds(r#"{ claim = "roles", matches = "admin" }"#));
}

#[test]
fn patterns_have_limits_and_take_linear_time() {
    for pattern in [r"a)|(b", "(", "(?x)a #", "[a-z]{1000}{1000}", r"\w{500}\w{500}", r"(a)\1"] {
        assert!(rule(&format!("{{ claim = \"t\", matches = '{pattern}' }}")).is_err(), "{pattern}");
    }
    assert!(rule(&format!("{{ claim = \"t\", matches = '{}' }}", "a".repeat(MAX_PATTERN_BYTES + 1))).is_err());
    let slow = rule("{ claim = \"t\", matches = '(a+)+b' }").unwrap();
    let before = std::time::Instant::now();
    assert!(!slow.holds(&claims(json!({ "t": "a".repeat(60_000) }))));
    assert!(before.elapsed().as_secs() < 5);
}

#[test]
fn a_rule_has_one_condition() {
    for (toml, words) in [
        (r#"{ claim = "a" }"#, "one of `equals`"),
        (r#"{ claim = "a", equals = "b", exists = true }"#, "a rule has one condition"),
        (r#"{ claim = "a", exists = false }"#, "`exists = false` is written `absent = true`"),
        (r#"{ claim = "a", absent = false }"#, "`absent = false` is written `exists = true`"),
        (r#"{ claim = "a", one_of = [] }"#, "`one_of` is empty"),
        (r#"{ claim = "a", contains_all = [] }"#, "`contains_all` is empty"),
        (r#"{ claim = "a", contains_any = [""] }"#, "an empty text, which is no word"),
        (r#"{ claim = "a", equals = 1.5 }"#, "text, a whole number, true or false"),
        (r#"{ claim = "a", equals = ["b"] }"#, "text, a whole number, true or false"),
        (r#"{ claim = "a..b", exists = true }"#, "empty name"),
        (r#"{ equals = "b" }"#, "missing field `claim`"),
        (r#"{ claim = "a", is = "b" }"#, "unknown field `is`"),
        (r#""a""#, "a rule, such as"),
    ] {
        let error = rule(toml).unwrap_err();
        assert!(error.contains(words), "{toml}: {error}");
    }
}

#[test]
fn judging_allocates_nothing() {
    let rules = [
        r#"{ claim = "realm_access.roles", contains_any = ["operator"] }"#,
        r#"{ claim = "scope", contains_all = ["orders:read"] }"#,
        r#"{ claim = "sub", matches = "[a-z]+" }"#,
    ];
    let (rules, claims) = (rules.map(|toml| rule(toml).unwrap()), sample());
    let judge = || assert!(rules.iter().all(|rule| rule.holds(&claims)));
    judge();
    assert_eq!(allocation_counter::measure(judge).count_total, 0);
}
