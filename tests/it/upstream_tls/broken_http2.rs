//! Answers by HTTP/2 that break the protocol are the fault of a request, and not the end of HTTP/2 with that upstream.

use super::{BY_CA, GATEWAY, at_loopback, get};
use crate::harness::{Authority, FrameUpstream, Gateway, LIMIT, TlsServer, frames};

const HTTP_1_1_REQUIRED: u32 = 13;

/// A gateway before an upstream that answers so by HTTP/2, if its first requests are answered by `broken`.
async fn before(broken: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> (Gateway, FrameUpstream) {
    let authority = Authority::new("ours");
    let server = TlsServer::new(&at_loopback(&authority));
    let upstream = FrameUpstream::tls(&server, move |number, stream| match number {
        // One before the gateway knows which protocol the server chooses, and one after.
        0 | 2 => broken(stream),
        _ => frames::headers(stream, b"\x88"),
    });
    let target = format!("\"{}\"", upstream.address());
    let builder = Gateway::builder(GATEWAY).set("TARGETS", &target).set("UPSTREAM", BY_CA);
    (builder.file("ca.pem", authority.pem()).start().await, upstream)
}

#[tokio::test]
async fn one_broken_answer_does_not_turn_http2_off() {
    let broken: [fn(u32) -> Vec<u8>; 5] = [
        |stream| frames::headers(stream, &[&b"\x88"[..], &frames::field("x-note", b"a\nb")].concat()),
        |stream| frames::headers(stream, b"\x08\x03000"),
        // No such entry in any table.
        |stream| frames::headers(stream, b"\xff\xff\xff\x7f"),
        |stream| frames::headers(stream, &[&b"\x88"[..], &frames::field("connection", b"close")].concat()),
        // DATA before HEADERS.
        |stream| [&[0, 0, 2, 0, 1][..], &stream.to_be_bytes(), b"ok"].concat(),
    ];
    for (number, broken) in broken.into_iter().enumerate() {
        let (gateway, upstream) = before(broken).await;
        let mut statuses = Vec::new();
        for _ in 0..6 {
            statuses.push(get(&gateway).await.status);
        }
        assert_eq!(statuses, [502, 200, 502, 200, 200, 200], "answer {number}: {}", gateway.output());
        assert_eq!(upstream.requests(), 6, "answer {number}: all came by HTTP/2, and each once");
    }
}

/// What the server says itself holds for a while, is told, and is forgotten by a reload.
#[tokio::test]
async fn http1_that_is_required_is_spoken() {
    let (gateway, upstream) = before(|stream| frames::reset(stream, HTTP_1_1_REQUIRED)).await;
    for _ in 0..3 {
        assert_eq!(get(&gateway).await.status, 200, "{}", gateway.output());
    }
    assert_eq!(upstream.requests(), 1, "one by HTTP/2, all others by HTTP/1.1");
    gateway.wait_line(|line| line["event"] == "upstream", LIMIT).await;
    let told = gateway.lines().into_iter().filter(|line| line["event"] == "upstream").count();
    assert_eq!(told, 1, "{}", gateway.output());
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!((get(&gateway).await.status, upstream.requests()), (200, 2));
}
