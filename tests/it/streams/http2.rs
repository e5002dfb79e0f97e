//! HTTP/2 without TLS, and gRPC.

use std::{net::TcpListener, os::fd::AsRawFd as _, time::Duration};

use http::HeaderMap;
use tokio::net::TcpStream;

use super::{configured, start, started};
use crate::harness::{Client, Gateway, Opened, RawUpstream, Upstream, eventually, key, raw};

/// A message of gRPC: not compressed, its length, the bytes.
const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";

#[tokio::test]
async fn an_h2c_listener_takes_requests_through_the_same_phases() {
    let (gateway, upstream, key) = start().await;
    let client = Client::http2(gateway.address(1));
    assert_eq!(client.get("/app/1").send().await.status, 401);
    assert_eq!(client.get("/app/1").header("x-api-key", &crate::harness::key("other").0).send().await.status, 403);
    assert_eq!(upstream.requests(), 0);
    let asking =
        client.get("/app/1?x=1").host("api.example.com").header("x-api-key", &key).header("x-consumer", "root");
    assert_eq!(asking.send().await.status, 200);
    let saw = upstream.last();
    assert_eq!((saw.target.as_str(), saw.header("host")), ("/app/1?x=1", Some("api.example.com")));
    assert_eq!((saw.header("x-consumer"), saw.header("x-api-key")), (Some("acme"), None));
    assert_eq!(client.connections().await, 1);
    let line = gateway.access(|line| line["status"] == 200).await;
    assert_eq!((&line["protocol"], &line["host"]), (&"HTTP/2".into(), &"api.example.com".into()));
}

#[tokio::test]
async fn streams_of_one_connection_do_not_wait_for_each_other() {
    let (gateway, upstream, key) = start().await;
    let client = Client::http2(gateway.address(1));
    let mut held = client.get("/app/held").header("x-api-key", &key).open().await;
    for _ in 0..3 {
        assert_eq!(client.get("/app/1").header("x-api-key", &key).send().await.status, 200);
    }
    upstream.send("at last");
    assert_eq!(held.next().await.expect("a chunk").expect("not cut off"), "at last");
    assert_eq!(client.connections().await, 1);
}

#[tokio::test]
async fn a_listener_that_was_not_asked_for_h2c_refuses_its_preface() {
    let (gateway, _upstream, key) = start().await;
    assert!(Client::http2(gateway.address(0)).get("/fixed").header("x-api-key", &key).attempt().await.is_err());
    let answer = raw(gateway.address(0), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_request_shorter_than_the_preface_is_answered_on_an_h2c_listener() {
    let (gateway, ..) = start().await;
    let answer = raw(gateway.address(1), "GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with(b"HTTP/1.") && answer.windows(5).any(|bytes| bytes == b" 404 "));
}

#[tokio::test]
async fn grpc_goes_through_an_h2c_upstream_with_its_trailers() {
    let (gateway, upstream, key) = start().await;
    let client = Client::http2(gateway.address(1));
    let asking = client.post("/shop.Orders/Get", MESSAGE).host("grpc.example.com").header("te", "trailers");
    let answer = asking.header("content-type", "application/grpc").header("x-api-key", &key).send().await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, MESSAGE));
    assert_eq!(grpc_status(answer.trailers.as_ref()), Some("0"));
    let saw = upstream.last();
    assert_eq!((saw.version, saw.header("te")), (http::Version::HTTP_2, Some("trailers")));
    assert_eq!((saw.header("x-consumer"), saw.header("x-api-key")), (Some("acme"), None));
    assert_eq!(saw.authority.as_deref(), Some("grpc.example.com"));
}

#[tokio::test]
async fn a_grpc_call_streams_both_ways() {
    let (gateway, _upstream, key) = start().await;
    let client = Client::http2(gateway.address(1));
    let asking = client.request("POST", "/shop.Orders/echo").header("content-type", "application/grpc");
    let (asking, feed) = asking.header("x-api-key", &key).streamed();
    let mut answer = asking.open().await;
    for _ in 0..3 {
        feed.send(MESSAGE);
        assert_eq!(answer.next().await.expect("an echo").expect("not cut off"), MESSAGE);
    }
    drop(feed);
    assert!(answer.next().await.is_none());
}

#[tokio::test]
async fn grpc_calls_share_connections_to_the_upstream() {
    let (gateway, upstream, key) = start().await;
    let client = Client::http2(gateway.address(1));
    for _ in 0..4 {
        let asking = client.post("/shop.Orders/Get", MESSAGE).header("content-type", "application/grpc");
        assert_eq!(asking.header("x-api-key", &key).send().await.status, 200);
    }
    let mut connections: Vec<_> = upstream.saw().iter().map(|saw| saw.connection).collect();
    connections.dedup();
    assert_eq!(connections.len(), 1, "{connections:?}");
}

#[tokio::test]
async fn a_refused_grpc_call_gets_trailers_only() {
    // Connections are taken by the kernel and answered by nobody.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent_at = silent.local_addr().expect("a bound socket");
    let upstream = Upstream::start();
    let gateway = started(configured(upstream.address()).set("SILENT", &silent_at)).await;
    let [(key, _), (other, _)] = ["acme", "other"].map(key);
    let client = Client::http2(gateway.address(1));
    for (path, key, status, code) in [
        ("/shop.Orders/Get", None, "16", "unauthenticated"),
        ("/shop.Orders/Get", Some("wrong"), "16", "unauthenticated"),
        ("/shop.Orders/Get", Some(other.as_str()), "7", "forbidden"),
        ("/no.Such/Method", Some(key.as_str()), "12", "route_not_found"),
        ("/nobody.Service/Get", None, "14", "upstream_unreachable"),
    ] {
        let asking = client.post(path, MESSAGE).header("content-type", "application/grpc+proto");
        let asking = key.into_iter().fold(asking, |asking, key| asking.header("x-api-key", key));
        let answer = asking.open().await;
        assert_eq!(answer.status(), 200, "{path}");
        // A head that is not the last frame would be an answer without trailers, which is an error of its own.
        assert!(answer.has_ended(), "{path}");
        assert_eq!(refusal(&answer), (Some("application/grpc"), Some(status), Some(code)), "{path}");
        assert!(answer.header("x-request-id").is_some());
    }
    assert_eq!(upstream.requests(), 0);
    let slow = client.post("/slow.Service/Get", MESSAGE).header("content-type", "application/grpc");
    assert_eq!(refusal(&slow.open().await), (Some("application/grpc"), Some("4"), Some("upstream_timeout")));
}

/// gRPC clients map other statuses by themselves, but a body of JSON would be read as a message.
#[tokio::test]
async fn what_is_no_grpc_gets_a_problem_on_the_same_route() {
    let (gateway, ..) = start().await;
    let client = Client::http2(gateway.address(1));
    let answer = client.post("/shop.Orders/Get", "{}").header("content-type", "application/json").send().await;
    assert_eq!((answer.status, answer.header("content-type")), (401, Some("application/problem+json")));
}

fn refusal(answer: &Opened) -> (Option<&str>, Option<&str>, Option<&str>) {
    (answer.header("content-type"), answer.header("grpc-status"), answer.header("grpc-message"))
}

fn grpc_status(trailers: Option<&HeaderMap>) -> Option<&str> {
    trailers?.get("grpc-status")?.to_str().ok()
}

/// An HTTP/2 body may end with an empty frame; written as a chunk of its own that would end an HTTP/1 body twice, and
/// the next request on the connection would begin with the second end.
#[tokio::test]
async fn a_streamed_body_ends_once_at_an_http1_upstream() {
    let upstream = RawUpstream::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let toml = "[[listeners]]\naddress = \"127.0.0.1:0\"\nh2c = true\n\n[upstreams.app]\ntargets = [\"@UPSTREAM@\"]\n\n\
                [routes.app]\npaths = [\"/{*rest}\"]\nupstream = \"app\"\npublic = true\n";
    let gateway = Gateway::builder(toml).set("UPSTREAM", &upstream.address()).start().await;
    let client = Client::http2(gateway.address(0));
    for pieces in [&["one", "two"][..], &["one"], &[]] {
        let (asking, feed) = client.request("POST", "/1").streamed();
        let sending = async {
            for piece in pieces {
                feed.send(*piece);
                // Each a frame of its own, and the end too.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            drop(feed);
        };
        let (answer, ()) = tokio::join!(asking.send(), sending);
        assert_eq!(answer.status, 200);
    }
    let saw = upstream.saw();
    assert!(saw.len() == 3 && saw.iter().all(|request| request.starts_with("POST /1 HTTP/1.1\r\n")), "{saw:#?}");
}

const SLOW: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[upstreams.slow]
targets = ["@UPSTREAM@"]
connect_timeout = "60s"

[routes.slow]
paths = ["/slow"]
upstream = "slow"
public = true

[routes.quick]
paths = ["/quick"]
public = true
respond = { body = "quick" }
"#;

/// How many requests of one connection may be in flight: `front::CONNECTION_REQUESTS_MAX`.
const IN_FLIGHT_MAX: u64 = 200;

/// A server that takes no more connections: its queue is full, and whoever connects waits.
pub(crate) async fn full() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    // SAFETY: listen(2) touches no memory; on a socket that listens already it makes the queue shorter.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let address = listener.local_addr().expect("a bound socket");
    let mut queued = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        queued.push(stream.expect("loopback"));
    }
    (listener, queued)
}

#[tokio::test]
async fn whoever_opens_streams_and_resets_them_has_no_more_in_flight_than_it_may() {
    let (listener, _queued) = full().await;
    let address = listener.local_addr().expect("a bound socket");
    let gateway = Gateway::builder(SLOW).set("UPSTREAM", &address).start().await;
    let socket = TcpStream::connect(gateway.address(0)).await.expect("a connection");
    let (mut client, connection) = h2::client::handshake(socket).await.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    let counted = async || {
        let status = gateway.ask_admin("/status").await.json();
        ["requests_in_flight", "streams_refused"].map(|field| status[field].as_u64().expect("a number"))
    };
    for sent in (20..=400).step_by(20) {
        // Twenty at a time, so that they are taken before they are reset: a flood of others `h2` ends by itself.
        let begin = || {
            let request = http::Request::get("http://a.example/slow").body(()).expect("a request");
            client.send_request(request, true).expect("twenty are few").0
        };
        let begun: Vec<_> = std::iter::repeat_with(begin).take(20).collect();
        let taken = IN_FLIGHT_MAX.min(sent);
        eventually("they are taken or refused", async || counted().await == [taken, sent - taken]).await;
        drop(begun); // resets them
    }
    // Nobody else is the worse for it.
    assert_eq!(Client::http2(gateway.address(0)).get("/quick").send().await.status, 200);
}
