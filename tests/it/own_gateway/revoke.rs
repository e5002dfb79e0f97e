//! `portcullis revoke`: what was revoked is refused from the next request on, by a gateway that goes on running.

use super::program;
use crate::harness::{Asking, Client, Gateway, Output, Upstream, program as run};

const GATEWAY: &str = r#"
[server]
control = "@DIR@/control.sock"

[[listeners]]
address = "127.0.0.1:0"

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.badges]
use = "badge"

[routes.app]
paths = ["/{*rest}"]
upstream = "app"
auth = ["badges"]
"#;

const ISSUER: &str = "https://id.example";

async fn start() -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(GATEWAY).program(program()).set("UPSTREAM", &upstream.address()).start().await;
    (gateway, upstream)
}

/// Revokes at this gateway, as its operator would.
async fn revoke(gateway: &Gateway, arguments: &[&str]) -> Output {
    let config = gateway.dir().join("portcullis.toml").display().to_string();
    let said = [&["revoke", "--issuer", ISSUER], arguments, &["-c", &config]].concat();
    run(program(), &said, "").await
}

/// Who shows a badge with these claims.
fn claiming<'c>(client: &'c Client, subject: &str, claims: &str) -> Asking<'c> {
    client.get("/1").header("x-badge", subject).header("x-badge-claims", claims)
}

async fn status(client: &Client, subject: &str, claims: &str) -> u16 {
    claiming(client, subject, claims).send().await.status
}

#[tokio::test]
async fn what_is_revoked_is_refused_at_once() {
    let (gateway, _upstream) = start().await;
    let client = Client::http1(gateway.address(0));
    let (old, new) = (r#"{"jti":"1","iat":1000,"ver":3}"#, r#"{"jti":"2","iat":99999999999,"ver":4}"#);
    let seen = async |subject: &str| (status(&client, subject, old).await, status(&client, subject, new).await);
    assert_eq!(seen("alice").await, (200, 200));

    let done = revoke(&gateway, &["--token-id", "1", "--for", "1h"]).await;
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{done:?}");
    let said = done.stdout.lines().collect::<Vec<_>>();
    assert!(said[0] == "revoked: the token `1` of `https://id.example`", "{done:?}");
    assert!(said[1].starts_with("the gateway remembers it for 1h, until 20"), "{done:?}");
    assert_eq!(seen("alice").await, (401, 200), "one token");
    let refused = gateway.audit(|event| event["reason"] == "token_revoked").await;
    assert_eq!(refused["result"], "denied");

    assert_eq!(status(&client, "bob", r#"{"iat":1000}"#).await, 200);
    assert_eq!(revoke(&gateway, &["--subject", "bob"]).await.code, 0);
    assert_eq!(status(&client, "bob", r#"{"iat":1000}"#).await, 401, "issued before now");
    assert_eq!(status(&client, "bob", new).await, 200, "issued later");

    let until = ["--subject", "carol", "--issued-before", "2001-09-09T01:46:40Z"];
    let done = revoke(&gateway, &until).await;
    let told = "revoked: tokens of `https://id.example` for `carol` that were issued until 2001-09-09T01:46:40Z\n";
    assert!(done.code == 0 && done.stdout.starts_with(told), "{done:?}");
    for (issued, status_of_it) in [(999_999_999, 401), (1_000_000_000, 401), (1_000_000_001, 200)] {
        assert_eq!(status(&client, "carol", &format!("{{\"iat\":{issued}}}")).await, status_of_it, "{issued}");
    }

    assert_eq!(revoke(&gateway, &["--subject", "dave", "--min-version", "4"]).await.code, 0);
    let versions = async |version: u64| status(&client, "dave", &format!("{{\"ver\":{version}}}")).await;
    assert_eq!((versions(3).await, versions(4).await), (401, 200));

    // A reload forgets nothing.
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!((versions(3).await, status(&client, "bob", r#"{"iat":1000}"#).await), (401, 401));

    assert_eq!(revoke(&gateway, &["--all-tokens"]).await.code, 0);
    assert_eq!((status(&client, "erin", r#"{"iat":1000}"#).await, status(&client, "erin", new).await), (401, 200));
}

#[tokio::test]
async fn it_is_on_record_who_revoked_what() {
    let (gateway, _upstream) = start().await;
    assert_eq!(revoke(&gateway, &["--subject", "bob", "--issued-before", "2001-09-09T01:46:40Z"]).await.code, 0);
    let line = gateway.wait_line(|line| line["event"] == "revocation", crate::harness::LIMIT).await;
    assert_eq!((line["issuer"].as_str(), line["subject"].as_str()), (Some(ISSUER), Some("bob")));
    assert_eq!((line["issued_until"].as_str(), line["keep_s"].as_u64()), (Some("2001-09-09T01:46:40Z"), Some(86_400)));
    assert!(line["user"].is_u64() && line["level"] == "info", "{line}");
}

#[tokio::test]
async fn what_nobody_heeds_is_written_down_with_a_warning() {
    let (gateway, _upstream) = start().await;
    let config = gateway.dir().join("portcullis.toml").display().to_string();
    let issuer = "https://id.exmaple\u{1b}[2J";
    let done = run(program(), &["revoke", "--issuer", issuer, "--all-tokens", "-c", &config], "").await;
    assert!(
        done.code == 3 && done.stdout.starts_with("revoked: all tokens of `https://id.exmaple\\u{1b}[2J`"),
        "{done:?}"
    );
    assert!(done.stderr.starts_with("warning: it has no effect: no policy takes tokens of the issuer"), "{done:?}");
    assert!(!done.stderr.contains('\u{1b}') && !done.stdout.contains('\u{1b}'), "{done:?}");
    let line = gateway.wait_line(|line| line["event"] == "revocation", crate::harness::LIMIT).await;
    assert_eq!((&line["level"], &line["issuer"]), (&"warn".into(), &issuer.into()));
    assert!(line["warning"].as_str().is_some_and(|why| why.contains("no policy takes tokens")), "{line}");
}

fn in_seconds(seconds: i64) -> String {
    let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    time.to_string()
}

#[tokio::test]
async fn what_makes_no_sense_revokes_nothing() {
    let (gateway, _upstream) = start().await;
    for (arguments, word) in [
        (&[][..], "--token-id"),
        (&["--token-id", "1", "--subject", "bob"], "--subject"),
        (&["--subject", "bob", "--all-tokens"], "--all-tokens"),
        (&["--min-version", "3", "--all-tokens"], "--"),
        (&["--token-id", "1", "--issued-before", "now"], "--issued-before"),
        (&["--subject", "bob", "--min-version", "3", "--issued-before", "now"], "--min-version"),
        (&["--subject", "bob", "--issued-before", "yesterday"], "yesterday"),
        (&["--subject", "bob", "--issued-before", "2226-11-25T10:00:00Z"], "it lies ahead"),
        (&["--all-tokens", "--issued-before", &in_seconds(400)], "it lies ahead"),
        (&["--subject", "bob", "--for", "0s"], "shorter"),
        (&["--subject", "bob", "--for", "soon"], "soon"),
        (&["--subject", "bob", "--for", "100y"], "ten years"),
        (&["--subject", "bob", "--min-version", "-1"], "--"),
    ] {
        let refused = revoke(&gateway, arguments).await;
        assert!(refused.code == 2 && refused.stderr.contains(word), "{arguments:?}: {refused:?}");
    }
    // Clocks differ.
    assert_eq!(revoke(&gateway, &["--subject", "carol", "--issued-before", &in_seconds(200)]).await.code, 0);
    // Another configuration is another gateway's.
    let socket = gateway.dir().join("control.sock").display().to_string();
    let arguments = ["revoke", "--issuer", ISSUER, "--token-id", "1", "--socket", &socket, "-c", "/nonexistent.toml"];
    let refused = run(program(), &arguments, "").await;
    assert!(refused.code == 1 && refused.stderr.contains("nothing is revoked"), "{refused:?}");
    let long = "a".repeat(20_000);
    let refused = revoke(&gateway, &["--subject", &long]).await;
    assert!(refused.code == 1 && refused.stderr.contains("too long"), "{}", refused.code);
    let client = Client::http1(gateway.address(0));
    assert_eq!(status(&client, "bob", r#"{"jti":"1","iat":1000}"#).await, 200);
    // Nobody there.
    assert_eq!(revoke(&gateway, &["--token-id", "1", "--socket", "/nonexistent.sock"]).await.code, 1);
}
