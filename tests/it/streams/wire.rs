//! HTTP/1 as bytes.

use super::{configured, start, started};
use crate::harness::{Client, LIMIT, Raw, RawUpstream, key, raw};

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_before_it_sends_its_body() {
    let (gateway, upstream, key) = start().await;
    let mut client = Raw::open(gateway.address(0)).await;
    let head = "Host: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n";
    client.send(format!("POST /app/upload HTTP/1.1\r\nX-API-Key: {key}\r\n{head}\r\n")).await;
    assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 100 "));
    client.send("hello").await;
    assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
    assert_eq!((upstream.last().body.as_slice(), upstream.last().is_complete), (&b"hello"[..], true));
}

#[tokio::test]
async fn a_client_that_expects_100_and_is_refused_sends_no_body() {
    let (gateway, upstream, _) = start().await;
    let head = "Host: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n";
    let answer = text(raw(gateway.address(0), format!("POST /app/upload HTTP/1.1\r\n{head}\r\n")).await);
    assert!(answer.starts_with("HTTP/1.1 401 ") && !answer.contains("HTTP/1.1 100"), "{answer}");
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn head_has_the_head_of_get_and_no_body() {
    let (gateway, upstream, key) = start().await;
    let mut client = Raw::open(gateway.address(0)).await;
    // Were a body sent, it would be read as the beginning of the next answer.
    for (target, header, status) in [
        ("/app/x", format!("X-API-Key: {key}\r\n"), "200"),
        ("/fixed", String::new(), "200"),
        ("/app/x", String::new(), "401"),
    ] {
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n{header}\r\n")).await;
        let answer = client.until("\r\n\r\n").await.to_ascii_lowercase();
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{answer}");
        assert!(answer.contains("\r\ncontent-length: ") && !answer.contains("content-length: 0\r\n"), "{answer}");
    }
    client.send("GET /fixed HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let answer = text(client.rest().await);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nfixed"), "{answer}");
    assert_eq!((upstream.requests(), upstream.last().method.as_str()), (1, "HEAD"));
}

#[tokio::test]
async fn answers_without_a_body_end_at_once_and_keep_the_connection() {
    let (gateway, upstream, key) = start().await;
    for address in [gateway.address(0), gateway.address(1)] {
        let client = Client::http1(address);
        for status in [204, 304, 200, 204] {
            let target = format!("/app/status/{status}");
            let answer = client.get(&target).header("x-api-key", &key).send().await;
            assert_eq!((answer.status, answer.body.len()), (status, 0));
            assert_eq!(answer.header("transfer-encoding"), None);
        }
        assert_eq!(client.connections().await, 1);
    }
    assert_eq!(upstream.requests(), 8);
}

#[tokio::test]
async fn http_10_gets_an_answer_that_it_can_read() {
    let (gateway, upstream, key) = start().await;
    for version in ["HTTP/1.0", "HTTP/1.0\r\nConnection: keep-alive"] {
        let request = format!("GET /app/stream?chunks=2&ms=1 {version}\r\nX-API-Key: {key}\r\n\r\n");
        let answer = text(raw(gateway.address(0), request).await);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.") && head.contains(" 200 "), "{head}");
        // It knows no chunks (RFC 9112 section 6.1).
        assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
        assert_eq!(body, "chunk 0\nchunk 1\n");
    }
    assert_eq!(upstream.last().header("x-consumer"), Some("acme"));
    gateway.access(|line| line["protocol"] == "HTTP/1.0").await;
}

#[tokio::test]
async fn request_trailers_are_dropped() {
    let upstream = RawUpstream::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = started(configured(upstream.address())).await;
    let (key, _) = key("acme");
    let head = format!("Host: a\r\nX-API-Key: {key}\r\nTrailer: X-Consumer\r\nTransfer-Encoding: chunked\r\n");
    let body = "5\r\nhello\r\n0\r\nX-Consumer: root\r\nX-Other: 1\r\n\r\n";
    let request = format!("POST /app/upload HTTP/1.1\r\n{head}Connection: close\r\n\r\n{body}");
    let answer = text(raw(gateway.address(0), request).await);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
    let saw = upstream.saw().remove(0).to_ascii_lowercase();
    assert!(saw.contains("\r\nx-consumer: acme\r\n"), "{saw}");
    assert!(
        saw.contains("hello") && !saw.contains("root") && !saw.contains("trailer:") && !saw.contains("x-other"),
        "{saw}"
    );
}

#[tokio::test]
async fn the_body_of_a_refused_request_is_not_the_next_one() {
    let (gateway, upstream, _) = start().await;
    let smuggled = "GET /open/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = smuggled.len();
    let heads = [
        format!("Content-Length: {length}\r\n\r\n{smuggled}"),
        format!("Content-Length: {}\r\n\r\n{smuggled}", length * 3),
        format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{smuggled}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{smuggled}", length * 2),
        format!("Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n{smuggled}"),
    ];
    for rest in heads {
        let mut client = Raw::open(gateway.address(0)).await;
        let (head, body) = rest.split_once("\r\n\r\n").expect("a head and a body");
        client.send(format!("POST /app/upload HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n")).await;
        assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 401 "), "{head}");
        // The body comes once the answer has been given: either it is taken for what it is, or the connection closes.
        client.send(body).await;
        client.send(body).await;
        let rest = text(client.rest().await);
        assert!(!rest.contains("HTTP/1.1 200"), "{head}: {rest}");
        assert_eq!(upstream.requests(), 0, "{head}");
    }
    // In one write, too.
    let request = format!("POST /app/upload HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{smuggled}");
    let answer = text(raw(gateway.address(0), request).await);
    assert!(answer.starts_with("HTTP/1.1 401 ") && !answer.contains("HTTP/1.1 200"), "{answer}");
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (gateway, upstream, _) = start().await;
    let request = |n: u32| format!("GET /open/{n} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut client = Raw::open(gateway.address(0)).await;
    client.send(format!("{}{}{}", request(1), request(2), request(3))).await;
    let targets = ["/open/1", "/open/2", "/open/3"];
    for target in targets {
        assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
        assert!(client.until("}").await.contains(&format!("\"{target}\"")), "{target}");
    }
    assert_eq!(upstream.saw().iter().map(|saw| saw.target.as_str()).collect::<Vec<_>>(), targets);
}

#[tokio::test]
async fn a_pipelined_request_behind_one_with_a_key_has_none() {
    let (gateway, upstream, key) = start().await;
    let first = format!("GET /app/1 HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n\r\n");
    let answers = text(raw(gateway.address(0), format!("{first}GET /app/2 HTTP/1.1\r\nHost: a\r\n\r\n")).await);
    assert!(answers.starts_with("HTTP/1.1 200 ") && answers.matches("HTTP/1.1 200 ").count() == 1, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 401 ").count(), 1, "{answers}");
    assert_eq!(upstream.requests(), 1, "let in by the key of another request");
}

#[tokio::test]
async fn requests_on_one_connection_are_each_judged_for_themselves() {
    let (gateway, upstream, key) = start().await;
    let client = Client::http1(gateway.address(0));
    assert_eq!(client.get("/app/1").header("x-api-key", &key).send().await.status, 200);
    assert_eq!(client.get("/app/2").send().await.status, 401);
    assert_eq!(client.get("/app/3").header("x-api-key", &key).send().await.status, 200);
    assert_eq!((client.connections().await, upstream.requests()), (1, 2));
}

#[tokio::test]
async fn a_body_that_is_no_body_is_refused_and_ends_the_connection() {
    let (gateway, upstream, key) = start().await;
    for chunk in ["zz\r\nhello\r\n", "5\r\nhelloXX0\r\n\r\n", "fffffffffffffffff\r\nhello"] {
        let head = format!("Host: a\r\nX-API-Key: {key}\r\nTransfer-Encoding: chunked\r\n");
        let mut client = Raw::open(gateway.address(0)).await;
        client.send(format!("POST /app/upload HTTP/1.1\r\n{head}\r\n{chunk}")).await;
        let is_closed = client.is_closed_within(LIMIT).await;
        assert!(is_closed, "{chunk:?}");
    }
    assert!(upstream.saw().iter().all(|saw| !saw.is_complete), "a broken body was passed on as a whole one");
}
