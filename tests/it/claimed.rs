//! Who a denied attempt said it was: in the audit log, apart from who it was, and harmless whatever it is.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use crate::harness::{Client, Gateway, key, portcullis, raw};

const GATEWAY: &str = r#"
[[listeners]]
address = "127.0.0.1:0"

[policies.keys]
use = "key-auth"

[policies.passwords]
use = "basic-auth"
attempts = false

[policies.tokens]
use = "jwt"
issuer = "https://id.example"
audience = ["https://api.example"]
algorithms = ["HS256"]
secret = "a secret of no less than thirty-two bytes"
attempts = { per_principal = 2, per_address = 1000, window = "15m" }

[policies.signatures]
use = "hmac"
scheme = "timestamp"
attempts = false

[routes.keys]
paths = ["/keys"]
auth = ["keys"]
respond = { body = "ok" }

[routes.passwords]
paths = ["/passwords"]
auth = ["passwords"]
respond = { body = "ok" }

[routes.tokens]
paths = ["/tokens"]
auth = ["tokens"]
respond = { body = "ok" }

[routes.signatures]
paths = ["/signatures"]
auth = ["signatures"]
respond = { body = "ok" }

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-late"
sha256 = "@LATE@"
expires = 2020-01-01T00:00:00Z

[[consumers.acme.credentials]]
use = "basic-auth"
id = "acme-ci"
username = "ci"
@HASH@

[[consumers.acme.credentials]]
use = "hmac"
id = "acme-signing"
secret = "another secret of no less than thirty-two bytes"
"#;

/// Of an hour that is over, and of nothing.
const TIME: &str = "2026-01-01T10:00:00Z";
const SIGNATURE: &str = "hmac-sha256=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

async fn start() -> Gateway {
    let hash = portcullis(&["password", "hash"], "correct: horse, battery\n").await;
    let builder = Gateway::builder(GATEWAY).set("LATE", &key("late").1).set("HASH", hash.stdout.trim());
    builder.start().await
}

/// The audit event of a request that is refused.
async fn refused(gateway: &Gateway, target: &str, headers: &[(&str, &str)]) -> Value {
    let client = Client::http1(gateway.address(0));
    let asking = headers.iter().fold(client.get(target), |asking, (name, value)| asking.header(name, value));
    let answer = asking.send().await;
    assert!(answer.status == 401 || answer.status == 429, "{target}: {}", answer.status);
    let id = answer.header("x-request-id").expect("a refusal has it").to_owned();
    gateway.audit(|event| event["request_id"] == id.as_str() && event["event"] == "authentication").await
}

fn basic(login: impl AsRef<[u8]>) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(login))
}

/// A token that says this, with a signature that is none of it.
fn token(claims: &Value) -> String {
    let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("Bearer {header}.{claims}.{}", BASE64_URL_SAFE_NO_PAD.encode([7; 32]))
}

#[tokio::test]
async fn a_denied_attempt_names_who_was_claimed_and_not_who_it_was() {
    let gateway = start().await;
    let signed = |key_id| [("x-key-id", key_id), ("x-timestamp", TIME), ("x-signature", SIGNATURE)];
    let by = |subject: &str| json!({ "iss": "https://id.example", "sub": subject, "aud": "https://api.example" });
    for (target, headers, reason, claimed) in [
        ("/passwords", &[("authorization", &*basic("ci:wrong horse"))][..], "password_wrong", json!({ "user": "ci" })),
        ("/passwords", &[("authorization", &basic("nobody:x"))], "password_wrong", json!({ "user": "nobody" })),
        (
            "/tokens",
            &[("authorization", &token(&by("alice")))],
            "signature_invalid",
            json!({ "subject": "alice", "issuer": "https://id.example" }),
        ),
        (
            "/tokens",
            &[("authorization", &token(&json!({ "iss": "https://evil.example", "sub": "alice" })))],
            "issuer_unknown",
            json!({ "subject": "alice", "issuer": "https://evil.example" }),
        ),
        ("/tokens", &[("authorization", &token(&json!({ "sub": 7 })))], "issuer_unknown", Value::Null),
        ("/signatures", &signed("acme-signing"), "signature_stale", json!({ "key_id": "acme-signing" })),
        ("/keys", &[("x-api-key", "sk_of_nobody_that_is_a_secret_of_its_own")], "key_unknown", Value::Null),
        ("/keys", &[], "credential_absent", Value::Null),
    ] {
        let event = refused(&gateway, target, headers).await;
        assert_eq!((&event["reason"], &event["claimed"]), (&reason.into(), &claimed), "{target}: {event}");
        for proven in ["consumer", "subject", "issuer", "credential_id"] {
            assert!(event.get(proven).is_none(), "{proven} was not proven: {event}");
        }
    }
    // Attempts that are not even looked at, too.
    refused(&gateway, "/tokens", &[("authorization", &token(&by("bob")))]).await;
    refused(&gateway, "/tokens", &[("authorization", &token(&json!({ "iss": "https://id.example", "sub": "bob" })))])
        .await;
    let event = refused(&gateway, "/tokens", &[("authorization", &token(&by("bob")))]).await;
    assert_eq!((&event["reason"], &event["claimed"]["subject"]), (&"too_many_attempts".into(), &"bob".into()));
    // Whose credential is known needs no claim.
    let event = refused(&gateway, "/keys", &[("x-api-key", &key("late").0)]).await;
    assert_eq!((&event["consumer"], event.get("claimed")), (&"acme".into(), None));
    for secret in ["horse", "sk_of_nobody", &key("late").0, &basic("ci:wrong horse")[6..]] {
        assert!(!gateway.output().contains(secret), "{secret} in\n{}", gateway.output());
    }
}

#[tokio::test]
async fn hostile_names_do_no_harm_to_the_line() {
    let gateway = start().await;
    let hostile = "\"},\"consumer\":\"root\n\r\t\u{0}\u{1b}[2J\u{7f}\u{85}\u{202e}\\é";
    let long = hostile.repeat(4096 / hostile.len() + 1);
    for name in [hostile, &long, &"x".repeat(4096), "\u{1f600}", ""] {
        let claims = json!({ "iss": "https://evil.example", "sub": name });
        let event = refused(&gateway, "/tokens", &[("authorization", &token(&claims))]).await;
        let told = event["claimed"]["subject"].as_str().unwrap_or_default();
        assert!(name.starts_with(told) && told.len() <= 256, "{event}");
        assert!(told.len() > 252 || told.len() == name.len(), "{event}");
        assert_eq!(event.get("consumer"), None);
        // What no password can go with says nothing of a user.
        let event = refused(&gateway, "/passwords", &[("authorization", &basic(format!("{name}:x")))]).await;
        let is_name = !name.is_empty() && name.len() <= 256 && !name.contains(char::is_control);
        assert_eq!(event["claimed"]["user"].as_str(), is_name.then_some(name), "{event}");
    }
    let quoted = refused(&gateway, "/passwords", &[("authorization", &basic("a\"b\\c:x"))]).await;
    assert_eq!(quoted["claimed"]["user"], "a\"b\\c");
    let broken = refused(&gateway, "/passwords", &[("authorization", &basic(b"c\xff\xfei:x"))]).await;
    assert_eq!((&broken["reason"], broken.get("claimed")), (&"basic_malformed".into(), None));
    for key_id in [&b"\"a\\\xc3\x28\xff"[..], &[b'k'; 4096]] {
        let mut request = b"GET /signatures HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Key-Id: ".to_vec();
        request.extend_from_slice(key_id);
        request.extend_from_slice(format!("\r\nX-Timestamp: {TIME}\r\nX-Signature: {SIGNATURE}\r\n\r\n").as_bytes());
        assert!(raw(gateway.address(0), &request).await.starts_with(b"HTTP/1.1 401 "));
    }
    gateway.audit(|event| event["route"] == "signatures").await;
    for line in gateway.output().lines() {
        assert!(!line.contains(char::is_control) && line.len() < 8192, "{line}");
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}
