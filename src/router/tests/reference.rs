//! Compares the tree with the plain rule: each route tried by itself, and those that match sorted.

use std::cmp::Reverse;

use super::*;

const HOSTS: [&str; 6] = ["*", "*", "a.b.c", "*.b.c", "*.c", "b.c"];
const PATHS: [&str; 12] = [
    "/",
    "/{*r}",
    "/x",
    "/x/{*r}",
    "/{p}",
    "/{p}/{*r}",
    "/x/y",
    "/x/{p}",
    "/{p}/y",
    "/x/{p}/z",
    "/{p}/y/z",
    "/x/y/{*r}",
];
const METHODS: [&str; 4] = ["*", "GET", "POST", "PROPFIND"];
const CONDITIONS: [&str; 6] = ["", "", "", "x-a: 1", "x-a: 2", "x-a x-b"];

const REQUEST_HOSTS: [&str; 6] = ["a.b.c", "q.b.c", "b.c", "q.c", "c", ""];
const REQUEST_PATHS: [&str; 11] =
    ["/", "/x", "/x/", "/q", "/q/", "/x/y", "/x/q", "/q/y", "/x/y/z", "/q/y/z", "/x/q/z/"];
const REQUEST_METHODS: [&str; 4] = ["GET", "HEAD", "POST", "PROPFIND"];
const REQUEST_HEADERS: [&str; 4] = ["", "\nx-a: 1", "\nx-a: 2\nx-b: 1", "\nx-b: 1"];

#[test]
fn fuzz_the_tree_finds_what_the_rule_says() {
    bolero::check!().with_type::<(Vec<[u8; 4]>, Vec<[u8; 4]>)>().for_each(|(routes, requests)| {
        let pick = |from: &[&'static str], choice: u8| from[usize::from(choice) % from.len()];
        let mut texts: Vec<String> = Vec::new();
        for [host, path, method, conditions] in routes {
            let (method, conditions) = (pick(&METHODS, *method), pick(&CONDITIONS, *conditions));
            texts.push(format!("{method} {} {} {conditions}", pick(&HOSTS, *host), pick(&PATHS, *path)));
            // A route that ties with those before it would end the test here.
            if build(&texts.iter().map(String::as_str).collect::<Vec<_>>()).is_err() {
                texts.pop();
            }
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let router = build(&texts).expect("no ties");
        for [host, path, method, headers] in requests {
            let (method, headers) = (pick(&REQUEST_METHODS, *method), pick(&REQUEST_HEADERS, *headers));
            let (host, path) = (pick(&REQUEST_HOSTS, *host), pick(&REQUEST_PATHS, *path));
            let expected = expected(&texts, host, path, method, headers);
            let found = match find(&router, &format!("{method} {host}{path}{headers}")) {
                Find::Route(route) => Expected::Route(route),
                Find::MethodNotAllowed { .. } => Expected::MethodNotAllowed,
                Find::NotFound => Expected::NotFound,
            };
            assert_eq!(found, expected, "{method} {host}{path}{headers} of {texts:#?}");
        }
    });
}

/// Compares the index of protected routes with all pairs.
#[test]
fn fuzz_the_index_finds_what_an_open_catch_all_reaches() {
    bolero::check!().with_type::<([u8; 3], Vec<[u8; 3]>)>().for_each(|(open, protected)| {
        let pick = |from: &[&'static str], choice: u8| from[usize::from(choice) % from.len()];
        let text = |[host, path, method]: &[u8; 3]| {
            format!("{} {} {}", pick(&METHODS, *method), pick(&HOSTS, *host), pick(&PATHS, *path))
        };
        let open = pattern(&text(open));
        let protected: Vec<Pattern> = protected.iter().map(|route| pattern(&text(route))).collect();
        let found = Protected::new(protected.iter().enumerate()).first_reached_by(&open);
        assert_eq!(found, protected.iter().position(|protected| covers(&open, protected)), "{open:?} | {protected:?}");
    });
}

#[derive(Debug, PartialEq)]
enum Expected {
    Route(usize),
    MethodNotAllowed,
    NotFound,
}

fn expected(texts: &[&str], host: &str, path: &str, method: &str, headers: &str) -> Expected {
    let mut matching: Vec<_> = texts
        .iter()
        .enumerate()
        .filter_map(|(route, text)| {
            let mut words = text.split_whitespace();
            let [methods, pattern_host, pattern_path] = [(); 3].map(|()| words.next().expect("a word"));
            let conditions: Vec<&str> = text.splitn(4, ' ').nth(3).expect("conditions").split(" x").collect();
            let are_met = conditions.iter().all(|condition| headers.contains(condition.trim_start_matches('x')));
            let rank = (host_rank(pattern_host, host)?, path_rank(pattern_path, path)?);
            let number = text.matches(" x-").count();
            are_met.then_some((rank, Reverse(number), methods, route))
        })
        .collect();
    matching.sort();
    let Some((strongest, ..)) = matching.first() else { return Expected::NotFound };
    let takes = |methods: &str| match methods {
        "*" => method != "PROPFIND",
        "GET" => matches!(method, "GET" | "HEAD"),
        one => one == method,
    };
    let mut at_strongest = matching.iter().take_while(|(rank, ..)| rank == strongest);
    match at_strongest.find(|(_, _, methods, _)| takes(methods)) {
        Some((.., route)) => Expected::Route(*route),
        None => Expected::MethodNotAllowed,
    }
}

/// The rank of a host; smaller is stronger.
fn host_rank(pattern: &str, host: &str) -> Option<usize> {
    match pattern {
        "*" => Some(1000),
        _ if pattern == host => Some(0),
        _ => host.ends_with(pattern.strip_prefix('*')?).then(|| 999 - pattern.len()),
    }
}

/// The rank of each segment; smaller is stronger. A pattern that ends is stronger than one that goes on with a rest.
fn path_rank(pattern: &str, path: &str) -> Option<Vec<u8>> {
    let mut rank = Vec::new();
    let mut rest = path;
    for segment in pattern.split('/').skip(1).filter(|segment| !segment.is_empty()) {
        rest = rest.strip_prefix('/')?;
        if segment == "{*r}" {
            rank.push(2);
            return Some(rank);
        }
        let end = rest.find('/').unwrap_or(rest.len());
        match &rest[..end] {
            "" => return None,
            literal if literal == segment => rank.push(0),
            _ if segment == "{p}" => rank.push(1),
            _ => return None,
        }
        rest = &rest[end..];
    }
    matches!(rest, "" | "/").then_some(rank)
}
