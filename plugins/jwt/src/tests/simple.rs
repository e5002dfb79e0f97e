use super::*;

#[test]
fn a_token_of_the_issuer_proves_its_subject() {
    let scene = Scene::simple("");
    for signer in [&*RSA, &EC, &ED] {
        assert_eq!(scene.sent(&signer.sign(&claims(json!({})))), "alice", "{:?}", signer.alg);
    }
    let identity = scene.identity(json!({ "scope": "orders:read orders:write", "azp": "app" }));
    assert_eq!(identity.method, "jwt");
    assert_eq!(identity.issuer.as_deref(), Some(ISSUER));
    assert_eq!(identity.client.as_deref(), Some("app"));
    assert_eq!(identity.scopes, ["orders:read", "orders:write"]);
    assert_eq!(identity.expires, Some(UnixTime(NOW + 600 + 30)), "the end with its leeway");
    assert_eq!(identity.claims.as_ref().unwrap()["jti"], "1");
    assert!(identity.consumer.is_none() && identity.credentials.is_empty() && identity.headers.is_empty());
}

#[test]
fn a_public_key_in_pem_verifies() {
    let file = key_file(&EC.pem());
    let toml = format!("issuer = \"{ISSUER}\"\nany_audience = true\npublic_key_file = \"{}\"", file.path().display());
    let scene = Scene::new(&toml);
    assert_eq!(scene.sent(&EC.sign(&claims(json!({})))), "alice", "whatever `kid` the token names");
    assert_eq!(scene.sent(&Signer::ec("e").sign(&claims(json!({})))), "signature_invalid");
    assert!(problems(&format!("{toml}\nalgorithms = [\"RS256\"]"))[0].starts_with("algorithms: names RS256"));
}

#[test]
fn a_secret_verifies_with_the_one_algorithm_that_is_named() {
    let toml = format!("issuer = \"{ISSUER}\"\naudience = [\"{AUDIENCE}\"]\nsecret = \"{SECRET}\"\n");
    let scene = Scene::new(&format!("{toml}algorithms = [\"HS256\"]"));
    assert_eq!(scene.sent(&HMAC.sign(&claims(json!({})))), "alice");
    assert_eq!(scene.sent(&Signer::hmac(&SECRET.to_uppercase()).sign(&claims(json!({})))), "signature_invalid");
    assert_eq!(scene.sent(&EC.sign(&claims(json!({})))), "algorithm_not_allowed");
    for algorithms in ["", "algorithms = [\"ES256\"]", "algorithms = [\"HS256\", \"HS512\"]"] {
        assert!(problems(&format!("{toml}{algorithms}"))[0].starts_with("algorithms: with `secret` is one of"));
    }
}

#[test]
fn any_issuer_and_any_audience_have_to_be_asked_for() {
    let file = key_file(&jwks(&[&EC]));
    let keys = format!("jwks_file = \"{}\"\n", file.path().display());
    let fields: Vec<_> = problems(&keys).iter().map(|problem| problem.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(fields, ["issuer", "audience"]);
    let scene = Scene::new(&format!("{keys}any_issuer = true\nany_audience = true"));
    assert_eq!(scene.sent(&EC.sign(&claims(json!({ "iss": null, "aud": null })))), "alice");
    let scene = Scene::new(&format!("{keys}any_issuer = true\naudience = [\"{AUDIENCE}\"]"));
    assert_eq!(scene.sent(&EC.sign(&claims(json!({ "iss": "https://other.example.com" })))), "alice");
    assert_eq!(scene.sent(&EC.sign(&claims(json!({ "aud": "other" })))), "audience_mismatch");
}

#[test]
fn types_lifetimes_and_ages_are_asked_for_where_configured() {
    let good = || claims(json!({}));
    let typed = |typ: &str| EC.sign_with(&good(), |header| header.typ = Some(typ.to_owned()));
    let scene = Scene::simple("typ = \"at+jwt\"");
    assert_eq!(scene.sent(&typed("at+jwt")), "alice");
    assert_eq!(scene.sent(&typed("application/AT+JWT")), "alice");
    assert_eq!(scene.sent(&typed("JWT")), "token_type_mismatch");
    assert_eq!(scene.sent(&EC.sign_with(&good(), |header| header.typ = None)), "token_type_mismatch");
    assert_eq!(Scene::simple("max_lifetime = \"10m\"").sent(&EC.sign(&good())), "token_too_old");
    assert_eq!(Scene::simple("max_lifetime = \"11m\"").sent(&EC.sign(&good())), "alice");
    assert_eq!(Scene::simple("max_age = \"10s\"").sent(&EC.sign(&good())), "token_too_old");
    let without = EC.sign(&claims(json!({ "iat": null })));
    assert_eq!(Scene::simple("max_age = \"1h\"").sent(&without), "token_too_old", "configured means present");
    assert_eq!(Scene::simple("").sent(&without), "alice");
}

#[test]
fn rules_on_claims_all_hold() {
    let scene = Scene::simple(
        r#"claims = [{ claim = "plan", one_of = ["gold", "silver"] }, { claim = "org.id", matches = "[0-9]+" }]"#,
    );
    let sent = |changes| scene.sent(&EC.sign(&claims(changes)));
    assert_eq!(sent(json!({ "plan": "gold", "org": { "id": "7" } })), "alice");
    assert_eq!(sent(json!({ "plan": "gold", "org": { "id": "7x" } })), "claim_mismatch");
    assert_eq!(sent(json!({ "plan": "lead", "org": { "id": "7" } })), "claim_mismatch");
    assert_eq!(sent(json!({})), "claim_mismatch");
}
