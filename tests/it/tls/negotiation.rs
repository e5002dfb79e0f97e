//! What the two sides agree on, and what the gateway will not be talked into.

use serde_json::{Value, json};

use super::{CERTIFICATE, NAME, World, assert_like, configured, get};
use crate::harness::{Authority, s_client};

/// What it shows; what the listener says beside its certificate; what a client of Python offers; what comes of it.
fn agreed() -> Vec<(&'static str, &'static str, Value, Value)> {
    let both = json!(["h2", "http/1.1"]);
    vec![
        ("1.3 where both have it", "", json!({}), json!({ "version": "TLSv1.3" })),
        ("1.2 where that is all", "", json!({ "max": "1.2" }), json!({ "version": "TLSv1.2" })),
        ("1.3 where that is all", "min_version = \"1.3\"", json!({}), json!({ "version": "TLSv1.3" })),
        (
            "a cipher of 1.2 as the listener says",
            "ciphers = [\"ECDHE-ECDSA-AES256-GCM-SHA384\"]",
            json!({ "max": "1.2" }),
            json!({ "cipher": "ECDHE-ECDSA-AES256-GCM-SHA384" }),
        ),
        (
            "a cipher of 1.3 as the listener says",
            "ciphersuites = [\"TLS_CHACHA20_POLY1305_SHA256\"]",
            json!({}),
            json!({ "cipher": "TLS_CHACHA20_POLY1305_SHA256" }),
        ),
        ("HTTP/2 before HTTP/1.1", "", json!({ "alpn": both }), json!({ "alpn": "h2" })),
        ("HTTP/1.1 alone", "", json!({ "alpn": ["http/1.1"] }), json!({ "alpn": "http/1.1" })),
        ("no protocol named is HTTP/1.1", "", json!({ "send": get(NAME, "/x") }), json!({ "answer": "HTTP/1.1 200 " })),
        ("no HTTP/2 where it is off", "http2 = false", json!({ "alpn": both }), json!({ "alpn": "http/1.1" })),
    ]
}

#[tokio::test]
async fn both_sides_agree_on_the_best_that_both_have() {
    for (what, says, offers, expected) in agreed() {
        let mut world = World::start(says).await;
        let mut answer = world.connect(&offers);
        assert_eq!(answer["error"].take(), Value::Null, "{what}: {answer:#}");
        assert_like(&answer, &expected, what);
    }
}

/// The same, with the alert that the client gets and the reason in the log.
fn refused() -> Vec<(&'static str, &'static str, Value, &'static str, &'static str)> {
    vec![
        ("1.2 where 1.3 is wanted", "min_version = \"1.3\"", json!({ "max": "1.2" }), "protocol version", "version"),
        (
            "no cipher of 1.2 in common",
            "ciphers = [\"ECDHE-ECDSA-AES256-GCM-SHA384\"]",
            json!({ "max": "1.2", "ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256" }),
            "handshake failure",
            "nothing_in_common",
        ),
        (
            "CBC",
            "",
            json!({ "max": "1.2", "ciphers": "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384" }),
            "handshake failure",
            "nothing_in_common",
        ),
        (
            "no forward secrecy",
            "",
            json!({ "max": "1.2", "ciphers": "AES128-GCM-SHA256:AES256-GCM-SHA384" }),
            "handshake failure",
            "nothing_in_common",
        ),
        ("another protocol", "", json!({ "alpn": ["smtp"] }), "no application protocol", "nothing_in_common"),
        (
            "HTTP/2 where it is off",
            "http2 = false",
            json!({ "alpn": ["h2"] }),
            "no application protocol",
            "nothing_in_common",
        ),
        ("a client that does not trust us", "", json!({ "name": "other.example.com" }), "", "refused_by_client"),
    ]
}

#[tokio::test]
async fn what_is_not_agreed_on_ends_with_an_alert_an_event_and_a_count() {
    for (what, says, offers, alert, reason) in refused() {
        let mut world = World::start(says).await;
        let answer = world.connect(&offers);
        let error = answer["error"].as_str().unwrap_or_else(|| panic!("{what}: no error in {answer:#}"));
        assert!(error.contains(alert), "{what}: {answer:#}");
        let event = world.gateway.audit(|event| event["event"] == "handshake").await;
        assert_eq!((&event["result"], &event["reason"]), (&"denied".into(), &reason.into()), "{what}: {event:#}");
        let series = format!("portcullis_tls_handshakes_total{{listener=\"0\",result=\"failed\",reason=\"{reason}\"}}");
        assert_eq!(world.gateway.metric(&series).await, 1.0, "{what}");
        assert_eq!(world.upstream.requests(), 0, "{what}");
    }
}

/// Arguments of `openssl s_client`, and what it says when it has connected or failed.
const BY_OPENSSL: &[(&str, &str, &[&str], &str)] = &[
    ("1.1", "", &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], "alert protocol version"),
    ("the group that is best", "", &["-tls1_3"], "Server Temp Key: X25519"),
    ("a group as the listener says", "groups = [\"P-256\"]", &["-tls1_3"], "Server Temp Key: ECDH, prime256v1"),
    ("the same in 1.2", "groups = [\"P-384\"]", &["-tls1_2"], "Server Temp Key: ECDH, secp384r1"),
    ("no group in common", "groups = [\"P-256\"]", &["-groups", "X25519"], "alert handshake failure"),
    ("no compression", "", &["-tls1_2"], "Compression: NONE"),
    ("secure renegotiation is known", "", &["-tls1_2"], "Secure Renegotiation IS supported"),
];

#[tokio::test]
async fn openssl_agrees_on_groups_and_versions() {
    for (what, says, arguments, expected) in BY_OPENSSL {
        let world = World::start(says).await;
        let output = s_client(world.gateway.address(0), arguments, &get(NAME, "/x")).await;
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(said.contains(expected), "{what}: no {expected:?} in {said}");
    }
}

#[tokio::test]
async fn a_client_cannot_renegotiate() {
    let world = World::start("").await;
    let address = world.gateway.address(0).to_string();
    // Without `-ign_eof` a line that begins with R asks for it.
    let arguments = ["10", "openssl", "s_client", "-connect", &address, "-tls1_2"];
    let output = crate::harness::program(std::path::Path::new("timeout"), &arguments, "R\n").await;
    assert!(output.stderr.contains("no renegotiation"), "{output:?}");
}

/// Lines under `[listeners.tls]` that are a mistake, and a word of what is said about them.
const MISTAKES: &[(&str, &str)] = &[
    ("min_version = \"1.1\"", "min_version"),
    ("ciphers = []", "ciphers"),
    ("ciphers = [\"AES128-SHA\"]", "AES128-SHA"),
    ("ciphers = [\"ECDHE-ECDSA-AES128-SHA\"]", "ciphers"),
    ("ciphers = [\"TLS_AES_128_GCM_SHA256\"]", "ciphers"),
    ("ciphersuites = [\"ECDHE-ECDSA-AES128-GCM-SHA256\"]", "ciphersuites"),
    ("groups = [\"sect163k1\"]", "groups"),
    ("handshake_timeout = \"0s\"", "handshake_timeout"),
    ("http3 = true", "http3"),
    // An option that is accepted is enforced: without a question for certificates these mean nothing.
    ("client_ca = \"ca.pem\"", "client_ca"),
    ("crl = \"required\"", "crl"),
    ("max_chain_depth = 2", "max_chain_depth"),
    ("client_auth = \"off\"\nclient_crl = \"ca.pem\"", "client_crl"),
    ("client_auth = \"optional\"\nclient_ca = \"ca.pem\"\ncrl = \"required\"", "crl"),
    ("client_auth = \"sometimes\"\nclient_ca = \"ca.pem\"", "client_auth"),
];

#[tokio::test]
async fn what_is_unsafe_or_means_nothing_is_refused_by_check() {
    let ca = Authority::new("Root");
    for (line, word) in MISTAKES {
        let output = configured(&ca, &format!("{CERTIFICATE}\n{line}")).set("UPSTREAM", "127.0.0.1:9").check().await;
        assert_ne!(output.code, 0, "{line} is taken");
        assert!(output.stderr.contains(word), "{line}: {}", output.stderr);
    }
    let output = configured(&ca, CERTIFICATE).set("UPSTREAM", "127.0.0.1:9").check().await;
    assert_eq!(output.code, 0, "{output:?}");
}

#[tokio::test]
async fn a_question_without_a_ca_is_a_mistake() {
    let ca = Authority::new("Root");
    for auth in ["optional", "required"] {
        let of_listener = format!("{CERTIFICATE}\nclient_auth = \"{auth}\"");
        let of_name = format!("{CERTIFICATE}\n[listeners.tls.names.\"{NAME}\"]\nclient_auth = \"{auth}\"");
        for lines in [of_listener, of_name] {
            let output = configured(&ca, &lines).set("UPSTREAM", "127.0.0.1:9").check().await;
            assert!(output.code != 0 && output.stderr.contains("client_ca"), "{lines}: {output:?}");
        }
    }
}
