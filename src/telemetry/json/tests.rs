use super::*;

fn escaped(text: &str) -> String {
    let mut line = Vec::new();
    escape(text, &mut line);
    String::from_utf8(line).unwrap()
}

#[test]
fn escaping_table() {
    let cases = [
        ("", ""),
        ("plain", "plain"),
        ("a \"b\"", r#"a \"b\""#),
        (r"c:\d", r"c:\\d"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\0\x1b[31m\x1f", r"\u0000\u001b[31m\u001f"),
        ("\x7f", r"\u007f"),
        ("\u{9b}31m", r"\u009b31m"),
        ("a\u{2028}b\u{202e}c\u{2069}\u{200f}", r"a\u2028b\u202ec\u2069\u200f"),
        ("\u{a0}ä€😀", "\u{a0}ä€😀"),
        ("/sixteen/bytes/and/more/\"", r#"/sixteen/bytes/and/more/\""#),
        ("ä/sixteen/bytes/and/more\n", r"ä/sixteen/bytes/and/more\n"),
    ];
    for (text, expected) in cases {
        assert_eq!(escaped(text), expected, "{text:?}");
    }
}

#[test]
fn every_character_survives_at_every_place_of_a_block() {
    for code in (0..0x200).chain([0xd7ff, 0xe000, 0xfffd, 0xffff, 0x1_0000, 0x10_ffff]) {
        let character = char::from_u32(code).unwrap();
        for before in 0..34 {
            let text = format!("{}{character}tail", "x".repeat(before));
            let line = format!("\"{}\"", escaped(&text));
            assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
    }
}

#[test]
fn broken_utf8_becomes_replacement_characters() {
    let mut line = Vec::new();
    Object::begin(&mut line).bytes("agent", b"a\xff\xc3(\xe2\x82\n\"z").end();
    assert_eq!(String::from_utf8(line.clone()).unwrap(), r#"{"agent":"a\ufffd\ufffd(\ufffd\n\"z"}"#);
    let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(value["agent"], "a\u{fffd}\u{fffd}(\u{fffd}\n\"z");
}

#[test]
fn an_object_with_everything() {
    let mut line = b"before ".to_vec();
    Object::begin(&mut line)
        .plain("time", |buffer| buffer.extend_from_slice(b"now"))
        .str("brace", "{")
        .opt_str("absent", None)
        .opt_str("present", Some("yes"))
        .num("big", u64::MAX)
        .num("small", 0u16)
        .strs("none", [])
        .strs("list", ["a", "[", "\""])
        .end();
    let expected = concat!(
        r#"before {"time":"now","brace":"{","present":"yes","big":18446744073709551615,"small":0,"#,
        r#""none":[],"list":["a","[","\""]}"#
    );
    assert_eq!(String::from_utf8(line).unwrap(), expected);
}

#[test]
fn a_cut_keeps_whole_characters() {
    for (text, max_bytes, expected) in [("abc", 3, "abc"), ("abc", 2, "ab"), ("aä", 2, "a"), ("€", 2, ""), ("", 0, "")]
    {
        assert_eq!(cut(text, max_bytes), expected);
    }
}
