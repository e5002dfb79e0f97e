//! Rules over real requests: what they refuse, and what the log says about it.

use crate::harness::{Client, Gateway, LIMIT, key};

const GATEWAY: &str = r#"
[[listeners]]
address = "127.0.0.1:0"

[policies.keys]
use = "key-auth"

[policies.own-tenant]
use = "rules"
require = ["identity.tenant == request.path_params.tenant"]

[routes.tenants]
paths = ["/tenants/{tenant}"]
auth = ["keys"]
plugins = ["own-tenant"]
respond = { body = "ok" }

[consumers.acme]
credentials = [{ use = "key-auth", id = "acme-1", sha256 = "@ACME@" }]
"#;

#[tokio::test]
async fn a_rule_that_gives_no_answer_is_found_by_the_id_of_the_request() {
    let gateway = Gateway::builder(GATEWAY).set("ACME", &key("acme").1).start().await;
    let client = Client::http1(gateway.address(0));
    // The consumer has no tenant to compare.
    let answer = client.get("/tenants/acme").header("x-api-key", &key("acme").0).send().await;
    assert_eq!(answer.status, 403);
    let id = answer.header("x-request-id").expect("the refusal names it");
    let line = gateway.wait_line(|line| line["event"] == "log" && line["request_id"] == id, LIMIT).await;
    assert_eq!((&line["policy"], &line["route"]), (&"own-tenant".into(), &"tenants".into()));
    assert_eq!(line["message"], "a rule refused: require[0]: `identity.tenant` has no value, or none that can be read");
}
