mod configuration;
mod example;
mod streams;

use std::{cell::Cell, sync::Arc};

use portcullis_plugin::{
    Attempt, Authenticate, Authentication, BodyError, DenialStatus, LocalStore, Place, UnixTime,
    bytes::Bytes,
    testing::{Build, Conformance, Request},
};

use crate::{
    Config, Hmac, SigningCredential,
    signing::{NOW, SECRET, Signer, content_digest, outcome, replace, request, wait, with_body},
};

fn config(toml: &str) -> Config {
    toml::from_str(toml).unwrap()
}

fn credential(toml: &str) -> SigningCredential {
    toml::from_str(toml).unwrap()
}

fn shared(secret: &str) -> SigningCredential {
    credential(&format!("secret = \"{secret}\""))
}

/// The policy with two credentials: `acme-1` and `other-1`, of two consumers.
fn build() -> Build {
    Build::new().credential::<Hmac>("acme", "acme-1", shared(SECRET), |_| {}).credential::<Hmac>(
        "other",
        "other-1",
        shared(&"o".repeat(32)),
        |_| {},
    )
}

fn hook_of(mut build: Build, toml: &str) -> Arc<dyn Authenticate> {
    let hooks = build.plugin::<Hmac>(config(toml));
    assert_eq!(build.problems, []);
    hooks.unwrap().authenticate.unwrap()
}

fn hook(toml: &str) -> Arc<dyn Authenticate> {
    hook_of(build(), toml)
}

fn signed(request: Request) -> Request {
    Signer::of(&request).sign(request)
}

/// The answer of a default policy to this request.
fn judged(mut request: Request) -> String {
    outcome(&hook(""), &mut request)
}

fn status(hook: &Arc<dyn Authenticate>, request: &mut Request) -> DenialStatus {
    match wait(hook.authenticate(&mut request.cx())).unwrap() {
        Authentication::Denied(denial) => denial.status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_signature_names_the_client() {
    let mut request = signed(request("GET", "/orders?state=open"));
    let Authentication::Granted(identity) = wait(hook("").authenticate(&mut request.cx())).unwrap() else {
        panic!("it is signed");
    };
    assert_eq!(identity.method, "hmac");
    assert_eq!(identity.client.as_deref(), Some("acme"));
    assert_eq!(identity.subject, None);
}

#[test]
fn only_absent_is_absent() {
    let get = || request("GET", "/");
    assert_eq!(judged(get()), "absent");
    let (input, signature) = Signer::of(&get()).headers();
    for lines in [
        vec![("signature-input", ""), ("signature", "")],
        vec![("signature-input", &*input)],
        vec![("signature", &*signature)],
        vec![("signature-input", &*input), ("signature", "")],
        vec![("signature-input", ""), ("signature", &*signature)],
        vec![("signature-input", &*input), ("signature", "sig1=abc")],
        vec![("signature-input", &*input), ("signature", "sig1=::")],
        vec![("signature-input", &*input), ("signature", "sig2=:AAAA:")],
        vec![("signature-input", &*input), ("signature-input", &*input), ("signature", &*signature)],
        vec![("signature-input", &*input), ("signature", &*signature), ("signature", &*signature)],
        vec![("signature-input", &*input), ("signature", "sig1=:\u{fc}:")],
    ] {
        let request = lines.iter().fold(get(), |request, (header, value)| request.header(header, value));
        assert_eq!(judged(request), "signature_malformed", "{lines:?}");
    }
}

#[test]
fn a_signed_part_cannot_be_changed() {
    let sign = || signed(request("GET", "/orders?state=open"));
    assert_eq!(judged(sign()), "acme-1");
    let change = |change: fn(&mut Request)| {
        let mut request = sign();
        change(&mut request);
        judged(request)
    };
    let wrong = "signature_invalid";
    assert_eq!(change(|request| request.head.method = "DELETE".parse().unwrap()), wrong);
    assert_eq!(change(|request| request.head.uri = "/order?state=open".parse().unwrap()), wrong);
    assert_eq!(change(|request| request.head.uri = "/orders?state=all".parse().unwrap()), wrong);
    assert_eq!(change(|request| request.head.uri = "/orders".parse().unwrap()), wrong);
    assert_eq!(judged(replace(sign(), "host", "admin.example.com")), wrong);
    assert_eq!(judged(replace(sign(), "host", "API.example.com:80")), "acme-1", "the same authority");
    let (input, _) = Signer::of(&request("GET", "/orders?state=open")).headers();
    let later = input.replace(&NOW.to_string(), &(NOW + 1).to_string());
    assert_eq!(judged(replace(sign(), "signature-input", &later)), wrong);
    let other = input.replace("acme-1", "other-1");
    assert_eq!(judged(replace(sign(), "signature-input", &other)), wrong, "somebody else's key");
}

#[test]
fn the_target_is_signed_as_it_came_and_not_as_it_is_forwarded() {
    let mut request = request("GET", "/orders/~acme");
    request.received_target = Some("/orders/%7Eacme".to_owned());
    assert_eq!(judged(signed(request)), "acme-1");
}

#[test]
fn an_unknown_key_is_answered_like_a_wrong_signature() {
    let get = || request("GET", "/");
    let unknown = Signer::of(&get()).parameters(&format!(";created={NOW};keyid=\"nobody\""));
    assert_eq!(judged(unknown.sign(get())), "signing_key_unknown");
    let wrong = Signer::of(&get()).secret("another-secret-of-32-bytes-or-more");
    assert_eq!(judged(wrong.sign(get())), "signature_invalid");
    for mut request in [unknown.sign(get()), wrong.sign(get())] {
        assert_eq!(status(&hook(""), &mut request), DenialStatus::Unauthorized);
    }
}

#[test]
fn less_than_the_minimum_is_refused() {
    for component in ["@method", "@authority", "@path", "@query"] {
        let request = request("GET", "/orders");
        let signer = Signer::of(&request).without(component);
        assert_eq!(judged(signer.sign(request)), "signature_incomplete", "{component}");
    }
    for parameters in ["", ";keyid=\"acme-1\"", &format!(";created={NOW}")] {
        let request = request("GET", "/orders");
        let signer = Signer::of(&request).parameters(parameters);
        assert_eq!(judged(signer.sign(request)), "signature_incomplete", "{parameters}");
    }
}

#[test]
fn a_covered_header_that_is_absent_is_refused() {
    let signer = Signer::of(&request("GET", "/")).line("date", "");
    assert_eq!(judged(signer.sign(request("GET", "/"))), "signature_incomplete");
    assert_eq!(judged(signer.sign(request("GET", "/").header("date", ""))), "acme-1", "empty is there");
}

#[test]
fn the_same_signature_is_taken_once() {
    let hook = hook("");
    let get = |query: &str| request("GET", &format!("/orders?{query}"));
    assert_eq!(outcome(&hook, &mut signed(get("a"))), "acme-1");
    assert_eq!(outcome(&hook, &mut signed(get("a"))), "signature_replayed");
    assert_eq!(outcome(&hook, &mut signed(get("b"))), "acme-1");

    let nonce = |request: Request, nonce: &str| {
        let parameters = format!(";created={NOW};keyid=\"acme-1\";nonce=\"{nonce}\"");
        Signer::of(&request).parameters(&parameters).sign(request)
    };
    assert_eq!(outcome(&hook, &mut nonce(get("c"), "1")), "acme-1");
    assert_eq!(outcome(&hook, &mut nonce(get("c"), "2")), "acme-1", "the same request with another nonce");
    assert_eq!(outcome(&hook, &mut nonce(get("d"), "1")), "signature_replayed", "a nonce is for one request");
}

#[test]
fn two_signatures_of_one_request_cannot_be_sent_one_by_one() {
    let build = build().credential::<Hmac>("acme", "acme-2", shared(&"2".repeat(32)), |_| {});
    let hook = hook_of(build, "");
    let get = || request("GET", "/orders");
    let first = Signer::of(&get());
    let parameters = format!(";created={NOW};keyid=\"acme-2\"");
    let second = Signer::of(&get()).label("sig2").secret(&"2".repeat(32)).parameters(&parameters);
    assert_eq!(outcome(&hook, &mut second.sign(first.sign(get()))), "acme-1");
    assert_eq!(outcome(&hook, &mut second.sign(get())), "signature_replayed");
    assert_eq!(outcome(&hook, &mut first.sign(get())), "signature_replayed");
}

#[test]
fn a_wrong_signature_does_not_use_up_the_right_one() {
    let hook = hook("");
    let get = || request("GET", "/orders");
    let wrong = Signer::of(&get()).secret("another-secret-of-32-bytes-or-more");
    assert_eq!(outcome(&hook, &mut wrong.sign(get())), "signature_invalid");
    assert_eq!(outcome(&hook, &mut signed(get())), "acme-1");
    let (mut post, signer) = with_body("{}");
    post.body = Bytes::from_static(b"{ }");
    assert_eq!(outcome(&hook, &mut signer.sign(post)), "digest_mismatch");
    let (post, signer) = with_body("{}");
    assert_eq!(outcome(&hook, &mut signer.sign(post)), "acme-1");
}

#[test]
fn a_replay_is_taken_where_the_policy_says_so() {
    let hook = hook("replay = \"allow\"");
    for _ in 0..2 {
        assert_eq!(outcome(&hook, &mut signed(request("GET", "/"))), "acme-1");
    }
}

#[test]
fn the_clock_is_looked_at_both_ways() {
    let judged = |created: i64, rest: &str| {
        let request = request("GET", "/");
        let parameters = format!(";created={created};keyid=\"acme-1\"{rest}");
        judged(Signer::of(&request).parameters(&parameters).sign(request))
    };
    let (window, skew) = (300, 30);
    assert_eq!(judged(NOW + skew, ""), "acme-1");
    assert_eq!(judged(NOW + skew + 1, ""), "signature_stale");
    assert_eq!(judged(NOW - window - skew + 1, ""), "acme-1");
    assert_eq!(judged(NOW - window - skew, ""), "signature_stale");
    assert_eq!(judged(0, ""), "signature_stale");
    assert_eq!(judged(NOW - 100, &format!(";expires={}", NOW - skew + 1)), "acme-1");
    assert_eq!(judged(NOW - 100, &format!(";expires={}", NOW - skew)), "signature_stale");
    assert_eq!(
        judged(NOW - window - skew, &format!(";expires={}", NOW + 9999)),
        "signature_stale",
        "no longer than that"
    );
    for created in ["-1", "1.5", "\"1800000000\"", "?1", "999999999999999", "1000000000000000"] {
        let request = request("GET", "/");
        let parameters = format!(";created={created};keyid=\"acme-1\"");
        let judged = self::judged(Signer::of(&request).parameters(&parameters).sign(request));
        assert!(["signature_malformed", "signature_stale"].contains(&&*judged), "{created}: {judged}");
    }
}

#[test]
fn clocks_are_never_further_apart_than_the_window_is_long() {
    let judged = |toml: &str, created: i64| {
        let request = request("GET", "/");
        let parameters = format!(";created={created};keyid=\"acme-1\"");
        outcome(&hook(toml), &mut Signer::of(&request).parameters(&parameters).sign(request))
    };
    for toml in ["window = \"10s\"", "window = \"10s\"\nclock_skew = \"10s\""] {
        assert_eq!(judged(toml, NOW + 10), "acme-1");
        assert_eq!(judged(toml, NOW + 11), "signature_stale");
        assert_eq!(judged(toml, NOW - 19), "acme-1");
        assert_eq!(judged(toml, NOW - 20), "signature_stale");
    }
}

#[test]
fn a_body_is_verified_before_anything_is_granted() {
    let (request, signer) = with_body("{\"item\":1}");
    assert_eq!(judged(signer.sign(request)), "acme-1");
    let (mut request, signer) = with_body("{\"item\":1}");
    request.body = Bytes::from_static(b"{\"item\":2}");
    assert_eq!(judged(signer.sign(request)), "digest_mismatch");
    let (mut request, signer) = with_body("{\"item\":1}");
    request.body = Bytes::new();
    assert_eq!(judged(signer.sign(request)), "digest_mismatch");
}

#[test]
fn a_body_that_is_not_covered_is_refused() {
    let post = |body: &'static str| {
        let mut request = request("POST", "/orders");
        request.body = Bytes::from_static(body.as_bytes());
        request
    };
    assert_eq!(judged(signed(post("x"))), "signature_incomplete");
    assert_eq!(judged(signed(post("x").header("content-length", "1"))), "signature_incomplete");
    assert_eq!(judged(signed(post(""))), "acme-1", "empty and absent are the same");
    assert_eq!(judged(signed(post("").header("content-length", "0"))), "acme-1");
    // The digest is right, and not signed: whoever changes the body changes it too.
    assert_eq!(judged(signed(post("x").header("content-digest", content_digest("x")))), "signature_incomplete");
    let unsigned = hook("body = \"unsigned\"");
    assert_eq!(outcome(&unsigned, &mut signed(post("x"))), "acme-1");
    let (mut request, signer) = with_body("x");
    request.body = Bytes::from_static(b"y");
    assert_eq!(outcome(&unsigned, &mut signer.sign(request)), "digest_mismatch", "what is covered has to fit");
}

#[test]
fn a_body_that_cannot_be_read_is_not_let_through() {
    let with = |error: BodyError| {
        let (mut request, signer) = with_body("x");
        request.body_error = Some(error);
        signer.sign(request)
    };
    let hook = hook("");
    assert_eq!(status(&hook, &mut with(BodyError::TooLarge)), DenialStatus::BodyTooLarge);
    assert_eq!(outcome(&hook, &mut with(BodyError::Broken("gone".to_owned()))), "signature_malformed");
    assert_eq!(outcome(&hook, &mut with(BodyError::NoRoom)), "failed");
    let small = self::hook("max_body_bytes = 3");
    for (body, expected) in [("123", "acme-1"), ("1234", "body_too_large")] {
        let (request, signer) = with_body(body);
        assert_eq!(outcome(&small, &mut signer.sign(request)), expected);
    }
}

#[test]
fn a_body_for_which_there_is_never_room_is_an_error_of_the_configuration() {
    let refused = |toml, room| {
        let mut build = build();
        build.max_held_body_bytes = Some(room);
        build.plugin::<Hmac>(config(toml)).err().map(|error| error.problems).unwrap_or_default()
    };
    assert_eq!(refused("max_body_bytes = 1000", 1000), []);
    assert_eq!(refused("", 999), [], "without a word it is as much as there is room for");
    let text = "is more than there is ever room for: 999, half of `server.max_held_body_bytes`";
    assert_eq!(refused("max_body_bytes = 1000", 999), [("max_body_bytes".to_owned(), text.to_owned())]);
}

#[test]
fn of_several_signatures_one_by_a_known_key_is_enough() {
    let get = || request("GET", "/");
    let stranger = Signer::of(&get()).label("proxy").secret("x").parameters(&format!(";created={NOW};keyid=\"proxy\""));
    let ours = Signer::of(&get());
    assert_eq!(judged(ours.sign(stranger.sign(get()))), "acme-1");
    let poor = stranger.clone().without("@path");
    assert_eq!(judged(ours.sign(poor.sign(get()))), "acme-1");
    assert_eq!(judged(poor.sign(get())), "signature_incomplete");
    let twice = ours.clone().label("again").sign(ours.sign(get()));
    assert_eq!(judged(twice), "acme-1", "the same under two labels");
    let many = (0..5).fold(get(), |request, n| ours.clone().label(&format!("s{n}")).sign(request));
    assert_eq!(judged(many), "signature_malformed", "each may cost a verification");
}

#[test]
fn a_policy_picks_its_signature_by_label_or_tag() {
    let get = || request("GET", "/");
    let plain = Signer::of(&get());
    let tagged = plain.clone().parameters(&format!(";created={NOW};keyid=\"acme-1\";tag=\"orders\""));
    for (toml, signer, expected) in [
        ("portcullis = { label = \"sig1\" }", &plain, "acme-1"),
        ("portcullis = { label = \"sig2\" }", &plain, "signature_incomplete"),
        ("portcullis = { tag = \"orders\" }", &tagged, "acme-1"),
        ("portcullis = { tag = \"orders\" }", &plain, "signature_incomplete"),
        ("portcullis = { tag = \"refunds\" }", &tagged, "signature_incomplete"),
        ("portcullis = { require = [\"tag\"] }", &plain, "signature_incomplete"),
        ("portcullis = { require = [\"tag\"] }", &tagged, "acme-1"),
        ("portcullis = { require = [\"nonce\"] }", &tagged, "signature_incomplete"),
    ] {
        assert_eq!(outcome(&hook(toml), &mut signer.sign(get())), expected, "{toml}");
    }
}

#[test]
fn the_algorithm_is_the_keys_and_the_policys() {
    let get = || request("GET", "/");
    let alg = |alg: &str| Signer::of(&get()).parameters(&format!(";created={NOW};keyid=\"acme-1\";alg=\"{alg}\""));
    assert_eq!(judged(alg("hmac-sha256").sign(get())), "acme-1");
    assert_eq!(judged(alg("ed25519").sign(get())), "signature_invalid", "the key is for another");
    assert_eq!(judged(alg("none").sign(get())), "algorithm_not_allowed");
    assert_eq!(judged(alg("HMAC-SHA256").sign(get())), "algorithm_not_allowed");
}

#[test]
fn several_secrets_of_one_consumer_are_good_at_the_same_time() {
    let named = |secret: &str| credential(&format!("secret = \"{secret}\"\nkey_id = \"acme\""));
    let build = |is_old_disabled: bool| {
        Build::new()
            .credential::<Hmac>("acme", "acme-old", named(&"1".repeat(32)), |own| own.limits.disabled = is_old_disabled)
            .credential::<Hmac>("acme", "acme-new", named(&"2".repeat(32)), |_| {})
    };
    let get = || request("GET", "/");
    let by = |secret: &str| {
        Signer::of(&get()).secret(secret).parameters(&format!(";created={NOW};keyid=\"acme\"")).sign(get())
    };
    for (secret, expected) in [("1", "acme-old"), ("2", "acme-new"), ("3", "signature_invalid")] {
        assert_eq!(outcome(&hook_of(build(false), ""), &mut by(&secret.repeat(32))), expected);
    }
    // The engine refuses these afterwards by name, and not as a wrong signature.
    assert_eq!(outcome(&hook_of(build(true), ""), &mut by(&"1".repeat(32))), "acme-old");
}

#[test]
fn a_signature_of_a_credential_that_can_be_used_comes_before_one_that_cannot() {
    let build = Build::new()
        .credential::<Hmac>("acme", "acme-1", shared(SECRET), |own| own.limits.expires = Some(UnixTime(1)))
        .credential::<Hmac>("acme", "acme-2", shared(&"2".repeat(32)), |_| {});
    let get = || request("GET", "/");
    let second = Signer::of(&get())
        .label("sig2")
        .secret(&"2".repeat(32))
        .parameters(&format!(";created={NOW};keyid=\"acme-2\""));
    assert_eq!(outcome(&hook_of(build, ""), &mut second.sign(signed(get()))), "acme-2");
}

#[test]
fn failures_are_limited_by_key_and_address() {
    let hook = hook("attempts = { per_principal = 3, window = \"1m\" }");
    let get = |n: u32| request("GET", &format!("/{n}"));
    let wrong = |n| Signer::of(&get(n)).secret("another-secret-of-32-bytes-or-more").sign(get(n));
    for n in 0..3 {
        assert_eq!(outcome(&hook, &mut wrong(n)), "signature_invalid");
    }
    assert_eq!(outcome(&hook, &mut wrong(3)), "too_many_attempts");
    assert_eq!(outcome(&hook, &mut signed(get(4))), "too_many_attempts");
    let mut elsewhere = signed(get(5));
    elsewhere.address = "192.0.2.7".parse().unwrap();
    assert_eq!(outcome(&hook, &mut elsewhere), "acme-1", "nobody is locked out from afar");
}

#[test]
fn what_the_store_has_no_room_for_is_not_granted() {
    let mut build = build();
    // One entry in each of its 64 parts.
    build.store = Arc::new(LocalStore::new(1));
    let hook = hook_of(build, "");
    let outcomes: Vec<_> = (0..200).map(|n| outcome(&hook, &mut signed(request("GET", &format!("/{n}"))))).collect();
    assert!(outcomes.iter().filter(|outcome| *outcome == "acme-1").count() <= 64);
    assert!(outcomes.iter().all(|outcome| outcome == "acme-1" || outcome == "failed"));
}

#[test]
fn the_signature_is_hidden_unless_the_policy_keeps_it() {
    let header = |name| Place::header(name, None).unwrap();
    assert_eq!(hook("").hidden().0, [header("signature"), header("signature-input")]);
    assert_eq!(hook("keep_credential = true").hidden().0, []);
}

#[test]
fn the_challenge_says_what_to_sign() {
    let challenge = hook("portcullis = { require = [\"nonce\"], algorithms = [\"hmac-sha256\"] }");
    let challenge = challenge.challenges(&Request::get("/").cx(), Attempt::Absent).remove(0);
    assert_eq!(challenge.scheme, "Signature");
    let parameters: Vec<_> = challenge.parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(
        parameters,
        [
            ("components", "@method @authority @path @query"),
            ("parameters", "created keyid nonce"),
            ("algorithms", "hmac-sha256")
        ]
    );
}

#[test]
fn it_does_what_every_plugin_does() {
    // Each is another request: a signature counts once.
    let number = Cell::new(0);
    let next = || {
        number.set(number.get() + 1);
        signed(request("GET", &format!("/orders/{}", number.get())))
    };
    Conformance::<Hmac>::new(|| config("")).build(build()).granting(next).secret(SECRET).check();
    for toml in ["scheme = \"cavage\"", "scheme = \"timestamp\"\ntimestamp = { preset = \"github\" }"] {
        Conformance::<Hmac>::new(|| config(toml)).build(build()).secret(SECRET).check();
    }
}
