//! The scheme in a policy, with keys, clock and store.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use portcullis_plugin::{Authenticate, testing::Build};

use super::{PRESETS, Sent};
use crate::{Hmac, SigningCredential, signing::outcome};

const NOW: i64 = 1_800_000_000;
const OLD: &str = "an-old-secret-of-32-bytes-or-more";
const NEW: &str = "a-newer-secret-of-32-bytes-or-more";

fn hook(settings: &str, secrets: &[&str]) -> Arc<dyn Authenticate> {
    let mut build = Build::new();
    for (index, secret) in secrets.iter().enumerate() {
        let own: SigningCredential = toml::from_str(&format!("secret = {secret:?}")).unwrap();
        build = build.credential::<Hmac>("acme", &format!("acme-{}", index + 1), own, |_| {});
    }
    let hooks = build.plugin::<Hmac>(toml::from_str(&format!("scheme = \"timestamp\"\n{settings}")).unwrap());
    assert_eq!(build.problems, []);
    hooks.unwrap().authenticate.unwrap()
}

fn tag(secret: &[u8], message: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes())
}

/// A client of the plain form.
fn plain(secret: &str, key_id: Option<&str>) -> Sent {
    let digest = crate::body::Hash::Sha256.hex_of(b"body");
    let tag = tag(secret.as_bytes(), &format!("POST\n/orders?a=1\n{NOW}\n{digest}"));
    let sent = Sent::parse("POST /orders?a=1 HTTP/1.1\nHost: a\n\nbody").header("x-timestamp", &NOW.to_string());
    let sent = key_id.into_iter().fold(sent, |sent, key_id| sent.header("x-key-id", key_id));
    sent.header("x-signature", &format!("hmac-sha256={}", BASE64_STANDARD.encode(tag)))
}

#[test]
fn keys_are_found_by_name_or_tried_where_none_is_given() {
    let hook = hook("", &[OLD, NEW]);
    assert_eq!(outcome(&hook, &mut plain(NEW, Some("acme-2")).at(NOW)), "acme-2");
    assert_eq!(outcome(&hook, &mut plain(OLD, Some("acme-2")).at(NOW)), "signature_invalid");
    assert_eq!(outcome(&hook, &mut plain(OLD, Some("acme-3")).at(NOW)), "signing_key_unknown");
    let hook = self::hook("replay = \"allow\"", &[OLD, NEW]);
    assert_eq!(outcome(&hook, &mut plain(OLD, None).at(NOW)), "acme-1");
    assert_eq!(outcome(&hook, &mut plain(NEW, None).at(NOW)), "acme-2");
    assert_eq!(outcome(&hook, &mut plain("x", None).at(NOW)), "signature_invalid");
}

#[test]
fn a_request_is_taken_once_and_within_its_window() {
    let hook = hook("", &[OLD]);
    let sent = plain(OLD, Some("acme-1"));
    assert_eq!(outcome(&hook, &mut sent.at(NOW)), "acme-1");
    assert_eq!(outcome(&hook, &mut sent.at(NOW)), "signature_replayed");
    // A change to a part that is not signed makes no other request of it.
    for again in [sent.clone().without("x-key-id"), sent.clone().header("x-other", "1"), sent.clone().set("host", "b")]
    {
        assert_eq!(outcome(&hook, &mut again.at(NOW)), "signature_replayed");
    }
    assert_eq!(outcome(&hook, &mut sent.at(NOW + 331)), "signature_stale");
    assert_eq!(outcome(&hook, &mut sent.at(NOW - 31)), "signature_stale");
}

#[test]
fn a_webhook_that_is_delivered_again_is_new_and_one_that_is_sent_again_is_not() {
    let hook = hook("timestamp = { preset = \"standard-webhooks\" }", &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
    let secret = BASE64_STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let delivered = |time: i64| {
        let tag = BASE64_STANDARD.encode(tag(&secret, &format!("msg_1.{time}.body")));
        let sent = Sent::parse("POST /hook HTTP/1.1\nwebhook-id: msg_1\n\nbody");
        sent.header("webhook-timestamp", &time.to_string()).header("webhook-signature", &format!("v1,{tag}"))
    };
    assert_eq!(outcome(&hook, &mut delivered(NOW).at(NOW)), "acme-1");
    assert_eq!(outcome(&hook, &mut delivered(NOW + 60).at(NOW + 60)), "acme-1");
    assert_eq!(outcome(&hook, &mut delivered(NOW).at(NOW + 60)), "signature_replayed");
}

#[test]
fn signatures_without_a_time_are_taken_again_and_their_window_is_an_error() {
    let hook = hook("timestamp = { preset = \"github\" }", &[OLD]);
    let signature = format!("sha256={}", hex::encode(tag(OLD.as_bytes(), "body")));
    let sent = Sent::parse("POST /hook HTTP/1.1\n\nbody").header("x-hub-signature-256", &signature);
    assert_eq!(outcome(&hook, &mut sent.at(NOW)), "acme-1");
    assert_eq!(outcome(&hook, &mut sent.at(NOW)), "acme-1");
    assert_eq!(outcome(&hook, &mut sent.body("other").at(NOW)), "signature_invalid");
    let config = "scheme = \"timestamp\"\ntimestamp = { preset = \"github\" }\nwindow = \"5m\"";
    let problems = Build::new().plugin::<Hmac>(toml::from_str(config).unwrap()).err().unwrap().problems;
    assert_eq!(problems[0].0, "window");
}

#[test]
fn secrets_are_as_long_as_the_hash_or_as_the_service_makes_them() {
    for (name, secret, ..) in PRESETS {
        let own: SigningCredential = toml::from_str(&format!("secret = {secret:?}")).unwrap();
        let mut build = Build::new().credential::<Hmac>("acme", "acme-1", own, |_| {});
        let config = format!("scheme = \"timestamp\"\ntimestamp = {{ preset = {name:?} }}");
        let _ = build.plugin::<Hmac>(toml::from_str(&config).unwrap());
        // Two of the published examples have secrets that nobody should have.
        let is_short = matches!(name, "stripe" | "github");
        assert_eq!(build.problems.iter().map(|(_, field, _)| field.as_str()).next(), is_short.then_some("secret"));
        assert!(build.problems.iter().all(|(.., why)| why.contains("too short") && !why.contains(secret)));
    }
}
