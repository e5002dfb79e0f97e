//! What nobody can guess is not limited: whoever sends wrong tokens and signatures makes nobody wait for a right one.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;

use crate::harness::{Client, Gateway};

const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[policies.new]
use = "jwt"
issuer = "https://id.example"
audience = ["https://api.example"]
algorithms = ["HS256"]
secret = "@NEW@"
@ATTEMPTS@

[policies.old]
use = "jwt"
issuer = "https://id.example"
audience = ["https://api.example"]
algorithms = ["HS256"]
secret = "@OLD@"
@ATTEMPTS@

[policies.events]
use = "hmac"
scheme = "timestamp"
timestamp = { preset = "github" }

[routes.orders]
paths = ["/orders"]
auth = ["new", "old"]
respond = { body = "ok" }

[routes.events]
paths = ["/events"]
methods = ["POST"]
auth = ["events"]
respond = { body = "ok" }

[[consumers.provider.credentials]]
use = "hmac"
id = "provider-1"
secret = "@OLD@"
"#;

const NEW: &str = "the new secret, of no less than thirty-two bytes";
const OLD: &str = "the old secret, of no less than thirty-two bytes";
const FORGED: &str = "a secret of nobody, of no less than 32 bytes";

async fn start(attempts: &str) -> Gateway {
    Gateway::builder(GATEWAY).set("NEW", NEW).set("OLD", OLD).set("ATTEMPTS", attempts).start().await
}

fn tag(secret: &str, message: &str) -> impl AsRef<[u8]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes()
}

/// A token of this number and subject, made with this secret.
fn token(secret: &str, number: usize, subject: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = json!({
        "iss": "https://id.example", "aud": "https://api.example", "sub": subject, "jti": number.to_string(),
        "iat": now, "exp": now + 600,
    });
    let encoded = |text: &str| BASE64URL.encode(text);
    let signed = format!("{}.{}", encoded(r#"{"alg":"HS256","typ":"JWT"}"#), encoded(&claims.to_string()));
    let signature = BASE64URL.encode(tag(secret, &signed));
    format!("{signed}.{signature}")
}

async fn status(client: &Client, token: &str) -> u16 {
    client.get("/orders").header("authorization", &format!("Bearer {token}")).send().await.status
}

#[tokio::test]
async fn a_right_token_is_taken_after_any_number_of_forged_ones() {
    let gateway = start("").await;
    let client = Client::http1(gateway.address(0));
    for number in 0..200 {
        let subject = if number % 2 == 0 { "alice" } else { "bob" };
        assert_eq!(status(&client, &token(FORGED, number, subject)).await, 401, "{number}");
    }
    assert_eq!(status(&client, &token(NEW, 200, "alice")).await, 200);
    assert_eq!(status(&client, &token(OLD, 201, "carol")).await, 200);
}

#[tokio::test]
async fn while_a_secret_is_rotated_neither_policy_counts_the_tokens_of_the_other() {
    for attempts in ["", "attempts = { per_principal = 2, per_address = 5 }"] {
        let gateway = start(attempts).await;
        let client = Client::http1(gateway.address(0));
        for number in 0..50 {
            assert_eq!(status(&client, &token(OLD, number, "alice")).await, 200, "{attempts} {number}");
        }
        assert_eq!(status(&client, &token(NEW, 50, "alice")).await, 200, "{attempts}");
        if !attempts.is_empty() {
            let mut last = 0;
            for number in 0..3 {
                last = status(&client, &token(FORGED, number, "alice")).await;
            }
            assert_eq!(last, 429, "where a policy has a limit, it holds");
        }
    }
}

/// A provider's webhooks come from addresses that many share.
#[tokio::test]
async fn an_event_is_taken_after_any_number_of_wrong_ones_from_the_same_address() {
    let gateway = start("").await;
    let client = Client::http1(gateway.address(0));
    let post = async |secret: &str, body: String| {
        let signature: String = tag(secret, &body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let asking = client.request("POST", "/events").header("x-hub-signature-256", &format!("sha256={signature}"));
        asking.body(body).send().await.status
    };
    for number in 0..20 {
        assert_eq!(post(FORGED, format!("{{\"event\":{number}}}")).await, 401);
    }
    assert_eq!(post(OLD, "{\"event\":20}".to_owned()).await, 200);
}
