//! Answers of the upstream: what passes, and what is no answer.

use super::GATEWAY;
use crate::harness::{Client, Gateway, RawUpstream, raw};

/// A gateway that takes HTTP/1 and HTTP/2, before an upstream that answers these bytes.
async fn before(answer: &'static str) -> (Gateway, RawUpstream) {
    let upstream = RawUpstream::start(answer);
    let target = format!("\"{}\"", upstream.address());
    let builder = Gateway::builder(GATEWAY).set("TARGETS", &target).set("UPSTREAM", "");
    (builder.listener("h2c = true").start().await, upstream)
}

/// The bytes that a client gets which asks like this and for nothing more.
async fn bytes(gateway: &Gateway, version: &str, more: &str) -> String {
    let request = format!("GET / HTTP/{version}\r\nHost: a.example\r\nConnection: close\r\n{more}\r\n");
    String::from_utf8(raw(gateway.address(0), request).await).expect("text")
}

#[tokio::test]
async fn what_belongs_to_a_connection_does_not_pass() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nConnection: x-third\r\nX-Hop: 1\r\nX-Third: 3\r\n\
                  Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\nX-Kept: 4\r\n\
                  Content-Length: 2\r\n\r\nok";
    let (gateway, _upstream) = before(answer).await;
    for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))] {
        let answer = client.get("/").send().await;
        assert_eq!((answer.status, answer.text().as_str(), answer.header("x-kept")), (200, "ok", Some("4")));
        for name in ["x-hop", "x-third", "keep-alive", "proxy-connection", "te", "upgrade"] {
            assert_eq!(answer.header(name), None, "{name}");
        }
        assert!(answer.header("connection").is_none_or(|value| value == "keep-alive"));
    }
}

/// Each answer, and what becomes of it: 502, or 200 with this body.
#[tokio::test]
async fn an_answer_is_framed_in_one_way_or_it_is_none() {
    let no_answer = None;
    for (answer, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", Some("ok")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", Some("ok")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", no_answer),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok", no_answer),
        ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", no_answer),
        ("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", no_answer),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok", no_answer),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2,\r\n\r\nok", no_answer),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok", no_answer),
        // The coding counts (RFC 9112 section 6.3), and goes on alone.
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Some("ok")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Some("ok")),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", no_answer),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", no_answer),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok", no_answer),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n2\r\nok\r\n0\r\n\r\n", no_answer),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            no_answer,
        ),
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", no_answer),
        // A field over several lines becomes one; lines may end with LF alone (RFC 9112 sections 2.2 and 5.2).
        ("HTTP/1.1 200 OK\r\nX-Note: a,\r\n b\r\nContent-Length: 2\r\n\r\nok", Some("ok")),
        ("HTTP/1.1 200 OK\nX-Note: a, b\nContent-Length: 2\n\nok", Some("ok")),
        ("HTTP/1.1 200 OK\r\nX-Note: a\0b\r\nContent-Length: 2\r\n\r\nok", no_answer),
        ("HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok", no_answer),
        ("HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", no_answer),
    ] {
        let (gateway, _upstream) = before(answer).await;
        for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))] {
            let got = client.get("/").send().await;
            let Some(body) = body else {
                assert_eq!((got.status, got.json()["code"].as_str()), (502, Some("upstream_broken")), "{answer:?}");
                continue;
            };
            assert_eq!((got.status, got.text().as_str()), (200, body), "{answer:?}");
            assert!(got.headers.get_all("content-length").iter().count() <= 1, "{answer:?}");
            assert!(got.header("content-length").is_none_or(|length| length == "2"), "{answer:?}");
            assert!(got.header("x-note").is_none_or(|note| note == "a, b"), "{answer:?}: {:?}", got.headers);
        }
    }
}

#[tokio::test]
async fn a_101_to_another_protocol_is_none() {
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.0 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let (gateway, _upstream) = before(answer).await;
        let request = format!("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n{upgrade}\r\n");
        let got = String::from_utf8(raw(gateway.address(0), request).await).expect("text");
        assert!(got.starts_with("HTTP/1.1 502 "), "{answer:?}: {got}");
    }
}

#[tokio::test]
async fn the_version_is_our_own_and_http10_gets_no_informational_answer() {
    let ok = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (gateway, _upstream) = before(ok).await;
    for version in ["1.0", "1.1"] {
        let got = bytes(&gateway, version, "").await;
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("\r\n\r\nok"), "{version}: {got}");
    }
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (gateway, _upstream) = before(early).await;
    let got = bytes(&gateway, "1.0", "").await;
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("ok"), "{got}");
    let got = bytes(&gateway, "1.1", "").await;
    let (hints, rest) = got.split_once("\r\n\r\n").expect("two heads");
    assert!(hints.starts_with("HTTP/1.1 103 ") && rest.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
    assert!(
        hints.to_ascii_lowercase().contains("\r\nlink: ") && !hints.to_ascii_lowercase().contains("x-hop"),
        "{hints}"
    );
}

#[tokio::test]
async fn what_has_no_body_has_no_length() {
    for (answer, status, is_kept_by_http1) in [
        ("HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", 204, false),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"a\"\r\n\r\n", 304, true),
    ] {
        let (gateway, _upstream) = before(answer).await;
        for (client, is_kept) in
            [(Client::http1(gateway.address(0)), is_kept_by_http1), (Client::http2(gateway.address(0)), false)]
        {
            let got = client.get("/").send().await;
            assert_eq!((got.status, got.header("content-length").is_some()), (status, is_kept), "{answer:?}");
            assert_eq!(got.header("transfer-encoding"), None);
        }
    }
}
