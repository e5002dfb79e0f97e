//! Tests of the syntax of patterns, and of the normalised host of a request.

use std::borrow::Cow;

use super::{
    super::{
        host::{HostFault, MAX_HOST_BYTES},
        method::MethodFault,
        path::{MAX_PATH_SEGMENTS, PathPatternFault},
    },
    *,
};
use crate::canonical::PathFault;

#[test]
fn host_keys_have_one_spelling() {
    for (host, key) in [
        ("api.example.com", "api.example.com"),
        ("API.Example.COM", "api.example.com"),
        ("api.example.com:8443", "api.example.com"),
        ("api.example.com:", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("api.example.com.:443", "api.example.com"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("my_host", "my_host"),
        ("[::1]", "[::1]"),
        ("[::1]:8080", "[::1]"),
        ("[2001:DB8:0:0::1]", "[2001:db8::1]"),
    ] {
        assert_eq!(host_key(host.as_bytes()).as_deref(), Some(key), "{host}");
    }
}

#[test]
fn a_host_key_borrows_where_nothing_changes() {
    for host in ["api.example.com", "api.example.com.:80", "[::1]:80"] {
        assert!(matches!(host_key(host.as_bytes()), Some(Cow::Borrowed(_))), "{host}");
    }
}

#[test]
fn what_is_no_host_has_no_key() {
    let long = "a".repeat(MAX_HOST_BYTES + 1);
    for host in [
        "",
        ".",
        ":80",
        "a..b",
        ".a",
        "a..",
        "a:b",
        "a:80:80",
        "a:65536",
        "a:+80",
        "user@a",
        "user:pw@a",
        "a/b",
        "a b",
        "a%2eb",
        "a\\b",
        "a#b",
        "a?b",
        "é",
        "[::1",
        "[::1].",
        "[::1]x",
        "[::1]:x",
        "[::1%25eth0]",
        "[v1.x]",
        "[]",
        "::1",
        "a\0",
        "a\t",
        "a\x7f",
        &long,
    ] {
        assert_eq!(host_key(host.as_bytes()), None, "{host:?}");
    }
    assert_eq!(host_key(b"a\xff"), None);
    assert!(host_key(&long.as_bytes()[1..]).is_some());
}

#[test]
fn host_patterns() {
    for (text, shown) in [
        ("api.example.com", "api.example.com"),
        ("API.example.com.", "api.example.com"),
        ("*.Example.com", "*.example.com"),
        ("[2001:DB8::1]", "[2001:db8::1]"),
    ] {
        assert_eq!(text.parse::<HostPattern>().map(|host| host.to_string()).as_deref(), Ok(shown), "{text}");
    }
    for (text, fault) in [
        ("", HostFault::Empty),
        ("*", HostFault::Anything),
        ("*.*", HostFault::Anything),
        ("api.*.com", HostFault::Wildcard),
        ("*api.example.com", HostFault::Wildcard),
        ("*.*.example.com", HostFault::Wildcard),
        ("*.[::1]", HostFault::Wildcard),
        ("api.example.com:443", HostFault::Port),
        ("[::1]:443", HostFault::Port),
        ("*.example.com:443", HostFault::Port),
        ("https://api.example.com", HostFault::Address),
        ("api.example.com/orders", HostFault::Address),
        ("joe@example.com", HostFault::UserInfo),
        ("2001:db8::1", HostFault::Unbracketed),
        ("*.", HostFault::Invalid),
        ("a..b", HostFault::Invalid),
        ("münchen.example", HostFault::Invalid),
        ("a b", HostFault::Invalid),
    ] {
        assert_eq!(text.parse::<HostPattern>(), Err(fault), "{text}");
    }
}

#[test]
fn path_patterns() {
    for text in
        ["/", "/orders", "/orders/", "/orders/{id}/items", "/files/{*rest}", "/{*rest}", "/a b/%7e/x:verb", "/%2A"]
    {
        let pattern: PathPattern = text.parse().expect(text);
        assert_eq!(pattern.as_str(), text);
        assert_eq!(pattern.has_rest(), text.contains('*'), "{text}");
    }
    let parse = |text: &str| text.parse::<PathPattern>();
    let segment = str::to_owned;
    for (text, fault) in [
        ("", PathPatternFault::NotAbsolute),
        ("orders", PathPatternFault::NotAbsolute),
        ("//", PathPatternFault::EmptySegment),
        ("/a//b", PathPatternFault::EmptySegment),
        ("/a/{id}//", PathPatternFault::EmptySegment),
        ("/a/../b", PathPatternFault::Literal(segment(".."), PathFault::DotSegment)),
        ("/%2e", PathPatternFault::Literal(segment("%2e"), PathFault::DotSegment)),
        ("/a;b", PathPatternFault::Literal(segment("a;b"), PathFault::Semicolon)),
        ("/a?b", PathPatternFault::Literal(segment("a?b"), PathFault::Delimiter)),
        ("/caf\u{e9}", PathPatternFault::Literal(segment("caf\u{e9}"), PathFault::NotAscii)),
        ("/{id}.json", PathPatternFault::PartOfSegment(segment("{id}.json"))),
        ("/{a}{b}", PathPatternFault::PartOfSegment(segment("{a}{b}"))),
        ("/{a", PathPatternFault::PartOfSegment(segment("{a"))),
        ("/a}", PathPatternFault::PartOfSegment(segment("a}"))),
        ("/{}", PathPatternFault::Name(segment("{}"))),
        ("/{*}", PathPatternFault::Name(segment("{*}"))),
        ("/{**rest}", PathPatternFault::Name(segment("{**rest}"))),
        ("/{1}", PathPatternFault::Name(segment("{1}"))),
        ("/{id:[0-9]+}", PathPatternFault::Name(segment("{id:[0-9]+}"))),
        ("/{id}/x/{id}", PathPatternFault::DuplicateName(segment("id"))),
        ("/{id}/{*id}", PathPatternFault::DuplicateName(segment("id"))),
        ("/{*rest}/x", PathPatternFault::RestNotLast(segment("{*rest}"))),
        ("/{*rest}/", PathPatternFault::RestNotLast(segment("{*rest}"))),
        ("/{*a}/{*b}", PathPatternFault::RestNotLast(segment("{*a}"))),
        ("/orders/*", PathPatternFault::Star(segment("*"))),
        ("/orders/**", PathPatternFault::Star(segment("**"))),
    ] {
        assert_eq!(parse(text), Err(fault), "{text}");
    }
    assert!(parse(&"/a".repeat(MAX_PATH_SEGMENTS)).is_ok());
    assert_eq!(parse(&"/a".repeat(MAX_PATH_SEGMENTS + 1)), Err(PathPatternFault::TooManySegments));
}

#[test]
fn a_literal_is_spelt_as_the_request_will_be() {
    check(&["* * /%61dm%69n/caf%c3%a9/x%7cy"], &[("GET /admin/caf%C3%A9/x%7Cy", 0)]);
    let spaced = Pattern { paths: vec!["/a b".parse().expect("a path pattern")], ..Pattern::default() };
    let router = Router::build(&[("spaced", &spaced)]).expect("no ties");
    assert_eq!(find(&router, "GET /a%20b"), Find::Route(0));
}

#[test]
fn method_sets() {
    let names = |names: &[&str]| MethodSet::from_list(names).map(|set| set.to_string());
    for (list, shown) in [
        (&[][..], "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        (&["GET"], "GET, HEAD"),
        (&["HEAD"], "HEAD"),
        (&["POST", "GET", "POST"], "GET, HEAD, POST"),
        (&["REPORT", "PROPFIND", "GET"], "GET, HEAD, PROPFIND, REPORT"),
        (&["M-SEARCH"], "M-SEARCH"),
    ] {
        assert_eq!(names(list).as_deref(), Ok(shown), "{list:?}");
    }
    assert_eq!(MethodSet::from_list::<&str>(&[]), Ok(MethodSet::default()));
    let set = MethodSet::from_list(&["GET", "PROPFIND"]).expect("methods");
    let propfind = Method::from_bytes(b"PROPFIND").expect("a token");
    assert!(set.contains(&Method::HEAD) && set.contains(&propfind) && !set.contains(&Method::POST));
}

#[test]
fn wrong_method_names_are_all_reported() {
    let faults = MethodSet::from_list(&["GET", "get", "TRACE", "connect", "*", "A B", ""]).expect_err("faults");
    let suggestion = MethodFault::LowerCase { name: "get".into(), suggestion: "GET".into() };
    assert_eq!(
        faults.0,
        [
            suggestion,
            MethodFault::Never("TRACE".into()),
            MethodFault::Never("connect".into()),
            MethodFault::Anything,
            MethodFault::NoToken("A B".into()),
            MethodFault::NoToken(String::new()),
        ]
    );
    assert!(
        String::from(faults).starts_with("methods are case-sensitive: `get` should be `GET`; `TRACE` is never let")
    );
}
