use portcullis_plugin::http::Method;

use super::*;
use crate::{scheme::BodyUse, sent::Sent};

mod policies;

fn build(config: CavageConfig) -> Box<dyn Scheme> {
    let mut problems = Problems::new();
    let scheme = config.build(&mut problems);
    assert_eq!(problems, []);
    scheme.unwrap()
}

fn scheme() -> Box<dyn Scheme> {
    build(CavageConfig::default())
}

fn judged(sent: &Sent) -> Result<Claim, Reason> {
    sent.judged(&*scheme(), "secret").map(Option::unwrap)
}

/// From the documentation of Kong's `hmac-auth` ("Validate request body").
const KONG: &str = r#"GET /requests HTTP/1.1
Host: hmac.com
Date: Thu, 22 Jun 2017 21:12:36 GMT
Digest: SHA-256=SBH7QEtqnYUpEcIhDbmStNd1MxtHg2+feBfWc1105MA=
Authorization: hmac username="alice123", algorithm="hmac-sha256", headers="date request-line digest", signature="gaweQbATuaGmLrUr3HE0DzU1keWGCt3H96M28sSHTG8="

A small body"#;

/// As the script in the documentation of APISIX's `hmac-auth` makes it. The outputs shown there are of another secret.
const APISIX: &str = r#"GET /get HTTP/1.1
Host: 127.0.0.1:9080
Date: Fri, 06 Sep 2024 06:41:29 GMT
Authorization: Signature keyId="john-key",algorithm="hmac-sha256",headers="@request-target date",signature="j+feO3Wm5em0agp0A70FZErf6lrMDVs7zjQ9MxomPx0="
"#;

/// Signed by `openssl dgst -sha384 -hmac secret`.
const DRAFT: &str = r#"GET /orders?a=1 HTTP/1.1
Host: api.example.com
Date: Thu, 22 Jun 2017 17:15:21 GMT
X-List: a
X-List: b
Authorization: Signature keyId="k",algorithm="hmac-sha384",headers="(request-target) host Date x-list",signature="ggXI3J0Phmdpidq/MrMdL1Iwp58l+IvyPwOx/k21ks26qB9pTlGlIDvSVtso1Cu7"
"#;

/// Signed by `openssl dgst -sha512 -hmac secret`.
const KONG_TARGET: &str = r#"POST /orders?a=1 HTTP/1.1
Host: api.example.com
X-Date: Thu, 22 Jun 2017 17:15:21 GMT
Authorization: hmac username="k", algorithm="hmac-sha512", headers="@request-target X-Date", signature="CkaB+WGiSqqOOoQ4izIvF1b5Pq9RqVAU10mrEP1/kjrKCZR1epZj/zbW4RFxwULK7x9XLWnnMbsEj3COKd8IVA=="
"#;

const ALL: [&str; 3] = [KONG, DRAFT, KONG_TARGET];

#[test]
fn the_signatures_of_each_dialect_are_verified() {
    let claim = judged(&Sent::parse(KONG)).unwrap();
    assert_eq!(claim.key_id.as_deref(), Some("alice123"));
    assert_eq!(claim.created.unwrap().0, 1_498_165_956);
    assert!(matches!(claim.body, BodyUse::Declared(_)));
    assert_eq!(judged(&Sent::parse(DRAFT)).unwrap().algorithm, Some(Algorithm::HmacSha384));
    assert_eq!(judged(&Sent::parse(KONG_TARGET)).unwrap().created.unwrap().0, 1_498_151_721);
    let apisix = Sent::parse(APISIX).judged(&*scheme(), "john-secret-key").unwrap().unwrap();
    assert_eq!(apisix.key_id.as_deref(), Some("john-key"));
    assert_eq!(apisix.body, BodyUse::NotCovered);
}

#[test]
fn another_method_target_date_or_header_is_another_signature() {
    for text in ALL {
        let sent = Sent::parse(text);
        let target = sent.target.clone();
        for other in [
            Sent { method: Method::DELETE, ..sent.clone() },
            Sent { target: format!("{target}?b"), ..sent.clone() },
            Sent { target: target.to_uppercase(), ..sent.clone() },
        ] {
            assert_eq!(judged(&other).unwrap_err(), Reason::SignatureInvalid, "{text}");
        }
    }
    let sent = Sent::parse(DRAFT);
    for other in [
        sent.clone().set("date", "Thu, 22 Jun 2017 17:15:22 GMT"),
        sent.clone().set("host", "api.example.com:443"),
        sent.clone().header("x-list", "c"),
    ] {
        assert_eq!(judged(&other).unwrap_err(), Reason::SignatureInvalid);
    }
    assert_eq!(sent.judged(&*scheme(), "Secret").unwrap_err(), Reason::SignatureInvalid);
}

#[test]
fn another_body_than_the_one_of_the_signed_digest_is_refused() {
    let sent = Sent::parse(KONG);
    assert_eq!(judged(&sent.clone().body("A small bodY")).unwrap_err(), Reason::DigestMismatch);
    assert_eq!(judged(&sent.clone().body("")).unwrap_err(), Reason::DigestMismatch);
    // A digest that is not signed is nobody's word: the body is as good as not covered.
    let claim = judged(&Sent::parse(KONG_TARGET).header("digest", "SHA-256=x")).unwrap();
    assert_eq!(claim.body, BodyUse::NotCovered);
}

#[test]
fn a_listed_header_that_is_absent_is_refused() {
    for (text, name) in [(KONG, "date"), (KONG, "digest"), (DRAFT, "x-list"), (DRAFT, "host"), (KONG_TARGET, "x-date")]
    {
        assert_eq!(judged(&Sent::parse(text).without(name)).unwrap_err(), Reason::SignatureIncomplete, "{name}");
    }
}

/// The request with another list of signed headers.
fn listed(text: &str, list: &str) -> Sent {
    let sent = Sent::parse(text);
    let line = sent.headers["authorization"].to_str().unwrap().to_owned();
    let (before, rest) = line.split_once("headers=\"").unwrap();
    let (_, after) = rest.split_once('"').unwrap();
    sent.set("authorization", &format!("{before}headers=\"{list}\"{after}"))
}

#[test]
fn target_and_date_have_to_be_signed_and_what_the_policy_says() {
    for (text, list) in [
        (KONG, "date digest"),
        (KONG, "(request-target) date"),
        (KONG, "request-line digest"),
        (KONG, "@REQUEST-TARGET date"),
        (DRAFT, "host date"),
        (DRAFT, "(request-target) host"),
        (DRAFT, "request-line date"),
        (DRAFT, "(request-target) date (created)"),
        (DRAFT, "@request-target (request-target) date"),
        (KONG, "@request-target date x-none"),
        (KONG, "@request-target date @authority"),
    ] {
        assert_eq!(judged(&listed(text, list)).unwrap_err(), Reason::SignatureIncomplete, "{list}");
    }
    let strict = build(CavageConfig { signed_headers: vec!["Host".to_owned()], ..CavageConfig::default() });
    assert!(Sent::parse(DRAFT).judged(&*strict, "secret").is_ok());
    assert_eq!(Sent::parse(KONG).judged(&*strict, "secret").unwrap_err(), Reason::SignatureIncomplete);
}

#[test]
fn a_name_twice_and_a_header_twice_are_refused() {
    for list in ["@request-target date Date", "@request-target date date", "@request-target @request-target date"] {
        assert_eq!(judged(&listed(KONG, list)).unwrap_err(), Reason::SignatureMalformed, "{list}");
    }
    let many = |count: usize| (0..count).map(|index| format!(" a{index}")).collect::<String>();
    let reason = |count| judged(&listed(KONG, &format!("@request-target date{}", many(count)))).unwrap_err();
    assert_eq!(reason(signed::SIGNED_MAX_COUNT - 2), Reason::SignatureIncomplete);
    assert_eq!(reason(signed::SIGNED_MAX_COUNT - 1), Reason::SignatureMalformed);
    assert_eq!(reason(100_000), Reason::SignatureMalformed);
    // Kong and APISIX sign the first and forward all.
    let twice = Sent::parse(KONG).header("date", "Thu, 22 Jun 2017 21:12:36 GMT");
    assert_eq!(judged(&twice).unwrap_err(), Reason::SignatureMalformed);
    let twice = Sent::parse(APISIX).header("date", "Fri, 06 Sep 2024 06:41:29 GMT");
    assert_eq!(twice.judged(&*scheme(), "john-secret-key").unwrap_err(), Reason::SignatureMalformed);
}

#[test]
fn x_date_goes_before_date() {
    let sent = listed(DRAFT, "(request-target) date x-date").header("x-date", "Thu, 22 Jun 2017 17:15:20 GMT");
    let Reading::Presented(claims) = scheme().read(&sent.request()) else { panic!("not read") };
    assert_eq!(claims[0].created.unwrap().0, 1_498_151_720);
    let unsigned = Sent::parse(DRAFT).header("x-date", "Thu, 22 Jun 2017 17:15:20 GMT");
    assert_eq!(judged(&unsigned).unwrap().created.unwrap().0, 1_498_151_721, "what is not signed does not count");
}

#[test]
fn algorithms_are_those_of_the_policy() {
    let with = |name: &str| {
        let sent = Sent::parse(KONG);
        let line = sent.headers["authorization"].to_str().unwrap().replace("hmac-sha256", name);
        judged(&sent.set("authorization", &line)).unwrap_err()
    };
    for name in ["hmac-sha1", "hmac-sha224", "HMAC-SHA256", "hs2019", "rsa-sha256", "ed25519", "none", "hmac-md5"] {
        assert_eq!(with(name), Reason::AlgorithmNotAllowed, "{name}");
    }
    assert_eq!(with("hmac-sha512"), Reason::SignatureMalformed, "too short for it");
    assert_eq!(with(""), Reason::SignatureMalformed);
    let sha512 = build(CavageConfig { algorithms: Some(vec![HmacName::Sha512]), ..CavageConfig::default() });
    assert_eq!(Sent::parse(KONG).judged(&*sha512, "secret").unwrap_err(), Reason::AlgorithmNotAllowed);
    assert!(Sent::parse(KONG_TARGET).judged(&*sha512, "secret").is_ok());
}

#[test]
fn dialects_are_those_of_the_policy_and_others_are_absent() {
    let only = |dialect| build(CavageConfig { dialects: Some(vec![dialect]), ..CavageConfig::default() });
    let kong = only(Dialect::Kong);
    assert!(Sent::parse(KONG).judged(&*kong, "secret").unwrap().is_some());
    assert!(Sent::parse(DRAFT).judged(&*kong, "secret").unwrap().is_none());
    assert_eq!(kong.places().0, [Place::header("authorization", Some("hmac")).unwrap()]);
    let draft = only(Dialect::Draft);
    assert!(Sent::parse(KONG).judged(&*draft, "secret").unwrap().is_none());
    assert_eq!(Sent::parse(APISIX).judged(&*draft, "secret").unwrap_err(), Reason::SignatureMalformed);
    let apisix = only(Dialect::Apisix);
    assert_eq!(Sent::parse(DRAFT).judged(&*apisix, "secret").unwrap_err(), Reason::SignatureMalformed);
    assert_eq!(scheme().places().0.len(), 2);
    for line in ["Bearer t", "hmacs username=1", "Signatures keyId=1", "signature-1"] {
        let sent = Sent::parse(KONG).set("authorization", line);
        assert!(matches!(scheme().read(&sent.request()), Reading::Absent), "{line}");
    }
    let proxied = Sent::parse("GET / HTTP/1.1\nProxy-Authorization: hmac username=\"a\"");
    assert!(matches!(scheme().read(&proxied.request()), Reading::Absent));
    assert_eq!(
        judged(&Sent::parse(KONG).header("authorization", "Signature keyId=\"a\"")).unwrap_err(),
        Reason::SignatureMalformed
    );
}

#[test]
fn a_malformed_signature_is_refused() {
    let long = "k".repeat(KEY_ID_MAX_BYTES + 1);
    for (from, to) in [
        ("username=\"alice123\", ", ""),
        ("alice123", ""),
        ("alice123", long.as_str()),
        ("username", "keyId"),
        ("username", "Username"),
        ("algorithm=\"hmac-sha256\", ", ""),
        ("headers=\"date request-line digest\", ", ""),
        ("date request-line digest", ""),
        ("signature=\"", "signature=\"!"),
        ("signature=\"gaw", "signature=\""),
        ("signature=\"", "signature=\" "),
        ("signature=\"", "signature=\"AAAA"),
        ("\"alice123\"", "\"alice123\", username=\"bob\""),
        ("\"alice123\"", "\"alice123\", created=\"1\""),
        ("\"alice123\"", "\"alice\\123\""),
        ("\"alice123\"", "\"alice123"),
        ("\"alice123\", ", "\"alice123\" "),
    ] {
        let sent = Sent::parse(KONG);
        let line = sent.headers["authorization"].to_str().unwrap();
        assert!(line.contains(from), "{from}");
        let sent = sent.clone().set("authorization", &line.replacen(from, to, 1));
        assert_eq!(judged(&sent).unwrap_err(), Reason::SignatureMalformed, "{from} -> {to}");
    }
    for line in ["hmac", "hmac ", "Signature", "Signature ,", "hmac username"] {
        assert_eq!(judged(&Sent::parse(KONG).set("authorization", line)).unwrap_err(), Reason::SignatureMalformed);
    }
    for date in ["", "now", "2017-06-22T21:12:36Z", "1498165956", "Thu, 22 Jun 2017 21:12:36 +0000"] {
        assert_eq!(judged(&Sent::parse(KONG).set("date", date)).unwrap_err(), Reason::SignatureMalformed, "{date}");
    }
}

#[test]
fn digests_are_read_as_a_list() {
    let sha256 = "SHA-256=SBH7QEtqnYUpEcIhDbmStNd1MxtHg2+feBfWc1105MA=";
    let read = |line: &str| digest::read(&Sent::parse("GET / HTTP/1.1").header("digest", line).headers);
    for line in
        [sha256.to_owned(), sha256.replace("SHA", "sha"), format!("MD5=x, {sha256}"), format!("{sha256},unixsum=1")]
    {
        assert_eq!(read(&line).map(|digests| digests.len()), Ok(1), "{line}");
    }
    assert_eq!(read(&format!("{sha256},{sha256}")).map(|digests| digests.len()), Ok(2));
    for line in [
        "",
        "SHA-256",
        "SHA-256=",
        "SHA-256=SBH7",
        "SHA-512=SBH7QEtqnYUpEcIhDbmStNd1MxtHg2+feBfWc1105MA=",
        "MD5=Sd/dVLAcvNLSq16eXua5uQ==",
        ",",
        &[sha256; 3].join(","),
    ] {
        assert!(read(line).is_err(), "{line}");
    }
}

#[test]
fn a_configuration_that_means_nothing_is_an_error() {
    let wrong = CavageConfig {
        dialects: Some(Vec::new()),
        algorithms: Some(vec![HmacName::Sha256, HmacName::Sha256]),
        signed_headers: vec!["@request-target".to_owned()],
    };
    let mut problems = Problems::new();
    assert!(wrong.build(&mut problems).is_none());
    let fields: Vec<_> = problems.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["dialects", "algorithms[1]", "signed_headers[0]"]);
}

/// Pieces from which random choices make headers that come close to real ones.
const PIECES: [&str; 20] = [
    "username=",
    "keyId=",
    "algorithm=",
    "headers=",
    "signature=",
    "\"",
    ",",
    " ",
    "alice123",
    "hmac-sha256",
    "date",
    "@request-target",
    "(request-target)",
    "request-line",
    "digest",
    "gaweQbATuaGmLrUr3HE0DzU1keWGCt3H96M28sSHTG8=",
    "SHA-256=",
    "\\",
    "\u{e9}",
    "host",
];

#[test]
fn no_input_panics_and_none_is_taken() {
    let scheme = std::panic::AssertUnwindSafe(scheme());
    bolero::check!().with_type::<(Vec<u8>, Vec<u8>, bool)>().for_each(|(bytes, choices, is_kong)| {
        let scheme = &scheme;
        let assembled: String = choices.iter().map(|choice| PIECES[usize::from(*choice) % PIECES.len()]).collect();
        for text in [bytes.as_slice(), assembled.as_bytes()] {
            let line = [if *is_kong { b"hmac ".as_slice() } else { b"Signature " }, text].concat();
            let mut sent = Sent::parse(KONG).without("authorization");
            for name in ["authorization", "date", "digest"] {
                if let Ok(value) = portcullis_plugin::http::HeaderValue::from_bytes(&line) {
                    sent.headers.append(name, value);
                }
                let _ = sent.judged(&***scheme, "another secret").map(|claim| assert!(claim.is_none()));
            }
        }
    });
}
