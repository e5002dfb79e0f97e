use std::pin::Pin;

use http::Version;
use openssl::ssl::{Ssl, SslVersion};
use sha2::{Digest as _, Sha256};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};
use tokio_openssl::SslStream;

use super::{BY_CA, GATEWAY, assert_refused, at_loopback, before, get, is_kept, served_by};
use crate::harness::{Authority, Client, Gateway, Raw, TlsServer, Upstream, WebSocket};

/// What the server offers, what the file says, and what comes of it.
#[tokio::test]
async fn http2_where_it_is_offered_and_not_forbidden() {
    let authority = Authority::new("ours");
    let server = TlsServer::new(&at_loopback(&authority));
    let (h2, http1) = (Some("h2"), Some("http/1.1"));
    for (server, protocol, alpn, version) in [
        (server.clone(), "", h2, Version::HTTP_2),
        (server.clone(), "protocol = \"h2\"", h2, Version::HTTP_2),
        (server.clone(), "protocol = \"http1\"", http1, Version::HTTP_11),
        (server.clone().http1(), "", http1, Version::HTTP_11),
        (server.clone().http1(), "protocol = \"http1\"", http1, Version::HTTP_11),
        (server.clone().without_alpn(), "", None, Version::HTTP_11),
        (server.clone().without_alpn(), "protocol = \"http1\"", None, Version::HTTP_11),
    ] {
        let upstream = Upstream::tls(&server);
        let gateway = before(&[&upstream], &authority, &format!("{protocol}\n{BY_CA}")).start().await;
        for _ in 0..2 {
            assert_eq!(get(&gateway).await.status, 200, "{protocol} {alpn:?}: {}", gateway.output());
        }
        is_kept(&gateway, &upstream).await;
        let shakings = upstream.shakings();
        assert!(shakings.iter().all(|shaken| shaken.alpn.as_deref() == alpn), "{protocol}: {shakings:?}");
        assert_eq!(upstream.last().version, version, "{protocol} {alpn:?}");
    }
}

#[tokio::test]
async fn h2_is_never_less_than_that() {
    let authority = Authority::new("ours");
    let server = TlsServer::new(&at_loopback(&authority));
    for server in [server.clone().http1(), server.without_alpn()] {
        let upstream = Upstream::tls(&server);
        let gateway = before(&[&upstream], &authority, &format!("protocol = \"h2\"\n{BY_CA}")).start().await;
        assert_refused(&gateway, &upstream, "tls", "").await;
    }
}

/// HTTP/2 knows no such upgrade: where both are offered, WebSockets go by HTTP/1.1, and beside them HTTP/2 is spoken.
#[tokio::test]
async fn websockets_over_tls() {
    let authority = Authority::new("ours");
    let server = TlsServer::new(&at_loopback(&authority));
    for (server, protocol) in [
        (server.clone(), ""),
        (server.clone(), "protocol = \"http1\""),
        (server.clone().at_most(SslVersion::TLS1_2), ""),
        (server.without_alpn(), ""),
    ] {
        let upstream = Upstream::tls(&server);
        let gateway = before(&[&upstream], &authority, &format!("{protocol}\n{BY_CA}")).start().await;
        assert_eq!(get(&gateway).await.status, 200);
        for number in 0..10 {
            let socket = WebSocket::open(gateway.address(0), &format!("/ws{number}"), &[]).await;
            let mut socket = socket.unwrap_or_else(|answer| panic!("{}: {}", answer.status, gateway.output()));
            for message in ["first", "second", &"long ".repeat(20_000)] {
                socket.send(message).await;
                assert_eq!(socket.next().await.as_deref(), Some(message));
            }
        }
        let saw = upstream.last();
        assert_eq!((saw.version, saw.header("upgrade")), (Version::HTTP_11, Some("websocket")));
        assert_eq!(get(&gateway).await.status, 200);
        let versions = upstream.saw();
        assert_eq!(versions[0].version, versions[versions.len() - 1].version, "{protocol}");
    }
}

/// An answer that is there before the request is: over TLS it waits behind the handshake, which is read first.
#[tokio::test]
async fn a_websocket_of_a_server_that_is_faster_than_the_gateway_lasts() {
    const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    const HANDSHAKE: &str = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let authority = Authority::new("ours");
    let server = TlsServer::new(&at_loopback(&authority)).without_alpn();
    for server in [server.clone(), server.at_most(SslVersion::TLS1_2)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let target = format!("\"{}\"", listener.local_addr().expect("it is bound"));
        let acceptor = server.acceptor();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream =
                    SslStream::new(Ssl::new(acceptor.context()).expect("OpenSSL"), stream).expect("OpenSSL");
                tokio::spawn(async move {
                    Pin::new(&mut stream).accept().await.ok()?;
                    stream.write_all(SWITCHING.as_bytes()).await.ok()?;
                    let (mut from, mut to) = tokio::io::split(stream);
                    tokio::io::copy(&mut from, &mut to).await.ok()
                });
            }
        });
        let builder = Gateway::builder(GATEWAY).set("TARGETS", &target).set("UPSTREAM", BY_CA);
        let gateway = builder.file("ca.pem", authority.pem()).start().await;
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
}

#[tokio::test]
async fn websockets_go_to_servers_that_are_believed() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (gateway, upstream) = served_by(&at_loopback(&theirs), &ours, BY_CA).await;
    let Err(answer) = WebSocket::open(gateway.address(0), "/ws", &[]).await else { panic!("it was let in") };
    assert_eq!((answer.status, upstream.requests()), (502, 0));
    let line = gateway.access(|line| line["path"] == "/ws").await;
    assert!(line["error"].as_str().is_some_and(|error| error.contains("certificate_unknown_ca")), "{line}");
}

/// A body that compresses to nothing would hide a piece that is there twice.
fn noise(bytes: usize) -> Vec<u8> {
    let blocks = (0..bytes.div_ceil(32)).flat_map(|block| Sha256::digest(block.to_le_bytes()));
    blocks.take(bytes).collect()
}

#[tokio::test]
async fn large_bodies_come_through_whole_both_ways() {
    let authority = Authority::new("ours");
    for protocol in ["http1", "h2"] {
        let says = format!("protocol = \"{protocol}\"\n{BY_CA}");
        let (gateway, upstream) = served_by(&at_loopback(&authority), &authority, &says).await;
        for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))] {
            let body = noise(8 << 20);
            let answer = client.post("/echo", body.clone()).send().await;
            assert_eq!(answer.status, 200, "{protocol}: {}", gateway.output());
            assert!(answer.body == body && upstream.last().body == body, "{protocol}: {}", answer.body.len());
        }
    }
}

#[tokio::test]
async fn server_sent_events_come_at_once() {
    let authority = Authority::new("ours");
    for protocol in ["http1", "h2"] {
        let says = format!("protocol = \"{protocol}\"\n{BY_CA}");
        let (gateway, _upstream) = served_by(&at_loopback(&authority), &authority, &says).await;
        for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))] {
            // The second event is an hour away.
            let mut events = client.get("/sse?chunks=2&ms=3600000").open().await;
            assert_eq!(events.header("content-type"), Some("text/event-stream"));
            assert_eq!(events.next().await.expect("an event").expect("not cut off"), "data: 0\n\n", "{protocol}");
        }
    }
}

#[tokio::test]
async fn grpc_trailers_come_through() {
    let authority = Authority::new("ours");
    for protocol in ["", "protocol = \"h2\""] {
        let (gateway, upstream) =
            served_by(&at_loopback(&authority), &authority, &format!("{protocol}\n{BY_CA}")).await;
        let client = Client::http2(gateway.address(0));
        let asking = client.post("/orders.Orders/Get", "message").header("content-type", "application/grpc");
        let answer = asking.header("te", "trailers").send().await;
        let trailers = answer.trailers.expect("trailers");
        assert_eq!((answer.status, trailers["grpc-status"].as_bytes()), (200, &b"0"[..]), "{protocol}");
        assert_eq!((upstream.last().version, upstream.last().header("te")), (Version::HTTP_2, Some("trailers")));
    }
}
