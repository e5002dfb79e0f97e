//! The shapes of a file that serde decodes. They are interpreted later, in [`load`](super::load()).

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use http::HeaderName;
use ipnet::IpNet;
use portcullis_plugin::{SecretSource, Span};
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use crate::{
    body_budget::BodyBudget,
    header_names::{is_framing, is_message_metadata},
    unsent_budget::UnsentBudget,
};

mod consumer;
mod listener;
mod route;
mod upstream;
mod values;

pub(crate) use consumer::*;
pub(crate) use listener::*;
pub(crate) use route::*;
pub(crate) use upstream::*;
use values::not_zero;
pub(crate) use values::*;

/// `[server]`: the process, and the limits that hold for every connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Server {
    /// Worker threads; 0: one per core.
    pub threads: usize,
    /// The time that requests in flight have to finish after SIGTERM.
    pub drain_timeout: Span,
    /// The most connections open at once; further ones are closed as they come.
    pub max_connections: NonZeroUsize,
    /// The most connections open at once from one client address (IPv6: one /64); absent: a tenth of all, or 16 if that
    /// is more.
    pub max_connections_per_address: Option<NonZeroUsize>,
    /// The time from the first byte of a request's head to its last.
    #[serde(deserialize_with = "not_zero")]
    pub head_timeout: Span,
    /// The time that a connection may stay open without a request.
    #[serde(deserialize_with = "not_zero")]
    pub idle_timeout: Span,
    /// The time that a request's body may make no progress.
    #[serde(deserialize_with = "not_zero")]
    pub body_timeout: Span,
    /// The minimum rate of a request's body that is streamed to the upstream: it may lag behind for `body_timeout`,
    /// until the response begins. Zero: no minimum.
    pub min_body_bytes_per_second: u32,
    /// The time that a client may take to read a piece of the response.
    #[serde(deserialize_with = "not_zero")]
    pub write_timeout: Span,
    /// The time that a plugin's hook may take to decide, not counting the time it waits for the client's body.
    #[serde(deserialize_with = "not_zero")]
    pub hook_timeout: Span,
    /// The longest that a request, a stream or a WebSocket may last.
    #[serde(deserialize_with = "not_zero")]
    pub max_stream_age: Span,
    /// The memory for all bodies that are buffered before they are forwarded. Those of one client address take at most
    /// as much as they leave free, and so at most half.
    pub max_held_body_bytes: NonZeroUsize,
    /// The memory for all data that waits to be sent, to clients that read slowly and to upstreams. One connection
    /// takes at most a small part of what is free.
    pub max_unsent_bytes: NonZeroUsize,
    /// The DNS servers that resolve the names of targets; absent: those of the system.
    pub resolver: Option<Filled<Parsed<NameServer>>>,
    /// The socket of `portcullis reload`; absent: in the runtime directory.
    #[serde(deserialize_with = "absolute_path")]
    pub control: Option<PathBuf>,
}

impl Default for Server {
    fn default() -> Self {
        let seconds = |n| Span(Duration::from_secs(n));
        Self {
            threads: 0,
            drain_timeout: seconds(30),
            max_connections: NonZeroUsize::new(10_000).expect("ten thousand is not zero"),
            max_connections_per_address: None,
            head_timeout: seconds(10),
            idle_timeout: seconds(60),
            body_timeout: Span(BodyBudget::DEFAULT_PATIENCE),
            min_body_bytes_per_second: 1024,
            write_timeout: seconds(30),
            hook_timeout: seconds(5),
            max_stream_age: seconds(3600),
            max_held_body_bytes: NonZeroUsize::new(BodyBudget::DEFAULT_MAX_BYTES).expect("it is not zero"),
            max_unsent_bytes: NonZeroUsize::new(UnsentBudget::DEFAULT_MAX_BYTES).expect("it is not zero"),
            resolver: None,
            control: None,
        }
    }
}

impl Server {
    /// Returns the DNS servers that resolve names; empty: those of the system.
    pub(crate) fn name_servers(&self) -> Vec<SocketAddr> {
        self.resolver.iter().flat_map(|servers| &servers.0).map(|server| server.0.0).collect()
    }
}

/// A DNS server: an address, with port 53 unless it names another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameServer(pub SocketAddr);

impl FromStr for NameServer {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const PORT: u16 = 53;
        let address = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, PORT)));
        let address = address.ok().filter(|address| address.port() > 0);
        address.map(Self).ok_or("not the address of a DNS server, such as \"10.0.0.53\" or \"127.0.0.1:8600\"")
    }
}

/// Decodes the path of a Unix socket. It has to be absolute, because commands run in another working directory than the
/// gateway.
fn absolute_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if !path.is_absolute() {
        return Err(de::Error::custom("the path of a Unix socket has to be absolute"));
    }
    Ok(Some(path))
}

/// The address of the admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdminAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

impl AdminAddress {
    /// Returns the TCP address, if it is one.
    pub(crate) fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
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
pub(crate) struct Admin {
    /// The address it listens on.
    pub listen: Spanned<Parsed<AdminAddress>>,
    /// The token that a caller has to send as `Authorization: Bearer`; required unless the address is a loopback one.
    pub token: Option<SecretSource>,
}

/// `[client_address]`: the hops in front of the gateway that are trusted.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ClientAddress {
    /// The number of proxies in front, or the networks they are in; absent: nothing is trusted.
    pub trust: Option<Trust>,
    /// The one header that names the client.
    pub header: Parsed<ClientHeader>,
    /// The headers that tell the upstream about the client.
    pub send: Vec<Forwarding>,
}

/// A way to tell the upstream about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Forwarding {
    /// `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl Default for ClientAddress {
    fn default() -> Self {
        Self {
            trust: None,
            header: Parsed(ClientHeader(HeaderName::from_static("x-forwarded-for"))),
            send: vec![Forwarding::XForwarded],
        }
    }
}

/// A header that can name the client. Headers that the message itself needs are excluded, because this one is removed
/// from the forwarded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientHeader(pub HeaderName);

impl FromStr for ClientHeader {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name: HeaderName = text.parse().map_err(|_| "not the name of a header")?;
        let is_taken = is_framing(&name) || is_message_metadata(&name) || name == http::header::AUTHORIZATION;
        if is_taken { Err("this header belongs to the message and cannot name the client") } else { Ok(Self(name)) }
    }
}

/// The peers and hops that are trusted to name the client's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// This many hops, counted from the gateway.
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
                    _ => {
                        Err(E::custom("the number of proxies is between 1 and 255; leave `trust` out to trust nobody"))
                    }
                }
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Trust, A::Error> {
                let mut networks = Vec::new();
                while let Some(Parsed(Network(network))) = list.next_element()? {
                    networks.push(network);
                }
                if networks.is_empty() {
                    return Err(de::Error::custom("the list of networks is empty; leave `trust` out to trust nobody"));
                }
                Ok(Trust::Networks(networks))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The name of an identity header, or `None` if it is turned off with `false`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderChoice(pub Option<HeaderName>);

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

/// `[identity]`: the headers that carry the identity to the upstream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Identity {
    /// Names in place of the default ones; `false` turns a header off. It is removed from requests all the same.
    pub headers: IdentityHeaders,
    /// More headers that are removed from incoming requests.
    pub strip: Vec<Parsed<HeaderName>>,
    /// The most that identity headers may add to a request, names and values together.
    pub max_bytes: Option<usize>,
}

/// `[identity.headers]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct IdentityHeaders {
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

/// `[log]`: the lines that are written to standard output beside the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// One line a request.
    pub access: bool,
    /// The lowest level of operational lines that are written: error, warn, info, debug.
    #[serde(deserialize_with = "level")]
    pub level: Parsed<log::LevelFilter>,
}

impl Default for Log {
    fn default() -> Self {
        Self { access: true, level: Parsed(log::LevelFilter::Info) }
    }
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Parsed<log::LevelFilter>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Level {
        Error,
        Warn,
        Info,
        Debug,
    }
    Level::deserialize(deserializer).map(|level| {
        Parsed(match level {
            Level::Error => log::LevelFilter::Error,
            Level::Warn => log::LevelFilter::Warn,
            Level::Info => log::LevelFilter::Info,
            Level::Debug => log::LevelFilter::Debug,
        })
    })
}

/// `[audit]`: the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Audit {
    /// Writes one of this many successes; 1: all, 0: none. Failures are always written.
    pub sample_successes: u32,
    /// The treatment of a request whose event cannot be written.
    pub on_full: OnFull,
}

impl Default for Audit {
    fn default() -> Self {
        Self { sample_successes: 1, on_full: OnFull::Drop }
    }
}

/// The treatment of a request whose audit event cannot be written, because the queue is full or the log takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnFull {
    /// The request goes on, and the loss is counted.
    Drop,
    /// The request is refused with 503.
    Refuse,
}
