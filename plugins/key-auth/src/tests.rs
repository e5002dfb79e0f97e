use std::time::Duration;

use portcullis_plugin::{
    UnixTime,
    testing::{Build, Conformance, Request, now},
};

use super::*;

const KEY: &str = "sk_live_4fKq0aVn1YcT7mGx2RzB5sWp8LdH9jEu";

fn config(toml: &str) -> Config {
    toml::from_str(toml).unwrap()
}

fn key_hash(key: &str) -> KeyHash {
    toml::from_str(&format!("sha256 = \"{}\"", KeyDigest::of(key.as_bytes()))).unwrap()
}

/// The policy with one credential: `KEY`, of the consumer `acme`.
fn acme() -> Build {
    Build::new()
        .credential::<KeyAuth>("acme", "acme-1", key_hash(KEY), |common| common.scopes = vec!["read".to_owned()])
}

fn hook(toml: &str) -> Arc<dyn Authenticate> {
    acme().plugin::<KeyAuth>(config(toml)).unwrap().authenticate.unwrap()
}

/// `"acme-1"` for the credential that was granted, `"absent"`, or the reason code.
fn outcome(hook: &dyn Authenticate, mut request: Request) -> String {
    match now(hook.authenticate(&mut request.cx())).unwrap() {
        Authentication::Granted(identity) => identity.credentials[0].id.to_string(),
        Authentication::Absent => "absent".to_owned(),
        other @ (Authentication::GrantedWith(..) | Authentication::AbsentWith(_)) => panic!("{other:?}"),
        Authentication::Denied(denial) => {
            assert!(!denial.is_forbidden(), "a wrong key is 401");
            denial.reason.to_string()
        }
    }
}

/// All that is wrong with a configuration: `field: message`.
fn problems(toml: &str) -> Vec<String> {
    let error = acme().plugin::<KeyAuth>(config(toml)).err().expect("an error");
    error.problems.into_iter().map(|(field, message)| format!("{field}: {message}")).collect()
}

#[test]
fn a_known_key_names_the_client_and_no_user() {
    let mut request = Request::get("/").header("x-api-key", KEY);
    let Authentication::Granted(identity) = now(hook("").authenticate(&mut request.cx())).unwrap() else {
        panic!("the key is known");
    };
    assert_eq!(identity.method, "key-auth");
    assert_eq!(identity.client.as_deref(), Some("acme"));
    assert_eq!(identity.consumer.as_ref().unwrap().name, "acme");
    assert_eq!(identity.scopes, ["read"]);
    assert_eq!(identity.subject, None);
}

#[test]
fn only_an_absent_key_is_absent() {
    let hook = hook("");
    let sent = |key: &str| outcome(&*hook, Request::get("/").header("x-api-key", key));
    assert_eq!(outcome(&*hook, Request::get("/")), "absent");
    assert_eq!(sent(KEY), "acme-1");
    assert_eq!(sent(""), "key_malformed");
    assert_eq!(sent("two words"), "key_malformed");
    assert_eq!(sent("schl\u{fc}ssel"), "key_malformed");
    assert_eq!(sent(&"k".repeat(512)), "key_unknown");
    assert_eq!(sent(&"k".repeat(513)), "key_malformed");
    assert_eq!(sent(&KEY[1..]), "key_unknown");
    assert_eq!(sent(&KEY.to_lowercase()), "key_unknown");
    assert_eq!(sent(&KeyDigest::of(KEY.as_bytes()).to_string()), "key_unknown", "a hash opens nothing");
    let two = Request::get("/").header("x-api-key", KEY).header("x-api-key", "other");
    assert_eq!(outcome(&*hook, two), "key_conflict");
}

#[test]
fn all_configured_places_are_looked_at_and_hidden() {
    let hook =
        hook(r#"from = [{ header = "authorization", scheme = "Bearer" }, { query = "key" }, { cookie = "key" }]"#);
    let (uri, cookie, bearer) = (format!("/?key={KEY}"), format!("a=b; key={KEY}"), format!("bearer {KEY}"));
    assert_eq!(outcome(&*hook, Request::get(&uri)), "acme-1");
    assert_eq!(outcome(&*hook, Request::get("/").header("cookie", &cookie)), "acme-1");
    assert_eq!(outcome(&*hook, Request::get("/").header("authorization", &bearer)), "acme-1");
    assert_eq!(outcome(&*hook, Request::get("/").header("authorization", "Basic dDp0")), "absent");
    assert_eq!(outcome(&*hook, Request::get("/").header("x-api-key", KEY)), "absent", "`from` replaces the default");
    assert_eq!(outcome(&*hook, Request::get(&uri).header("authorization", "Bearer other")), "key_conflict");
    assert_eq!(hook.hidden().0.len(), 3);
}

#[test]
fn a_header_is_one_name_or_several() {
    let several = hook(r#"header = ["x-api-key", "ApiKey"]"#);
    assert_eq!(outcome(&*several, Request::get("/").header("apikey", KEY)), "acme-1");
    assert_eq!(outcome(&*several, Request::get("/").header("x-api-key", KEY).header("apikey", KEY)), "acme-1");
    assert_eq!(outcome(&*several, Request::get("/").header("x-api-key", KEY).header("apikey", "")), "key_conflict");
    let token = hook("header = \"authorization\"\nscheme = \"Token\"");
    assert_eq!(outcome(&*token, Request::get("/").header("authorization", format!("token  {KEY}"))), "acme-1");
    assert_eq!(outcome(&*token, Request::get("/").header("authorization", "Token")), "key_malformed");
}

#[test]
fn the_key_is_hidden_unless_the_policy_keeps_it() {
    assert_eq!(hook("").hidden(), Places(vec![Place::header("x-api-key", None).unwrap()]));
    assert_eq!(hook("keep_credential = true").hidden(), Places::default());
}

#[test]
fn a_key_without_a_configured_prefix_is_unknown() {
    let sent = |toml: &str| outcome(&*hook(toml), Request::get("/").header("x-api-key", KEY));
    assert_eq!(sent(r#"prefixes = ["pk_", "sk_live_"]"#), "acme-1");
    assert_eq!(sent(r#"prefixes = ["pk_"]"#), "key_unknown");
    assert_eq!(sent(r#"prefixes = ["SK_LIVE_"]"#), "key_unknown");
}

#[test]
fn the_challenge_names_the_first_header_or_the_first_place() {
    let denied = Attempt::Denied(Reason::KeyUnknown);
    let challenge = |toml: &str, attempt| {
        let challenge = hook(toml).challenges(&Request::get("/").cx(), attempt).remove(0);
        let parameters = challenge.parameters.iter().map(|(name, value)| format!(" {name}={value}"));
        format!("{}{}", challenge.scheme, parameters.collect::<String>())
    };
    assert_eq!(challenge("", Attempt::Absent), "ApiKey header=x-api-key");
    assert_eq!(challenge("", denied), "ApiKey header=x-api-key");
    assert_eq!(challenge(r#"from = [{ query = "k" }, { header = "x-k" }]"#, denied), "ApiKey header=x-k");
    assert_eq!(challenge(r#"from = [{ query = "k" }, { cookie = "c" }]"#, denied), "ApiKey in=query name=k");
    assert_eq!(challenge(r#"from = [{ cookie = "c" }]"#, Attempt::Absent), "ApiKey in=cookie name=c");
    let bearer = "header = \"authorization\"\nscheme = \"Bearer\"";
    assert_eq!(challenge(bearer, Attempt::Absent), "Bearer");
    assert_eq!(challenge(bearer, denied), "Bearer error=invalid_token");
    assert_eq!(challenge("header = \"authorization\"\nscheme = \"Token\"", denied), "Token");
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_by_field() {
    for (toml, expected) in [
        ("header = []", "header: is empty"),
        ("header = \"x key\"", "header: `x key` is not a header name"),
        ("header = [\"x-key\", \"host\"]", "header[1]: `host` cannot carry a credential"),
        ("scheme = \"Bearer\"", "scheme: needs `header`"),
        ("header = \"authorization\"\nscheme = \"Be arer\"", "scheme: `Be arer` is not an authentication scheme"),
        ("from = []", "from: is empty"),
        ("from = [{ query = \"key\" }]\nheader = \"x-key\"", "from: says where the credential is"),
        ("from = [{ query = \"key\" }]\nscheme = \"Bearer\"", "from: says where the credential is"),
        ("prefixes = []", "prefixes: is empty"),
        ("prefixes = [\"sk_\", \"\"]", "prefixes[1]: no key starts like this"),
        ("prefixes = [\"s k\"]", "prefixes[0]: no key starts like this"),
        ("max_age = \"0s\"", "max_age: is shorter than a second"),
    ] {
        let problems = problems(toml);
        assert!(problems[0].starts_with(expected), "{toml}: {problems:?}");
    }
    let all = problems("header = [\"a b\", \"c d\"]\nprefixes = []");
    assert_eq!(all.len(), 3, "everything that is wrong is said in one run: {all:?}");
}

#[test]
fn a_configuration_of_the_wrong_shape_is_refused() {
    for (toml, words) in [
        ("haeder = \"x-key\"", "unknown field `haeder`"),
        ("header = 7", "a header's name, or a list of names"),
        ("from = [{ query = \"key\", scheme = \"Bearer\" }]", "`scheme` goes with `header`"),
        ("max_age = 90", "a length of time"),
    ] {
        let error = toml::from_str::<Config>(toml).err().expect("an error").to_string();
        assert!(error.contains(words), "{toml}: {error}");
    }
}

#[test]
fn a_plain_key_in_the_file_is_an_error_that_does_not_repeat_it() {
    let error = |toml: &str| toml::from_str::<KeyHash>(toml).err().expect("an error").message().to_owned();
    let digest = KeyDigest::of(b"x");
    for toml in [
        "key = \"planted-key\"".to_owned(),
        "key = [\"planted-key\"]".to_owned(),
        format!("sha256 = \"{digest}\"\nkey = \"planted-key\""),
    ] {
        let error = error(&toml);
        assert!(error.contains("keys are not kept in the file") && error.contains("portcullis key hash"), "{error}");
        assert!(!error.contains("planted"), "{error}");
    }
    for value in ["\"planted-key\"", "[\"planted-key\"]", "4711", "\"\"", &format!("\"{digest}0\"")] {
        let error = error(&format!("sha256 = {value}"));
        assert_eq!(error, "is not 64 hexadecimal digits, as `portcullis key hash` prints them");
    }
    assert!(error("").contains("missing field `sha256`"));
}

#[test]
fn keys_are_found_by_their_digest() {
    // FIPS 180-2, appendix B.1.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(KeyDigest::of(b"abc").to_string(), abc);
    for hex in [abc.to_owned(), abc.to_uppercase()] {
        let own = toml::from_str(&format!("sha256 = \"{hex}\"")).unwrap();
        let mut build = Build::new().credential::<KeyAuth>("acme", "abc", own, |_| {});
        let hook = build.plugin::<KeyAuth>(Config::default()).unwrap().authenticate.unwrap();
        assert_eq!(outcome(&*hook, Request::get("/").header("x-api-key", "abc")), "abc");
        assert_eq!(outcome(&*hook, Request::get("/").header("x-api-key", "abd")), "key_unknown");
    }
}

#[test]
fn the_map_takes_the_first_eight_bytes_for_a_hash() {
    let mut hasher = FirstBytes::default();
    KeyDigest::of(b"abc").hash(&mut hasher);
    assert_eq!(hasher.finish(), 0xba78_16bf_8f01_cfea);
}

#[test]
fn among_many_keys_each_opens_its_own_credential() {
    let many = (0..2_000).fold(Build::new(), |build, n| {
        build.credential::<KeyAuth>("acme", &format!("id-{n}"), key_hash(&format!("{KEY}{n}")), |_| {})
    });
    let hook = { many }.plugin::<KeyAuth>(Config::default()).unwrap().authenticate.unwrap();
    for n in [0, 1, 999, 1_999] {
        assert_eq!(outcome(&*hook, Request::get("/").header("x-api-key", format!("{KEY}{n}"))), format!("id-{n}"));
    }
}

#[test]
fn the_same_key_twice_is_a_problem_that_names_the_other() {
    let mut build = acme().credential::<KeyAuth>("other", "other-1", key_hash(KEY), |_| {});
    build.plugin::<KeyAuth>(Config::default()).ok();
    let expected = (1, "sha256".to_owned(), "the credential `acme-1` has the same key".to_owned());
    assert_eq!(build.problems, [expected]);
}

#[test]
fn a_policy_that_wants_dates_reports_credentials_without() {
    let problems = |toml: &str, change: fn(&mut Credential)| {
        let mut build = Build::new().credential::<KeyAuth>("acme", "acme-1", key_hash(KEY), change);
        build.plugin::<KeyAuth>(config(toml)).unwrap();
        build.problems.into_iter().map(|(_, field, _)| field).collect::<Vec<_>>()
    };
    let (none, created) = (|_: &mut Credential| {}, |own: &mut Credential| own.limits.created = Some(UnixTime(1)));
    let expires = |own: &mut Credential| own.limits.expires = Some(UnixTime(i64::MAX));
    assert_eq!(problems("", none), [""; 0]);
    assert_eq!(problems("require_expiry = true", none), ["expires"]);
    assert_eq!(problems("require_expiry = true", created), ["expires"]);
    assert_eq!(problems("require_expiry = true", expires), [""; 0]);
    assert_eq!(problems("max_age = \"90d\"", none), ["created"]);
    assert_eq!(problems("max_age = \"90d\"", expires), ["created"]);
    assert_eq!(problems("max_age = \"90d\"\nrequire_expiry = true", created), [""; 0]);
}

#[test]
fn a_key_ends_at_its_expiry_or_its_greatest_age_whichever_is_first() {
    let deadline = |expires| {
        let mut build = Build::new().credential::<KeyAuth>("acme", "acme-1", key_hash(KEY), |own| {
            own.limits.created = Some(UnixTime(1_000));
            own.limits.expires = expires;
        });
        let hook = build.plugin::<KeyAuth>(config("max_age = \"100s\"")).unwrap().authenticate.unwrap();
        let mut request = Request::get("/").header("x-api-key", KEY);
        match now(hook.authenticate(&mut request.cx())).unwrap() {
            Authentication::Granted(identity) => identity.deadline(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(deadline(None), Some(UnixTime(1_000).after(Duration::from_secs(100))));
    assert_eq!(deadline(Some(UnixTime(1_050))), Some(UnixTime(1_050)));
    assert_eq!(deadline(Some(UnixTime(2_000))), Some(UnixTime(1_100)));
}

#[test]
fn judging_a_key_allocates_nothing() {
    let hook = hook(
        r#"
        from = [
            { header = "x-api-key" },
            { header = "authorization", scheme = "Bearer" },
            { query = "k" },
            { cookie = "k" },
        ]
        prefixes = ["sk_live_"]
        "#,
    );
    let known = || Request::get("/?a=1&k=plain").header("cookie", "a=b");
    let mut requests = [
        Request::get("/?a=1").header("x-api-key", KEY).header("cookie", "a=b"),
        Request::get("/").header("authorization", format!("Bearer {KEY}")),
        Request::get("/").header("x-api-key", "sk_live_unknown"),
        Request::get("/").header("x-api-key", "one").header("x-api-key", "two"),
        known(),
        Request::get("/"),
    ];
    for request in &mut requests {
        let allocations = allocation_counter::measure(|| {
            let answer = now(hook.authenticate(&mut request.cx()));
            assert!(answer.is_ok());
        });
        assert_eq!(allocations.count_total, 0);
    }
}

#[test]
fn it_does_what_every_plugin_does() {
    Conformance::<KeyAuth>::new(|| config(""))
        .build(acme())
        .granting(|| Request::get("/").header("x-api-key", KEY))
        .secret(KEY)
        .check();
}
