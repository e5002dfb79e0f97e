//! Tokens that are bound to a client's certificate (RFC 8705).

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_plugin::ClientCert;

use super::*;

fn certificate(der: &[u8]) -> ClientCert {
    ClientCert::new(der.to_vec(), Vec::new())
}

/// A token that is bound to the certificate of these bytes.
fn bound_to(der: &[u8]) -> String {
    EC.sign(&claims(json!({ "cnf": { "x5t#S256": URL_SAFE_NO_PAD.encode(certificate(der).sha256) } })))
}

fn over(token: &str, certificate: Result<Option<ClientCert>, Reason>) -> Request {
    Request { certificate, ..bearer(token) }
}

#[test]
fn a_bound_token_is_taken_over_its_certificates_connection_alone() {
    let (scene, token) = (Scene::simple(""), bound_to(b"ours"));
    // Twice: the second time it is remembered.
    for _ in 0..2 {
        assert_eq!(scene.outcome(over(&token, Ok(Some(certificate(b"other"))))), "token_binding_mismatch");
        assert_eq!(scene.outcome(over(&token, Ok(None))), "token_binding_mismatch");
        assert_eq!(scene.outcome(over(&token, Err(Reason::CertificateRevoked))), "certificate_revoked");
        assert_eq!(scene.outcome(over(&token, Ok(Some(certificate(b"ours"))))), "alice");
    }
}

#[test]
fn a_token_over_another_connection_is_refused_with_the_name_that_it_says() {
    let (scene, token) = (Scene::simple("certificate_binding = \"required\""), bound_to(b"ours"));
    let unbound = EC.sign(&claims(json!({})));
    let claimed = |token: &str| match scene.answer(over(token, Ok(None))) {
        Ok(Authentication::Denied(denial)) => denial.claimed.expect("it can be read"),
        other => panic!("{other:?}"),
    };
    for token in [&token, &unbound, &token] {
        assert!(claimed(token).fields().any(|field| field == ("subject", "alice")));
    }
}

#[test]
fn a_policy_may_ask_that_every_token_is_bound() {
    let unbound = EC.sign(&claims(json!({})));
    let usual = Scene::simple("");
    assert_eq!(usual.outcome(over(&unbound, Ok(Some(certificate(b"ours"))))), "alice");
    assert!(!usual.hook.needs_certificate());
    let strict = Scene::simple("certificate_binding = \"required\"");
    assert!(strict.hook.needs_certificate());
    for _ in 0..2 {
        assert_eq!(strict.outcome(over(&unbound, Ok(Some(certificate(b"ours"))))), "token_binding_mismatch");
        assert_eq!(strict.outcome(over(&bound_to(b"ours"), Ok(Some(certificate(b"ours"))))), "alice");
        assert_eq!(strict.outcome(over(&bound_to(b"ours"), Ok(None))), "token_binding_mismatch");
    }
    assert_eq!(Scene::simple("certificate_binding = \"when-present\"").sent(&unbound), "alice");
    assert!(toml::from_str::<Config>("certificate_binding = \"optional\"").is_err());
}

#[test]
fn a_confirmation_that_cannot_be_read_is_not_an_absent_one() {
    let scene = Scene::simple("");
    let padded = URL_SAFE_NO_PAD.encode(certificate(b"ours").sha256) + "=";
    for cnf in
        [json!("x"), json!([]), json!({ "x5t#S256": "x" }), json!({ "x5t#S256": padded }), json!({ "x5t#S256": 1 })]
    {
        let token = EC.sign(&claims(json!({ "cnf": cnf })));
        assert_eq!(scene.outcome(over(&token, Ok(Some(certificate(b"ours"))))), "token_malformed", "{cnf}");
    }
}
