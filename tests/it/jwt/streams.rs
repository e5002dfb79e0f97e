//! A token that would be refused now ends the streams that it opened.

use serde_json::json;

use super::{GATEWAY, World, identity_server::Mood};
use crate::harness::{Client, Opened, WebSocket, eventually};

/// Events over HTTP/1 and HTTP/2, and a WebSocket.
struct Streams {
    http: Vec<(Client, Opened)>,
    socket: WebSocket,
}

impl Streams {
    async fn open(world: &World, token: &str) -> Self {
        let address = world.gateway.address(0);
        let authorization = format!("Bearer {token}");
        let mut http = Vec::new();
        for client in [Client::http1(address), Client::http2(address)] {
            let asking = client.get("/orders/sse?chunks=2&ms=3600000").header("authorization", &authorization);
            let mut answer = asking.open().await;
            assert_eq!((answer.status(), answer.next().await.expect("an event").is_ok()), (200, true));
            http.push((client, answer));
        }
        let opened = WebSocket::open(address, "/orders/chat", &[("authorization", &authorization)]).await;
        Self { http, socket: opened.unwrap_or_else(|refused| panic!("refused: {refused:?}")) }
    }

    async fn assert_end(mut self, what: &str) {
        for (_, answer) in &mut self.http {
            assert!(answer.next().await.is_some_and(|piece| piece.is_err()), "{what}: it is cut off");
        }
        assert_eq!(self.socket.next().await, None, "{what}");
    }
}

async fn start() -> World {
    let toml = GATEWAY.replacen("address = \"127.0.0.1:0\"", "address = \"127.0.0.1:0\"\nh2c = true", 1);
    let toml = toml.replace("discovery = true", "discovery = true\nversion_claim = \"ver\"");
    World::with(&toml, "issue_tokens.mjs", &["ES256", "RS256"], |builder| builder).await
}

impl World {
    /// How many streams have ended for this reason.
    fn ended(&self, reason: &str) -> usize {
        let lines = self.gateway.lines();
        lines.iter().filter(|line| line["event"] == "stream_ended" && line["reason"] == reason).count()
    }
}

#[tokio::test]
async fn whatever_is_revoked_ends_its_streams_and_no_others() {
    let mut world = start().await;
    let kept = world.token("ES256", json!({ "jti": "kept", "sub": "bob", "ver": 9, "iat": super::now() + 20 }));
    let mut control = Streams::open(&world, &kept).await;
    let revocations: [&[&str]; 4] = [
        &["--token-id", "one"],
        &["--subject", "alice", "--min-version", "2"],
        &["--subject", "alice", "--issued-before", "now"],
        &["--all-tokens"],
    ];
    for (number, arguments) in revocations.into_iter().enumerate() {
        let version = if number < 2 { 1 } else { 2 };
        let jti = if number == 0 { "one" } else { "other" };
        // All of Alice's are revoked by then.
        let subject = if number == 3 { "carol" } else { "alice" };
        let claims = json!({ "jti": jti, "sub": subject, "ver": version, "iat": super::now() - 1 });
        let token = world.token("ES256", claims);
        let streams = Streams::open(&world, &token).await;
        world.revoke(arguments).await;
        streams.assert_end(&format!("{arguments:?}")).await;
        eventually("each says why", async || world.ended("token_revoked") == 3 * (number + 1)).await;
    }
    let event = world.gateway.audit(|event| event["event"] == "stream_ended").await;
    assert_eq!((&event["subject"], &event["policy"]), (&"alice".into(), &"tokens".into()));
    control.socket.send("still there").await;
    assert_eq!(control.socket.next().await.as_deref(), Some("still there"));
}

#[tokio::test]
async fn a_key_that_the_issuer_withdraws_ends_its_streams_when_it_is_known() {
    let mut world = start().await;
    let (gone, kept) = (world.token("ES256", json!({ "ver": 1 })), world.token("RS256", json!({ "ver": 1 })));
    let of_gone = Streams::open(&world, &gone).await;
    let mut of_kept = Streams::open(&world, &kept).await;
    eventually("all have lasted", async || world.gateway.metric("portcullis_open_streams").await == 6.0).await;
    let all = world.issuer.ask(&json!({ "keys": [{ "kid": "new", "alg": "EdDSA" }] }))["jwks"].clone();
    let keys = all["keys"].as_array().expect("keys").iter().filter(|key| key["kid"] != "ES256");
    world.server.is(Mood::Keys(json!({ "keys": keys.collect::<Vec<_>>() })));
    // A token by a new key has the set fetched, long before it is due.
    let new = world.token("new", json!({ "ver": 1 }));
    assert_eq!(world.status(&new).await, 200);
    of_gone.assert_end("its key is gone").await;
    eventually("each says why", async || world.ended("signing_key_unknown") == 3).await;
    of_kept.socket.send("still there").await;
    assert_eq!(of_kept.socket.next().await.as_deref(), Some("still there"));
}

#[tokio::test]
async fn a_policy_that_takes_the_token_no_longer_ends_its_streams() {
    let mut world = start().await;
    let original = world.gateway.configuration();
    let token = world.token("ES256", json!({ "ver": 1 }));
    let changes = [
        ("https://api.example.com", "https://other.example.com", "audience_mismatch"),
        ("\"ES256\", ", "", "algorithm_not_allowed"),
        ("identity = {", "claims = [{ claim = \"tenant\", equals = \"none\" }]\nidentity = {", "claim_mismatch"),
    ];
    for (from, to, reason) in changes {
        let streams = Streams::open(&world, &token).await;
        world.gateway.rewrite(&original.replace(from, to));
        let reloaded = world.gateway.reload().await;
        assert_eq!(reloaded.code, 0, "{reason}: {reloaded:?}");
        streams.assert_end(reason).await;
        eventually(reason, async || world.ended(reason) == 3).await;
        world.gateway.rewrite(&original);
        assert_eq!(world.gateway.reload().await.code, 0);
    }
}

#[tokio::test]
async fn streams_outlive_twenty_reloads_and_twenty_revocations_of_others() {
    let mut world = start().await;
    let original = world.gateway.configuration();
    let token = world.token("ES256", json!({ "jti": "kept", "ver": 1 }));
    let mut streams = Vec::new();
    for _ in 0..7 {
        streams.push(Streams::open(&world, &token).await);
    }
    for round in 0..20 {
        // Another leeway is another policy, which takes the token as well.
        world
            .gateway
            .rewrite(&original.replace("discovery = true", &format!("discovery = true\nleeway = \"{round}s\"")));
        assert_eq!(world.gateway.reload().await.code, 0);
        world.revoke(&["--token-id", &format!("other-{round}")]).await;
    }
    let last = world.token("ES256", json!({ "jti": "last", "ver": 1 }));
    let last = Streams::open(&world, &last).await;
    world.revoke(&["--token-id", "last"]).await;
    last.assert_end("the last").await;
    for stream in &mut streams {
        stream.socket.send("still there").await;
        assert_eq!(stream.socket.next().await.as_deref(), Some("still there"));
    }
    eventually("three have ended", async || world.ended("token_revoked") == 3).await;
    assert_eq!(world.gateway.metric("portcullis_open_streams").await, 21.0);
}
