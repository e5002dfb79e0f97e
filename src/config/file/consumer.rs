//! `[consumers.NAME]` and their credentials.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use portcullis_plugin::UnixTime;
use serde::{Deserialize, Deserializer, de};
use toml::value::Datetime;

use super::{Filled, Network, Parsed};

/// `[consumers.NAME]`, without its credentials.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Consumer {
    pub groups: Vec<String>,
    pub roles: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub tenant: Option<String>,
    pub client_id: Option<String>,
}

/// The fields that a credential of any kind may have beside its plugin's own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialCommon {
    #[expect(dead_code, reason = "it is checked here, and read where the entry's name is")]
    pub id: Parsed<CredentialId>,
    #[serde(default = "yes")]
    pub enabled: bool,
    pub not_before: Option<Moment>,
    pub expires: Option<Moment>,
    #[serde(default, deserialize_with = "not_to_come")]
    pub created: Option<Moment>,
    #[serde(default)]
    pub scopes: Vec<String>,
    pub routes: Option<Filled<String>>,
    pub addresses: Option<Filled<Parsed<Network>>>,
    pub policies: Option<Policies>,
    pub owner: Option<String>,
    pub tier: Option<String>,
}

fn yes() -> bool {
    true
}

/// The name of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CredentialId(pub String);

impl FromStr for CredentialId {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Self(text.to_owned())),
            false => Err("an id is 1 to 128 visible ASCII characters: it appears in logs and headers"),
        }
    }
}

/// A TOML date and time with its offset; anything less does not define a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub UnixTime);

/// The most that the clock of the machine that made a key may be ahead of this one.
const CLOCK_SKEW: Duration = Duration::from_secs(86_400);

/// Decodes a moment in the past: a key made in the future would outlive every `max_age`.
fn not_to_come<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Moment>, D::Error> {
    let moment = Moment::deserialize(deserializer)?;
    if moment.0 > UnixTime::now().after(CLOCK_SKEW) {
        return Err(de::Error::custom("this is in the future: a key cannot have been made then"));
    }
    Ok(Some(moment))
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let time = Datetime::deserialize(deserializer).map_err(|_| {
            de::Error::custom(
                "this is not a date and time with its offset: write it without quotes, such as 2027-01-01T00:00:00Z",
            )
        })?;
        let text = time.to_string();
        if time.date.is_none() || time.time.is_none() || time.offset.is_none() {
            let why = format!("`{text}` is not a moment: write date, time and offset, such as 2027-01-01T00:00:00Z");
            return Err(de::Error::custom(why));
        }
        let time = text.parse::<jiff::Timestamp>().map_err(de::Error::custom)?;
        Ok(Self(UnixTime(time.as_second())))
    }
}

/// The policies a credential opens: a list of names, or `"any"`.
#[derive(Clone, Debug)]
pub(crate) enum Policies {
    /// All policies of its kind.
    Any,
    /// The policies of these names.
    Named(Vec<String>),
}

impl<'de> Deserialize<'de> for Policies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Policies;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of policies, or \"any\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Policies, E> {
                if text == "any" { Ok(Policies::Any) } else { Err(E::custom("write a list of policies, or \"any\"")) }
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Policies, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(list)).map(Policies::Named)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
