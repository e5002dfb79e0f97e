//! Tests of failed attempts with whole policies: which of them count, for whom, and when.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use aws_lc_rs::hmac;
use portcullis_plugin::{
    Authenticate, Authentication, BodyError, Denial,
    testing::{Build, Request},
};

use crate::{
    Hmac,
    body::Hash,
    signing::{NOW, SECRET, Signer, outcome, request, wait, with_body},
};

const OTHER_SECRET: &str = "other-secret-of-32-bytes-or-more-";
const WRONG: &str = "wrong-secret-of-32-bytes-or-more-";

/// A policy with two credentials, `acme-1` and `other-1`, of two consumers; three failures of one key make it wait.
fn hook(toml: &str) -> Arc<dyn Authenticate> {
    hook_within(toml, "per_principal = 3")
}

/// The same with these limits.
fn hook_within(toml: &str, limits: &str) -> Arc<dyn Authenticate> {
    let shared = |secret: &str| toml::from_str(&format!("secret = \"{secret}\"")).unwrap();
    let mut build = Build::new().credential::<Hmac>("acme", "acme-1", shared(SECRET), |_| {}).credential::<Hmac>(
        "other",
        "other-1",
        shared(OTHER_SECRET),
        |_| {},
    );
    let toml = format!("{toml}\nattempts = {{ {limits}, window = \"1m\" }}");
    let hooks = build.plugin::<Hmac>(toml::from_str(&toml).unwrap());
    assert_eq!(build.problems, []);
    hooks.unwrap().authenticate.unwrap()
}

/// A request of the scheme `timestamp`, whose body has to be read before anything is proven. No two numbers are signed
/// alike.
fn stamped(number: i64, secret: &str) -> Request {
    let body = "{}";
    let (target, time) = (format!("/orders/{number}"), NOW.to_string());
    let message = format!("POST\n{target}\n{time}\n{}", Hash::Sha256.hex_of(body.as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
    let signature = format!("hmac-sha256={}", hex::encode(tag));
    let mut request = Request::new("POST", &target).header("x-timestamp", time).header("x-signature", signature);
    request = request.header("x-key-id", "acme-1");
    request.body = body.into();
    request
}

/// The same, of which the body comes late.
fn late(number: i64, secret: &str) -> Request {
    Request { body_waits: 2, ..stamped(number, secret) }
}

/// The same, whose body breaks off.
fn broken(number: i64) -> Request {
    Request { body_error: Some(BodyError::Broken("ReadTimedout".to_owned())), ..late(number, SECRET) }
}

#[test]
fn a_client_whose_bodies_break_off_is_refused_before_the_next_one_is_read() {
    let hook = hook("scheme = \"timestamp\"");
    for number in 0..3 {
        assert_eq!(outcome(&hook, &mut broken(number)), "signature_malformed");
    }
    let mut next = late(3, SECRET);
    assert_eq!(outcome(&hook, &mut next), "too_many_attempts");
    assert_eq!(next.body_waits, 2, "nobody has asked for its body");
    let mut elsewhere = late(4, SECRET);
    elsewhere.address = "192.0.2.7".parse().unwrap();
    assert_eq!(outcome(&hook, &mut elsewhere), "acme-1", "nobody is locked out from afar");
}

#[test]
fn a_signature_that_is_wrong_over_a_body_is_counted_and_a_right_one_resets() {
    let hook = hook("scheme = \"timestamp\"");
    for round in 0..3 {
        for number in 0..2 {
            assert_eq!(outcome(&hook, &mut late(10 * round + number, WRONG)), "signature_invalid");
        }
        assert_eq!(outcome(&hook, &mut late(10 * round + 2, SECRET)), "acme-1");
    }
    for number in 30..33 {
        assert_eq!(outcome(&hook, &mut late(number, WRONG)), "signature_invalid");
    }
    assert_eq!(outcome(&hook, &mut late(33, SECRET)), "too_many_attempts");
}

#[test]
fn a_signed_head_with_another_body_is_counted() {
    let hook = hook("");
    let changed = || {
        let (mut request, signer) = with_body("{}");
        request.body = "[]".into();
        signer.sign(request)
    };
    for _ in 0..3 {
        assert_eq!(outcome(&hook, &mut changed()), "digest_mismatch");
    }
    assert_eq!(outcome(&hook, &mut changed()), "too_many_attempts");
}

#[test]
fn a_body_that_turns_out_too_large_is_counted_and_one_that_says_so_is_not() {
    let hook = hook("scheme = \"timestamp\"");
    let said = |number| Request { body_error: Some(BodyError::TooLarge), ..stamped(number, SECRET) };
    let unsaid = |number| Request { body_waits: 2, ..said(number) };
    for number in 0..5 {
        assert_eq!(outcome(&hook, &mut said(number)), "body_too_large");
    }
    for number in 5..8 {
        assert_eq!(outcome(&hook, &mut unsaid(number)), "body_too_large");
    }
    assert_eq!(outcome(&hook, &mut said(8)), "too_many_attempts");
}

#[test]
fn where_a_policy_says_nothing_wrong_signatures_make_nobody_wait() {
    let shared = |secret: &str| toml::from_str(&format!("secret = \"{secret}\"")).unwrap();
    let mut build = Build::new().credential::<Hmac>("acme", "acme-1", shared(SECRET), |_| {});
    let hooks = build.plugin::<Hmac>(toml::from_str("scheme = \"timestamp\"").unwrap());
    let hook = hooks.unwrap().authenticate.unwrap();
    for number in 0..200 {
        assert_eq!(outcome(&hook, &mut late(number, WRONG)), "signature_invalid");
    }
    assert_eq!(outcome(&hook, &mut late(200, SECRET)), "acme-1");
}

#[test]
fn a_signature_that_names_no_key_is_limited_by_its_address_alone() {
    let hook = hook_within("scheme = \"timestamp\"", "per_principal = 3, per_address = 10");
    let unnamed = |number, secret| {
        let mut request = stamped(number, secret);
        request.head.headers.remove("x-key-id");
        request
    };
    for number in 0..9 {
        assert_eq!(outcome(&hook, &mut unnamed(number, WRONG)), "signature_invalid");
    }
    assert_eq!(outcome(&hook, &mut unnamed(9, SECRET)), "acme-1");
    (10..20).for_each(|number| _ = outcome(&hook, &mut unnamed(number, WRONG)));
    assert_eq!(outcome(&hook, &mut unnamed(20, SECRET)), "acme-1", "who has signed rightly there goes on");
    assert_eq!(outcome(&hook, &mut stamped(21, SECRET)), "too_many_attempts", "and nobody else");
}

#[test]
fn a_known_caller_is_vouched_for_while_a_body_is_read() {
    let hook = hook("scheme = \"timestamp\"");
    let is_vouched = |number, secret, address: &str| {
        let mut request = late(number, secret);
        request.address = address.parse().unwrap();
        _ = outcome(&hook, &mut request);
        request.is_vouched
    };
    assert!(!is_vouched(0, WRONG, "192.0.2.1"));
    assert!(!is_vouched(1, SECRET, "192.0.2.1"), "it is known only afterwards");
    assert!(is_vouched(2, SECRET, "192.0.2.1"));
    assert!(is_vouched(3, WRONG, "192.0.2.1"), "whatever comes of it");
    assert!(!is_vouched(4, SECRET, "192.0.2.2"), "not from elsewhere");
    assert!(!is_vouched(5, SECRET, "2001:db8::1"));
    let mut other = late(6, WRONG);
    other.address = "192.0.2.1".parse().unwrap();
    other.head.headers.insert("x-key-id", "other-1".parse().unwrap());
    _ = outcome(&hook, &mut other);
    assert!(!other.is_vouched, "and not by another key");
}

#[test]
fn a_failure_of_the_gateway_is_not_counted() {
    let hook = hook("scheme = \"timestamp\"");
    let no_room = |number| Request { body_error: Some(BodyError::NoRoom), ..late(number, SECRET) };
    for number in 0..5 {
        assert_eq!(outcome(&hook, &mut no_room(number)), "failed");
    }
    assert_eq!(outcome(&hook, &mut late(5, SECRET)), "acme-1");
}

#[test]
fn bodies_of_strangers_that_are_waited_for_count_at_the_same_time() {
    let hook = hook("scheme = \"timestamp\"");
    let mut context = Context::from_waker(Waker::noop());
    let mut requests: Vec<_> = (0..4).map(|number| late(number, SECRET)).collect();
    let [first, second, third, fourth] = &mut requests[..] else { unreachable!("there are four") };
    {
        let mut cxs = [first.cx(), second.cx(), third.cx()];
        let mut waiting: Vec<_> = cxs.iter_mut().map(|cx| Box::pin(hook.authenticate(cx).get())).collect();
        for answer in &mut waiting {
            assert!(matches!(answer.as_mut().poll(&mut context), Poll::Pending));
        }
        assert_eq!(outcome(&hook, fourth), "too_many_attempts");
        assert_eq!(outcome(&hook, &mut stamped(10, SECRET)), "acme-1", "what waits for nothing needs no place");
        // Now it is known who it is: a partner sends more than three at a time.
        let mut fifth = late(5, SECRET);
        let mut cx = fifth.cx();
        let mut answer = pin!(hook.authenticate(&mut cx).get());
        assert!(matches!(answer.as_mut().poll(&mut context), Poll::Pending));
        while answer.as_mut().poll(&mut context).is_pending() {}
        for answer in &mut waiting {
            while answer.as_mut().poll(&mut context).is_pending() {}
        }
    }
    assert_eq!(outcome(&hook, &mut late(6, SECRET)), "acme-1");
    // A client that leaves in the middle of its body has failed.
    for number in 7..10 {
        let mut request = late(number, SECRET);
        let mut cx = request.cx();
        let mut answer = Box::pin(hook.authenticate(&mut cx).get());
        assert!(answer.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(outcome(&hook, &mut late(11, SECRET)), "too_many_attempts");
}

/// A signature in the name of this key.
fn by(key_id: &str, label: &str, secret: &str, request: &Request) -> Signer {
    let parameters = format!(";created={NOW};keyid=\"{key_id}\"");
    Signer::of(request).label(label).secret(secret).parameters(&parameters)
}

#[test]
fn a_key_behind_another_is_limited_as_well() {
    let hook = hook("");
    let get = |number: u32| request("GET", &format!("/{number}"));
    let guess = |number| {
        let strange = by("nobody", "a", WRONG, &get(number));
        by("acme-1", "b", WRONG, &get(number)).sign(strange.sign(get(number)))
    };
    for number in 0..3 {
        assert_eq!(outcome(&hook, &mut guess(number)), "signature_invalid");
    }
    assert_eq!(outcome(&hook, &mut by("acme-1", "b", SECRET, &get(3)).sign(get(3))), "too_many_attempts");
    assert_eq!(outcome(&hook, &mut by("nobody", "b", SECRET, &get(3)).sign(get(3))), "too_many_attempts");
    assert_eq!(outcome(&hook, &mut by("other-1", "b", OTHER_SECRET, &get(3)).sign(get(3))), "other-1");
}

#[test]
fn a_refusal_names_every_key_that_is_claimed() {
    let hook = hook("");
    let get = |number: u32| request("GET", &format!("/{number}"));
    let claimed = |mut request: Request| match wait(hook.authenticate(&mut request.cx())) {
        Ok(Authentication::Denied(Denial { reason, claimed: Some(claimed), .. })) => {
            (reason.code(), claimed.key_ids().map(str::to_owned).collect::<Vec<_>>())
        }
        other => panic!("{other:?}"),
    };
    let guess = |number| {
        let strange = by("nobody", "a", WRONG, &get(number));
        by("acme-1", "b", WRONG, &get(number)).sign(strange.sign(get(number)))
    };
    let both = || vec!["nobody".to_owned(), "acme-1".to_owned()];
    for number in 0..3 {
        assert_eq!(claimed(guess(number)), ("signature_invalid", both()));
    }
    assert_eq!(claimed(guess(3)), ("too_many_attempts", both()), "also those that were not looked at");
}

#[test]
fn a_valid_key_does_not_excuse_guesses_at_others() {
    let hook = hook("");
    let get = |number: u32| request("GET", &format!("/{number}"));
    let beside = |number, key_id, secret| {
        let guess = by(key_id, "a", secret, &get(number));
        by("other-1", "b", OTHER_SECRET, &get(number)).sign(guess.sign(get(number)))
    };
    for number in 0..3 {
        assert_eq!(outcome(&hook, &mut beside(number, "acme-1", WRONG)), "other-1");
    }
    assert_eq!(outcome(&hook, &mut beside(3, "acme-1", SECRET)), "other-1", "the right one is not looked at any more");
    assert_eq!(outcome(&hook, &mut by("acme-1", "a", SECRET, &get(4)).sign(get(4))), "too_many_attempts");
    // One that waits beside one that is wrong: what is told is the wait.
    let both = by("other-1", "b", WRONG, &get(5)).sign(by("acme-1", "a", SECRET, &get(5)).sign(get(5)));
    assert_eq!(outcome(&hook, &mut { both }), "too_many_attempts");
    // A proxy of whom nobody here knows signs as well, again and again.
    for number in 10..20 {
        assert_eq!(outcome(&hook, &mut beside(number, "proxy", WRONG)), "other-1");
    }
}

#[test]
fn a_success_resets_the_key_that_was_right_and_no_other() {
    let hook = hook("");
    let get = |number: u32| request("GET", &format!("/{number}"));
    let wrong = |number| by("acme-1", "a", WRONG, &get(number)).sign(get(number));
    assert_eq!(outcome(&hook, &mut wrong(0)), "signature_invalid");
    assert_eq!(outcome(&hook, &mut wrong(1)), "signature_invalid");
    // The first of two that it names is not the one that is right.
    let mixed = by("other-1", "b", OTHER_SECRET, &get(2)).sign(by("acme-1", "a", WRONG, &get(2)).sign(get(2)));
    assert_eq!(outcome(&hook, &mut { mixed }), "other-1");
    assert_eq!(outcome(&hook, &mut by("acme-1", "a", SECRET, &get(3)).sign(get(3))), "too_many_attempts");
}

#[test]
fn several_guesses_in_one_request_are_not_excused_by_another_policy() {
    let hook = hook("");
    let denied = |mut request: Request| match wait(hook.authenticate(&mut request.cx())) {
        Ok(Authentication::Denied(denial)) => denial.attempts,
        other => panic!("{other:?}"),
    };
    let guess = |label: &str| Signer::of(&with_body("").0).label(label).secret(WRONG);
    let one = denied(guess("sig1").sign(with_body("").0));
    assert!(one.iter().all(portcullis_plugin::FailedAttempt::is_excusable) && !one.is_empty());
    let two = denied(guess("sig2").sign(guess("sig1").sign(with_body("").0)));
    assert!(two.iter().all(|attempt| !attempt.is_excusable()) && !two.is_empty());
}
