use std::net::Ipv6Addr;

use portcullis_plugin::{Consumer, CredentialLimits, Usage};
use serde_json::json;

use super::*;

fn access() -> Access<'static> {
    Access {
        request_id: "7f3a",
        address: Ipv4Addr::new(203, 0, 113, 7).into(),
        method: "GET",
        host: Some("api.example.com"),
        path: "/orders/1",
        protocol: "HTTP/1.1",
        status: 200,
        bytes_sent: 1234,
        bytes_received: 0,
        duration: Duration::from_micros(1500),
        route: Some("orders"),
        upstream: Some("orders"),
        target: Some("10.0.0.1:9000"),
        target_address: None,
        unreached: &[],
        consumer: Some("acme"),
        reason: None,
        error: None,
        user_agent: Some(b"curl/8.5.0"),
    }
}

fn audit<'a>(credentials: &'a [Arc<Credential>]) -> Audit<'a> {
    Audit {
        event: AuditEvent::Authentication,
        result: AuditResult::Denied,
        reason: Some("key_expired"),
        detail: None,
        request_id: "7f3a",
        route: Some("orders"),
        policy: Some("partner-keys"),
        consumer: Some("acme"),
        subject: Some("alice"),
        tenant: Some("acme-eu"),
        issuer: Some("https://auth.example.com"),
        credentials,
        certificate: None,
        claimed: None,
        address: Ipv6Addr::LOCALHOST.into(),
        method: "POST",
        path: "/orders",
    }
}

fn credential(id: &str) -> Arc<Credential> {
    Arc::new(Credential {
        kind: "key-auth",
        id: id.into(),
        consumer: Arc::new(Consumer::default()),
        scopes: Vec::new(),
        owner: None,
        tier: None,
        limits: CredentialLimits::default(),
        usage: Arc::new(Usage::default()),
    })
}

/// Returns the line as text without its time, and as JSON.
fn line(append: impl FnOnce(&mut Vec<u8>)) -> (String, serde_json::Value) {
    let mut line = Vec::new();
    append(&mut line);
    let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
    let time: jiff::Timestamp = value["time"].as_str().unwrap().parse().unwrap();
    assert!(time.duration_until(jiff::Timestamp::now()).as_secs().abs() < 5);
    let text = String::from_utf8(line).unwrap();
    (text.replacen(value["time"].as_str().unwrap(), "T", 1), value)
}

#[test]
fn an_access_line() {
    let (text, _) = line(|line| access().append(line));
    let expected = concat!(
        r#"{"time":"T","event":"access","request_id":"7f3a","address":"203.0.113.7","method":"GET","#,
        r#""host":"api.example.com","path":"/orders/1","protocol":"HTTP/1.1","status":200,"bytes_sent":1234,"#,
        r#""bytes_received":0,"duration_us":1500,"route":"orders","upstream":"orders","target":"10.0.0.1:9000","#,
        r#""consumer":"acme","user_agent":"curl/8.5.0"}"#
    );
    assert_eq!(text, expected);
}

#[test]
fn what_is_absent_is_left_out() {
    let bare = Access {
        host: None,
        route: None,
        upstream: None,
        target: None,
        consumer: None,
        reason: Some("key_unknown"),
        error: Some("no route to host"),
        user_agent: None,
        ..access()
    };
    let (_, value) = line(|line| bare.append(line));
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected = "address bytes_received bytes_sent duration_us error event method path protocol reason request_id \
                    status time";
    assert_eq!(keys.join(" "), expected);
}

#[test]
fn targets_that_could_not_be_reached_are_named() {
    let unreached = ["10.0.0.2:9000".into(), "10.0.0.3:9000".into()];
    let (_, value) = line(|line| Access { unreached: &unreached, ..access() }.append(line));
    assert_eq!(value["unreached"], serde_json::json!(["10.0.0.2:9000", "10.0.0.3:9000"]));
}

#[test]
fn a_query_is_in_no_line() {
    let path = "/callback?code=SECRET&state=x";
    let (text, value) = line(|line| Access { path, ..access() }.append(line));
    assert!(!text.contains("SECRET"));
    assert_eq!(value["path"], "/callback");
    let (text, value) = line(|line| Audit { path, ..audit(&[]) }.append(line));
    assert!(!text.contains("SECRET"));
    assert_eq!(value["path"], "/callback");
}

#[test]
fn a_client_cannot_write_a_line_of_its_own() {
    let forged = "x\"}\n{\"event\":\"authentication\",\"result\":\"granted\"";
    let request = Access { path: forged, host: Some(forged), user_agent: Some(forged.as_bytes()), ..access() };
    let (text, value) = line(|line| request.append(line));
    assert!(!text.contains('\n'));
    assert_eq!((&value["path"], &value["user_agent"]), (&json!(forged), &json!(forged)));
}

#[test]
fn every_text_is_cut() {
    let long = "\u{1}".repeat(100_000);
    let mut buffer = Vec::new();
    let request = Access {
        method: &long,
        host: Some(&long),
        path: &long,
        route: Some(&long),
        upstream: Some(&long),
        target: Some(&long),
        consumer: Some(&long),
        reason: Some(&long),
        error: Some(&long),
        user_agent: Some(long.as_bytes()),
        ..access()
    };
    request.append(&mut buffer);
    assert!(
        buffer.len() < 6 * (10 * MAX_TEXT_BYTES + MAX_PATH_BYTES + MAX_USER_AGENT_BYTES) + 1000,
        "{}",
        buffer.len()
    );
    let (_, value) = line(|line| request.append(line));
    assert_eq!(value["user_agent"].as_str().unwrap().len(), MAX_USER_AGENT_BYTES);
    assert_eq!(value["path"].as_str().unwrap().len(), MAX_PATH_BYTES);
}

#[test]
fn an_audit_event() {
    let one = [credential("acme-2026-q4")];
    let (text, _) = line(|line| audit(&one).append(line));
    let expected = concat!(
        r#"{"time":"T","event":"authentication","result":"denied","reason":"key_expired","request_id":"7f3a","#,
        r#""route":"orders","policy":"partner-keys","consumer":"acme","subject":"alice","tenant":"acme-eu","#,
        r#""issuer":"https://auth.example.com","credential_id":"acme-2026-q4","address":"::1","method":"POST","#,
        r#""path":"/orders"}"#
    );
    assert_eq!(text, expected);
}

#[test]
fn who_was_claimed_stands_apart_from_who_it_was_and_cannot_shape_the_line() {
    let name = "\"},\"consumer\":\"root\n\u{1b}[2J\u{85}\\".repeat(200);
    let claimed = Claimed::by_token(Some("https://id.example"), Some(&name));
    let (text, value) = line(|line| Audit { claimed: Some(&claimed), ..audit(&[]) }.append(line));
    assert!(!text.contains(char::is_control) && text.len() < 3000, "{text}");
    assert_eq!((&value["consumer"], &value["claimed"]["issuer"]), (&"acme".into(), &"https://id.example".into()));
    let told = value["claimed"]["subject"].as_str().unwrap();
    assert!(name.starts_with(told) && told.len() > Claimed::NAME_MAX_BYTES - 4, "{told}");
    let (text, _) = line(|line| audit(&[]).append(line));
    assert!(!text.contains("claimed"));
}

#[test]
fn a_detail_is_cut_like_every_text() {
    let long = "needs all of ".to_owned() + &"a, ".repeat(1000);
    let (_, value) = line(|line| Audit { detail: Some(&long), ..audit(&[]) }.append(line));
    let told = value["detail"].as_str().unwrap();
    assert!(long.starts_with(told) && told.len() > MAX_TEXT_BYTES - 4 && told.len() <= MAX_TEXT_BYTES, "{told}");
    let (text, _) = line(|line| audit(&[]).append(line));
    assert!(!text.contains("detail"));
}

#[test]
fn of_several_keys_that_are_claimed_all_are_named() {
    let claimed = |ids: &[&str]| {
        let claimed = Claimed::by_key_ids(ids.iter().copied());
        line(|line| Audit { claimed: Some(&claimed), ..audit(&[]) }.append(line)).1["claimed"].to_string()
    };
    assert_eq!(claimed(&["a"]), r#"{"key_id":"a"}"#);
    assert_eq!(claimed(&["a\"", "b"]), r#"{"key_id":"a\"","key_ids":["a\"","b"]}"#);
}

#[test]
fn several_credentials_are_all_named() {
    let two = [credential("cert-1"), credential("token-1")];
    let (_, value) = line(|line| audit(&two).append(line));
    assert_eq!(value["credential_id"], "cert-1");
    assert_eq!(value["credential_ids"], json!(["cert-1", "token-1"]));
    let (_, value) = line(|line| audit(&[]).append(line));
    assert!(value.get("credential_id").is_none() && value.get("credential_ids").is_none());
}

#[test]
fn a_note() {
    let fields = [("generation", Value::Number(5)), ("file", Value::Text("a.toml"))];
    let note = Note { level: Level::Warn, event: "reload", message: "kept the old one", fields: &fields };
    let (text, _) = line(|line| note.append(line));
    let expected = concat!(
        r#"{"time":"T","level":"warn","event":"reload","message":"kept the old one","#,
        r#""generation":5,"file":"a.toml"}"#
    );
    assert_eq!(text, expected);
}

#[test]
fn addresses_are_plain() {
    for (address, expected) in [
        ("0.0.0.0", "0.0.0.0"),
        ("255.10.9.100", "255.10.9.100"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
    ] {
        let mut line = Vec::new();
        append_address(address.parse().unwrap(), &mut line);
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }
}
