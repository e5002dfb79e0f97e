use portcullis_plugin::testing::Build;

use crate::{Config, Hmac, SigningCredential};

const ED25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
-----END PUBLIC KEY-----";

/// The problem of a credential: `field: message`; empty where there is none.
fn problem(policy: &str, credential: &str) -> String {
    problems(policy, &[("acme", credential)])
}

fn problems(policy: &str, credentials: &[(&str, &str)]) -> String {
    let build = credentials.iter().enumerate().fold(Build::new(), |build, (index, (consumer, toml))| {
        let own: SigningCredential = toml::from_str(toml).unwrap();
        build.credential::<Hmac>(consumer, &format!("id-{index}"), own, |_| {})
    });
    let mut build = build;
    build.plugin::<Hmac>(toml::from_str::<Config>(policy).unwrap()).unwrap();
    let text: Vec<_> = build.problems.iter().map(|(_, field, message)| format!("{field}: {message}")).collect();
    text.join("\n")
}

#[test]
fn a_secret_is_as_long_as_the_hash() {
    assert_eq!(problem("", "secret = \"12345678901234567890123456789012\""), "");
    let short = problem("", "secret = \"planted-short-secret\"");
    assert!(short.starts_with("secret: is too short: at least 32 bytes"), "{short}");
    assert!(!short.contains("planted"));
    let hex = "ab".repeat(32);
    assert_eq!(problem("", &format!("secret = \"{hex}\"\nsecret_encoding = \"hex\"")), "");
    let half = problem("", &format!("secret = \"{}\"\nsecret_encoding = \"hex\"", &hex[..62]));
    assert!(half.starts_with("secret: is too short"), "it is the decoded length that counts: {half}");
    for (written, encoding, words) in [
        ("planted!planted!planted!planted!", "base64", "secret: is not Base64"),
        ("planted!planted!planted!planted!", "hex", "secret: is not hexadecimal"),
    ] {
        let problem = problem("", &format!("secret = \"{written}\"\nsecret_encoding = \"{encoding}\""));
        assert_eq!(problem, words);
    }
}

#[test]
fn a_credential_has_one_key() {
    let needs = ": needs exactly one of";
    assert!(problem("", "").starts_with(needs));
    let secret = format!("secret = \"{}\"", "s".repeat(32));
    assert!(problem("", &format!("{secret}\npublic_key = '''{ED25519}'''")).starts_with(needs));
    assert!(problem("", "public_key = ''\npublic_key_file = 'x'").starts_with(needs));
    let encoded = format!("public_key = '''{ED25519}'''\nsecret_encoding = \"text\"");
    assert!(problem("", &encoded).starts_with("secret_encoding: goes with"));
}

#[test]
fn a_key_is_for_an_algorithm_of_the_policy() {
    assert_eq!(problem("", &format!("public_key = '''{ED25519}'''")), "");
    let policy = "portcullis = { algorithms = [\"hmac-sha256\"] }";
    let ed25519 = problem(policy, &format!("public_key = '''{ED25519}'''"));
    assert_eq!(ed25519, "public_key: is for ed25519, which the policy does not take");
    let policy = "portcullis = { algorithms = [\"ed25519\"] }";
    assert!(problem(policy, &format!("secret = \"{}\"", "s".repeat(32))).starts_with("secret: is for HMAC"));
}

#[test]
fn a_malformed_public_key_is_refused() {
    let problem = |pem: &str| problem("", &format!("public_key = '''{pem}'''"));
    let wrapped = |tag: &str, base64: &str| format!("-----BEGIN {tag}-----\n{base64}\n-----END {tag}-----");
    assert!(problem("").starts_with("public_key: is not one public key"));
    assert!(problem("planted").starts_with("public_key: is not one public key"));
    assert!(problem(&wrapped("CERTIFICATE", "AAAA")).starts_with("public_key: is not one public key"));
    assert!(problem(&wrapped("PRIVATE KEY", "AAAA")).starts_with("public_key: is a private key"));
    assert!(problem(&wrapped("EC PRIVATE KEY", "AAAA")).starts_with("public_key: is a private key"));
    let neither = "public_key: is neither";
    assert!(problem(&wrapped("PUBLIC KEY", "AAAA")).starts_with(neither));
    assert!(
        problem(&wrapped("PUBLIC KEY", "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=")).starts_with(neither),
        "raw"
    );
    assert!(problem(&wrapped("PUBLIC KEY", P_384)).starts_with(neither), "another curve");
    assert!(problem(&wrapped("PUBLIC KEY", RSA_1024)).starts_with(neither), "1024 bits");
}

const P_384: &str = "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAElmPx27spwRghmZ4jFzMqKd7bsuK7IIaONsep9KmAcbg99tZAvTs+HpymqjRQiF2+6lO3AmWkfIfhUf5mDkseJLE7NSROUzAj19/8JIOY8ChTCDOegh+bFrWUyN70CCmX";
const RSA_1024: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCmfPbM/ihqq5BS+GUnBD54tBT6kaVakVxaT238cDWn9xq2enz+yO1iCB+PKkqs+Sn8XxTldnm6ozFSaQx9OxkNVYQ2LqS5vjr0QhnEuPCy78nUUrx1gmexxS1pDnQ/Bt/gAuMXaxDzTw6oMBUPj6in2qep4tXYF9IdBLE/rIWGhQIDAQAB";

#[test]
fn a_file_that_is_not_there_is_reported_at_its_field() {
    assert!(problem("", "public_key_file = \"no/such/file.pem\"").starts_with("public_key_file: "));
}

#[test]
fn names_and_secrets_belong_to_one_consumer() {
    let (one, two) = ("1".repeat(32), "2".repeat(32));
    let secret = |secret: &str| format!("secret = \"{secret}\"");
    let named = |value: &str| format!("{}\nkey_id = \"k\"", secret(value));
    let same = problems("", &[("acme", &secret(&one)), ("other", &secret(&one))]);
    assert_eq!(same, "secret: the credential `id-0` has the same secret");
    assert_eq!(problems("", &[("acme", &named(&one)), ("acme", &named(&two))]), "", "the old one and the new one");
    let shared = problems("", &[("acme", &named(&one)), ("other", &named(&two))]);
    assert!(shared.starts_with("key_id: another consumer has a key of this name"), "{shared}");
    let many: Vec<_> = (0..17).map(|n| named(&format!("{n:032}"))).collect();
    let many: Vec<_> = many.iter().map(|toml| ("acme", toml.as_str())).collect();
    assert!(problems("", &many).contains("is one too many: at most 16"));
    for key_id in ["", "a b", "\u{fc}", &"k".repeat(257)] {
        let toml = format!("{}\nkey_id = \"{key_id}\"", secret(&one));
        assert!(problem("", &toml).starts_with("key_id: is no key id"), "{key_id}");
    }
}

#[test]
fn unknown_fields_are_refused() {
    for toml in ["key = \"x\"", "secret = { path = \"x\" }", "secret_encoding = \"rot13\""] {
        assert!(toml::from_str::<SigningCredential>(toml).is_err(), "{toml}");
    }
}
