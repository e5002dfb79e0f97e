//! Every issuer with every audience and every tenant: of all the pairs only the right ones open anything.

use super::*;

/// Three services behind one policy each, two issuers, two tenants.
const ISSUERS: [&str; 2] = ["https://one.example.com", "https://two.example.com"];
const AUDIENCES: [&str; 2] = ["orders", "invoices"];
const TENANTS: [&str; 2] = ["acme", "globex"];

#[test]
fn a_token_opens_the_policy_of_its_issuer_audience_and_tenant_and_no_other() {
    let signers = [&*EC, &ED];
    let files = signers.map(|signer| key_file(&jwks(&[signer])));
    let mut opened = 0;
    for (issuer, audience, tenant) in combinations() {
        let scene = Scene::new(&format!(
            "issuer = \"{}\"\naudience = [\"{audience}\"]\ntenant = \"{tenant}\"\nidentity = {{ tenant = \"tid\" }}\njwks_file = \"{}\"",
            ISSUERS[issuer],
            files[issuer].path().display(),
        ));
        for (from, to, of) in combinations() {
            let claims = claims(json!({ "iss": ISSUERS[from], "aud": to, "tid": of }));
            for (signer, key) in signers.iter().enumerate() {
                let expected = match () {
                    () if from != issuer => "issuer_unknown",
                    () if signer != from => "signing_key_unknown",
                    () if to != audience => "audience_mismatch",
                    () if of != tenant => "403 tenant_mismatch",
                    () => "alice",
                };
                assert_eq!(scene.sent(&key.sign(&claims)), expected, "{issuer} {audience} {tenant}: {claims}");
                opened += usize::from(expected == "alice");
            }
        }
    }
    assert_eq!(opened, combinations().count());
}

fn combinations() -> impl Iterator<Item = (usize, &'static str, &'static str)> {
    let of_tenant = |issuer, audience| TENANTS.map(move |tenant| (issuer, audience, tenant));
    (0..2).flat_map(move |issuer| AUDIENCES.into_iter().flat_map(move |audience| of_tenant(issuer, audience)))
}

/// Two issuers on one policy, each with what is its own.
fn both(extra: &str) -> Scene {
    let files = [key_file(&jwks(&[&EC])), key_file(&jwks(&[&ED]))];
    let [one, two] = &files;
    Scene::new(&format!(
        r#"
        audience = ["orders"]
        identity = {{ roles = "groups" }}
        claims = [{{ claim = "env", equals = "prod" }}]
        {extra}
        [[issuers]]
        issuer = "{}"
        jwks_file = "{}"
        tenant = "acme"
        claims = [{{ claim = "plan", equals = "gold" }}]
        [[issuers]]
        issuer = "{}"
        jwks_file = "{}"
        audience = ["invoices"]
        tenant = "globex"
        algorithms = ["EdDSA"]
        identity = {{ subject = "uid" }}
        "#,
        ISSUERS[0],
        one.path().display(),
        ISSUERS[1],
        two.path().display(),
    ))
}

#[test]
fn one_policy_knows_several_issuers_and_mixes_nothing_of_them() {
    let scene = both("");
    let one = json!({ "iss": ISSUERS[0], "aud": "orders", "env": "prod", "plan": "gold", "uid": "u1" });
    let two = json!({ "iss": ISSUERS[1], "aud": ["x", "invoices"], "env": "prod", "uid": "u2", "groups": ["a", "b"] });
    assert_eq!(scene.sent(&EC.sign(&claims(one.clone()))), "alice");
    assert_eq!(scene.sent(&ED.sign(&claims(two.clone()))), "u2", "its own mapping");
    // Each with the other's key, audience and rules.
    assert_eq!(scene.sent(&ED.sign(&claims(one.clone()))), "signing_key_unknown");
    assert_eq!(scene.sent(&EC.sign(&claims(two.clone()))), "algorithm_not_allowed");
    let changed = |mut claims: Value, claim: &str, value: Value| {
        claims[claim] = value;
        self::claims(claims)
    };
    assert_eq!(scene.sent(&EC.sign(&changed(one.clone(), "aud", json!("invoices")))), "audience_mismatch");
    assert_eq!(scene.sent(&ED.sign(&changed(two.clone(), "aud", json!("orders")))), "audience_mismatch");
    assert_eq!(scene.sent(&EC.sign(&changed(one.clone(), "plan", json!(null)))), "claim_mismatch", "its own rule");
    assert_eq!(scene.sent(&ED.sign(&changed(two.clone(), "env", json!("test")))), "claim_mismatch", "the common rule");
    for issuer in ["", "https://one.example.com/", "HTTPS://one.example.com", "https://three.example.com"] {
        assert_eq!(scene.sent(&EC.sign(&changed(one.clone(), "iss", json!(issuer)))), "issuer_unknown", "{issuer}");
    }
    assert_eq!(
        scene.sent(&EC.sign(&changed(one, "iss", json!([ISSUERS[0]])))),
        "issuer_unknown",
        "a list is no issuer"
    );
    let Ok(Authentication::Granted(identity)) = scene.answer(bearer(&ED.sign(&claims(two)))) else { panic!() };
    assert_eq!((identity.tenant.as_deref(), &*identity.roles), (Some("globex"), &["a".to_owned(), "b".to_owned()][..]));
}

#[test]
fn a_token_without_the_claim_of_a_configured_tenant_belongs_to_none() {
    let scene = Scene::simple("tenant = \"acme\"\nidentity = { tenant = \"tid\" }");
    let sent = |tenant: Value| scene.sent(&EC.sign(&claims(json!({ "tid": tenant }))));
    assert_eq!(sent(json!("acme")), "alice");
    for wrong in [json!("globex"), json!("ACME"), json!(""), json!(null)] {
        assert_eq!(sent(wrong.clone()), "403 tenant_mismatch", "{wrong}");
    }
    assert_eq!(sent(json!(["acme"])), "token_malformed");
    assert_eq!(Scene::simple("tenant = \"acme\"").identity(json!({})).tenant.as_deref(), Some("acme"));
}
