//! The tables name all that there is, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use portcullis::plugin::Reason;
use serde_json::Value;

use super::{all_pages, page::Page, read, root};
use crate::harness::plugins;

#[test]
fn the_page_about_configuration_names_every_reason() {
    let page = read("conf/README.md");
    for (reason, _) in Reason::ALL {
        assert!(page.contains(&format!("`{reason}`")), "{reason}");
    }
}

/// The names of metrics in a text. Crates have names with the same beginning: `portcullis_plugin::...`.
pub(super) fn metrics_in(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (start, _) in text.match_indices("portcullis_") {
        let rest = &text[start..];
        let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(rest.len());
        if !rest[end..].starts_with("::") {
            found.insert(rest[..end].to_owned());
        }
    }
    found
}

/// Every metric of the engine and of its plugins: the literals in the source, tests left out.
pub(super) fn metrics_of_the_source() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["src", "plugins"] {
        collect(&root().join(folder), &mut found);
    }
    found
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of the source") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            collect(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path).expect("a file of the source");
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let literals = text.split('"').skip(1).step_by(2).filter(|literal| literal.starts_with("portcullis_"));
            let is_name = |literal: &&str| {
                literal.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_')
            };
            found.extend(literals.filter(is_name).map(str::to_owned));
        }
    }
}

#[test]
fn the_page_about_operating_names_every_metric() {
    let page = read("systemd/README.md");
    let metrics = metrics_of_the_source();
    assert!(metrics.len() > 20 && metrics.contains("portcullis_requests_total"), "{metrics:?}");
    for metric in metrics {
        assert!(page.contains(&format!("`{metric}`")), "{metric}");
    }
}

#[test]
fn every_metric_that_a_page_names_exists() {
    let known = metrics_of_the_source();
    for page in all_pages() {
        let unknown: Vec<_> = metrics_in(&page.prose).into_iter().filter(|metric| !known.contains(metric)).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", page.path);
    }
}

/// The names of a schema's own settings, which it may have by reference.
fn properties(schema: &Value) -> Vec<String> {
    let reference = schema["$ref"].as_str().and_then(|reference| schema.pointer(reference.strip_prefix('#')?));
    reference.unwrap_or(schema)["properties"]
        .as_object()
        .map(|found| found.keys().cloned().collect())
        .unwrap_or_default()
}

#[test]
fn the_page_of_a_plugin_names_each_of_its_settings() {
    let shared = BTreeMap::from([("scopes", "permissions"), ("roles", "permissions"), ("claims", "permissions")]);
    for name in plugins() {
        let page = Page::read(&format!("plugins/{}/README.md", shared.get(&*name).unwrap_or(&&*name)));
        let shown = Command::new(env!("CARGO_BIN_EXE_portcullis")).args(["plugins", "show", &name, "--json"]).output();
        let shown: Value = serde_json::from_slice(&shown.expect("the binary starts").stdout).expect("JSON");
        let settings = [properties(&shown["config"]), properties(&shown["credential"])].concat();
        assert!(!settings.is_empty(), "{name} has no settings: {shown}");
        for setting in settings {
            assert!(
                page.prose.split('`').skip(1).step_by(2).any(|code| code.split(' ').any(|word| word == setting)),
                "{} does not name `{setting}` of {name}",
                page.path
            );
        }
    }
}
