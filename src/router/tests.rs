use super::overlap::reaches;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

mod parameters;
mod patterns;
mod reference;

/// Finds the route of a request in one line: `GET api.example.com/orders/7`, then header lines `name: value`.
fn find<'r>(router: &'r Router, request: &str) -> Find<'r> {
    let mut lines = request.lines();
    let (method, target) = lines.next().and_then(|line| line.split_once(' ')).expect("a method and a target");
    let (host, path) = target.split_at(target.find('/').expect("a path"));
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").expect("a header line");
        (name.parse::<HeaderName>().expect("a name"), value.parse::<HeaderValue>().expect("a value"))
    });
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name, value);
    }
    router.find(host, path, &method.parse().expect("a method"), &map)
}

/// Parses a pattern in one line: `GET,POST a.example,b.example /one /two x-a: 1`; `*` for all methods and any host,
/// `x-a` for a header with any value.
fn pattern(text: &str) -> Pattern {
    let mut words = text.split_whitespace().peekable();
    let list = |word: &str| -> Vec<String> { word.split(',').filter(|one| *one != "*").map(Into::into).collect() };
    let methods = list(words.next().expect("methods"));
    let hosts = list(words.next().expect("hosts"));
    let mut pattern = Pattern {
        hosts: hosts.iter().map(|host| host.parse().expect("a host pattern")).collect(),
        methods: MethodSet::from_list(&methods).expect("methods"),
        ..Pattern::default()
    };
    while let Some(word) = words.next() {
        if word.starts_with('/') {
            pattern.paths.push(word.parse().expect("a path pattern"));
            continue;
        }
        let value = word.ends_with(':').then(|| words.next().expect("a value").to_owned());
        pattern.headers.push(HeaderCondition { name: word.trim_end_matches(':').parse().expect("a name"), value });
    }
    pattern
}

fn build(texts: &[&str]) -> Result<Router, Vec<Tie>> {
    let patterns: Vec<Pattern> = texts.iter().map(|text| pattern(text)).collect();
    let named: Vec<(&str, &Pattern)> = texts.iter().copied().zip(&patterns).collect();
    Router::build(&named)
}

/// Checks each request against the index of the route it must find; 404 and 405 stand for themselves.
#[track_caller]
fn check(routes: &[&str], requests: &[(&str, usize)]) {
    let router = build(routes).expect("no ties");
    for (request, expected) in requests {
        let found = match find(&router, request) {
            Find::Route(route) => route,
            Find::MethodNotAllowed { .. } => 405,
            Find::NotFound => 404,
        };
        assert_eq!(found, *expected, "{request}");
    }
}

#[test]
fn literal_comes_before_parameter_before_rest() {
    check(
        &["* * /{*rest}", "* * /orders/{id}", "* * /orders/new", "* * /orders/{*rest}", "* * /orders"],
        &[
            ("GET /", 0),
            ("GET /other", 0),
            ("GET /ordersx", 0),
            ("GET /orders", 4),
            ("GET /orders/", 4),
            ("GET /orders/new", 2),
            ("GET /orders/new/", 2),
            ("GET /orders/7", 1),
            ("GET /orders/7/", 1),
            ("GET /orders/7/items", 3),
            ("GET /orders/new/items", 3),
            ("GET /Orders/new", 0),
            ("GET /orders%2Fnew", 0),
        ],
    );
}

#[test]
fn a_rest_takes_nothing_behind_its_slash_but_not_the_path_without_it() {
    check(&["* * /orders/{*rest}"], &[("GET /orders/", 0), ("GET /orders/a/b/", 0), ("GET /orders", 404)]);
    check(&["* * /{*rest}"], &[("GET /", 0), ("GET /a", 0)]);
    check(&["* * /", "* * /{*rest}"], &[("GET /", 0), ("GET /a", 1)]);
}

#[test]
fn a_trailing_slash_is_the_same_path() {
    check(&["* * /admin", "* * /{*rest}"], &[("GET /admin", 0), ("GET /admin/", 0), ("GET /admin/x", 1)]);
    check(&["* * /admin/", "* * /{*rest}"], &[("GET /admin", 0), ("GET /admin/", 0)]);
    check(&["* * /users/{id}/", "* * /{*rest}"], &[("GET /users/7", 0), ("GET /users/7/", 0), ("GET /users/", 1)]);
}

#[test]
fn a_parameter_takes_one_segment_that_is_not_empty() {
    check(&["* * /a/{x}/b"], &[("GET /a/1/b", 0), ("GET /a/1/2/b", 404), ("GET /a//b", 404), ("GET /a/", 404)]);
    check(&["* * /{x}"], &[("GET /", 404), ("GET /a", 0), ("GET /a%2Fb", 0)]);
}

#[test]
fn a_way_that_leads_nowhere_is_walked_back() {
    check(
        &["* * /a/b/c", "* * /a/{x}/d", "* * /{y}/b/e", "* * /{y}/{z}/{*rest}", "* * /a/b/{*rest}"],
        &[
            ("GET /a/b/c", 0),
            ("GET /a/b/d", 4),
            ("GET /a/x/d", 1),
            ("GET /a/x/e", 3),
            ("GET /q/b/e", 2),
            ("GET /q/b", 404),
            ("GET /q/b/", 3),
        ],
    );
    // Two segments down the literals, then back up to the first.
    check(&["* * /a/b/c", "* * /{x}/b/d"], &[("GET /a/b/d", 1), ("GET /a/b/e", 404)]);
}

#[test]
fn hosts_are_asked_from_exact_to_none_until_a_path_fits() {
    check(
        &[
            "* api.example.com /exact",
            "* *.api.example.com /long",
            "* *.example.com /long /short",
            "* * /long /short /exact /any",
            "* *.com /com",
        ],
        &[
            ("GET api.example.com/exact", 0),
            ("GET api.example.com/short", 2),
            ("GET api.example.com/any", 3),
            ("GET api.example.com/com", 4),
            ("GET a.api.example.com/long", 1),
            ("GET b.a.api.example.com/long", 1),
            ("GET a.api.example.com/short", 2),
            ("GET a.api.example.com/exact", 3),
            ("GET a.example.com/long", 2),
            ("GET example.com/long", 3),
            ("GET example.com/com", 4),
            ("GET com/com", 404),
            ("GET badexample.com/short", 3),
            ("GET /any", 3),
            ("GET /com", 404),
            ("GET *.example.com/short", 2),
        ],
    );
}

#[test]
fn an_exact_host_with_a_rest_comes_before_a_literal_of_no_host() {
    check(&["* a.example /{*rest}", "* * /admin"], &[("GET a.example/admin", 0), ("GET b.example/admin", 1)]);
}

#[test]
fn a_wrong_method_is_405_and_never_a_weaker_route() {
    let routes = ["GET a.example /x", "POST a.example /{p}", "* a.example /{*rest}", "* * /x"];
    check(
        &routes,
        &[("GET a.example/x", 0), ("POST a.example/x", 405), ("GET a.example/y", 405), ("PROPFIND b.example/x", 405)],
    );
    let router = build(&routes).expect("no ties");
    let allow = |request| match find(&router, request) {
        Find::MethodNotAllowed { allow } => allow.to_str().expect("text").to_owned(),
        other => panic!("{request}: {other:?}"),
    };
    assert_eq!(allow("POST a.example/x"), "GET, HEAD");
    assert_eq!(allow("PROPFIND b.example/x"), "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
}

#[test]
fn allow_is_the_union_of_the_routes_on_the_path_in_a_fixed_order() {
    let router = build(&["DELETE * /x", "REPORT,PROPFIND * /x", "POST * /x x-a: 1", "GET * /x", "PUT * /other"])
        .expect("no ties");
    let expected = HeaderValue::from_static("GET, HEAD, POST, DELETE, PROPFIND, REPORT");
    assert_eq!(find(&router, "PATCH /x"), Find::MethodNotAllowed { allow: &expected });
}

#[test]
fn get_includes_head() {
    check(
        &["GET * /a", "HEAD * /b", "POST * /c"],
        &[("HEAD /a", 0), ("HEAD /b", 1), ("GET /b", 405), ("HEAD /c", 405)],
    );
}

#[test]
fn trace_and_connect_find_no_route() {
    check(&["* * /{*rest}"], &[("TRACE /a", 405), ("CONNECT /a", 405), ("get /a", 405)]);
}

#[test]
fn routes_of_one_path_share_it_by_method() {
    check(&["GET * /x/{id}", "POST * /x/{name}"], &[("GET /x/1", 0), ("HEAD /x/1", 0), ("POST /x/1", 1)]);
}

#[test]
fn more_header_conditions_come_first() {
    check(
        &["* * /x", "* * /x x-a: 1", "* * /x x-a: 1 x-b", "* * /x x-a: 2"],
        &[
            ("GET /x", 0),
            ("GET /x\nx-a: 3", 0),
            ("GET /x\nx-a: 1", 1),
            ("GET /x\nX-A: 1\nx-b: anything", 2),
            ("GET /x\nx-a: 2\nx-b: anything", 3),
            ("GET /x\nx-b: anything", 0),
        ],
    );
}

#[test]
fn a_header_value_is_compared_whole() {
    check(
        &["* * /x x-a: 1", "* * /x x-a: 2"],
        &[("GET /x\nx-a: 1", 0), ("GET /x\nx-a: 1, 2", 404), ("GET /x\nx-a: 1\nx-a: 2", 404), ("GET /x\nx-a: 12", 404)],
    );
    check(&["* * /x x-a"], &[("GET /x\nx-a: 1\nx-a: 2", 0), ("GET /x\nx-b: 1", 404)]);
}

#[test]
fn only_unmet_header_conditions_lead_on_to_weaker_paths() {
    check(
        &["GET a.example /x x-a: 1", "* a.example /{p}", "* * /x"],
        &[
            ("GET a.example/x\nx-a: 1", 0),
            ("POST a.example/x\nx-a: 1", 405),
            ("GET a.example/x", 1),
            ("POST a.example/x\nx-a: 2", 1),
            ("GET b.example/x\nx-a: 1", 2),
        ],
    );
    check(&["GET * /x x-a", "POST * /x"], &[("GET /x", 405), ("GET /x\nx-a: 1", 0), ("POST /x\nx-a: 1", 1)]);
}

fn ties(texts: &[&str]) -> Vec<(usize, usize)> {
    build(texts).err().unwrap_or_default().iter().map(|tie| (tie.first, tie.second)).collect()
}

#[test]
fn equally_strong_routes_tie() {
    for (routes, expected) in [
        (vec!["* * /a", "* * /a"], vec![(0, 1)]),
        (vec!["* * /a", "* * /a/"], vec![(0, 1)]),
        (vec!["* * /a/{x}", "* * /a/{y}"], vec![(0, 1)]),
        (vec!["* * /%61", "* * /a"], vec![(0, 1)]),
        (vec!["* * /{*x}", "* * /{*y}"], vec![(0, 1)]),
        (vec!["* A.example. /a", "* a.example /a"], vec![(0, 1)]),
        (vec!["* *.a.example /a", "* b.example,*.a.example /b /a"], vec![(0, 1)]),
        (vec!["GET * /a", "HEAD * /a"], vec![(0, 1)]),
        (vec!["PROPFIND * /a", "GET,PROPFIND * /a"], vec![(0, 1)]),
        (vec!["* * /a x-a: 1", "* * /a x-a: 1"], vec![(0, 1)]),
        (vec!["* * /a x-a: 1", "* * /a x-b: 1"], vec![(0, 1)]),
        (vec!["* * /a x-a", "* * /a x-a: 1"], vec![(0, 1)]),
        (vec!["* * /a", "* * /b", "* * /a", "* * /b", "* * /a"], vec![(0, 2), (0, 4), (1, 3)]),
        (vec!["* * /a /b", "* * /b /a"], vec![(0, 1)]),
    ] {
        assert_eq!(ties(&routes), expected, "{routes:?}");
    }
}

#[test]
fn routes_that_differ_do_not_tie() {
    for routes in [
        vec!["GET * /a", "POST * /a"],
        vec!["* * /a/{x}", "* * /a/b"],
        vec!["* * /a", "* * /a/{*rest}"],
        vec!["* * /a/{x}", "* * /a/{*x}"],
        vec!["* a.example /a", "* b.example /a", "* *.example /a", "* * /a"],
        vec!["* a.example /a", "* *.a.example /a"],
        vec!["* * /a", "* * /a x-a: 1"],
        vec!["* * /a x-a: 1", "* * /a x-a: 2"],
        vec!["* * /a x-a: 1 x-b: 1", "* * /a x-b: 2 x-c"],
        vec!["* * /a /a/"],
        vec!["* a.example,A.EXAMPLE /a/{x} /a/{y}"],
    ] {
        assert_eq!(ties(&routes), [], "{routes:?}");
    }
}

#[test]
fn a_tie_is_told_in_words() {
    let (one, two) = (pattern("GET,POST *.a.example /o/{id}"), pattern("GET *.a.example /o/{nr}"));
    let ties = Router::build(&[("orders", &one), ("orders-v2", &two)]).expect_err("a tie");
    assert_eq!(
        ties[0].what,
        "routes `orders` and `orders-v2` both take GET, HEAD on path `/o/{id}` of host `*.a.example`"
    );
}

/// Asks the index, after comparing it with the plain definition.
fn covers(open: &Pattern, protected: &Pattern) -> bool {
    let reached = Protected::new([(7, protected)]).first_reached_by(open);
    let pairs = overlap::guarded(0, open).filter(|open| open.path.has_rest());
    let by_definition = pairs
        .flat_map(|open| overlap::guarded(7, protected).map(move |guarded| (open, guarded)))
        .any(|(a, b)| reaches(&a, &b));
    assert_eq!(reached, by_definition.then_some(7), "{open:?} | {protected:?}");
    by_definition
}

#[test]
fn an_open_catch_all_covers_what_it_has_requests_in_common_with() {
    for (open, protected) in [
        ("* * /{*rest}", "* * /admin"),
        ("* * /{*rest}", "* * /admin/{*rest}"),
        ("* * /{*rest}", "* a.example /admin"),
        ("* * /{*rest}", "* a.example /{*rest}"),
        ("* *.example /{*rest}", "* a.example /admin"),
        ("* *.example /{*rest}", "* *.a.example /admin"),
        ("* a.example /{*rest}", "* a.example /admin"),
        ("* b.example,a.example /x /{*rest}", "* a.example /admin"),
        ("* * /admin/{*rest}", "* * /admin"),
        ("* * /admin/{*rest}", "* * /admin/users"),
        ("* * /{tenant}/{*rest}", "* * /acme/admin"),
        ("* * /{tenant}/b/{*rest}", "* * /acme/{x}/admin"),
        ("* * /acme/{*rest}", "* a.example /{tenant}/admin"),
        ("GET * /{*rest}", "POST * /admin"),
        ("* * /{*rest}", "* * /{*rest} x-a: 1"),
        // The catch-all is the stronger one, and takes the protected path itself.
        ("* a.example /{*rest}", "* * /admin"),
        ("* a.example /{*rest}", "* *.example /admin"),
        ("* *.a.example /{*rest}", "* *.example /admin"),
        ("* a.example /{*rest}", "* * /{*rest}"),
        ("* * /acme/{*rest}", "* * /{tenant}/admin"),
        ("* a.example /acme/{*rest}", "* * /{tenant}/admin"),
        ("* * /acme/{x}/{*rest}", "* * /{tenant}/b/admin"),
        ("* * /acme/{*rest}", "* * /{tenant}/admin/{*rest}"),
        // The host already makes it the weaker one: no exception.
        ("* * /acme/{*rest}", "* a.example /{tenant}/{*rest}"),
    ] {
        assert!(covers(&pattern(open), &pattern(protected)), "{open} | {protected}");
    }
}

#[test]
fn a_catch_all_does_not_cover_what_it_cannot_reach() {
    for (open, protected) in [
        ("* * /public", "* * /admin"),
        ("* * /admin", "* * /admin"),
        ("* * /public/{*rest}", "* * /admin"),
        ("* * /public/{*rest}", "* * /{*rest}"),
        ("* * /admin/x/{*rest}", "* * /admin"),
        ("* b.example /{*rest}", "* a.example /admin"),
        ("* a.example /public/{*rest}", "* * /admin"),
        ("* a.example /public/{*rest}", "* * /{*rest}"),
        ("* *.a.example /{*rest}", "* a.example /admin"),
        ("* * /acme/x/{*rest}", "* * /{tenant}/admin"),
        ("* * /docs/{*rest}", "* * /{tenant}/{*rest}"),
        ("* a.example /docs/{*rest}", "* * /{tenant}/{*rest}"),
        ("GET * /{*rest}", "POST * /{*rest}"),
    ] {
        assert!(!covers(&pattern(open), &pattern(protected)), "{open} | {protected}");
    }
}
