//! `[routes.NAME]`.

use std::{fmt, str::FromStr};

use http::{HeaderName, StatusCode};
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::{Accepted, Filled, Hsts, HttpsRedirect, Parsed};
use crate::router::{HostPattern, MethodSet, PathPattern};

/// `[routes.NAME]`, without `auth` and `plugins`, which are walked by hand.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    /// Hosts it matches; none: any.
    pub hosts: Option<Filled<Parsed<HostPattern>>>,
    /// Paths it matches.
    pub paths: Filled<Parsed<PathPattern>>,
    /// Methods it matches; none: the usual ones.
    pub methods: Option<Methods>,
    /// Headers that a request must have: a value, or `true` for any value.
    #[serde(default)]
    pub headers: HeaderRules,
    /// The upstream it forwards to.
    pub upstream: Option<Spanned<String>>,
    /// An answer of the gateway's own, instead of an upstream.
    pub respond: Option<Respond>,
    /// Lets everybody in, without authentication.
    #[serde(default)]
    pub public: bool,
    /// The consumer that a request without any credential counts as.
    pub anonymous: Option<Spanned<String>>,
    /// The default plugins that are left out.
    #[serde(default)]
    pub without: Vec<Spanned<String>>,
    /// `"accepted"`: this open catch-all may stand beside protected routes of the same upstream.
    pub overlap: Option<Accepted>,
    /// Lets `%2F` pass as data.
    #[serde(default)]
    pub allow_encoded_slash: bool,
    /// The largest request body; 0: no limit.
    pub max_body_bytes: Option<u64>,
    /// The realm of challenges (RFC 9110 section 11.5); the route's name where absent.
    pub realm: Option<Parsed<Realm>>,
    /// The port that clients are redirected to that did not come over TLS, instead of the listener's setting; `false`:
    /// no redirect.
    pub https_redirect: Option<HttpsRedirect>,
    /// The value of `Strict-Transport-Security`, instead of the listener's setting.
    pub hsts: Option<Parsed<Hsts>>,
}

/// The methods of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Methods(pub MethodSet);

impl<'de> Deserialize<'de> for Methods {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Methods;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Methods, A::Error> {
                let list: Filled<String> = Filled::deserialize(de::value::SeqAccessDeserializer::new(list))?;
                MethodSet::from_list(&list.0).map(Methods).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_seq(Visitor)
    }
}

/// A realm: text that may stand between the quotes of a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Realm(pub String);

impl FromStr for Realm {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            true => Ok(Self(text.to_owned())),
            false => Err("a realm is made of visible ASCII characters and spaces: it is sent in a header"),
        }
    }
}

/// A table of headers. Names that differ only in case are one header: the second is an error, so that none gets lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeaderRules(pub Vec<(HeaderName, HeaderRule)>);

impl<'de> Deserialize<'de> for HeaderRules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Decodes a name and refuses one that is already there, so that the error has its own location.
        struct NewName<'r>(&'r [(HeaderName, HeaderRule)]);
        impl<'de> de::DeserializeSeed<'de> for NewName<'_> {
            type Value = HeaderName;
            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<HeaderName, D::Error> {
                let text = String::deserialize(deserializer)?;
                let name: HeaderName =
                    text.parse().map_err(|_| de::Error::custom(format!("`{text}` is not a header's name")))?;
                match self.0.iter().any(|(known, _)| *known == name) {
                    true => Err(de::Error::custom(format!("the header `{name}` is already in this table"))),
                    false => Ok(name),
                }
            }
        }
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = HeaderRules;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of headers and their values")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<HeaderRules, A::Error> {
                let mut rules = Vec::new();
                while let Some(name) = map.next_key_seed(NewName(&rules))? {
                    rules.push((name, map.next_value()?));
                }
                rules.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
                Ok(HeaderRules(rules))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// The value that a header must have for a route to match; `None`: any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderRule(pub Option<String>);

impl<'de> Deserialize<'de> for HeaderRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = HeaderRule;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the header's value, or true where any value does")
            }
            fn visit_bool<E: de::Error>(self, is_present: bool) -> Result<HeaderRule, E> {
                if is_present {
                    Ok(HeaderRule(None))
                } else {
                    Err(E::custom("a route cannot ask for a header's absence"))
                }
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<HeaderRule, E> {
                Ok(HeaderRule(Some(text.to_owned())))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// `respond = { ... }`: an answer of the gateway's own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Respond {
    /// Answers with the request that would have been forwarded.
    #[serde(default)]
    pub echo: bool,
    /// The status; 200 where absent.
    pub status: Option<Status>,
    /// The body.
    pub body: Option<String>,
    /// The body's media type; text where absent.
    pub content_type: Option<Parsed<http::HeaderValue>>,
}

/// The status of an answer of the gateway's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub StatusCode);

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Status;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status between 200 and 999")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Status, E> {
                let status = u16::try_from(number).ok().and_then(|number| StatusCode::from_u16(number).ok());
                let status = status.filter(|status| !status.is_informational());
                status.map(Status).ok_or_else(|| E::custom("a status is between 200 and 999"))
            }
        }
        deserializer.deserialize_i64(Visitor)
    }
}
