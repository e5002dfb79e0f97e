//! What goes through TLS: gRPC from and to a library that is none of ours, WebSockets, large bodies, events.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{CERTIFICATE, NAME, World, configured};
use crate::harness::{Authority, Client, Gateway, Leaf, Peer, WebSocket, key, within};

/// Google's gRPC for Python on both sides, HTTP/2 and TLS on both sides, certificates from whoever connects behind.
struct Calls {
    client: Peer,
    service: Peer,
    gateway: Gateway,
    ca: Authority,
    key: String,
}

const CALLS: &str = r#"
[upstreams.calls]
targets = ["@CALLS@"]
protocol = "h2"

[upstreams.calls.tls]
ca = "behind.pem"
server_name = "orders.internal"
cert = "gateway.pem"
key = "gateway.key"

[policies.keys]
use = "key-auth"

[consumers.acme]

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-1"
sha256 = "@SHA256@"

[routes.calls]
paths = ["/shop.Orders/{*rest}"]
upstream = "calls"
auth = ["keys"]
"#;

impl Calls {
    async fn start() -> Self {
        let (ca, behind) = (Authority::new("Root"), Authority::new("Behind"));
        let (orders, own) = (behind.issue(Leaf::server("orders.internal")), behind.issue(Leaf::client("gateway")));
        let (key, sha256) = key("acme");
        let mut service = Peer::start("grpc_server.py");
        let serves = json!({ "cert": orders.chain_pem(), "key": orders.key_pem(), "client_ca": behind.pem() });
        let port = service.ask(&serves)["port"].take();
        let builder = configured(&ca, CERTIFICATE).toml(&format!("{}{CALLS}", super::GATEWAY));
        let builder = builder.set("CALLS", &format!("127.0.0.1:{port}")).set("SHA256", &sha256);
        let builder = builder.file("behind.pem", behind.pem()).file("gateway.pem", own.chain_pem());
        let gateway = builder.file("gateway.key", own.key_pem()).set("UPSTREAM", "127.0.0.1:9").start().await;
        Self { client: Peer::start("grpc_client.py"), service, gateway, ca, key }
    }

    fn call(&mut self, method: &str, kind: &str, messages: &Value, key: Option<&str>) -> Value {
        let metadata = key.map_or_else(|| json!({}), |key| json!({ "x-api-key": key, "x-consumer": "root" }));
        self.client.ask(&json!({
            "address": self.gateway.address(0).to_string(), "ca": self.ca.pem(), "name": NAME, "kind": kind,
            "method": format!("/shop.Orders/{method}"), "messages": messages, "metadata": metadata, "seconds": 5,
        }))
    }
}

#[tokio::test]
async fn grpc_calls_of_all_kinds_go_through_tls_on_both_sides() {
    let mut calls = Calls::start().await;
    let key = calls.key.clone();
    for (method, kind, messages, expected) in [
        ("Unary", "unary_unary", json!(["one"]), json!(["one"])),
        ("Count", "unary_stream", json!(["xxx"]), json!(["0", "1", "2"])),
        ("Gather", "stream_unary", json!(["a", "b", "c"]), json!(["abc"])),
        // Each message is sent once the one before has been answered: nothing is held back on the way.
        ("Chat", "stream_stream", json!(["a", "b", "c"]), json!(["a", "b", "c"])),
    ] {
        let answer = calls.call(method, kind, &messages, Some(&key));
        assert_eq!((&answer["code"], &answer["messages"]), (&"OK".into(), &expected), "{method}: {answer:#}");
        assert_eq!(answer["trailers"]["x-served"], "yes", "{method}: {answer:#}");
        let seen = calls.service.ask(&json!({}));
        let seen = &seen["calls"][0];
        assert_eq!(
            (&seen["method"], &seen["certificate"]),
            (&format!("/shop.Orders/{method}").into(), &"gateway".into())
        );
        let metadata = &seen["metadata"];
        assert_eq!((&metadata["x-consumer"], &metadata["x-api-key"]), (&"acme".into(), &Value::Null), "{seen:#}");
    }
    let large = "x".repeat(3 << 20);
    let answer = calls.call("Unary", "unary_unary", &json!([large]), Some(&key));
    assert_eq!(
        (answer["code"].as_str(), answer["messages"][0].as_str().map(str::len)),
        (Some("OK"), Some(large.len()))
    );
}

#[tokio::test]
async fn grpc_calls_that_fail_have_a_status_of_grpc() {
    let mut calls = Calls::start().await;
    let key = calls.key.clone();
    let one = json!(["one"]);
    assert_eq!(calls.call("Unary", "unary_unary", &one, None)["code"], "UNAUTHENTICATED");
    assert_eq!(calls.call("Chat", "stream_stream", &one, Some("wrong"))["code"], "UNAUTHENTICATED");
    assert_eq!(calls.service.ask(&json!({}))["calls"], json!([]));
    let refused = calls.call("Unary", "unary_unary", &json!(["refuse"]), Some(&key));
    assert_eq!((&refused["code"], &refused["details"]), (&"PERMISSION_DENIED".into(), &"as you wish".into()));
    assert_eq!(calls.call("Nothing", "unary_unary", &one, Some(&key))["code"], "UNIMPLEMENTED");
    assert_eq!(calls.call("Never", "unary_unary", &one, Some(&key))["code"], "DEADLINE_EXCEEDED");
    calls.service = Peer::start("grpc_server.py");
    let unavailable = calls.call("Unary", "unary_unary", &one, Some(&key));
    assert_eq!(unavailable["code"], "UNAVAILABLE", "502 is 14: {unavailable}");
}

#[tokio::test]
async fn a_websocket_goes_through_tls() {
    let world = World::start("").await;
    let opened = WebSocket::open_by_tls(world.gateway.address(0), &world.tls().http1(), "/chat", &[]).await;
    let mut socket = opened.unwrap_or_else(|refused| panic!("{}", refused.status));
    for text in ["one", "two", &"x".repeat(100_000)] {
        socket.send(text).await;
        assert_eq!(socket.next().await.as_deref(), Some(text));
    }
    assert_eq!(world.upstream.last().header("x-forwarded-proto"), Some("https"));
}

const LARGE: usize = 24 << 20;

/// Bytes that are nowhere the same as a little before.
fn pattern(length: usize) -> Vec<u8> {
    (0..u32::try_from(length.div_ceil(4)).expect("no more than that")).flat_map(u32::to_le_bytes).take(length).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_go_through_both_ways_whole() {
    let world = World::start("").await;
    let body = pattern(LARGE);
    for tls in [world.tls().http1(), world.tls().http2()] {
        let client = Client::by_tls(world.gateway.address(0), &tls);
        let mut answer = client.post("/echo", body.clone()).open().await;
        let mut received = 0;
        while let Some(piece) = answer.next().await {
            let piece = piece.expect("not cut off");
            assert!(body[received..].starts_with(&piece), "not the same after {received} bytes");
            received += piece.len();
        }
        assert_eq!(received, LARGE);
        assert!(world.upstream.last().is_complete);
    }
}

#[tokio::test]
async fn a_body_is_answered_while_it_is_still_being_sent() {
    let world = World::start("").await;
    for tls in [world.tls().http1(), world.tls().http2()] {
        let client = Client::by_tls(world.gateway.address(0), &tls);
        let (asking, feed) = client.request("PUT", "/echo").streamed();
        let mut answer = asking.open().await;
        for word in ["one", "two"] {
            assert!(feed.send(word));
            assert_eq!(answer.next().await.expect("an echo").expect("not cut off"), word);
        }
        drop(feed);
        assert!(answer.next().await.is_none());
    }
}

#[tokio::test]
async fn events_arrive_at_once() {
    let world = World::start("").await;
    for tls in [world.tls().http1(), world.tls().http2()] {
        let client = Client::by_tls(world.gateway.address(0), &tls);
        let mut answer = client.get("/sse?chunks=3&ms=400").open().await;
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        let begun = Instant::now();
        for number in 0..3_u32 {
            let event = answer.next().await.expect("an event").expect("not cut off");
            assert_eq!(event, format!("data: {number}\n\n"));
            let (took, due) = (begun.elapsed(), Duration::from_millis(400) * number);
            assert!(
                took + Duration::from_millis(100) >= due && took < due + Duration::from_millis(350),
                "{number}: {took:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_ends_with_a_goodbye() {
    // Without one nobody can tell its end from a connection that somebody cut (RFC 8446 section 6.1).
    let world = World::start("").await;
    for request in [
        "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /x HTTP/1.0\r\nHost: a\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let stream = TcpStream::connect(world.gateway.address(0)).await.expect("a connection");
        let mut stream = world.tls().http1().connect(stream).await.expect("a handshake");
        stream.write_all(request.as_bytes()).await.expect("a connection");
        let mut answer = Vec::new();
        let ended = within("the end", stream.read_to_end(&mut answer)).await;
        assert!(answer.starts_with(b"HTTP/1."), "{request:?}: {answer:?}");
        assert!(ended.is_ok(), "{request:?} was cut off: {ended:?}");
    }
}

#[tokio::test]
async fn requests_at_the_same_time_share_a_connection() {
    let world = World::start("").await;
    let client = Client::by_tls(world.gateway.address(0), &world.tls().http2());
    assert_eq!(client.get("/x").send().await.status, 200);
    let slow = client.get("/slow?ms=400").send();
    let fast = async {
        let begun = Instant::now();
        for _ in 0..20 {
            assert_eq!(client.get("/x").send().await.status, 200);
        }
        begun.elapsed()
    };
    let (slow, fast) = tokio::join!(slow, fast);
    assert_eq!((slow.status, client.connections().await), (200, 1));
    assert!(fast < Duration::from_secs(2), "{fast:?}");
}
