//! The frame with a scheme of the tests' own, which can do what RFC 9421 cannot: sign the body itself, name no key, have
//! no time, be presigned.

use std::borrow::Cow;

use portcullis_plugin::{
    AttemptLimits, Credential, Plugin,
    testing::{Build, Request},
};

use super::*;
use crate::{
    Hmac,
    key::{Algorithm, SigningKey, is_tag},
    scheme::{Message, Piece},
    signing::{NOW, outcome},
};

/// The header `x-test: <key id or -> <created> <signature>[,<signature>]`, over the body.
#[derive(Clone, Copy)]
struct Plain {
    names_key: bool,
    has_time: bool,
    /// Presigned for so many seconds.
    presigned: Option<i64>,
}

const NAMED: Plain = Plain { names_key: true, has_time: true, presigned: None };
const UNNAMED: Plain = Plain { names_key: false, ..NAMED };

impl Scheme for Plain {
    fn read(&self, request: &SignedRequest<'_>) -> Reading {
        let Some(line) = request.headers.get("x-test") else { return Reading::Absent };
        let mut words = line.to_str().unwrap().split(' ');
        let mut word = || words.next().unwrap();
        let key_id = Some(word()).filter(|word| *word != "-").map(str::to_owned);
        let created = word().parse().ok();
        Reading::Presented(vec![Claim {
            key_id,
            signatures: word().split(',').map(|hex| hex::decode(hex).unwrap()).collect(),
            algorithm: None,
            created: created.map(UnixTime),
            expires: self.presigned.and_then(|seconds| Some(UnixTime(created? + seconds))),
            is_presigned: self.presigned.is_some(),
            nonce: None,
            body: BodyUse::InMessage,
            message: Message(vec![Piece::Bytes(b"body:".to_vec()), Piece::Body]),
            scope: String::new(),
        }])
    }

    fn algorithms(&self) -> &[Algorithm] {
        &[Algorithm::HmacSha256]
    }

    fn names_key(&self) -> bool {
        self.names_key
    }

    fn has_time(&self) -> bool {
        self.has_time
    }

    fn places(&self) -> Places {
        Places::default()
    }

    fn challenge(&self) -> Challenge {
        Challenge::new("Test")
    }
}

fn secret(of: &str) -> String {
    of.repeat(32)
}

fn tag(secret: &str, body: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    hex::encode(aws_lc_rs::hmac::sign(&key, format!("body:{body}").as_bytes()))
}

fn request(line: &str, body: &'static str) -> Request {
    let mut request = Request::new("POST", "/").header("x-test", line);
    request.body = Bytes::from_static(body.as_bytes());
    request
}

/// Credentials `a`, `b`, ... of the consumer `acme`, each with its letter for a secret.
fn build(ids: &[&str]) -> Build {
    ids.iter().fold(Build::new(), |build, id| with(build, id, |_| {}))
}

fn with(build: Build, id: &str, change: impl FnOnce(&mut Credential)) -> Build {
    let own = toml::from_str(&format!("secret = \"{}\"", secret(id))).unwrap();
    build.credential::<Hmac>("acme", id, own, change)
}

fn hook_of(scheme: Plain, mut build: Build) -> (Arc<dyn Authenticate>, Build) {
    let mut cx = BuildCx::new(&mut build);
    let attempts = Attempts::new(AttemptLimits::Off, &mut cx).unwrap();
    let hook = Signatures::new(&Config::default(), Box::new(scheme), attempts, &mut cx);
    (Arc::new(hook), build)
}

fn hook(scheme: Plain, ids: &[&str]) -> Arc<dyn Authenticate> {
    let (hook, build) = hook_of(scheme, build(ids));
    assert_eq!(build.problems, []);
    hook
}

#[test]
fn a_message_made_of_the_body_is_verified_with_the_body() {
    let line = format!("a {NOW} {}", tag(&secret("a"), "hello"));
    assert_eq!(outcome(&hook(NAMED, &["a"]), &mut request(&line, "hello")), "a");
    assert_eq!(outcome(&hook(NAMED, &["a"]), &mut request(&line, "hellO")), "signature_invalid");
    assert_eq!(outcome(&hook(NAMED, &["a"]), &mut request(&line, "")), "signature_invalid");
}

#[test]
fn an_unknown_key_reads_no_body() {
    let mut sent = request(&format!("z {NOW} {}", tag(&secret("a"), "hello")), "hello");
    sent.body_error = Some(BodyError::TooLarge);
    assert_eq!(outcome(&hook(NAMED, &["a"]), &mut sent), "signing_key_unknown");
}

#[test]
fn where_no_key_is_named_every_one_is_tried() {
    let hook = hook(UNNAMED, &["a", "b", "c"]);
    for id in ["a", "b", "c"] {
        let body: &'static str = id.to_owned().leak();
        let line = format!("- {NOW} {}", tag(&secret(id), body));
        assert_eq!(outcome(&hook, &mut request(&line, body)), id);
    }
    let line = format!("- {NOW} {}", tag(&secret("z"), "hello"));
    assert_eq!(outcome(&hook, &mut request(&line, "hello")), "signature_invalid");
    let named = format!("a {NOW} {}", tag(&secret("a"), "hello"));
    assert_eq!(outcome(&hook, &mut request(&named, "hello")), "signing_key_unknown");
}

#[test]
fn where_no_key_is_named_there_are_not_many() {
    let ids: Vec<String> = ('a'..='q').map(String::from).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let (_, sixteen) = hook_of(UNNAMED, build(&ids[..16]));
    assert_eq!(sixteen.problems, []);
    let (hook, seventeen) = hook_of(UNNAMED, build(&ids));
    assert!(seventeen.problems[0].2.contains("at most 16 keys"), "{:?}", seventeen.problems);
    let line = format!("- {NOW} {}", tag(&secret("a"), "hello"));
    assert_eq!(outcome(&hook, &mut request(&line, "hello")), "signing_key_unknown");
    let named = hook_of(NAMED, build(&ids));
    assert_eq!(outcome(&named.0, &mut request(&line, "hello")), "signing_key_unknown", "named, but not here");
}

#[test]
fn one_of_two_signatures_cannot_be_sent_again_alone() {
    let hook = hook(UNNAMED, &["a", "b"]);
    let (old, new) = (tag(&secret("a"), "hello"), tag(&secret("b"), "hello"));
    let send = |signatures: &str| outcome(&hook, &mut request(&format!("- {NOW} {signatures}"), "hello"));
    assert_eq!(send(&format!("{old},{new}")), "a");
    for again in [format!("{old},{new}"), format!("{new},{old}"), old, new] {
        assert_eq!(send(&again), "signature_replayed");
    }
}

#[test]
fn a_credential_that_can_be_used_comes_before_one_that_cannot() {
    let (old, new) = (tag(&secret("a"), "hello"), tag(&secret("b"), "hello"));
    let build = with(with(Build::new(), "a", |own| own.limits.disabled = true), "b", |_| {});
    let (hook, _) = hook_of(UNNAMED, build);
    assert_eq!(outcome(&hook, &mut request(&format!("- {NOW} {old},{new}"), "hello")), "b");
}

#[test]
fn without_a_time_there_is_no_window_and_nothing_is_remembered() {
    let hook = hook(Plain { has_time: false, ..UNNAMED }, &["a"]);
    let line = format!("- never {}", tag(&secret("a"), "hello"));
    for _ in 0..2 {
        assert_eq!(outcome(&hook, &mut request(&line, "hello")), "a");
    }
    let timed = self::hook(UNNAMED, &["a"]);
    assert_eq!(outcome(&timed, &mut request(&line, "hello")), "signature_incomplete");
}

#[test]
fn a_presigned_request_has_an_end_and_no_window() {
    let created = NOW - 3_000;
    let line = format!("a {created} {}", tag(&secret("a"), "hello"));
    for (presigned, expected) in [(None, "signature_stale"), (Some(2_000), "signature_stale"), (Some(3_600), "a")] {
        let hook = hook(Plain { presigned, ..NAMED }, &["a"]);
        assert_eq!(outcome(&hook, &mut request(&line, "hello")), expected);
    }
}

#[test]
fn a_public_key_is_no_secret() {
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n-----END PUBLIC KEY-----";
    let own: <Hmac as Plugin>::Credential = toml::from_str(&format!("public_key = '''{pem}'''")).unwrap();
    let mut build = Build::new();
    let key = own.key("a", &Every, &mut BuildCx::new(&mut build)).map_err(|(_, why)| why).unwrap().key;
    let message = [Cow::Borrowed(&b"hello"[..])];
    for secret in [pem.as_bytes(), pem.trim().as_bytes()] {
        let hmac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let signature = aws_lc_rs::hmac::sign(&hmac, b"hello").as_ref().to_vec();
        assert!(is_tag(&hmac, &message, std::slice::from_ref(&signature)));
        for algorithm in [None, Some(Algorithm::HmacSha256), Some(Algorithm::Ed25519)] {
            assert!(!key.verify(algorithm, &message, std::slice::from_ref(&signature)));
        }
    }
    let shared = SigningKey::shared(portcullis_plugin::Secret::new(vec![1; 32]), Every.algorithms());
    assert!(!shared.verify(Some(Algorithm::Ed25519), &message, &[vec![0; 64]]));
}

/// Takes every algorithm.
struct Every;

impl Scheme for Every {
    fn read(&self, _: &SignedRequest<'_>) -> Reading {
        Reading::Absent
    }
    fn algorithms(&self) -> &[Algorithm] {
        &[Algorithm::HmacSha256, Algorithm::Ed25519]
    }
    fn places(&self) -> Places {
        Places::default()
    }
    fn challenge(&self) -> Challenge {
        Challenge::new("Test")
    }
}
