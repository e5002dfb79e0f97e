//! What a caller may do, by what its token says: scopes, roles, claims, rules.

use serde_json::{Value, json};

use super::{GATEWAY, World};
use crate::harness::{Client, Response};

const ROUTES: &str = r#"
[routes.scoped]
paths = ["/scoped/{*rest}"]
upstream = "app"
auth = ["tokens"]
plugins = [{ use = "scopes", per_method = [
    { methods = ["GET"], all = ["orders:read"] },
    { methods = ["POST"], all = ["orders:read", "orders:write"] },
] }]

[routes.staff]
paths = ["/staff"]
upstream = "app"
auth = ["tokens"]
plugins = [{ use = "roles", any = ["admin", "clerk"] }]

[routes.sales]
paths = ["/sales"]
upstream = "app"
auth = ["tokens"]
plugins = [{ use = "claims", all = [{ claim = "department", equals = "sales" }] }]

[routes.tenants]
paths = ["/tenants/{tenant}/{*rest}"]
upstream = "app"
auth = ["tokens"]
plugins = [{ use = "rules", require = ["identity.tenant == request.path_params.tenant"] }]
"#;

impl World {
    async fn ask(&mut self, method: &str, target: &str, change: Value) -> Response {
        let token = self.token("ES256", change);
        let client = Client::http1(self.gateway.address(0));
        client.request(method, target).header("authorization", &format!("Bearer {token}")).send().await
    }
}

async fn start() -> World {
    World::with(&format!("{GATEWAY}{ROUTES}"), "issue_tokens.py", &["ES256"], |builder| builder).await
}

#[tokio::test]
async fn a_scope_that_is_missing_is_403_and_the_client_is_told_which() {
    let mut world = start().await;
    let reads = || json!({ "scope": "orders:read" });
    for method in ["GET", "HEAD"] {
        assert_eq!(world.ask(method, "/scoped/1", reads()).await.status, 200, "{method}");
    }
    let answer = world.ask("POST", "/scoped/1", reads()).await;
    assert_eq!(answer.status, 403);
    // RFC 6750 section 3.1.
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.starts_with("Bearer realm=\"scoped\", error=\"insufficient_scope\""), "{challenge}");
    assert!(challenge.contains("scope=\"orders:read orders:write\""), "{challenge}");
    let event = world.gateway.audit(|event| event["reason"] == "scope_missing" && event["subject"] == "alice").await;
    assert_eq!(event["detail"], "needs all of orders:read, orders:write");
    assert!(!answer.text().contains("needs all of"), "the client is not told: {}", answer.text());
    assert_eq!(world.ask("POST", "/scoped/1", json!({ "scope": ["orders:read", "orders:write"] })).await.status, 200);
    // A method that no entry names is refused, and a scope that only contains the right one is another.
    assert_eq!(world.ask("DELETE", "/scoped/1", json!({})).await.status, 403);
    assert_eq!(world.ask("GET", "/scoped/1", json!({ "scope": "orders:readonly my-orders:read" })).await.status, 403);
    assert_eq!(world.ask("GET", "/scoped/1", json!({ "scope": null })).await.status, 403);
}

#[tokio::test]
async fn roles_and_claims_decide() {
    let mut world = start().await;
    for (target, change, status) in [
        ("/staff", json!({ "roles": ["clerk"] }), 200),
        ("/staff", json!({ "roles": ["guest"] }), 403),
        ("/staff", json!({ "roles": null }), 403),
        ("/sales", json!({ "department": "sales" }), 200),
        ("/sales", json!({ "department": "Sales" }), 403),
        ("/sales", json!({ "department": ["sales"] }), 403),
        ("/sales", json!({}), 403),
    ] {
        assert_eq!(world.ask("GET", target, change.clone()).await.status, status, "{target} {change}");
    }
    for (reason, detail) in [("role_missing", "needs one of admin, clerk"), ("claim_mismatch", "claim department")] {
        assert_eq!(world.gateway.audit(|event| event["reason"] == reason).await["detail"], detail);
    }
    let told_of = |line: &&Value| line.get("detail").is_some() && line["event"] != "authorization";
    assert_eq!(world.gateway.lines().iter().find(told_of), None, "the audit trail alone has it");
}

#[tokio::test]
async fn a_tenant_reaches_its_own_paths_alone() {
    let mut world = start().await;
    for (target, change, status) in [
        ("/tenants/acme/orders", json!({ "tenant": "acme" }), 200),
        ("/tenants/%61cme/orders", json!({ "tenant": "acme" }), 200),
        ("/tenants/globex/orders", json!({ "tenant": "acme" }), 403),
        ("/tenants/ACME/orders", json!({ "tenant": "acme" }), 403),
        ("/tenants/acme/orders", json!({ "tenant": null }), 403),
        ("/tenants/null/orders", json!({ "tenant": null }), 403),
    ] {
        assert_eq!(world.ask("GET", target, change.clone()).await.status, status, "{target} {change}");
    }
    let event = world.gateway.audit(|event| event["reason"] == "rule_denied").await;
    assert_eq!(event["detail"], "require[0]");
    assert_eq!(world.upstream.requests(), 2);
}
