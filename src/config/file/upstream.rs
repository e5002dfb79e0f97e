//! The shape of `[upstreams]`.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use portcullis_plugin::Span;
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::{Accepted, Filled, KeySource, Parsed, not_zero};
use crate::{
    router::host_key,
    upstream::windows::{DEFAULT_STREAM_BYTES, MAX_STREAM_BYTES},
};

/// `[upstreams.NAME]`: servers that requests are forwarded to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Upstream {
    /// The servers.
    #[serde(deserialize_with = "one_target_or_more")]
    pub targets: Filled<Spanned<Target>>,
    /// The time that a connection may take to open, TLS included.
    #[serde(default = "five_seconds")]
    #[serde(deserialize_with = "not_zero")]
    pub connect_timeout: Span,
    /// The time that the upstream may stay silent.
    #[serde(default = "one_minute")]
    #[serde(deserialize_with = "not_zero")]
    pub read_timeout: Span,
    /// The time that the upstream may take to accept a piece of the request.
    #[serde(default = "one_minute")]
    #[serde(deserialize_with = "not_zero")]
    pub write_timeout: Span,
    /// The time that an unused connection is kept.
    #[serde(default = "one_minute")]
    #[serde(deserialize_with = "not_zero")]
    pub idle_timeout: Span,
    /// The window of an HTTP/2 stream from the upstream.
    #[serde(default, deserialize_with = "window")]
    pub http2_window_bytes: Option<u32>,
    /// The `Host` header that is sent instead of the client's.
    pub host: Option<Parsed<http::uri::Authority>>,
    /// The protocol; absent: HTTP/1.1, over TLS also HTTP/2 if the server offers it (ALPN, RFC 7301).
    pub protocol: Option<Protocol>,
    /// `true`, or TLS settings; absent or `false`: no TLS.
    #[serde(default, deserialize_with = "tls")]
    pub tls: Option<UpstreamTls>,
}

fn one_target_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Filled<Spanned<Target>>, D::Error> {
    Filled::or_else("an upstream needs at least one target", deserializer)
}

fn window<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let bytes = u32::deserialize(deserializer)?;
    if (DEFAULT_STREAM_BYTES..=MAX_STREAM_BYTES).contains(&bytes) {
        return Ok(Some(bytes));
    }
    let range = format!("a window has {DEFAULT_STREAM_BYTES} to {MAX_STREAM_BYTES} bytes, not {bytes}");
    Err(de::Error::custom(range))
}

fn five_seconds() -> Span {
    Span(Duration::from_secs(5))
}

fn one_minute() -> Span {
    Span(Duration::from_secs(60))
}

/// The protocol spoken with an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS (prior knowledge), as gRPC servers speak it.
    H2c,
    /// HTTP/2 over TLS only.
    H2,
}

/// `[upstreams.NAME.tls]`: how the upstream's certificate is verified, and the gateway's own client certificate.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct UpstreamTls {
    /// PEM file of the CAs that are trusted, and no others; absent: the system's.
    pub ca: Option<PathBuf>,
    /// The name that is sent as SNI and must be in the certificate; absent: the target's own.
    pub server_name: Option<Parsed<ServerName>>,
    /// PEM file of the gateway's own certificate, followed by its intermediates.
    pub cert: Option<PathBuf>,
    /// The key of `cert`.
    pub key: Option<KeySource>,
    /// `"accepted"`: the upstream's certificate is not verified.
    pub unverified: Option<Accepted>,
}

fn tls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UpstreamTls>, D::Error> {
    struct Visitor;
    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Option<UpstreamTls>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true, or a table such as { ca = \"tls/internal-ca.pem\" }")
        }
        fn visit_bool<E: de::Error>(self, is_on: bool) -> Result<Option<UpstreamTls>, E> {
            Ok(is_on.then(UpstreamTls::default))
        }
        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Option<UpstreamTls>, A::Error> {
            UpstreamTls::deserialize(de::value::MapAccessDeserializer::new(map)).map(Some)
        }
    }
    deserializer.deserialize_any(Visitor)
}

/// The name that a certificate must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerName {
    /// A name, in lower case and without a dot at the end.
    Dns(String),
    /// An address. It is not sent as SNI, which has names only (RFC 6066 section 3).
    Ip(IpAddr),
}

/// The longest DNS name as text (RFC 1035 section 2.3.4).
const MAX_NAME_BYTES: usize = 253;

impl FromStr for ServerName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let is_name = text.len() <= MAX_NAME_BYTES && text.chars().all(is_letter);
        let name = is_name.then(|| host_key(text.as_bytes())).flatten();
        name.map(|name| Self::Dns(name.into_owned())).ok_or("not a host's name or an IP address")
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// One server: `"10.0.0.1:9000"` or `{ address = "10.0.0.1:9000", weight = 2 }`.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Host and port.
    pub address: String,
    /// Its share of the requests, relative to the others'.
    pub weight: u32,
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Weighted {
            address: String,
            weight: u32,
        }
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Target;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"host:port\" or { address = \"host:port\", weight = 2 }")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Target, E> {
                Ok(Target { address: text.to_owned(), weight: 1 })
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Target, A::Error> {
                let Weighted { address, weight } = Weighted::deserialize(de::value::MapAccessDeserializer::new(map))?;
                if !(1..=100).contains(&weight) {
                    return Err(de::Error::custom("a weight is between 1 and 100"));
                }
                Ok(Target { address, weight })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
