//! Tests of the values of a pattern's parameters.

use super::*;

fn parameter(pattern: &str, path: &str, name: &str) -> Option<String> {
    let pattern: PathPattern = pattern.parse().expect("a path pattern");
    pattern.fits(path).then(|| pattern.parameter(path, name)).flatten().map(str::to_owned)
}

#[test]
fn parameters_are_found_by_their_names() {
    for (pattern, path, name, found) in [
        ("/orders/{id}", "/orders/7", "id", Some("7")),
        ("/orders/{id}", "/orders/7/", "id", Some("7")),
        ("/orders/{id}", "/orders/a%2Fb", "id", Some("a%2Fb")),
        ("/orders/{id}", "/orders/7", "rest", None),
        ("/orders/{id}", "/orders/7", "*id", None),
        ("/{tenant}/orders/{id}/items", "/acme/orders/7/items", "tenant", Some("acme")),
        ("/{tenant}/orders/{id}/items", "/acme/orders/7/items", "id", Some("7")),
        ("/{tenant}/orders/{id}/", "/acme/orders/7", "id", Some("7")),
        ("/files/{*rest}", "/files/a/b/c", "rest", Some("a/b/c")),
        ("/files/{*rest}", "/files/a/b/", "rest", Some("a/b/")),
        ("/files/{*rest}", "/files/", "rest", Some("")),
        ("/{*rest}", "/", "rest", Some("")),
        ("/{name}/{*rest}", "/a/b/c", "name", Some("a")),
        ("/%7Eme/{id}", "/~me/7", "id", Some("7")),
        ("/plain", "/plain", "plain", None),
        ("/", "/", "id", None),
    ] {
        assert_eq!(parameter(pattern, path, name).as_deref(), found, "{name} of {pattern} in {path}");
    }
}

#[test]
fn a_pattern_fits_what_the_router_finds_for_it_and_nothing_else() {
    const SEGMENTS: [&str; 5] = ["x", "y", "", "{p}", "{*r}"];
    bolero::check!().with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(pattern, path)| {
        let join = |choices: &[u8], from: usize| {
            let words: Vec<&str> = choices.iter().take(5).map(|at| SEGMENTS[usize::from(*at) % from]).collect();
            format!("/{}", words.join("/"))
        };
        // Names may not repeat, and paths with `//` are refused before they are matched.
        let (text, path) = (join(pattern, 5), join(path, 3));
        let Ok(pattern) = text.parse::<PathPattern>() else { return };
        if path.contains("//") {
            return;
        }
        let routed = Pattern { paths: vec![pattern.clone()], ..Pattern::default() };
        let router = Router::build(&[("only", &routed)]).expect("nothing to tie with");
        let found = router.find("", &path, &Method::GET, &HeaderMap::new()) == Find::Route(0);
        assert_eq!(pattern.fits(&path), found, "{text} {path}");
        for name in ["p", "r"] {
            let is_there = text.contains(&format!("{{{name}}}")) || text.contains(&format!("{{*{name}}}"));
            assert_eq!(found && pattern.parameter(&path, name).is_some(), found && is_there, "{name}: {text} {path}");
        }
    });
}
