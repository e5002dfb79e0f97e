//! The scheme in a policy, with keys, clock and store.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use portcullis_plugin::{Authenticate, testing::Build};

use super::Sent;
use crate::{Hmac, SigningCredential, signing::outcome};

/// Thu, 22 Jun 2017 17:15:21 GMT.
const NOW: i64 = 1_498_151_721;
const SECRET: &str = "a-secret-of-32-bytes-or-some-more";

fn hook(settings: &str) -> Arc<dyn Authenticate> {
    let own: SigningCredential = toml::from_str(&format!("secret = {SECRET:?}\nkey_id = \"alice\"")).unwrap();
    let mut build = Build::new().credential::<Hmac>("acme", "acme-1", own, |_| {});
    let hooks = build.plugin::<Hmac>(toml::from_str(&format!("scheme = \"cavage\"\n{settings}")).unwrap());
    assert_eq!(build.problems, []);
    hooks.unwrap().authenticate.unwrap()
}

/// A client of Kong.
fn sent(list: &str, lines: &str, body: &str) -> Sent {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = BASE64_STANDARD.encode(hmac::sign(&key, lines.as_bytes()));
    let digest = BASE64_STANDARD.encode(crate::body::Hash::Sha256.of(body.as_bytes()));
    Sent::parse("POST /orders HTTP/1.1\nHost: a\nDate: Thu, 22 Jun 2017 17:15:21 GMT")
        .header("digest", &format!("SHA-256={digest}"))
        .header(
            "authorization",
            &format!("hmac username=\"alice\", algorithm=\"hmac-sha256\", headers=\"{list}\", signature=\"{tag}\""),
        )
        .body(body)
}

const TARGET_AND_DATE: &str = "@request-target: post /orders\ndate: Thu, 22 Jun 2017 17:15:21 GMT";

#[test]
fn a_request_is_taken_once_and_within_its_window() {
    let hook = hook("");
    let sent = sent("@request-target date", TARGET_AND_DATE, "");
    assert_eq!(outcome(&hook, &mut sent.at(NOW)), "acme-1");
    assert_eq!(outcome(&hook, &mut sent.at(NOW + 1)), "signature_replayed");
    assert_eq!(outcome(&hook, &mut sent.at(NOW + 331)), "signature_stale");
    assert_eq!(outcome(&hook, &mut sent.at(NOW - 31)), "signature_stale");
}

#[test]
fn a_body_needs_a_digest_that_is_signed() {
    // Kong and APISIX are content with a digest that anybody can exchange together with the body.
    let unsigned = sent("@request-target date", TARGET_AND_DATE, "body");
    assert_eq!(outcome(&hook(""), &mut unsigned.at(NOW)), "signature_incomplete");
    assert_eq!(outcome(&hook("body = \"unsigned\""), &mut unsigned.at(NOW)), "acme-1");
    let digest = unsigned.headers["digest"].to_str().unwrap().to_owned();
    let signed = sent("@request-target date digest", &format!("{TARGET_AND_DATE}\ndigest: {digest}"), "body");
    assert_eq!(outcome(&hook(""), &mut signed.at(NOW)), "acme-1");
    assert_eq!(outcome(&hook(""), &mut signed.body("bodY").at(NOW)), "digest_mismatch");
}
