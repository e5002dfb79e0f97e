//! What would be refused if it came now does not live on in a stream that is open.

use super::generations::watched;
use crate::harness::{Client, Gateway, Opened, Upstream, WebSocket, eventually, key};

/// One stream of each kind: events over HTTP/1, a call over HTTP/2, a WebSocket.
struct Streams {
    events: (Client, Opened),
    call: (Client, Opened),
    socket: WebSocket,
}

impl Streams {
    async fn open(gateway: &Gateway, key: &str) -> Self {
        let (http1, http2) = (Client::http1(gateway.address(0)), Client::http2(gateway.address(1)));
        let mut events = http1.get("/app/sse?chunks=2&ms=3600000").header("x-api-key", key).open().await;
        let mut call = http2.get("/shop.Orders/stream?chunks=2&ms=3600000").header("x-api-key", key).open().await;
        for answer in [&mut events, &mut call] {
            assert_eq!((answer.status(), answer.next().await.expect("a piece").is_ok()), (200, true));
        }
        let opened = WebSocket::open(gateway.address(0), "/app/chat", &[("x-api-key", key)]).await;
        let socket = opened.unwrap_or_else(|refused| panic!("refused: {refused:?}"));
        Self { events: (http1, events), call: (http2, call), socket }
    }

    /// All of them end, the HTTP ones without a proper end.
    async fn assert_end(mut self, what: &str) {
        for (_, answer) in [&mut self.events, &mut self.call] {
            assert!(answer.next().await.is_some_and(|piece| piece.is_err()), "{what}: it is cut off");
        }
        assert_eq!(self.socket.next().await, None, "{what}");
    }
}

#[tokio::test]
async fn streams_end_when_they_would_be_refused_and_their_lines_say_why() {
    let upstream = Upstream::start();
    let gateway = watched(&upstream).await;
    let (key, _) = key("acme");
    let original = gateway.configuration();
    let mut public = WebSocket::open(gateway.address(0), "/open/chat", &[]).await.expect("it opens");
    let kinds: [(&str, &str, &str, &str); 5] = [
        (
            "a consumer's group is taken away",
            "groups = [\"partners\"]\n\n[[",
            "groups = []\n\n[[",
            "consumer_not_allowed",
        ),
        (
            "a restriction is tightened",
            "allow = [",
            "deny = [{ consumers = [\"acme\"] }]\nallow = [",
            "consumer_not_allowed",
        ),
        ("a key becomes somebody else's", "consumers.acme", "consumers.somebody", "policy_changed"),
        (
            "the policies of a route change",
            "auth = [\"keys\"]",
            "auth = [{ use = \"key-auth\" }]",
            "credential_withdrawn",
        ),
        ("a route is gone", "/{*rest}\"]\nupstream", "/renamed/{*rest}\"]\nupstream", "route_withdrawn"),
    ];
    for (number, (what, from, to, reason)) in kinds.into_iter().enumerate() {
        let streams = Streams::open(&gateway, &key).await;
        let mut changed = original.replace(from, to);
        assert_ne!(changed, original, "{what}");
        if reason == "credential_withdrawn" {
            // Somebody has to be let in by the new one.
            changed = changed.replace("id = \"other-1\"", "id = \"other-1\"\nroutes = [\"app\", \"calls\"]");
            changed = changed.replace("id = \"acme-1\"", "id = \"acme-1\"\npolicies = [\"keys\"]");
        }
        if reason == "route_withdrawn" {
            changed = changed.replace("/open/renamed/", "/open/");
        }
        gateway.rewrite(&changed);
        let reloaded = gateway.reload().await;
        assert_eq!(reloaded.code, 0, "{what}: {reloaded:?}");
        streams.assert_end(what).await;
        let ended = (number as f64 + 1.0) * 3.0;
        eventually(what, async || {
            let lines = gateway.lines();
            let of =
                |event: &str| lines.iter().filter(|line| line["event"] == event && line["reason"] == reason).count();
            let all = lines.iter().filter(|line| line["event"] == "stream_ended").count() as f64;
            all == ended && of("stream_ended") >= 3 && of("access") >= 3
        })
        .await;
        gateway.rewrite(&original);
        assert_eq!(gateway.reload().await.code, 0);
    }
    let event = gateway.audit(|line| line["event"] == "stream_ended").await;
    assert_eq!(
        (&event["consumer"], &event["result"], &event["policy"]),
        (&"acme".into(), &"denied".into(), &"partners".into())
    );
    let line = gateway.access(|line| line["reason"] == "route_withdrawn" && line["status"] == 101).await;
    assert_eq!(line["error"], "ended: the caller is no longer allowed");
    let line = gateway.access(|line| line["reason"] == "route_withdrawn" && line["status"] == 200).await;
    assert!(line["bytes_sent"].as_u64() > Some(0), "{line}");
    assert_eq!(gateway.metric("portcullis_streams_ended_total{reason=\"route_withdrawn\"}").await, 3.0);
    eventually("the public one is left", async || gateway.metric("portcullis_open_streams").await == 1.0).await;
    public.send("still there").await;
    assert_eq!(public.next().await.as_deref(), Some("still there"));
    // And it ends as well when it is public no longer.
    gateway.rewrite(&original.replacen(
        "upstream = \"app\"\npublic = true",
        "upstream = \"app\"\nauth = [\"keys\"]",
        1,
    ));
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!(public.next().await, None);
}

#[tokio::test]
async fn streams_that_nothing_speaks_against_outlive_twenty_reloads() {
    let upstream = Upstream::start();
    let gateway = watched(&upstream).await;
    let (key, _) = key("acme");
    let original = gateway.configuration();
    let mut streams = Vec::new();
    for _ in 0..7 {
        streams.push(Streams::open(&gateway, &key).await);
    }
    for round in 0..20 {
        let (_, digest) = crate::harness::key(&format!("guest-{round}"));
        let others = format!(
            "\n[consumers.guest-{round}]\n\n[[consumers.guest-{round}.credentials]]\nuse = \"key-auth\"\nid = \"guest-{round}\"\nsha256 = \"{digest}\"\n"
        );
        gateway.rewrite(&format!("{original}{others}"));
        assert_eq!(gateway.reload().await.code, 0);
    }
    // One more, of which the end is seen: all rounds of judging are over then.
    let mut last = Streams::open(&gateway, &key).await;
    gateway.rewrite(&original.replace("[routes.calls]", "[routes.other-calls]"));
    assert_eq!(gateway.reload().await.code, 0);
    assert!(last.call.1.next().await.is_some_and(|piece| piece.is_err()));
    for stream in &mut streams {
        stream.socket.send("still there").await;
        assert_eq!(stream.socket.next().await.as_deref(), Some("still there"));
    }
    eventually("the calls alone end, whose route is gone", async || {
        gateway.lines().iter().filter(|line| line["event"] == "stream_ended").count() == 8
    })
    .await;
}
