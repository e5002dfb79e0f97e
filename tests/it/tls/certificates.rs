//! Which certificate a client sees, and what `check` says about one that no client would take.

use std::{collections::HashMap, fs};

use openssl::ssl::SslVersion;
use serde_json::json;
use tempfile::TempDir;

use super::{CERTIFICATE, NAME, World, configured, get};
use crate::harness::{Authority, Client, GatewayBuilder, KeyType, Leaf, Pair, Tls, ocsp, s_client};

/// Lays a certificate and its key beside the configuration.
fn with(builder: GatewayBuilder, name: &str, pair: &Pair) -> GatewayBuilder {
    builder.file(&format!("{name}.pem"), pair.chain_pem()).file(&format!("{name}.key"), pair.key_pem())
}

/// `certificates` with those files.
fn listed(names: &[&str]) -> String {
    let entries: Vec<_> =
        names.iter().map(|name| format!("{{ cert = \"{name}.pem\", key = \"{name}.key\" }}")).collect();
    format!("certificates = [{}]", entries.join(", "))
}

/// A listener with a certificate for each of these.
async fn many(unknown: &str) -> (World, HashMap<String, &'static str>) {
    let ca = Authority::new("Root");
    let certificates = [
        ("first", Leaf::server("first.example.org")),
        ("two-names", Leaf::server("api.example.com").dns("alt.example.net")),
        ("wild", Leaf::server("*.example.com")),
        ("exact", Leaf::server("exact.example.com")),
        ("by-common-name-not", Leaf::new("common.example.net").dns("other.example.net")),
    ];
    let mut builder = configured(&ca, &format!("{}\n{unknown}", listed(&certificates.clone().map(|(name, _)| name))));
    let mut shown = HashMap::new();
    for (name, leaf) in certificates {
        let pair = ca.issue(leaf);
        shown.insert(pair.fingerprint(), name);
        builder = with(builder, name, &pair);
    }
    (World::with(ca, builder).await, shown)
}

/// The name that is asked for, and the certificate that comes.
const NAMES: &[(Option<&str>, &str)] = &[
    (Some("api.example.com"), "two-names"),
    (Some("alt.example.net"), "two-names"),
    (Some("API.Example.COM"), "two-names"),
    (Some("exact.example.com"), "exact"),
    (Some("any.example.com"), "wild"),
    (Some("deep.any.example.com"), "first"),
    (Some("example.com"), "first"),
    (Some("common.example.net"), "first"),
    (Some("unknown.example.org"), "first"),
    (Some("localhost"), "first"),
    (None, "first"),
];

#[tokio::test]
async fn a_name_gets_its_certificate_exact_before_wildcard_and_others_the_first() {
    let (mut world, shown) = many("").await;
    for (name, expected) in NAMES {
        let answer = world.connect(&json!({ "name": name, "ca": null, "send": get(name.unwrap_or("x"), "/x") }));
        let sha256 = answer["sha256"].as_str().unwrap_or_else(|| panic!("{name:?}: {answer:#}"));
        assert_eq!(shown[sha256], *expected, "{name:?}");
        assert!(
            answer["answer"].as_str().is_some_and(|text| text.starts_with("HTTP/1.1 200 ")),
            "{name:?}: {answer:#}"
        );
    }
}

#[tokio::test]
async fn unknown_names_are_refused_where_the_listener_says_so() {
    let (mut world, shown) = many("unknown_name = \"refuse\"").await;
    for (name, expected) in NAMES {
        let answer = world.connect(&json!({ "name": name, "ca": null }));
        if *expected == "first" {
            assert!(
                answer["error"].as_str().is_some_and(|error| error.contains("unrecognized name")),
                "{name:?}: {answer:#}"
            );
        } else {
            assert_eq!(shown[answer["sha256"].as_str().unwrap_or_default()], *expected, "{name:?}: {answer:#}");
        }
    }
    let refused = NAMES.iter().filter(|(_, expected)| *expected == "first").count();
    let series = "portcullis_tls_handshakes_total{listener=\"0\",result=\"failed\",reason=\"server_name_unknown\"}";
    assert_eq!(world.gateway.metric(series).await, refused as f64);
    let event = world.gateway.audit(|event| event["server_name"] == "unknown.example.org").await;
    assert_eq!((&event["event"], &event["reason"]), (&"handshake".into(), &"server_name_unknown".into()), "{event:#}");
}

#[tokio::test]
async fn rsa_and_ecdsa_stand_side_by_side_each_with_its_chain() {
    let (ca, mut shown) = (Authority::new("Root"), HashMap::new());
    let mut builder = configured(&ca, &listed(&["rsa", "ec"]));
    for (name, key) in [("rsa", KeyType::Rsa2048), ("ec", KeyType::P256)] {
        let pair = ca.intermediate(&format!("Between {name}")).issue(Leaf::server(NAME).key(key));
        shown.insert(pair.fingerprint(), name);
        builder = with(builder, name, &pair);
    }
    let mut world = World::with(ca, builder).await;
    let offers = [
        ("rsa", json!({ "max": "1.2", "ciphers": "ECDHE-RSA-AES128-GCM-SHA256" })),
        ("ec", json!({ "max": "1.2", "ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256" })),
        ("ec", json!({ "max": "1.2" })),
        ("ec", json!({})),
    ];
    for (expected, offer) in offers {
        // Verified against the root alone: what stands between came along.
        let answer = world.connect(&offer);
        assert_eq!(shown.get(answer["sha256"].as_str().unwrap_or_default()), Some(&expected), "{offer}: {answer:#}");
    }
    let rsa_only = ["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256", "-servername", NAME, "-showcerts"];
    let output = s_client(world.gateway.address(0), &rsa_only, &get(NAME, "/x")).await;
    assert!(output.stdout.contains("Peer signature type: RSA-PSS"), "{output:?}");
    assert!(output.stdout.contains("Between rsa") && !output.stdout.contains("Between ec"), "{output:?}");
}

#[tokio::test]
async fn the_whole_chain_is_sent() {
    let ca = Authority::new("Root");
    let pair = ca.intermediate("Upper").intermediate("Lower").issue(Leaf::server(NAME));
    let world = World::with(ca.clone(), with(configured(&ca, CERTIFICATE), "api", &pair)).await;
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let tls = Tls::trusting(&ca).name(NAME).version(version).http1();
        assert_eq!(Client::by_tls(world.gateway.address(0), &tls).get("/x").send().await.status, 200);
    }
    let output = s_client(world.gateway.address(0), &["-servername", NAME, "-showcerts"], &get(NAME, "/x")).await;
    assert_eq!(output.stdout.matches("-----BEGIN CERTIFICATE-----").count(), 3, "{output:?}");
}

/// What lies in `api.pem` and in `api.key`, and words of what is said about it.
fn unusable(ca: &Authority) -> Vec<(&'static str, Vec<u8>, Vec<u8>, &'static str)> {
    let (good, other) = (ca.issue(Leaf::server(NAME)), ca.issue(Leaf::server(NAME)));
    let (expired, early) = (ca.issue(Leaf::server(NAME).valid(-30, -1)), ca.issue(Leaf::server(NAME).valid(1, 30)));
    let below = ca.intermediate("Upper").intermediate("Lower").issue(Leaf::server(NAME));
    let without_lower = format!("{}{}", below.pem(), below.intermediates[1].to_pem().map(text).expect("PEM"));
    let nameless = ca.issue(Leaf::new(NAME));
    let upside_down: String = below
        .intermediates
        .iter()
        .rev()
        .chain([&below.certificate])
        .map(|it| text(it.to_pem().expect("PEM")))
        .collect();
    let case = |what, cert: String, key: String, word| (what, cert.into_bytes(), key.into_bytes(), word);
    vec![
        case("a key of another certificate", good.pem(), other.key_pem(), "key"),
        case("an expired certificate", expired.pem(), expired.key_pem(), "expired"),
        case("one that is not valid yet", early.pem(), early.key_pem(), "is not valid before"),
        case("a chain with a gap", without_lower, below.key_pem(), "chain"),
        case("a chain upside down", upside_down, below.key_pem(), "certificates[0]"),
        case("a certificate without a name", nameless.pem(), nameless.key_pem(), "name"),
        case("no certificate", String::new(), good.key_pem(), "certificate"),
        case("a key for a certificate", good.key_pem(), good.key_pem(), "certificate"),
        case("a certificate for a key", good.pem(), good.pem(), "key"),
        case("no PEM", "hello".into(), good.key_pem(), "certificate"),
        case("no key", good.pem(), String::new(), "key"),
        case("half a certificate", good.pem()[..200].into(), good.key_pem(), "certificate"),
    ]
}

fn text(pem: Vec<u8>) -> String {
    String::from_utf8(pem).expect("PEM is ASCII")
}

#[tokio::test]
async fn what_no_client_would_take_is_said_by_check_and_never_shows_a_key() {
    let ca = Authority::new("Root");
    for (what, cert, key, word) in unusable(&ca) {
        let builder = configured(&ca, CERTIFICATE).file("api.pem", cert).file("api.key", &key);
        let output = builder.set("UPSTREAM", "127.0.0.1:9").check().await;
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(output.code != 0 && said.contains(word), "{what}: {output:?}");
        let line = key.split(|byte| *byte == b'\n').nth(1).map(String::from_utf8_lossy);
        assert!(line.is_none_or(|line| line.is_empty() || !said.contains(&*line)), "{what}: the key is shown");
    }
    for file in ["api.pem", "api.key"] {
        let builder = configured(&ca, &CERTIFICATE.replace(file, "absent"));
        let output = builder.set("UPSTREAM", "127.0.0.1:9").check().await;
        assert!(output.code != 0 && output.stderr.contains("absent"), "{file}: {output:?}");
    }
    let twice = configured(&ca, &CERTIFICATE.replace('[', "[{ cert = \"api.pem\", key = \"api.key\" }, "));
    let output = twice.set("UPSTREAM", "127.0.0.1:9").check().await;
    assert!(output.code != 0 && output.stderr.contains(NAME), "the same name twice: {output:?}");
    let inline = configured(&ca, &format!("certificates = [{{ cert = \"api.pem\", key = '''{}''' }}]", "-----BEGIN X"));
    let output = inline.set("UPSTREAM", "127.0.0.1:9").check().await;
    assert!(output.code != 0 && !output.stderr.contains("BEGIN X"), "a key in the file: {output:?}");
}

#[tokio::test]
async fn a_missing_chain_is_said_by_check() {
    let ca = Authority::new("Root");
    let leaf = ca.intermediate("Between").issue(Leaf::server(NAME));
    let builder = configured(&ca, CERTIFICATE).file("api.pem", leaf.pem()).file("api.key", leaf.key_pem());
    let output = builder.set("UPSTREAM", "127.0.0.1:9").check().await;
    assert!(format!("{}{}", output.stdout, output.stderr).contains("certificate alone"), "{output:?}");
}

#[tokio::test]
async fn a_key_comes_from_systemd() {
    let (ca, credentials) = (Authority::new("Root"), TempDir::new().expect("a temporary directory"));
    let pair = ca.issue(Leaf::server(NAME));
    fs::write(credentials.path().join("api.key"), pair.key_pem()).expect("a file in our own directory");
    let lines = "certificates = [{ cert = \"api.pem\", key = { credential = \"api.key\" } }]";
    let builder = configured(&ca, lines).file("api.pem", pair.pem()).file("api.key", "nothing of use");
    let builder = builder.env("CREDENTIALS_DIRECTORY", &credentials.path().display().to_string());
    let mut world = World::with(ca, builder).await;
    assert_eq!(world.connect(&json!({}))["sha256"], pair.fingerprint());
}

#[tokio::test]
async fn an_ocsp_response_is_stapled_where_there_is_one() {
    let ca = Authority::new("Root");
    let (stapled, bare) = (ca.issue(Leaf::server(NAME)), ca.issue(Leaf::server("bare.example.com")));
    let lines = "certificates = [{ cert = \"stapled.pem\", key = \"stapled.key\", ocsp = \"stapled.ocsp\" }, \
                 { cert = \"bare.pem\", key = \"bare.key\" }]";
    let builder = with(with(configured(&ca, lines), "stapled", &stapled), "bare", &bare);
    let world = World::with(ca.clone(), builder.file("stapled.ocsp", ocsp(&ca, &stapled, false))).await;
    for (name, version, expected) in [
        (NAME, "-tls1_3", "OCSP Response Status: successful"),
        (NAME, "-tls1_2", "OCSP Response Status: successful"),
        ("bare.example.com", "-tls1_3", "OCSP response: no response sent"),
    ] {
        let arguments = ["-servername", name, version, "-status"];
        let output = s_client(world.gateway.address(0), &arguments, &get(name, "/x")).await;
        assert!(output.stdout.contains(expected), "{name} {version}: {output:?}");
    }
}

#[tokio::test]
async fn an_ocsp_response_that_is_none_of_this_certificate_is_said_by_check() {
    let ca = Authority::new("Root").intermediate("Between");
    let (pair, other) = (ca.issue(Leaf::server(NAME)), ca.issue(Leaf::server(NAME)));
    let lines = "certificates = [{ cert = \"api.pem\", key = \"api.key\", ocsp = \"api.ocsp\" }]";
    for (what, response) in [
        ("garbage", b"hello".to_vec()),
        ("nothing", Vec::new()),
        ("of another certificate", ocsp(&ca, &other, false)),
        ("revoked", ocsp(&ca, &pair, true)),
        ("of another authority with the same name", ocsp(&Authority::new("Between"), &pair, false)),
    ] {
        let builder = with(configured(&ca, lines), "api", &pair).file("api.ocsp", response);
        let output = builder.set("UPSTREAM", "127.0.0.1:9").check().await;
        assert!(output.code != 0 && output.stderr.contains("ocsp"), "{what}: {output:?}");
    }
    let builder = with(configured(&ca, lines), "api", &pair).file("api.ocsp", ocsp(&ca, &pair, false));
    let output = builder.set("UPSTREAM", "127.0.0.1:9").check().await;
    assert_eq!(output.code, 0, "{output:?}");
}

#[tokio::test]
async fn a_metric_says_until_when_each_name_has_a_certificate() {
    let ca = Authority::new("Root");
    let (soon, late) = (ca.issue(Leaf::server("soon.example.com").valid(-1, 3)), ca.issue(Leaf::server(NAME)));
    let builder = with(with(configured(&ca, &listed(&["soon", "late"])), "soon", &soon), "late", &late);
    let world = World::with(ca, builder).await;
    for (name, pair) in [("soon.example.com", &soon), (NAME, &late)] {
        let epoch = openssl::asn1::Asn1Time::from_unix(0).expect("a time");
        let until = epoch.diff(pair.certificate.not_after()).expect("times");
        let seconds = f64::from(until.days) * 86400.0 + f64::from(until.secs);
        let series = format!("portcullis_certificate_expiry_timestamp_seconds{{name=\"{name}\"}}");
        assert_eq!(world.gateway.metric(&series).await, seconds, "{name}");
    }
}

#[tokio::test]
async fn a_key_is_in_no_output() {
    let world = World::start("\n[log]\nlevel = \"debug\"").await;
    let client = Client::by_tls(world.gateway.address(0), &world.tls().http1());
    assert_eq!(client.get("/x").send().await.status, 200);
    let key = fs::read_to_string(world.gateway.dir().join("api.key")).expect("our own file");
    assert!(!world.gateway.output().contains(key.lines().nth(1).expect("PEM")));
}
