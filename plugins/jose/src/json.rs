//! A strict reader of JSON, which refuses texts that two readers could read differently.
//!
//! serde_json and jsonwebtoken keep the last of several members of one name, other libraries the first, and which of
//! the two an upstream uses nobody here knows. So a member that comes twice is refused, at every level (RFC 8259
//! section 4, RFC 7515 section 4, RFC 7519 section 4). jsonwebtoken's own types for headers, claims and keys cannot do
//! that, which is why they are not used on texts from outside.

use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The deepest nesting of arrays and objects in a token's parts and in key sets.
pub const MAX_DEPTH: usize = 32;

/// Reads a whole text as one object.
///
/// # Errors
/// It is not JSON in UTF-8, not an object, nested deeper than [`MAX_DEPTH`], or names a member twice. The message is for
/// an operator: of a value it shows at most its type.
pub(crate) fn object(text: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    read(text, Doubles::Refuse)
}

/// The same, but an object inside of it that names a member twice is `null`: one entry of a list that cannot be read does
/// not keep the others from being read.
///
/// # Errors
/// As [`object`].
pub(crate) fn object_of_entries(text: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    read(text, Doubles::NullInside)
}

fn read(text: &[u8], doubles: Doubles) -> Result<Map<String, Value>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth_left: MAX_DEPTH, doubles }.deserialize(&mut reader)?;
    reader.end()?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(de::Error::custom("is not an object")),
    }
}

/// Treatment of an object that names a member twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubles {
    /// The whole text is refused.
    Refuse,
    /// The object is read as `null`, unless it is the outermost one.
    NullInside,
}

/// Reads one value.
#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
    doubles: Doubles,
}

impl Strict {
    /// For what stands inside of this value.
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1).ok_or_else(|| E::custom("is nested too deep"))?;
        Ok(Self { depth_left, ..self })
    }

    /// Returns `true` if an object may be read as `null`.
    fn is_forgiven(self) -> bool {
        self.doubles == Doubles::NullInside && self.depth_left < MAX_DEPTH
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(inside)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut map = Map::new();
        let mut is_double = false;
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inside)?;
            is_double |= map.insert(name, value).is_some();
            if is_double && !self.is_forgiven() {
                return Err(de::Error::custom("has a member twice"));
            }
        }
        Ok(if is_double { Value::Null } else { Value::Object(map) })
    }
}

#[cfg(test)]
mod tests;
