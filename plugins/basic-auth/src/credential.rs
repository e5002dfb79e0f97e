use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use crate::{PasswordHash, USERNAME_MAX_BYTES, is_username};

/// A consumer's credential: a user name, and the hash of the password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordEntry {
    /// The user name. Several entries of one consumer may have the same, so that a new password works before the old one
    /// ends.
    pub username: Username,
    /// As `portcullis password hash` prints it: Argon2id, or bcrypt.
    pub password_hash: PasswordHash,
    /// Known only so that it can be refused in words of its own.
    #[serde(rename = "password")]
    #[schemars(skip)]
    _password: Option<PlainPassword>,
}

/// A password in the file, of which there is none.
enum PlainPassword {}

impl<'de> Deserialize<'de> for PlainPassword {
    /// Refuses without looking at the value, which therefore cannot show up in the message.
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("passwords are not kept in the file: `portcullis password hash` makes the line to paste"))
    }
}

/// A name that a client can send: not empty, no colon, no control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username(String);

impl Username {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Username {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name.contains(':') {
            return Err(de::Error::custom("no user name has a colon: it ends at the first one (RFC 7617 section 2)"));
        }
        if !is_username(&name) {
            let why = format!("is not a user name: 1 to {USERNAME_MAX_BYTES} bytes without control characters");
            return Err(de::Error::custom(why));
        }
        Ok(Self(name))
    }
}

impl JsonSchema for Username {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Username".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[^:\\u0000-\\u001f\\u007f-\\u009f]+$" })
    }
    fn inline_schema() -> bool {
        true
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    /// No error shows the value: it may be a password that was pasted into the wrong field.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = PasswordHash;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a password hash, as `portcullis password hash` prints them")
            }
            // Serde's own words for a wrong type show the value.
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<PasswordHash, E> {
                self.visit_str("")
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<PasswordHash, E> {
                self.visit_str("")
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<PasswordHash, E> {
                self.visit_str("")
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<PasswordHash, E> {
                self.visit_str("")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<PasswordHash, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for PasswordHash {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PasswordHash".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^\\$(argon2id|2[aby])\\$" })
    }
    fn inline_schema() -> bool {
        true
    }
}
