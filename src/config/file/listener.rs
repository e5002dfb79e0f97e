//! `[[listeners]]`: the addresses where connections are accepted, and their TLS settings.

use std::{fmt, net::SocketAddr, num::NonZeroU8, path::PathBuf, str::FromStr, time::Duration};

use http::HeaderValue;
use portcullis_plugin::Span;
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::{Filled, KeySource, Network, Parsed, not_zero};

/// `[[listeners]]`, without `tls`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listener {
    /// An IP address with its port.
    #[serde(deserialize_with = "socket_address")]
    pub address: SocketAddr,
    /// Allows HTTP/2 without TLS (prior knowledge, RFC 9113 section 3.3).
    #[serde(default)]
    pub h2c: bool,
    /// Networks of load balancers that begin each connection with a PROXY protocol header naming the client. A
    /// connection from one of them without a valid header is rejected; the header is not read from anybody else.
    pub proxy_protocol: Option<Filled<Parsed<Network>>>,
    /// Redirects clients that did not come over TLS to this port, with 308; `true`: to the default port.
    #[serde(default)]
    pub https_redirect: HttpsRedirect,
    /// The value of `Strict-Transport-Security` in every response (RFC 6797), such as `"max-age=31536000"`.
    pub hsts: Option<Parsed<Hsts>>,
}

/// Decodes an address. A name is refused, because it is not clear which of its addresses to bind.
fn socket_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    struct Address(SocketAddr);
    impl FromStr for Address {
        type Err = &'static str;
        fn from_str(text: &str) -> Result<Self, Self::Err> {
            text.parse().map(Self).map_err(|_| "write an IP address with its port, such as \"127.0.0.1:8080\"")
        }
    }
    Parsed::<Address>::deserialize(deserializer).map(|address| address.0.0)
}

/// The port that clients are redirected to that did not come over TLS, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HttpsRedirect(pub Option<u16>);

impl<'de> Deserialize<'de> for HttpsRedirect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = HttpsRedirect;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or the port of the TLS listener")
            }
            fn visit_bool<E: de::Error>(self, is_on: bool) -> Result<HttpsRedirect, E> {
                Ok(HttpsRedirect(is_on.then_some(443)))
            }
            fn visit_i64<E: de::Error>(self, port: i64) -> Result<HttpsRedirect, E> {
                let port = u16::try_from(port).ok().filter(|port| *port > 0);
                port.map(|port| HttpsRedirect(Some(port))).ok_or_else(|| E::custom("a port is between 1 and 65535"))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The value of `Strict-Transport-Security` (RFC 6797 section 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hsts(pub HeaderValue);

impl FromStr for Hsts {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "write `max-age=SECONDS`, and after it `; includeSubDomains` and `; preload` if they are meant";
        let mut directives = text.split(';').map(str::trim);
        let age = directives.next().and_then(|first| first.strip_prefix("max-age=")).ok_or(wrong)?;
        let is_age = !age.is_empty() && age.len() <= 10 && age.bytes().all(|byte| byte.is_ascii_digit());
        let mut rest = directives.collect::<Vec<_>>();
        let count = rest.len();
        rest.sort_unstable();
        rest.dedup();
        if !is_age || count != rest.len() || rest.iter().any(|rest| !matches!(*rest, "includeSubDomains" | "preload")) {
            return Err(wrong);
        }
        HeaderValue::from_str(text).map(Self).map_err(|_| wrong)
    }
}

/// `[listeners.tls]`, without `names` and without the fields of [`Clients`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// Certificates with their keys. The one that a client sees follows from the name it asks for and the names inside
    /// the certificates.
    pub certificates: Filled<Certificate>,
    /// The answer to a client that asks for no name, or for one that no certificate has.
    #[serde(default)]
    pub unknown_name: UnknownName,
    /// The minimum version.
    #[serde(default)]
    pub min_version: Version,
    /// Cipher suites of TLS 1.2, in the order of preference; absent: all that have forward secrecy and authenticate
    /// what they encrypt.
    pub ciphers: Option<Filled<Parsed<Cipher>>>,
    /// Cipher suites of TLS 1.3, in order of preference.
    pub ciphersuites: Option<Filled<Parsed<Ciphersuite>>>,
    /// Groups for the key exchange, in order of preference.
    pub groups: Option<Filled<Parsed<Group>>>,
    /// Offers HTTP/2 (ALPN, RFC 7301).
    #[serde(default = "yes")]
    pub http2: bool,
    /// The time that a handshake may take.
    #[serde(default = "ten_seconds")]
    #[serde(deserialize_with = "not_zero")]
    pub handshake_timeout: Span,
    /// The interval at which certificate files are checked for changes; once they have changed they are read again.
    /// Absent: only at a reload.
    #[serde(default)]
    #[serde(deserialize_with = "watched")]
    pub watch: Option<Span>,
}

/// Decodes the interval, which has a minimum because each check costs a little for each file.
fn watched<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Span>, D::Error> {
    let every = Span::deserialize(deserializer)?;
    if every.0 < Duration::from_secs(1) {
        return Err(de::Error::custom("files are looked at once a second at most"));
    }
    Ok(Some(every))
}

fn yes() -> bool {
    true
}

fn ten_seconds() -> Span {
    Span(Duration::from_secs(10))
}

/// A certificate with its key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Certificate {
    /// The file with the certificate and its intermediates, in this order (PEM).
    pub cert: Spanned<PathBuf>,
    /// Its private key (PEM): a file, or another source.
    pub key: Spanned<KeySource>,
    /// The file with the OCSP response for the certificate (RFC 6960; DER). It is stapled (RFC 6066 section 8).
    pub ocsp: Option<Spanned<PathBuf>>,
}

/// The answer to a client that asks for no name, or for one that no certificate has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UnknownName {
    /// The first certificate.
    #[default]
    First,
    /// The alert `unrecognized_name` (RFC 6066 section 3).
    Refuse,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Version {
    /// RFC 5246.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    Tls13,
}

/// Defines a type for a name out of a closed list, as OpenSSL spells it.
macro_rules! one_of {
    ($(#[$doc:meta])* $type:ident, $what:literal: $($name:literal),+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) struct $type(pub(crate) &'static str);

        impl $type {
            /// All names, in order of preference.
            pub(crate) const ALL: &[&'static str] = &[$($name),+];
        }

        impl FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let known = Self::ALL.iter().find(|known| **known == text);
                known.map(|known| Self(known)).ok_or_else(|| {
                    format!(concat!("not ", $what, " that is safe to use; there are `{}`"), Self::ALL.join("`, `"))
                })
            }
        }
    };
}

one_of! {
    /// A cipher suite of TLS 1.2: with forward secrecy and authenticated encryption (RFC 9325 section 4.2).
    Cipher, "a cipher suite of TLS 1.2":
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"
}

one_of! {
    /// A cipher suite of TLS 1.3 (RFC 8446 appendix B.4).
    Ciphersuite, "a cipher suite of TLS 1.3":
    "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"
}

one_of! {
    /// A group for the key exchange (RFC 8446 section 4.2.7).
    Group, "a group": "X25519", "P-256", "P-384", "P-521", "X448"
}

/// Client certificates: who is asked for one, and which are accepted. It stands for a whole listener, and for a server
/// name in `[listeners.tls.names."NAME"]`, which then inherits nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clients {
    /// The policy on asking for a certificate.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// Files with the CAs of client certificates (PEM): no other CA is trusted.
    pub client_ca: Option<Files>,
    /// Files with the CRLs of those CAs (RFC 5280 section 5; PEM or DER).
    pub client_crl: Option<Files>,
    /// The CAs that must have a CRL.
    #[serde(default)]
    pub crl: CrlPolicy,
    /// The most intermediate certificates between a client's and its CA's.
    pub max_chain_depth: Option<NonZeroU8>,
}

impl Clients {
    /// The names of the fields; for a listener as a whole they stand beside those of [`Tls`].
    pub(crate) const FIELDS: [&'static str; 5] = ["client_auth", "client_ca", "client_crl", "crl", "max_chain_depth"];
}

/// The policy on asking a client for a certificate. One that is sent is verified, or the handshake fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClientAuth {
    /// Clients are not asked.
    #[default]
    Off,
    /// Clients are asked, and may have none: routes decide.
    Optional,
    /// Clients are asked, and the handshake fails without one.
    Required,
}

/// The CAs of a client's chain that must have a CRL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CrlPolicy {
    /// None: the CRLs that there are, are checked.
    #[default]
    IfPresent,
    /// All of them.
    Required,
}

/// One file or several: `"tls/ca.pem"` or `["tls/ca.pem", "tls/old-ca.pem"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files(pub Vec<PathBuf>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Files;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the path of a file, or a list of them")
            }
            fn visit_str<E: de::Error>(self, path: &str) -> Result<Files, E> {
                Ok(Files(vec![path.into()]))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Files, A::Error> {
                Filled::deserialize(de::value::SeqAccessDeserializer::new(list)).map(|files| Files(files.0))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
