//! Bodies that have to be read before a signature can be checked: what they may take of everybody's memory, and what
//! becomes of whoever lets them stand still.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::harness::{Asking, Client, Gateway, Raw, Upstream, eventually, key};

const GATEWAY: &str = r#"
[server]
@SERVER@

[admin]
listen = "127.0.0.1:0"

[client_address]
trust = 1

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.stamped]
use = "hmac"
scheme = "timestamp"
attempts = @ATTEMPTS@

[policies.keys]
use = "key-auth"

[routes.stamped]
paths = ["/stamped/{*rest}"]
upstream = "app"
auth = ["stamped"]

[routes.either]
paths = ["/either/{*rest}"]
upstream = "app"
auth = ["stamped", "keys"]

[[consumers.acme.credentials]]
use = "hmac"
id = "acme-signing-1"
secret = { file = "acme.secret" }

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-key"
sha256 = "@SHA256@"
"#;

const SECRET: &str = "a secret of the tests that is longer than a hash";
const MALLORY: &str = "203.0.113.7";
const ALICE: &str = "198.51.100.9";

/// The gateway of this file, with this under `[server]` and these limits on attempts, and its upstream.
async fn start(server: &str, attempts: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let builder = Gateway::builder(GATEWAY).set("SERVER", server).set("ATTEMPTS", attempts);
    let builder = builder.set("UPSTREAM", &upstream.address()).set("SHA256", &key("acme").1);
    (builder.file("acme.secret", SECRET).start().await, upstream)
}

/// The headers of a request with this body, signed rightly.
fn signed(target: &str, body: &[u8]) -> [(&'static str, String); 3] {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().to_string();
    let message = format!("POST\n{target}\n{time}\n{}", hex(&Sha256::digest(body)));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length is a key");
    mac.update(message.as_bytes());
    let signature = format!("hmac-sha256={}", hex(&mac.finalize().into_bytes()));
    [("x-key-id", "acme-signing-1".to_owned()), ("x-timestamp", time), ("x-signature", signature)]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A request from this address with a signature over this body.
fn from<'c>(client: &'c Client, address: &str, target: &str, body: &[u8]) -> Asking<'c> {
    let headers = signed(target, body);
    let asking = client.request("POST", target).header("x-forwarded-for", address);
    headers.iter().fold(asking, |asking, (name, value)| asking.header(name, value))
}

/// A request from this address of which the body is said to have `length` bytes, and these come at once.
async fn begin(gateway: &Gateway, address: &str, length: usize, sent: usize) -> Raw {
    let mut raw = Raw::open(gateway.address(0)).await;
    let lines = signed("/stamped/1", b"").map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    let head = format!("POST /stamped/1 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {address}\r\n{lines}");
    raw.send(format!("{head}Content-Length: {length}\r\n\r\n{}", "x".repeat(sent))).await;
    raw
}

#[tokio::test]
async fn a_body_for_which_there_is_never_room_is_too_large_however_it_is_framed() {
    let (gateway, upstream) = start("max_held_body_bytes = 600000", "false").await;
    let body = vec![b'a'; 300_001];
    for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))] {
        assert_eq!(from(&client, ALICE, "/stamped/1", &body).body(body.clone()).send().await.status, 413);
        let (asking, feed) = from(&client, ALICE, "/stamped/2", &body).streamed();
        body.chunks(10_007).for_each(|piece| _ = feed.send(piece.to_vec()));
        drop(feed);
        assert_eq!(asking.send().await.status, 413);
    }
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn one_address_leaves_room_for_the_bodies_of_others() {
    let (gateway, upstream) = start("max_held_body_bytes = 400000", "false").await;
    let held = || async { gateway.metric("portcullis_held_body_bytes").await };
    let refused = || gateway.lines().iter().filter(|line| line["status"] == 503).count();
    // As many bodies that stand still as one address can get.
    let mut stalled = Vec::new();
    for _ in 0..10 {
        let (before, refused_before) = (held().await, refused());
        stalled.push(begin(&gateway, MALLORY, 150_000, 60_000).await);
        let is_settled = async || refused() > refused_before || held().await >= before + 60_000.0;
        eventually("it is held or refused", is_settled).await;
    }
    assert!(refused() > 0 && held().await <= 200_000.0, "{} refused, {} held", refused(), held().await);
    let body = vec![b'a'; 90_000];
    let client = Client::http1(gateway.address(0));
    let ask = |address: &str, target: &str| from(&client, address, target, &body).body(body.clone());
    assert_eq!(ask(MALLORY, "/stamped/2").send().await.status, 503);
    let answer = ask(ALICE, "/stamped/3").send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.last().body, body);
    drop(stalled);
    eventually("no memory is held", async || held().await == 0.0).await;
    assert_eq!(ask(MALLORY, "/stamped/4").send().await.status, 200);
}

#[tokio::test]
async fn a_body_without_room_goes_on_where_another_way_in_grants() {
    let (gateway, upstream) = start("max_held_body_bytes = 400000", "false").await;
    // Alone each of them would fit.
    let stalled = begin(&gateway, MALLORY, 190_000, 180_000).await;
    let is_held = async || gateway.metric("portcullis_held_body_bytes").await >= 180_000.0;
    eventually("another's body is held", is_held).await;
    for size in [150_000, 165_000, 200_000] {
        let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        for is_http2 in [false, true] {
            for is_streamed in [false, true] {
                for key in [Some(key("acme").0), None] {
                    let new = if is_http2 { Client::http2 } else { Client::http1 };
                    let client = new(gateway.address(0));
                    let asking = from(&client, ALICE, "/either/1", &body);
                    let asking = match &key {
                        Some(key) => asking.header("x-api-key", key),
                        None => asking,
                    };
                    let opened = if is_streamed {
                        let (asking, feed) = asking.streamed();
                        body.chunks(10_007).for_each(|piece| _ = feed.send(piece.to_vec()));
                        drop(feed);
                        asking.attempt().await
                    } else {
                        asking.body(body.clone()).attempt().await
                    };
                    let what =
                        format!("{size} bytes, HTTP/2 {is_http2}, streamed {is_streamed}, key {}", key.is_some());
                    match opened {
                        Ok(opened) => assert_eq!(opened.status(), if key.is_some() { 200 } else { 503 }, "{what}"),
                        // An answer before the body is whole may meet a client that still writes.
                        Err(error) => assert!(key.is_none() && !error.is_timeout(), "{what}: {error:?}"),
                    }
                    if key.is_some() {
                        let saw = upstream.last();
                        assert_eq!(saw.header("x-credential-id"), Some("acme-key"), "{what}");
                        assert!(saw.body == body, "{what}: {} bytes arrived", saw.body.len());
                    }
                }
            }
        }
    }
    assert_eq!(upstream.requests(), 12);
    drop(stalled);
    eventually("no memory is held", async || gateway.metric("portcullis_held_body_bytes").await == 0.0).await;
}

#[tokio::test]
async fn who_lets_bodies_stand_still_is_refused_before_the_next_one_is_read() {
    let (gateway, upstream) = start("body_timeout = \"1s\"", "{ per_principal = 2 }").await;
    let mut first = begin(&gateway, MALLORY, 1000, 10).await;
    let second = Client::http2(gateway.address(0));
    let (asking, feed) = from(&second, MALLORY, "/stamped/1", b"").streamed();
    feed.send("x");
    let (first, second) = tokio::join!(first.until("\r\n\r\n"), asking.send());
    assert!(first.starts_with("HTTP/1.1 408 "), "{first}");
    assert_eq!(second.status, 408, "{}", second.text());
    // Nothing of this one's body is ever sent.
    let third = begin(&gateway, MALLORY, 1000, 0).await.until("\r\n\r\n").await.to_ascii_lowercase();
    assert!(third.starts_with("http/1.1 429 ") && third.contains("retry-after: "), "{third}");
    let client = Client::http1(gateway.address(0));
    assert_eq!(from(&client, ALICE, "/stamped/2", b"x").body("x").send().await.status, 200);
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn who_leaves_in_the_middle_of_a_body_has_failed() {
    let (gateway, upstream) = start("", "{ per_principal = 2 }").await;
    let refused = || gateway.lines().iter().filter(|line| line["error"] == "client: the body broke off").count();
    drop(begin(&gateway, MALLORY, 1000, 10).await);
    eventually("it is refused", async || refused() == 1).await;
    let client = Client::http2(gateway.address(0));
    let (asking, feed) = from(&client, MALLORY, "/stamped/1", b"").streamed();
    feed.send("x");
    let held = async {
        eventually("it is held", async || gateway.metric("portcullis_held_body_bytes").await > 0.0).await;
    };
    tokio::select! {
        () = held => {}
        _ = asking.attempt() => panic!("an answer to half a body"),
    }
    drop((client, feed));
    eventually("it is refused", async || refused() == 2).await;
    let third = begin(&gateway, MALLORY, 1000, 0).await.until("\r\n\r\n").await;
    assert!(third.starts_with("HTTP/1.1 429 "), "{third}");
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn a_body_that_comes_by_a_byte_now_and_then_is_given_up() {
    let (gateway, upstream) = start("body_timeout = \"1s\"", "false").await;
    let mut raw = begin(&gateway, MALLORY, 1000, 1).await;
    let dripping = async {
        // Never still for as long as it may be; far behind the slowest pace all the same.
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        let answer = loop {
            tokio::select! {
                _ = ticks.tick() => raw.send("x").await,
                line = gateway.access(|line| line["status"] == 408) => break line,
            }
        };
        assert_eq!(answer["error"], "client: the body did not come in time");
    };
    tokio::time::timeout(Duration::from_secs(10), dripping).await.expect("it is given up");
    assert_eq!(upstream.requests(), 0);
}
