use std::{net::Ipv4Addr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portcullis_plugin::{
    Credential, DenialStatus,
    testing::{Build, Conformance, Request, now, open_stream},
};

use super::*;

/// By libxcrypt, of `Paß:wörd ☃` and of `x`.
const SNOW: &str = "$2b$10$abcdefghijklmnopqrstuubUS1uDbiGOxzmNsPV28j4Q4QEbnbGNy";
const X: &str = "$2b$11$abcdefghijklmnopqrstuu6lhDwPpwPR5H6lygyoxPy//diwvHrV2";
const PASSWORD: &str = "Pa\u{df}:w\u{f6}rd \u{2603}";

fn entry(username: &str, hash: &str) -> PasswordEntry {
    toml::from_str(&format!("username = \"{username}\"\npassword_hash = \"{hash}\"")).unwrap()
}

/// The policy with one credential: `ci` with `PASSWORD`, of the consumer `acme`.
fn acme() -> Build {
    Build::new().credential::<BasicAuth>("acme", "acme-1", entry("ci", SNOW), |common| {
        common.scopes = vec!["read".to_owned()];
    })
}

/// A built policy, and what can be seen of it.
struct Policy {
    hook: Arc<dyn Authenticate>,
    build: Build,
    runtime: tokio::runtime::Runtime,
}

fn policy_of(mut build: Build, toml: &str) -> Policy {
    let hooks = build.plugin::<BasicAuth>(toml::from_str(toml).unwrap()).expect("a good configuration");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    Policy { hook: hooks.authenticate.unwrap(), build, runtime }
}

fn policy(toml: &str) -> Policy {
    policy_of(acme(), toml)
}

fn basic(text: impl AsRef<[u8]>) -> Request {
    Request::get("/").header("authorization", format!("Basic {}", STANDARD.encode(text)))
}

impl Policy {
    fn asked(&self, mut request: Request) -> Result<Authentication, PluginError> {
        self.runtime.block_on(self.hook.authenticate(&mut request.cx()).get())
    }

    /// `"acme-1"` for the credential that was granted, `"absent"`, or the reason code.
    fn outcome(&self, request: Request) -> String {
        match self.asked(request).unwrap() {
            Authentication::Granted(identity) => identity.credentials[0].id.to_string(),
            Authentication::Absent => "absent".to_owned(),
            other @ (Authentication::GrantedWith(..) | Authentication::AbsentWith(_)) => panic!("{other:?}"),
            Authentication::Denied(denial) => denial.reason.to_string(),
        }
    }

    fn counter(&self, name: &str) -> u64 {
        self.build.counters[&format!("{name}{{policy=test}}")].value()
    }

    /// Failed attempts of this kind.
    fn failed(&self, kind: &str) -> u64 {
        self.build.counters[&format!("portcullis_failed_attempts_total{{policy=test,kind={kind}}}")].value()
    }

    fn hashes(&self) -> u64 {
        self.counter("portcullis_password_hashes_total")
    }
}

#[test]
fn a_right_password_names_the_client_and_a_user_where_the_policy_says_so() {
    let Authentication::Granted(identity) = policy("").asked(basic(format!("ci:{PASSWORD}"))).unwrap() else {
        panic!("the password is right");
    };
    assert_eq!(identity.method, "basic-auth");
    assert_eq!(identity.client.as_deref(), Some("acme"));
    assert_eq!(identity.consumer.as_ref().unwrap().name, "acme");
    assert_eq!(identity.scopes, ["read"]);
    assert_eq!(identity.subject, None);
    let named = policy("username_is_subject = true").asked(basic(format!("ci:{PASSWORD}"))).unwrap();
    assert!(matches!(named, Authentication::Granted(identity) if identity.subject.as_deref() == Some("ci")));
}

#[test]
fn only_an_absent_password_is_absent() {
    let policy = policy("attempts = false");
    let sent = |value: &str| policy.outcome(Request::get("/").header("authorization", value));
    assert_eq!(policy.outcome(Request::get("/")), "absent");
    assert_eq!(sent("Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "absent");
    assert_eq!(sent(&format!("basic   {}", STANDARD.encode(format!("ci:{PASSWORD}")))), "acme-1");
    for value in ["Basic", "Basic ", "Basic !!!", "Basic\tY2k6eA==", "Basic Y2k6eA", "Basic Y2k6eA== x", "BASIC Y2k="] {
        assert_eq!(sent(value), "basic_malformed", "{value}");
    }
    for text in ["ci:", ":x", "ci", "", "ci:\0", "ci:a\nb"] {
        assert_eq!(policy.outcome(basic(text)), "basic_malformed", "{text:?}");
    }
    assert_eq!(policy.outcome(basic(b"ci:\xff")), "basic_malformed");
    assert_eq!(policy.hashes(), 1, "what cannot be read costs no hash");
    for text in ["ci:x", "CI:x", "ci :x", "acme:x", "acme-1:x"] {
        assert_eq!(policy.outcome(basic(text)), "password_wrong", "{text:?}");
    }
    assert_eq!(policy.outcome(basic(format!("ci:{SNOW}"))), "password_wrong", "a hash opens nothing");
    assert_eq!(policy.outcome(basic(format!("CI:{PASSWORD}"))), "password_wrong");
}

#[test]
fn two_different_pairs_in_one_request_are_a_conflict() {
    let both = |one: &str, other: &str| {
        let line = |text: &str| format!("Basic {}", STANDARD.encode(text));
        Request::get("/").header("authorization", line(one)).header("authorization", line(other))
    };
    let good = format!("ci:{PASSWORD}");
    assert_eq!(policy("").outcome(both(&good, "ci:x")), "basic_conflict");
    assert_eq!(policy("").outcome(both(&good, &good)), "acme-1");
    assert_eq!(policy("").outcome(both(&good, &good).header("authorization", "Basic !")), "basic_conflict");
}

#[test]
fn nothing_tells_an_unknown_user_from_a_wrong_password() {
    let policy = policy("attempts = false");
    for (text, hashes) in [("ci:wrong", 1), ("nobody:wrong", 2), ("nobody:wrong", 3)] {
        let denied = policy.asked(basic(text)).unwrap();
        // The same but for the name, which is the client's own and goes to the log alone.
        let sent = Claimed::by_user(text.split(':').next().unwrap());
        let expected = Denial::unauthorized(Reason::PasswordWrong).claiming(sent);
        assert!(matches!(denied, Authentication::Denied(denial) if denial == expected));
        assert_eq!(policy.hashes(), hashes, "{text}");
    }
    let long = "p".repeat(PASSWORD_MAX_BYTES);
    assert_eq!(policy.outcome(basic(format!("ci:{long}"))), "password_wrong");
    assert_eq!(policy.hashes(), 4, "longer than bcrypt takes, and no sooner answered");
}

#[test]
fn a_pair_that_was_right_costs_no_second_hash_until_its_time_is_over() {
    let policy = policy("cache_ttl = \"60s\"");
    let at = |seconds: i64| {
        let mut request = basic(format!("ci:{PASSWORD}"));
        request.now = UnixTime(1_800_000_000 + seconds);
        request
    };
    assert_eq!(policy.outcome(at(0)), "acme-1");
    for seconds in [0, 1, 59] {
        assert!(matches!(now(policy.hook.authenticate(&mut at(seconds).cx())), Ok(Authentication::Granted(_))));
    }
    assert_eq!(policy.hashes(), 1);
    assert_eq!(policy.outcome(at(60)), "acme-1");
    assert_eq!(policy.hashes(), 2);
    assert_eq!(policy.outcome(at(119)), "acme-1");
    assert_eq!(policy.hashes(), 2, "it starts anew");
    assert_eq!(policy.outcome(at(-1_000)), "acme-1");
    assert_eq!(policy.hashes(), 3, "a clock that was set back makes nothing live longer");
    assert_eq!(policy.outcome(basic("ci:wrong")), "password_wrong");
    assert_eq!(policy.outcome(basic("ci:wrong")), "password_wrong");
    assert_eq!(policy.hashes(), 5, "what was wrong is not remembered");
}

#[test]
fn without_a_time_to_remember_every_request_computes_a_hash() {
    let policy = policy("cache_ttl = \"0s\"");
    (0..3).for_each(|_| assert_eq!(policy.outcome(basic(format!("ci:{PASSWORD}"))), "acme-1"));
    assert_eq!(policy.hashes(), 3);
}

#[test]
fn a_known_pair_allocates_nothing() {
    let policy = policy("");
    assert_eq!(policy.outcome(basic(format!("ci:{PASSWORD}"))), "acme-1");
    let mut requests = [basic(format!("ci:{PASSWORD}")), basic("ci:"), Request::get("/")];
    for request in &mut requests {
        let allocations = allocation_counter::measure(|| {
            assert!(now(policy.hook.authenticate(&mut request.cx())).is_ok());
        });
        assert_eq!(allocations.count_total, 0);
    }
}

#[test]
fn a_hash_that_is_no_more_in_the_file_opens_nothing_though_the_pair_was_remembered() {
    let remembered = Arc::new(Verified::shared(&mut BuildCx::new(&mut Build::new())).unwrap());
    let users = |hash| {
        let mut build = Build::new().credential::<BasicAuth>("acme", "acme-1", entry("ci", hash), |_| {});
        Users::new(false, &mut BuildCx::new(&mut build))
    };
    let (before, after) = (users(X), users(SNOW));
    let login = || Login::parse(STANDARD.encode("ci:x").as_bytes()).unwrap();
    let (_, fingerprint) = before.verify(&login(), || ()).expect("the password is right");
    let (digest, at, ttl) = (remembered.digest(&login()), UnixTime(0), Duration::from_secs(300));
    let known = |users: &Users| {
        let joined = remembered.join(&digest, at, ttl, |fingerprint| users.identity("ci", fingerprint));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        match runtime.block_on(joined) {
            Joined::Known(_) => true,
            Joined::Turn(turn) => {
                turn.note(fingerprint, at);
                false
            }
        }
    };
    assert!(!known(&before), "the first asks");
    assert!(known(&before));
    assert!(remembered.recall(&digest, at, ttl).is_some_and(|seen| after.identity("ci", &seen).is_none()));
    assert!(!known(&after));
    assert!(after.verify(&login(), || ()).is_none());
}

#[test]
fn requests_that_say_the_same_compute_one_hash() {
    let policy = policy("");
    let (hook, good) = (&policy.hook, format!("ci:{PASSWORD}"));
    let all: Vec<_> = (0..50)
        .map(|_| {
            let (hook, mut request) = (hook.clone(), basic(&good));
            policy.runtime.spawn(async move { hook.authenticate(&mut request.cx()).get().await })
        })
        .collect();
    for one in all {
        assert!(matches!(policy.runtime.block_on(one).unwrap(), Ok(Authentication::Granted(_))));
    }
    assert_eq!(policy.hashes(), 1);
}

#[test]
fn a_request_that_is_given_up_leaves_its_turn_to_the_next() {
    let policy = policy("");
    let spawn = || {
        let (hook, mut request) = (policy.hook.clone(), basic(format!("ci:{PASSWORD}")));
        policy.runtime.spawn(async move { hook.authenticate(&mut request.cx()).get().await })
    };
    let first = spawn();
    policy.runtime.block_on(async {
        while policy.hashes() == 0 {
            tokio::task::yield_now().await;
        }
    });
    let second = spawn();
    first.abort();
    assert!(matches!(policy.runtime.block_on(second).unwrap(), Ok(Authentication::Granted(_))));
}

#[test]
fn attempts_are_limited_before_the_hash_and_nobody_else_is_locked_out() {
    let policy = policy("");
    for n in 0..5 {
        assert_eq!(policy.outcome(basic(format!("ci:wrong {n}"))), "password_wrong");
    }
    for text in ["ci:wrong", "ci:x", &format!("ci:{PASSWORD}")] {
        let Authentication::Denied(denial) = policy.asked(basic(text)).unwrap() else { panic!("it waits") };
        assert_eq!(denial.reason, Reason::TooManyAttempts);
        let DenialStatus::TooManyRequests(wait) = denial.status else { panic!("429") };
        assert!(wait > Duration::from_secs(10) && wait < Duration::from_secs(15), "{wait:?}");
    }
    assert_eq!(policy.hashes(), 5);
    let mut elsewhere = basic(format!("ci:{PASSWORD}"));
    elsewhere.address = "203.0.113.9".parse().unwrap();
    assert_eq!(policy.outcome(elsewhere), "acme-1");
    let mut again = basic(format!("ci:{PASSWORD}"));
    assert!(
        !matches!(now_or_wait(&policy, &mut again), Authentication::Granted(_)),
        "what is remembered waits as well"
    );
    assert_eq!(policy.outcome(basic("other:x")), "password_wrong");
}

fn now_or_wait(policy: &Policy, request: &mut Request) -> Authentication {
    policy.runtime.block_on(policy.hook.authenticate(&mut request.cx()).get()).unwrap()
}

#[test]
fn a_success_resets_what_failed_before() {
    let policy = policy("");
    for round in 0..4 {
        for n in 0..4 {
            assert_eq!(policy.outcome(basic(format!("ci:wrong {n}"))), "password_wrong", "{round}");
        }
        assert_eq!(policy.outcome(basic(format!("ci:{PASSWORD}"))), "acme-1", "{round}");
    }
}

#[test]
fn a_burst_of_guesses_gets_no_more_hashes_than_may_fail() {
    let policy = policy("");
    assert_eq!(policy.outcome(basic(format!("ci:{PASSWORD}"))), "acme-1");
    let all: Vec<_> = (0..60)
        .map(|n| {
            let (hook, mut request) = (policy.hook.clone(), basic(format!("ci:guess {n}")));
            policy.runtime.spawn(async move { hook.authenticate(&mut request.cx()).get().await })
        })
        .collect();
    let denied = all.into_iter().map(|one| match policy.runtime.block_on(one).unwrap().unwrap() {
        Authentication::Denied(denial) => denial.reason,
        other => panic!("{other:?}"),
    });
    let denied: Vec<_> = denied.collect();
    let judged = denied.iter().filter(|reason| **reason == Reason::PasswordWrong).count();
    assert!((1..=5).contains(&judged) && policy.hashes() == 1 + judged as u64, "{judged}");
    assert_eq!(denied.len() - judged, denied.iter().filter(|reason| **reason == Reason::TooManyAttempts).count());
}

/// A request that is begun and given up once so many hashes have been begun.
fn begun_and_given_up(policy: &Policy, mut request: Request, hashes: u64) {
    let hook = policy.hook.clone();
    let left = policy.runtime.spawn(async move { hook.authenticate(&mut request.cx()).get().await });
    policy.runtime.block_on(async {
        while policy.hashes() < hashes {
            tokio::task::yield_now().await;
        }
        left.abort();
        _ = left.await;
    });
}

fn wait_until(is_so: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain");
        std::thread::yield_now();
    }
}

#[test]
fn a_client_that_leaves_while_its_guess_is_judged_has_guessed() {
    let policy = policy("");
    for n in 1..=5 {
        begun_and_given_up(&policy, basic(format!("ci:guess {n}")), n);
    }
    wait_until(|| policy.failed("distinct") == 5);
    assert_eq!(policy.outcome(basic(format!("ci:{PASSWORD}"))), "too_many_attempts");
    // One whose password was right has not.
    let policy = self::policy("");
    for round in 1..=7 {
        begun_and_given_up(&policy, basic(format!("ci:{PASSWORD}")), round);
    }
    assert_eq!(policy.outcome(basic(format!("ci:{PASSWORD}"))), "acme-1");
    assert_eq!(policy.failed("distinct"), 0);
}

#[test]
fn a_client_that_leaves_before_its_turn_has_guessed_nothing() {
    let policy = policy("");
    let at_once = (std::thread::available_parallelism().unwrap().get() / 2).clamp(1, HASHES_AT_ONCE_MAX);
    let others: Vec<_> = (0..at_once)
        .map(|n| {
            let (hook, mut request) = (policy.hook.clone(), basic(format!("user-{n}:x")));
            policy.runtime.spawn(async move { hook.authenticate(&mut request.cx()).get().await })
        })
        .collect();
    wait_until(|| policy.hashes() == at_once as u64);
    policy.runtime.block_on(async {
        for _ in 0..7 {
            let mut request = basic(format!("ci:{PASSWORD}"));
            let mut cx = request.cx();
            let waiting = policy.hook.authenticate(&mut cx).get();
            _ = tokio::time::timeout(Duration::ZERO, waiting).await;
        }
    });
    for other in others {
        policy.runtime.block_on(other).unwrap().unwrap();
    }
    assert_eq!(policy.outcome(basic(format!("ci:{PASSWORD}"))), "acme-1");
    assert_eq!(policy.failed("distinct"), at_once as u64);
}

/// A flood of wrong passwords, each from an address of its own, keeps as many waiting as may wait.
#[test]
fn a_known_user_gets_in_while_a_flood_keeps_the_queue_full() {
    let policy = policy("cache_ttl = \"60s\"");
    let later = |seconds: i64, address: u32| {
        let mut request = basic(format!("ci:{PASSWORD}"));
        (request.now, request.address) = (UnixTime(1_800_000_000 + seconds), Ipv4Addr::from_bits(address).into());
        request
    };
    assert_eq!(policy.outcome(later(0, 1)), "acme-1");
    let flood: Vec<_> = (0..300)
        .map(|number| {
            let (hook, mut request) = (policy.hook.clone(), basic(format!("user-{number}:guess")));
            request.address = Ipv4Addr::from_bits(1000 + number).into();
            policy.runtime.spawn(async move { _ = hook.authenticate(&mut request.cx()).get().await })
        })
        .collect();
    wait_until(|| policy.counter("portcullis_password_overloads_total") > 0);
    let before = policy.hashes();
    assert_eq!(policy.outcome(later(61, 1)), "acme-1");
    let at_once = u64::try_from((std::thread::available_parallelism().unwrap().get() / 2).clamp(1, 16)).unwrap();
    let waited = policy.hashes() - before;
    assert!(waited <= 4 * at_once, "after {waited} hashes");
    flood.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Half of what strangers have is left to others, and each of them is next in turn.
#[test]
fn a_flood_from_one_address_leaves_places_to_others() {
    let policy = policy("attempts = false");
    let ask = |text: String, address: u32| {
        let (hook, mut request) = (policy.hook.clone(), basic(text));
        request.address = Ipv4Addr::from_bits(address).into();
        policy.runtime.spawn(async move { hook.authenticate(&mut request.cx()).get().await })
    };
    let flood: Vec<_> = (0..300).map(|number| ask(format!("ci:guess {number}"), 1)).collect();
    wait_until(|| policy.counter("portcullis_password_overloads_total") > 0);
    let other = policy.runtime.block_on(ask(format!("ci:{PASSWORD}"), 2)).unwrap();
    assert!(matches!(other, Ok(Authentication::Granted(_))), "{other:?}");
    assert!(policy.hashes() < 32, "after {} hashes", policy.hashes());
    flood.iter().for_each(tokio::task::JoinHandle::abort);
}

#[test]
fn the_challenge_says_utf_8_and_the_header_is_hidden_unless_the_policy_keeps_it() {
    let hook = policy("").hook;
    for attempt in [Attempt::Absent, Attempt::Denied(Reason::PasswordWrong)] {
        let challenges = hook.challenges(&Request::get("/").cx(), attempt);
        assert_eq!(challenges, [Challenge::new("Basic").parameter("charset", "UTF-8")]);
    }
    assert_eq!(hook.hidden(), Places(vec![Place::header("authorization", Some("Basic")).unwrap()]));
    assert_eq!(policy("keep_credential = true").hook.hidden(), Places::default());
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_by_field() {
    let problems = |toml: &str| {
        let error = acme().plugin::<BasicAuth>(toml::from_str(toml).unwrap()).err().expect("an error");
        error.problems.into_iter().map(|(field, message)| format!("{field}: {message}")).collect::<Vec<_>>()
    };
    assert_eq!(problems("cache_ttl = \"25h\""), ["cache_ttl: `1day 1h` is longer than a day"]);
    assert_eq!(problems("cache_ttl = \"1500ms\""), ["cache_ttl: `1s 500ms` is not in whole seconds"]);
    let both = problems("cache_ttl = \"25h\"\nattempts = { window = \"0s\" }");
    assert_eq!(both.len(), 2, "everything that is wrong is said in one run: {both:?}");
    for (toml, words) in [
        ("cache = \"5m\"", "unknown field `cache`"),
        ("header = \"x\"", "unknown field `header`"),
        ("cache_ttl = 5", "a length of time"),
        ("attempts = 5", "or false"),
        ("attempts = { per_principle = 5 }", "unknown field `per_principle`"),
        ("attempts = { per_address = 0 }", "nonzero"),
        ("username_is_subject = \"yes\"", "a boolean"),
    ] {
        let error = toml::from_str::<Config>(toml).err().expect("an error").to_string();
        assert!(error.contains(words), "{toml}: {error}");
    }
}

#[test]
fn a_plain_password_in_the_file_is_an_error_that_does_not_repeat_it() {
    let error = |toml: &str| toml::from_str::<PasswordEntry>(toml).err().expect("an error").message().to_owned();
    for toml in [
        "username = \"ci\"\npassword = \"planted\"".to_owned(),
        "username = \"ci\"\npassword = [\"planted\"]".to_owned(),
        format!("username = \"ci\"\npassword_hash = \"{X}\"\npassword = \"planted\""),
    ] {
        let error = error(&toml);
        assert!(error.contains("passwords are not kept in the file"), "{error}");
        assert!(error.contains("portcullis password hash") && !error.contains("planted"), "{error}");
    }
    for value in
        ["\"planted\"", "4711", "true", "\"\"", "47.11", "\"$2b$planted\"", "\"$6$planted$x\"", "[\"planted\"]"]
    {
        let error = error(&format!("username = \"ci\"\npassword_hash = {value}"));
        assert!(!error.contains("planted") && !error.contains("47"), "{error}");
        assert!(error.contains("hash"), "{error}");
    }
    assert!(error("username = \"ci\"").contains("missing field `password_hash`"));
    for (name, words) in [
        ("a:b", "no user name has a colon"),
        ("", "is not a user name"),
        ("a\\u0000b", "is not a user name"),
        ("a\\tb", "is not a user name"),
    ] {
        let error = error(&format!("username = \"{name}\"\npassword_hash = \"{X}\""));
        assert!(error.contains(words), "{name}: {error}");
    }
}

#[test]
fn a_stream_lasts_as_long_as_its_user_and_follows_what_is_said_of_them() {
    let policy = policy("username_is_subject = true");
    let Authentication::Granted(identity) = policy.asked(basic(format!("ci:{PASSWORD}"))).unwrap() else {
        panic!("the password is right");
    };
    let hashes = policy.hashes();
    let again = |stream: &OpenStream<'_>| now(policy.hook.recheck(stream)).unwrap();
    let Authentication::Granted(same) = again(&open_stream(&identity)) else { panic!("nothing has changed") };
    assert_eq!(
        (&same.subject, &same.consumer, &same.scopes),
        (&identity.subject, &identity.consumer, &identity.scopes)
    );
    // Other settings do not make the password a wrong one; other scopes count.
    let scoped = [Arc::new(Credential { scopes: vec!["write".to_owned()], ..(*identity.credentials[0]).clone() })];
    let changed = OpenStream { credentials: &scoped, has_same_settings: false, ..open_stream(&identity) };
    let Authentication::Granted(scoped) = again(&changed) else { panic!("the user is there") };
    assert_eq!((scoped.scopes.as_slice(), scoped.subject.as_deref()), (&["write".to_owned()][..], Some("ci")));
    let ends = |stream: &OpenStream<'_>| matches!(again(stream), Authentication::Denied(denial) if denial.reason == Reason::PolicyChanged);
    assert!(ends(&OpenStream { credentials: &[], ..open_stream(&identity) }));
    let method = "key-auth".to_owned();
    let of_a_key = Arc::new(Identity { method, ..Identity::of_client(&identity.credentials[0]) });
    assert!(ends(&open_stream(&of_a_key)), "another plugin has stood here");
    assert_eq!(policy.hashes(), hashes, "no password is hashed for it");
}

#[test]
fn it_does_what_every_plugin_does() {
    Conformance::<BasicAuth>::new(|| toml::from_str("").unwrap())
        .build(acme())
        .granting(|| basic(format!("ci:{PASSWORD}")))
        .secret(PASSWORD)
        .secret(SNOW)
        .check();
}
