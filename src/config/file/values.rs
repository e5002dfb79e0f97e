//! Values that check themselves while they are decoded, so that a wrong one is an error at its own location.

use std::{fmt, marker::PhantomData, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use portcullis_plugin::{SecretSource, Span};
use serde::{Deserialize, Deserializer, de};

/// A string that is parsed by `FromStr`, so that a wrong one is an error at its own location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parsed<T>(pub T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);
        impl<T: FromStr<Err: fmt::Display>> de::Visitor<'_> for Visitor<T> {
            type Value = Parsed<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Parsed<T>, E> {
                text.parse().map(Parsed).map_err(|error| E::custom(format!("`{text}`: {error}")))
            }
        }
        deserializer.deserialize_str(Visitor(PhantomData))
    }
}

/// A non-empty list. An empty one would mean "everything" after somebody took the last item out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filled<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Filled<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::or_else("this list is empty: fill it, or leave the field out", deserializer)
    }
}

impl<'de, T: Deserialize<'de>> Filled<T> {
    /// Decodes a list, with this error text if it is empty.
    pub(crate) fn or_else<D: Deserializer<'de>>(empty: &'static str, deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(&'static str, PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = Filled<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Filled<T>, A::Error> {
                let list = Vec::deserialize(de::value::SeqAccessDeserializer::new(list))?;
                if list.is_empty() {
                    return Err(de::Error::custom(self.0));
                }
                Ok(Filled(list))
            }
        }
        deserializer.deserialize_seq(Visitor(empty, PhantomData))
    }
}

/// `"accepted"`: confirms a setting that is known to be dangerous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Accepted {
    /// The danger is accepted.
    Accepted,
}

/// A network, or a single address.
#[derive(Clone, Debug)]
pub(crate) struct Network(pub IpNet);

impl FromStr for Network {
    type Err = String;
    /// Parses a network. Bits beyond the prefix are an error, because it cannot be known which of both was meant. So is
    /// an IPv4-mapped network, which would match nobody: such addresses become IPv4 before they are compared with any
    /// rule.
    fn from_str(text: &str) -> Result<Self, String> {
        let single = || text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        let network: IpNet = text
            .parse()
            .or_else(|_| single())
            .map_err(|_| "not an address or a network such as 203.0.113.0/24".to_owned())?;
        if network.addr() != network.network() {
            let (whole, one) = (network.trunc(), network.addr());
            return Err(format!("this is the network `{whole}`; write that, or `{one}` for the one address"));
        }
        match network {
            IpNet::V6(v6) if v6.prefix_len() >= 96 && v6.addr().to_ipv4_mapped().is_some() => {
                let v4 = v6.addr().to_canonical();
                Err(format!("no address is compared in this form: write `{v4}/{}`", v6.prefix_len() - 96))
            }
            network => Ok(Self(network)),
        }
    }
}

/// The source of a private key: the path of a file, or `{ file = "..." }`, `{ env = "..." }`, `{ credential = "..." }`.
/// A string is a path and never the key itself, which does not belong in a configuration.
#[derive(Clone, Debug)]
pub(crate) struct KeySource(pub SecretSource);

impl<'de> Deserialize<'de> for KeySource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = KeySource;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "the path of a file, or one of { file = \"...\" }, { env = \"...\" }, { credential = \"...\" }",
                )
            }
            fn visit_str<E: de::Error>(self, path: &str) -> Result<KeySource, E> {
                if path.contains("-----BEGIN") {
                    return Err(E::custom("this is a key itself: put it into a file, and write its path here"));
                }
                Ok(KeySource(SecretSource::File(path.into())))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<KeySource, A::Error> {
                SecretSource::deserialize(de::value::MapAccessDeserializer::new(map)).map(KeySource)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A length of time above zero, for a field that stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct SpanAboveZero(#[serde(deserialize_with = "not_zero")] pub Span);

/// Decodes a length of time above zero.
pub(super) fn not_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    let span = Span::deserialize(deserializer)?;
    if span.0.is_zero() { Err(de::Error::custom("this time is zero: nothing would be done in it")) } else { Ok(span) }
}
