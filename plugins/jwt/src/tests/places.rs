use portcullis_plugin::{Attempt, Place, Reason};

use super::*;

fn good() -> String {
    EC.sign(&claims(json!({})))
}

#[test]
fn the_token_stands_in_authorization_after_bearer_unless_said() {
    let (scene, token) = (Scene::simple(""), good());
    let sent = |value: String| scene.outcome(Request::get("/").header("authorization", value));
    assert_eq!(sent(format!("bearer   {token}")), "alice");
    assert_eq!(sent(format!("Basic {token}")), "absent");
    assert_eq!(sent(token.clone()), "absent");
    assert_eq!(scene.outcome(Request::get("/").header("x-token", &token)), "absent");
    assert_eq!(scene.outcome(Request::get(&format!("/?access_token={token}"))), "absent");
}

#[test]
fn only_an_absent_token_is_absent() {
    let scene = Scene::simple("");
    assert_eq!(scene.outcome(Request::get("/")), "absent");
    for value in
        ["Bearer", "Bearer ", "Bearer\t", "Bearer sk_live_4fKq0aVn1YcT7mGx2RzB5sWp8LdH9jEu", "Bearer ..", "Bearer null"]
    {
        assert_eq!(scene.outcome(Request::get("/").header("authorization", value)), "token_malformed", "{value}");
    }
    let twice = bearer(&good()).header("authorization", format!("Bearer {}", EC.sign(&claims(json!({ "jti": "2" })))));
    assert_eq!(scene.outcome(twice), "token_conflict");
    let (one, same) = (good(), good());
    assert_ne!(one, same, "ECDSA signatures differ");
    let same = bearer(&one).header("authorization", format!("bearer {one}"));
    assert_eq!(scene.outcome(same), "alice");
}

#[test]
fn other_places_are_looked_at_where_the_policy_says_so() {
    let scene = Scene::simple(
        r#"from = [{ header = "authorization", scheme = "Bearer" }, { query = "access_token" }, { cookie = "token" }]"#,
    );
    let token = good();
    assert_eq!(scene.sent(&token), "alice");
    assert_eq!(scene.outcome(Request::get(&format!("/?access_token={token}"))), "alice");
    assert_eq!(scene.outcome(Request::get(&format!("/?access_token={}", token.replace('.', "%2E")))), "alice");
    assert_eq!(
        scene.outcome(Request::get(&format!("/?access_token={}%2E", token.replace('.', "%2E")))),
        "token_malformed"
    );
    assert_eq!(scene.outcome(Request::get("/").header("cookie", format!("a=b; token={token}"))), "alice");
    assert_eq!(scene.outcome(bearer(&token).header("cookie", "token=other")), "token_conflict");
    assert_eq!(scene.hook.hidden().0.len(), 3);
    let scene = Scene::simple(r#"header = ["x-token", "authorization"]"#);
    assert_eq!(scene.outcome(Request::get("/").header("x-token", &token)), "alice");
    assert_eq!(scene.sent(&token), "alice");
    let scene = Scene::simple(r#"scheme = "Token""#);
    assert_eq!(scene.outcome(Request::get("/").header("authorization", format!("Token {token}"))), "alice");
    assert_eq!(scene.sent(&token), "absent");
}

#[test]
fn the_token_is_hidden_unless_the_policy_keeps_it() {
    let bearer = Place::header("authorization", Some("Bearer")).unwrap();
    assert_eq!(Scene::simple("").hook.hidden(), Places(vec![bearer]));
    assert_eq!(Scene::simple("keep_credential = true").hook.hidden(), Places::default());
}

#[test]
fn the_challenge_has_an_error_where_a_token_was_sent() {
    let challenge = |toml: &str, attempt| {
        let challenge = Scene::simple(toml).hook.challenges(&Request::get("/").cx(), attempt).remove(0);
        let parameters = challenge.parameters.iter().map(|(name, value)| format!(" {name}={value}"));
        format!("{}{}", challenge.scheme, parameters.collect::<String>())
    };
    let denied = Attempt::Denied(Reason::TokenExpired);
    assert_eq!(challenge("", Attempt::Absent), "Bearer");
    assert_eq!(challenge("", denied), "Bearer error=invalid_token");
    assert_eq!(challenge("header = \"x-token\"", Attempt::Absent), "Bearer header=x-token");
    assert_eq!(challenge("header = \"x-token\"", denied), "Bearer header=x-token error=invalid_token");
    assert_eq!(challenge("scheme = \"Token\"", denied), "Token");
    assert_eq!(challenge("from = [{ cookie = \"t\" }]", Attempt::Absent), "Bearer in=cookie name=t");
    assert_eq!(challenge("from = [{ query = \"t\" }]", Attempt::Absent), "Bearer in=query name=t");
}
