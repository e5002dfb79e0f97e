//! `portcullis revoke`: what was granted a moment ago is refused now.

use serde_json::json;

use super::{World, now};
use crate::harness::{Output, portcullis};

/// A second policy that takes tokens of the issuer, and looks at no version.
const WITHOUT_VERSIONS: &str = r#"
[policies.others]
use = "jwt"
issuer = "@ISSUER@"
audience = ["https://others.example.com"]
algorithms = ["ES256"]
discovery = true

[routes.others]
paths = ["/others/{*rest}"]
upstream = "app"
auth = ["others"]
"#;

impl World {
    pub(super) async fn revoke(&self, arguments: &[&str]) {
        let output = self.revoked(&self.server.issuer(), arguments).await;
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output:?}");
    }

    async fn revoked(&self, issuer: &str, arguments: &[&str]) -> Output {
        let config = self.gateway.dir().join("portcullis.toml");
        let mut all = vec!["revoke", "-c", config.to_str().expect("a path"), "--issuer", issuer];
        all.extend(arguments);
        portcullis(&all, "").await
    }
}

#[tokio::test]
async fn a_token_that_is_revoked_stops_working_though_it_is_known() {
    let mut world = World::start("issue_tokens.mjs", &["ES256"]).await;
    let (one, other) = (world.token("ES256", json!({ "jti": "one" })), world.token("ES256", json!({ "jti": "other" })));
    assert_eq!((world.status(&one).await, world.status(&one).await, world.status(&other).await), (200, 200, 200));
    world.revoke(&["--token-id", "one"]).await;
    assert_eq!((world.status(&one).await, world.status(&other).await), (401, 200));
    world.gateway.audit(|event| event["reason"] == "token_revoked").await;
}

#[tokio::test]
async fn a_subject_s_tokens_from_before_are_revoked_and_those_from_after_are_not() {
    let mut world = World::start("issue_tokens.mjs", &["ES256"]).await;
    let before = world.token("ES256", json!({ "jti": "before", "iat": now() - 100 }));
    let bob = world.token("ES256", json!({ "jti": "bob", "sub": "bob", "iat": now() - 100 }));
    assert_eq!((world.status(&before).await, world.status(&bob).await), (200, 200));
    world.revoke(&["--subject", "alice", "--issued-before", "now"]).await;
    assert_eq!((world.status(&before).await, world.status(&bob).await), (401, 200));
    let after = world.token("ES256", json!({ "jti": "after", "iat": now() + 5 }));
    assert_eq!(world.status(&after).await, 200);
}

#[tokio::test]
async fn revocations_outlive_a_reload() {
    let mut world = World::start("issue_tokens.mjs", &["ES256"]).await;
    let token = world.token("ES256", json!({ "jti": "gone" }));
    world.revoke(&["--token-id", "gone"]).await;
    world.gateway.rewrite(&super::GATEWAY.replace("discovery = true", "discovery = true\nleeway = \"20s\""));
    assert_eq!(world.gateway.reload().await.code, 0);
    assert_eq!(world.status(&token).await, 401);
}

#[tokio::test]
async fn whoever_revokes_what_no_policy_heeds_is_warned_or_refused() {
    let mut world = World::start("issue_tokens.mjs", &["ES256"]).await;
    let issuer = world.server.issuer();
    let (old, new) = (world.token("ES256", json!({ "ver": 1 })), world.token("ES256", json!({ "ver": 2 })));
    let output = world.revoked(&format!("{issuer}/"), &["--all-tokens"]).await;
    assert!(output.code == 3 && output.stderr.contains("no policy takes tokens of the issuer"), "{output:?}");
    assert_eq!((world.status(&old).await, world.status(&new).await), (200, 200));
    // A policy that looks at no version takes every token for an old one, and would refuse new ones too.
    let versions = ["--subject", "alice", "--min-version", "2"];
    let output = world.revoked(&issuer, &versions).await;
    assert!(output.code == 2 && output.stderr.contains("looks at no version (`version_claim`)"), "{output:?}");
    assert!(output.stderr.contains("it would refuse all that speak of `alice`, new ones too"), "{output:?}");
    assert_eq!((world.status(&old).await, world.status(&new).await), (200, 200));
    // One policy that looks at versions does not make up for another that does not.
    let with_versions = super::GATEWAY.replace("discovery = true", "discovery = true\nversion_claim = \"ver\"");
    world.gateway.rewrite(&format!("{with_versions}{WITHOUT_VERSIONS}"));
    assert_eq!(world.gateway.reload().await.code, 0);
    let output = world.revoked(&issuer, &versions).await;
    assert!(output.code == 2 && output.stderr.contains("looks at no version"), "{output:?}");
    assert_eq!((world.status(&old).await, world.status(&new).await), (200, 200));
    // Of an issuer that nobody knows it can be written down beforehand.
    let output = world.revoked(&format!("{issuer}/"), &versions).await;
    assert!(output.code == 3 && output.stderr.contains("no policy takes tokens of the issuer"), "{output:?}");
    world.gateway.rewrite(&with_versions);
    assert_eq!(world.gateway.reload().await.code, 0);
    world.revoke(&versions).await;
    assert_eq!((world.status(&old).await, world.status(&new).await), (401, 200));
}
