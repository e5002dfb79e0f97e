//! Tokens that prove nothing.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};

use super::{GATEWAY, World, claims, now};
use crate::harness::{Client, Peer, Upstream, raw};

#[tokio::test]
async fn each_is_401_in_the_same_words_and_the_audit_log_says_why() {
    let mut world = World::start("issue_tokens.mjs", &["RS256", "ES256"]).await;
    let elsewhere = "https://elsewhere.example.com";
    let cases = [
        ("token_expired", json!({ "exp": now() - 60 })),
        ("token_malformed", json!({ "exp": null })),
        ("token_malformed", json!({ "exp": "soon" })),
        ("token_not_yet_valid", json!({ "nbf": now() + 60 })),
        ("token_not_yet_valid", json!({ "iat": now() + 60 })),
        ("issuer_unknown", json!({ "iss": elsewhere })),
        ("issuer_unknown", json!({ "iss": null })),
        ("audience_mismatch", json!({ "aud": elsewhere })),
        ("audience_mismatch", json!({ "aud": null })),
    ];
    let mut bodies = Vec::new();
    for (number, (reason, change)) in cases.into_iter().enumerate() {
        let mut change = change;
        change["jti"] = format!("refused-{number}").into();
        let token = world.token("RS256", change.clone());
        let client = Client::http1(world.gateway.address(0));
        let answer = client.get("/orders/7").header("authorization", &format!("Bearer {token}")).send().await;
        assert_eq!(answer.status, 401, "{change}: {}", world.gateway.output());
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert_eq!(challenge, "Bearer realm=\"orders\", error=\"invalid_token\"");
        let mut body = answer.json();
        let id = body["request_id"].take();
        bodies.push(body);
        let event = world.gateway.audit(|event| event["request_id"] == id).await;
        assert_eq!((&event["reason"], &event["policy"]), (&reason.into(), &"tokens".into()), "{change}");
        let detail = match &change["exp"] {
            Value::String(_) => {
                json!("`exp`, `nbf` or `iat` is no number of seconds since 1970, or is after the year 9999")
            }
            Value::Null if reason == "token_malformed" => json!("no `exp`"),
            _ => Value::Null,
        };
        assert_eq!(event["detail"], detail, "{change}");
    }
    assert!(bodies.windows(2).all(|two| two[0] == two[1]), "answers tell what was wrong: {bodies:?}");
    assert_eq!(world.upstream.requests(), 0);
    // The reasons that a security team watches for are counted apart.
    let metrics = Client::http1(world.gateway.admin()).get("/metrics").send().await.text();
    for reason in ["issuer_unknown", "audience_mismatch", "token_expired"] {
        let line = format!("policy=\"tokens\",result=\"denied\",reason=\"{reason}\"");
        assert!(metrics.lines().any(|known| known.contains(&line)), "{line} in:\n{metrics}");
    }
}

#[tokio::test]
async fn without_a_token_the_challenge_has_no_error() {
    let world = World::start("issue_tokens.mjs", &["RS256"]).await;
    let client = Client::http1(world.gateway.address(0));
    for other in [None, Some("Basic YTpi"), Some("Digest x")] {
        let asking = client.get("/orders/7");
        let asking = other.into_iter().fold(asking, |asking, value| asking.header("authorization", value));
        let answer = asking.send().await;
        assert_eq!(answer.status, 401);
        // RFC 6750 section 3.1.
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"orders\""));
    }
}

#[tokio::test]
async fn the_algorithm_is_not_the_tokens_to_choose() {
    let mut world = World::start("issue_tokens.mjs", &["RS256"]).await;
    let issuer = world.server.issuer();
    let answer = world.issuer.ask(&json!({}));
    let pem = answer["pem"]["RS256"].as_str().expect("a PEM").to_owned();
    // A token whose MAC is made with the public key, which everybody knows.
    let mut forger = Peer::start("issue_tokens.mjs");
    let forged = forger.ask(&json!({
        "keys": [{ "kid": "RS256", "alg": "HS256", "secret": pem }],
        "tokens": [{ "name": "forged", "kid": "RS256", "claims": claims(&issuer, json!({})) }],
    }));
    assert_eq!(world.status(forged["tokens"]["forged"].as_str().expect("a token")).await, 401);
    // None at all, in every spelling.
    for none in ["none", "None", "nOnE", "NONE"] {
        let header = BASE64.encode(json!({ "alg": none, "typ": "JWT" }).to_string());
        let payload = BASE64.encode(claims(&issuer, json!({})).to_string());
        for signature in ["", "AA"] {
            assert_eq!(world.status(&format!("{header}.{payload}.{signature}")).await, 401, "{none}");
        }
    }
    // Somebody else's key under the same name.
    let stranger = forger.ask(&json!({
        "keys": [{ "kid": "other", "alg": "RS256" }],
        "tokens": [{ "name": "stranger", "kid": "other", "header": { "kid": "RS256" }, "claims": claims(&issuer, json!({})) }],
    }));
    assert_eq!(world.status(stranger["tokens"]["stranger"].as_str().expect("a token")).await, 401);
    world.gateway.audit(|event| event["reason"] == "signature_invalid").await;
    assert_eq!(world.upstream.requests(), 0);
}

#[tokio::test]
async fn keys_that_a_token_brings_are_not_followed() {
    let trap = Upstream::start();
    let mut world = World::start("issue_tokens.mjs", &["ES256"]).await;
    let claims = claims(&world.server.issuer(), json!({}));
    let url = format!("http://{}/jwks", trap.address());
    let mut forger = Peer::start("issue_tokens.mjs");
    let jwk = forger.ask(&json!({ "keys": [{ "kid": "own", "alg": "ES256" }] }))["jwks"]["keys"][0].clone();
    for header in
        [json!({ "jku": url }), json!({ "x5u": url }), json!({ "jwk": jwk }), json!({ "kid": "../../etc/passwd" })]
    {
        let answer =
            forger.ask(&json!({ "tokens": [{ "name": "t", "kid": "own", "header": header, "claims": claims }] }));
        assert_eq!(world.status(answer["tokens"]["t"].as_str().expect("a token")).await, 401, "{header}");
    }
    assert_eq!((trap.requests(), world.upstream.requests()), (0, 0));
    let good = world.token("ES256", json!({}));
    assert_eq!(world.status(&good).await, 200);
}

#[tokio::test]
async fn what_is_no_token_is_401_and_quick() {
    let mut world = World::start("issue_tokens.mjs", &["RS256"]).await;
    let good = world.token("RS256", json!({}));
    let deep = BASE64.encode(format!("{}{}", "[".repeat(6000), "]".repeat(6000)));
    let hostile: Vec<String> = vec![
        String::new(),
        ".".into(),
        "..".into(),
        "a.b.c".into(),
        format!("{good}.x"),
        format!("{good}="),
        good.rsplit_once('.').expect("three parts").0.to_owned(),
        good.replace('.', ".."),
        format!("{deep}.{deep}.x"),
        format!("{}.{}.x", BASE64.encode("[]"), BASE64.encode("1")),
        format!("{}.{}.x", BASE64.encode(r#"{"alg":"RS256","alg":"none"}"#), BASE64.encode("{}")),
        "x".repeat(20_000),
        "sk_live_an_opaque_key".into(),
    ];
    for token in &hostile {
        assert_eq!(world.status(token).await, 401, "{} bytes: {:.40}", token.len(), token);
    }
    // Bytes that no client library sends.
    for value in [&b"Bearer \xff\xfe"[..], b"Bearer  ", b"Bearer\t", b"bearer a b c"] {
        let mut request = b"GET /orders/7 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: ".to_vec();
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n\r\n");
        let answer = String::from_utf8_lossy(&raw(world.gateway.address(0), request).await).into_owned();
        assert!(answer.starts_with("HTTP/1.1 401 "), "{value:?}: {answer}");
    }
    assert_eq!(world.upstream.requests(), 0);
    assert_eq!(world.status(&good).await, 200);
}

#[tokio::test]
async fn tokens_of_one_issuer_or_tenant_are_refused_where_another_is_asked_for() {
    let route = |name: &str| {
        format!(
            "[routes.{name}]\npaths = [\"/{name}/{{*rest}}\"]\nupstream = \"app\"\nauth = [\"{name}\"]\n\
             [policies.{name}]\nuse = \"jwt\"\nissuer = \"@ISSUER@\"\naudience = [\"{name}\"]\ndiscovery = true\n\
             claims = [{{ claim = \"tenant\", equals = \"{name}\" }}]\nidentity = {{ tenant = \"tenant\" }}\n"
        )
    };
    let toml = format!("{GATEWAY}{}{}", route("red"), route("blue"));
    let mut world = World::with(&toml, "issue_tokens.mjs", &["ES256"], |builder| builder).await;
    for (audience, tenant) in [("red", "red"), ("red", "blue"), ("blue", "red"), ("blue", "blue")] {
        let token = world.token("ES256", json!({ "aud": audience, "tenant": tenant }));
        for route in ["red", "blue"] {
            let client = Client::http1(world.gateway.address(0));
            let asking = client.get(&format!("/{route}/x")).header("authorization", &format!("Bearer {token}"));
            let fits = audience == route && tenant == route;
            let status = asking.send().await.status;
            assert_eq!(status, if fits { 200 } else { 401 }, "a token for {audience} of {tenant} on {route}");
            if fits {
                assert_eq!(world.upstream.last().header("x-tenant-id"), Some(tenant));
            }
        }
    }
}

#[tokio::test]
async fn two_different_tokens_are_401_and_the_same_twice_is_one() {
    let toml = GATEWAY.replace(
        "discovery = true",
        "discovery = true\nfrom = [{ header = \"authorization\", scheme = \"Bearer\" }, { cookie = \"token\" }, { query = \"access_token\" }]",
    );
    let mut world = World::with(&toml, "issue_tokens.mjs", &["ES256"], |builder| builder).await;
    let (one, two) = (world.token("ES256", json!({ "jti": "1" })), world.token("ES256", json!({ "jti": "2" })));
    let client = Client::http1(world.gateway.address(0));
    let ask = |header: &str, cookie: &str| {
        let asking = client.get("/orders/7?x=1").header("authorization", &format!("Bearer {header}"));
        asking.header("cookie", &format!("a=b; token={cookie}")).send()
    };
    assert_eq!(ask(&one, &one).await.status, 200);
    let saw = world.upstream.last();
    assert_eq!((saw.header("cookie"), saw.header("authorization")), (Some("a=b"), None));
    assert_eq!(ask(&one, &two).await.status, 401);
    world.gateway.audit(|event| event["reason"] == "token_conflict").await;
    assert_eq!(client.get(&format!("/orders/7?x=1&access_token={one}")).send().await.status, 200);
    assert_eq!(world.upstream.last().target, "/orders/7?x=1");
    let _: Value = world.gateway.access(|line| line["path"] == "/orders/7").await;
}
