//! The messages of serde and `toml`, in the terms of the file.

use crate::config::problem::nearest;

/// The error text of `toml` for an enum that is neither a string nor a table.
pub(super) const NO_STRING: &str = "wanted string or table";

/// Returns the text between the first two backticks of a message that begins like this.
pub(super) fn between_ticks<'m>(begin: &str, message: &'m str) -> Option<&'m str> {
    message.strip_prefix(begin)?.split('`').nth(1)
}

/// Rephrases serde's message in the terms of the file, and suggests a known name for an unknown one.
pub(super) fn explain<'m>(
    message: &'m str,
    also_known: &'static [&'static str],
    choices: Option<String>,
) -> (String, Option<&'m str>) {
    let message = message.trim_end();
    for kind in ["unknown field", "unknown variant"] {
        let Some(name) = between_ticks(&format!("{kind} "), message) else { continue };
        let known: Vec<&str> = message.split('`').skip(3).step_by(2).chain(also_known.iter().copied()).collect();
        if let Some(meant) = nearest(name, known.iter().copied()) {
            return (format!("{kind} `{name}`, did you mean `{meant}`?"), Some(meant));
        }
        if !also_known.is_empty() {
            return (format!("{kind} `{name}`, expected one of `{}`", known.join("`, `")), None);
        }
    }
    if message == NO_STRING {
        let text = choices.map_or_else(String::new, |choices| format!(": {choices}"));
        return (format!("this has to be a string{text}"), None);
    }
    let Some((what, expected)) = message.rsplit_once(", expected ") else { return (message.to_owned(), None) };
    let expected = match expected {
        "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number that is not negative, and not too large",
        "a nonzero usize" | "a nonzero u64" => "a whole number above zero, and not too large",
        "a nonzero u32" => "a whole number from 1 to 4294967295",
        "a nonzero u16" => "a whole number from 1 to 65535",
        "a nonzero u8" => "a whole number from 1 to 255",
        "a sequence" => "a list",
        _ if expected.starts_with("struct ") || expected == "a map" => "a table",
        _ => expected,
    };
    (format!("{what}, expected {expected}"), None)
}
