//! Whose a certificate is.

use super::*;

fn acme(toml: &str) -> Build {
    Build::new().credential::<Mtls>("acme", "acme-1", holder(toml), |_| {})
}

/// The problems of credentials: `field: message`.
fn wrong(mut build: Build) -> Vec<String> {
    let _ = build.plugin::<Mtls>(config(""));
    build.problems.into_iter().map(|(_, field, message)| format!("{field}: {message}")).collect()
}

#[test]
fn a_consumer_is_found_by_anything_that_names_it() {
    let certificate = client(|sketch| {
        sketch.part("O", "ACME");
        sketch.serial = Some(vec![0x0A, 0xBC]);
        sketch.dns(&["a.example.com"]);
        sketch.uris(&["spiffe://example.org/a"]);
        sketch.emails(&["ops@Example.com"]);
    });
    let print = hex::encode(sent(&certificate, &[]).sha256);
    let fitting = [
        format!("fingerprint = \"{print}\""),
        "subject = \"O=ACME,CN=alice\"".to_owned(),
        "cn = \"alice\"".to_owned(),
        "dns = \"A.example.com\"".to_owned(),
        "uri = \"spiffe://example.org/a\"".to_owned(),
        "email = \"ops@example.com\"".to_owned(),
        "issuer = \"CN=Root\"\nserial = \"0a:bc\"".to_owned(),
        "dns = \"a.example.com\"\nissuer = \"CN=Root\"\ncn = \"alice\"".to_owned(),
    ];
    for toml in fitting {
        let identity = Scene::with(acme(&toml), "consumer = \"required\"").identity(&certificate);
        assert_eq!(identity.consumer.as_ref().unwrap().name, "acme", "{toml}");
        assert_eq!(identity.credentials[0].id.as_ref(), "acme-1");
        assert_eq!(identity.client.as_deref(), Some("spiffe://example.org/a"));
    }
    let other = [
        format!("fingerprint = \"{}\"", "ab".repeat(32)),
        "subject = \"CN=alice\"".to_owned(),
        "cn = \"Alice\"".to_owned(),
        "dns = \"b.example.com\"".to_owned(),
        "uri = \"spiffe://example.org/a/b\"".to_owned(),
        "email = \"OPS@example.com\"".to_owned(),
        "issuer = \"CN=Root\"\nserial = \"BC\"".to_owned(),
        "issuer = \"CN=Other\"\nserial = \"0ABC\"".to_owned(),
        "dns = \"a.example.com\"\nissuer = \"CN=Other\"".to_owned(),
        format!("fingerprint = \"{print}\"\ncn = \"bob\""),
    ];
    for toml in other {
        assert_eq!(
            Scene::with(acme(&toml), "consumer = \"required\"").over(&certificate),
            "403 consumer_unknown",
            "{toml}"
        );
        assert_eq!(Scene::with(acme(&toml), "").over(&certificate), "spiffe://example.org/a", "{toml}");
    }
}

#[test]
fn the_identity_has_the_scopes_tenant_and_roles_of_the_credential() {
    let build = Build::new().credential::<Mtls>("acme", "acme-1", holder("cn = \"alice\""), |credential| {
        credential.scopes = vec!["orders:read".to_owned()];
        let consumer = Arc::get_mut(&mut credential.consumer).unwrap();
        consumer.tenant = Some("acme".to_owned());
        consumer.roles = vec!["partner".to_owned()];
        consumer.client_id = Some("acme-erp".to_owned());
    });
    let identity = Scene::with(build, "").identity(&client(|_| {}));
    assert_eq!(identity.client.as_deref(), Some("acme-erp"));
    assert_eq!((identity.tenant.as_deref(), &identity.roles[..]), (Some("acme"), &["partner".to_owned()][..]));
    assert_eq!((&identity.scopes[..], identity.method.as_str()), (&["orders:read".to_owned()][..], "mtls"));
    assert_eq!(identity.subject, None);
}

#[test]
fn a_certificate_of_two_credentials_is_nobodys() {
    let build =
        acme("cn = \"alice\"").credential::<Mtls>("globex", "globex-1", holder("dns = \"a.example.com\""), |_| {});
    let scene = Scene::with(build, "");
    assert_eq!(scene.over(&client(|_| {})), "alice");
    assert_eq!(scene.over(&client(|sketch| sketch.dns(&["a.example.com"]))), "403 identity_conflict");
    let twice = client(|sketch| sketch.dns(&["b.example.com", "b.example.com"]));
    assert_eq!(Scene::with(acme("dns = \"b.example.com\""), "").over(&twice), "b.example.com");
}

#[test]
fn credentials_that_say_too_little_or_the_same_are_errors() {
    let too_little = wrong(acme("issuer = \"CN=Root\""));
    assert!(too_little[0].starts_with(": says too little"), "{too_little:?}");
    assert!(wrong(acme(""))[0].starts_with(": says too little"));
    assert!(wrong(acme("serial = \"01\""))[0].starts_with("issuer: is missing"));
    assert!(wrong(acme("dns = \"*.example.com\""))[0].starts_with("dns: is a wildcard"));
    assert!(wrong(acme("cn = \"\""))[0].starts_with("cn: is empty"));
    let same = acme("cn = \"alice\"").credential::<Mtls>("globex", "globex-1", holder("cn = \"alice\""), |_| {});
    assert_eq!(wrong(same), [": the credential `acme-1` says the same"]);
    for odd in ["fingerprint = \"ab\"", "subject = \"alice\"", "serial = \"x\"", "unknown = 1", "uri = \"a\""] {
        assert!(toml::from_str::<Holder>(odd).is_err(), "{odd}");
    }
    for (odd, word) in [
        ("uri = \"spiffe://example.org/acme/*\"", "`spiffe.paths`"),
        ("subject = \"O = ACME, CN = alice\"", "-nameopt RFC2253"),
        ("issuer = \"O=ACME, CN=Root\"\nserial = \"01\"", "-nameopt RFC2253"),
    ] {
        let error = toml::from_str::<Holder>(odd).unwrap_err();
        assert!(error.message().contains(word), "{odd}: {error}");
    }
}
