//! The address of a target as the file has it: an IP address, or a name to be resolved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::router::host_key;

/// A host with its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An IP address.
    Address(SocketAddr),
    /// A name.
    Name(HostPort),
}

/// A name and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    /// The host in lower case. A dot at the end means that no search domain is added.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

impl Place {
    /// Parses `host:port`. Nothing is resolved.
    ///
    /// # Errors
    /// Returns why it is not valid.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a host with its port, such as \"10.0.0.1:9000\"{}", hint(text));
        if let Some(address) = text.parse::<SocketAddr>().ok().filter(|address| address.port() > 0) {
            return Ok(Self::Address(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        if host.contains(':') || host_key(host.as_bytes()).is_none() || !is_short(host) {
            return Err(wrong());
        }
        match number(host) {
            Some(Some(address)) => Ok(Self::Address(SocketAddr::new(address.into(), port))),
            Some(None) => Err(wrong()),
            None => Ok(Self::Name(HostPort { host: host.to_ascii_lowercase(), port })),
        }
    }
}

/// The built-in addresses of `localhost`; `/etc/hosts` may say which of the two.
pub(crate) const LOCALHOST: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Returns whether every program must take this for the machine itself (RFC 6761 section 6.3). The host is in lower
/// case.
pub(crate) fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host == "localhost" || host.ends_with(".localhost")
}

/// Returns whether a name is short enough for DNS (RFC 1035 section 2.3.4).
fn is_short(host: &str) -> bool {
    host.len() <= 253 && host.split('.').all(|label| label.len() <= 63)
}

/// Parses an IPv4 address in one of its old spellings (`127.1`, `0x7f000001`), which programs take for addresses and
/// never for names. The outer `None`: it is a name. The inner `None`: it looks like a number and is no address.
#[expect(clippy::option_option, reason = "not a number, and not a good one, are two things")]
fn number(host: &str) -> Option<Option<Ipv4Addr>> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let part = |text: &str| match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some("") => Some(0),
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    if !is_number {
        return None;
    }
    let parts: Option<Vec<u32>> = host.split('.').map(part).collect();
    Some(parts.and_then(|parts| {
        let (last, first) = parts.split_last()?;
        // The last number fills all remaining bytes.
        let left = 4_usize.checked_sub(first.len()).filter(|left| *left > 0)?;
        let fits = left == 4 || *last < 1 << (8 * left);
        let first = first.iter().try_fold(0, |sum, byte| (*byte < 256).then_some(sum << 8 | byte))?;
        fits.then(|| Ipv4Addr::from(u32::try_from(u64::from(first) << (8 * left)).unwrap_or_default() | last))
    }))
}

/// Returns the one spelling of an address: `0.0.0.0` reaches this machine, and an IPv4 address may be written as IPv6.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Returns a hint for an address written as a URL: the scheme is set elsewhere.
fn hint(address: &str) -> &'static str {
    match address.split_once("://") {
        Some(("https", _)) => "; for `https://` the upstream says `tls = true`",
        Some(("http", _)) => "; without `tls` it is HTTP, so leave out `http://`",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_this_machine_and_nothing_like_it_is() {
        assert!(["localhost", "localhost.", "app.localhost"].into_iter().all(is_localhost));
        assert!(!["localhost.example", "mylocalhost", "local"].into_iter().any(is_localhost));
    }

    #[test]
    fn a_target_is_a_host_with_its_port() {
        let address = |text: &str| match Place::parse(text) {
            Ok(Place::Address(address)) => address.to_string(),
            other => panic!("{text}: {other:?}"),
        };
        for (text, meant) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("127.1:80", "127.0.0.1:80"),
            ("0x7f.1:80", "127.0.0.1:80"),
            ("2852039166:80", "169.254.169.254:80"),
            ("0251.0376.0251.0376:80", "169.254.169.254:80"),
        ] {
            assert_eq!(address(text), meant);
        }
        let name = |host: &str, port| Ok(Place::Name(HostPort { host: host.to_owned(), port }));
        assert_eq!(Place::parse("Orders.Internal:80"), name("orders.internal", 80));
        assert_eq!(Place::parse("orders.internal.:80"), name("orders.internal.", 80));
        assert_eq!(Place::parse("7.orders:80"), name("7.orders", 80));
        let long = [format!("{}.a:80", "x".repeat(64)), format!("{}a:80", "x.".repeat(127))];
        assert!(long.iter().all(|long| Place::parse(long).is_err()));
        for wrong in [
            "",
            "127.0.0.1",
            "localhost",
            "localhost:0",
            ":80",
            "localhost:http",
            "http://localhost:80",
            "127.0.0.1:0",
            "u@a:80",
            "127.0.0.256:80",
            "1.2.3.4.5:80",
            "256.1:80",
            "4294967296:80",
        ] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }
}
