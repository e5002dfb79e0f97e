use clap::{Parser, error::ErrorKind};

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: KeyCommand,
}

/// The command as a user types it.
fn parse(line: &[&str]) -> Result<KeyCommand, clap::Error> {
    Cli::try_parse_from([&["key"], line].concat()).map(|cli| cli.command)
}

fn options(line: &[&str]) -> NewKey {
    match parse(&[&["new"], line].concat()) {
        Ok(KeyCommand::New(options)) => options,
        other => panic!("{other:?}"),
    }
}

fn new(line: &[&str]) -> String {
    let mut out = Vec::new();
    run(KeyCommand::New(options(line)), &mut out, &mut std::io::empty()).unwrap();
    String::from_utf8(out).unwrap()
}

fn hash(mut input: &[u8]) -> Result<String, String> {
    let mut out = Vec::new();
    run(KeyCommand::Hash, &mut out, &mut input)?;
    Ok(String::from_utf8(out).unwrap())
}

fn text(key: &Secret) -> &str {
    std::str::from_utf8(key.expose()).unwrap()
}

const NOON: Timestamp = Timestamp::constant(1_798_804_800, 999_999_999);

#[test]
fn base62_counts_like_any_other_base() {
    let number = |number: u64| String::from_utf8(base62::<6>(number.to_be_bytes()).to_vec()).unwrap();
    assert_eq!(number(0), "000000");
    assert_eq!(number(61), "00000z");
    assert_eq!(number(62), "000010");
    assert_eq!(number(62 * 62 + 62 * 10 + 36), "0001Aa");
    assert_eq!(number(62_u64.pow(6) - 1), "zzzzzz");
}

#[test]
fn all_256_bits_fit_into_43_characters() {
    let largest = base62::<43>([255; 32]);
    let decoded = largest.iter().fold([0_u8; 33], |mut number, letter| {
        let digit = match letter {
            b'0'..=b'9' => letter - b'0',
            b'A'..=b'Z' => letter - b'A' + 10,
            _ => letter - b'a' + 36,
        };
        let mut carry = u32::from(digit);
        for byte in number.iter_mut().rev() {
            carry += u32::from(*byte) * 62;
            *byte = (carry & 255) as u8;
            carry >>= 8;
        }
        number
    });
    assert_eq!(decoded[0], 0);
    assert_eq!(decoded[1..], [255; 32]);
}

#[test]
fn a_key_is_prefix_random_bits_and_checksum() {
    let key = new_key("sk_live_", [0; 32]);
    let (body, checksum) = text(&key).split_at(8 + 43);
    assert_eq!(body, format!("sk_live_{}", "0".repeat(43)));
    assert_eq!(checksum.as_bytes(), base62::<6>(crc32fast::hash(body.as_bytes()).to_be_bytes()));
    assert_eq!(new_key("", [255; 32]).expose().len(), 49);
    assert_ne!(text(&new_key("a", [0; 32]))[44..], text(&new_key("b", [0; 32]))[44..], "the prefix is covered");
}

#[test]
fn the_key_stands_alone_on_the_first_line_and_its_entry_beneath() {
    let printed = new(&["--prefix", "sk_live_", "--consumer", "acme", "--expires", "90d"]);
    let (key, entry) = printed.split_once("\n\n").unwrap();
    assert_eq!(key.len(), 8 + 43 + 6);
    assert!(key.starts_with("sk_live_") && is_well_formed(key.as_bytes()));
    assert!(!entry.contains(key), "the key is printed once");
    let entry: toml::Table = entry.parse().unwrap();
    let credential = &entry["consumers"]["acme"]["credentials"][0];
    assert_eq!(credential["use"].as_str(), Some("key-auth"));
    assert_eq!(credential["sha256"].as_str(), Some(KeyDigest::of(key.as_bytes()).to_string().as_str()));
    assert!(credential["id"].as_str().unwrap().starts_with("acme-2"));
    assert!(credential["created"].is_datetime() && credential["expires"].is_datetime());
}

#[test]
fn no_two_keys_are_the_same() {
    assert_ne!(new(&[]).lines().next(), new(&[]).lines().next());
}

#[test]
fn an_entry_has_whole_seconds_in_utc() {
    let key = new_key("", [7; 32]);
    let print = |line: &[&str]| entry(&options(line), &key, NOON).unwrap();
    let sha256 = KeyDigest::of(key.expose());
    assert_eq!(
        print(&["--consumer", "acme", "--expires", "90d"]),
        format!(
            "[[consumers.acme.credentials]]\nuse = \"key-auth\"\nid = \"acme-2027-01-01\"\nsha256 = \"{sha256}\"\n\
             created = 2027-01-01T12:00:00Z\nexpires = 2027-04-01T12:00:00Z\n"
        )
    );
    assert_eq!(
        print(&[]),
        format!(
            "[[consumers.NAME.credentials]]\nuse = \"key-auth\"\nid = \"key-2027-01-01\"\nsha256 = \"{sha256}\"\n\
             created = 2027-01-01T12:00:00Z\n"
        )
    );
    assert!(print(&["--id", "ci"]).contains("\nid = \"ci\"\n"));
    assert!(print(&["--expires", "1500ms"]).contains("\nexpires = 2027-01-01T12:00:01Z\n"));
}

#[test]
fn an_end_that_nobody_means_is_an_error() {
    for span in ["9000years", "500000000000years", "11years", "soon", ""] {
        assert!(parse(&["new", "--expires", span]).is_err(), "{span}");
    }
    assert!(parse(&["new", "--expires", "10years"]).is_ok());
}

#[test]
fn any_name_survives_the_way_through_toml() {
    for name in
        ["acme", "acme-1_b", "acme.eu", "a b", "\"]]\nuse = \"x", "back\\slash", "\u{7f}\u{85}\t", "m\u{fc}ller", "'"]
    {
        let entry = entry(&options(&["--consumer", name]), &new_key("", [7; 32]), NOON).unwrap();
        let table: toml::Table = entry.parse().unwrap_or_else(|error| panic!("{name:?}: {error}"));
        let credential = &table["consumers"][name]["credentials"][0];
        assert_eq!(credential["id"].as_str(), Some(format!("{name}-2027-01-01").as_str()));
    }
    assert_eq!(toml_key("acme-1_b"), "acme-1_b");
    assert_eq!(toml_key("acme.eu"), "\"acme.eu\"");
}

#[test]
fn hash_prints_the_line_to_paste() {
    let key = "k".repeat(32);
    let line = format!("sha256 = \"{}\"\n", KeyDigest::of(key.as_bytes()));
    for end in ["", "\n", "\r\n"] {
        assert_eq!(hash(format!("{key}{end}").as_bytes()).as_ref(), Ok(&line), "{end:?}");
    }
    let longest = "k".repeat(512);
    assert!(hash(longest.as_bytes()).is_ok() && hash(format!("{longest}\r\n").as_bytes()).is_ok());
}

#[test]
fn hash_refuses_what_is_no_key_and_does_not_repeat_it() {
    let long = "planted-".repeat(4);
    for (input, words) in [
        (String::new(), "fewer than 32"),
        (long[1..].to_owned(), "fewer than 32"),
        (format!("{}\n", &long[1..]), "fewer than 32"),
        (format!("{long}\n\n"), "this is no key"),
        (format!("{long} "), "this is no key"),
        (format!("{long}\n{long}"), "this is no key"),
        (format!("{long}\u{e9}"), "this is no key"),
        ("planted-".repeat(64) + "x", "this is no key"),
        ("planted-".repeat(65_536), "this is no key"),
    ] {
        let error = hash(input.as_bytes()).unwrap_err();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("planted"), "{error}");
    }
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let long = "x".repeat(33);
    for line in [
        &["new", "--prefix", "a b"][..],
        &["new", "--prefix", "m\u{fc}"],
        &["new", "--prefix", &long],
        &["new", "--consumer", ""],
        &["new", "--id", ""],
        &["new", "--expires", "90"],
        &["new", "--expires", "0s"],
    ] {
        assert_eq!(parse(line).unwrap_err().kind(), ErrorKind::ValueValidation, "{line:?}");
    }
    let key = parse(&["hash", "a-key-on-the-command-line"]).unwrap_err();
    assert_eq!(key.kind(), ErrorKind::UnknownArgument, "a key is no argument");
    assert_eq!(options(&["--prefix", &long[1..]]).prefix.len(), 32);
}
