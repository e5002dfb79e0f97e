use super::*;

fn is_met(minimum: &[&str], covered: &[&str]) -> bool {
    let covered: Vec<_> = covered.iter().map(|name| (String::new(), Component::named(name).unwrap())).collect();
    Minimum::new(minimum).unwrap().check(&covered).is_ok()
}

#[test]
fn components_that_say_the_same_are_taken_for_each_other() {
    let default = Minimum::DEFAULT;
    assert!(is_met(&default, &default));
    assert!(is_met(&default, &["@method", "@target-uri"]));
    assert!(is_met(&default, &["@method", "@authority", "@request-target"]));
    assert!(is_met(&["@target-uri"], &["@scheme", "@authority", "@path", "@query"]));
    assert!(is_met(&["@request-target"], &["@path", "@query"]));
    assert!(is_met(&["@scheme"], &["@target-uri"]));
    for poorer in [
        &[][..],
        &["@method", "@authority", "@path"],
        &["@method", "@authority", "@query"],
        &["@authority", "@path", "@query"],
        &["@method", "@request-target"],
        &["@target-uri"],
        &["@method", "host", "@path", "@query"],
    ] {
        assert!(!is_met(&default, poorer), "{poorer:?}");
    }
    assert!(!is_met(&["@target-uri"], &["@authority", "@path", "@query"]), "http or https");
    assert!(!is_met(&["date"], &["@target-uri"]));
    assert!(is_met(&["date"], &["date"]));
}

#[test]
fn names_that_are_none_are_reported_by_their_place() {
    let wrong = Minimum::new(&["@path", "@nothing", "date", "Date", "date"]).unwrap_err();
    assert_eq!(wrong.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 3, 4]);
}
