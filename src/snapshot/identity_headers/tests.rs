use std::sync::Arc;

use portcullis_plugin::Consumer;

use super::*;

fn compile(file: &file::Identity) -> Result<IdentityHeaders, Vec<(String, String)>> {
    IdentityHeaders::compile(file, &file::ClientAddress::default())
}

fn named(name: &str) -> HeaderName {
    HeaderName::from_bytes(name.as_bytes()).expect("a name")
}

#[test]
fn every_spelling_of_a_managed_name_is_removed() {
    let headers = IdentityHeaders::default();
    for name in [
        "X-User-ID",
        "x-user-id",
        "X_User_Id",
        "x_user.id",
        "X.User.Id",
        "X~User!Id",
        "x+user|id",
        "X-Consumer",
        "X-Consumer-Username",
        "X-Consumer-Groups",
        "x.consumer.groups",
        "X-Credential-ID",
        "X-Credential-Identifier",
        "X-Client-ID",
        "X-Tenant-ID",
        "X-User-Email",
        "X-User-Roles",
        "X-Scopes",
        "X-Auth-Method",
        "X-Request-ID",
        "X-Authenticated-Userid",
        "X-Anonymous-Consumer",
        "Remote-User",
        "X-Userinfo",
        "X-Access-Token",
        "X-ID-Token",
    ] {
        assert!(headers.removes(&named(name)), "{name}");
    }
}

#[test]
fn what_speaks_for_a_certificate_or_a_hop_is_removed() {
    let headers = IdentityHeaders::default();
    for name in [
        "Client-Cert",
        "Client-Cert-Chain",
        "X-Client-Cert",
        "X-Client-DN",
        "X-Client-Verify",
        "X-Forwarded-Client-Cert",
        "SSL-Client-Verify",
        "X-SSL-Client-Cert",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-User",
        "X-Real-IP",
        "X-HTTP-Method-Override",
        "X-Original-URL",
        "X-Rewrite-URL",
    ] {
        assert!(headers.removes(&named(name)), "{name}");
    }
}

#[test]
fn what_is_nobodys_business_stays() {
    let headers = IdentityHeaders::default();
    for name in [
        "accept",
        "authorization",
        "cookie",
        "content-type",
        "user-agent",
        "x-custom",
        "x-api-version",
        "x-userland",
        "client-hints",
        "x-scopes-extra",
        "if-none-match",
        "range",
        "x-correlation-id",
        "traceparent",
    ] {
        assert!(!headers.removes(&named(name)), "{name}");
    }
}

#[test]
fn any_name_with_an_underscore_is_removed() {
    assert!(IdentityHeaders::default().removes(&named("my_app_header")));
}

#[test]
fn a_header_that_is_renamed_or_turned_off_is_removed_all_the_same() {
    let file: file::Identity = toml::from_str(
        "strip = [\"X-Legacy-User\"]\n[headers]\nuser = \"X-Subject\"\ngroups = false\nemail = \"X-User-Email\"",
    )
    .expect("a table");
    let headers = compile(&file).expect("no name twice");
    for name in ["X-Subject", "X-User-ID", "X-Consumer-Groups", "X-Legacy-User", "x_legacy.user"] {
        assert!(headers.removes(&named(name)), "{name}");
    }
    let consumer = Consumer { name: "acme".into(), groups: vec!["partners".into()], ..Consumer::default() };
    let identity = Identity {
        subject: Some("alice".into()),
        email: Some("a@example.com".into()),
        consumer: Some(Arc::new(consumer)),
        method: "jwt".into(),
        ..Identity::default()
    };
    let set: Vec<_> =
        headers.of(&identity).map(|(name, value)| format!("{name}={}", value.to_str().expect("text"))).collect();
    assert_eq!(set, ["x-subject=alice", "x-consumer=acme", "x-user-email=a@example.com", "x-auth-method=jwt"]);
}

#[test]
fn values_are_visible_ascii_whatever_the_identity_holds() {
    let identity = Identity {
        subject: Some("a\r\nX-Admin: 1, b%c \u{e9}".into()),
        roles: vec!["one,two".into(), String::new(), "three".into()],
        scopes: vec!["orders:read".into(), "a b".into()],
        ..Identity::default()
    };
    let headers = IdentityHeaders::default();
    let value = |field: &str| {
        let mut all = headers.of(&identity);
        all.find(|(name, _)| *name == field).map(|(_, value)| value.to_str().expect("text").to_owned())
    };
    assert_eq!(value("x-user-id").as_deref(), Some("a%0D%0AX-Admin:%201%2C%20b%25c%20%C3%A9"));
    assert_eq!(value("x-user-roles").as_deref(), Some("one%2Ctwo,three"), "an item cannot become two");
    assert_eq!(value("x-scopes").as_deref(), Some("orders:read a%20b"));
    assert_eq!(value("x-consumer"), None, "what is empty is left out");
}

#[test]
fn identities_that_do_not_fit_are_told() {
    let headers = compile(&file::Identity { max_bytes: Some(40), ..file::Identity::default() }).expect("names");
    assert!(headers.fits(&Identity { subject: Some("alice".into()), ..Identity::default() }));
    assert!(!headers.fits(&Identity { subject: Some("a".repeat(40)), ..Identity::default() }));
}

#[test]
fn names_that_clash_or_frame_are_refused() {
    let clash: file::Identity = toml::from_str("[headers]\nuser = \"X-Consumer\"").expect("a table");
    assert!(compile(&clash).is_err());
    let framing: file::Identity = toml::from_str("[headers]\nuser = \"Content-Length\"").expect("a table");
    assert!(compile(&framing).is_err());
}

#[test]
fn the_header_that_names_the_client_is_removed_whatever_it_is_called() {
    let client: file::ClientAddress = toml::from_str("header = \"Edge-Client-IP\"").expect("a table");
    let headers = IdentityHeaders::compile(&file::Identity::default(), &client).expect("no name twice");
    assert!(headers.removes(&named("edge-client-ip")));
    assert!(!IdentityHeaders::default().removes(&named("edge-client-ip")));
}

#[test]
fn headers_that_policies_fill_are_removed_in_every_spelling_and_set_where_the_identity_has_them() {
    let mut headers = IdentityHeaders::default();
    assert!(!headers.removes(&named("x-plan")) && !headers.removes(&named("quota")));
    for name in ["x-plan", "x-plan", "quota"] {
        headers.add(named(name)).expect("two policies may fill the same");
    }
    for name in ["X-Plan", "x_plan", "X.Plan", "Quota"] {
        assert!(headers.removes(&named(name)), "{name}");
    }
    let untold = (named("x-untold"), HeaderValue::from_static("1"));
    let identity =
        Identity { headers: vec![(named("x-plan"), HeaderValue::from_static("gold")), untold], ..Identity::default() };
    let set: Vec<_> = headers.of(&identity).map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(set, [("x-plan", &b"gold"[..])], "one that nobody told of could come from anybody");
    assert_eq!(headers.of(&Identity::default()).count(), 0);
}

#[test]
fn headers_that_policies_fill_count_towards_the_limit() {
    let limit = file::Identity { max_bytes: Some(40), ..file::Identity::default() };
    let mut headers = compile(&limit).expect("names");
    headers.add(named("x-plan")).expect("a free name");
    let of = |length| {
        let value = HeaderValue::from_str(&"a".repeat(length)).expect("text");
        Identity { headers: vec![(named("x-plan"), value)], ..Identity::default() }
    };
    assert!(headers.fits(&of(34)) && !headers.fits(&of(35)));
}

#[test]
fn a_policy_cannot_fill_what_is_managed_or_frames() {
    for name in [
        "x-user-id",
        "X_User_ID",
        "x-request-id",
        "x-forwarded-for",
        "forwarded",
        "content-length",
        "connection",
        "host",
        "cookie",
        "authorization",
    ] {
        assert!(IdentityHeaders::default().add(named(name)).is_err(), "{name}");
    }
    let renamed: file::Identity = toml::from_str("[headers]\nuser = \"X-Subject\"").expect("a table");
    let why = compile(&renamed).expect("names").add(named("x-subject"));
    assert_eq!(why, Err("`x-subject` is the header of the identity's user already".to_owned()));
    assert_eq!(compile(&renamed).expect("names").add(named("x-user-id")), Ok(()), "it is free now");
    let client: file::ClientAddress = toml::from_str("header = \"Edge-Client-IP\"").expect("a table");
    let mut headers = IdentityHeaders::compile(&file::Identity::default(), &client).expect("names");
    assert!(headers.add(named("edge-client-ip")).is_err());
}
