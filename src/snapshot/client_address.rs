//! Determines the client's address: the peer's, or the one that trusted hops report.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

use crate::config::file::{self, Forwarding, Trust};

/// `[client_address]`, compiled.
#[derive(Debug, Default)]
pub(crate) struct ClientAddress {
    trust: Option<Trust>,
    header: Option<HeaderName>,
    sends_x_forwarded: bool,
    sends_forwarded: bool,
}

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The most entries of the header that are read, from the right.
const MAX_HOPS: usize = 32;

impl ClientAddress {
    /// Compiles the file's settings.
    pub(crate) fn compile(file: &file::ClientAddress) -> Self {
        Self {
            trust: file.trust.clone(),
            header: Some(file.header.0.0.clone()),
            sends_x_forwarded: file.send.contains(&Forwarding::XForwarded),
            sends_forwarded: file.send.contains(&Forwarding::Forwarded),
        }
    }

    /// Returns whether `X-Forwarded-For`, `-Proto` and `-Host` are sent.
    pub(crate) fn sends_x_forwarded(&self) -> bool {
        self.sends_x_forwarded
    }

    /// Returns whether `Forwarded` (RFC 7239) is sent.
    pub(crate) fn sends_forwarded(&self) -> bool {
        self.sends_forwarded
    }

    /// Returns whether this peer is trusted to name its client.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        match &self.trust {
            None => false,
            Some(Trust::Hops(_)) => true,
            Some(Trust::Networks(networks)) => contains(networks, peer),
        }
    }

    /// Returns the client's address, and the hops between it and the peer, the farthest first.
    ///
    /// The header is read from the right, where the nearest hop wrote. An entry that is no address ends the walk at the
    /// last good hop: entries beyond it were written by somebody nobody vouches for.
    pub(crate) fn of(&self, peer: SocketAddr, headers: &HeaderMap) -> (IpAddr, Vec<IpAddr>) {
        let peer = peer.ip().to_canonical();
        let mut client = peer;
        let mut hops = Vec::new();
        let (true, Some(header)) = (self.trusts(peer), &self.header) else { return (client, hops) };
        let lines: Vec<&[u8]> = headers.get_all(header).iter().map(http::HeaderValue::as_bytes).collect();
        let is_forwarded = *header == header::FORWARDED;
        let entries = lines.iter().rev().flat_map(|line| elements(line, is_forwarded).into_iter().rev());
        for (number, entry) in entries.take(MAX_HOPS).enumerate() {
            let believes = match &self.trust {
                Some(Trust::Hops(hops)) => number < usize::from(*hops),
                Some(Trust::Networks(networks)) => contains(networks, client),
                None => false,
            };
            let entry = if is_forwarded { forwarded(entry, "for") } else { std::str::from_utf8(entry).ok() };
            let (true, Some(address)) = (believes, entry.and_then(address)) else { break };
            hops.insert(0, client);
            client = address;
        }
        (client, hops)
    }

    /// Returns whether the client spoke TLS, if a trusted peer reports that, in the header that names the client or in
    /// the one beside it. As with addresses the last entry is the peer's own; earlier ones may be anybody's.
    pub(crate) fn says_https(&self, headers: &HeaderMap) -> Option<bool> {
        let is_forwarded = self.header.as_ref().is_some_and(|header| *header == header::FORWARDED);
        let name = if is_forwarded { header::FORWARDED } else { X_FORWARDED_PROTO };
        let element = elements(headers.get_all(name).iter().next_back()?.as_bytes(), is_forwarded).pop()?;
        let proto = if is_forwarded { forwarded(element, "proto") } else { std::str::from_utf8(element).ok() };
        proto.map(|proto| proto.trim().eq_ignore_ascii_case("https"))
    }
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// Returns the elements of a line. If those of `Forwarded` cannot be told apart, the line is one element without
/// meaning.
fn elements(line: &[u8], is_forwarded: bool) -> Vec<&[u8]> {
    if is_forwarded {
        outside_quotes(line, b',').unwrap_or(vec![b""])
    } else {
        line.split(|byte| *byte == b',').collect()
    }
}

/// Returns a parameter of one element of `Forwarded` (RFC 7239 section 4), if it appears exactly once.
fn forwarded<'e>(element: &'e [u8], parameter: &str) -> Option<&'e str> {
    let pairs = outside_quotes(element, b';')?.into_iter();
    let pairs = pairs.filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='));
    let mut values =
        pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case(parameter)).map(|(_, value)| value.trim());
    let (value, None) = (values.next()?, values.next()) else { return None };
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Some(quoted.unwrap_or(value)).filter(|value| !value.contains('"'))
}

/// Splits at separators outside of quoted strings (RFC 9110 section 5.6.4). A proxy may quote text of its client, such
/// as `host`, and that may look like anything. `None`: a quote has no end, so it is not clear where anything begins.
fn outside_quotes(text: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let (mut pieces, mut from) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            byte if *byte == separator && !is_quoted => {
                pieces.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[from..]);
    (!is_quoted).then_some(pieces)
}

/// Parses an address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let parsed = text.parse::<IpAddr>().ok();
    let parsed = parsed.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    parsed.or_else(|| bracketed?.parse().ok()).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests;
