use std::{fmt, str::FromStr};

use portcullis_plugin::Claims;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// The longest path, in bytes.
pub const MAX_PATH_BYTES: usize = 512;
/// The most names in a path.
pub const MAX_PATH_NAMES: usize = 16;

/// A claim by its place: names with dots between them, `"realm_access.roles"`.
///
/// Where a name has a dot itself, the path is written as a JSON pointer (RFC 6901): it starts with `/`, has `/` between
/// the names, and in a name `~1` stands for `/` and `~0` for `~`. The claim `https://example.com/roles` is
/// `"/https:~1~1example.com~1roles"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    written: String,
    /// At least one.
    names: Vec<String>,
}

impl Path {
    /// The claim at this place. Names lead through objects only; `null` is a value.
    pub fn get<'c>(&self, claims: &'c Claims) -> Option<&'c Value> {
        let (first, rest) = self.names.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
    }

    /// The first name: the claim that the whole path is in.
    pub fn claim(&self) -> &str {
        &self.names[0]
    }
}

/// As it was written.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        if written.len() > MAX_PATH_BYTES {
            return Err(format!("a path of a claim has at most {MAX_PATH_BYTES} bytes"));
        }
        let names = match written.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(unescape).collect::<Result<Vec<_>, _>>()?,
            None if written.contains("://") => return Err(pointer_needed(written)),
            None => written.split('.').map(str::to_owned).collect(),
        };
        if names.len() > MAX_PATH_NAMES {
            return Err(format!("a path of a claim has at most {MAX_PATH_NAMES} names"));
        }
        if names.iter().any(String::is_empty) {
            return Err(format!("`{}` has an empty name: it is no path of a claim", written.escape_debug()));
        }
        Ok(Self { written: written.to_owned(), names })
    }
}

/// The error for a path that looks like a URL: it is meant as one name, and would be split at its dots.
fn pointer_needed(written: &str) -> String {
    let name = written.replace('~', "~0").replace('/', "~1");
    format!("`{}` has dots that separate names: write \"/{}\"", written.escape_debug(), name.escape_debug())
}

/// One name of a JSON pointer (RFC 6901 section 4).
fn unescape(name: &str) -> Result<String, String> {
    let mut pieces = name.split('~');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (escaped, rest) = match piece.as_bytes().first() {
            Some(b'0') => ('~', &piece[1..]),
            Some(b'1') => ('/', &piece[1..]),
            _ => return Err(format!("`{}`: after `~` comes `0` or `1`", name.escape_debug())),
        };
        plain.push(escaped);
        plain.push_str(rest);
    }
    Ok(plain)
}

impl<'de> Deserialize<'de> for Path {
    /// Uses a visitor, so that the problem of one path of several is reported at that path.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Path;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: de::Error>(self, written: &str) -> Result<Path, E> {
                written.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for Path {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClaimPath".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_PATH_BYTES,
            "description": "a claim: \"sub\", \"realm_access.roles\", or \"/https:~1~1example.com~1roles\""
        })
    }
    fn inline_schema() -> bool {
        true
    }
}
