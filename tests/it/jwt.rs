//! Tokens: issued by libraries that are none of ours, checked by the real binary, witnessed by an upstream.

mod identity_server;
mod keys;
mod permissions;
mod refused;
mod revoked;
mod streams;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use self::identity_server::IdentityServer;
use crate::harness::{Client, Gateway, GatewayBuilder, Peer, Upstream, key};

const AUDIENCE: &str = "https://api.example.com";

const GATEWAY: &str = r#"
[server]
control = "@DIR@/control.sock"

[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.tokens]
use = "jwt"
issuer = "@ISSUER@"
audience = ["https://api.example.com"]
algorithms = ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"]
discovery = true
identity = { tenant = "tenant" }
headers = { "x-department" = "department" }

[routes.orders]
paths = ["/orders/{*rest}"]
upstream = "app"
auth = ["tokens"]
"#;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// The claims of a token that is good for an hour, changed by `change`: a claim that becomes `null` is left out.
fn claims(issuer: &str, change: Value) -> Value {
    let mut claims = json!({
        "iss": issuer, "aud": AUDIENCE, "sub": "alice", "azp": "shop", "jti": "t-1", "iat": now(), "exp": now() + 3600,
        "scope": "orders:read orders:write", "roles": ["clerk"], "tenant": "acme",
    });
    let all = claims.as_object_mut().expect("an object");
    let Value::Object(change) = change else { panic!("claims are an object") };
    all.extend(change);
    all.retain(|_, value| !value.is_null());
    claims
}

/// The gateway of this file with its upstream, an identity server and somebody who issues tokens for it.
struct World {
    gateway: Gateway,
    upstream: Upstream,
    server: IdentityServer,
    issuer: Peer,
}

impl World {
    /// With a key of this kind that is called like its algorithm, from the issuer that this script is.
    async fn start(script: &str, algorithms: &[&str]) -> Self {
        Self::with(GATEWAY, script, algorithms, |builder| builder).await
    }

    async fn with(
        toml: &str,
        script: &str,
        algorithms: &[&str],
        change: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
    ) -> Self {
        let mut issuer = Peer::start(script);
        let keys: Vec<Value> = algorithms.iter().map(|alg| json!({ "kid": alg, "alg": alg })).collect();
        let answer = issuer.ask(&json!({ "keys": keys }));
        let server = IdentityServer::start(&answer["jwks"]);
        let upstream = Upstream::start();
        let builder = Gateway::builder(toml).set("UPSTREAM", &upstream.address()).set("ISSUER", &server.issuer());
        let gateway = change(builder).start().await;
        Self { gateway, upstream, server, issuer }
    }

    /// A token with these claims in the place of the usual ones, signed by the key of that name.
    fn token(&mut self, kid: &str, change: Value) -> String {
        let claims = claims(&self.server.issuer(), change);
        let tokens = json!([{ "name": "token", "kid": kid, "claims": claims }]);
        let answer = self.issuer.ask(&json!({ "tokens": tokens }));
        answer["tokens"]["token"].as_str().expect("a token").to_owned()
    }

    /// The status of a request with this token.
    async fn status(&self, token: &str) -> u16 {
        let client = Client::http1(self.gateway.address(0));
        client.get("/orders/7").header("authorization", &format!("Bearer {token}")).send().await.status
    }
}

#[tokio::test]
async fn the_upstream_learns_what_the_token_says_whoever_issued_it() {
    for script in ["issue_tokens.mjs", "issue_tokens.py"] {
        let algorithms = ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"];
        let mut world = World::start(script, &algorithms).await;
        for algorithm in algorithms {
            let token = world.token(algorithm, json!({ "department": "sales,eu", "jti": algorithm }));
            for client in [Client::http1(world.gateway.address(0)), Client::http1(world.gateway.address(0))] {
                let asking = client.get("/orders/7").header("authorization", &format!("bearer {token}"));
                let asking =
                    asking.header("x-user-id", "root").header("x-department", "board").header("X_Department", "x");
                let answer = asking.send().await;
                assert_eq!(answer.status, 200, "{script} {algorithm}: {}", world.gateway.output());
                let saw = world.upstream.last();
                let header = |name| saw.header(name);
                assert_eq!(header("x-user-id"), Some("alice"));
                assert_eq!(header("x-client-id"), Some("shop"));
                assert_eq!(header("x-tenant-id"), Some("acme"));
                assert_eq!(header("x-user-roles"), Some("clerk"));
                assert_eq!(header("x-scopes"), Some("orders:read orders:write"));
                assert_eq!(header("x-auth-method"), Some("jwt"));
                assert_eq!(header("x-department"), Some("sales%2Ceu"), "claims that are asked for, encoded");
                assert_eq!((header("authorization"), header("x_department"), header("x-consumer")), (None, None, None));
            }
        }
        assert_eq!(world.server.fetches(), 1, "one fetch serves all keys and all tokens");
        let event = world.gateway.audit(|event| event["result"] == "granted").await;
        assert_eq!((&event["subject"], &event["tenant"]), (&"alice".into(), &"acme".into()), "{event}");
        assert_eq!(event["issuer"], world.server.issuer());
    }
}

#[tokio::test]
async fn a_claim_that_is_absent_leaves_no_header_of_the_client() {
    let mut world = World::start("issue_tokens.mjs", &["ES256"]).await;
    let absent = json!({ "sub": null, "azp": null, "tenant": null, "roles": null, "scope": null });
    let token = world.token("ES256", absent);
    let client = Client::http1(world.gateway.address(0));
    let mut asking = client.get("/orders/7").header("authorization", &format!("Bearer {token}"));
    let names = ["x-user-id", "x-client-id", "x-tenant-id", "x-user-roles", "x-scopes", "x-department", "x-user-email"];
    for name in names {
        asking = asking.header(name, "root");
    }
    assert_eq!(asking.send().await.status, 200);
    for name in names {
        assert_eq!(world.upstream.last().header(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_token_is_kept_back_from_the_upstream_and_from_every_log() {
    let toml = format!("{GATEWAY}\n[log]\nlevel = \"debug\"\n");
    let mut world = World::with(&toml, "issue_tokens.mjs", &["RS256"], |builder| builder).await;
    let good = world.token("RS256", json!({}));
    let wrong = world.token("RS256", json!({ "aud": "https://elsewhere.example.com" }));
    assert_eq!((world.status(&good).await, world.status(&wrong).await), (200, 401));
    world.gateway.audit(|event| event["reason"] == "audience_mismatch").await;
    for token in [&good, &wrong] {
        for part in token.split('.').skip(1) {
            assert!(!world.gateway.output().contains(part), "a part of a token in a log");
        }
    }
    assert!(!format!("{:?}", world.upstream.saw()).contains(good.split('.').nth(2).expect("a signature")));
}

#[tokio::test]
async fn a_key_and_a_token_share_bearer_and_one_consumer_moves_from_one_to_the_other() {
    let toml = GATEWAY.replace(
        "auth = [\"tokens\"]",
        "auth = [\"keys\", \"tokens\"]\nplugins = [{ use = \"consumer-restriction\", allow = [{ consumers = [\"acme\"] }] }]",
    ) + r#"
[policies.keys]
use = "key-auth"
header = "authorization"
scheme = "Bearer"

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-key"
sha256 = "@SHA256@"

[[consumers.acme.credentials]]
use = "jwt"
id = "acme-token"
subject = "alice"
"#;
    let (key, sha256) = key("acme");
    let mut world = World::with(&toml, "issue_tokens.py", &["ES256"], |builder| builder.set("SHA256", &sha256)).await;
    let token = world.token("ES256", json!({}));
    for (credential, id, method) in [(&key, "acme-key", "key-auth"), (&token, "acme-token", "jwt")] {
        assert_eq!(world.status(credential).await, 200, "{}", world.gateway.output());
        let saw = world.upstream.last();
        assert_eq!((saw.header("x-consumer"), saw.header("x-credential-id")), (Some("acme"), Some(id)));
        assert_eq!((saw.header("x-auth-method"), saw.header("authorization")), (Some(method), None));
    }
    let stranger = world.token("ES256", json!({ "sub": "bob" }));
    assert_eq!(world.status(&stranger).await, 403, "a token of nobody we know is not acme");
    assert!(!world.gateway.lines().iter().any(|line| line["reason"] == "key_unknown"), "no failure: another granted");
    // The key is taken out; the token goes on.
    world.gateway.rewrite(&toml.replace("id = \"acme-key\"", "id = \"acme-key\"\nenabled = false"));
    assert_eq!(world.gateway.reload().await.code, 0);
    assert_eq!((world.status(&key).await, world.status(&token).await), (401, 200));
}

#[tokio::test]
async fn a_stream_ends_with_the_token_that_opened_it() {
    let mut world = World::start("issue_tokens.mjs", &["EdDSA"]).await;
    let token = world.token("EdDSA", json!({ "exp": now() + 2 }));
    let client = Client::http1(world.gateway.address(0));
    let asking = client.get("/orders/held").header("authorization", &format!("Bearer {token}"));
    let mut opened = asking.open().await;
    assert_eq!(opened.status(), 200);
    world.upstream.send("first");
    assert!(opened.next().await.is_some());
    let ended = world.gateway.wait_line(
        |line| line["error"].as_str().is_some_and(|error| error.contains("expired")),
        Duration::from_secs(40),
    );
    ended.await;
}
