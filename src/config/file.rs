//! The shapes of a file: what serde decodes. Meaning comes after, in [`load`](super::load()).

use std::{
    collections::BTreeMap, fmt, marker::PhantomData, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration,
};

use http::HeaderName;
use ipnet::IpNet;
use portcullis_plugin::{SecretSource, Span};
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use crate::snapshot::router::{HostPattern, PathPattern};

/// A string that means something: it is read by `FromStr`, so that a wrong one is an error at its own place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed<T>(pub T);

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

/// `[server]`: the process and what every connection is held to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Worker threads; 0: one per core.
    pub threads: usize,
    /// How long SIGTERM waits for requests in flight.
    pub drain_timeout: Span,
    /// Connections held at once; more are closed as they come.
    pub max_connections: usize,
    /// From the first byte of a request's head to its last.
    pub head_timeout: Span,
    /// How long a connection may stay without a request.
    pub idle_timeout: Span,
    /// How long a request's body may stand still.
    pub body_timeout: Span,
    /// How long a client may take to read a piece of the response.
    pub write_timeout: Span,
    /// The longest a request, a stream or a WebSocket may last.
    pub max_stream_age: Span,
    /// The private socket of `portcullis reload`; absent: in the runtime directory.
    pub control: Option<PathBuf>,
}

impl Default for Server {
    fn default() -> Self {
        let seconds = |n| Span(Duration::from_secs(n));
        Self {
            threads: 0,
            drain_timeout: seconds(30),
            max_connections: 10_000,
            head_timeout: seconds(10),
            idle_timeout: seconds(60),
            body_timeout: seconds(30),
            write_timeout: seconds(30),
            max_stream_age: seconds(3600),
            control: None,
        }
    }
}

/// Where the admin listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

impl FromStr for AdminAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err("the path of a Unix socket has to be absolute".to_owned()),
            None => {
                text.parse().map(Self::Tcp).map_err(|_| "write an IP address with its port, or `unix:/path`".to_owned())
            }
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `[admin]`: health, metrics and status.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Where it listens.
    pub listen: Spanned<Parsed<AdminAddress>>,
    /// What a caller has to send as `Authorization: Bearer`; required where it does not listen on loopback.
    pub token: Option<SecretSource>,
}

/// `[[listeners]]`: where connections are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// An IP address with its port.
    pub address: SocketAddr,
    /// Whether clients may speak HTTP/2 without TLS (prior knowledge, RFC 9113 section 3.3).
    #[serde(default)]
    pub h2c: bool,
}

/// `[client_address]`: which hops in front of the gateway are believed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientAddress {
    /// The number of proxies in front, or the networks they are in; absent: nobody is believed.
    pub trust: Option<Trust>,
    /// The one header that names the client.
    pub header: Parsed<HeaderName>,
    /// Which headers tell the upstream about the client.
    pub send: Vec<Forwarding>,
}

/// How the upstream is told about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forwarding {
    /// `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl Default for ClientAddress {
    fn default() -> Self {
        Self {
            trust: None,
            header: Parsed(HeaderName::from_static("x-forwarded-for")),
            send: vec![Forwarding::XForwarded],
        }
    }
}

/// Who is believed about the client's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// This many hops, counted from here.
    Hops(u8),
    /// Peers and hops in these networks.
    Networks(Vec<IpNet>),
}

impl<'de> Deserialize<'de> for Trust {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Trust;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number of proxies in front, or a list of their networks")
            }
            fn visit_i64<E: de::Error>(self, hops: i64) -> Result<Trust, E> {
                match u8::try_from(hops) {
                    Ok(hops @ 1..) => Ok(Trust::Hops(hops)),
                    _ => Err(E::custom(
                        "the number of proxies is between 1 and 255; leave `trust` out to believe nobody",
                    )),
                }
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Trust, A::Error> {
                let mut networks = Vec::new();
                while let Some(Parsed(Network(network))) = list.next_element()? {
                    networks.push(network);
                }
                if networks.is_empty() {
                    return Err(de::Error::custom(
                        "the list of networks is empty; leave `trust` out to believe nobody",
                    ));
                }
                Ok(Trust::Networks(networks))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A network, or a single address.
#[derive(Clone, Debug)]
pub struct Network(pub IpNet);

impl FromStr for Network {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let single = || text.parse::<std::net::IpAddr>().map(IpNet::from);
        text.parse().or_else(|_| single()).map(Self).map_err(|_| "not an address or a network such as 203.0.113.0/24")
    }
}

/// The name of an identity header, or `false` where it is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderChoice(pub Option<HeaderName>);

impl<'de> Deserialize<'de> for HeaderChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = HeaderChoice;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a header, or false")
            }
            fn visit_bool<E: de::Error>(self, is_on: bool) -> Result<HeaderChoice, E> {
                if is_on {
                    return Err(E::custom("write the name of the header, or false"));
                }
                Ok(HeaderChoice(None))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<HeaderChoice, E> {
                let name =
                    HeaderName::from_str(text).map_err(|_| E::custom(format!("`{text}` is not a header's name")))?;
                Ok(HeaderChoice(Some(name)))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// `[identity]`: which headers carry the identity to the upstream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Names in place of the usual ones; `false` leaves one out. It is removed from requests all the same.
    pub headers: IdentityHeaders,
    /// More headers that are removed from what comes in.
    pub strip: Vec<Parsed<HeaderName>>,
    /// The most that identity headers may add to a request, names and values together.
    pub max_bytes: Option<usize>,
}

/// `[identity.headers]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is a row of the table in README")]
pub struct IdentityHeaders {
    pub user: Option<HeaderChoice>,
    pub consumer: Option<HeaderChoice>,
    pub groups: Option<HeaderChoice>,
    pub credential: Option<HeaderChoice>,
    pub client: Option<HeaderChoice>,
    pub tenant: Option<HeaderChoice>,
    pub email: Option<HeaderChoice>,
    pub roles: Option<HeaderChoice>,
    pub scopes: Option<HeaderChoice>,
    pub method: Option<HeaderChoice>,
    pub request_id: Option<HeaderChoice>,
}

/// `[log]`: what is written to standard output beside the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// One line a request.
    pub access: bool,
    /// The least level of operational lines: error, warn, info, debug.
    pub level: Parsed<log::LevelFilter>,
}

impl Default for Log {
    fn default() -> Self {
        Self { access: true, level: Parsed(log::LevelFilter::Info) }
    }
}

/// `[audit]`: the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// One of how many successes is written; 1: all, 0: none. Failures are always written.
    pub sample_successes: u32,
    /// What happens to a request whose event cannot be written.
    pub on_full: OnFull,
}

impl Default for Audit {
    fn default() -> Self {
        Self { sample_successes: 1, on_full: OnFull::Drop }
    }
}

/// What happens to a request whose audit event cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// It goes on, and the loss is counted.
    Drop,
    /// It is refused with 503.
    Refuse,
}

/// `[upstreams.NAME]`: servers that requests are forwarded to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The servers.
    pub targets: Vec<Spanned<Target>>,
    /// How long a connection may take to open.
    #[serde(default = "five_seconds")]
    pub connect_timeout: Span,
    /// How long the upstream may stay silent.
    #[serde(default = "one_minute")]
    pub read_timeout: Span,
    /// How long the upstream may take to take a piece of the request.
    #[serde(default = "one_minute")]
    pub write_timeout: Span,
    /// How long an unused connection is kept.
    #[serde(default = "one_minute")]
    pub idle_timeout: Span,
    /// The `Host` that is sent in place of the client's.
    pub host: Option<Parsed<http::uri::Authority>>,
    /// What is spoken.
    #[serde(default)]
    pub protocol: Protocol,
}

fn five_seconds() -> Span {
    Span(Duration::from_secs(5))
}

fn one_minute() -> Span {
    Span(Duration::from_secs(60))
}

/// What is spoken with an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS (prior knowledge), as gRPC servers speak it.
    H2c,
}

/// One server: `"10.0.0.1:9000"` or `{ address = "10.0.0.1:9000", weight = 2 }`.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host and port.
    pub address: String,
    /// Its share, compared with the others'.
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

/// `[routes.NAME]`, without `auth` and `plugins`, which are walked by hand.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Hosts it answers for; none: any.
    pub hosts: Option<Spanned<Vec<Parsed<HostPattern>>>>,
    /// Paths it answers for.
    pub paths: Spanned<Vec<Parsed<PathPattern>>>,
    /// Methods it takes; none: the usual ones.
    pub methods: Option<Spanned<Vec<String>>>,
    /// Headers a request has to have: a value, or `true` where any value does.
    #[serde(default)]
    pub headers: HeaderRules,
    /// The upstream it forwards to.
    pub upstream: Option<Spanned<String>>,
    /// An answer in place of an upstream.
    pub respond: Option<Respond>,
    /// Open to everyone.
    #[serde(default)]
    pub public: bool,
    /// Who a request without any credential counts as.
    pub anonymous: Option<Spanned<String>>,
    /// Which of the default plugins are left out.
    #[serde(default)]
    pub without: Vec<Spanned<String>>,
    /// `"accepted"`: this open catch-all may stand beside protected routes of the same upstream.
    pub overlap: Option<Overlap>,
    /// Lets `%2F` pass as data.
    #[serde(default)]
    pub allow_encoded_slash: bool,
    /// The largest request body; 0: no limit.
    pub max_body_bytes: Option<u64>,
    /// The realm of challenges (RFC 9110 section 11.5); the route's name where absent.
    pub realm: Option<Spanned<String>>,
}

/// A table of headers. Names that differ in case alone are one header: the second is an error, and none gets lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRules(pub Vec<(HeaderName, HeaderRule)>);

impl<'de> Deserialize<'de> for HeaderRules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Reads a name, so that one which is there already is an error at its own place.
        struct NewName<'r>(&'r [(HeaderName, HeaderRule)]);
        impl<'de> de::DeserializeSeed<'de> for NewName<'_> {
            type Value = HeaderName;
            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<HeaderName, D::Error> {
                let text = String::deserialize(deserializer)?;
                let name: HeaderName =
                    text.parse().map_err(|_| de::Error::custom(format!("`{text}` is not a header's name")))?;
                match self.0.iter().any(|(known, _)| *known == name) {
                    true => Err(de::Error::custom(format!("the header `{name}` stands in this table already"))),
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

/// What a header has to be for a route to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule(pub Option<String>);

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

/// See [`Route::overlap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// The author knows.
    Accepted,
}

/// `respond = { ... }`: an answer of the gateway's own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// Answers with what would have been forwarded.
    #[serde(default)]
    pub echo: bool,
    /// The status; 200 where absent.
    pub status: Option<Spanned<u16>>,
    /// The body.
    pub body: Option<String>,
    /// The body's media type; text where absent.
    pub content_type: Option<Parsed<http::HeaderValue>>,
}

/// `[consumers.NAME]`, without its credentials.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of `portcullis_plugin::Consumer`")]
pub struct Consumer {
    pub groups: Vec<String>,
    pub roles: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub tenant: Option<String>,
    pub client_id: Option<String>,
}

/// What a credential of any kind may say beside its own part.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of `portcullis_plugin::Credential`")]
pub struct CredentialCommon {
    pub id: String,
    #[serde(default = "yes")]
    pub enabled: bool,
    pub not_before: Option<Spanned<toml::value::Datetime>>,
    pub expires: Option<Spanned<toml::value::Datetime>>,
    pub created: Option<Spanned<toml::value::Datetime>>,
    #[serde(default)]
    pub scopes: Vec<String>,
    pub routes: Option<Vec<Spanned<String>>>,
    pub addresses: Option<Vec<Parsed<Network>>>,
    pub policies: Option<Policies>,
    pub owner: Option<String>,
    pub tier: Option<String>,
}

fn yes() -> bool {
    true
}

/// The policies a credential opens: a list of names, or `"any"`.
#[derive(Clone, Debug)]
pub enum Policies {
    /// All of its kind.
    Any,
    /// These.
    Named(Vec<Spanned<String>>),
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
