use std::time::Duration;

use portcullis_plugin::{
    Answer, Revocation, StoreError,
    testing::{now, store::DistantStore},
};

use super::*;

/// The outcome of a request whose token is remembered, and so is answered at once.
fn warm(scene: &Scene, mut request: Request) -> String {
    match now(scene.hook.authenticate(&mut request.cx())) {
        Ok(Authentication::Granted(identity)) => identity.subject.clone().unwrap(),
        Ok(Authentication::Denied(denial)) => denial.reason.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_is_verified_once_and_then_answered_at_once_with_the_same_identity() {
    let (scene, token) = (Scene::simple(""), RSA.sign(&claims(json!({}))));
    let mut cold = bearer(&token);
    assert!(matches!(scene.hook.authenticate(&mut cold.cx()), Answer::Later(_)));
    assert_eq!(scene.sent(&token), "alice");
    assert_eq!(warm(&scene, bearer(&token)), "alice");
    let identity = |scene: &Scene| match scene.answer(bearer(&token)) {
        Ok(Authentication::Granted(identity)) => identity,
        other => panic!("{other:?}"),
    };
    assert!(Arc::ptr_eq(&identity(&scene), &identity(&scene)));
}

#[test]
fn the_clock_and_revocations_are_asked_on_every_hit() {
    let (scene, token) = (Scene::simple("max_age = \"5m\""), EC.sign(&claims(json!({ "nbf": NOW - 10 }))));
    assert_eq!(scene.sent(&token), "alice");
    assert_eq!(warm(&scene, at(bearer(&token), NOW - 40)), "alice");
    assert_eq!(warm(&scene, at(bearer(&token), NOW - 41)), "token_not_yet_valid");
    assert_eq!(warm(&scene, at(bearer(&token), NOW + 270)), "alice");
    assert_eq!(scene.outcome(at(bearer(&token), NOW + 271)), "token_too_old");
    assert_eq!(scene.outcome(at(bearer(&token), NOW + 600 + 30)), "token_expired");
    let revoked = Revocation::Token { issuer: ISSUER.to_owned(), jti: "1".to_owned() };
    block_on(revoked.write(&*scene.store, Duration::from_secs(60))).unwrap();
    assert_eq!(warm(&scene, bearer(&token)), "token_revoked");
}

#[test]
fn a_token_that_has_ended_or_was_revoked_is_not_remembered_as_good() {
    let scene = Scene::simple("");
    let ended = EC.sign(&claims(json!({ "exp": NOW - 31, "iat": NOW - 600 })));
    let never = EC.sign(&claims(json!({ "exp": NOW, "iat": NOW })));
    for _ in 0..2 {
        assert_eq!(scene.sent(&ended), "token_expired");
        assert_eq!(scene.sent(&never), "token_expired", "`expires_in` of nothing");
    }
}

#[test]
fn a_token_that_one_policy_has_verified_is_verified_again_by_another() {
    let token = EC.sign(&claims(json!({})));
    let first = Scene::simple("");
    assert_eq!(first.sent(&token), "alice");
    let other = Scene::simple("tenant = \"a\"\nidentity = { tenant = \"tid\" }");
    assert_eq!(other.sent(&token), "403 tenant_mismatch");
}

#[test]
fn more_tokens_than_are_remembered_are_all_judged() {
    let scene = Scene::simple("max_cached_tokens = 8");
    let tokens: Vec<_> = (0..64).map(|n| ED.sign(&claims(json!({ "jti": n.to_string() })))).collect();
    for _ in 0..2 {
        assert!(tokens.iter().all(|token| scene.sent(token) == "alice"));
    }
}

#[test]
fn a_remembered_token_allocates_nothing() {
    let credential = holder("subject = \"alice\"");
    let build = Build::new().credential::<Jwt>("acme", "acme-tokens", credential, |_| {});
    let scene = Scene::simple_with(
        build,
        r#"
        from = [{ header = "authorization", scheme = "Bearer" }, { query = "t" }, { cookie = "t" }]
        version_claim = "ver"
        max_age = "1h"
        consumer = { by = "subject" }
        headers = { "x-department" = "department" }
        "#,
    );
    let tokens = [&*RSA, &EC, &ED].map(|signer| signer.sign(&claims(json!({ "ver": 1, "department": "a" }))));
    let revoked = EC.sign(&claims(json!({ "ver": 1, "jti": "2" })));
    for token in tokens.iter().chain([&revoked]) {
        assert_eq!(scene.sent(token), "alice");
    }
    let revocation = Revocation::Token { issuer: ISSUER.to_owned(), jti: "2".to_owned() };
    block_on(revocation.write(&*scene.store, Duration::from_secs(60))).unwrap();
    let mut requests: Vec<_> = tokens.iter().map(|token| bearer(token)).collect();
    requests.push(Request::get(&format!("/?t={}", tokens[0])));
    requests.push(Request::get("/").header("cookie", format!("t={}", tokens[0])));
    requests.push(bearer(&revoked));
    requests.push(at(bearer(&tokens[0]), NOW - 600));
    requests.push(Request::get("/"));
    requests.push(bearer("one").header("authorization", "Bearer two"));
    for request in &mut requests {
        let allocations = allocation_counter::measure(|| {
            assert!(now(scene.hook.authenticate(&mut request.cx())).is_ok());
        });
        assert_eq!(allocations.count_total, 0);
    }
}

fn with_store(store: DistantStore) -> Scene {
    let file = key_file(&jwks(&[&EC]));
    let toml = format!("issuer = \"{ISSUER}\"\nany_audience = true\njwks_file = \"{}\"", file.path().display());
    let mut build = Build::new();
    let mut policy = policy(config(&toml), &mut BuildCx::new(&mut build)).unwrap();
    policy.revocations = Revocations::new(Arc::new(store));
    Scene { hook: Arc::new(policy), store: build.store }
}

#[test]
fn a_store_that_answers_later_is_waited_for() {
    let store = Arc::new(LocalStore::default());
    let revoked = Revocation::Token { issuer: ISSUER.to_owned(), jti: "2".to_owned() };
    block_on(revoked.write(&*store, Duration::from_secs(60))).unwrap();
    let scene = with_store(DistantStore::new(store));
    let (good, revoked) = (EC.sign(&claims(json!({}))), EC.sign(&claims(json!({ "jti": "2" }))));
    for _ in 0..2 {
        assert_eq!(scene.sent(&good), "alice");
        assert_eq!(scene.sent(&revoked), "token_revoked");
    }
}

#[test]
fn a_store_that_does_not_answer_is_a_failure_on_warm_hits_too() {
    let store = DistantStore::new(Arc::default());
    store.fail(Some(StoreError::unavailable("gone")));
    let scene = with_store(store);
    let token = EC.sign(&claims(json!({})));
    for _ in 0..2 {
        assert_eq!(scene.sent(&token), "failed: store: gone");
    }
}
