use super::*;
use crate::config::sources::Source;

fn sources(texts: &[&str]) -> Sources {
    let source =
        |(number, text): (usize, &&str)| Source { path: format!("{number}.toml").into(), text: text.to_string() };
    Sources(texts.iter().enumerate().map(source).collect())
}

fn report(texts: &[&str], problems: &[(usize, Range<usize>, &str)]) -> String {
    let mut all = Problems::default();
    problems.iter().for_each(|(file, span, text)| all.add(*file, span.clone(), "path", *text));
    assert_eq!((all.len(), all.is_empty()), (problems.len(), problems.is_empty()));
    all.locate(&sources(texts)).to_string()
}

#[test]
fn problems_come_in_the_order_of_the_files() {
    let problems = [(1, 2..3, "d"), (0, 4..5, "b"), (1, 0..1, "c"), (0, 0..1, "a"), (0, 4..9, "b2")];
    let told =
        "0.toml:1:1: path: a\n0.toml:2:3: path: b\n0.toml:2:3: path: b2\n1.toml:1:1: path: c\n1.toml:1:3: path: d\n";
    assert_eq!(report(&["1\n345", "123"], &problems), told);
}

#[test]
fn the_same_problem_is_told_once() {
    assert_eq!(report(&["1234"], &[(0, 1..2, "a"), (0, 0..1, "a"), (0, 1..2, "a")]).lines().count(), 2);
}

#[test]
fn columns_count_characters_and_no_place_lies_outside() {
    assert_eq!(report(&["é = ü"], &[(0, 5..6, "a")]), "0.toml:1:5: path: a\n");
    assert_eq!(report(&["é"], &[(0, 1..2, "inside of a character")]), "0.toml:1:1: path: inside of a character\n");
    assert_eq!(report(&["a\nb"], &[(0, 99..100, "behind the end")]), "0.toml:2:2: path: behind the end\n");
    assert_eq!(report(&[""], &[(7, 3..4, "in no file")]), ":1:1: path: in no file\n");
}

#[test]
fn what_a_file_says_breaks_no_line_and_commands_no_terminal() {
    let told = report(&["x"], &[(0, 0..1, "`a\nb\r\u{1b}[2J\u{9b}é`")]);
    assert_eq!(told, "0.toml:1:1: path: `a\\nb\\r\\u{1b}[2J\\u{9b}é`\n");
}

#[test]
fn a_report_about_a_file_has_a_place_as_well() {
    let report = Report::of_file(std::path::Path::new("a.toml"), "absent");
    assert_eq!(report.to_string(), "a.toml:1:1: absent\n");
}

#[test]
fn a_suggestion_is_near_and_the_nearest() {
    let known = ["key-auth", "key-sign", "jwt", "mtls"];
    assert_eq!(nearest("key-auht", known), Some("key-auth"));
    assert_eq!(nearest("key-sgin", known), Some("key-sign"));
    assert_eq!(nearest("jtw", known), Some("jwt"));
    assert_eq!(nearest("oauth", known), None);
    assert_eq!(suggestion("key_auth", known), ", did you mean `key-auth`?");
    assert_eq!(suggestion("something else", known), "");
}
