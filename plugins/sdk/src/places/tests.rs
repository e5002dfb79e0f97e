use super::*;
use crate::testing::Request;

fn places(json: &str) -> Result<Places, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

fn header(name: &str) -> Places {
    Places(vec![Place::header(name, None).unwrap()])
}

fn bearer() -> Places {
    Places(vec![Place::header("Authorization", Some("Bearer")).unwrap()])
}

fn query(name: &str) -> Places {
    Places(vec![Place::query(name.to_owned()).unwrap()])
}

fn cookie(name: &str) -> Places {
    Places(vec![Place::cookie(name.to_owned()).unwrap()])
}

/// The one value that is found, as text.
fn one(places: &Places, request: &Request) -> String {
    match places.find(&request.head) {
        Found::One(value) => String::from_utf8(value.into_owned()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_place_is_exactly_one_of_header_query_cookie() {
    let all = r#"[{"header":"X-Key"},{"header":"authorization","scheme":"Bearer"},{"query":"key"},{"cookie":"key"}]"#;
    assert_eq!(
        places(all).unwrap().0,
        [
            Place::Header { name: HeaderName::from_static("x-key"), scheme: None },
            Place::Header { name: header::AUTHORIZATION, scheme: Some("Bearer".to_owned()) },
            Place::Query("key".to_owned()),
            Place::Cookie("key".to_owned()),
        ]
    );
    for (json, words) in [
        ("[{}]", "names one of"),
        (r#"[{"header":"x-key","query":"key"}]"#, "not several"),
        (r#"[{"query":"key","cookie":"key"}]"#, "not several"),
        (r#"[{"query":"key","scheme":"Bearer"}]"#, "`scheme` goes with `header`"),
        (r#"[{"scheme":"Bearer"}]"#, "`scheme` goes with `header`"),
        (r#"[{"header":"x key"}]"#, "`x key` is not a header name"),
        (r#"[{"header":""}]"#, "is not a header name"),
        (r#"[{"header":"x-key\n"}]"#, r"`x-key\n` is not a header name"),
        (r#"[{"header":"x-key","scheme":"Two Words"}]"#, "is not an authentication scheme"),
        (r#"[{"header":"x-key","scheme":""}]"#, "is not an authentication scheme"),
        (r#"[{"header":"cookie"}]"#, "{ cookie = \"name\" }"),
        (r#"[{"header":"Host"}]"#, "`host` cannot carry a credential"),
        (r#"[{"header":"transfer-encoding"}]"#, "cannot carry a credential"),
        (r#"[{"query":""}]"#, "is not the name of a query parameter"),
        (r#"[{"cookie":"a=b"}]"#, "is not the name of a cookie"),
        (r#"[{"cookie":""}]"#, "is not the name of a cookie"),
        (r#"[{"heder":"x-key"}]"#, "unknown field `heder`"),
    ] {
        let error = places(json).unwrap_err();
        assert!(error.contains(words), "{json}: {error}");
    }
}

#[test]
fn a_header_is_found_and_borrowed() {
    let request = Request::get("/").header("x-key", "secret");
    let found = header("X-Key").find(&request.head);
    assert!(matches!(found, Found::One(Cow::Borrowed(b"secret"))));
    assert_eq!(header("x-key").find(&Request::get("/").head), Found::Absent);
    assert_eq!(header("x-key").find(&Request::get("/").header("x-keys", "secret").head), Found::Absent);
}

#[test]
fn every_line_of_a_header_counts() {
    let twice = |a, b| Request::get("/").header("x-key", a).header("x-key", b);
    assert_eq!(one(&header("x-key"), &twice("secret", "secret")), "secret");
    assert_eq!(header("x-key").find(&twice("secret", "other").head), Found::Conflict);
    assert_eq!(header("x-key").find(&twice("", "secret").head), Found::Conflict, "an empty value is a value");
}

#[test]
fn present_but_empty_is_not_absent() {
    assert_eq!(one(&header("x-key"), &Request::get("/").header("x-key", "")), "");
    assert_eq!(one(&header("x-key"), &Request::get("/").header("x-key", " \t ")), "");
    assert_eq!(one(&query("key"), &Request::get("/?key=")), "");
    assert_eq!(one(&query("key"), &Request::get("/?key")), "");
    assert_eq!(one(&cookie("key"), &Request::get("/").header("cookie", "key=")), "");
    assert_eq!(one(&cookie("key"), &Request::get("/").header("cookie", "a=b; key")), "");
    assert_eq!(one(&cookie("key"), &Request::get("/").header("cookie", "key=\"\"")), "");
}

#[test]
fn a_scheme_is_compared_without_case_and_ends_at_a_space() {
    let sent = |value: &str| Request::get("/").header("authorization", value);
    for value in ["Bearer t", "bearer t", "BEARER   t", "  Bearer t  "] {
        assert_eq!(one(&bearer(), &sent(value)), "t", "{value:?}");
    }
    for value in ["Basic dDp0", "Bearert", "Bearer:t", "Beare", "", "t Bearer t", "BearerBearer t"] {
        assert_eq!(bearer().find(&sent(value).head), Found::Absent, "{value:?}");
    }
    assert_eq!(one(&bearer(), &sent("Bearer")), "", "the scheme alone is a credential that is empty");
    assert_eq!(one(&bearer(), &sent("Bearer   ")), "");
    assert_eq!(one(&bearer(), &sent("Bearer a b")), "a b");
    assert_eq!(one(&bearer(), &sent("Bearer\tt")), "\tt", "found, to be refused");
}

#[test]
fn another_scheme_beside_ours_is_no_conflict() {
    let request = Request::get("/").header("authorization", "Basic dDp0").header("authorization", "Bearer t");
    assert_eq!(one(&bearer(), &request), "t");
}

#[test]
fn query_parameters_are_percent_decoded_and_plus_stays_plus() {
    assert_eq!(one(&query("key"), &Request::get("/?a=1&key=a%2Fb+c%3d&b=2")), "a/b+c=");
    assert_eq!(one(&query("key"), &Request::get("/?%6bey=secret")), "secret");
    assert_eq!(one(&query("key"), &Request::get("/?key=secret&k%65y=secret")), "secret");
    assert_eq!(one(&query("key"), &Request::get("/?key=a=b")), "a=b");
    assert_eq!(one(&query("key"), &Request::get("/?key=%zz")), "%zz");
    assert_eq!(one(&query("a b"), &Request::get("/?a%20b=secret")), "secret");
    assert_eq!(query("key").find(&Request::get("/?key=a&k%65y=b").head), Found::Conflict);
    for path in ["/", "/?", "/?Key=a", "/?keys=a", "/?a=key", "/?a=1;key=2", "/?=key"] {
        assert_eq!(query("key").find(&Request::get(path).head), Found::Absent, "{path}");
    }
}

#[test]
fn cookies_are_found_in_every_line() {
    let sent = |value: &str| Request::get("/").header("cookie", value);
    for value in
        ["key=secret", "a=b; key=secret; c=d", "a=b;key=secret", "key=\"secret\"", " key = secret ", ";; key=secret"]
    {
        assert_eq!(one(&cookie("key"), &sent(value)), "secret", "{value:?}");
    }
    assert_eq!(one(&cookie("key"), &sent("key=a=b")), "a=b");
    assert_eq!(one(&cookie("key"), &sent("key=\"")), "\"", "one quote is no pair of quotes");
    assert_eq!(cookie("key").find(&sent("key=a; key=b").head), Found::Conflict);
    assert_eq!(cookie("key").find(&sent("key=a").header("cookie", "key=b").head), Found::Conflict);
    for value in ["", "Key=a", "keys=a", "a=key", "a=\"key=b\""] {
        assert_eq!(cookie("key").find(&sent(value).head), Found::Absent, "{value:?}");
    }
}

#[test]
fn all_places_count_and_not_the_first_alone() {
    let places = places(r#"[{"header":"x-key"},{"query":"key"},{"cookie":"key"}]"#).unwrap();
    let request = |path, cookie: &str| Request::get(path).header("x-key", "a").header("cookie", cookie);
    assert_eq!(one(&places, &request("/?key=a", "key=a")), "a");
    assert_eq!(places.find(&request("/?key=b", "key=a").head), Found::Conflict);
    assert_eq!(places.find(&request("/?key=a", "key=b").head), Found::Conflict);
}

#[test]
fn a_found_credential_does_not_print() {
    let request = Request::get("/").header("x-key", "planted");
    let printed = format!("{:?}", header("x-key").find(&request.head));
    assert_eq!(printed, "One(***)");
}

#[test]
fn stripping_a_query_drops_whole_parameters_and_keeps_the_rest_byte_for_byte() {
    for (before, after) in [
        ("key=secret", Some("")),
        ("a=%2f+b&key=secret&c=d%20", Some("a=%2f+b&c=d%20")),
        ("key=secret&a=1", Some("a=1")),
        ("a=1&key", Some("a=1")),
        ("k%65y=secret&a&&b=", Some("a&&b=")),
        ("key=1&key=2&a=key", Some("a=key")),
        ("a=1&keys=2", None),
        ("", None),
    ] {
        assert_eq!(query("key").strip_query(before).as_deref(), after, "{before}");
    }
    assert_eq!(header("key").strip_query("key=1"), None);
}

#[test]
fn stripping_cookies_keeps_the_others_byte_for_byte() {
    for (before, after) in [
        ("key=secret", Some("")),
        ("key=secret;", Some("")),
        ("a=1; key=\"secret\"; b=\"2\"", Some("a=1; b=\"2\"")),
        ("key=secret; a=1;b=2", Some("a=1;b=2")),
        ("a=1; key = secret", Some("a=1")),
        ("a=1; key", Some("a=1")),
        ("a=1; keys=2", None),
        ("", None),
    ] {
        let stripped = cookie("key").strip_cookies(before.as_bytes());
        assert_eq!(stripped.as_deref(), after.map(str::as_bytes), "{before}");
    }
    assert_eq!(query("key").strip_cookies(b"key=1"), None);
}

#[test]
fn a_header_line_is_hidden_when_its_value_would_be_found() {
    let (places, name) = (bearer(), header::AUTHORIZATION);
    assert!(places.has_header_line(&name, b"Bearer t"));
    assert!(places.has_header_line(&name, b"bearer"));
    assert!(places.has_header_line(&name, b"Bearer\tt"));
    assert!(!places.has_header_line(&name, b"Basic dDp0"));
    assert!(!places.has_header_line(&header::PROXY_AUTHORIZATION, b"Bearer t"));
    assert!(header("x-key").has_header_line(&HeaderName::from_static("x-key"), b""));
}

#[test]
fn places_merge_without_repeating() {
    let mut all = bearer();
    assert!(!all.has_query() && !all.has_cookie());
    all.merge(query("key"));
    all.merge(Places(vec![bearer().0.remove(0), Place::header("authorization", None).unwrap()]));
    all.merge(cookie("key"));
    assert!(all.has_query() && all.has_cookie());
    assert_eq!(all.0.len(), 4);
    let headers: Vec<_> = all.headers().collect();
    assert_eq!(headers, [(&header::AUTHORIZATION, Some("Bearer")), (&header::AUTHORIZATION, None)]);
}

/// Pieces from which random choices make requests that come close to real ones; plain random bytes hardly ever do.
const PIECES: [&str; 16] =
    ["key", "=", "&", ";", " ", "\"", "%6b", "ey", "%", "Bearer", "bearer ", "\t", "+", "a", "\u{e9}", ","];

fn assembled(choices: &[u8]) -> String {
    choices.iter().map(|choice| PIECES[usize::from(*choice) % PIECES.len()]).collect()
}

fn everywhere() -> Places {
    let mut all = bearer();
    [header("key"), query("key"), cookie("key")].into_iter().for_each(|places| all.merge(places));
    all
}

/// Removes credentials as the engine does before it forwards; nothing may be left to find.
fn assert_nothing_is_left(header: &[u8], query: &str) {
    let places = everywhere();
    let mut request = Request::get("/");
    if let Ok(value) = http::HeaderValue::from_bytes(header) {
        for name in [header::AUTHORIZATION, header::COOKIE, HeaderName::from_static("key")] {
            request.head.headers.append(name, value.clone());
        }
    }
    if let Ok(uri) = format!("/?{query}").parse() {
        request.head.uri = uri;
    }
    let found = places.find(&request.head);

    let mut left = Request::get("/");
    for (name, value) in &request.head.headers {
        let stripped = if name == header::COOKIE { places.strip_cookies(value.as_bytes()) } else { None };
        if !places.has_header_line(name, value.as_bytes()) && stripped.as_deref() != Some(b"") {
            let value = stripped.map_or_else(|| value.clone(), |line| line.try_into().expect("a part of a value"));
            left.head.headers.append(name, value);
        }
    }
    let query = request.head.uri.query().unwrap_or_default();
    let stripped = places.strip_query(query);
    left.head.uri = format!("/?{}", stripped.as_deref().unwrap_or(query)).parse().expect("a part of a query");

    assert_eq!(places.find(&left.head), Found::Absent);
    if found == Found::Absent {
        assert_eq!(left.head.headers, request.head.headers);
        assert_eq!(stripped, None);
    }
}

#[test]
fn no_input_panics_and_what_is_found_is_also_removed() {
    bolero::check!().with_type::<(Vec<u8>, String)>().for_each(|(bytes, text)| {
        assert_nothing_is_left(bytes, text);
        everywhere().strip_cookies(bytes);
        everywhere().strip_query(text);
    });
}

#[test]
fn malformed_requests_do_not_panic_and_their_credentials_are_removed() {
    bolero::check!().with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(header, query)| {
        assert_nothing_is_left(assembled(header).as_bytes(), &assembled(query));
    });
}

#[test]
fn a_set_cookie_line_is_known_by_the_cookie_that_comes_back() {
    let session = Places(vec![Place::Cookie("session".to_owned()), Place::Query("key".to_owned())]);
    let lines: [&[u8]; 8] = [
        b"session=x",
        b"session",
        b" session\t= x; Path=/",
        b"session=; Max-Age=0",
        b"=session=x",
        b" = session=x",
        b"=session",
        b"session=a=b",
    ];
    assert!(lines.into_iter().all(|line| session.has_set_cookie(line)));
    let others: [&[u8]; 9] = [
        b"",
        b"=",
        b";session=x",
        b"a=session=x",
        b"Session=x",
        b"sessions=x",
        b"key=x",
        b"a=b; session=x",
        b"\xffsession=x",
    ];
    assert!(!others.into_iter().any(|line| session.has_set_cookie(line)));
}
