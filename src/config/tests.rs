//! Tests of the loader as a whole. The exact message for each mistake is pinned in tests/it/configuration.

use std::{panic::AssertUnwindSafe, path::Path, sync::Arc, time::Duration};

use super::*;
use crate::{
    builtin,
    registry::Registry,
    services::Services,
    snapshot::compile,
    telemetry::{Metrics, Output},
};

/// Loads and compiles one file in memory, as `check --no-secrets` does. Returns the number of routes, or the report.
fn check(text: &str, registry: &Registry, services: &Services) -> Result<usize, Report> {
    let sources = Sources(vec![Source { path: "portcullis.toml".into(), text: text.to_owned() }]);
    let mut problems = Problems::default();
    let configuration = load(&sources, registry, Secrets::new(Path::new(""), true), &mut problems);
    match configuration.and_then(|configuration| compile(configuration, services, None, &mut problems)) {
        Some(snapshot) if problems.is_empty() => Ok(snapshot.gates.len()),
        _ => Err(problems.locate(&sources)),
    }
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    builtin::add_all(&mut registry);
    registry
}

fn services() -> Services {
    let metrics = Metrics::new("0.0.0", Box::new(|| 0), Box::new(|| 0));
    Services::new(Arc::new(metrics), Output::start(std::io::sink()).expect("a thread"))
}

const COMMENTED: &str = include_str!("../../conf/portcullis.toml");
const EVERY_OPTION: &str = include_str!("../../tests/it/configuration/every_option.toml");

/// Texts that a change puts into a file.
const PIECES: [&str; 32] = [
    "\"",
    "'",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "#",
    "\n",
    "\r",
    "\0",
    "\\",
    "é",
    "\u{1b}[2J",
    "true",
    "-1",
    "0",
    "1e400",
    "99999999999999999999",
    "2027-01-01",
    "2027-01-01T00:00:00Z",
    "\"\"",
    "\"any\"",
    "[]",
    "{}",
    "use = \"key-auth\"\n",
    "[routes.orders]\n",
    "id",
];

/// Applies one change to a text, chosen by a few bytes, and only at a character boundary.
fn change(text: &mut String, (what, at, piece): (u8, u16, u8)) {
    let piece = PIECES[usize::from(piece) % PIECES.len()];
    if what % 4 == 0 {
        let mut at = usize::from(at) % (text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        return text.insert_str(at, piece);
    }
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if lines.is_empty() {
        return;
    }
    let (at, other) = (usize::from(at) % lines.len(), usize::from(at.rotate_left(7)) % lines.len());
    match what % 16 {
        1 => drop(lines.remove(at)),
        2 => lines.insert(other, lines[at].clone()),
        3 => lines.swap(at, other),
        5 => lines.truncate(at),
        // Uncomments an option.
        6 | 7 => lines[at] = lines[at].trim_start_matches("# ").to_owned(),
        9 => lines[at] = format!("{piece}{}", lines[at]),
        // Puts another value, most often of another type.
        _ => {
            if let Some((name, _)) = lines[at].split_once(" = ") {
                lines[at] = format!("{name} = {piece}\n");
            }
        }
    }
    *text = lines.concat();
}

#[test]
fn fuzz_the_loader_takes_a_file_or_says_where_it_is_wrong() {
    let (registry, services) = (registry(), services());
    // This looks for panics: one ends the test, and nothing is used after it.
    let check = AssertUnwindSafe(|text: &str| check(text, &registry, &services));
    let target = bolero::check!().with_test_time(Duration::from_secs(8)).with_iterations(3000);
    target.with_type::<(bool, Vec<(u8, u16, u8)>)>().for_each(|(from_comments, changes)| {
        let mut text = if *from_comments { COMMENTED } else { EVERY_OPTION }.to_owned();
        changes.iter().for_each(|bytes| change(&mut text, *bytes));
        let checked = (*check)(&text);
        assert_eq!(checked, (*check)(&text), "the same file, another answer:\n{text}");
        let Err(report) = checked else { return };
        assert!(!report.0.is_empty(), "refused without a word:\n{text}");
        for problem in &report.0 {
            let line = text.split('\n').nth(problem.line - 1);
            let is_inside = line.is_some_and(|line| (1..=line.chars().count() + 1).contains(&problem.column));
            assert!(is_inside && !problem.text.is_empty(), "{problem}\nin\n{text}");
            assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
        }
    });
}

#[test]
fn the_seeds_of_the_fuzz_target_are_good() {
    let (registry, services) = (registry(), services());
    assert_eq!(check(COMMENTED, &registry, &services), Ok(2));
    assert_eq!(check(EVERY_OPTION, &registry, &services), Ok(3));
}

/// Every option in a comment of the shipped file is valid by itself.
#[test]
fn every_commented_option_of_the_shipped_file_is_one() {
    let (registry, services) = (registry(), services());
    let mut options = 0;
    let headed = COMMENTED.replace("\n# [", "\n["); // of the tables that are comments as a whole
    for (at, line) in headed.split_inclusive('\n').enumerate() {
        let Some((name, _)) = line.strip_prefix("# ").and_then(|line| line.split_once(" = ")) else { continue };
        if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            continue;
        }
        options += 1;
        let lines = headed.split_inclusive('\n').enumerate();
        let text: String = lines.map(|(i, line)| if i == at { &line[2..] } else { line }).collect();
        let Err(report) = check(&text, &registry, &services) else { continue };
        let unknown = report.0.iter().filter(|problem| problem.line == at + 1);
        let unknown: Vec<String> = unknown.map(ToString::to_string).filter(|text| text.contains("unknown")).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
    assert!(options > 50, "{options}");
}

/// The report and the result are the same whether a file is cut or not.
#[test]
fn a_file_in_pieces_says_what_it_says_whole() {
    let registry = registry();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/configuration");
    let cases =
        std::fs::read_dir(folder).expect("the folder of the cases").map(|entry| entry.expect("an entry").path());
    let cases = cases.filter_map(|path| std::fs::read_to_string(path).ok());
    let mut in_pieces = 0;
    for text in cases.chain([COMMENTED.to_owned()]) {
        let sources = Sources(vec![Source { path: "portcullis.toml".into(), text }]);
        let read = |cut: Option<Vec<pieces::Piece>>| {
            let mut problems = Problems::default();
            let secrets = Secrets::new(Path::new(""), true);
            let read = load::read(&sources, vec![cut], &registry, secrets, &mut problems).ok()?;
            let shown = read.map(|read| {
                let routes: Vec<_> = read.routes.iter().map(|route| (&*route.name.text, route.fingerprint)).collect();
                let credentials: Vec<_> =
                    read.credentials.iter().map(|draft| (&*draft.id, draft.fingerprint)).collect();
                let policies: Vec<_> = read.policies.iter().map(|policy| (&*policy.key, policy.fingerprint)).collect();
                format!("{routes:?} {credentials:?} {policies:?} {:?}", read.upstreams.keys())
            });
            let warnings = problems.warnings(&sources).to_string();
            Some((shown, warnings, problems.locate(&sources).to_string()))
        };
        let Some(cut) = pieces::cut_every(0, &sources.0[0].text, 1).and_then(|cut| read(Some(cut))) else { continue };
        in_pieces += 1;
        assert_eq!(Some(cut), read(None), "{}", sources.0[0].text);
    }
    assert!(in_pieces > 40, "{in_pieces}");
}
