use std::{fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

/// A length of time as a configuration writes it: `"250ms"`, `"30s"`, `"90d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// The longest span that a configuration can have; every clock can add it to the current time.
    pub const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time with its unit, such as \"30s\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                // Nobody means months by a single letter, and a limit of five months looks like one of five minutes.
                if text.contains('M') {
                    let text = format!("`{text}`: `M` stands for months; write `m` for minutes, or `months`");
                    return Err(E::custom(text));
                }
                let span = humantime::parse_duration(text).map_err(|_| {
                    E::custom(format!("`{text}` is not a length of time: write it with a unit, such as \"30s\""))
                })?;
                if span > Span::LONGEST {
                    return Err(E::custom(format!("`{text}` is longer than ten years")));
                }
                Ok(Span(span))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "a length of time, such as \"30s\"" })
    }
    fn inline_schema() -> bool {
        true
    }
}

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// The system's clock. Before 1970 counts as 1970.
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(since.as_secs().cast_signed())
    }

    /// This many later; stays at the end of time rather than wrapping round.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_secs()).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use serde::de::{IntoDeserializer, value::Error};

    use super::*;

    #[test]
    fn a_span_has_a_unit_that_nobody_takes_for_another() {
        let span = |text: &str| {
            let decoder = IntoDeserializer::<Error>::into_deserializer(text);
            Span::deserialize(decoder).map(|span| span.0.as_secs()).map_err(|error| error.to_string())
        };
        assert_eq!((span("5m"), span("1h 30m"), span("90days")), (Ok(300), Ok(5400), Ok(90 * 86_400)));
        assert!(span("3months").is_ok_and(|seconds| seconds > 90 * 86_400));
        for text in ["5M", "5 M", "1h 5M"] {
            assert_eq!(span(text), Err(format!("`{text}`: `M` stands for months; write `m` for minutes, or `months`")));
        }
        assert!(span("5").is_err() && span("").is_err() && span("5S").is_err() && span("11years").is_err());
    }
}
