use super::*;

fn bearer(fields: PlaceFields<'_>) -> (Places, Vec<(String, String)>) {
    let mut problems = Vec::new();
    (fields.places("authorization", Some("Bearer"), &mut problems), problems)
}

fn header(name: &str, scheme: Option<&str>) -> Place {
    Place::header(name, scheme).unwrap()
}

#[test]
fn the_usual_scheme_goes_with_the_usual_header_alone() {
    let names = HeaderNames::Several(vec!["x-token".to_owned(), "Authorization".to_owned()]);
    for (fields, expected) in [
        (PlaceFields::default(), vec![header("authorization", Some("Bearer"))]),
        (PlaceFields { scheme: Some("Token"), ..Default::default() }, vec![header("authorization", Some("Token"))]),
        (
            PlaceFields { header: Some(&names), ..Default::default() },
            vec![header("x-token", None), header("authorization", Some("Bearer"))],
        ),
        (
            PlaceFields { header: Some(&HeaderNames::One("x-token".to_owned())), scheme: Some("T"), from: None },
            vec![header("x-token", Some("T"))],
        ),
    ] {
        assert_eq!(bearer(fields), (Places(expected), vec![]));
    }
}

#[test]
fn a_scheme_needs_a_header_where_the_usual_place_has_none() {
    let mut problems = Vec::new();
    PlaceFields { scheme: Some("Bearer"), ..Default::default() }.places("x-api-key", None, &mut problems);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].0, "scheme");
}

#[test]
fn from_stands_alone_and_names_a_place() {
    let none = Places::default();
    let (_, problems) = bearer(PlaceFields { from: Some(&none), scheme: Some("T"), header: None });
    let fields: Vec<_> = problems.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["from", "from"]);
}
