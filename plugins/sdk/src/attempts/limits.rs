use std::{fmt, num::NonZeroU32, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use crate::{BuildError, Span};

/// The time for which it is remembered that a principal succeeded from an address.
pub(super) const PROVEN_KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// The wait of an attempt while others of its kind are under way.
pub(super) const UNDER_WAY_WAIT: Duration = Duration::from_secs(1);

/// The number of attempts that may fail: `{ per_principal = 5, per_address = 100, per_policy = 1000, window = "15m" }`,
/// or `false` for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(with = "Written")]
pub enum AttemptLimits {
    /// No limit.
    #[default]
    Off,
    /// These.
    On(AttemptTable),
}

/// The limits, where there are any. A field that is left out has its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AttemptTable {
    /// So many failures of one principal from one address, and the two have to wait; 5 unless said.
    pub per_principal: NonZeroU32,
    /// So many different failures from one address (IPv6: one /64), and it has to wait; 100 unless said.
    pub per_address: NonZeroU32,
    /// So many different failures in a `window`, from everywhere, and whoever has not succeeded from their address within
    /// a day has to wait; 1000 unless said, at most 30000.
    pub per_policy: NonZeroU32,
    /// The time for which failures count, and the longest wait; 15 minutes unless said.
    pub window: Span,
}

/// The forms in which the limits stand in the file.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is only described")]
enum Written {
    Switch(bool),
    Table(AttemptTable),
}

impl Default for AttemptTable {
    /// NIST SP 800-63B section 5.2.2 asks for at most 100 failures in a row; five are enough for a person who mistypes.
    fn default() -> Self {
        Self {
            per_principal: const { NonZeroU32::new(5).unwrap() },
            per_address: const { NonZeroU32::new(100).unwrap() },
            per_policy: const { NonZeroU32::new(1000).unwrap() },
            window: Span(Duration::from_secs(15 * 60)),
        }
    }
}

impl<'de> Deserialize<'de> for AttemptLimits {
    /// By a visitor, so that what is wrong with one field is told at that field.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = AttemptLimits;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("limits, such as { per_principal = 5, per_address = 100, window = \"15m\" }, or false")
            }
            fn visit_bool<E: de::Error>(self, is_on: bool) -> Result<AttemptLimits, E> {
                Ok(if is_on { AttemptLimits::On(AttemptTable::default()) } else { AttemptLimits::Off })
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<AttemptLimits, A::Error> {
                AttemptTable::deserialize(de::value::MapAccessDeserializer::new(map)).map(AttemptLimits::On)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl AttemptTable {
    /// The shortest window: below it the first wait would be over before an answer reached anybody.
    pub const WINDOW_MIN: Duration = Duration::from_secs(1);
    /// The longest window, and so the longest that anybody has to wait.
    pub const WINDOW_MAX: Duration = Duration::from_secs(24 * 60 * 60);

    /// The most that `per_policy` may be, so that a window of failures fits into what they are counted in.
    pub const PER_POLICY_MAX: u32 = 30_000;

    pub(super) fn check(&self) -> Result<(), BuildError> {
        let mut problems = Vec::new();
        if !(Self::WINDOW_MIN..=Self::WINDOW_MAX).contains(&self.window.0) {
            problems
                .push(("attempts.window".to_owned(), format!("`{}` is not between a second and a day", self.window)));
        }
        if self.per_policy.get() > Self::PER_POLICY_MAX {
            let text = format!("{} is more than {}", self.per_policy, Self::PER_POLICY_MAX);
            problems.push(("attempts.per_policy".to_owned(), text));
        }
        if problems.is_empty() { Ok(()) } else { Err(BuildError { problems }) }
    }
}
