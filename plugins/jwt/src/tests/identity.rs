use super::*;

#[test]
fn parts_of_the_identity_come_from_the_usual_claims() {
    let identity = Scene::simple("").identity(json!({
        "azp": "app", "client_id": "other", "email": "alice@example.com", "roles": ["a", "b"], "scp": ["x", "y"],
    }));
    assert_eq!(identity.subject.as_deref(), Some("alice"));
    assert_eq!(identity.client.as_deref(), Some("app"));
    assert_eq!(identity.email.as_deref(), Some("alice@example.com"));
    assert_eq!(
        (&*identity.roles, &*identity.scopes),
        (&["a", "b"].map(str::to_owned)[..], &["x", "y"].map(str::to_owned)[..])
    );
    assert_eq!(identity.tenant, None, "no claim speaks for the tenant unless the file says which");
    let bare = Scene::simple("").identity(json!({ "sub": null, "azp": "", "client_id": "app", "scope": "" }));
    assert_eq!((bare.subject.as_deref(), bare.client.as_deref()), (None, Some("app")), "an empty text is not there");
    assert!(bare.roles.is_empty() && bare.scopes.is_empty());
}

#[test]
fn a_mapping_names_other_claims_or_none() {
    let scene = Scene::simple(
        r#"
        identity = { subject = ["uid", "sub"], client = [], tenant = "org.id", email = [], roles = "realm_access.roles", scopes = "/https:~1~1example.com~1scopes" }
        "#,
    );
    let identity = scene.identity(json!({
        "azp": "app", "email": "alice@example.com", "org": { "id": "acme" }, "roles": ["no"], "scope": "no",
        "realm_access": { "roles": "admin" }, "https://example.com/scopes": "a  b",
    }));
    assert_eq!(identity.subject.as_deref(), Some("alice"));
    assert_eq!((&identity.client, &identity.email), (&None, &None));
    assert_eq!(identity.tenant.as_deref(), Some("acme"));
    assert_eq!((&*identity.roles, &*identity.scopes), (&["admin".to_owned()][..], &["a", "b"].map(str::to_owned)[..]));
    assert_eq!(scene.identity(json!({ "uid": "u1" })).subject.as_deref(), Some("u1"));
}

#[test]
fn a_claim_of_another_type_than_its_part_makes_the_token_malformed() {
    let scene = Scene::simple("identity = { subject = \"uid\", tenant = \"tid\" }");
    for (claim, wrong) in [
        ("uid", json!(7)),
        ("uid", json!({})),
        ("azp", json!(["app"])),
        ("tid", json!(true)),
        ("email", json!(["a@example.com"])),
        ("roles", json!({ "admin": true })),
        ("roles", json!(["a", 7])),
        ("roles", json!(["a", null])),
        ("scope", json!(7)),
        ("scp", json!([["x"]])),
    ] {
        let token = EC.sign(&claims(json!({ claim: wrong })));
        assert_eq!(scene.sent(&token), "token_malformed", "{claim}");
    }
}

#[test]
fn an_address_counts_unless_it_is_said_not_to_be_verified() {
    let scene = Scene::simple("");
    let email = |changes: Value| scene.identity(changes).email.clone();
    let verified = |verified: Value| email(json!({ "email": "a@example.com", "email_verified": verified }));
    assert_eq!(email(json!({ "email": "a@example.com" })).as_deref(), Some("a@example.com"));
    assert!(verified(json!(true)).is_some() && verified(json!("true")).is_some());
    for no in [json!(false), json!("false"), json!("no"), json!(0), json!([]), json!("TRUE")] {
        assert_eq!(verified(no.clone()), None, "{no}");
    }
}

#[test]
fn claims_fill_the_headers_that_the_policy_names_and_no_others() {
    let scene = Scene::simple(
        r#"headers = { "X-Department" = "department", "x-groups" = "groups", "x-level" = "org.level", "x-beta" = "beta" }"#,
    );
    let names: Vec<_> = scene.hook.headers().iter().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(names, ["x-beta", "x-department", "x-groups", "x-level"]);
    let headers = |changes: Value| {
        let identity = scene.identity(changes);
        let shown = identity.headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap()));
        shown.collect::<Vec<_>>()
    };
    let all = json!({
        "department": "R&D, Köln", "groups": ["a,b", "", "c d"], "org": { "level": 7 }, "beta": true, "other": "x",
    });
    assert_eq!(headers(all), ["x-department=R&D%2C%20K%C3%B6ln", "x-beta=true", "x-groups=a%2Cb,c%20d", "x-level=7"]);
    let nothing = json!({ "department": {}, "groups": [["a"]], "org": 7, "beta": "" });
    assert_eq!(headers(nothing), [""; 0]);
}

#[test]
fn no_claim_writes_a_line_into_a_header() {
    let scene = Scene::simple("headers = { \"x-department\" = \"department\" }");
    let identity = scene.identity(json!({ "department": "a\r\nx-user-id: root\u{0}\u{7f}", "sub": "a\r\nb" }));
    assert_eq!(identity.headers[0].1, "a%0D%0Ax-user-id:%20root%00%7F");
    assert!(identity.values().iter().all(|(_, value)| value.as_bytes().iter().all(u8::is_ascii_graphic)));
}
