//! Tests of settings: those that are taken, and the errors for all others.

use super::*;

/// All that is wrong with a configuration: `field: message`.
fn problems(toml: &str) -> Vec<String> {
    let error = build().plugin::<Hmac>(config(toml)).err().expect("an error");
    error.problems.into_iter().map(|(field, message)| format!("{field}: {message}")).collect()
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_by_field() {
    for (toml, expected) in [
        ("window = \"0s\"", "window: is not between"),
        ("window = \"25h\"", "window: is not between"),
        ("window = \"20m\"\nclock_skew = \"16m\"", "clock_skew: is more than 15 minutes"),
        ("window = \"1m\"\nclock_skew = \"61s\"", "clock_skew: is more than the `window`"),
        ("clock_skew = \"6m\"", "clock_skew: is more than the `window`"),
        ("max_body_bytes = 0", "max_body_bytes: is not between"),
        ("max_body_bytes = 268435457", "max_body_bytes: is not between"),
        ("attempts = { window = \"0s\" }", "attempts.window:"),
        ("portcullis = { covered = [] }", "portcullis.covered: is empty"),
        ("portcullis = { covered = [\"@path\", \"@status\"] }", "portcullis.covered[1]: `@status` is no component"),
        ("portcullis = { covered = [\"@path\", \"@path\"] }", "portcullis.covered[1]: `@path` again"),
        ("portcullis = { covered = [\"Date\"] }", "portcullis.covered[0]: `Date` is no component"),
        ("portcullis = { covered = [\"@query-param\"] }", "portcullis.covered[0]:"),
        ("portcullis = { algorithms = [] }", "portcullis.algorithms: is empty"),
        ("portcullis = { label = \"Sig\" }", "portcullis.label: is no label"),
        ("portcullis = { tag = \"\" }", "portcullis.tag: is no tag"),
        ("cavage = {}", "cavage: is for another scheme"),
        ("scheme = \"aws4\"\nportcullis = {}", "portcullis: is for another scheme"),
    ] {
        let problems = problems(toml);
        assert!(problems[0].starts_with(expected), "{toml}: {problems:?}");
    }
    let all = problems("window = \"0s\"\nmax_body_bytes = 0\nportcullis = { covered = [\"a b\"], label = \"\" }");
    assert_eq!(all.len(), 4, "everything that is wrong is said in one run: {all:?}");
}

#[test]
fn a_configuration_of_the_wrong_shape_is_refused() {
    for (toml, words) in [
        ("schema = \"cavage\"", "unknown field `schema`"),
        ("scheme = \"rfc9421\"", "unknown variant `rfc9421`"),
        ("portcullis = { cover = [] }", "unknown field `cover`"),
        ("portcullis = { algorithms = [\"none\"] }", "unknown variant `none`"),
        ("body = \"ignored\"", "unknown variant `ignored`"),
        ("replay = true", "replay"),
        ("window = 300", "a length of time"),
    ] {
        let error = toml::from_str::<Config>(toml).err().expect("an error").to_string();
        assert!(error.contains(words), "{toml}: {error}");
    }
}
