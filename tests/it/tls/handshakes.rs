//! Handshakes that are slow, that never end, or that are none.

use std::time::{Duration, Instant};

use super::{CERTIFICATE, NAME, World, configured, get};
use crate::harness::{Authority, Client, Raw, eventually, raw};

/// A first message (RFC 5246 section 7.4.1.2) that offers TLS 1.2 with one cipher, and has this in the place of the
/// server names (RFC 6066 section 3).
fn client_hello(server_names: Option<&[u8]>) -> Vec<u8> {
    let extension = |number: u16, body: &[u8]| [&number.to_be_bytes()[..], &length16(body), body].concat();
    let mut extensions = extension(10, b"\0\x02\0\x17");
    extensions.extend(extension(11, b"\x01\0"));
    extensions.extend(extension(13, b"\0\x02\x04\x03"));
    extensions.extend(server_names.map(|names| extension(0, names)).unwrap_or_default());
    let ciphers = b"\0\x02\xc0\x2b";
    let body =
        [b"\x03\x03", &[7; 32][..], b"\0", &ciphers[..], b"\x01\0", &length16(&extensions), &extensions].concat();
    let length = u32::try_from(body.len()).expect("a short message").to_be_bytes();
    let message = [&b"\x01"[..], &length[1..], &body].concat();
    [&b"\x16\x03\x01"[..], &length16(&message), &message].concat()
}

fn length16(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).expect("short").to_be_bytes()
}

/// A list with one host name.
fn host_name(name: &[u8]) -> Vec<u8> {
    let entry = [&b"\0"[..], &length16(name), name].concat();
    [&length16(&entry)[..], &entry].concat()
}

#[tokio::test]
async fn a_server_name_that_is_none_ends_the_handshake() {
    let world = World::start("").await;
    let (alert, handshake) = (b'\x15', b'\x16');
    let two = [&b"\0\x1e"[..], &host_name(b"a.example.com")[2..], &host_name(b"b.example.")[2..]].concat();
    let cases: Vec<(&str, Option<Vec<u8>>, u8)> = vec![
        ("none", None, handshake),
        ("a name", Some(host_name(NAME.as_bytes())), handshake),
        ("an empty list", Some(vec![0, 0]), alert),
        ("an empty name", Some(host_name(b"")), alert),
        ("two names", Some(two), alert),
        ("a NUL inside", Some(host_name(b"api.example.com\0.evil.org")), alert),
        ("a space inside", Some(host_name(b"api.example.com evil")), alert),
        ("no ASCII", Some(host_name("ä.example.com".as_bytes())), alert),
        ("far too long", Some(host_name(&[b'a'; 4000])), alert),
        ("a length that lies", Some(vec![0, 200, 0, 0, 1, b'a']), alert),
    ];
    for (what, names, expected) in cases {
        let mut connection = Raw::open(world.gateway.address(0)).await;
        connection.send(client_hello(names.as_deref())).await;
        let answer = connection.rest().await;
        assert_eq!(answer.first(), Some(&expected), "{what}: {answer:02x?}");
    }
    let client = Client::by_tls(world.gateway.address(0), &world.tls().http1());
    assert_eq!(client.get("/x").send().await.status, 200);
}

/// What is sent in the place of a first message, and the reason in log and metric.
const NONE: &[(&str, &[u8], &str)] = &[
    ("plain HTTP", b"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "plain_http"),
    ("a proxy's request", b"CONNECT api.example.com:443 HTTP/1.1\r\n\r\n", "plain_http"),
    ("HTTP/2 without TLS", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "malformed"),
    ("noise", b"\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c", "malformed"),
    ("SSL 2", b"\x80\x1c\x01\0\x02\0\x03\0\0\0\x10\x07\0\xc0random bytes here", "malformed"),
    ("another record", b"\x17\x03\x03\0\x05hello", "malformed"),
    ("a length beyond all measure", b"\x16\x03\x01\xff\xff\x01\0\0\x05hello", "malformed"),
    ("a PROXY line that nobody asked for", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "proxy_protocol_unexpected"),
];

#[tokio::test]
async fn what_is_no_handshake_ends_at_once_with_an_event() {
    for (what, bytes, reason) in NONE {
        let world = World::start("").await;
        let begun = Instant::now();
        let answer = raw(world.gateway.address(0), bytes).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{what}: {answer:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{what} took {:?}", begun.elapsed());
        let event = world.gateway.audit(|event| event["event"] == "handshake").await;
        assert_eq!(
            (&event["reason"], &event["address"]),
            (&(*reason).into(), &"127.0.0.1".into()),
            "{what}: {event:#}"
        );
        assert_eq!(world.upstream.requests(), 0, "{what}");
    }
}

#[tokio::test]
async fn a_handshake_that_is_slow_ends_at_its_timeout() {
    let world = World::start("handshake_timeout = \"400ms\"").await;
    let hello = client_hello(None);
    for (what, first) in [("silence", &b""[..]), ("half a message", &hello[..40]), ("no second message", &hello[..])] {
        let mut connection = Raw::open(world.gateway.address(0)).await;
        connection.send(first).await;
        let begun = Instant::now();
        assert!(connection.is_closed_within(Duration::from_secs(5)).await, "{what}");
        assert!(begun.elapsed() > Duration::from_millis(300), "{what} after {:?}", begun.elapsed());
    }
    // A byte now and then does not buy more time.
    let mut connection = Raw::open(world.gateway.address(0)).await;
    let begun = Instant::now();
    for byte in &hello {
        connection.send([*byte]).await;
        if connection.is_closed_within(Duration::from_millis(50)).await {
            break;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "dripped for {:?}", begun.elapsed());
    let series = "portcullis_tls_handshakes_total{listener=\"0\",result=\"failed\",reason=\"timeout\"}";
    let is_counted = async || world.gateway.metric(series).await >= 3.0;
    eventually("timeouts in the metric", is_counted).await;
}

#[tokio::test]
async fn who_only_looks_whether_somebody_is_there_is_no_event() {
    let world = World::start("").await;
    for _ in 0..10 {
        drop(Raw::open(world.gateway.address(0)).await);
    }
    let client = Client::by_tls(world.gateway.address(0), &world.tls().http1());
    assert_eq!(client.get("/x").send().await.status, 200);
    world.gateway.access(|line| line["status"] == 200).await;
    assert!(!world.gateway.lines().iter().any(|line| line["event"] == "handshake"), "{}", world.gateway.output());
}

#[tokio::test]
async fn handshakes_that_never_end_keep_nobody_out() {
    let world = World::start("").await;
    let hello = client_hello(None);
    let mut open = Vec::new();
    for number in 0..200 {
        let mut connection = Raw::open(world.gateway.address(0)).await;
        connection.send(&hello[..number % hello.len()]).await;
        open.push(connection);
    }
    let begun = Instant::now();
    let client = Client::by_tls(world.gateway.address(0), &world.tls().http1());
    assert_eq!(client.get("/x").send().await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    drop(open);
    let are_gone = async || world.gateway.metric("portcullis_connections").await <= 2.0;
    eventually("the connections are gone", are_gone).await;
}

#[tokio::test]
async fn half_open_handshakes_do_not_keep_a_drain() {
    // Far longer than the test waits: it is the stop that ends them.
    let world = World::start("handshake_timeout = \"5m\"").await;
    let hello = client_hello(None);
    let mut open = Vec::new();
    for first in [&b""[..], &hello[..1], &hello[..40], &hello[..]] {
        let mut connection = Raw::open(world.gateway.address(0)).await;
        connection.send(first).await;
        open.push(connection);
    }
    // They have been accepted: a connection after them has been served.
    let client = Client::by_tls(world.gateway.address(0), &world.tls().http1());
    assert_eq!(client.get("/x").send().await.status, 200);
    drop(client);
    let begun = Instant::now();
    assert!(world.gateway.stop().await.success());
    assert!(begun.elapsed() < Duration::from_secs(5), "stopped after {:?}", begun.elapsed());
}

#[tokio::test]
async fn an_idle_connection_is_told_goodbye_and_ends_a_drain_at_once() {
    let world = World::start("").await;
    for tls in [world.tls().http1(), world.tls().http2()] {
        let client = Client::by_tls(world.gateway.address(0), &tls);
        assert_eq!(client.get("/x").send().await.status, 200);
        std::mem::forget(client);
    }
    let begun = Instant::now();
    assert!(world.gateway.stop().await.success());
    assert!(begun.elapsed() < Duration::from_secs(5), "stopped after {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_request_in_flight_is_answered_while_the_gateway_stops() {
    let world = World::start("").await;
    let client = Client::by_tls(world.gateway.address(0), &world.tls().http1());
    let (answer, ()) = tokio::join!(client.get("/slow?ms=500").send(), async {
        world.upstream.wait_for(1).await;
        world.gateway.signal(libc::SIGTERM);
    });
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_head_that_is_no_http_is_answered_through_tls_from_our_own_table() {
    let ca = Authority::new("Root");
    let world = World::with(ca.clone(), configured(&ca, CERTIFICATE)).await;
    for (bytes, status) in [
        ("GET /x HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), "400"),
        ("TRACE /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), "405"),
        (format!("GET /x HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(40_000)), "431"),
        (get(NAME, "/a/../b"), "400"),
    ] {
        let mut connection =
            Raw::open_by_tls(world.gateway.address(0), &world.tls().http1()).await.expect("a handshake");
        connection.send(bytes).await;
        let answer = String::from_utf8_lossy(&connection.rest().await).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains("problem+json"), "{answer}");
    }
    assert_eq!(world.upstream.requests(), 0);
}
