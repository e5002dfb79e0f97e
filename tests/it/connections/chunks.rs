//! Bodies in chunks that another server would read in another way (RFC 9112 section 7.1).

use std::time::Duration;

use super::site;
use crate::harness::{Raw, eventually, raw};

const HEAD: &str = " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

/// Bodies, and why each is refused.
const MALFORMED: [(&str, &str); 18] = [
    ("5;a\nhello\r\n0\r\n\r\n", "byte in a chunk extension"),
    ("5;a\0b\r\nhello\r\n0\r\n\r\n", "byte in a chunk extension"),
    ("5;a\x01b\r\nhello\r\n0\r\n\r\n", "byte in a chunk extension"),
    ("5\nhello\r\n0\r\n\r\n", "chunk size"),
    ("5 \r\nhello\r\n0\r\n\r\n", "chunk size"),
    (" 5\r\nhello\r\n0\r\n\r\n", "chunk size"),
    ("+5\r\nhello\r\n0\r\n\r\n", "chunk size"),
    ("0x5\r\nhello\r\n0\r\n\r\n", "chunk size"),
    ("10000000000000005\r\nhello\r\n0\r\n\r\n", "chunk size of too many digits"),
    ("5\r\nhello\n0\r\n\r\n", "chunk longer than its size"),
    ("5\r\nhelloX\r\n0\r\n\r\n", "chunk longer than its size"),
    ("5\r\nhello0\r\n\r\n", "chunk longer than its size"),
    ("5\r\nhello\r\n\r\n\r\n", "chunk size"),
    ("5\r\nhello\r\n0\n\n", "chunk size"),
    ("5\r\nhello\r\n0\r\n\n", "trailer line"),
    ("5\r\nhello\r\n0\r\nno colon\r\n\r\n", "trailer line"),
    ("5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n", "trailer line"),
    ("5\r\nhello\r\n0\r\nX: a\0b\r\n\r\n", "trailer line"),
];

#[tokio::test]
async fn chunks_that_are_read_in_two_ways_are_400() {
    let (builder, upstream) = site(Duration::ZERO);
    let gateway = builder.start().await;
    for (number, (body, why)) in MALFORMED.into_iter().enumerate() {
        let target = format!("/app/whole-{number}");
        let answer =
            String::from_utf8(raw(gateway.address(0), format!("POST {target}{HEAD}{body}")).await).expect("text");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{body:?}: {answer}");
        gateway.access(|line| line["status"] == 400 && line["error"] == why).await;
        assert!(upstream.saw().is_empty(), "{body:?}");
    }
}

#[tokio::test]
async fn chunks_that_turn_bad_under_way_are_400_and_end_the_request() {
    let (builder, upstream) = site(Duration::ZERO);
    let gateway = builder.start().await;
    for (number, (body, why)) in MALFORMED.into_iter().enumerate() {
        let target = format!("/app/late-{number}");
        let mut client = Raw::open(gateway.address(0)).await;
        client.send(format!("POST {target}{HEAD}6\r\nfirst \r\n")).await;
        upstream.wait_for(number + 1).await;
        eventually("the first chunk is there", async || upstream.last().body == b"first ").await;
        client.send(body).await;
        let answer = client.until("\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{body:?}: {answer}");
        let error = format!("client: {why}");
        gateway.access(|line| line["path"] == target.as_str() && line["error"] == error.as_str()).await;
        let saw = upstream.saw().into_iter().find(|saw| saw.target == target).expect("it came");
        assert!(!saw.is_complete && saw.body == b"first ", "{body:?}");
    }
}

#[tokio::test]
async fn chunks_with_extensions_and_trailers_pass_wherever_they_break() {
    let (builder, upstream) = site(Duration::ZERO);
    let gateway = builder.start().await;
    let body = "5;a=\"b c\";d\r\nhello\r\n00c \t;e\r\n to you all.\r\n0;f\r\nX-Sum: 1\r\nY:\r\n\r\n";
    let request = format!("POST /app/pieces{HEAD}{body}");
    for piece in [1, 3, 7, 1000] {
        let mut client = Raw::open(gateway.address(0)).await;
        for piece in request.as_bytes().chunks(piece) {
            client.send(piece).await;
            tokio::task::yield_now().await;
        }
        assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 200 "), "in pieces of {piece}");
        let saw = upstream.last();
        assert_eq!((saw.body.as_slice(), saw.is_complete), (&b"hello to you all."[..], true));
        assert_eq!(saw.header("x-sum"), None);
    }
}
