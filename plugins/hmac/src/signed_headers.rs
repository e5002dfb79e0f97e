//! The headers that a policy says have to be signed.

use portcullis_plugin::http::HeaderName;

use crate::problems::Problems;

/// Parses the names, each once. One that is not a header's name is reported and left out.
pub(crate) fn header_names(field: &str, names: &[String], problems: &mut Problems) -> Vec<HeaderName> {
    let mut parsed = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        match name.parse::<HeaderName>() {
            Ok(name) if parsed.contains(&name) => {
                problems.push((format!("{field}[{index}]"), format!("`{name}` stands here twice")));
            }
            Ok(name) => parsed.push(name),
            Err(_) => {
                let why = format!("`{}` is not a header name", name.escape_debug());
                problems.push((format!("{field}[{index}]"), why));
            }
        }
    }
    parsed
}
