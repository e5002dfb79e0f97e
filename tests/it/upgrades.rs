//! Upgraded connections with an upstream that is faster than the gateway.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::harness::{Gateway, Raw, raw};

const GATEWAY: &str = r#"
[[listeners]]
address = "127.0.0.1:0"

[upstreams.app]
targets = ["@UPSTREAM@"]

[upstreams.gone]
targets = ["127.0.0.1:9"]

[routes.app]
paths = ["/{*rest}"]
upstream = "app"
public = true

[routes.gone]
paths = ["/gone"]
upstream = "gone"
public = true
"#;

const HANDSHAKE: &str = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// An upstream whose answer is there before the request is.
async fn hasty(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answer));
        }
    });
    address
}

/// Answers, reads the request's head, and sends everything after it back.
async fn serve(mut stream: TcpStream, answer: &str) -> Option<()> {
    stream.write_all(answer.as_bytes()).await.ok()?;
    let mut read = Vec::new();
    let end = loop {
        stream.read_buf(&mut read).await.ok().filter(|length| *length > 0)?;
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    stream.write_all(&read[end..]).await.ok()?;
    let (mut from, mut to) = stream.split();
    tokio::io::copy(&mut from, &mut to).await.ok().map(drop)
}

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[tokio::test]
async fn an_answer_that_comes_at_once_does_not_end_the_connection() {
    let upstream = hasty(SWITCHING).await;
    let gateway = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream).start().await;
    // One in two was lost: twenty say enough.
    for number in 0..20 {
        let mut socket = Raw::open(gateway.address(0)).await;
        socket.send(format!("GET /ws{number} HTTP/1.1\r\n{HANDSHAKE}")).await;
        let head = socket.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{number}: {head}");
        for message in ["first", "second"] {
            socket.send(message).await;
            socket.until(message).await;
        }
    }
}

/// A client that does not wait for the answer: its bytes are kept until there is one, whether they come with the request
/// or a little later, and are then the first of the new protocol.
#[tokio::test]
async fn bytes_that_come_before_the_upgrade_is_agreed_to_belong_to_it() {
    let upstream = hasty(SWITCHING).await;
    let gateway = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream).start().await;
    for number in 0..10 {
        let mut socket = Raw::open(gateway.address(0)).await;
        socket.send(format!("GET /ws{number} HTTP/1.1\r\n{HANDSHAKE}early{}", "x".repeat(10_000))).await;
        socket.send("late").await;
        assert!(socket.until("\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
        let echoed = socket.until("late").await;
        assert_eq!((echoed.len(), echoed.starts_with("earlyx")), (10_009, true), "{number}");
    }
}

#[tokio::test]
async fn an_upgrade_that_the_upstream_refuses_is_an_answer_like_any_other() {
    let upstream = hasty("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno").await;
    let gateway = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream).start().await;
    let mut client = Raw::open(gateway.address(0)).await;
    for number in 0..5 {
        client.send(format!("GET /ws{number} HTTP/1.1\r\n{HANDSHAKE}")).await;
        let answer = client.until("\r\n\r\nno").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{number}: {answer}");
    }
}

#[tokio::test]
async fn an_upgrade_to_an_upstream_that_is_not_there_is_502() {
    let gateway = Gateway::builder(GATEWAY).set("UPSTREAM", "127.0.0.1:9").start().await;
    let answer = raw(gateway.address(0), format!("GET /gone HTTP/1.1\r\n{HANDSHAKE}")).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("upstream_unreachable"), "{answer}");
    let line = gateway.access(|line| line["path"] == "/gone").await;
    assert_eq!(line["error"], "upstream: ConnectRefused", "{line}");
}
