//! User names and passwords, and what stops those who guess them.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};

use crate::harness::{Client, Gateway, Upstream, eventually, key, portcullis, raw};

const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[client_address]
trust = 1

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.passwords]
use = "basic-auth"
attempts = { per_principal = 3, per_address = 6, window = "15m" }

[[consumers.acme.credentials]]
use = "basic-auth"
id = "acme-ci"
username = "ci"
@HASH@
scopes = ["orders:read"]

[routes.orders]
paths = ["/orders/{*rest}"]
upstream = "app"
auth = ["passwords"]
"#;

const PASSWORD: &str = "correct: horse, battery";

/// The gateway of this file, and its upstream.
async fn start() -> (Gateway, Upstream) {
    start_with(GATEWAY).await
}

async fn start_with(toml: &str) -> (Gateway, Upstream) {
    let hash = portcullis(&["password", "hash"], &format!("{PASSWORD}\n")).await;
    assert_eq!(hash.code, 0, "{hash:?}");
    let upstream = Upstream::start();
    let builder = Gateway::builder(toml).set("UPSTREAM", &upstream.address()).set("HASH", hash.stdout.trim());
    let builder = builder.set("SHA256", &key("acme").1);
    (builder.start().await, upstream)
}

/// The status of a request from this address with this user name and password, and `Retry-After`.
async fn attempt(gateway: &Gateway, address: &str, user: &str, password: &str) -> (u16, Option<u64>) {
    let client = Client::http1(gateway.address(0));
    let credentials = BASE64.encode(format!("{user}:{password}"));
    let asking = client.get("/orders/7").header("authorization", &format!("Basic {credentials}"));
    let answer = asking.header("x-forwarded-for", address).send().await;
    (answer.status, answer.header("retry-after").map(|value| value.parse().expect("seconds")))
}

#[tokio::test]
async fn the_upstream_learns_who_calls_and_not_the_password() {
    let (gateway, upstream) = start().await;
    for _ in 0..3 {
        assert_eq!(attempt(&gateway, "192.0.2.1", "ci", PASSWORD).await, (200, None));
        let saw = upstream.last();
        assert_eq!((saw.header("x-consumer"), saw.header("x-credential-id")), (Some("acme"), Some("acme-ci")));
        assert_eq!((saw.header("x-auth-method"), saw.header("authorization")), (Some("basic-auth"), None));
    }
    assert!(
        !gateway.output().contains("horse") && !gateway.output().contains(&BASE64.encode(format!("ci:{PASSWORD}")))
    );
    let client = Client::http1(gateway.address(0));
    let answer = client.get("/orders/7").send().await;
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert_eq!((answer.status, challenge), (401, "Basic realm=\"orders\", charset=\"UTF-8\""));
}

#[tokio::test]
async fn what_is_no_pair_of_name_and_password_is_401() {
    let (gateway, upstream) = start().await;
    let wrong = ["!!!", "", "Y2k=", "Og==", "OmE=", "Y2k6", "Y2k6eA==Y2k6eA==", "/////w==", "AAAA"];
    for (number, credentials) in wrong.into_iter().enumerate() {
        let request = format!(
            "GET /orders/7 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.{number}\r\nConnection: close\r\n\
             Authorization: Basic {credentials}\r\n\r\n"
        );
        let answer = String::from_utf8_lossy(&raw(gateway.address(0), request).await).into_owned();
        assert!(answer.starts_with("HTTP/1.1 401 "), "{credentials:?}: {answer}");
    }
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn a_stream_ends_with_its_user_and_with_nothing_less() {
    let (gateway, _upstream) = start().await;
    let original = gateway.configuration();
    let client = Client::http1(gateway.address(0));
    let credentials = BASE64.encode(format!("ci:{PASSWORD}"));
    let asking = client.get("/orders/sse?chunks=2&ms=3600000").header("authorization", &format!("Basic {credentials}"));
    let mut stream = asking.header("x-forwarded-for", "192.0.2.1").open().await;
    assert_eq!((stream.status(), stream.next().await.expect("an event").is_ok()), (200, true));
    eventually("it has lasted", async || gateway.metric("portcullis_open_streams").await == 1.0).await;
    // Other settings of the policy make no password a wrong one.
    gateway.rewrite(&original.replace("per_principal = 3", "per_principal = 4"));
    assert_eq!(gateway.reload().await.code, 0);
    let more = tokio::time::timeout(Duration::from_millis(2500), stream.next()).await;
    assert!(more.is_err(), "it goes on");
    gateway.rewrite(&original.replace("username = \"ci\"", "username = \"cd\""));
    assert_eq!(gateway.reload().await.code, 0);
    assert!(stream.next().await.is_some_and(|piece| piece.is_err()), "it is cut off");
    let event = gateway.audit(|event| event["event"] == "stream_ended").await;
    assert_eq!((&event["reason"], &event["consumer"]), (&"credential_withdrawn".into(), &"acme".into()), "{event}");
}

#[tokio::test]
async fn guessing_is_slowed_down_and_locks_nobody_else_out() {
    let (gateway, _upstream) = start().await;
    for number in 0..3 {
        assert_eq!(attempt(&gateway, "192.0.2.1", "ci", &format!("guess number {number}")).await, (401, None));
    }
    // Even the right password has to wait now, from here.
    let (status, retry_after) = attempt(&gateway, "192.0.2.1", "ci", PASSWORD).await;
    assert_eq!(status, 429);
    assert!(retry_after.is_some_and(|seconds| seconds >= 1), "{retry_after:?}");
    gateway.audit(|event| event["reason"] == "too_many_attempts").await;
    // From elsewhere the real user gets in.
    assert_eq!(attempt(&gateway, "192.0.2.2", "ci", PASSWORD).await, (200, None));
    // Trying name after name does not help: distinct failures of one address count together.
    let mut statuses = Vec::new();
    for number in 0..8 {
        statuses.push(attempt(&gateway, "192.0.2.3", &format!("user-{number}"), "a password that many have").await.0);
    }
    assert_eq!(statuses.first(), Some(&401));
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    assert_eq!(attempt(&gateway, "192.0.2.4", "ci", PASSWORD).await, (200, None));
}

#[tokio::test]
async fn the_same_wrong_password_again_is_no_distinct_failure_and_a_reload_forgets_nothing() {
    let (gateway, _upstream) = start().await;
    for number in 0..3 {
        assert_eq!(attempt(&gateway, "192.0.2.1", "ci", &format!("guess number {number}")).await.0, 401);
    }
    let toml = std::fs::read_to_string(gateway.dir().join("portcullis.toml")).expect("the configuration");
    gateway.rewrite(&toml.replace("window = \"15m\"", "window = \"14m\""));
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!(attempt(&gateway, "192.0.2.1", "ci", PASSWORD).await.0, 429);
}

/// By libxcrypt, of `a newer password`; cheap, because the tests compute it often.
const NEWER_HASH: &str = "$2b$10$abcdefghijklmnopqrstuuvfiZW6rPGMpOZgKN1TEFizn16G0RP7S";
const NEWER: &str = "a newer password";

#[tokio::test]
async fn two_policies_as_alternatives_count_nothing_that_one_of_them_takes() {
    let newer = format!(
        r#"
[policies.newer]
use = "basic-auth"
attempts = {{ per_principal = 3 }}

[[consumers.acme.credentials]]
use = "basic-auth"
id = "acme-newer"
username = "ci"
password_hash = "{NEWER_HASH}"
policies = ["newer"]
"#
    );
    let toml = GATEWAY.replace("auth = [\"passwords\"]", "auth = [\"newer\", \"passwords\"]");
    let toml = toml.replace("scopes = [\"orders:read\"]", "policies = [\"passwords\"]") + &newer;
    let (gateway, _upstream) = start_with(&toml).await;
    for number in 0..50 {
        assert_eq!(attempt(&gateway, "192.0.2.1", "ci", PASSWORD).await, (200, None), "{number}");
    }
    // The day on which the client changes over.
    assert_eq!(attempt(&gateway, "192.0.2.1", "ci", NEWER).await, (200, None));
    let failed = |kind| format!("portcullis_failed_attempts_total{{policy=\"newer\",kind=\"{kind}\"}}");
    assert_eq!(gateway.metric(&failed("distinct")).await + gateway.metric(&failed("repeated")).await, 0.0);
    // What neither takes counts at both.
    for number in 0..3 {
        assert_eq!(attempt(&gateway, "192.0.2.2", "ci", &format!("guess number {number}")).await, (401, None));
    }
    assert_eq!(attempt(&gateway, "192.0.2.2", "ci", PASSWORD).await.0, 429);
    assert_eq!(attempt(&gateway, "192.0.2.2", "ci", NEWER).await.0, 429);
    assert_eq!(gateway.metric(&failed("distinct")).await, 3.0);
}

#[tokio::test]
async fn whoever_has_a_key_cannot_guess_at_passwords_beside_it() {
    let keys = r#"
[policies.keys]
use = "key-auth"

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-key"
sha256 = "@SHA256@"
"#;
    let toml = GATEWAY.replace("auth = [\"passwords\"]", "auth = [\"passwords\", \"keys\"]") + keys;
    let (gateway, upstream) = start_with(&toml).await;
    let client = Client::http1(gateway.address(0));
    let beside = async |password: &str| {
        let credentials = BASE64.encode(format!("ci:{password}"));
        let asking = client.get("/orders/7").header("authorization", &format!("Basic {credentials}"));
        let asking = asking.header("x-api-key", &key("acme").0).header("x-forwarded-for", "192.0.2.1");
        let status = asking.send().await.status;
        (status, upstream.last().header("x-credential-id").map(str::to_owned))
    };
    for number in 0..3 {
        let answer = beside(&format!("guess number {number}")).await;
        assert_eq!(answer, (200, Some("acme-key".to_owned())), "a right key is taken");
    }
    assert_eq!(beside(PASSWORD).await, (200, Some("acme-key".to_owned())), "the right guess does not show");
    assert_eq!(attempt(&gateway, "192.0.2.1", "ci", PASSWORD).await.0, 429);
}

#[tokio::test]
async fn one_guess_for_each_user_from_each_address_makes_strangers_wait_and_nobody_who_is_known() {
    let toml = GATEWAY.replace("per_address = 6", "per_address = 6, per_policy = 4");
    let (gateway, _upstream) = start_with(&toml).await;
    assert_eq!(attempt(&gateway, "192.0.2.1", "ci", PASSWORD).await, (200, None));
    let mut statuses = Vec::new();
    for number in 0..8 {
        let address = format!("198.51.100.{number}");
        statuses.push(attempt(&gateway, &address, &format!("user-{number}"), "a password that many have").await.0);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 429, 429, 429, 429]);
    let series = "portcullis_failed_attempts_total{policy=\"passwords\",kind=\"distinct\"}";
    assert_eq!(gateway.metric(series).await, 4.0);
    assert_eq!(attempt(&gateway, "192.0.2.1", "ci", PASSWORD).await, (200, None), "known here");
    let (status, retry_after) = attempt(&gateway, "192.0.2.2", "ci", PASSWORD).await;
    assert!(status == 429 && retry_after.is_some_and(|seconds| (1..=225).contains(&seconds)), "{retry_after:?}");
    gateway.audit(|event| event["reason"] == "too_many_attempts").await;
}

#[tokio::test]
async fn the_command_makes_hashes_that_the_file_takes_and_refuses_short_passwords() {
    for algorithm in ["argon2id", "bcrypt"] {
        let made = portcullis(&["password", "hash", "--algorithm", algorithm], PASSWORD).await;
        assert_eq!(made.code, 0, "{made:?}");
        assert!(made.stdout.starts_with("password_hash = \"$") && !made.stdout.contains("horse"), "{made:?}");
    }
    let short = portcullis(&["password", "hash"], "secret\n").await;
    assert_eq!(short.code, 1, "{short:?}");
    assert!(!short.stderr.contains("secret\n"), "{short:?}");
}

#[tokio::test]
async fn an_operator_lets_somebody_who_is_locked_out_try_again() {
    let toml = format!("[server]\ncontrol = \"@DIR@/control.sock\"\n{GATEWAY}");
    let (gateway, _upstream) = start_with(&toml).await;
    let config = gateway.dir().join("portcullis.toml").display().to_string();
    let policy = async |said: &[&str]| portcullis(&[&["policy", "-c", &config], said].concat(), "").await;
    for number in 0..3 {
        assert_eq!(attempt(&gateway, "192.0.2.1", "ci", &format!("wrong {number}")).await.0, 401);
    }
    assert_eq!(attempt(&gateway, "192.0.2.1", "ci", PASSWORD).await.0, 429);
    let shown = gateway.status().await["policies"]["passwords"]["attempts"].clone();
    assert_eq!(shown["principals_with_failures"], 1, "{shown:#}");

    // What does not exist is answered with what does.
    for (said, words) in [
        (&["nobody", "forget"][..], "there is no policy `nobody`. Commands of the policy `passwords`:\n  forget "),
        (&["passwords", "forge"], "has no command `forge`. Commands of the policy `passwords`:\n  forget "),
        (&["passwords", "forget", "ci"], "no IP address"),
        (&["passwords", "forget", &"a".repeat(1025)], "at most 1024 bytes"),
        (&[&["passwords", "forget"][..], &["a"; 17]].concat(), "at most 16 arguments"),
    ] {
        let refused = policy(said).await;
        assert!(refused.code == 2 && refused.stderr.contains(words), "{said:?}: {refused:?}");
    }
    for listed in [&["passwords"][..], &[]] {
        let listed = policy(listed).await;
        assert!(listed.code == 0 && listed.stdout.contains("forget-all: let everybody try again"), "{listed:?}");
    }
    assert_eq!(attempt(&gateway, "192.0.2.1", "ci", PASSWORD).await.0, 429);

    let done = policy(&["passwords", "forget", "192.0.2.1", "ci"]).await;
    let told = "failed attempts from 192.0.2.1 that are forgotten: 3 different ones in all, and 3 as `ci`\n";
    assert_eq!((done.code, done.stdout.as_str()), (0, told), "{done:?}");
    assert_eq!(attempt(&gateway, "192.0.2.1", "ci", PASSWORD).await.0, 200);
    let line = gateway.wait_line(|line| line["event"] == "command" && line["level"] == "info", crate::harness::LIMIT);
    let line = line.await;
    assert_eq!((&line["policy"], &line["command"]), (&"passwords".into(), &"forget".into()), "{line}");
    assert!(line["user"].is_u64() && line["arguments"] == r#"["192.0.2.1","ci"]"#, "{line}");
}
