//! Certificates of every kind at a listener that wants one.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{OPEN, World, configured, get, status};
use crate::harness::{Authority, Crl, KeyType, Leaf, Pair, Purpose, Raw, eventually};

const REQUIRED: &str = "client_auth = \"required\"\nclient_ca = [\"clients.pem\", \"between.pem\"]\n\
                        client_crl = [\"clients.crl\", \"between.crl\"]\nmax_chain_depth = 1";

/// Who asks, and why they are refused, if they are.
type Case = (&'static str, Option<Pair>, Option<&'static str>);

/// The authority for clients, one below it that the gateway knows too, and everyone who asks.
fn cases(root: &Authority, between: &Authority) -> Vec<Case> {
    let stranger = Authority::new("Clients");
    let below = root.intermediate("Unlisted");
    let deep = below.intermediate("Deep");
    let client = |name: &str| Leaf::client(name);
    let mut without_between = below.issue(client("kim"));
    without_between.intermediates.clear();
    let mut with_a_foreign_one = below.issue(client("lee"));
    with_a_foreign_one.intermediates = vec![stranger.pair().certificate.clone()];
    let refused = |what, pair, reason| (what, Some(pair), Some(reason));
    vec![
        ("a good one", Some(root.issue(client("alice"))), None),
        ("for servers and clients", Some(root.issue(client("ann").purpose(Purpose::Both))), None),
        ("that does not say for what (RFC 5280 section 4.2.1.12)", Some(root.issue(Leaf::new("abe"))), None),
        ("by RSA", Some(root.issue(client("bob").key(KeyType::Rsa2048))), None),
        ("by Ed25519", Some(root.issue(client("eve").key(KeyType::Ed25519))), None),
        ("of the authority below that is known", Some(between.issue(client("cleo"))), None),
        ("of one below that comes along", Some(below.issue(client("carl"))), None),
        ("none", None, Some("certificate_absent")),
        refused("expired", root.issue(client("dan").valid(-30, -1)), "certificate_expired"),
        refused("not valid yet", root.issue(client("fay").valid(1, 30)), "certificate_not_yet_valid"),
        refused("of somebody with the same name", stranger.issue(client("gus")), "certificate_unknown_ca"),
        refused("signed by itself", client("hal").self_signed(), "certificate_unknown_ca"),
        refused("of one below that does not come along", without_between, "certificate_unknown_ca"),
        refused("with somebody else's authority along", with_a_foreign_one, "certificate_unknown_ca"),
        refused("for servers", root.issue(Leaf::server("ivy.example.com")), "certificate_wrong_purpose"),
        refused("for code", root.issue(client("jim").purpose(Purpose::CodeSigning)), "certificate_wrong_purpose"),
        refused("of two below", deep.issue(client("mia")), "certificate_chain_too_long"),
    ]
}

#[tokio::test]
async fn who_is_let_in_and_who_is_not() {
    let (servers, root) = (Authority::new("Servers"), Authority::new("Clients"));
    let between = root.intermediate("Between");
    let (by_root, by_between) = (root.issue(Leaf::client("olga")), between.issue(Leaf::client("pete")));
    let taken_back = root.intermediate("Taken back");
    let of_taken_back = taken_back.issue(Leaf::client("quinn"));
    let mut all = cases(&root, &between);
    all.push(("revoked", Some(by_root.clone()), Some("certificate_revoked")));
    all.push(("revoked by the authority below", Some(by_between.clone()), Some("certificate_revoked")));
    all.push(("of an authority that was revoked", Some(of_taken_back), Some("certificate_revoked")));
    let builder = configured(&servers, &root, REQUIRED).set("MORE", "").file("between.pem", between.pem());
    let builder = builder.file("clients.crl", Crl::of(&root).revoke(&by_root).revoke(taken_back.pair()).pem());
    let builder = builder.file("between.crl", Crl::of(&between).revoke(&by_between).der());
    let mut world = World::of(&servers, &root, builder).await;
    let mut refused = 0;
    for (what, pair, reason) in &all {
        for version in ["1.2", "1.3"] {
            let before = world.upstream.requests();
            let answer = world.ask(OPEN, pair.as_ref(), &json!({ "min": version, "max": version }));
            let Some(reason) = reason else {
                assert_eq!(status(&answer), Some(200), "{what}, {version}: {answer:#}\n{}", world.gateway.output());
                continue;
            };
            refused += 1;
            assert!(answer["error"].is_string(), "{what}, {version}: {answer:#}");
            assert_eq!(world.upstream.requests(), before, "{what}, {version}");
            let count = || world.gateway.lines().iter().filter(|line| line["event"] == "handshake").count();
            eventually("an event of each refusal", async || count() == refused).await;
            let event = world.gateway.lines().into_iter().rfind(|line| line["event"] == "handshake").expect("counted");
            assert_eq!(
                (&event["reason"], &event["result"]),
                (&(*reason).into(), &"denied".into()),
                "{what}: {event:#}"
            );
            assert_eq!((&event["address"], &event["server_name"]), (&"127.0.0.1".into(), &OPEN.into()), "{event:#}");
        }
    }
    for (reason, count) in [("certificate_revoked", 6.0), ("certificate_absent", 2.0), ("certificate_unknown_ca", 8.0)]
    {
        let series = format!("portcullis_tls_handshakes_total{{listener=\"0\",result=\"failed\",reason=\"{reason}\"}}");
        assert_eq!(world.gateway.metric(&series).await, count, "{reason}");
    }
}

#[tokio::test]
async fn a_key_that_is_too_short_is_nobodys() {
    let world = World::start("client_auth = \"required\"\nclient_ca = \"clients.pem\"").await;
    // Python's `ssl` would not even send it.
    let short = world.clients.issue(Leaf::client("ned").key(KeyType::Rsa1024));
    let connected = Raw::open_by_tls(world.gateway.address(0), &world.tls(OPEN).certificate(&short).http1()).await;
    if let Ok(mut connection) = connected {
        connection.send(get(OPEN, "/x")).await;
        assert!(!connection.rest().await.starts_with(b"HTTP/1.1"));
    }
    world.gateway.audit(|event| event["reason"] == "certificate_unknown_ca").await;
}

#[tokio::test]
async fn a_client_learns_by_the_alert_what_is_wrong() {
    let mut world = World::start("client_auth = \"required\"\nclient_ca = \"clients.pem\"").await;
    let expired = world.clients.issue(Leaf::client("dan").valid(-30, -1));
    let stranger = Authority::new("Others").issue(Leaf::client("gus"));
    let revoked: [(&str, Option<&Pair>, &str); 3] = [
        ("none", None, "certificate required"),
        ("expired", Some(&expired), "certificate expired"),
        ("unknown", Some(&stranger), "unknown ca"),
    ];
    for (what, pair, alert) in revoked {
        let answer = world.ask(OPEN, pair, &json!({}));
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(alert)), "{what}: {answer:#}");
    }
}

#[tokio::test]
async fn where_every_ca_must_have_a_crl_one_without_lets_nobody_in() {
    let (servers, root) = (Authority::new("Servers"), Authority::new("Clients"));
    let (listed, unlisted) = (root.intermediate("Listed"), root.intermediate("Unlisted"));
    let lines = "client_auth = \"required\"\nclient_ca = [\"clients.pem\", \"listed.pem\", \"unlisted.pem\"]\n\
                 client_crl = [\"clients.crl\", \"listed.crl\"]\ncrl = \"required\"";
    let builder = configured(&servers, &root, lines).set("MORE", "");
    let builder = builder.file("listed.pem", listed.pem()).file("unlisted.pem", unlisted.pem());
    let builder = builder.file("clients.crl", Crl::of(&root).pem()).file("listed.crl", Crl::of(&listed).pem());
    let mut world = World::of(&servers, &root, builder).await;
    for (pair, is_let_in) in [
        (root.issue(Leaf::client("a")), true),
        (listed.issue(Leaf::client("b")), true),
        (unlisted.issue(Leaf::client("c")), false),
        (root.intermediate("Unknown").issue(Leaf::client("d")), false),
    ] {
        let answer = world.ask(OPEN, Some(&pair), &json!({}));
        assert_eq!(status(&answer), is_let_in.then_some(200), "{answer:#}");
    }
    world.gateway.audit(|event| event["reason"] == "certificate_revocation_unknown").await;
}

#[tokio::test]
async fn the_issuer_tells_a_foreign_authority_from_one_that_was_left_out() {
    let mut world = World::start("client_auth = \"required\"\nclient_ca = \"clients.pem\"").await;
    let mut alone = world.clients.intermediate("Left out").issue(Leaf::client("kim"));
    alone.intermediates.clear();
    let foreign = Authority::new("Others").issue(Leaf::client("gus"));
    for (pair, subject, issuer) in [(&alone, "CN=kim", "CN=Left out"), (&foreign, "CN=gus", "CN=Others")] {
        assert!(world.ask(OPEN, Some(pair), &json!({}))["error"].is_string());
        let event = world.gateway.audit(|event| event["subject"] == subject).await;
        assert_eq!(
            (&event["reason"], &event["issuer"]),
            (&"certificate_unknown_ca".into(), &issuer.into()),
            "{event:#}"
        );
    }
}

#[tokio::test]
async fn a_crl_that_expires_while_it_is_used_lets_nobody_in() {
    let (servers, root) = (Authority::new("Servers"), Authority::new("Clients"));
    let pair = root.issue(Leaf::client("alice"));
    let lines = "client_auth = \"required\"\nclient_ca = \"clients.pem\"\nclient_crl = \"clients.crl\"";
    let builder = configured(&servers, &root, lines).set("MORE", "");
    let builder = builder.file("clients.crl", Crl::of(&root).valid_seconds(-60, 8).pem());
    let mut world = World::of(&servers, &root, builder).await;
    assert_eq!(status(&world.ask(OPEN, Some(&pair), &json!({}))), Some(200));
    let deadline = Instant::now() + Duration::from_secs(30);
    while world.ask(OPEN, Some(&pair), &json!({}))["error"].is_null() {
        assert!(Instant::now() < deadline, "a CRL that has expired still lets clients in");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    world.gateway.audit(|event| event["reason"] == "certificate_revocation_unknown").await;
    // A fresh one, by a reload, and they are back.
    world.gateway.replace("clients.crl", Crl::of(&root).pem());
    assert_eq!(world.gateway.reload().await.code, 0);
    assert_eq!(status(&world.ask(OPEN, Some(&pair), &json!({}))), Some(200));
}

#[tokio::test]
async fn off_asks_nobody_and_optional_takes_no_bad_one() {
    let mut off = World::start("client_auth = \"off\"").await;
    let own = off.clients.issue(Leaf::client("alice"));
    assert_eq!(status(&off.ask(OPEN, Some(&own), &json!({}))), Some(200));
    assert_eq!(off.upstream.last().header("client-cert"), None);

    let mut optional = World::start("client_auth = \"optional\"\nclient_ca = \"clients.pem\"").await;
    let (good, expired) =
        (optional.clients.issue(Leaf::client("a")), optional.clients.issue(Leaf::client("b").valid(-9, -1)));
    let stranger = Authority::new("Others").issue(Leaf::client("c"));
    for (pair, expected) in
        [(None, Some(200)), (Some(&good), Some(200)), (Some(&expired), None), (Some(&stranger), None)]
    {
        let answer = optional.ask(OPEN, pair, &json!({}));
        assert_eq!(status(&answer), expected, "{answer:#}");
    }
}

#[tokio::test]
async fn the_question_names_whose_certificates_are_taken() {
    let world = World::start("client_auth = \"optional\"\nclient_ca = \"clients.pem\"").await;
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = ["-servername", OPEN, version];
        let output = crate::harness::s_client(world.gateway.address(0), &arguments, &get(OPEN, "/x")).await;
        let (_, names) = output.stdout.split_once("Acceptable client certificate CA names").expect("the question");
        assert!(names.contains("CN = Clients") || names.contains("CN=Clients"), "{output:?}");
    }
}
