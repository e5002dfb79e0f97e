use std::str::FromStr;

use clap::Parser;
use portcullis_basic_auth::PasswordHash;

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: PasswordCommand,
}

/// Runs the command as a user types it, with this on standard input.
fn hash(line: &[&str], mut input: &[u8]) -> Result<String, String> {
    let cli = Cli::try_parse_from([&["password", "hash"], line].concat()).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    run(&cli.command, &mut out, &mut input)?;
    Ok(String::from_utf8(out).unwrap())
}

/// Returns the hash in the printed line.
fn printed(line: &str) -> &str {
    line.strip_prefix("password_hash = \"").and_then(|rest| rest.strip_suffix("\"\n")).expect("one line of TOML")
}

#[test]
fn the_line_that_is_printed_is_one_that_the_file_takes() {
    for (line, start) in
        [(&[][..], "$argon2id$"), (&["--algorithm", "argon2id"], "$argon2id$"), (&["--algorithm", "bcrypt"], "$2b$12$")]
    {
        let line = hash(line, "p\u{e4}ssw\u{f6}rd: twelve".as_bytes()).unwrap();
        assert!(printed(&line).starts_with(start) && !line.contains("twelve"), "{line}");
        PasswordHash::from_str(printed(&line)).unwrap();
    }
}

#[test]
fn one_newline_is_dropped_and_a_short_password_is_refused() {
    for none in ["", "\n", "\r\n"] {
        assert!(hash(&[], none.as_bytes()).unwrap_err().starts_with("no password came"), "{none:?}");
    }
    for short in ["eleven char", "eleven char\n", "eleven char\r\n", "elf Zeiche\u{f6}"] {
        let refused = hash(&[], short.as_bytes()).unwrap_err();
        assert!(refused.contains("fewer than 12 characters") && !refused.contains("eleven"), "{short:?}: {refused}");
    }
    for good in ["twelve chars", "twelve chars\n", "twelve chars\r\n", "zw\u{f6}lf Zeichen"] {
        assert!(hash(&[], good.as_bytes()).is_ok(), "{good:?}");
    }
    for wrong in ["two lines of\npassword", "twelve chars\n\n", "with a tab\tin it"] {
        assert!(hash(&[], wrong.as_bytes()).unwrap_err().contains("cannot be sent"), "{wrong:?}");
    }
    assert!(hash(&[], b"not UTF-8: \xff\xff\xff").unwrap_err().contains("cannot be sent"));
    assert!(hash(&[], &[b'p'; PASSWORD_MAX_BYTES + 1]).unwrap_err().contains("cannot be sent"));
    assert!(hash(&["--algorithm", "bcrypt"], &[b'p'; 73]).unwrap_err().contains("take argon2id"));
}

#[test]
fn a_password_is_no_argument() {
    assert!(hash(&["twelve chars"], b"").unwrap_err().contains("unexpected argument"));
    assert!(hash(&["--algorithm", "md5"], b"twelve chars").unwrap_err().contains("invalid value"));
}
