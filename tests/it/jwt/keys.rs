//! Where keys come from: an identity server that is slow, dead, lying or rotating its keys under load.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    GATEWAY, World,
    identity_server::{IdentityServer, Mood},
};
use crate::harness::{Client, Gateway, Peer, Reply, Upstream, eventually, portcullis};

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
async fn unknown_keys_are_asked_for_once_and_not_again() {
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
    // The first, and four for strangers, a second apart; then one in a cooldown.
    assert!(world.server.fetches() <= 5, "{} fetches for 20 unknown keys", world.server.fetches());
    let good = world.token("RS256", json!({}));
    assert_eq!(world.status(&good).await, 200);
}

#[tokio::test]
async fn a_server_that_is_down_serves_on_with_known_keys_and_without_any_it_is_503() {
    let mut world = World::start("issue_tokens.mjs", &["RS256"]).await;
    let token = world.token("RS256", json!({}));
    world.server.is(Mood::Broken(500));
    assert_eq!(world.status(&token).await, 200, "known keys serve");
    // A reload of the same policy keeps them; so does one that changes it, or how keys are fetched.
    for change in ["leeway = \"20s\"", "fetch = { refresh = \"5m\", cooldown = \"20s\" }"] {
        world.gateway.rewrite(&GATEWAY.replace("discovery = true", &format!("discovery = true\n{change}")));
        assert_eq!(world.gateway.reload().await.code, 0);
        assert_eq!(world.status(&token).await, 200, "keys outlive a reload: {change}");
    }

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
        Mood::Lying(json!({ "keys": { "0": jwks["keys"][0] } }).to_string()),
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

/// A gateway whose issuer answers like this from the start, and the header of a token by its key `RS256`.
async fn before(issuer: &mut Peer, mood: Mood) -> (Gateway, IdentityServer, Upstream, String) {
    let answer = issuer.ask(&json!({ "keys": [{ "kid": "RS256", "alg": "RS256" }] }));
    let server = IdentityServer::start(&answer["jwks"]);
    server.is(mood);
    let upstream = Upstream::start();
    let builder = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).set("ISSUER", &server.issuer());
    let gateway = builder.start().await;
    let claims = super::claims(&server.issuer(), json!({}));
    let tokens = issuer.ask(&json!({ "tokens": [{ "name": "t", "kid": "RS256", "claims": claims }] }));
    let token = format!("Bearer {}", tokens["tokens"]["t"].as_str().expect("a token"));
    (gateway, server, upstream, token)
}

/// The set that the issuer's keys make.
fn published(issuer: &mut Peer) -> Value {
    issuer.ask(&json!({ "keys": [] }))["jwks"].clone()
}

#[tokio::test]
async fn a_server_that_was_down_at_the_start_is_asked_again_in_a_second() {
    let mut issuer = Peer::start("issue_tokens.mjs");
    let (gateway, server, _upstream, token) = before(&mut issuer, Mood::Broken(503)).await;
    let client = Client::http1(gateway.address(0));
    let status = async || client.get("/orders/7").header("authorization", &token).send().await.status;
    assert_eq!(status().await, 503);
    server.is(Mood::Keys(published(&mut issuer)));
    let back = Instant::now();
    eventually("the keys are there", async || status().await == 200).await;
    assert!(back.elapsed() < Duration::from_secs(15), "and not after the cooldown of 30 s: {:?}", back.elapsed());
}

#[tokio::test]
async fn a_reload_asks_a_server_that_comes_back_at_once() {
    let mut issuer = Peer::start("issue_tokens.mjs");
    let (gateway, server, _upstream, token) = before(&mut issuer, Mood::Broken(503)).await;
    let client = Client::http1(gateway.address(0));
    let status = async || client.get("/orders/7").header("authorization", &token).send().await.status;
    assert_eq!(status().await, 503);
    server.is(Mood::Keys(published(&mut issuer)));
    // A reload asks at once, whatever the cooldown.
    gateway.rewrite(&GATEWAY.replace("discovery = true", "discovery = true\nleeway = \"10s\""));
    assert_eq!(gateway.reload().await.code, 0);
    eventually("the keys are there", async || status().await == 200).await;
}

#[tokio::test]
async fn odd_keys_of_an_issuer_are_skipped_and_told_of_and_all_others_count() {
    let mut world = World::start("issue_tokens.mjs", &["RS256"]).await;
    let withdrawn = world.token("RS256", json!({ "jti": "withdrawn" }));
    assert_eq!(world.status(&withdrawn).await, 200);
    let published =
        world.issuer.ask(&json!({ "keys": [{ "kid": "new", "alg": "ES256" }, { "kid": "leaked", "alg": "ES256" }] }));
    let of = |kid: &str| {
        let keys = published["jwks"]["keys"].as_array().expect("a list");
        keys.iter().find(|key| key["kid"] == kid).expect("its key").clone()
    };
    let mut private = of("leaked");
    private["kid"] = "the private half".into();
    private["d"] = "AQAB".into();
    let rsa = of("RS256");
    let zero_first = |n: &str| {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let n = URL_SAFE_NO_PAD.decode(n).expect("base64url");
        URL_SAFE_NO_PAD.encode([&[0][..], &n].concat())
    };
    let mut padded = rsa.clone();
    padded["n"] = format!("{}=", zero_first(rsa["n"].as_str().expect("a number"))).into();
    padded["d"] = Value::Null;
    let odd = [
        json!({ "kty": "RSA", "kid": "broken\u{1b}[2J", "n": "AQAB" }),
        json!({ "kty": "oct", "kid": "secret", "k": "AAAA", "alg": "HS256" }),
        json!({ "kty": "OKP", "crv": "X25519", "use": "enc", "kid": "encrypts", "x": "AAAA" }),
        json!("no key"),
        private,
        of("leaked"),
        of("new"),
    ];
    world.server.is(Mood::Keys(json!({ "keys": odd })));
    let [new, leaked] = ["new", "leaked"].map(|kid| world.token(kid, json!({ "jti": kid })));
    assert_eq!(world.status(&new).await, 200, "{}", world.gateway.output());
    for token in [&leaked, &withdrawn] {
        assert_eq!(world.status(token).await, 401, "{}", world.gateway.output());
    }
    for (level, words) in [
        ("error", "the key `the private half` has the private member `d`"),
        ("error", "the key `secret` is a secret"),
        ("error", "the key `leaked` is the public half of a private key"),
        ("warn", "the key `broken\\u{1b}[2J` has no `e`"),
        ("warn", "keys[3] is not an object"),
    ] {
        let is_it =
            |line: &Value| line["level"] == level && line["message"].as_str().is_some_and(|text| text.contains(words));
        world.gateway.wait_line(is_it, Duration::from_secs(10)).await;
    }
    assert!(!world.gateway.output().contains("encrypts"), "a key for something else is nothing odd");
    let metrics = Client::http1(world.gateway.admin()).get("/metrics").send().await.text();
    // The set was fetched for each of the three tokens, whose keys were not known.
    for (reason, count) in [("private", 9), ("invalid", 6), ("weak", 0), ("ambiguous", 0)] {
        let line = format!("reason=\"{reason}\"}} {count}");
        assert!(
            metrics.lines().any(|of| of.starts_with("portcullis_key_set_skipped_keys_total") && of.ends_with(&line)),
            "{metrics}"
        );
    }
    // The way that Java writes a number, as Firebase App Check, UAA and Jenkins publish it.
    world
        .gateway
        .rewrite(&GATEWAY.replace("discovery = true", &format!("jwks_url = \"{}/jwks\"", world.server.issuer())));
    world.server.is(Mood::Keys(json!({ "keys": [padded] })));
    assert_eq!(world.gateway.reload().await.code, 0);
    assert_eq!(world.status(&withdrawn).await, 200, "{}", world.gateway.output());
}

#[tokio::test]
async fn an_unknown_key_is_503_while_the_set_cannot_be_fetched_and_401_once_it_can() {
    let mut world = World::start("issue_tokens.mjs", &["RS256"]).await;
    let good = world.token("RS256", json!({}));
    world.issuer.ask(&json!({ "keys": [{ "kid": "new", "alg": "EdDSA" }] }));
    let unknown = world.token("new", json!({}));
    world.server.is(Mood::Broken(500));
    assert_eq!(world.status(&unknown).await, 503, "it may be the newest key");
    world.gateway.audit(|event| event["result"] == "failed" && event["reason"] == "plugin_failed").await;
    assert_eq!(world.status(&good).await, 200, "known keys serve");
    let jwks = world.issuer.ask(&json!({ "keys": [] }))["jwks"].clone();
    let old = jwks["keys"].as_array().expect("a list").iter().find(|key| key["kid"] == "RS256").expect("its key");
    world.server.is(Mood::Keys(json!({ "keys": [old] })));
    eventually("the set is fetched again", async || world.status(&unknown).await == 401).await;
    assert_eq!(world.status(&good).await, 200);
}

#[tokio::test]
async fn a_discovery_document_leads_nobody_to_the_gateway_itself() {
    let leads = Arc::new(Mutex::new("https://nowhere.invalid/keys".to_owned()));
    let current = leads.clone();
    let server = Upstream::with(move |asked| {
        let issuer = format!("http://{}", asked.header("host").expect("clients send it"));
        let leads = current.lock().expect("no holder panics").clone();
        Reply::new(200).body(json!({ "issuer": issuer, "jwks_uri": leads }).to_string())
    });
    let issuer = format!("http://{}", server.address());
    let upstream = Upstream::start();
    let toml = GATEWAY.replace("discovery = true", "discovery = true\nfetch = { cooldown = \"1s\" }");
    let gateway = Gateway::builder(&toml).set("UPSTREAM", &upstream.address()).set("ISSUER", &issuer).start().await;
    for own in [gateway.address(0), gateway.admin(), "169.254.169.254:80".parse().expect("an address")] {
        // An address of a network has to be https, whoever names it.
        let scheme = if own.ip().is_loopback() { "http" } else { "https" };
        *leads.lock().expect("no holder panics") = format!("{scheme}://{own}/keys");
        let words = format!("{} must not be asked", own.ip());
        let before = gateway.output().matches(&words).count();
        let limit = Instant::now() + Duration::from_secs(20);
        while gateway.output().matches(&words).count() < before + 2 {
            assert!(Instant::now() < limit, "{own}: {}", gateway.output());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert!(!gateway.output().contains("\"/keys\""), "nobody asked the gateway: {}", gateway.output());
}

#[tokio::test]
async fn an_operator_has_keys_fetched_and_sees_how_old_they_are() {
    let world = World::start("issue_tokens.mjs", &["RS256"]).await;
    let config = world.gateway.dir().join("portcullis.toml").display().to_string();
    let refresh = async || portcullis(&["policy", "-c", &config, "tokens", "refresh"], "").await;
    let shown = async || {
        let policies = world.gateway.status().await["policies"]["tokens"].clone();
        let parts = policies.as_object().expect("parts");
        parts.iter().find(|(title, _)| title.starts_with("keys of ")).expect("the keys").1.clone()
    };
    assert_eq!((&shown().await["keys"], &shown().await["last_fetch"]), (&1.into(), &"ok".into()));
    let before = world.server.fetches();
    let done = refresh().await;
    assert!(done.code == 0 && done.stdout.starts_with("fetched 1 keys of "), "{done:?}");
    assert_eq!(world.server.fetches(), before + 1);

    world.server.is(Mood::Broken(500));
    let failed = refresh().await;
    assert!(failed.code == 1 && failed.stderr.contains("not fetched"), "{failed:?}");
    assert_eq!((&shown().await["last_fetch"], &shown().await["serves"]), (&"failed".into(), &"yes".into()));
}
