use super::*;

#[test]
fn a_dictionary_keeps_its_order_and_its_parameters() {
    let members = parse("a=1;x=2;y, b=(\"c\";d \"e\");f=:AAAA:, g").unwrap();
    assert_eq!(members.iter().map(|member| member.key).collect::<Vec<_>>(), ["a", "b", "g"]);
    let Value::Item(a) = &members[0].value else { panic!("an item") };
    assert_eq!(a.parameters.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["x", "y"]);
    let Value::List(b) = &members[1].value else { panic!("a list") };
    assert_eq!((b.items.len(), b.items[0].parameters.len(), b.parameters.len()), (2, 1, 1));
}

#[test]
fn a_member_twice_is_refused_and_not_the_last_taken() {
    for field in ["a=1, a=1", "a=1, b=2, a", "a;x;x", "a=(1);x=1;x=2", "a=(1;x;x)"] {
        assert!(parse(field).is_err(), "{field}");
    }
}

#[test]
fn everything_has_a_limit() {
    let members = |count: usize| (0..count).map(|n| format!("k{n}")).collect::<Vec<_>>().join(", ");
    assert!(parse(&members(MEMBERS_MAX)).is_ok());
    assert!(parse(&members(MEMBERS_MAX + 1)).is_err());
    let items = |count: usize| format!("a=({})", vec!["1"; count].join(" "));
    assert!(parse(&items(ITEMS_MAX)).is_ok());
    assert!(parse(&items(ITEMS_MAX + 1)).is_err());
    let parameters = |count: usize| format!("a=1{}", (0..count).map(|n| format!(";k{n}")).collect::<String>());
    assert!(parse(&parameters(PARAMETERS_MAX)).is_ok());
    assert!(parse(&parameters(PARAMETERS_MAX + 1)).is_err());
    let name = HeaderName::from_static("x");
    let lines = |length: usize| HeaderMap::from_iter([(name.clone(), "a".repeat(length).parse().unwrap())]);
    assert!(field(&lines(FIELD_MAX_BYTES), &name).unwrap().is_some());
    assert!(field(&lines(FIELD_MAX_BYTES + 1), &name).is_err());
}

#[test]
fn no_field_panics() {
    bolero::check!().with_type::<String>().for_each(|field| _ = parse(field));
}
