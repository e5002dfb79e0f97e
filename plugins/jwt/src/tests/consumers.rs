use super::*;

fn build(credential: &str) -> Build {
    Build::new().credential::<Jwt>("acme", "acme-tokens", holder(credential), |_| {})
}

/// The consumer that a token is granted as, or the outcome.
fn consumer(build: Build, toml: &str, changes: Value) -> String {
    let scene = Scene::simple_with(build, toml);
    let token = EC.sign(&claims(changes));
    match scene.answer(bearer(&token)) {
        Ok(Authentication::Granted(identity)) => {
            assert_eq!(identity.credentials.len(), usize::from(identity.consumer.is_some()));
            identity.consumer.as_ref().map_or("none".to_owned(), |consumer| consumer.name.clone())
        }
        _ => scene.sent(&token),
    }
}

#[test]
fn a_consumer_is_found_by_subject_client_or_claim() {
    for (credential, toml, fits, does_not) in [
        ("subject = \"alice\"", "", json!({}), json!({ "sub": "Alice" })),
        ("subject = \"alice\"", "consumer = {}", json!({}), json!({ "sub": "bob" })),
        ("client_id = \"app\"", "consumer = { by = \"client\" }", json!({ "azp": "app" }), json!({ "sub": "app" })),
        (
            "client_id = \"app\"",
            "consumer = { by = \"client\" }",
            json!({ "client_id": "app" }),
            json!({ "azp": "x", "client_id": "app" }),
        ),
        (
            "claim = { path = \"org.id\", value = \"7\" }",
            "consumer = { by = \"claim\", claim = \"org.id\" }",
            json!({ "org": { "id": "7" } }),
            json!({ "org": { "id": 7 } }),
        ),
    ] {
        assert_eq!(consumer(build(credential), toml, fits), "acme", "{credential}");
        let expected = if toml.is_empty() { "none" } else { "403 consumer_unknown" };
        assert_eq!(consumer(build(credential), toml, does_not), expected, "{credential}");
    }
}

#[test]
fn a_consumer_is_required_where_the_policy_says_how_to_find_one_unless_it_says_not() {
    let nobody = json!({ "sub": "bob" });
    let found = |toml: &str| consumer(build("subject = \"alice\""), toml, nobody.clone());
    assert_eq!(found(""), "none");
    assert_eq!(found("consumer_required = true"), "403 consumer_unknown");
    assert_eq!(found("consumer = { by = \"subject\" }"), "403 consumer_unknown");
    assert_eq!(found("consumer = { by = \"subject\" }\nconsumer_required = false"), "none");
    assert_eq!(consumer(Build::new(), "consumer_required = true", json!({})), "403 consumer_unknown");
}

#[test]
fn a_consumer_of_another_tenant_is_refused() {
    let of = |tenant: Option<&str>| {
        let tenant = tenant.map(str::to_owned);
        Build::new().credential::<Jwt>("acme", "acme-tokens", holder("subject = \"alice\""), |credential| {
            let consumer = portcullis_plugin::Consumer { name: "acme".to_owned(), tenant, ..Default::default() };
            credential.consumer = Arc::new(consumer);
        })
    };
    let mapped = "identity = { tenant = \"tid\" }";
    assert_eq!(consumer(of(Some("acme")), mapped, json!({ "tid": "acme" })), "acme");
    assert_eq!(consumer(of(Some("acme")), mapped, json!({ "tid": "globex" })), "403 tenant_mismatch");
    assert_eq!(consumer(of(Some("acme")), "tenant = \"globex\"", json!({})), "403 tenant_mismatch");
    assert_eq!(consumer(of(None), mapped, json!({ "tid": "globex" })), "acme");
    let identity = Scene::simple_with(of(Some("acme")), mapped).identity(json!({}));
    assert_eq!(identity.tenant.as_deref(), Some("acme"), "the token says nothing of a tenant");
}

#[test]
fn scopes_of_the_token_speak_and_those_of_the_credential_limit_them() {
    let with = |scopes: &[&str]| {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let change = |credential: &mut Credential| credential.scopes = scopes;
        let build = Build::new().credential::<Jwt>("acme", "acme-tokens", holder("subject = \"alice\""), change);
        Scene::simple_with(build, "").identity(json!({ "scope": "read write" })).scopes.clone()
    };
    assert_eq!(with(&[]), ["read", "write"]);
    assert_eq!(with(&["read", "admin"]), ["read"], "never more than the token has");
    assert_eq!(with(&["admin"]), [""; 0]);
}

#[test]
fn roles_are_those_of_the_token_and_of_the_consumer() {
    let change = |credential: &mut Credential| {
        let roles = vec!["partner".to_owned(), "reader".to_owned()];
        credential.consumer =
            Arc::new(portcullis_plugin::Consumer { name: "acme".to_owned(), roles, ..Default::default() });
    };
    let build = Build::new().credential::<Jwt>("acme", "acme-tokens", holder("subject = \"alice\""), change);
    let identity = Scene::simple_with(build, "").identity(json!({ "roles": ["reader"] }));
    assert_eq!(identity.roles, ["reader", "partner"]);
}

/// The problem that is reported of a single credential: `field: message`.
fn wrong(credential: &str, toml: &str) -> String {
    let file = key_file(&jwks(&[&EC]));
    let mut build = build(credential);
    let usual = format!("issuer = \"{ISSUER}\"\nany_audience = true\njwks_file = \"{}\"\n", file.path().display());
    build.plugin::<Jwt>(config(&(usual + toml))).unwrap();
    let [(0, field, message)] = &build.problems[..] else { panic!("{credential}: {:?}", build.problems) };
    format!("{field}: {message}")
}

#[test]
fn a_credential_that_no_token_could_be_found_by_is_a_problem() {
    let by_claim = "consumer = { by = \"claim\", claim = \"org.id\" }";
    for (credential, toml, expected) in [
        ("", "", "subject: is missing"),
        ("subject = \"\"", "", "subject: is empty"),
        ("client_id = \"app\"", "", "client_id: is not what the policy finds consumers by: that is `subject`"),
        ("subject = \"alice\"", "consumer = { by = \"client\" }", "subject: is not what the policy"),
        ("subject = \"alice\"\nclient_id = \"app\"", "", "client_id: stands beside `subject`"),
        ("issuer = \"https://other.example.com\"\nsubject = \"alice\"", "", "issuer: is no issuer of the policy"),
        ("claim = { path = \"org\", value = \"7\" }", by_claim, "claim.path: is not the claim"),
        ("", by_claim, "claim: is missing"),
    ] {
        let wrong = wrong(credential, toml);
        assert!(wrong.starts_with(expected), "{credential}: {wrong}");
    }
}

#[test]
fn two_credentials_for_the_same_tokens_are_a_problem_that_names_the_other() {
    let file = key_file(&jwks(&[&EC]));
    let mut build = build("subject = \"alice\"").credential::<Jwt>(
        "globex",
        "globex-tokens",
        holder(&format!("issuer = \"{ISSUER}\"\nsubject = \"alice\"")),
        |_| {},
    );
    let toml = format!("issuer = \"{ISSUER}\"\nany_audience = true\njwks_file = \"{}\"", file.path().display());
    build.plugin::<Jwt>(config(&toml)).unwrap();
    let expected = (1, "subject".to_owned(), "the credential `acme-tokens` takes the same tokens".to_owned());
    assert_eq!(build.problems, [expected]);
}

#[test]
fn among_several_issuers_a_credential_names_its_own() {
    let (one, two) = (key_file(&jwks(&[&EC])), key_file(&jwks(&[&ED])));
    let toml = format!(
        r#"
        any_audience = true
        [[issuers]]
        issuer = "https://one.example.com"
        jwks_file = "{}"
        [[issuers]]
        issuer = "https://two.example.com"
        jwks_file = "{}"
        consumer = {{ by = "client" }}
        "#,
        one.path().display(),
        two.path().display()
    );
    let mut nameless = build("subject = \"alice\"");
    nameless.plugin::<Jwt>(config(&toml)).unwrap();
    assert_eq!(nameless.problems[0].1, "issuer");
    let credentials = build("issuer = \"https://one.example.com\"\nsubject = \"alice\"").credential::<Jwt>(
        "globex",
        "globex-tokens",
        holder("issuer = \"https://two.example.com\"\nclient_id = \"alice\""),
        |_| {},
    );
    let scene = Scene::with(credentials, &toml);
    let of = |signer: &Signer, changes| match scene.answer(bearer(&signer.sign(&claims(changes)))) {
        Ok(Authentication::Granted(identity)) => identity.consumer.as_ref().map(|consumer| consumer.name.clone()),
        _ => None,
    };
    assert_eq!(of(&EC, json!({ "iss": "https://one.example.com" })).as_deref(), Some("acme"));
    assert_eq!(of(&ED, json!({ "iss": "https://two.example.com", "azp": "alice" })).as_deref(), Some("globex"));
    assert_eq!(of(&ED, json!({ "iss": "https://two.example.com" })), None, "by client, and it has none");
}

#[test]
fn where_any_issuer_is_taken_a_credential_names_none() {
    let file = key_file(&jwks(&[&EC]));
    let toml = format!("any_issuer = true\nany_audience = true\njwks_file = \"{}\"", file.path().display());
    let mut named = build("issuer = \"https://auth.example.com\"\nsubject = \"alice\"");
    named.plugin::<Jwt>(config(&toml)).unwrap();
    assert!(named.problems[0].2.starts_with("has no use"), "{:?}", named.problems);
    assert_eq!(Scene::with(build("subject = \"alice\""), &toml).sent(&EC.sign(&claims(json!({})))), "alice");
}
