//! `portcullis key`: makes keys for `key-auth`, and the lines that go into the configuration in their place.
//!
//! A key is shown once, when it is made, and is kept nowhere: the configuration has its SHA-256. That is enough only
//! because a key has 256 random bits; `key hash` therefore refuses short ones. A key is read from standard input and
//! never taken as an argument, where the shell's history and every process list would show it.
//!
//! A key is `PREFIX`, 43 characters of Base62 for the random bits, and 6 characters of Base62 for the CRC-32 of all
//! that. The checksum lets scanners for leaked secrets tell keys from noise; it protects nothing.

use std::io::{Read, Write};

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use portcullis_key_auth::{KEY_MAX_BYTES, KeyDigest, is_well_formed};
use portcullis_plugin::{Secret, Span};
use serde::{
    Deserialize,
    de::{IntoDeserializer, value::Error as DecodeError},
};

use crate::config::CONSUMER_TO_NAME;

/// Makes keys, and the lines that go into the configuration in their place.
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Makes a key: prints it once on the first line, and beneath it the entry for the configuration.
    New(NewKey),
    /// Reads a key from standard input and prints the line for the configuration.
    ///
    /// The key may end with one newline. It has at least 32 characters: its hash is only as good as it is random.
    Hash,
}

/// The arguments of `portcullis key new`.
#[derive(Debug, Args)]
pub(super) struct NewKey {
    /// The prefix of the key, such as `sk_live_`: at most 32 visible ASCII characters.
    #[arg(long, default_value = "", hide_default_value = true, value_parser = parse_prefix)]
    pub prefix: String,
    /// The consumer that the key is for: the name in `[consumers.NAME]`.
    #[arg(long, value_parser = parse_name)]
    pub consumer: Option<String>,
    /// After which time the key ends, such as `90d`. Without it the key does not end.
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    pub expires: Option<Span>,
    /// The credential's name, as the logs will show it; the consumer and the date unless said.
    #[arg(long, value_parser = parse_name)]
    pub id: Option<String>,
}

/// The longest prefix of a new key, in characters.
const PREFIX_MAX_CHARS: usize = 32;

/// The shortest key that is hashed, in characters. Even of hexadecimal digits it has 128 bits.
const KEY_MIN_CHARS: usize = 32;

/// Runs the command. `new` asks the system for the time and for random bits; `hash` reads `input`.
///
/// # Errors
/// Returns what went wrong, in words that show no key.
pub(super) fn run(command: KeyCommand, out: &mut impl Write, input: &mut impl Read) -> Result<(), String> {
    let text = match command {
        KeyCommand::New(options) => {
            let mut random = [0; 32];
            getrandom::fill(&mut random).map_err(|error| format!("the system has no random bits: {error}"))?;
            let key = new_key(&options.prefix, random);
            let entry = entry(&options, &key, Timestamp::now())?;
            Secret::new([key.expose(), b"\n\n", entry.as_bytes()].concat())
        }
        KeyCommand::Hash => Secret::new(hash_line(&read_key(input)?).into_bytes()),
    };
    out.write_all(text.expose()).and_then(|()| out.flush()).map_err(|error| format!("cannot write: {error}"))
}

/// Returns a key from 256 random bits.
fn new_key(prefix: &str, random: [u8; 32]) -> Secret {
    let mut key = Vec::with_capacity(prefix.len() + RANDOM_CHARS + CHECKSUM_CHARS);
    key.extend_from_slice(prefix.as_bytes());
    key.extend_from_slice(&base62::<RANDOM_CHARS>(random));
    let checksum = crc32fast::hash(&key);
    key.extend_from_slice(&base62::<CHECKSUM_CHARS>(checksum.to_be_bytes()));
    Secret::new(key)
}

/// 62^43 is just above 2^256.
const RANDOM_CHARS: usize = 43;

/// 62^6 is above 2^32.
const CHECKSUM_CHARS: usize = 6;

/// Encodes a big-endian number in Base62, padded with zeros on the left to `CHARS` characters. All characters are
/// letters and digits, so that a double click selects a whole key.
fn base62<const CHARS: usize>(mut number: impl AsMut<[u8]>) -> [u8; CHARS] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = [0; CHARS];
    for digit in text.iter_mut().rev() {
        let mut rest = 0;
        for byte in number.as_mut() {
            let dividend = rest << 8 | usize::from(*byte);
            *byte = u8::try_from(dividend / 62).expect("the rest is below 62, so the quotient is below 256");
            rest = dividend % 62;
        }
        *digit = DIGITS[rest];
    }
    text
}

/// Returns the entry for the configuration. Without a consumer the table's name is left to fill in.
fn entry(options: &NewKey, key: &Secret, now: Timestamp) -> Result<String, String> {
    let in_seconds = |time: Timestamp| Timestamp::from_second(time.as_second()).map_err(|error| error.to_string());
    let created = in_seconds(now)?;
    let consumer = options.consumer.as_deref();
    let date = created.strftime("%Y-%m-%d");
    let id = options.id.clone().unwrap_or_else(|| format!("{}-{date}", consumer.unwrap_or("key")));
    let mut entry = format!(
        "[[consumers.{}.credentials]]\nuse = \"key-auth\"\nid = {}\n{}created = {created}\n",
        toml_key(consumer.unwrap_or(CONSUMER_TO_NAME)),
        toml_string(&id),
        hash_line(key),
    );
    if let Some(span) = options.expires {
        let too_far = |_| "`--expires` reaches beyond the year 9999".to_owned();
        let expires = SignedDuration::try_from(span.0).and_then(|span| created.checked_add(span)).map_err(too_far)?;
        entry += &format!("expires = {}\n", in_seconds(expires)?);
    }
    Ok(entry)
}

/// Returns the line with the hash of a key.
fn hash_line(key: &Secret) -> String {
    format!("sha256 = \"{}\"\n", KeyDigest::of(key.expose()))
}

/// Reads one key, without the newline that an editor or `echo` adds.
fn read_key(input: &mut impl Read) -> Result<Secret, String> {
    // One byte more than the longest key with its newline: enough to detect a longer one. Allocated at once, so that no
    // copy of the key is left behind when the buffer grows.
    const READ_MAX_BYTES: usize = KEY_MAX_BYTES + 3;
    let mut bytes = Vec::with_capacity(READ_MAX_BYTES + 1);
    let read = input.take(READ_MAX_BYTES as u64).read_to_end(&mut bytes);
    let text = Secret::new(bytes);
    read.map_err(|error| format!("cannot read the key: {error}"))?;
    let line = text.expose();
    let line = line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
    if line.len() < KEY_MIN_CHARS {
        return Err(format!(
            "the key has fewer than {KEY_MIN_CHARS} characters and could be guessed from its hash: \
             `portcullis key new` makes a good one"
        ));
    }
    if !is_well_formed(line) {
        return Err(format!("this is no key: at most {KEY_MAX_BYTES} visible ASCII characters, without spaces"));
    }
    Ok(Secret::new(line.to_vec()))
}

/// Returns a key of a TOML table, without quotes if possible.
fn toml_key(name: &str) -> String {
    let is_bare = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if !name.is_empty() && name.chars().all(is_bare) { name.to_owned() } else { toml_string(name) }
}

/// Returns a basic string of TOML, with quotes, backslashes and control characters escaped.
fn toml_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => quoted += &format!("\\u{:04X}", u32::from(letter)),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

fn parse_prefix(text: &str) -> Result<String, String> {
    if text.len() > PREFIX_MAX_CHARS || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("a prefix has at most {PREFIX_MAX_CHARS} visible ASCII characters"));
    }
    Ok(text.to_owned())
}

fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a name is not empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// Parses a length of time as the configuration writes it.
fn parse_span(text: &str) -> Result<Span, String> {
    let decoder = IntoDeserializer::<DecodeError>::into_deserializer(text);
    let span = Span::deserialize(decoder).map_err(|error| error.to_string())?;
    if span.0.as_secs() == 0 {
        return Err("a key that ends at once opens nothing".to_owned());
    }
    Ok(span)
}

#[cfg(test)]
mod tests;
