//! Tokens that somebody made up, took from somebody else, or kept too long.

use std::panic::AssertUnwindSafe;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_plugin::{Answer, Revocation, http::HeaderValue};

use super::*;

/// A token with this header and these claims as they are, signed by nobody.
fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

#[test]
fn the_algorithm_is_the_policys_and_fits_the_key() {
    let scene = Scene::simple("");
    let body = claims(json!({})).to_string();
    for alg in ["none", "None", "NONE", "nOnE", "HS256", "RS256 ", "rs256", ""] {
        let sent = scene.sent(&unsigned(&format!(r#"{{"alg":"{alg}"}}"#), &body));
        assert_eq!(sent, "algorithm_not_allowed", "{alg}");
    }
    // The public key as the secret.
    for secret in [EC.pem(), jwks(&[&EC]), EC.jwk()["x"].as_str().unwrap().to_owned()] {
        assert_eq!(scene.sent(&Signer::hmac(&secret).sign(&claims(json!({})))), "algorithm_not_allowed");
    }
    // Named for a key of another type.
    let named =
        |signer: &Signer, kid: &str| signer.sign_with(&claims(json!({})), |header| header.kid = Some(kid.to_owned()));
    assert_eq!(scene.sent(&named(&EC, "r")), "algorithm_not_allowed");
    assert_eq!(scene.sent(&named(&Signer::ec("e"), "e")), "signature_invalid");
    assert_eq!(scene.sent(&named(&EC, "../../e")), "signing_key_unknown");
    // Allowed elsewhere, not here.
    assert_eq!(Scene::simple("algorithms = [\"RS256\"]").sent(&EC.sign(&claims(json!({})))), "algorithm_not_allowed");
}

#[test]
fn claims_that_are_configured_must_be_present_and_right() {
    let scene = Scene::simple("");
    for (changes, expected) in [
        (json!({ "iss": null }), "issuer_unknown"),
        (json!({ "iss": "https://auth.example.com/" }), "issuer_unknown"),
        (json!({ "iss": [ISSUER] }), "issuer_unknown"),
        (json!({ "aud": null }), "audience_mismatch"),
        (json!({ "aud": [] }), "audience_mismatch"),
        (json!({ "aud": "https://other.example.com" }), "audience_mismatch"),
        (json!({ "aud": ["https://other.example.com", "api"] }), "audience_mismatch"),
        (json!({ "aud": ["x", AUDIENCE] }), "alice"),
        (json!({ "aud": { AUDIENCE: true } }), "token_malformed"),
        (json!({ "exp": null }), "token_malformed"),
        (json!({ "exp": (NOW + 600).to_string() }), "token_malformed"),
        (json!({ "exp": NOW - 30 }), "token_expired"),
        (json!({ "exp": NOW - 29 }), "alice"),
        (json!({ "exp": -1 }), "token_malformed"),
        (json!({ "nbf": NOW + 31 }), "token_not_yet_valid"),
        (json!({ "nbf": NOW + 30 }), "alice"),
        (json!({ "iat": NOW + 31 }), "token_not_yet_valid"),
        (json!({ "iat": "yesterday" }), "token_malformed"),
        (json!({ "sub": 7 }), "token_malformed"),
    ] {
        assert_eq!(scene.sent(&EC.sign(&claims(changes.clone()))), expected, "{changes}");
    }
    assert_eq!(Scene::simple("leeway = \"0s\"").sent(&EC.sign(&claims(json!({ "exp": NOW })))), "token_expired");
}

#[test]
fn a_malformed_token_is_refused_at_once() {
    let scene = Scene::simple("max_token_bytes = 4096");
    let good = EC.sign(&claims(json!({})));
    let [header, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let deep = format!(r#"{{"iss":"{ISSUER}","a":{}}}"#, "[".repeat(3_000));
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{header}.{body}"),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!(" {good} x"),
        format!("{header}=.{body}.{signature}"),
        format!("{header}.{body}.{signature}="),
        unsigned("7", "{}"),
        unsigned("{}", "{}"),
        unsigned(r#"{"alg":"ES256"}"#, "[]"),
        unsigned(r#"{"alg":"ES256","alg":"ES256"}"#, "{}"),
        unsigned(r#"{"alg":"ES256"}"#, &format!(r#"{{"iss":"{ISSUER}","iss":"{ISSUER}"}}"#)),
        unsigned(r#"{"alg":"ES256","crit":["exp"]}"#, "{}"),
        unsigned(r#"{"alg":"ES256","jwk":{}}"#, "{}"),
        unsigned(r#"{"alg":"ES256"}"#, &deep),
        good.clone() + &"A".repeat(4096),
    ] {
        let mut request = bearer(&token);
        let is_at_once = matches!(scene.hook.authenticate(&mut request.cx()), Answer::Now(_));
        assert!(is_at_once, "{token}");
        assert_eq!(scene.outcome(request), "token_malformed", "{token}");
    }
    let not_utf8 = Request::get("/").header("authorization", b"Bearer \xff\xfe.\xff.\xff");
    assert_eq!(scene.outcome(not_utf8), "token_malformed");
    for signature in [String::new(), "AAAA".to_owned(), "A".repeat(86), signature.repeat(2)] {
        assert_eq!(scene.sent(&format!("{header}.{body}.{signature}")), "signature_invalid", "{signature}");
    }
}

#[test]
fn keys_that_a_token_names_are_not_followed() {
    let scene = Scene::simple("");
    let stranger = Signer::ec("stranger");
    let with = |change: fn(&mut Header)| stranger.sign_with(&claims(json!({})), change);
    assert_eq!(
        scene.sent(&with(|header| header.jku = Some("https://evil.example.com".to_owned()))),
        "signing_key_unknown"
    );
    assert_eq!(
        scene.sent(&with(|header| header.x5u = Some("https://evil.example.com".to_owned()))),
        "signing_key_unknown"
    );
    let own = Jwk::from_encoding_key(&stranger.key, stranger.alg).unwrap();
    let jwk = stranger.sign_with(&claims(json!({})), |header| header.jwk = Some(own));
    assert_eq!(scene.sent(&jwk), "token_malformed");
}

#[test]
fn weak_secrets_are_refused_when_built() {
    for secret in ["", "short", &"x".repeat(31)] {
        let toml =
            format!("issuer = \"{ISSUER}\"\nany_audience = true\nsecret = \"{secret}\"\nalgorithms = [\"HS256\"]");
        let problems = problems(&toml);
        assert!(problems[0].starts_with("secret: ") && problems.len() == 1, "{problems:?}");
    }
}

#[test]
fn revoked_tokens_are_refused_by_number_subject_issuer_and_version() {
    let (issuer, subject) = (ISSUER.to_owned(), "alice".to_owned());
    let until = UnixTime(NOW - 60);
    for revocation in [
        Revocation::Token { issuer: issuer.clone(), jti: "1".to_owned() },
        Revocation::Subject { issuer: issuer.clone(), subject: subject.clone(), issued_until: until },
        Revocation::Issuer { issuer: issuer.clone(), issued_until: until },
        Revocation::Version { issuer, subject, at_least: 8 },
    ] {
        let scene = Scene::simple("version_claim = \"ver\"");
        let token = EC.sign(&claims(json!({ "ver": 7 })));
        assert_eq!(scene.sent(&token), "alice");
        block_on(revocation.write(&*scene.store, std::time::Duration::from_secs(600))).unwrap();
        assert_eq!(scene.sent(&token), "token_revoked", "{revocation:?}");
        let later = json!({ "ver": 8, "jti": "2", "iat": NOW - 59 });
        assert_eq!(scene.sent(&EC.sign(&claims(later))), "alice", "{revocation:?}");
        block_on(revocation.lift(&*scene.store)).unwrap();
        assert_eq!(scene.sent(&token), "alice");
    }
    let scene = Scene::simple("version_claim = \"ver\"");
    for wrong in [json!(null), json!("7"), json!(-1), json!(7.5)] {
        assert_eq!(scene.sent(&EC.sign(&claims(json!({ "ver": wrong.clone() })))), "claim_mismatch", "{wrong}");
    }
}

#[test]
fn wrong_signatures_are_counted_by_address_and_principal_where_a_policy_says_so() {
    let scene = Scene::simple("attempts = { per_principal = 2, per_address = 100, window = \"10m\" }");
    let forged = || Signer::ec("e").sign(&claims(json!({})));
    let from = |token: &str, address: &str| {
        let mut request = bearer(token);
        request.address = address.parse().unwrap();
        scene.outcome(request)
    };
    assert_eq!(from(&forged(), "192.0.2.1"), "signature_invalid");
    assert_eq!(from(&forged(), "192.0.2.1"), "signature_invalid");
    assert_eq!(from(&forged(), "192.0.2.1"), "too_many_attempts");
    let good = EC.sign(&claims(json!({})));
    assert_eq!(from(&good, "192.0.2.2"), "alice", "nobody locks out another");
    assert_eq!(from(&EC.sign(&claims(json!({ "sub": "bob" }))), "192.0.2.1"), "bob");
    // A refusal that costs no verification is not counted: a client with an old token waits for nothing.
    let expired = EC.sign(&claims(json!({ "sub": "carol", "exp": NOW - 60 })));
    for _ in 0..4 {
        assert_eq!(from(&expired, "192.0.2.3"), "token_expired");
    }
    let nobodys = || Signer::ec("e").sign(&claims(json!({ "sub": null })));
    for _ in 0..8 {
        assert_eq!(from(&nobodys(), "192.0.2.4"), "signature_invalid", "nobody is named whose limit it could be");
    }
}

#[test]
fn wrong_signatures_make_nobody_wait_for_a_right_one() {
    for toml in ["", "attempts = false"] {
        let scene = Scene::simple(toml);
        for number in 0..200 {
            let forged = Signer::ec("e").sign(&claims(json!({ "jti": number.to_string() })));
            assert_eq!(scene.sent(&forged), "signature_invalid");
        }
        assert_eq!(scene.sent(&EC.sign(&claims(json!({})))), "alice");
    }
}

#[test]
fn a_token_that_is_signed_and_not_taken_resets_no_failures() {
    let forged = || Signer::ec("e").sign(&claims(json!({})));
    // Tokens of hers that anybody may come by: one that is over, and one for somebody else.
    for (useless, reason) in [
        (json!({ "exp": NOW - 60 }), "token_expired"),
        (json!({ "aud": "https://other.example.com" }), "audience_mismatch"),
    ] {
        let scene = Scene::simple("attempts = { per_principal = 2 }");
        assert_eq!(scene.sent(&forged()), "signature_invalid");
        assert_eq!(scene.sent(&EC.sign(&claims(useless))), reason);
        assert_eq!(scene.sent(&forged()), "signature_invalid");
        assert_eq!(scene.sent(&forged()), "too_many_attempts", "after {reason}");
    }
    let scene = Scene::simple("attempts = { per_principal = 2 }");
    for number in 0..4 {
        assert_eq!(scene.sent(&forged()), "signature_invalid", "one that is taken does");
        assert_eq!(scene.sent(&EC.sign(&claims(json!({ "jti": number.to_string() })))), "alice");
    }
}

#[test]
fn no_bytes_in_the_place_of_a_token_grant_anything_or_panic() {
    let scene = AssertUnwindSafe(Scene::simple(""));
    bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
        let mut value = b"Bearer ".to_vec();
        value.extend_from_slice(bytes);
        if HeaderValue::from_bytes(&value).is_ok() {
            assert_ne!(scene.outcome(Request::get("/").header("authorization", &value)), "alice");
        }
    });
}

/// Signed, so that what comes after the signature is reached.
#[test]
fn no_claims_panic() {
    let scene = AssertUnwindSafe(Scene::simple(
        r#"
        headers = { "x-a" = "a" }
        identity = { subject = ["a", "sub"], tenant = "tid", roles = "r.r" }
        consumer = { by = "claim", claim = "a" }
        consumer_required = false
        "#,
    ));
    const NAMES: [&str; 10] = ["a", "sub", "tid", "r", "azp", "email", "scope", "aud", "exp", "jti"];
    bolero::check!().with_type::<Vec<(u8, u8, String, i64)>>().with_iterations(200).for_each(|choices| {
        let mut changed = claims(json!({}));
        for (name, kind, text, number) in choices {
            let value = match kind % 6 {
                0 => json!(text),
                1 => json!(number),
                2 => json!([text, number]),
                3 => json!({ "r": [text] }),
                4 => json!(null),
                _ => json!([text, text]),
            };
            changed[NAMES[usize::from(*name) % NAMES.len()]] = value;
        }
        let _ = scene.sent(&ED.sign(&changed));
    });
}
