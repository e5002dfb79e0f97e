use http::{HeaderValue, Method};

use super::*;
use crate::router::{Find, Pattern, Router};

fn condition(said: &str) -> HeaderCondition {
    let (name, value) = said.split_once('=').map_or((said, None), |(name, value)| (name, Some(value.to_owned())));
    HeaderCondition { name: name.parse().expect("a header name"), value }
}

/// Returns a router whose routes have the same path, each with these conditions.
fn router(routes: &[&[&str]]) -> Router {
    let pattern = |conditions: &&[&str]| Pattern {
        paths: vec!["/x".parse().expect("a path")],
        headers: conditions.iter().map(|said| condition(said)).collect(),
        ..Pattern::default()
    };
    let patterns: Vec<_> = routes.iter().map(pattern).collect();
    let named: Vec<_> = patterns.iter().map(|pattern| ("route", pattern)).collect();
    Router::build(&named).expect("no ties")
}

/// Returns the route that a request is matched to again when the headers `names` were kept, or the header that is
/// missing.
fn again(router: &Router, names: &[&str], headers: &[(&'static str, &str)]) -> Result<usize, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_str(value).expect("a value"));
    }
    let names: Arc<[HeaderName]> = names.iter().map(|name| name.parse().expect("a header name")).collect();
    let kept = (!names.is_empty()).then(|| KeptHeaders::of(&map, &names));
    let headers = MatchedAgain::new(kept.as_ref());
    let found = router.find("", "/x", &Method::GET, &headers);
    match (headers.not_kept(), found) {
        (Some(name), _) => Err(name.to_string()),
        (None, Find::Route(route)) => Ok(route),
        (None, other) => panic!("{other:?}"),
    }
}

#[test]
fn a_request_is_matched_again_by_what_was_kept_of_it() {
    let router = router(&[&[], &["x-a=1"], &["x-a=1", "x-b"]]);
    let names = ["x-a", "x-b"];
    assert_eq!(again(&router, &names, &[]), Ok(0));
    assert_eq!(again(&router, &names, &[("x-a", "2"), ("x-b", "1"), ("x-c", "1")]), Ok(0));
    assert_eq!(again(&router, &names, &[("x-a", "1")]), Ok(1));
    assert_eq!(again(&router, &names, &[("x-a", "1"), ("x-b", "any")]), Ok(2));
    // Two lines equal neither value.
    assert_eq!(again(&router, &names, &[("x-a", "1"), ("x-a", "1")]), Ok(0));
}

#[test]
fn a_condition_on_what_was_not_kept_is_unclear_where_nothing_else_settles_it() {
    assert_eq!(again(&router(&[&[]]), &[], &[("x-a", "1")]), Ok(0));
    for kept in [&[][..], &["x-b"]] {
        assert_eq!(again(&router(&[&[], &["x-a"]]), kept, &[]), Err("x-a".to_owned()), "{kept:?}");
    }
    // Another condition of that route is known not to be met, before or after it.
    for conditions in [["x-a", "x-b"], ["x-b", "x-a"]] {
        assert_eq!(again(&router(&[&[], &conditions]), &["x-b"], &[]), Ok(0), "{conditions:?}");
        assert_eq!(again(&router(&[&[], &conditions]), &["x-b"], &[("x-b", "")]), Err("x-a".to_owned()));
    }
    // A stronger route matches, whatever the weaker one requires.
    assert_eq!(again(&router(&[&["x-b", "x-c"], &["x-a"]]), &["x-b", "x-c"], &[("x-b", ""), ("x-c", "")]), Ok(0));
}

#[test]
fn a_new_request_depends_on_its_headers_only_where_a_route_of_its_path_has_a_condition() {
    let pattern = |path: &str, conditions: &[&str]| Pattern {
        paths: vec![path.parse().expect("a path")],
        headers: conditions.iter().map(|said| condition(said)).collect(),
        ..Pattern::default()
    };
    let (plain, fallback, special) = (pattern("/plain", &[]), pattern("/x", &[]), pattern("/x", &["x-a"]));
    let named = [("plain", &plain), ("fallback", &fallback), ("special", &special)];
    let router = Router::build(&named).expect("no ties");
    let headers = HeaderMap::from_iter([("x-a".parse().expect("a name"), HeaderValue::from_static("1"))]);
    for (path, headers, expected) in [
        ("/plain", &headers, (Some(0), false)),
        ("/x", &HeaderMap::new(), (Some(1), true)),
        ("/x", &headers, (Some(2), true)),
        ("/nothing", &headers, (None, false)),
    ] {
        let first = MatchedFirst::new(headers);
        let found = match router.find("", path, &Method::GET, &first) {
            Find::Route(route) => Some(route),
            _ => None,
        };
        assert_eq!((found, first.is_conditional()), expected, "{path}");
    }
}
