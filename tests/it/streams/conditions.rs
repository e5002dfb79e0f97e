//! Streams are matched again by those headers that routes had conditions on when they began. The rest is gone by then.

use super::generations::watched;
use crate::harness::{Gateway, Upstream, WebSocket, eventually, key};

/// Routes that are chosen by the credential, which no upstream sees.
const BY_CREDENTIAL: &str = r#"
[routes.by-key]
paths = ["/chosen/{*rest}"]
headers = { "x-api-key" = true }
upstream = "app"
auth = ["keys"]

[routes.by-token]
paths = ["/chosen/{*rest}"]
headers = { "authorization" = true, "x-version" = "2" }
upstream = "app"
auth = ["bearer"]

[routes.by-nothing]
paths = ["/chosen/{*rest}"]
upstream = "app"
public = true
overlap = "accepted"

[policies.bearer]
use = "key-auth"
header = "authorization"
scheme = "Bearer"
"#;

async fn opened(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> WebSocket {
    let opened = WebSocket::open(gateway.address(0), path, headers).await;
    opened.unwrap_or_else(|refused| panic!("refused: {refused:?}"))
}

async fn assert_open(socket: &mut WebSocket, what: &str) {
    socket.send("still there").await;
    assert_eq!(socket.next().await.as_deref(), Some("still there"), "{what}");
}

/// The reason that the stream of this route has ended for.
async fn ended(gateway: &Gateway, route: &str) -> String {
    let line = gateway.access(|line| line["route"] == route && line["status"] == 101).await;
    line["reason"].as_str().expect("it says why").to_owned()
}

/// Puts the configuration into service, with all streams judged by it.
async fn reload(gateway: &Gateway, toml: &str, key: &str) {
    // One more stream, of which the end is seen: the judging is over then.
    let mut last = opened(gateway, "/app/last", &[("x-api-key", key)]).await;
    eventually("it has lasted for a second", async || gateway.metric("portcullis_open_streams").await == 4.0).await;
    gateway.rewrite(toml);
    let reloaded = gateway.reload().await;
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    assert_eq!(last.next().await, None);
}

#[tokio::test]
async fn a_stream_of_a_route_that_is_chosen_by_its_credential_outlives_a_reload() {
    let upstream = Upstream::start();
    let gateway = watched(&upstream).await;
    let (key, _) = key("acme");
    let with_routes = format!("{}{BY_CREDENTIAL}", gateway.configuration());
    let with_routes = ["acme", "other"].iter().fold(with_routes, |toml, name| {
        let id = format!("id = \"{name}-1\"\n");
        toml.replace(&id, &format!("{id}policies = \"any\"\n"))
    });
    gateway.rewrite(&with_routes);
    let reloaded = gateway.reload().await;
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    let bearer = format!("Bearer {key}");
    let mut by_key = opened(&gateway, "/chosen/1", &[("x-api-key", &key)]).await;
    let mut by_token = opened(&gateway, "/chosen/2", &[("authorization", &bearer), ("x-version", "2")]).await;
    let mut by_nothing = opened(&gateway, "/chosen/3", &[("x-version", "2")]).await;
    let seen = upstream.saw();
    assert!(seen.iter().all(|saw| saw.header("x-api-key").is_none() && saw.header("authorization").is_none()));
    // Of these three, nothing has changed.
    reload(&gateway, &with_routes.replace("[routes.app]", "[routes.renamed]"), &key).await;
    assert_open(&mut by_key, "by its key").await;
    assert_open(&mut by_token, "by its token").await;
    assert_open(&mut by_nothing, "by nothing").await;
    // A condition that it does not meet leads elsewhere.
    gateway.rewrite(&with_routes.replace("\"x-version\" = \"2\"", "\"x-version\" = \"3\""));
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!(by_token.next().await, None);
    assert_eq!(ended(&gateway, "by-token").await, "route_withdrawn");
    assert_open(&mut by_key, "by its key").await;
}

#[tokio::test]
async fn a_new_route_with_a_condition_that_a_stream_might_meet_ends_it() {
    let upstream = Upstream::start();
    let gateway = watched(&upstream).await;
    let (key, _) = key("acme");
    // A public route beside one that asks for a key has to be meant.
    let original = gateway.configuration().replace("[routes.open]", "[routes.open]\noverlap = \"accepted\"");
    gateway.rewrite(&original);
    assert_eq!(gateway.reload().await.code, 0);
    let inner = [("x-tenant", "inner")];
    let mut met = opened(&gateway, "/open/tenants/1", &inner).await;
    let mut elsewhere = opened(&gateway, "/open/others/1", &inner).await;
    let mut other = opened(&gateway, "/open/others/2", &[]).await;
    let stricter = r#"
[routes.stricter]
paths = ["/open/tenants/{*rest}"]
headers = { "x-tenant" = "inner" }
upstream = "app"
auth = ["keys"]
"#;
    reload(&gateway, &format!("{}{stricter}", original.replace("[routes.app]", "[routes.renamed]")), &key).await;
    assert_eq!(met.next().await, None, "a new request would need a key");
    let event = gateway.audit(|event| event["event"] == "stream_ended" && event["route"] == "open").await;
    assert_eq!(event["reason"], "route_withdrawn", "{event}");
    assert!(event["detail"].as_str().is_some_and(|detail| detail.contains("`x-tenant`")), "{event}");
    assert_open(&mut elsewhere, "another path").await;
    assert_open(&mut other, "another path").await;
    // From now on the header is kept, and the answer is known.
    let mut kept = opened(&gateway, "/open/tenants/2", &[("x-tenant", "outer")]).await;
    let strictest = stricter.replace("\"inner\" }", "\"innermost\" }");
    gateway.rewrite(&format!("{original}{strictest}"));
    assert_eq!(gateway.reload().await.code, 0);
    gateway.rewrite(&format!("{original}{}", strictest.replace("innermost", "outer")));
    assert_open(&mut kept, "not yet met").await;
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!(kept.next().await, None, "it is met now");
}
