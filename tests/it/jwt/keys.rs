//! Where keys come from: an identity server that is slow, dead, lying or rotating its keys under load.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    GATEWAY, World,
    identity_server::{IdentityServer, Mood},
};
use crate::harness::{Client, Gateway, Peer, Upstream, eventually};

#[tokio::test]
async fn keys_that_are_rotated_lose_no_request() {
    let mut world = World::start("issue_tokens.mjs", &["RS256"]).await;
    let old = world.token("RS256", json!({}));
    // The new key is published beside the old one, and used at once.
    let both = world.issuer.ask(&json!({ "keys": [{ "kid": "new", "alg": "ES256" }] }));
    world.server.is(Mood::Keys(both["jwks"].clone()));
    let new = world.token("new", json!({}));
    let asking = (0..8).map(|number| {
        let (token, address) = (if number % 2 == 0 { old.clone() } else { new.clone() }, world.gateway.address(0));
        tokio::spawn(async move {
            let client = Client::http1(address);
            for _ in 0..50 {
                let answer = client.get("/orders/7").header("authorization", &format!("Bearer {token}")).send().await;
                assert_eq!(answer.status, 200);
            }
        })
    });
    for asked in asking.collect::<Vec<_>>() {
        asked.await.unwrap_or_else(|error| panic!("{error}: {}", world.gateway.output()));
    }
    assert_eq!(world.server.fetches(), 2, "one at the start, one for all that met the new key");
}

#[tokio::test]
async fn pitfall_24_unknown_keys_are_asked_for_once_and_not_again() {
    let mut world = World::start("issue_tokens.mjs", &["RS256"]).await;
    let mut stranger = Peer::start("issue_tokens.mjs");
    let claims = super::claims(&world.server.issuer(), json!({}));
    for number in 0..20 {
        let kid = format!("unknown-{number}");
        let answer = stranger.ask(&json!({
            "keys": [{ "kid": kid, "alg": "EdDSA" }], "tokens": [{ "name": "t", "kid": kid, "claims": claims }],
        }));
        assert_eq!(world.status(answer["tokens"]["t"].as_str().expect("a token")).await, 401);
    }
    assert!(world.server.fetches() <= 2, "{} fetches for 20 unknown keys", world.server.fetches());
    let good = world.token("RS256", json!({}));
    assert_eq!(world.status(&good).await, 200);
}

#[tokio::test]
async fn pitfall_09_a_server_that_is_down_serves_on_with_known_keys_and_without_any_it_is_503() {
    let mut world = World::start("issue_tokens.mjs", &["RS256"]).await;
    let token = world.token("RS256", json!({}));
    world.server.is(Mood::Broken(500));
    assert_eq!(world.status(&token).await, 200, "known keys serve");
    // A reload of the same policy keeps them; so does one that changes it.
    world.gateway.rewrite(&GATEWAY.replace("discovery = true", "discovery = true\nleeway = \"20s\""));
    assert_eq!(world.gateway.reload().await.code, 0);
    assert_eq!(world.status(&token).await, 200, "keys outlive a reload");

    let upstream = Upstream::start();
    let nobody = "http://127.0.0.1:9";
    let builder = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).set("ISSUER", nobody);
    let began = Instant::now();
    let gateway = builder.start().await;
    assert!(began.elapsed() < Duration::from_secs(8), "a start waits at most 5 s for keys");
    let foreign = world.issuer.ask(&json!({
        "tokens": [{ "name": "t", "kid": "RS256", "claims": super::claims(nobody, json!({})) }],
    }));
    let foreign = foreign["tokens"]["t"].as_str().expect("a token");
    let client = Client::http1(gateway.address(0));
    let answer = client.get("/orders/7").header("authorization", &format!("Bearer {foreign}")).send().await;
    assert_eq!((answer.status, upstream.requests()), (503, 0), "not to be decided is not allowed");
}

#[tokio::test]
async fn a_server_that_lies_is_not_believed() {
    let mut issuer = Peer::start("issue_tokens.mjs");
    let answer = issuer.ask(&json!({ "keys": [{ "kid": "RS256", "alg": "RS256" }] }));
    let jwks = answer["jwks"].clone();
    let moods = [
        Mood::Lying("<html>".into()),
        Mood::Lying(format!("{{\"keys\":[],\"padding\":\"{}\"}}", "x".repeat(4 << 20))),
        Mood::Lying(json!({ "keys": [jwks["keys"][0], jwks["keys"][0]] }).to_string()),
        Mood::Redirects(jwks.clone()),
        Mood::Slow(jwks.clone(), Duration::from_secs(30)),
    ];
    for (number, mood) in moods.into_iter().enumerate() {
        let server = IdentityServer::start(&jwks);
        server.is(mood);
        let upstream = Upstream::start();
        let builder = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).set("ISSUER", &server.issuer());
        let gateway = builder.start().await;
        let claims = super::claims(&server.issuer(), json!({}));
        let tokens = issuer.ask(&json!({ "tokens": [{ "name": "t", "kid": "RS256", "claims": claims }] }));
        let token = tokens["tokens"]["t"].as_str().expect("a token");
        let client = Client::http1(gateway.address(0));
        let answer = client.get("/orders/7").header("authorization", &format!("Bearer {token}")).send().await;
        assert_eq!((answer.status, upstream.requests()), (503, 0), "{number}: {}", gateway.output());
    }
}

#[tokio::test]
async fn a_server_that_comes_back_is_asked_again() {
    let mut issuer = Peer::start("issue_tokens.mjs");
    let answer = issuer.ask(&json!({ "keys": [{ "kid": "RS256", "alg": "RS256" }] }));
    let server = IdentityServer::start(&answer["jwks"]);
    server.is(Mood::Broken(503));
    let upstream = Upstream::start();
    let builder = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).set("ISSUER", &server.issuer());
    let gateway = builder.start().await;
    let claims = super::claims(&server.issuer(), json!({}));
    let tokens = issuer.ask(&json!({ "tokens": [{ "name": "t", "kid": "RS256", "claims": claims }] }));
    let token = format!("Bearer {}", tokens["tokens"]["t"].as_str().expect("a token"));
    let client = Client::http1(gateway.address(0));
    let status = async || client.get("/orders/7").header("authorization", &token).send().await.status;
    assert_eq!(status().await, 503);
    server.is(Mood::Keys(answer["jwks"].clone()));
    // A reload asks at once, whatever the cooldown.
    gateway.rewrite(&GATEWAY.replace("discovery = true", "discovery = true\nleeway = \"10s\""));
    assert_eq!(gateway.reload().await.code, 0);
    eventually("the keys are there", async || status().await == 200).await;
}
