use std::fmt;

use portcullis_plugin::Claims;
use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::Path;

/// The longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1024;
/// The most memory that a compiled pattern takes, in bytes.
pub const MAX_PATTERN_PROGRAM_BYTES: usize = 256 << 10;

/// A rule on one claim: `{ claim = "plan", equals = "gold" }`. A claim that is absent, or that is not of the type which
/// the condition speaks of, fails every condition but `absent`.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(with = "RawRule")]
pub struct Rule {
    /// Which claim.
    pub claim: Path,
    /// The condition that it has to meet.
    pub condition: Condition,
}

/// A condition that a claim has to meet.
#[derive(Clone, Debug)]
pub enum Condition {
    /// It is this value.
    Equals(Scalar),
    /// It is one of these values.
    OneOf(Vec<Scalar>),
    /// It is a list that holds all of these. Text counts as the list of its words, as `scope` has them.
    ContainsAll(Vec<Scalar>),
    /// It is a list that holds at least one of these.
    ContainsAny(Vec<Scalar>),
    /// It is text, and the pattern fits the whole of it.
    Matches(Regex),
    /// It is there, and not `null`.
    Exists,
    /// It is not there at all; `null` is there.
    Absent,
}

/// A value that a claim is compared with: text, a whole number, or `true` and `false`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "text, a whole number, true or false")]
pub enum Scalar {
    /// Text, compared character by character.
    Text(String),
    /// A number.
    Number(i64),
    /// `true` or `false`.
    Flag(bool),
}

/// A rule on one claim. It names exactly one condition.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawRule {
    /// The claim: `"sub"`, `"realm_access.roles"`, or `"/https:~1~1example.com~1roles"` where a name has dots itself.
    claim: Path,
    /// The claim is this value.
    equals: Option<Scalar>,
    /// The claim is one of these values.
    one_of: Option<Vec<Scalar>>,
    /// The claim is a list, or words with spaces between them, that holds all of these.
    contains_all: Option<Vec<Scalar>>,
    /// The claim is a list, or words with spaces between them, that holds at least one of these.
    contains_any: Option<Vec<Scalar>>,
    /// The claim is text, and this regular expression fits the whole of it.
    matches: Option<String>,
    /// `true`: the claim is there, whatever its value, but not `null`.
    exists: Option<bool>,
    /// `true`: the claim is not there.
    absent: Option<bool>,
}

impl Rule {
    /// Returns `true` if the claims meet the rule.
    pub fn holds(&self, claims: &Claims) -> bool {
        let value = self.claim.get(claims);
        match (&self.condition, value) {
            (Condition::Absent, value) => value.is_none(),
            (_, None) => false,
            (Condition::Exists, Some(value)) => !value.is_null(),
            (Condition::Equals(expected), Some(value)) => expected.is(value),
            (Condition::OneOf(expected), Some(value)) => expected.iter().any(|expected| expected.is(value)),
            (Condition::ContainsAll(expected), Some(value)) => expected.iter().all(|expected| expected.is_in(value)),
            (Condition::ContainsAny(expected), Some(value)) => expected.iter().any(|expected| expected.is_in(value)),
            (Condition::Matches(pattern), Some(value)) => value.as_str().is_some_and(|text| pattern.is_match(text)),
        }
    }
}

impl Scalar {
    /// Returns `true` if a claim is this value. Types count: `"1"` is not `1`. Of numbers only the value does: `1` is
    /// `1.0`.
    pub fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text(expected), Value::String(text)) => expected == text,
            (Self::Flag(expected), Value::Bool(flag)) => expected == flag,
            (Self::Number(expected), Value::Number(number)) => match number.as_i64() {
                Some(number) => number == *expected,
                // Above 2^53 a fraction can no longer be told from a whole number.
                None => number.as_f64().is_some_and(|number| is_whole(number) && number as i64 == *expected),
            },
            _ => false,
        }
    }

    /// Returns `true` if a claim is a list with this value in it, or text with this word in it.
    pub fn is_in(&self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Array(values)) => values.iter().any(|value| self.is(value)),
            (Self::Text(word), Value::String(text)) => text.split(' ').any(|of| of == word),
            _ => false,
        }
    }
}

fn is_whole(number: f64) -> bool {
    const EXACT: f64 = (1_u64 << 53) as f64;
    number.fract() == 0.0 && number.abs() < EXACT
}

impl TryFrom<RawRule> for Rule {
    type Error = String;

    fn try_from(raw: RawRule) -> Result<Self, String> {
        let conditions = [
            raw.equals.map(|value| Ok(Condition::Equals(value))),
            raw.one_of.map(|values| filled("one_of", values).map(Condition::OneOf)),
            raw.contains_all.map(|values| words("contains_all", values).map(Condition::ContainsAll)),
            raw.contains_any.map(|values| words("contains_any", values).map(Condition::ContainsAny)),
            raw.matches.map(|pattern| whole(&pattern).map(Condition::Matches)),
            raw.exists.map(|exists| if exists { Ok(Condition::Exists) } else { Err(is_false("exists", "absent")) }),
            raw.absent.map(|absent| if absent { Ok(Condition::Absent) } else { Err(is_false("absent", "exists")) }),
        ];
        let mut conditions = conditions.into_iter().flatten();
        const KINDS: &str = "`equals`, `one_of`, `contains_all`, `contains_any`, `matches`, `exists`, `absent`";
        match (conditions.next(), conditions.next()) {
            (Some(condition), None) => Ok(Self { claim: raw.claim, condition: condition? }),
            (None, _) => Err(format!("a rule says what has to be true of the claim: one of {KINDS}")),
            (Some(_), Some(_)) => Err("a rule has one condition: write a second rule for the other".to_owned()),
        }
    }
}

fn is_false(name: &str, opposite: &str) -> String {
    format!("`{name} = false` is written `{opposite} = true`")
}

/// An empty list would be true of every claim, or of none.
fn filled(name: &str, values: Vec<Scalar>) -> Result<Vec<Scalar>, String> {
    if values.is_empty() { Err(format!("`{name}` is empty: name at least one value")) } else { Ok(values) }
}

/// Checks that each value can be one word of a text: one that cannot would be found in lists only.
fn words(name: &str, values: Vec<Scalar>) -> Result<Vec<Scalar>, String> {
    if values.contains(&Scalar::Text(String::new())) {
        return Err(format!("`{name}` holds an empty text, which is no word"));
    }
    filled(name, values)
}

/// A pattern that fits a whole text. The engine takes time linear in the text, whatever the pattern.
fn whole(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!("a pattern has at most {MAX_PATTERN_BYTES} bytes"));
    }
    let compiled = |pattern: &str| {
        let mut builder = RegexBuilder::new(pattern);
        builder.size_limit(MAX_PATTERN_PROGRAM_BYTES).dfa_size_limit(MAX_PATTERN_PROGRAM_BYTES);
        builder.build().map_err(|error| error.to_string())
    };
    // Alone first: `a)|(b` is no pattern, but would be one between our parentheses, and fit more than it says.
    compiled(pattern)?;
    compiled(&format!(r"\A(?:{pattern})\z"))
}

impl<'de> Deserialize<'de> for Rule {
    /// Uses a visitor, so that the problem of one rule of several is reported at that rule.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Rule;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rule, such as { claim = \"plan\", equals = \"gold\" }")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Rule, A::Error> {
                let raw = RawRule::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Rule::try_from(raw).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
