use super::*;

fn texts(text: &str, bytes: usize) -> Option<Vec<&str>> {
    Some(cut_every(0, text, bytes)?.into_iter().map(|piece| &text[piece.range]).collect())
}

#[test]
fn a_file_is_cut_between_entries_and_between_tables() {
    let text = "a = 1\n[log]\n[routes.x]\n[routes.x.respond]\n[routes.\"y z\"]\n\n[consumers.c]\n[[consumers.c.credentials]]\n[ consumers . d ]\n";
    let expected = [
        "a = 1\n",
        "[log]\n",
        "[routes.x]\n[routes.x.respond]\n",
        "[routes.\"y z\"]\n\n",
        "[consumers.c]\n[[consumers.c.credentials]]\n",
        "[ consumers . d ]\n",
    ];
    assert_eq!(texts(text, 1).unwrap(), expected);
    let larger = texts(text, 1000).unwrap();
    assert_eq!((larger.len(), larger.concat()), (4, text.to_owned()));
    let consumers: Vec<_> = cut_every(0, text, 1).unwrap().iter().map(|piece| piece.is_of_consumers).collect();
    assert_eq!(consumers, [false, false, false, false, true, true]);
}

#[test]
fn a_file_whose_pieces_could_say_something_else_is_not_cut() {
    for text in [
        "[routes.x]\n[routes.y]\n[routes.x.respond]\n",
        "[routes.x]\n[routes.y]\n[routes.'x']\n",
        "[[listeners]]\n[log]\n[[listeners]]\n",
        "[routes]\nx = {}\n[routes.y]\n",
        "routes = { x = {} }\n[routes.y]\n",
        "\"routes\".x = {}\n[routes.y]\n",
        "[routes.\"x\\u0079\"]\n[routes.xy]\n",
        "[\n",
    ] {
        assert_eq!(texts(text, 1), None, "{text}");
    }
}

/// Text that looks like a header within a string or a list is none. The piece in front of it does not parse, and so the
/// file is parsed whole.
#[test]
fn a_piece_that_ends_within_a_value_does_not_parse() {
    for text in ["[routes.x]\na = \"\"\"\n[routes.y]\n\"\"\"\n", "[routes.x]\na = [\n[routes.y]\n]\n"] {
        let pieces = cut_every(0, text, 1).unwrap();
        assert!(pieces.iter().any(|piece| piece.parse(text).is_none()), "{text}");
    }
}

#[test]
fn a_piece_says_where_it_stands_in_the_file() {
    let text = "[log]\nlevel = \"warn\"\n[routes.x]\npaths = [\"/x\", 7]\n";
    let mut whole = Node::parse(0, text, &mut Problems::default()).unwrap();
    let pieces = cut_every(0, text, 1).unwrap();
    let roots: Vec<_> = pieces.iter().map(|piece| piece.parse(text).unwrap()).collect();
    for (table, field) in [("log", "level"), ("routes", "x.paths[1]"), ("routes", "x")] {
        let node = roots.iter().find(|root| root.has(table)).unwrap().entry(table).unwrap();
        let expected = whole.entry(table).unwrap();
        assert_eq!((node.span_of(field), node.span()), (expected.span_of(field), expected.span()), "{table}.{field}");
    }
    let mut problems = [Problems::default(), Problems::default()];
    let mut routes = roots.into_iter().find(|root| root.has("routes")).unwrap();
    for (root, problems) in [&mut whole, &mut routes].into_iter().zip(&mut problems) {
        assert!(
            root.take("routes")
                .unwrap()
                .decode::<std::collections::HashMap<String, crate::config::file::Route>>(problems)
                .is_none()
        );
    }
    let [whole, pieces] = problems.map(|problems| format!("{problems:?}"));
    assert_eq!(whole, pieces);
}
