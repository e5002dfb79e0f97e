//! What flows: WebSockets, bodies both ways, events, and the end of what lasts too long.
//!
//! - `wire`: HTTP/1 as bytes: framing, informational answers, what must not become a second request.
//! - `http2`: listeners with h2c, and gRPC.
//! - `withdrawn`: the end of streams that would be refused if they came now.
//! - `conditions`: routes with conditions on headers, which a stream is matched by again.
//! - `generations`: what they keep of configurations that serve no longer.

mod conditions;
mod generations;
mod http2;
mod wire;
mod withdrawn;

pub(crate) use http2::full;

use std::{net::SocketAddr, time::Duration};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::harness::{Client, Gateway, GatewayBuilder, LIMIT, Upstream, WebSocket, key};

/// A plain listener and one with h2c; a protected route and an open one to each of two upstreams, of which `calls` is
/// spoken to in HTTP/2.
const GATEWAY: &str = r#"
[server]
control = "@DIR@/control.sock"
max_stream_age = "@AGE@"

[[listeners]]
address = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[upstreams.app]
targets = ["@UPSTREAM@"]

[upstreams.calls]
targets = ["@UPSTREAM@"]
protocol = "h2c"

[upstreams.nobody]
targets = ["127.0.0.1:1"]

[upstreams.slow]
targets = ["@SILENT@"]
read_timeout = "200ms"

[policies.keys]
use = "key-auth"

[policies.partners]
use = "consumer-restriction"
allow = [{ groups = ["partners"] }]

[routes.app]
paths = ["/app/{*rest}"]
upstream = "app"
auth = ["keys"]
plugins = ["partners"]

[routes.open]
paths = ["/open/{*rest}"]
upstream = "app"
public = true

[routes.calls]
paths = ["/shop.Orders/{*rest}"]
upstream = "calls"
auth = ["keys"]
plugins = ["partners"]

[routes.nobody]
paths = ["/nobody.Service/{*rest}"]
upstream = "nobody"
public = true

[routes.slow]
paths = ["/slow.Service/{*rest}"]
upstream = "slow"
public = true

[routes.fixed]
paths = ["/fixed"]
respond = { body = "fixed" }
public = true

[consumers.acme]
groups = ["partners"]

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-1"
sha256 = "@SHA256@"
expires = @EXPIRES@

[consumers.other]

[[consumers.other.credentials]]
use = "key-auth"
id = "other-1"
sha256 = "@OTHER@"
"#;

/// Has to know where its upstream is. What else a scenario sets goes before what [`start`] would.
fn configured(upstream: SocketAddr) -> GatewayBuilder {
    Gateway::builder(GATEWAY).set("UPSTREAM", &upstream)
}

async fn started(builder: GatewayBuilder) -> Gateway {
    let builder = builder.set("SHA256", &key("acme").1).set("OTHER", &key("other").1).set("SILENT", "127.0.0.1:1");
    builder.set("AGE", "1h").set("EXPIRES", "2100-01-01T00:00:00Z").start().await
}

/// The gateway of this file, its upstream, and the key that opens it.
async fn start() -> (Gateway, Upstream, String) {
    let upstream = Upstream::start();
    (started(configured(upstream.address())).await, upstream, key("acme").0)
}

#[tokio::test]
async fn a_websocket_without_a_key_is_401_and_is_not_upgraded() {
    let (gateway, upstream, _) = start().await;
    let (wrong, _) = key("nobody");
    for headers in [&[][..], &[("x-api-key", wrong.as_str())]] {
        let refused = WebSocket::open(gateway.address(0), "/app/chat", headers).await.err().expect("a refusal");
        assert_eq!((refused.status, upstream.requests()), (401, 0));
        assert!(refused.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("ApiKey")));
    }
    gateway.audit(|event| event["reason"] == "key_unknown" && event["route"] == "app").await;
}

#[tokio::test]
async fn a_websocket_takes_the_restrictions_too() {
    let (gateway, upstream, _) = start().await;
    let (other, _) = key("other");
    let opened = WebSocket::open(gateway.address(0), "/app/chat", &[("x-api-key", &other)]).await;
    let refused = opened.err().expect("a refusal");
    assert_eq!((refused.status, upstream.requests()), (403, 0));
}

#[tokio::test]
async fn a_websocket_with_a_key_carries_frames_both_ways_and_the_identity() {
    let (gateway, upstream, key) = start().await;
    let headers = [("x-api-key", key.as_str()), ("x-consumer", "root")];
    let opened = WebSocket::open(gateway.address(0), "/app/chat?room=1", &headers).await;
    let mut socket = opened.unwrap_or_else(|refused| panic!("refused: {refused:?}"));
    let long = "long ".repeat(20_000);
    for text in ["one", "two", long.as_str()] {
        socket.send(text).await;
        assert_eq!(socket.next().await.as_deref(), Some(text));
    }
    let saw = upstream.last();
    assert_eq!((saw.target.as_str(), saw.header("x-consumer")), ("/app/chat?room=1", Some("acme")));
    assert_eq!((saw.header("upgrade"), saw.header("x-api-key")), (Some("websocket"), None));
    drop(socket);
    let line = gateway.access(|line| line["status"] == 101).await;
    assert_eq!((&line["route"], &line["consumer"]), (&"app".into(), &"acme".into()));
}

#[tokio::test]
async fn other_upgrades_are_removed_and_the_request_goes_on_as_a_plain_one() {
    let (gateway, upstream, key) = start().await;
    for upgrade in ["h2c", "x", "websocket, h2c", "TLS/1.0", ""] {
        let client = Client::http1(gateway.address(0));
        let asking =
            || client.get("/app/plain").header("connection", "Upgrade, HTTP2-Settings").header("upgrade", upgrade);
        let before = upstream.requests();
        assert_eq!((asking().send().await.status, upstream.requests()), (401, before), "Upgrade: {upgrade}");
        let answer = asking().header("http2-settings", "AAMAAABk").header("x-api-key", &key).send().await;
        let saw = upstream.last();
        assert_eq!((answer.status, upstream.requests()), (200, before + 1), "Upgrade: {upgrade}");
        let left = ["upgrade", "http2-settings", "connection"].map(|name| saw.header(name));
        assert_eq!(left, [None; 3], "Upgrade: {upgrade}");
    }
}

#[tokio::test]
async fn a_body_flows_both_ways_while_it_is_still_being_made() {
    let (gateway, upstream, key) = start().await;
    for client in
        [Client::http1(gateway.address(0)), Client::http1(gateway.address(1)), Client::http2(gateway.address(1))]
    {
        let (asking, feed) = client.request("PUT", "/app/echo").header("x-api-key", &key).streamed();
        // A client may wait with its body until it is answered, so the upstream's head must not wait for it.
        let mut answer = asking.open().await;
        for word in ["one", "two", "three"] {
            feed.send(word);
            assert_eq!(answer.next().await.expect("an echo").expect("not cut off"), word);
        }
        assert!(!upstream.last().is_complete);
        drop(feed);
        assert!(answer.next().await.is_none());
        assert!(upstream.last().is_complete);
    }
}

#[tokio::test]
async fn the_first_event_does_not_wait_for_the_second() {
    let (gateway, _upstream, key) = start().await;
    for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(1))] {
        // The second one would come after an hour.
        let mut events = client.get("/app/sse?chunks=2&ms=3600000").header("x-api-key", &key).open().await;
        assert_eq!(events.header("content-type"), Some("text/event-stream"));
        assert_eq!(events.next().await.expect("an event").expect("not cut off"), "data: 0\n\n");
    }
    let events = Client::http1(gateway.address(0)).get("/app/sse?chunks=3&ms=1").header("x-api-key", &key).send().await;
    assert_eq!(events.text(), "data: 0\n\ndata: 1\n\ndata: 2\n\n");
}

#[tokio::test]
async fn large_bodies_arrive_whole_both_ways() {
    let (gateway, upstream, key) = start().await;
    let body: Vec<u8> = (0..8_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let hash = Sha256::digest(&body);
    for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(1))] {
        for is_chunked in [false, true] {
            let asking = client.request("PUT", "/app/echo").header("x-api-key", &key);
            let asking = if is_chunked {
                let (asking, feed) = asking.streamed();
                body.chunks(100_000).for_each(|chunk| _ = feed.send(chunk.to_vec()));
                asking
            } else {
                asking.body(body.clone())
            };
            let answer = asking.send().await;
            let saw = upstream.last();
            assert_eq!((answer.status, answer.body.len(), saw.body.len()), (200, body.len(), body.len()));
            assert!(Sha256::digest(&answer.body) == hash && Sha256::digest(&saw.body) == hash, "a body was changed");
            assert!(saw.is_complete);
        }
    }
}

#[tokio::test]
async fn a_request_longer_than_max_stream_age_ends_and_its_line_says_so() {
    let upstream = Upstream::start();
    let gateway = started(configured(upstream.address()).set("AGE", "500ms")).await;
    let (key, _) = key("acme");
    for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(1))] {
        let mut answer = client.get("/app/sse?chunks=2&ms=3600000").header("x-api-key", &key).open().await;
        assert!(answer.next().await.expect("an event").is_ok());
        assert!(answer.next().await.expect("word of the end").is_err(), "cut off, and not a proper end");
    }
    let opened = WebSocket::open(gateway.address(0), "/app/chat", &[("x-api-key", &key)]).await;
    let mut socket = opened.unwrap_or_else(|refused| panic!("refused: {refused:?}"));
    assert_eq!(socket.next().await, None);
    for protocol in ["HTTP/1.1", "HTTP/2"] {
        let line = gateway.access(|line| line["protocol"] == protocol && line["status"] == 200).await;
        assert!(line["error"].as_str().is_some_and(|error| error.contains("max_stream_age")), "{line}");
        assert_eq!((&line["consumer"], &line["upstream"]), (&"acme".into(), &"app".into()));
    }
    let line = gateway.access(|line| line["status"] == 101).await;
    assert!(line["error"].as_str().is_some_and(|error| error.contains("max_stream_age")), "{line}");
}

#[tokio::test]
async fn a_stream_ends_with_the_credential_that_opened_it_and_its_line_says_so() {
    let upstream = Upstream::start();
    let soon = Timestamp::from_second(Timestamp::now().as_second() + 4).expect("a time soon");
    let gateway = started(configured(upstream.address()).set("EXPIRES", &soon)).await;
    let (key, _) = key("acme");
    let other = Client::http1(gateway.address(0));
    let mut untouched = other.get("/open/held").open().await;
    let mut streams = Vec::new();
    for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(1))] {
        let answer = client.get("/app/sse?chunks=2&ms=3600000").header("x-api-key", &key).open().await;
        streams.push((client, answer));
    }
    for (client, answer) in &mut streams {
        assert_eq!((answer.status(), answer.next().await.expect("an event").is_ok()), (200, true));
        assert!(answer.next().await.expect("word of the end").is_err(), "cut off, and not a proper end");
        assert!(Timestamp::now() >= soon, "it ended early");
        assert_eq!(client.get("/app/again").header("x-api-key", &key).send().await.status, 401);
    }
    for protocol in ["HTTP/1.1", "HTTP/2"] {
        let is_it = |line: &serde_json::Value| line["protocol"] == protocol && line["status"] == 200;
        let line = gateway.wait_line(|line| line["event"] == "access" && is_it(line), LIMIT).await;
        assert_eq!(line["error"], "the credential expired while the request lasted");
        assert_eq!(line["consumer"], "acme");
    }
    upstream.send("still there");
    assert_eq!(untouched.next().await.expect("a chunk").expect("not cut off"), "still there");
}

#[tokio::test]
async fn a_stream_ends_when_its_credential_is_taken_out_of_the_file() {
    let (gateway, upstream, key) = start().await;
    let client = Client::http1(gateway.address(0));
    let mut answer = client.get("/app/held").header("x-api-key", &key).open().await;
    let mut others = WebSocket::open(gateway.address(0), "/open/chat", &[]).await.map_err(|refused| refused.status);
    upstream.send("first");
    assert!(answer.next().await.expect("a chunk").is_ok());
    gateway.rewrite(&GATEWAY.replace("@SHA256@", &crate::harness::key("rotated").1).replace("acme-1", "acme-2"));
    assert_eq!(gateway.reload().await.code, 0);
    assert!(answer.next().await.expect("word of the end").is_err());
    let line = gateway.access(|line| line["status"] == 200 && line["route"] == "app").await;
    assert_eq!(line["reason"], "credential_withdrawn");
    let others = others.as_mut().expect("an open WebSocket");
    others.send("still there").await;
    assert_eq!(others.next().await.as_deref(), Some("still there"));
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_and_its_line_is_written() {
    let (gateway, upstream, key) = start().await;
    let client = Client::http1(gateway.address(0));
    let answer = client.get("/app/held").header("x-api-key", &key).open().await;
    upstream.wait_for(1).await;
    drop((answer, client));
    // The connection's task ends with its sender and its body.
    tokio::time::timeout(Duration::from_secs(5), gateway.access(|line| line["route"] == "app")).await.expect("a line");
}
