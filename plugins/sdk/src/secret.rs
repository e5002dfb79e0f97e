use std::{fmt, path::PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A value that must not be seen: it prints as `***`, is wiped when dropped, and compares in constant time.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over the bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves. Whoever calls this answers for where they go.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a secret comes from: `"the value"`, `{ env = "NAME" }`, `{ file = "path" }` or `{ credential = "name" }` (a
/// credential that systemd passes on). [`BuildCx::secret`](crate::BuildCx::secret) reads it.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// Written in the configuration itself.
    Value(Secret),
    /// The environment variable of this name, as it was when the process started.
    Env(String),
    /// A file; a path that is not absolute starts at the configuration's folder. One newline at the end is dropped.
    File(PathBuf),
    /// A credential that systemd passes by `LoadCredential=`: a file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = SecretSource;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a secret: a string, or one of { env = \"NAME\" }, { file = \"path\" }, { credential = \"name\" }",
                )
            }
            // Serde's own words for a wrong type show the value.
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<SecretSource, E> {
                Err(E::custom("a secret is a string: put it in quotes"))
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretSource, E> {
                self.visit_bool(false)
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretSource, E> {
                self.visit_bool(false)
            }
            fn visit_i128<E: de::Error>(self, _: i128) -> Result<SecretSource, E> {
                self.visit_bool(false)
            }
            fn visit_u128<E: de::Error>(self, _: u128) -> Result<SecretSource, E> {
                self.visit_bool(false)
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretSource, E> {
                self.visit_bool(false)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretSource, E> {
                Ok(SecretSource::Value(Secret::new(text.as_bytes().to_vec())))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<SecretSource, A::Error> {
                let Some((kind, value)) = map.next_entry::<String, String>()? else {
                    return Err(de::Error::custom("a secret names one of `env`, `file`, `credential`"));
                };
                if map.next_key::<String>()?.is_some() {
                    return Err(de::Error::custom("a secret comes from one place: `env`, `file` or `credential`"));
                }
                match kind.as_str() {
                    "env" => Ok(SecretSource::Env(value)),
                    "file" => Ok(SecretSource::File(value.into())),
                    "credential" => Ok(SecretSource::Credential(value)),
                    other => Err(de::Error::unknown_field(other, &["env", "file", "credential"])),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for SecretSource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "object"],
            "properties": {
                "env": { "type": "string", "description": "The environment variable, as it was at the start." },
                "file": { "type": "string", "description": "The file; without one newline at its end." },
                "credential": { "type": "string", "description": "The credential that systemd passes." }
            },
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
            "description": "a secret: a string, or one of { env = \"NAME\" }, { file = \"path\" }, { credential = \"name\" }"
        })
    }
    fn inline_schema() -> bool {
        true
    }
}
