//! What clients are held to: each limit by its name.

use std::time::{Duration, Instant};

use crate::harness::{Client, Gateway, LIMIT, Raw, RawUpstream, Upstream, eventually, raw};

const GATEWAY: &str = r#"
[server]
@SERVER@

[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[upstreams.app]
targets = ["@UPSTREAM@"]
read_timeout = "1s"

[upstreams.patient]
targets = ["@UPSTREAM@"]

[routes.patient]
paths = ["/patient/{*rest}"]
upstream = "patient"
public = true

[routes.small]
paths = ["/small/{*rest}"]
upstream = "app"
public = true
max_body_bytes = 1000

[routes.app]
paths = ["/{*rest}"]
upstream = "app"
public = true
"#;

async fn start(server: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).set("SERVER", server).start().await;
    (gateway, upstream)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

#[tokio::test]
async fn a_body_that_stands_still_is_408_after_body_timeout() {
    let (gateway, upstream) = start("body_timeout = \"300ms\"\nmin_body_bytes_per_second = 0").await;
    for rest in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let began = Instant::now();
        let answer = text(raw(gateway.address(0), format!("POST /upload HTTP/1.1\r\nHost: a\r\n{rest}")).await);
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"request_timeout\""), "{answer}");
        assert!(began.elapsed() >= Duration::from_millis(300));
    }
    let line = gateway.access(|line| line["status"] == 408).await;
    assert_eq!((&line["route"], &line["error"]), (&"app".into(), &"client: ReadTimedout".into()));
    // It is the pause that counts: a slow body that goes on is let through.
    let client = Client::http1(gateway.address(0));
    let (asking, feed) = client.request("POST", "/upload").streamed();
    let dripping = async {
        for _ in 0..5 {
            feed.send("drip");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        drop(feed);
    };
    assert_eq!(tokio::join!(asking.send(), dripping).0.status, 200);
    assert_eq!(upstream.last().body.len(), 20);
}

/// Over HTTP/2 there is no answer any more: the stream is reset, and it is the client's fault, not the upstream's.
#[tokio::test]
async fn a_body_that_stands_still_over_http2_is_reset_after_body_timeout() {
    let (gateway, _upstream) = start("body_timeout = \"300ms\"").await;
    let client = Client::http2(gateway.address(0));
    let (asking, feed) = client.request("POST", "/patient/upload").streamed();
    feed.send("hello");
    assert!(asking.attempt().await.is_err());
    let line = gateway.access(|line| line["path"] == "/patient/upload").await;
    assert_eq!(line["error"], "client: the body stood still for longer than body_timeout", "{line}");
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_after_idle_timeout() {
    // Pingora counts whole seconds behind a first request.
    let (gateway, _upstream) = start("idle_timeout = \"1s\"").await;
    let mut fresh = Raw::open(gateway.address(0)).await;
    let mut used = Raw::open(gateway.address(0)).await;
    used.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(used.until("\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
    let began = Instant::now();
    let (fresh, used) = tokio::join!(fresh.is_closed_within(LIMIT), used.is_closed_within(LIMIT));
    assert!(fresh && used, "{fresh} {used}");
    assert!(began.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up_after_write_timeout() {
    // More than the buffers of both sockets hold.
    let body: &'static str = "x".repeat(32 << 20).leak();
    let answer: &'static str = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).leak();
    let upstream = RawUpstream::start(answer);
    let builder = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address());
    let gateway = builder.set("SERVER", "write_timeout = \"300ms\"").start().await;
    let mut client = Raw::open(gateway.address(0)).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let line = gateway.access(|line| line["status"] == 200).await;
    assert_eq!(line["error"], "client: nothing of the response was taken for write_timeout", "{line}");
    // One that does read gets it all.
    assert_eq!(Client::http1(gateway.address(0)).get("/").send().await.body.len(), body.len());
}

#[tokio::test]
async fn a_body_that_is_announced_as_too_large_is_413_and_not_waited_for() {
    let (gateway, upstream) = start("").await;
    let request = "POST /small/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n";
    let answer = text(raw(gateway.address(0), request).await);
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("\"body_too_large\""), "{answer}");
    assert_eq!(upstream.requests(), 0);
    let line = gateway.access(|line| line["status"] == 413).await;
    assert_eq!((&line["route"], &line["reason"]), (&"small".into(), &"body_too_large".into()));
    for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))] {
        assert_eq!(client.post("/small/x", vec![b'x'; 1001]).send().await.status, 413);
        assert_eq!(
            (client.post("/small/x", vec![b'x'; 1000]).send().await.status, upstream.last().body.len()),
            (200, 1000)
        );
    }
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_413_and_no_byte_beyond_the_limit_is_forwarded() {
    let (gateway, upstream) = start("").await;
    for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))] {
        let (asking, feed) = client.request("POST", "/small/x").streamed();
        let before = upstream.requests();
        let sending = async {
            feed.send(vec![b'a'; 900]);
            upstream.wait_for(before + 1).await;
            eventually("the first piece", async || upstream.last().body.len() == 900).await;
            feed.send(vec![b'b'; 101]);
        };
        let (answer, ()) = tokio::join!(asking.open(), sending);
        assert_eq!(answer.status(), 413);
        let saw = upstream.last();
        assert_eq!((saw.body.len(), saw.body.contains(&b'b'), saw.is_complete), (900, false, false));
        // Exactly the limit is not beyond it.
        let (asking, feed) = client.request("POST", "/small/x").streamed();
        feed.send(vec![b'a'; 1000]);
        drop(feed);
        assert_eq!((asking.send().await.status, upstream.last().body.len()), (200, 1000));
    }
    gateway.access(|line| line["status"] == 413 && line["reason"] == "body_too_large").await;
}

#[tokio::test]
async fn more_than_max_connections_are_closed_as_they_come() {
    let (gateway, upstream) = start("max_connections = 2").await;
    let open = async || {
        let mut client = Raw::open(gateway.address(0)).await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx").await;
        client
    };
    let [mut first, second] = [open().await, open().await];
    upstream.wait_for(2).await;
    assert!(open().await.rest().await.is_empty(), "answered beyond the limit");
    // The operator is not kept out.
    assert_eq!(gateway.metric("portcullis_connections").await, 2.0);
    assert_eq!(gateway.metric("portcullis_connections_rejected_total{reason=\"max_connections\"}").await, 1.0);
    // Those that are open go on, and one that ends makes room.
    first.send("x").await;
    assert!(first.until("HTTP/1.1 200 ").await.contains("200"));
    drop(second);
    eventually("room for another", async || !open().await.rest().await.is_empty()).await;
}
