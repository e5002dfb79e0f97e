//! The scheme in a policy, with keys, clock and store.

use std::sync::Arc;

use portcullis_plugin::{Authenticate, testing::Build};

use super::{BOTOCORE, S3, SUITE_SECRET, Sent, presigned_vector, vector, vectors};
use crate::{Hmac, SigningCredential, signing::outcome};

/// 2015-08-30T12:36:00Z.
const NOW: i64 = 1_440_938_160;

fn hook(service: &str, settings: &str) -> Arc<dyn Authenticate> {
    let own: SigningCredential =
        toml::from_str(&format!("secret = {SUITE_SECRET:?}\nkey_id = \"AKIDEXAMPLE\"")).unwrap();
    let mut build = Build::new().credential::<Hmac>("acme", "acme-1", own, |_| {});
    let config = format!(
        "scheme = \"aws4\"\n{settings}\n[aws4]\nregion = \"us-east-1\"\nservice = {service:?}\npresigned = \"1h\"\n"
    );
    let hooks = build.plugin::<Hmac>(toml::from_str(&config).unwrap());
    assert_eq!(build.problems, []);
    hooks.unwrap().authenticate.unwrap()
}

#[test]
fn a_request_is_taken_once_and_within_its_window() {
    let hook = hook("service", "");
    let sent = vector("post-x-www-form-urlencoded");
    assert_eq!(outcome(&hook, &mut sent.at(NOW)), "acme-1");
    assert_eq!(outcome(&hook, &mut sent.at(NOW)), "signature_replayed");
    assert_eq!(outcome(&hook, &mut sent.at(NOW + 331)), "signature_stale");
    assert_eq!(outcome(&hook, &mut sent.at(NOW - 31)), "signature_stale");
    // Another spelling of the same canonical request is the same request.
    let line = sent.headers["authorization"].to_str().unwrap().replace(", ", ",").replace("=d387505", "=D387505");
    assert_eq!(outcome(&hook, &mut sent.set("authorization", &line).at(NOW)), "signature_replayed");
}

#[test]
fn a_presigned_url_holds_until_it_ends_and_once_unless_the_policy_says() {
    let sent = presigned_vector("get-vanilla-query");
    let hook = hook("service", "");
    assert_eq!(outcome(&hook, &mut sent.at(NOW + 3599)), "acme-1");
    assert_eq!(outcome(&hook, &mut sent.at(NOW + 3599)), "signature_replayed");
    assert_eq!(outcome(&hook, &mut sent.at(NOW + 3631)), "signature_stale");
    let hook = self::hook("service", "replay = \"allow\"");
    assert_eq!(outcome(&hook, &mut sent.at(NOW)), "acme-1");
    assert_eq!(outcome(&hook, &mut sent.at(NOW + 1800)), "acme-1");
}

#[test]
fn an_unsigned_payload_is_taken_where_the_policy_says_so() {
    let (_, sent) = vectors(BOTOCORE).into_iter().find(|(name, _)| *name == "s3 2").unwrap();
    assert_eq!(sent.headers["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
    // 2026-11-25T10:34:59Z.
    let now = 1_795_602_899;
    assert_eq!(outcome(&hook("s3", ""), &mut sent.at(now)), "signature_incomplete");
    assert_eq!(outcome(&hook("s3", "body = \"unsigned\""), &mut sent.at(now)), "acme-1");
    let empty = sent.without("content-length").body("");
    assert_eq!(outcome(&hook("s3", ""), &mut empty.at(now)), "acme-1");
}

#[test]
fn a_body_without_a_hash_in_the_head_is_read_first() {
    let sent = vector("post-vanilla");
    assert_eq!(outcome(&hook("service", ""), &mut sent.at(NOW)), "acme-1");
    assert_eq!(outcome(&hook("service", ""), &mut sent.body("x").at(NOW)), "signature_invalid");
}

#[test]
fn a_key_that_nobody_has_is_told_apart_from_a_wrong_signature_in_the_log_alone() {
    let (_, foreign): (_, Sent) = vectors(S3).remove(0);
    assert_eq!(outcome(&hook("s3", ""), &mut foreign.at(1_369_353_600)), "signing_key_unknown");
}
