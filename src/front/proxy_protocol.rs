//! Reads the header of the PROXY protocol (versions 1 and 2), by which a load balancer names the client of a
//! connection.
//!
//! The danger: anybody can send such a header. It is read only from peers in the listener's networks, and a connection
//! from one of those without a valid header is closed: otherwise a client could pass for the load balancer.

use std::net::SocketAddr;

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The signature that version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1.
const MAX_LINE_BYTES: usize = 107;
/// The most that may follow the fixed part of version 2: addresses and extensions. Load balancers send less than 200
/// bytes; a certificate's subject may be among them.
const MAX_REST_BYTES: usize = 4096;
const FIXED_BYTES: usize = 16;

/// The peer that a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxiedPeer {
    /// This client.
    Client(SocketAddr),
    /// The load balancer itself, for a health check of its own.
    Itself,
}

/// Reads the header from the first bytes of a connection, and not one byte more: TLS begins right after.
///
/// Returns `None` if the peer left without a byte: load balancers check in this way whether a port is open.
///
/// # Errors
/// Returns what is wrong with it; also if the peer left in the middle.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<ProxiedPeer>, &'static str> {
    let mut start = [0; FIXED_BYTES];
    // The shortest line of version 1 is `PROXY UNKNOWN` and its end, 15 bytes.
    let Some(first) = stream.read(&mut start[..15]).await.ok().filter(|first| *first > 0) else { return Ok(None) };
    take(stream, &mut start[first..15]).await?;
    if start.starts_with(b"PROXY ") {
        return line(stream, &start[..15]).await.map(Some);
    }
    if !start.starts_with(SIGNATURE) {
        return Err("the connection did not begin with one");
    }
    take(stream, &mut start[15..]).await?;
    let rest = usize::from(u16::from_be_bytes([start[14], start[15]]));
    if rest > MAX_REST_BYTES {
        return Err("it is too long");
    }
    let mut whole = start.to_vec();
    whole.resize(FIXED_BYTES + rest, 0);
    take(stream, &mut whole[FIXED_BYTES..]).await?;
    of_version_2(&whole).map(Some)
}

/// The bytes that follow the five that OpenSSL has consumed, if a PROXY protocol header comes where none is expected:
/// those of version 1 after `PROXY`, those of version 2 within its signature.
const UNEXPECTED: [&[u8]; 4] = [b" TCP4 ", b" TCP6 ", b" UNKNOWN", b"\r\nQUIT\n"];

/// Returns whether a failed handshake began with a header of this protocol, of which OpenSSL has consumed the first
/// bytes. Looks at what has come, and does not wait.
pub(super) async fn is_unexpected(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut next = [0; 8];
    let read = tokio::select! {
        biased;
        read = stream.read(&mut next) => read.unwrap_or_default(),
        () = std::future::ready(()) => 0,
    };
    UNEXPECTED.iter().any(|part| next[..read].starts_with(part))
}

async fn take(stream: &mut (impl AsyncRead + Unpin), into: &mut [u8]) -> Result<(), &'static str> {
    stream.read_exact(into).await.map(drop).map_err(|_| "the load balancer left in the middle of it")
}

async fn line(stream: &mut (impl AsyncRead + Unpin), start: &[u8]) -> Result<ProxiedPeer, &'static str> {
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_LINE_BYTES {
            return Err("its line is too long");
        }
        let mut next = [0];
        take(stream, &mut next).await?;
        line.push(next[0]);
    }
    of_version_1(&line)
}

/// Parses a whole line.
fn of_version_1(line: &[u8]) -> Result<ProxiedPeer, &'static str> {
    let malformed = "its line is malformed";
    // The crate accepts a port with a sign.
    if line.contains(&b'+') {
        return Err(malformed);
    }
    let header = v1::Header::try_from(line).map_err(|_| malformed)?;
    match header.addresses {
        v1::Addresses::Tcp4(of) => Ok(ProxiedPeer::Client((of.source_address, of.source_port).into())),
        v1::Addresses::Tcp6(of) => Ok(ProxiedPeer::Client((of.source_address, of.source_port).into())),
        v1::Addresses::Unknown => Ok(ProxiedPeer::Itself),
    }
}

/// Parses a whole header.
fn of_version_2(header: &[u8]) -> Result<ProxiedPeer, &'static str> {
    let header = v2::Header::try_from(header).map_err(|_| "it is malformed")?;
    if header.command == v2::Command::Local {
        return Ok(ProxiedPeer::Itself);
    }
    if header.protocol != v2::Protocol::Stream {
        return Err("it does not name a TCP connection");
    }
    match header.addresses {
        v2::Addresses::IPv4(of) => Ok(ProxiedPeer::Client((of.source_address, of.source_port).into())),
        v2::Addresses::IPv6(of) => Ok(ProxiedPeer::Client((of.source_address, of.source_port).into())),
        _ => Err("it does not name an internet address"),
    }
}

#[cfg(test)]
mod tests;
