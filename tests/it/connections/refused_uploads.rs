//! Uploads that nobody reads: whoever sends one hears why, though it sends for a while yet (RFC 9112 section 9.6).

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::site;
use crate::harness::{Authority, Gateway, LIMIT, Leaf, Tls, key};

const UPLOAD_BYTES: usize = 20 << 20;

/// Sends all of it before it reads anything, as simple clients do, and gives back the answer. `None`: it did not hear it.
async fn upload(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, head: &str) -> Option<String> {
    let piece = vec![b'x'; 64 << 10];
    stream.write_all(head.as_bytes()).await.ok()?;
    for _ in 0..UPLOAD_BYTES / piece.len() {
        stream.write_all(&piece).await.ok()?;
    }
    let mut answer = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("the connection is closed").ok()?;
    String::from_utf8(answer).ok()
}

fn head(target: &str, lines: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: {UPLOAD_BYTES}\r\n\r\n")
}

/// Refusals of each kind: target, header lines, status.
fn refusals() -> Vec<(&'static str, String, u16)> {
    let key = key("acme").0;
    vec![
        ("/locked/a", String::new(), 401),
        ("/locked/a", "Expect: 100-continue\r\n".to_owned(), 401),
        ("/locked/a", format!("X-API-Key: {key}\r\n"), 403),
        ("/small/a", String::new(), 413),
        ("/nowhere", String::new(), 404),
        ("/fixed/a", String::new(), 200),
        ("/app//a", String::new(), 400),
        ("/app/a b", String::new(), 400),
        ("/app/a", format!("X: {}\r\n", "x".repeat(40_000)), 431),
    ]
}

#[tokio::test]
async fn a_refused_upload_hears_its_refusal() {
    let (builder, upstream) = site(Duration::ZERO);
    let gateway = builder.start().await;
    for (target, lines, status) in refusals() {
        for _ in 0..7 {
            let stream = TcpStream::connect(gateway.address(0)).await.expect("connects");
            let answer = upload(stream, &head(target, &lines)).await.expect("the answer is heard");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
        }
    }
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn a_refused_upload_hears_its_refusal_over_tls() {
    let authority = Authority::new("Root");
    let server = authority.issue(Leaf::server("localhost"));
    let (builder, upstream) = site(Duration::ZERO);
    let gateway = builder
        .listener("tls = { certificates = [{ cert = \"server.pem\", key = \"server.key\" }] }")
        .file("server.pem", server.chain_pem())
        .file("server.key", server.key_pem())
        .start()
        .await;
    let tls = Tls::trusting(&authority).name("localhost").http1();
    for (target, lines, status) in refusals() {
        for _ in 0..3 {
            let stream = TcpStream::connect(gateway.address(0)).await.expect("connects");
            let stream = tls.connect(stream).await.expect("shakes hands");
            let answer = upload(stream, &head(target, &lines)).await.expect("the answer is heard, and its end is said");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
        }
    }
    assert_eq!(upstream.requests(), 0);
}

/// Whoever never stops is not read for ever, and one who falls silent is let go sooner.
#[tokio::test]
async fn a_client_that_does_not_leave_is_left() {
    let (builder, _upstream) = site(Duration::ZERO);
    let gateway = builder.start().await;
    let mut stream = TcpStream::connect(gateway.address(0)).await.expect("connects");
    stream.write_all(head("/locked/a", "").as_bytes()).await.expect("sends");
    open(&gateway, 1).await;
    let since = Instant::now();
    open(&gateway, 0).await;
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
}

async fn open(gateway: &Gateway, connections: u64) {
    crate::harness::eventually("so many connections are open", async || {
        gateway.status().await["connections"].as_u64() == Some(connections)
    })
    .await;
}

/// It is no request in flight.
#[tokio::test]
async fn a_stop_does_not_wait_for_an_upload_that_was_refused() {
    let (builder, _upstream) = site(Duration::ZERO);
    let gateway = builder.start().await;
    let mut stream = TcpStream::connect(gateway.address(0)).await.expect("connects");
    stream.write_all(head("/locked/a", "").as_bytes()).await.expect("sends");
    let drip = tokio::spawn(async move {
        while stream.write_all(b"xxxx").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    open(&gateway, 1).await;
    let since = Instant::now();
    gateway.stop().await;
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
    drip.abort();
}
