//! Tests that expensive tokens are verified in their turn, and that nothing else waits for them.

use std::{
    net::IpAddr,
    pin::pin,
    task::{Context, Poll, Waker},
};

use aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING;
use portcullis_plugin::Acquire;

use super::*;

impl Signer {
    fn p384() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        Self { key: EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()), alg: Algorithm::ES384, kid: "p384" }
    }
}

fn policy_with(signers: &[&Signer]) -> Policy {
    let file = key_file(&jwks(signers));
    let mut algorithms: Vec<_> = signers.iter().map(|signer| format!("\"{:?}\"", signer.alg)).collect();
    algorithms.dedup();
    let toml = format!(
        "issuer = \"{ISSUER}\"\naudience = [\"{AUDIENCE}\"]\njwks_file = \"{}\"\nalgorithms = [{}]",
        file.path().display(),
        algorithms.join(", ")
    );
    policy(config(&toml), &mut BuildCx::new(&mut Build::new())).unwrap()
}

/// `None`: it waits.
fn asked(policy: &Policy, address: &str, token: &str) -> Option<String> {
    let mut request = Request { address: address.parse().unwrap(), ..bearer(token) };
    let mut cx = request.cx();
    let mut answer = pin!(policy.authenticate(&mut cx).get());
    let mut poll = || answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    // Whoever has had a turn lets others go first.
    let first = poll();
    let answer = if first.is_ready() { first } else { poll() };
    match answer {
        Poll::Ready(Ok(Authentication::Granted(_))) => Some("granted".to_owned()),
        Poll::Ready(Ok(Authentication::Denied(denial))) => Some(denial.reason.to_string()),
        Poll::Ready(other) => panic!("{other:?}"),
        Poll::Pending => None,
    }
}

fn all_permits(policy: &Policy) -> Vec<Acquire> {
    let queue = policy.verifications.queue();
    let acquire = || queue.acquire(IpAddr::from([192, 0, 2, 1]), None).unwrap();
    std::iter::from_fn(|| (queue.available() > 0).then(acquire)).collect()
}

#[test]
fn an_expensive_signature_waits_for_its_turn_and_nothing_else_does() {
    let (p384, forger) = (Signer::p384(), Signer::p384());
    let policy = policy_with(&[&RSA, &EC, &p384]);
    let (known, forged) = (p384.sign(&claims(json!({}))), forger.sign(&claims(json!({}))));
    assert_eq!(asked(&policy, "192.0.2.7", &known).as_deref(), Some("granted"));
    let permits = all_permits(&policy);
    let new = p384.sign(&claims(json!({ "jti": "2" })));
    assert_eq!(asked(&policy, "192.0.2.8", &forged), None);
    assert_eq!(asked(&policy, "192.0.2.7", &new), None);
    assert_eq!(asked(&policy, "192.0.2.8", &known).as_deref(), Some("granted"), "it is remembered");
    for cheap in [&*RSA, &*EC] {
        assert_eq!(asked(&policy, "192.0.2.8", &cheap.sign(&claims(json!({})))).as_deref(), Some("granted"));
    }
    assert_eq!(policy.verifications.queue().waiting(), 0, "who is gone does not wait");
    drop(permits);
    assert_eq!(asked(&policy, "192.0.2.8", &forged).as_deref(), Some("signature_invalid"));
    assert_eq!(asked(&policy, "192.0.2.7", &new).as_deref(), Some("granted"));
    assert_eq!(policy.verifications.queue().available(), all_permits(&policy).len(), "permits are given back");
}

#[test]
fn several_keys_that_have_to_be_tried_are_expensive_together() {
    let (one, two) = (Signer::ec("one"), Signer::ec("two"));
    let policy = policy_with(&[&one, &two]);
    let _permits = all_permits(&policy);
    let unnamed = two.sign_with(&claims(json!({})), |header| header.kid = None);
    assert_eq!(asked(&policy, "192.0.2.8", &unnamed), None);
    assert_eq!(asked(&policy, "192.0.2.8", &two.sign(&claims(json!({})))).as_deref(), Some("granted"));
}

/// Forged tokens from many addresses take all the places of strangers.
#[test]
fn a_flood_of_forged_tokens_refuses_nobody_whose_tokens_were_right_before() {
    let p384 = Signer::p384();
    let policy = policy_with(&[&p384]);
    let token = |jti: &str| p384.sign(&claims(json!({ "jti": jti })));
    assert_eq!(asked(&policy, "192.0.2.7", &token("1")).as_deref(), Some("granted"));
    let _permits = all_permits(&policy);
    let queue = policy.verifications.queue();
    let flood: Vec<_> =
        (0..9_000u32).filter_map(|number| queue.acquire(IpAddr::from(number.to_be_bytes()), None).ok()).collect();
    assert!(flood.len() < 4_000);
    let mut stranger = Request { address: "192.0.2.8".parse().unwrap(), ..bearer(&token("2")) };
    let refused = block_on(policy.authenticate(&mut stranger.cx()).get());
    assert!(refused.unwrap_err().to_string().contains("too many requests are waiting"));
    assert_eq!(asked(&policy, "192.0.2.7", &token("3")), None, "it waits, and is next but one");
}
