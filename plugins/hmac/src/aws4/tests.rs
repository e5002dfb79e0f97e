use std::time::Duration;

use portcullis_plugin::{UnixTime, http::Method};

use super::*;
use crate::sent::Sent;

mod policies;

/// The published test suite of AWS (`aws-signing-test-suite/v4` in aws-c-auth, Apache-2.0), requests as they are sent.
/// Left out are those with paths that the gateway refuses before (`//`, dot segments), with folded header lines, and
/// with temporary credentials, which are below.
const HEADER: &str = include_str!("tests/header.txt");
/// From the same suite. Its `X-Amz-Date` header, which is not signed and would be refused here, is left out.
const PRESIGNED: &str = include_str!("tests/presigned.txt");
/// The examples in the API reference of S3 ("Signature Calculations for the Authorization Header" and "Authenticating
/// Requests: Using Query Parameters").
const S3: &str = include_str!("tests/s3.txt");
/// Signed by botocore 1.43.11 (`tests/clients/sign_aws.py`); the name says for which service.
const BOTOCORE: &str = include_str!("tests/botocore.txt");

const SUITE_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const S3_SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

fn vectors(text: &str) -> Vec<(&str, Sent)> {
    let parts = text.split("### ").skip(1).map(|part| part.split_once('\n').unwrap());
    parts.map(|(name, request)| (name, Sent::parse(request.strip_suffix('\n').unwrap_or(request)))).collect()
}

/// One of the vectors of the suite.
fn vector(name: &str) -> Sent {
    vectors(HEADER).into_iter().find(|(of, _)| *of == name).unwrap().1
}

fn presigned_vector(name: &str) -> Sent {
    vectors(PRESIGNED).into_iter().find(|(of, _)| *of == name).unwrap().1
}

fn config(service: &str) -> Aws4Config {
    Aws4Config {
        region: Some("us-east-1".to_owned()),
        service: Some(service.to_owned()),
        presigned: Some(Span(PRESIGNED_MAX)),
        signed_headers: Vec::new(),
    }
}

fn scheme(config: Aws4Config) -> Box<dyn Scheme> {
    let mut problems = Problems::new();
    let scheme = config.build(&mut problems);
    assert_eq!(problems, []);
    scheme.unwrap()
}

fn suite() -> Box<dyn Scheme> {
    scheme(config("service"))
}

fn reason(sent: &Sent) -> Reason {
    sent.judged(&*suite(), SUITE_SECRET).expect_err("a refusal")
}

#[test]
fn the_vectors_of_the_test_suite_are_right() {
    let all = [vectors(HEADER), vectors(PRESIGNED)].concat();
    assert_eq!(all.len(), 23);
    for (name, sent) in all {
        let claim = sent.judged(&*suite(), SUITE_SECRET).unwrap_or_else(|reason| panic!("{name}: {reason}")).unwrap();
        assert_eq!(claim.key_id.as_deref(), Some("AKIDEXAMPLE"), "{name}");
        assert_eq!(claim.created, Some(UnixTime(1_440_938_160)), "{name}");
        assert_eq!(claim.scope, "20150830/us-east-1/service/aws4_request", "{name}");
        let expires = claim.is_presigned.then_some(UnixTime(1_440_938_160 + 3600));
        assert_eq!(claim.expires, expires, "{name}");
    }
}

#[test]
fn the_examples_of_s3_are_right() {
    for (name, sent) in vectors(S3) {
        let claim = sent.judged(&*scheme(config("s3")), S3_SECRET);
        let claim = claim.unwrap_or_else(|reason| panic!("{name}: {reason}")).unwrap();
        assert_eq!(claim.body == BodyUse::NotCovered, claim.is_presigned, "{name}");
    }
}

#[test]
fn signatures_of_botocore_are_verified() {
    for (name, sent) in vectors(BOTOCORE) {
        let service = name.split(' ').next().unwrap();
        let claim = sent.judged(&*scheme(config(service)), SUITE_SECRET);
        claim.unwrap_or_else(|reason| panic!("{name}: {reason}")).unwrap();
        let other = Sent { target: sent.target.replacen("/", "/x", 1), ..sent };
        assert_eq!(other.judged(&*scheme(config(service)), SUITE_SECRET).unwrap_err(), Reason::SignatureInvalid);
    }
}

#[test]
fn another_secret_another_method_and_another_request_are_not() {
    let sent = vector("post-x-www-form-urlencoded");
    assert_eq!(sent.judged(&*suite(), S3_SECRET).unwrap_err(), Reason::SignatureInvalid);
    for other in [
        Sent { method: Method::PUT, ..sent.clone() },
        Sent { target: "/x".to_owned(), ..sent.clone() },
        Sent { target: "/?a".to_owned(), ..sent.clone() },
        sent.clone().set("host", "example.amazonaws.com:443"),
        sent.clone().set("content-type", "text/plain"),
        sent.clone().set("x-amz-date", "20150830T123601Z"),
        sent.clone().header("content-type", "text/plain"),
    ] {
        assert_eq!(reason(&other), Reason::SignatureInvalid, "{} {}", other.method, other.target);
    }
    assert_eq!(reason(&sent.clone().body("Param1=value2")), Reason::DigestMismatch);
    assert_eq!(reason(&sent.body("")), Reason::DigestMismatch);
}

#[test]
fn a_body_without_a_hash_in_the_head_is_hashed_all_the_same() {
    let sent = vector("post-vanilla");
    let claim = sent.judged(&*suite(), SUITE_SECRET).unwrap().unwrap();
    assert_eq!(claim.body, BodyUse::InMessage);
    assert_eq!(reason(&sent.body("x")), Reason::SignatureInvalid);
}

#[test]
fn a_request_without_such_a_signature_is_absent() {
    for (target, authorization) in [
        ("/", None),
        ("/?a=%zz+b", None),
        ("/?x-amz-signature=1&X-Amz-Signatures=1&X-Amz", None),
        ("/", Some("Bearer t")),
        ("/", Some("AWS4-HMAC-SHA2566 Credential=x")),
        ("/", Some("AWS4-ECDSA-P256-SHA256 Credential=x")),
    ] {
        let mut sent = Sent::parse(&format!("GET {target} HTTP/1.1\nHost: a"));
        if let Some(authorization) = authorization {
            sent = sent.header("authorization", authorization);
        }
        assert!(matches!(suite().read(&sent.request()), Reading::Absent), "{target} {authorization:?}");
    }
}

#[test]
fn host_date_and_what_aws_reads_have_to_be_signed() {
    let sent = vector("get-vanilla");
    let with = |from: &str, to: &str| {
        let line = sent.headers["authorization"].to_str().unwrap();
        assert!(line.contains(from));
        sent.clone().set("authorization", &line.replace(from, to))
    };
    assert_eq!(reason(&with("host;x-amz-date", "x-amz-date")), Reason::SignatureIncomplete);
    assert_eq!(reason(&with("host;x-amz-date", "host")), Reason::SignatureIncomplete);
    assert_eq!(reason(&with("host;x-amz-date", "accept;host;x-amz-date")), Reason::SignatureIncomplete);
    assert_eq!(reason(&sent.clone().without("x-amz-date")), Reason::SignatureIncomplete);
    assert_eq!(reason(&sent.clone().header("x-amz-acl", "public-read")), Reason::SignatureIncomplete);
    assert_eq!(reason(&sent.clone().header("x-amz-date", "20150830T123600Z")), Reason::SignatureMalformed);
    assert_eq!(reason(&presigned_vector("get-vanilla-query").header("x-amz-acl", "x")), Reason::SignatureIncomplete);

    let strict = Aws4Config { signed_headers: vec!["Content-Type".to_owned()], ..config("service") };
    let strict = scheme(strict);
    assert_eq!(sent.judged(&*strict, SUITE_SECRET).unwrap_err(), Reason::SignatureIncomplete);
    assert!(vector("post-x-www-form-urlencoded").judged(&*strict, SUITE_SECRET).is_ok());
}

#[test]
fn unsigned_and_streamed_payloads_say_nothing_about_the_body() {
    let (_, sent) = vectors(S3).remove(0);
    let scheme = scheme(config("s3"));
    let claims = |payload: &str| scheme.read(&sent.clone().set("x-amz-content-sha256", payload).request());
    let Reading::Presented(claims_unsigned) = claims("UNSIGNED-PAYLOAD") else { panic!("not read") };
    assert_eq!(claims_unsigned[0].body, BodyUse::NotCovered);
    for payload in [
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    ] {
        let Reading::Wrong(wrong) = claims(payload) else { panic!("{payload}") };
        assert_eq!(wrong.reason, Reason::SignatureIncomplete);
        assert!(wrong.why.contains("chunk by chunk"));
    }
    for payload in ["", "unsigned-payload", "UNSIGNED", "e3b0", &"g".repeat(64), &"a".repeat(66)] {
        let Reading::Wrong(wrong) = claims(payload) else { panic!("{payload}") };
        assert_eq!(wrong.reason, Reason::SignatureMalformed, "{payload}");
    }
}

#[test]
fn temporary_credentials_belong_to_nobody_here() {
    let header = Sent::parse(
        "GET / HTTP/1.1\nHost:example.amazonaws.com\nAuthorization:AWS4-HMAC-SHA256 \
         Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
         SignedHeaders=host;x-amz-date;x-amz-security-token, \
         Signature=07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8\n\
         X-Amz-Date:20150830T123600Z\nX-Amz-Security-Token:6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
    );
    assert_eq!(reason(&header), Reason::SigningKeyUnknown);
    let mut query = presigned_vector("get-vanilla-query");
    query.target.push_str("&X-Amz-Security-Token=6e86");
    assert_eq!(reason(&query), Reason::SigningKeyUnknown);
}

#[test]
fn presigned_urls_are_taken_where_the_policy_says_so_and_no_longer_than_it_says() {
    let sent = presigned_vector("get-vanilla-query");
    let judged = |presigned| {
        let scheme = scheme(Aws4Config { presigned, ..config("service") });
        sent.judged(&*scheme, SUITE_SECRET).map(|claim| claim.unwrap().is_presigned)
    };
    assert_eq!(judged(Some(Span(Duration::from_secs(3600)))), Ok(true));
    assert_eq!(judged(Some(Span(Duration::from_secs(3599)))), Err(Reason::SignatureStale));
    assert_eq!(judged(None), Err(Reason::SignatureMalformed));
}

#[test]
fn a_presigned_url_with_anything_missing_twice_or_beside_it_is_refused() {
    let sent = presigned_vector("get-vanilla-query");
    let with = |from: &str, to: &str| {
        assert!(sent.target.contains(from), "{from}");
        Sent { target: sent.target.replace(from, to), ..sent.clone() }
    };
    let malformed = [
        with("&X-Amz-Date=20150830T123600Z", ""),
        with("&X-Amz-Expires=3600", ""),
        with("&X-Amz-SignedHeaders=host", ""),
        with("X-Amz-Algorithm=AWS4-HMAC-SHA256&", ""),
        with("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
        with("X-Amz-Signature=", "X-Amz-Signature=00&X-Amz-Signature="),
        with("X-Amz-Signature=", "X-Amz-Sign%61ture=00&X-Amz-Signature="),
        with("X-Amz-Date=", "X-Amz-Date=20150830T123601Z&X-Amz-Date="),
        with("Expires=3600", "Expires=0"),
        with("Expires=3600", "Expires=604801"),
        with("Expires=3600", "Expires=-1"),
        with("Expires=3600", "Expires=3600.0"),
        with("Expires=3600", "Expires=99999999999999999999"),
        with("?", "?a+b&"),
        with("?", "?a=%zz&"),
        with("?", "?a=%f&"),
        with("?", "?a=%ff&"),
        with("Expires=3600", "Expires=3600&X-Amz-Content-Sha256=a&X-Amz-Content-Sha256=b"),
        sent.clone().header("authorization", "AWS4-HMAC-SHA256 Credential=x"),
        Sent { target: "/?X-Amz-Signature".to_owned(), ..sent.clone() },
        Sent { target: "/?X-Amz-Date=20150830T123600Z".to_owned(), ..sent.clone() },
    ];
    for sent in malformed {
        assert_eq!(reason(&sent), Reason::SignatureMalformed, "{}", sent.target);
    }
    assert_eq!(reason(&with("?", "?a&")), Reason::SignatureInvalid);
    assert_eq!(reason(&with("Expires=3600", "Expires=3601")), Reason::SignatureInvalid);
}

#[test]
fn a_header_that_cannot_be_read_is_refused() {
    let sent = vector("get-vanilla");
    let day = "Credential=AKIDEXAMPLE/20150830";
    for (from, to) in [
        (day, "Credential=20150830"),
        (day, "Credential=/20150830"),
        (day, "Credential=AKIDEXAMPLE/20150831"),
        (day, "Credential=AKIDEXAMPLE/2015083"),
        (day, "Credential=AKIDEXAMPLE/"),
        (day, "credential=AKIDEXAMPLE/20150830"),
        ("aws4_request", "aws4_reply"),
        ("/aws4_request", ""),
        ("host;x-amz-date", "x-amz-date;host"),
        ("host;x-amz-date", "host;host;x-amz-date"),
        ("host;x-amz-date", "Host;x-amz-date"),
        ("host;x-amz-date", "host;;x-amz-date"),
        ("host;x-amz-date", ";host;x-amz-date"),
        ("host;x-amz-date", "host x-amz-date"),
        ("SignedHeaders=host;x-amz-date, ", ""),
        ("Signature=5f", "Signature="),
        ("Signature=5f", "Signature=5f5f"),
        ("Signature=5f", "Signature=5g"),
        (", Signature", ", X=1, Signature"),
        (", Signature", ", Signature=1, Signature"),
    ] {
        let line = sent.headers["authorization"].to_str().unwrap();
        assert!(line.contains(from), "{from}");
        let sent = sent.clone().set("authorization", &line.replace(from, to));
        assert_eq!(reason(&sent), Reason::SignatureMalformed, "{from} -> {to}");
    }
    let long = format!("a{}", ";a".repeat(100_000));
    for line in ["", " ", "Credential", "Credential=,SignedHeaders=,Signature=", &long] {
        let line = format!("AWS4-HMAC-SHA256 {line}");
        assert_eq!(reason(&sent.clone().set("authorization", &line)), Reason::SignatureMalformed);
    }
    assert_eq!(reason(&sent.clone().set("x-amz-date", "2015-08-30T12:36:00Z")), Reason::SignatureMalformed);
    assert_eq!(reason(&sent.set("x-amz-date", "20150830T246000Z")), Reason::SignatureMalformed);
}

#[test]
fn another_region_or_service_is_another_audience() {
    for other in [
        Aws4Config { region: Some("eu-central-1".to_owned()), ..config("service") },
        Aws4Config { service: Some("s3".to_owned()), ..config("service") },
    ] {
        let judged = vector("get-vanilla").judged(&*scheme(other), SUITE_SECRET);
        assert_eq!(judged.unwrap_err(), Reason::AudienceMismatch);
    }
}

#[test]
fn paths_are_encoded_twice_and_for_s3_once() {
    for (sent, double, single) in [
        ("/", "/", "/"),
        ("/a b", "/a%20b", "/a%20b"),
        ("/a%20b", "/a%2520b", "/a%20b"),
        ("/a%2fb", "/a%252fb", "/a%2Fb"),
        ("/a(b)$~", "/a%28b%29%24~", "/a%28b%29%24~"),
        ("/%7E/%e1%88%b4", "/%257E/%25e1%2588%25b4", "/~/%E1%88%B4"),
        ("/a+b", "/a%2Bb", "/a%2Bb"),
    ] {
        assert_eq!(canonical::path(sent, PathEncoding::Double).unwrap(), double, "{sent}");
        assert_eq!(canonical::path(sent, PathEncoding::Single).unwrap(), single, "{sent}");
    }
    assert!(canonical::path("/%zz", PathEncoding::Single).is_err());
    assert!(canonical::path("/%ff", PathEncoding::Single).is_err());
}

#[test]
fn queries_have_one_spelling_and_a_limit() {
    let canonical = |query: &str| Query::read(Some(query)).map(|query| query.canonical("X-Amz-Signature"));
    for (query, spelling) in [
        ("", ""),
        ("&&", ""),
        ("b&a", "a=&b="),
        ("a=2&a=1&A=3", "A=3&a=1&a=2"),
        ("a=b=c", "a=b%3Dc"),
        ("a=%2b%7e%2F", "a=%2B~%2F"),
        ("a=1&X-Amz-Signature=f&b", "a=1&b="),
        ("a-b=1&a=2", "a=2&a-b=1"),
    ] {
        assert_eq!(canonical(query).unwrap(), spelling, "{query}");
    }
    let many = |count: usize| "a&".repeat(count);
    assert!(canonical(&many(canonical::QUERY_PARAMETERS_MAX_COUNT)).is_ok());
    assert!(canonical(&many(canonical::QUERY_PARAMETERS_MAX_COUNT + 1)).is_err());
}

#[test]
fn a_configuration_that_means_nothing_is_an_error() {
    let problems = |config: Aws4Config| {
        let mut problems = Problems::new();
        assert!(config.build(&mut problems).is_none());
        problems.into_iter().map(|(field, _)| field).collect::<Vec<_>>()
    };
    assert_eq!(problems(Aws4Config::default()), ["region", "service"]);
    let wrong = Aws4Config {
        region: Some("us east".to_owned()),
        service: Some("a/b".to_owned()),
        presigned: Some(Span(PRESIGNED_MAX + Duration::from_secs(1))),
        signed_headers: vec!["a b".to_owned(), "Accept".to_owned(), "accept".to_owned()],
    };
    assert_eq!(problems(wrong), ["region", "service", "presigned", "signed_headers[0]", "signed_headers[2]"]);
    assert_eq!(problems(Aws4Config { presigned: Some(Span(Duration::ZERO)), ..config("s3") }), ["presigned"]);
}

#[test]
fn all_parameters_of_a_presigned_url_are_hidden() {
    let places = suite().places();
    assert_eq!(places.0.len(), 1 + claimed::PARAMETERS.len());
    let query = presigned_vector("get-vanilla-utf8-query").target.split_off(2);
    assert_eq!(places.strip_query(&query).as_deref(), Some("ሴ=bar"));
}

/// Pieces from which random choices make headers and queries that come close to real ones.
const PIECES: [&str; 24] = [
    "X-Amz-Algorithm=",
    "AWS4-HMAC-SHA256",
    "&",
    "X-Amz-Credential=",
    "Credential=",
    "AKIDEXAMPLE",
    "/20150830/us-east-1",
    "/service",
    "/aws4_request",
    "X-Amz-Date=20150830T123600Z",
    "X-Amz-Expires=",
    "3600",
    "X-Amz-SignedHeaders=",
    "SignedHeaders=",
    "host",
    ";",
    "x-amz-date",
    ",",
    " ",
    "Signature=",
    "X-Amz-Signature=",
    "%2F",
    "%",
    "\u{e9}",
];

#[test]
fn no_input_panics_and_none_is_taken() {
    let scheme = std::panic::AssertUnwindSafe(suite());
    bolero::check!().with_type::<(String, Vec<u8>, Vec<u8>)>().for_each(|(text, header, query)| {
        let scheme = &scheme;
        let assembled = |choices: &[u8]| -> String {
            choices.iter().map(|choice| PIECES[usize::from(*choice) % PIECES.len()]).collect()
        };
        for (header, query) in [(text.clone(), text.clone()), (assembled(header), assembled(query))] {
            let mut sent = Sent::parse("GET / HTTP/1.1\nHost: a\nX-Amz-Date: 20150830T123600Z");
            sent.target = format!("/?{query}");
            let line = format!("AWS4-HMAC-SHA256 {header}");
            if let Ok(line) = line.parse() {
                sent.headers.insert("authorization", line);
            }
            assert!(!matches!(sent.judged(&***scheme, SUITE_SECRET), Ok(Some(_))));
            sent.headers.remove("authorization");
            assert!(!matches!(sent.judged(&***scheme, SUITE_SECRET), Ok(Some(_))));
        }
    });
}
