use http::HeaderValue;

use super::*;

fn rule(trust: Option<Trust>, header: &'static str) -> ClientAddress {
    ClientAddress::compile(&file::ClientAddress {
        trust,
        header: file::Parsed(file::ClientHeader(HeaderName::from_static(header))),
        ..file::ClientAddress::default()
    })
}

fn client(rule: &ClientAddress, peer: &str, header: &'static str, lines: &[&str]) -> String {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(header, HeaderValue::from_bytes(line.as_bytes()).expect("a value"));
    }
    rule.of(SocketAddr::new(peer.parse().expect("a peer"), 1), &headers).0.to_string()
}

fn networks(list: &[&str]) -> Option<Trust> {
    Some(Trust::Networks(list.iter().map(|network| network.parse().expect("a network")).collect()))
}

#[test]
fn nobody_is_believed_by_default() {
    assert_eq!(client(&rule(None, "x-forwarded-for"), "192.0.2.9", "x-forwarded-for", &["10.0.0.1"]), "192.0.2.9");
}

#[test]
fn a_number_of_hops_is_counted_from_the_right() {
    let of = |hops, lines: &[&str]| {
        client(&rule(Some(Trust::Hops(hops)), "x-forwarded-for"), "192.0.2.9", "x-forwarded-for", lines)
    };
    assert_eq!(of(1, &["203.0.113.66, 198.51.100.1"]), "198.51.100.1");
    assert_eq!(of(2, &["203.0.113.66, 198.51.100.1"]), "203.0.113.66");
    assert_eq!(of(2, &["1.1.1.1, 203.0.113.66", "198.51.100.1"]), "203.0.113.66", "lines are one list");
    assert_eq!(of(9, &["198.51.100.1"]), "198.51.100.1", "no more than there is");
    assert_eq!(of(2, &["evil, 198.51.100.1"]), "198.51.100.1", "a bad entry stops at the last good hop");
    assert_eq!(of(1, &["unknown"]), "192.0.2.9");
    assert_eq!(of(1, &[]), "192.0.2.9");
}

#[test]
fn networks_are_walked_from_the_right() {
    let rule = rule(networks(&["10.0.0.0/8", "2001:db8::/32"]), "x-forwarded-for");
    let of = |peer, lines: &[&str]| client(&rule, peer, "x-forwarded-for", lines);
    assert_eq!(of("192.0.2.9", &["1.1.1.1"]), "192.0.2.9", "the peer itself is not trusted");
    assert_eq!(of("10.0.0.1", &["1.1.1.1, 203.0.113.7"]), "203.0.113.7", "the first one that is not trusted");
    assert_eq!(of("10.0.0.1", &["1.1.1.1, 203.0.113.7, 10.9.9.9"]), "203.0.113.7");
    assert_eq!(of("10.0.0.1", &["10.1.1.1, 10.9.9.9"]), "10.1.1.1", "all of them trusted: the farthest");
    assert_eq!(of("::ffff:10.0.0.1", &["::ffff:203.0.113.7"]), "203.0.113.7", "mapped addresses are made plain first");
    assert_eq!(of("2001:db8::1", &["[2001:db9::5]:443"]), "2001:db9::5");
    assert_eq!(of("10.0.0.1", &["203.0.113.7:1234"]), "203.0.113.7");
}

#[test]
fn forwarded_is_read_where_it_is_the_configured_header() {
    let rule = rule(Some(Trust::Hops(1)), "forwarded");
    let of = |lines: &[&str]| client(&rule, "10.0.0.1", "forwarded", lines);
    assert_eq!(of(&["for=1.1.1.1, For=\"[2001:db8::7]:4711\";proto=https"]), "2001:db8::7");
    assert_eq!(of(&["proto=https"]), "10.0.0.1");
    let other = client(&rule, "10.0.0.1", "x-forwarded-for", &["1.1.1.1"]);
    assert_eq!(other, "10.0.0.1", "only the configured header counts");
}

#[test]
fn the_scheme_is_the_last_word_of_the_header_that_counts() {
    let says = |header: &'static str, lines: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(*name, HeaderValue::from_static(line));
        }
        rule(Some(Trust::Hops(1)), header).says_https(&headers)
    };
    let by_proto = |lines: &[&'static str]| {
        says("x-forwarded-for", &lines.iter().map(|line| ("x-forwarded-proto", *line)).collect::<Vec<_>>())
    };
    assert_eq!(by_proto(&[]), None);
    assert_eq!(
        (by_proto(&["https"]), by_proto(&["HTTPS"]), by_proto(&["http"])),
        (Some(true), Some(true), Some(false))
    );
    assert_eq!(by_proto(&["https", "http"]), Some(false), "the first line may be the client's own");
    assert_eq!((by_proto(&["https, http"]), by_proto(&["http, https"])), (Some(false), Some(true)));
    assert_eq!(by_proto(&[""]), Some(false));
    let forwarded = |line| says("forwarded", &[("forwarded", line), ("x-forwarded-proto", "https")]);
    assert_eq!(forwarded("for=192.0.2.1;proto=http"), Some(false), "the other header does not count");
    assert_eq!(forwarded("proto=http, for=192.0.2.1;Proto=\"https\""), Some(true));
    assert_eq!(forwarded("for=192.0.2.1"), None);
}

#[test]
fn what_a_proxy_quotes_of_its_client_is_not_taken_for_its_own_word() {
    let rule = rule(Some(Trust::Hops(1)), "forwarded");
    let of = |line| client(&rule, "10.0.0.1", "forwarded", &[line]);
    assert_eq!(of("for=9.9.9.9;host=\"a,for=6.6.6.6\";proto=http"), "9.9.9.9");
    assert_eq!(of("for=9.9.9.9;host=\"a;for=6.6.6.6;b\""), "9.9.9.9");
    assert_eq!(of("for=9.9.9.9;host=\"\\\",for=6.6.6.6\""), "9.9.9.9", "an escaped quote ends nothing");
    for unclear in ["for=9.9.9.9;host=\"a,for=6.6.6.6", "for=9.9.9.9;for=6.6.6.6", "for=\"6.6.6.6"] {
        assert_eq!(of(unclear), "10.0.0.1", "{unclear}");
    }
    let https = |line| {
        let mut headers = HeaderMap::new();
        headers.append("forwarded", HeaderValue::from_static(line));
        rule.says_https(&headers)
    };
    assert_eq!(https("for=1.1.1.1;host=\"a,proto=https\";proto=http"), Some(false));
    assert_eq!(https("for=1.1.1.1;host=\"a;proto=https;b\""), None);
    assert_eq!(https("for=1.1.1.1;host=\"a,proto=https"), None);
}
