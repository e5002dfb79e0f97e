//! Headers that claims fill.

use std::{borrow::Cow, collections::BTreeMap};

use portcullis_jose::claims::Path;
use portcullis_plugin::{
    Claims, encode_item,
    http::{HeaderName, HeaderValue},
    serde_json::Value,
};

use crate::problems::Problems;

/// Each header and the claim that fills it.
pub(crate) type Headers = Vec<(HeaderName, Path)>;

/// The headers of a table that was checked.
pub(crate) fn read(table: &BTreeMap<String, Path>) -> Headers {
    table.iter().filter_map(|(name, path)| Some((name.parse().ok()?, path.clone()))).collect()
}

/// Checks the names. The gateway itself refuses those that it manages: it knows them all.
pub(crate) fn check(field: &str, table: &BTreeMap<String, Path>, problems: &mut Problems) {
    let mut seen: Vec<HeaderName> = Vec::with_capacity(table.len());
    for written in table.keys() {
        let field = format!("{field}.{}", written.escape_debug());
        match written.parse::<HeaderName>() {
            Err(_) => problems.push((field, "is not a header name".to_owned())),
            Ok(name) if seen.contains(&name) => problems.push((field, "stands in the table already".to_owned())),
            Ok(name) => seen.push(name),
        }
    }
}

/// The headers that a token's claims fill. One whose claim is absent, or cannot be written in a header, is left out.
pub(crate) fn fill(headers: &Headers, claims: &Claims) -> Vec<(HeaderName, HeaderValue)> {
    headers.iter().filter_map(|(name, path)| Some((name.clone(), value(path.get(claims)?)?))).collect()
}

fn value(claim: &Value) -> Option<HeaderValue> {
    let items = match claim {
        Value::Array(items) => items.iter().map(scalar).collect::<Option<Vec<_>>>()?,
        one => vec![scalar(one)?],
    };
    let mut bytes = Vec::new();
    for item in items.iter().filter(|item| !item.is_empty()) {
        if !bytes.is_empty() {
            bytes.push(b',');
        }
        encode_item(item, &mut bytes);
    }
    (!bytes.is_empty()).then(|| HeaderValue::from_bytes(&bytes).expect("encoded items are visible ASCII"))
}

fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(truth) => Some(truth.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
