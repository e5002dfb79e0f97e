//! Host patterns, and the normalised host of a request that they are compared with.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use thiserror::Error;

/// The longest host name, in bytes, without port and trailing dot (RFC 3986 section 3.2.2).
pub(crate) const MAX_HOST_BYTES: usize = 255;

/// `api.example.com`, or `*.example.com` for every name with one or more labels in front of `example.com`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HostPattern {
    /// The name without `*.`, as [`host_key`] makes it.
    name: Box<str>,
    is_wildcard: bool,
}

impl HostPattern {
    /// Returns the name, without `*.`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the name, unless this is a wildcard.
    pub(super) fn exact(&self) -> Option<&str> {
        (!self.is_wildcard).then_some(&*self.name)
    }

    /// Returns whether this matches every host that `other` matches.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        self == other || self.is_wildcard && is_below(&other.name, &self.name)
    }
}

fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|front| front.ends_with('.'))
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_wildcard { "*." } else { "" }, self.name)
    }
}

impl FromStr for HostPattern {
    type Err = HostFault;

    fn from_str(text: &str) -> Result<Self, HostFault> {
        let (name, is_wildcard) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        match name {
            "" if !is_wildcard => return Err(HostFault::Empty),
            "*" => return Err(HostFault::Anything),
            _ if name.contains('*') => return Err(HostFault::Wildcard),
            _ if name.contains('/') => return Err(HostFault::Address),
            _ if name.contains('@') => return Err(HostFault::UserInfo),
            _ if name.parse::<Ipv6Addr>().is_ok() => return Err(HostFault::Unbracketed),
            _ if is_wildcard && name.starts_with('[') => return Err(HostFault::Wildcard),
            _ if name.rsplit(']').next().is_some_and(|behind| behind.contains(':')) => return Err(HostFault::Port),
            _ => {}
        }
        let name = host_key(name.as_bytes()).ok_or(HostFault::Invalid)?.into();
        Ok(Self { name, is_wildcard })
    }
}

/// The reason why a host pattern is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum HostFault {
    /// It is empty.
    #[error("a host is empty; leave `hosts` out to match any host")]
    Empty,
    /// `*`.
    #[error("`*` is not a host; leave `hosts` out to match any host")]
    Anything,
    /// A `*` that is not the first label.
    #[error("`*` may only be the first label of a name, as in `*.example.com`")]
    Wildcard,
    /// A scheme or a path.
    #[error("a host has no scheme and no path; write it as in `api.example.com`")]
    Address,
    /// `user@host`.
    #[error("a host has no user information; write it as in `api.example.com`")]
    UserInfo,
    /// A port.
    #[error("a host is matched without its port; leave the port out")]
    Port,
    /// An IPv6 address without brackets.
    #[error("an IPv6 address must be in brackets, as in `[2001:db8::1]`")]
    Unbracketed,
    /// Anything else.
    #[error(
        "this is not a host name: labels of letters, digits and hyphens with single dots between them, international \
         names in their `xn--` form"
    )]
    Invalid,
}

/// Returns the [`host_key`] of a request's `Host`, which is empty where the request has none.
pub(crate) fn request_host_key(host: &[u8]) -> Option<Cow<'_, str>> {
    if host.is_empty() { Some(Cow::Borrowed("")) } else { host_key(host) }
}

/// Returns the host that routes are matched with: in lower case, without port and without one trailing dot.
///
/// IPv6 addresses stay in their brackets and get the one spelling of RFC 5952. `None` if this is not a host (RFC 3986
/// section 3.2.2), has user information or a port that is no number, and for two things that the RFC's grammar allows:
/// an empty label, which no name has, and percent-escapes, which would be a second spelling. The result borrows if
/// nothing changes.
pub(crate) fn host_key(host: &[u8]) -> Option<Cow<'_, str>> {
    if host.first() == Some(&b'[') {
        return literal_key(host);
    }
    let (name, port) = match host.iter().position(|byte| *byte == b':') {
        Some(colon) => (&host[..colon], &host[colon + 1..]),
        None => (host, &host[host.len()..]),
    };
    let name = name.strip_suffix(b".").unwrap_or(name);
    if !is_port(port) || !is_name(name) {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?;
    let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if is_lower { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) })
}

/// Parses `[address]`, with or without a port. Zones (`%25eth0`) and future versions (`v1.`) are refused: no host is
/// named so.
fn literal_key(host: &[u8]) -> Option<Cow<'_, str>> {
    let host = std::str::from_utf8(host).ok()?;
    let (address, port) = host.strip_prefix('[')?.split_once(']')?;
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(|port| is_port(port.as_bytes())) {
        return None;
    }
    let key = format!("[{}]", address.parse::<Ipv6Addr>().ok()?);
    let as_received = &host[..address.len() + 2];
    Some(if as_received == key { Cow::Borrowed(as_received) } else { Cow::Owned(key) })
}

/// Returns whether this is digits, or nothing: `host:` is a host with an empty port.
fn is_port(port: &[u8]) -> bool {
    port.is_empty()
        || port.iter().all(u8::is_ascii_digit)
            && std::str::from_utf8(port).is_ok_and(|digits| digits.parse::<u16>().is_ok())
}

fn is_name(name: &[u8]) -> bool {
    let mut last = b'.';
    for &byte in name {
        if !NAME_BYTES[usize::from(byte)] || byte == b'.' && last == b'.' {
            return false;
        }
        last = byte;
    }
    last != b'.' && name.len() <= MAX_HOST_BYTES
}

static NAME_BYTES: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut byte = 0;
    while byte < bytes.len() {
        bytes[byte] = is_name_byte(byte as u8);
        byte += 1;
    }
    bytes
};

/// RFC 3986 section 3.2.2, reg-name: unreserved and sub-delims; escapes are left out.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~')
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}
