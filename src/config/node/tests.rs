use std::{collections::BTreeMap, num::NonZeroU8};

use serde::Deserialize;

use super::*;
use crate::config::sources::{Source, Sources};

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    name: String,
    count: NonZeroU8,
    #[serde(default)]
    list: Vec<NonZeroU8>,
    #[serde(default)]
    below: Vec<Below>,
    #[serde(default)]
    map: BTreeMap<String, NonZeroU8>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Below {
    wanted: NonZeroU8,
}

/// Returns the problems of a file, one line each: `LINE:COLUMN path: text`.
fn said(text: &str, problems: Problems) -> Vec<String> {
    let sources = Sources(vec![Source { path: "a.toml".into(), text: text.to_owned() }]);
    let located = problems.locate(&sources).0.into_iter();
    located.map(|problem| format!("{}:{} {}: {}", problem.line, problem.column, problem.path, problem.text)).collect()
}

/// Decodes the table `[it]` of a file, and returns the problems.
fn decode(text: &str) -> (Option<Shape>, Vec<String>) {
    let mut problems = Problems::default();
    let mut root = Node::parse(0, text, &mut problems).expect("good TOML");
    let shape = root.take("it").expect("the table").decode(&mut problems);
    (shape, said(text, problems))
}

const ZERO: &str = "invalid value: integer `0`, expected a whole number from 1 to 255";

#[test]
fn a_good_value_is_decoded_without_a_word() {
    let (shape, said) = decode("[it]\nname = 'a'\ncount = 1\nlist = [2]\nbelow = [{ wanted = 3 }]\nmap = { a = 4 }\n");
    assert_eq!(said, [""; 0]);
    assert_eq!(shape.expect("a value").list.len(), 1);
}

#[test]
fn decoding_goes_on_after_an_error_and_items_keep_their_numbers() {
    let (shape, said) = decode("[it]\nname = 1\ncount = 0\nlist = [0, 1, 0, 0]\nmap = { a = 0, b = 1, c = 0 }\n");
    assert_eq!(shape, None);
    assert_eq!(
        said,
        [
            "2:8 it.name: invalid type: integer `1`, expected a string".to_owned(),
            format!("3:9 it.count: {ZERO}"),
            format!("4:9 it.list[0]: {ZERO}"),
            format!("4:15 it.list[2]: {ZERO}"),
            format!("4:18 it.list[3]: {ZERO}"),
            format!("5:13 it.map.a: {ZERO}"),
            format!("5:27 it.map.c: {ZERO}"),
        ]
    );
}

#[test]
fn what_was_taken_out_is_not_missing_and_what_is_missing_is_said() {
    let (_, said) = decode("[it]\nname = 'a'\ncount = 0\nbelow = [{ wanted = 0 }, {}, { wanted = 1 }]\n");
    assert_eq!(
        said,
        [
            format!("3:9 it.count: {ZERO}"),
            format!("4:21 it.below[0].wanted: {ZERO}"),
            "4:26 it.below[1]: missing field `wanted`".to_owned(),
        ]
    );
}

#[test]
fn a_misspelt_name_is_not_missing_as_well() {
    let (_, said) = decode("[it]\nnmae = 'a'\ncount = 1\nbelow = [{ wnated = 1 }]\nmore = 1\n");
    assert_eq!(
        said,
        [
            "2:1 it.nmae: unknown field `nmae`, did you mean `name`?",
            "4:12 it.below[0].wnated: unknown field `wnated`, did you mean `wanted`?",
            "5:1 it.more: unknown field `more`, expected one of `name`, `count`, `list`, `below`, `map`",
        ]
    );
}

#[test]
fn a_table_without_a_header_of_its_own_is_still_itself() {
    let (_, said) = decode("[[it.below]]\nwanted = 1\n\n[it.map]\na = 0\n");
    assert_eq!(said, ["1:3 it: missing field `name`".to_owned(), format!("5:5 it.map.a: {ZERO}")]);
}

#[test]
fn a_value_that_is_wrong_as_a_whole_is_one_error() {
    let (shape, said) = decode("it = 7\n");
    assert_eq!((shape, said), (None, vec!["1:6 it: invalid type: integer `7`, expected a table".to_owned()]));
}

#[test]
fn what_was_decoded_partly_knows_what_it_lacks() {
    let mut problems = Problems::default();
    let text = "name = 'a'\ncount = 1\nlist = [0]\nmpa = {}\n";
    let root = Node::parse(0, text, &mut problems).expect("good TOML");
    let partly = root.decode_partly::<Shape>(&mut problems).expect("the rest");
    assert_eq!((partly.value.name.as_str(), partly.value.list.len()), ("a", 0));
    assert!(!partly.is_whole());
    let lacks = ["name", "count", "list", "map", "li", "mpa"].map(|field| partly.lacks(field));
    assert_eq!(lacks, [false, false, true, true, false, true]);
    assert_eq!(problems.len(), 2);
}

#[test]
fn names_that_were_taken_out_are_suggested() {
    let mut problems = Problems::default();
    let text = "name = 'a'\ncount = 1\nexpirse = 1\n";
    let root = Node::parse(0, text, &mut problems).expect("good TOML").knowing(&["expires"]);
    assert_eq!(root.decode::<Shape>(&mut problems), None);
    assert_eq!(said(text, problems), ["3:1 expirse: unknown field `expirse`, did you mean `expires`?"]);
}

#[test]
fn tables_and_lists_are_taken_apart_with_their_places() {
    let mut problems = Problems::default();
    let text = "[it]\nb = ['x', 2]\na = 1\n";
    let mut root = Node::parse(0, text, &mut problems).expect("good TOML");
    assert!(root.take("absent").is_none() && root.has("it"));
    let it = root.take("it").expect("the table");
    assert!(!root.has("it") && it.is_table() && it.entry("a").is_some());
    assert_eq!(it.span_of("b[1]"), text.find('2').map(|at| at..at + 1).expect("the item"));
    assert_eq!(it.span_of("b[7].c"), it.span_of("b"), "the nearest that there is");
    let entries = it.entries(&mut problems);
    let items = entries.into_iter().find(|(name, _)| name.text == "b").expect("the list").1.items(&mut problems);
    assert_eq!(items.iter().map(|item| item.path.as_str()).collect::<Vec<_>>(), ["it.b[0]", "it.b[1]"]);
    assert_eq!(items[0].name().map(|name| (name.text, name.path)), Some(("x".into(), "it.b[0]".into())));
    assert!(items[1].name().is_none() && problems.is_empty());
    assert!(items[1].clone().entries(&mut problems).is_empty() && items[1].clone().items(&mut problems).is_empty());
    assert_eq!(said(text, problems), ["2:11 it.b[1]: this has to be a table", "2:11 it.b[1]: this has to be a list"]);
}

#[test]
fn a_file_that_does_not_parse_gives_one_error_a_line() {
    let mut problems = Problems::default();
    let text = "b = = = 1\n[a]\nx = 1\n\n[a]\nx = 2\ny = 3\nz = \"\n";
    assert!(Node::parse(0, text, &mut problems).is_none());
    let lines: Vec<String> =
        said(text, problems).iter().map(|line| line.split(':').next().unwrap_or("").into()).collect();
    assert_eq!(lines, ["1", "5", "8"], "the keys of a table that is there twice are no news");
}
