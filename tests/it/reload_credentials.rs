//! What a reload does to credentials: those that are gone open nothing any more, and what they had opened ends.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::harness::{Client, Gateway, LIMIT, Opened, Upstream, WebSocket, eventually, key, within};

const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.keys]
use = "key-auth"

[routes.app]
paths = ["/{*rest}"]
upstream = "app"
auth = ["keys"]

[consumers.acme]
groups = ["partners"]

[[consumers.acme.credentials]]
use = "key-auth"
id = "staying"
sha256 = "@STAYING@"
"#;

const LEAVING: &str = r#"
[[consumers.acme.credentials]]
use = "key-auth"
id = "leaving"
sha256 = "@LEAVING@"
"#;

struct Scene {
    gateway: Gateway,
    upstream: Upstream,
    staying: String,
    leaving: String,
}

async fn start() -> Scene {
    start_with(LEAVING).await
}

async fn start_with(leaving: &str) -> Scene {
    let upstream = Upstream::start();
    let ((staying, its), (leaving_key, theirs)) = (key("staying"), key("leaving"));
    let builder = Gateway::builder(&format!("{GATEWAY}{leaving}")).set("UPSTREAM", &upstream.address());
    let gateway = builder.set("STAYING", &its).set("LEAVING", &theirs).start().await;
    Scene { gateway, upstream, staying, leaving: leaving_key }
}

impl Scene {
    async fn take(&self, toml: &str) {
        self.gateway.rewrite(toml);
        let reload = self.gateway.reload().await;
        assert_eq!(reload.code, 0, "{reload:?}");
    }

    async fn status_with(&self, key: &str) -> u16 {
        Client::http1(self.gateway.address(0)).get("/a").header("x-api-key", key).send().await.status
    }

    /// A stream that goes on until something ends it.
    async fn stream(&self, client: &Client, key: &str) -> Opened {
        let mut stream = client.get("/stream?chunks=100000&ms=20").header("x-api-key", key).open().await;
        assert_eq!(stream.status(), 200);
        stream.next().await.expect("a piece").expect("a piece");
        stream
    }
}

/// Reads until the stream is cut off. A proper end would be taken for the whole of it.
async fn is_cut(stream: &mut Opened) {
    let cut = async { while stream.next().await.expect("it was ended as if it were whole").is_ok() {} };
    within("the end of a stream that lost its credential", cut).await;
}

async fn goes_on(stream: &mut Opened) {
    for _ in 0..3 {
        stream.next().await.expect("a piece").expect("a piece");
    }
}

/// How a credential ends in a new file, and the reason that the audit log then has.
fn endings() -> [(&'static str, String, &'static str); 3] {
    let past = "sha256 = \"@LEAVING@\"\nexpires = 2020-01-01T00:00:00Z";
    [
        ("removed", String::new(), "key_unknown"),
        ("disabled", LEAVING.replace("sha256", "enabled = false\nsha256"), "credential_disabled"),
        ("expired", LEAVING.replace("sha256 = \"@LEAVING@\"", past), "key_expired"),
    ]
}

#[tokio::test]
async fn a_credential_that_is_removed_disabled_or_expired_opens_nothing_from_then_on() {
    for (how, entry, reason) in endings() {
        let scene = start().await;
        assert_eq!([scene.status_with(&scene.staying).await, scene.status_with(&scene.leaving).await], [200; 2]);
        scene.take(&format!("{GATEWAY}{entry}")).await;
        let client = Client::http1(scene.gateway.address(0));
        let answer = client.get("/a").header("x-api-key", &scene.leaving).send().await;
        assert_eq!(answer.status, 401, "{how}");
        assert!(!answer.text().contains(reason), "{how}: {}", answer.text());
        scene.gateway.audit(|event| event["reason"] == reason).await;
        assert_eq!((scene.status_with(&scene.staying).await, scene.upstream.requests()), (200, 3), "{how}");
        // And back again.
        scene.take(&format!("{GATEWAY}{LEAVING}")).await;
        assert_eq!(scene.status_with(&scene.leaving).await, 200, "{how}");
    }
}

#[tokio::test]
async fn what_a_lost_credential_had_opened_ends_and_nothing_else_does() {
    for (how, entry, _) in endings() {
        let scene = start().await;
        let clients = [Client::http1(scene.gateway.address(0)), Client::http2(scene.gateway.address(0))];
        let others = [Client::http1(scene.gateway.address(0)), Client::http2(scene.gateway.address(0))];
        let (mut lost, mut kept) = (Vec::new(), Vec::new());
        for (client, other) in clients.iter().zip(&others) {
            lost.push(scene.stream(client, &scene.leaving).await);
            kept.push(scene.stream(other, &scene.staying).await);
        }
        let address = scene.gateway.address(0);
        let mut socket = WebSocket::open(address, "/ws", &[("x-api-key", &scene.leaving)]).await.expect("an upgrade");
        socket.send("hello").await;
        assert_eq!(socket.next().await.as_deref(), Some("hello"));

        scene.take(&format!("{GATEWAY}{entry}")).await;
        for stream in &mut lost {
            is_cut(stream).await;
        }
        assert_eq!(socket.next().await, None, "{how}: the WebSocket goes on");
        for stream in &mut kept {
            goes_on(stream).await;
        }
        let why = |text: &str| text.contains("the caller is no longer allowed") || text.contains("credential expired");
        let line = scene.gateway.access(|line| line["error"].as_str().is_some_and(why)).await;
        assert_eq!((&line["route"], &line["consumer"]), (&"app".into(), &"acme".into()), "{how}");
    }
}

#[tokio::test]
async fn a_refused_file_ends_no_stream() {
    let scene = start().await;
    let client = Client::http1(scene.gateway.address(0));
    let mut stream = scene.stream(&client, &scene.leaving).await;
    scene.gateway.rewrite(&format!("{GATEWAY}\ncolour = 1\n"));
    assert_eq!(scene.gateway.reload().await.code, 2);
    // Streams are looked at once a second.
    let end = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < end {
        goes_on(&mut stream).await;
    }
    assert_eq!(scene.status_with(&scene.leaving).await, 200);
}

#[tokio::test]
async fn a_credential_that_expires_by_the_clock_ends_without_a_reload() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let soon = i64::try_from(now).expect("before the end of time") + 3;
    let expires = Timestamp::from_second(soon).expect("a moment").to_string();
    let entry = LEAVING.replace("sha256 = \"@LEAVING@\"", &format!("sha256 = \"@LEAVING@\"\nexpires = {expires}"));
    let scene = start_with(&entry).await;
    let client = Client::http1(scene.gateway.address(0));
    let mut stream = scene.stream(&client, &scene.leaving).await;
    is_cut(&mut stream).await;
    assert_eq!(scene.status_with(&scene.leaving).await, 401);
    let expired = |line: &serde_json::Value| line["error"].as_str().is_some_and(|error| error.contains("expired"));
    scene.gateway.wait_line(expired, LIMIT).await;
    assert_eq!(scene.gateway.credential("leaving").await["expires"], expires);
}

#[tokio::test]
async fn a_consumer_that_changes_its_groups_is_known_by_the_new_ones() {
    let scene = start().await;
    assert_eq!(scene.status_with(&scene.staying).await, 200);
    assert_eq!(scene.upstream.last().header("x-consumer-groups"), Some("partners"));
    scene.take(&GATEWAY.replace("\"partners\"", "\"former\"")).await;
    assert_eq!(scene.status_with(&scene.staying).await, 200);
    assert_eq!(scene.upstream.last().header("x-consumer-groups"), Some("former"));
}

#[tokio::test]
async fn the_use_of_a_credential_that_is_gone_is_forgotten() {
    let scene = start().await;
    assert_eq!(scene.status_with(&scene.leaving).await, 200);
    assert_eq!(scene.gateway.credential("leaving").await["uses"], 1);
    scene.take(GATEWAY).await;
    let status = scene.gateway.status().await;
    assert_eq!(status["credentials"], 1, "{status:#}");
    scene.take(&format!("{GATEWAY}{LEAVING}")).await;
    assert_eq!(scene.gateway.credential("leaving").await["uses"], 0);
}

#[tokio::test]
async fn a_stream_ends_with_a_key_that_was_replaced_under_the_same_id() {
    let scene = start().await;
    let client = Client::http1(scene.gateway.address(0));
    let mut stream = scene.stream(&client, &scene.leaving).await;
    let (_, other) = key("another");
    scene.take(&format!("{GATEWAY}{}", LEAVING.replace("@LEAVING@", &other))).await;
    eventually("the old key opens nothing", async || scene.status_with(&scene.leaving).await == 401).await;
    is_cut(&mut stream).await;
}
