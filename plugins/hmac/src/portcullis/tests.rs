//! RFC 9421 appendix B.2, whose request is one `POST`, and hostile spellings of the two headers.

use std::{panic::AssertUnwindSafe, sync::Arc};

use portcullis_plugin::{
    Authenticate, UnixTime,
    bytes::Bytes,
    testing::{Build, Request},
};

use super::*;
use crate::{
    Hmac,
    signing::{NOW, Signer, outcome, request},
};

/// Appendix B.1.2.
const RSA_PSS: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2
+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+
oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq
gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W
Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4
aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI
2wIDAQAB
-----END PUBLIC KEY-----";
/// Appendix B.1.3.
const ECC_P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END PUBLIC KEY-----";
/// Appendix B.1.4.
const ED25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
-----END PUBLIC KEY-----";
/// Appendix B.1.5.
const SHARED: &str = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";

const CONTENT_DIGEST: &str =
    "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";

/// The consumer of the RFC, with one credential for each of its keys.
fn hook(settings: &str) -> Arc<dyn Authenticate> {
    let public = |pem: &str| toml::from_str(&format!("public_key = '''{pem}'''")).unwrap();
    let mut build = Build::new()
        .credential::<Hmac>("rfc", "test-key-rsa-pss", public(RSA_PSS), |_| {})
        .credential::<Hmac>("rfc", "test-key-ecc-p256", public(ECC_P256), |_| {})
        .credential::<Hmac>("rfc", "test-key-ed25519", public(ED25519), |_| {})
        .credential::<Hmac>(
            "rfc",
            "test-shared-secret",
            toml::from_str(&format!("secret = \"{SHARED}\"\nsecret_encoding = \"base64\"")).unwrap(),
            |_| {},
        );
    let hooks = build.plugin::<Hmac>(toml::from_str(settings).unwrap());
    assert_eq!(build.problems, []);
    hooks.unwrap().authenticate.unwrap()
}

/// The request of appendix B.2, at the time when it was signed.
fn rfc_request(label: &str, input: &str, signature: &str) -> Request {
    let mut request = Request::new("POST", "/foo?param=Value&Pet=dog")
        .header("host", "example.com")
        .header("date", "Tue, 20 Apr 2021 02:07:55 GMT")
        .header("content-type", "application/json")
        .header("content-digest", CONTENT_DIGEST)
        .header("content-length", "18")
        .header("signature-input", format!("{label}={input}"))
        .header("signature", format!("{label}=:{signature}:"));
    request.body = Bytes::from_static(b"{\"hello\": \"world\"}");
    request.is_https = true;
    request.now = UnixTime(1_618_884_473);
    request
}

/// Label, `Signature-Input`, signature.
const VECTORS: [(&str, &str, &str); 5] = [
    (
        "sig-b21",
        r#"();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#,
        "d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==",
    ),
    (
        "sig-b22",
        r#"("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example""#,
        "LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==",
    ),
    (
        "sig-b23",
        r#"("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#,
        "bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==",
    ),
    (
        "sig-b25",
        r#"("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#,
        "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=",
    ),
    (
        "sig-b26",
        r#"("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
        "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
    ),
];

#[test]
fn rfc_9421_appendix_b_2() {
    // A policy has to leave out the components that these signatures leave out. B.2.1 covers nothing: no policy can say
    // that.
    for ((label, input, signature), covered) in
        VECTORS.into_iter().skip(1).zip(["@authority", "@path", "date", "@path"])
    {
        let body = if input.contains("content-digest") { "signed" } else { "unsigned" };
        let hook = hook(&format!("body = \"{body}\"\nportcullis = {{ covered = [\"{covered}\"] }}"));
        assert_eq!(outcome(&hook, &mut rfc_request(label, input, signature)), key_id(input), "{label}");
        let mut later = rfc_request(label, input, signature);
        later.now = UnixTime(1_618_884_473 + 331);
        assert_eq!(outcome(&hook, &mut later), "signature_stale", "{label}");
    }
}

fn key_id(input: &str) -> &str {
    input.split("keyid=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap()
}

#[test]
fn rfc_9421_b_2_1_covers_nothing_and_is_right_all_the_same() {
    let (label, input, signature) = VECTORS[0];
    let request = rfc_request(label, input, signature);
    let scheme = Portcullis {
        minimum: Minimum::new(&[] as &[&str]).unwrap(),
        required: vec![RequiredParameter::Nonce],
        algorithms: vec![Algorithm::RsaPssSha512],
        label: None,
        tag: None,
    };
    let credential: crate::SigningCredential = toml::from_str(&format!("public_key = '''{RSA_PSS}'''")).unwrap();
    let mut build = Build::new();
    let key = credential.key("rfc", &scheme, &mut portcullis_plugin::BuildCx::new(&mut build)).unwrap().key;
    let signed = SignedRequest {
        method: &request.head.method,
        target: "/foo?param=Value&Pet=dog",
        headers: &request.head.headers,
        is_https: true,
    };
    let Reading::Presented(claims) = scheme.read(&signed) else { panic!("it is there") };
    assert_eq!(claims[0].nonce.as_deref(), Some("b3k2pp5k7z-50gnwp.yemd"));
    assert!(scheme.verify(&key, &claims[0], &claims[0].message.with_body(b"")));
}

#[test]
fn rfc_9421_b_2_3_fits_the_default_policy() {
    let (label, input, signature) = VECTORS[2];
    let hook = hook("");
    let mut changed = rfc_request(label, input, signature);
    changed.body = Bytes::from_static(b"{\"hello\": \"World\"}");
    assert_eq!(outcome(&hook, &mut changed), "digest_mismatch");
    assert_eq!(outcome(&hook, &mut rfc_request(label, input, signature)), "test-key-rsa-pss");
    assert_eq!(outcome(&hook, &mut rfc_request(label, input, signature)), "signature_replayed");
}

/// B.2.4 signs a response; the request that is signed by ECDSA is that of B.3.
#[test]
fn rfc_9421_appendix_b_3() {
    let client_cert = ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:";
    let input =
        r#"("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256""#;
    let signature = "xVMHVpawaAC/0SbHrKRs9i8I3eOs5RtTMGCWXm/9nvZzoHsIg6Mce9315T6xoklyy0yzhD9ah4JHRwMLOgmizw==";
    let sent = || {
        let request = rfc_request("ttrp", input, signature).header("client-cert", client_cert);
        crate::signing::replace(request, "host", "service.internal.example")
    };
    let hook = hook("body = \"unsigned\"");
    assert_eq!(outcome(&hook, &mut sent()), "test-key-ecc-p256");
    // An ECDSA signature has a second form, `(r, n - s)`, which anybody can compute. It is the same message.
    let other = malleated(signature);
    let mut again = crate::signing::replace(sent(), "signature", &format!("ttrp=:{other}:"));
    assert_eq!(outcome(&hook, &mut again), "signature_replayed");
}

/// The other signature of the same message.
fn malleated(signature: &str) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let mut bytes = BASE64_STANDARD.decode(signature).unwrap();
    let mut borrow = 0;
    for index in (0..32).rev() {
        let difference = i32::from(order[index]) - i32::from(bytes[32 + index]) - borrow;
        borrow = i32::from(difference < 0);
        bytes[32 + index] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    BASE64_STANDARD.encode(bytes)
}

/// The answer of the default policy to these two headers.
fn judged(input: &str, signature: &str) -> String {
    let mut request = request("GET", "/").header("signature-input", input).header("signature", signature);
    outcome(&hook(""), &mut request)
}

#[test]
fn hostile_inputs_are_refused_in_words() {
    let list = r#"("@method" "@authority" "@path" "@query")"#;
    let good = format!(";created={NOW};keyid=\"test-shared-secret\"");
    let malformed = [
        "sig1".to_owned(),
        "sig1=".to_owned(),
        "sig1=1".to_owned(),
        "sig1=\"a\"".to_owned(),
        "Sig1=()".to_owned(),
        "sig1=(".to_owned(),
        "sig1=(\"@method\"".to_owned(),
        format!("sig1={list}{good},"),
        format!("sig1={list}{good},sig1={list}{good}"),
        format!("sig1={list}{good};created=1"),
        format!("sig1={list}{good};keyid=\"a\""),
        format!("sig1={list};created=1.0;keyid=\"a\""),
        format!("sig1={list};created=@1800000000;keyid=\"a\""),
        format!("sig1={list};created;keyid=\"a\""),
        format!("sig1={list};created={NOW};keyid=a"),
        format!("sig1={list};created={NOW};keyid=\"\""),
        format!("sig1={list};created={NOW};keyid=\"{}\"", "k".repeat(257)),
        format!("sig1={list}{good};nonce=1"),
        format!("sig1={list}{good};nonce=\"{}\"", "n".repeat(257)),
        format!("sig1={list}{good};tag=x"),
        format!("sig1={list}{good};expires=\"1\""),
        format!("sig1=(\"@method\" \"@method\"){good}"),
        format!("sig1=(\"@method\" \"Date\"){good}"),
        format!("sig1=(\"@method\" \"da te\"){good}"),
        format!("sig1=(\"@method\" \"\"){good}"),
        format!("sig1=(method){good}"),
        format!("sig1=(1 2 3){good}"),
        format!("sig1=(\"@query-param\"){good}"),
        format!("sig1=(\"@query-param\";name=a){good}"),
        format!("sig1=(\"@query-param\";name=\"a\";req){good}"),
        format!("sig1=({}){good}", (0..65).map(|n| format!("\"x-{n}\" ")).collect::<String>()),
        format!("sig1={list}{good}{}", (0..20).map(|n| format!(";p{n}=1")).collect::<String>()),
        (0..17).map(|n| format!("s{n}=(),")).collect::<String>() + "t=()",
        format!("sig1={list}{good};x=\"{}\"", "x".repeat(8 * 1024)),
        "(".repeat(8_000),
        "sig1=((((((((()".to_owned(),
        "\u{fc}=()".to_owned(),
    ];
    for input in &malformed {
        assert_eq!(judged(input, "sig1=:AAAA:"), "signature_malformed", "{input}");
    }
    for input in [
        format!("sig1=(){good}"),
        format!("sig1=(\"@status\"){good}"),
        format!("sig1=(\"@signature-params\"){good}"),
        format!("sig1=(\"@METHOD\"){good}"),
        format!("sig1=(\"@method\";req){good}"),
        format!("sig1=(\"host\";sf){good}"),
        format!("sig1=(\"host\";bs){good}"),
        format!("sig1=(\"host\";key=\"a\"){good}"),
        format!("sig1=(\"host\";tr){good}"),
        format!("sig1={list}"),
    ] {
        assert_eq!(judged(&input, "sig1=:AAAA:"), "signature_incomplete", "{input}");
    }
    for signature in
        ["sig1=:AAAA", "sig1=AAAA", "sig1=:A:A:", "sig1=(:AAAA:)", "sig1=\"AAAA\"", "sig1=:AAAA:,sig1=:AAAA:"]
    {
        assert_eq!(judged(&format!("sig1={list}{good}"), signature), "signature_malformed", "{signature}");
    }
    let long = "A".repeat(4 * 1028);
    assert_eq!(judged(&format!("sig1={list}{good}"), &format!("sig1=:{long}:")), "signature_malformed");
    assert_eq!(judged(&format!("sig1={list}{good}"), "sig1=:AAAA:"), "signature_invalid");
}

#[test]
fn other_spellings_of_one_signature_are_the_same() {
    let get = || request("GET", "/").header("x-list", " a ").header("x-list", "b , c");
    let signer = Signer::of(&get()).line("x-list", "a, b , c");
    let (input, signature) = signer.headers();
    let spread = input.replace("\" \"", "\"   \"").replace(";keyid", ";  keyid");
    let build = || {
        let own = toml::from_str(&format!("secret = \"{}\"", crate::signing::SECRET)).unwrap();
        let mut build = Build::new().credential::<Hmac>("acme", "acme-1", own, |_| {});
        build.plugin::<Hmac>(crate::Config::default()).unwrap().authenticate.unwrap()
    };
    for input in [input, spread] {
        let mut request = get().header("signature-input", input).header("signature", &signature);
        assert_eq!(outcome(&build(), &mut request), "acme-1");
    }
}

/// Requests that tests/clients/sign_request.py signed, by a Python library that is none of ours.
#[test]
fn a_client_of_another_house_is_understood() {
    #[derive(serde::Deserialize)]
    struct Signed {
        method: String,
        url: String,
        headers: std::collections::BTreeMap<String, String>,
        #[serde(default)]
        body: String,
        public_key: Option<String>,
    }
    let recorded = include_str!("tests/python_client.json");
    let recorded: Vec<Signed> = portcullis_plugin::serde_json::from_str(recorded).unwrap();
    assert_eq!(recorded.len(), 6);
    for signed in recorded {
        let target = signed.url.splitn(4, '/').nth(3).unwrap();
        let mut request = Request::new(&signed.method, &format!("/{target}"));
        request.body = Bytes::from(signed.body);
        let mut request = signed.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let own = match signed.public_key {
            None => format!("secret = \"{}\"", crate::signing::SECRET),
            Some(pem) => format!("public_key = '''{pem}'''"),
        };
        let mut build = Build::new().credential::<Hmac>("acme", "acme-1", toml::from_str(&own).unwrap(), |_| {});
        let hook = build.plugin::<Hmac>(crate::Config::default()).unwrap().authenticate.unwrap();
        assert_eq!(outcome(&hook, &mut request), "acme-1", "{}", signed.url);
        request.head.method = "PATCH".parse().unwrap();
        assert_eq!(outcome(&hook, &mut request), "signature_invalid", "{}", signed.url);
    }
}

#[test]
fn no_input_panics() {
    let hook = AssertUnwindSafe(hook("portcullis = { covered = [\"@method\"] }"));
    let judge = |input: &[u8], signature: &[u8], digest: &[u8]| {
        let mut request = Request::get("/?a=1").header("host", "a");
        for (name, value) in [("signature-input", input), ("signature", signature), ("content-digest", digest)] {
            if let Ok(value) = portcullis_plugin::http::HeaderValue::from_bytes(value) {
                request.head.headers.append(name, value);
            }
        }
        assert!(!outcome(&hook, &mut request).starts_with("test-"), "nobody signed this");
    };
    bolero::check!().with_type::<(Vec<u8>, Vec<u8>, Vec<u8>)>().for_each(|(a, b, c)| judge(a, b, c));
}

/// Pieces from which random choices make fields that come close to real ones.
const PIECES: [&str; 24] = [
    "sig1=",
    "sig2=",
    "(",
    ")",
    "\"@method\"",
    "\"@path\"",
    "\"@query-param\"",
    ";name=\"a\"",
    "\"host\"",
    " ",
    ",",
    ";",
    "created=1800000000",
    "keyid=\"test-shared-secret\"",
    "expires=1800000001",
    "nonce=\"n\"",
    "alg=\"ed25519\"",
    ":",
    "AAAA",
    "sha-256=",
    "\"content-digest\"",
    "?1",
    "\\",
    "=",
];

#[test]
fn malformed_signatures_do_not_panic() {
    let hook = AssertUnwindSafe(hook("portcullis = { covered = [\"@method\"] }"));
    let assembled = |choices: &[u8]| -> String {
        choices.iter().take(200).map(|choice| PIECES[usize::from(*choice) % PIECES.len()]).collect()
    };
    bolero::check!().with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(input, rest)| {
        // Half of the time all that comes before the covered components is right.
        let input =
            if input.len() % 2 == 0 { assembled(input) } else { format!("sig1=(\"@method\" {}", assembled(input)) };
        let mut request = request("GET", "/?a=1&a=2&b")
            .header("signature-input", input)
            .header("signature", format!("sig1=:{}:", assembled(rest)))
            .header("content-digest", assembled(rest));
        assert!(!outcome(&hook, &mut request).starts_with("test-"), "nobody signed this");
    });
}
