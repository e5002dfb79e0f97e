//! Load balancers that say whom they speak for, before anything else (the PROXY protocol, versions 1 and 2).

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{CERTIFICATE, NAME, World, configured, get};
use crate::harness::{Authority, GatewayBuilder, LIMIT, Raw, eventually, raw};

const REJECTED: &str = "rejected connection: invalid PROXY protocol header: ";

/// A plain listener and one with TLS, where everyone on this machine is a load balancer; and the same two, where nobody
/// who connects is one.
const LISTENERS: &str = r#"
[[listeners]]
address = "127.0.0.1:0"
proxy_protocol = ["127.0.0.0/8"]

[[listeners]]
address = "127.0.0.1:0"
proxy_protocol = ["127.0.0.0/8"]
[listeners.tls]
@TLS@

[[listeners]]
address = "127.0.0.1:0"
proxy_protocol = ["10.0.0.0/8", "2001:db8::/32"]

[[listeners]]
address = "127.0.0.1:0"
proxy_protocol = ["10.0.0.0/8"]
[listeners.tls]
@TLS@
"#;

const TRUSTED: [usize; 2] = [0, 1];
const UNTRUSTED: [usize; 2] = [2, 3];

fn listeners(ca: &Authority) -> GatewayBuilder {
    let (before, rest) = super::GATEWAY.split_once("[[listeners]]").expect("the file of this module");
    let (_, after) = rest.split_once("@TLS@").expect("the file of this module");
    configured(ca, CERTIFICATE).toml(&format!("{before}{LISTENERS}{after}"))
}

/// A header of version 2: after the signature version and command, family, length, and so many bytes.
fn v2(version_and_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short").to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[version_and_command, family], &length, body].concat()
}

const IPV4: &[u8] = b"\xcb\0\x71\x07\x0a\0\0\x01\x1f\x90\x01\xbb";

fn ipv6() -> Vec<u8> {
    let (from, to) = (b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07", [1; 16]);
    [&from[..], &to, b"\x1f\x90\x01\xbb"].concat()
}

/// What a load balancer says, and whom the gateway takes the client for.
fn said() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let with_tlv = [IPV4, b"\x04\0\x05hello", b"\x03\0\x04\0\0\0\0"].concat();
    vec![
        ("version 1, IPv4", b"PROXY TCP4 203.0.113.7 10.0.0.1 8080 443\r\n".to_vec(), "203.0.113.7"),
        ("version 1, IPv6", b"PROXY TCP6 2001:db8::7 2001:db8::1 8080 443\r\n".to_vec(), "2001:db8::7"),
        ("version 1, unknown", b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        ("version 1, unknown, with words", b"PROXY UNKNOWN ffff:f::1 ffff:f::2 65535 65535\r\n".to_vec(), "127.0.0.1"),
        ("version 2, IPv4", v2(0x21, 0x11, IPV4), "203.0.113.7"),
        ("version 2, IPv6", v2(0x21, 0x21, &ipv6()), "2001:db8::7"),
        ("version 2, itself", v2(0x20, 0, b""), "127.0.0.1"),
        ("version 2, itself, with addresses", v2(0x20, 0x11, IPV4), "127.0.0.1"),
    ]
    .into_iter()
    .chain([("version 2, with more", v2(0x21, 0x11, &with_tlv), "203.0.113.7")])
    .collect()
}

/// What comes back for a request behind these bytes.
async fn behind(world: &World, listener: usize, first: &[u8], path: &str) -> Result<String, String> {
    let (address, request) = (world.gateway.address(listener), get(NAME, path));
    let answer = if listener.is_multiple_of(2) {
        raw(address, [first, request.as_bytes()].concat()).await
    } else {
        let mut connection = Raw::open_by_tls_after(address, first, &world.tls().http1()).await?;
        connection.send(request).await;
        connection.rest().await
    };
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn the_client_is_whom_the_load_balancer_names() {
    let ca = Authority::new("Root");
    let world = World::with(ca.clone(), listeners(&ca)).await;
    for listener in TRUSTED {
        for (number, (what, first, address)) in said().into_iter().enumerate() {
            let path = format!("/{listener}/{number}");
            let answer =
                behind(&world, listener, &first, &path).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(answer.starts_with("HTTP/1.1 200 "), "{what}: {answer}");
            let line = world.gateway.access(|line| line["path"] == path).await;
            assert_eq!(line["address"], address, "{what}");
            let saw = world.upstream.last();
            assert_eq!((saw.target.as_str(), saw.header("x-forwarded-for")), (&*path, Some(address)), "{what}");
            let scheme = if listener == 1 { "https" } else { "http" };
            assert_eq!(saw.header("x-forwarded-proto"), Some(scheme), "{what}");
        }
    }
}

/// What is no header of the protocol.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let line = |text: &str| text.as_bytes().to_vec();
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
    vec![
        ("nothing of it", Vec::new()),
        ("lower case", line("proxy TCP4 203.0.113.7 10.0.0.1 8080 443\r\n")),
        ("no such address", line("PROXY TCP4 203.0.113.777 10.0.0.1 8080 443\r\n")),
        ("a name for an address", line("PROXY TCP4 localhost 10.0.0.1 8080 443\r\n")),
        ("an address of the other family", line("PROXY TCP4 2001:db8::7 10.0.0.1 8080 443\r\n")),
        ("no such port", line("PROXY TCP4 203.0.113.7 10.0.0.1 99999 443\r\n")),
        ("a sign before the port", line("PROXY TCP4 203.0.113.7 10.0.0.1 +8080 443\r\n")),
        ("a part too few", line("PROXY TCP4 203.0.113.7 10.0.0.1 8080\r\n")),
        ("a part too many", line("PROXY TCP4 203.0.113.7 10.0.0.1 8080 443 1\r\n")),
        ("two spaces", line("PROXY TCP4  203.0.113.7 10.0.0.1 8080 443\r\n")),
        ("no such protocol", line("PROXY UDP4 203.0.113.7 10.0.0.1 8080 443\r\n")),
        ("a line that ends in LF alone", line("PROXY TCP4 203.0.113.7 10.0.0.1 8080 443\n")),
        ("longer than 107 bytes", line(&long)),
        ("version 3", v2(0x31, 0x11, IPV4)),
        ("no such command", v2(0x22, 0x11, IPV4)),
        ("shorter than its addresses", v2(0x21, 0x11, &IPV4[..8])),
        ("a family that is none", v2(0x21, 0x51, IPV4)),
        ("oversized", v2(0x21, 0x11, &[0; 60_000])),
    ]
}

#[tokio::test]
async fn an_invalid_proxy_header_is_rejected() {
    let ca = Authority::new("Root");
    let world = World::with(ca.clone(), listeners(&ca)).await;
    for listener in TRUSTED {
        for (what, first) in malformed() {
            let begun = Instant::now();
            let answer = behind(&world, listener, &first, "/x").await;
            assert!(answer.as_ref().is_ok_and(String::is_empty) || answer.is_err(), "{listener}, {what}: {answer:?}");
            assert!(begun.elapsed() < Duration::from_secs(8), "{listener}, {what} took {:?}", begun.elapsed());
        }
        let number = listener.to_string();
        let is_told = |line: &Value| line["reason"] == "proxy_protocol" && line["listener"] == number.as_str();
        let line = world.gateway.wait_line(is_told, LIMIT).await;
        let reason = "the connection did not begin with one";
        assert_eq!(
            (&line["level"], &line["address"], &line["message"]),
            (&"warn".into(), &"127.0.0.1".into(), &format!("{REJECTED}{reason}").into()),
            "{line}"
        );
    }
    assert_eq!(world.upstream.requests(), 0);
}

/// Load balancers look so once a second whether somebody is there.
#[tokio::test]
async fn a_load_balancer_that_leaves_without_a_byte_is_not_told_of() {
    let ca = Authority::new("Root");
    let world = World::with(ca.clone(), listeners(&ca)).await;
    for listener in TRUSTED {
        // Who leaves later is told of, and what came before would be in front of it.
        for first in [&b""[..], b"PROXY TCP4"] {
            let mut leaving = Raw::open(world.gateway.address(listener)).await;
            leaving.send(first).await;
            leaving.finish().await;
            assert_eq!(leaving.rest().await, b"");
        }
        let number = listener.to_string();
        let is_told = |line: &Value| line["reason"] == "proxy_protocol" && line["listener"] == number.as_str();
        let line = world.gateway.wait_line(is_told, LIMIT).await;
        assert_eq!(line["message"], format!("{REJECTED}the load balancer left in the middle of it"));
        assert_eq!(world.gateway.lines().iter().filter(|line| is_told(line)).count(), 1, "{}", world.gateway.output());
    }
}

#[tokio::test]
async fn a_load_balancer_that_never_says_it_is_not_waited_for() {
    let ca = Authority::new("Root");
    let world = World::with(ca.clone(), listeners(&ca).server("head_timeout = \"300ms\"")).await;
    for listener in TRUSTED {
        for first in [&b""[..], b"PROXY TCP4 203.0.113.7", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0"] {
            let mut connection = Raw::open(world.gateway.address(listener)).await;
            connection.send(first).await;
            assert!(connection.is_closed_within(Duration::from_secs(5)).await, "{listener}: {first:?}");
        }
    }
}

#[tokio::test]
async fn nobody_else_may_say_it() {
    let ca = Authority::new("Root");
    let world = World::with(ca.clone(), listeners(&ca)).await;
    for listener in UNTRUSTED {
        for (what, first, _) in said() {
            let answer = behind(&world, listener, &first, "/x").await;
            let is_refused =
                answer.as_ref().map_or(true, |answer| answer.starts_with("HTTP/1.1 400 ") || answer.is_empty());
            assert!(is_refused, "{listener}, {what}: {answer:?}");
        }
        if listener == UNTRUSTED[1] {
            let is_told = |line: &&Value| line["event"] == "handshake" && line["reason"] == "proxy_protocol_unexpected";
            let told = async || world.gateway.lines().iter().filter(is_told).count() == said().len();
            eventually("a line for each handshake", told).await;
        }
        let answer = behind(&world, listener, b"", "/plainly").await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(world.upstream.last().header("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(world.upstream.requests(), 1 + listener - UNTRUSTED[0]);
    }
}

#[tokio::test]
async fn it_is_said_once_and_not_inside_tls() {
    let ca = Authority::new("Root");
    let world = World::with(ca.clone(), listeners(&ca)).await;
    let line = b"PROXY TCP4 203.0.113.7 10.0.0.1 8080 443\r\n";
    let twice = behind(&world, TRUSTED[0], &line.repeat(2), "/x").await.expect("plain");
    assert!(twice.starts_with("HTTP/1.1 400 "), "{twice}");
    let mut inside = Raw::open_by_tls_after(world.gateway.address(TRUSTED[1]), line, &world.tls().http1())
        .await
        .expect("a handshake");
    inside.send([&line[..], get(NAME, "/x").as_bytes()].concat()).await;
    let answer = String::from_utf8_lossy(&inside.rest().await).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(world.upstream.requests(), 0);
}
