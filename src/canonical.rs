//! The one canonical path of a request.
//!
//! A gateway that matches one spelling of a path and forwards another can be walked around: `/admin%2f..%2fpublic`,
//! `//admin`, `/./admin` and `/admin;x` name different things to different servers. So a path is made canonical once,
//! and that one string is matched, authorised and forwarded. What two servers might read differently is refused.
//!
//! The rule, byte by byte:
//!
//! | in the request | canonical |
//! |---|---|
//! | escape of an unreserved character (RFC 3986 section 2.3), `%61` | the character, `a` |
//! | any other escape, `%3f` | kept, in upper case, `%3F`; an escape is never equal to the raw character |
//! | escapes from `%80` on | kept; together they must be well-formed UTF-8 (RFC 3629), so overlong forms are refused |
//! | raw space and the characters that RFC 3986 has no place for in a path: `"` `<` `>` `[` `]` `^` `` ` `` `{` `\|` `}` | their escape |
//! | `%2F` | kept; [`CanonicalPath::has_encoded_slash`] says so, and the route decides |
//! | `.` or `..` as a segment, in any spelling, also between encoded slashes | refused |
//! | `//`, `\`, `%5C`, raw `;` `?` `#`, controls raw or escaped, raw bytes from 0x80 on, incomplete escapes | refused |
//!
//! A raw space is for paths that are written by people, in a configuration or by a plugin: a request with one has been
//! refused before.
//!
//! Danger: code that looks at the path as it was received, or that decodes this one further before it decides, opens
//! the hole again. The result is a fixed point: making it canonical again changes nothing.

use std::borrow::Cow;

use thiserror::Error;

#[cfg(test)]
mod tests;

/// The longest path, in bytes, both as received and after it was made canonical: raw spaces become three bytes each.
pub(crate) const MAX_PATH_BYTES: usize = 16 * 1024;

/// A path that has one spelling only, without the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CanonicalPath<'r> {
    /// The path. It borrows from the request where that already was canonical.
    pub path: Cow<'r, str>,
    /// Set if the path has a `%2F`: data to this gateway, perhaps a separator to the server behind it.
    pub has_encoded_slash: bool,
}

/// The reason why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum PathFault {
    /// Absolute form, authority form, `*`, or nothing at all.
    #[error("the path does not begin with `/`")]
    NotAbsolute,
    /// `.` or `..`, which one server resolves and the next one treats as a name.
    #[error("the path has a `.` or `..` segment")]
    DotSegment,
    /// `//`, which some servers merge.
    #[error("the path has an empty segment (`//`)")]
    EmptySegment,
    /// `\` or `%5C`, which some servers take as `/`.
    #[error("the path has a backslash")]
    Backslash,
    /// A control character, raw or escaped: `%00` ends a string in some languages, `%0A` a line in some logs.
    #[error("the path has a control character")]
    Control,
    /// `;`, after which some servers cut a segment off.
    #[error("the path has a `;`")]
    Semicolon,
    /// A raw `?` or `#`: this is not a path alone.
    #[error("the path has a raw `?` or `#`")]
    Delimiter,
    /// `%` without two hexadecimal digits after it.
    #[error("the path has an incomplete percent-escape")]
    BadEscape,
    /// A raw byte outside ASCII.
    #[error("the path has a byte outside ASCII that is not percent-encoded")]
    NotAscii,
    /// Escapes that are not UTF-8 when decoded; overlong forms of `/` and `.` are among them.
    #[error("the path has percent-escapes that are not UTF-8")]
    NotUtf8,
    /// More than [`MAX_PATH_BYTES`].
    #[error("the path is longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
}

/// Makes `raw`, a path without its query, canonical; see the module for the rule.
pub(crate) fn canonical(raw: &[u8]) -> Result<CanonicalPath<'_>, PathFault> {
    if raw.first() != Some(&b'/') {
        return Err(PathFault::NotAbsolute);
    }
    if raw.len() > MAX_PATH_BYTES {
        return Err(PathFault::TooLong);
    }
    let mut has_encoded_slash = false;
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        match CLASSES[usize::from(byte)] {
            Class::Plain => at += 1 + plain_length(&raw[at + 1..]),
            Class::Slash => {
                check_segment(&raw[at + 1..])?;
                at += 1;
            }
            Class::Percent => match Escape::read(&raw[at..])? {
                Escape::Kept { length, is_upper: true } => {
                    has_encoded_slash |= check_encoded_slash(&raw[at..])?;
                    at += length;
                }
                Escape::Kept { .. } | Escape::Unreserved(_) => return rewritten(raw, at),
            },
            Class::Escaped => return rewritten(raw, at),
            Class::Refused => return Err(refusal(byte)),
        }
    }
    Ok(CanonicalPath { path: Cow::Borrowed(ascii(raw)), has_encoded_slash })
}

/// Returns the number of plain bytes that `rest` begins with: nearly all bytes of nearly all paths, so this loop does
/// nothing else.
fn plain_length(rest: &[u8]) -> usize {
    rest.iter().position(|byte| CLASSES[usize::from(*byte)] != Class::Plain).unwrap_or(rest.len())
}

/// Rewrites the path from `kept` on, the position of the first byte that is not canonical.
#[cold]
fn rewritten(raw: &[u8], kept: usize) -> Result<CanonicalPath<'_>, PathFault> {
    let mut path = String::with_capacity(raw.len() + 16);
    path.push_str(ascii(&raw[..kept]));
    let mut at = kept;
    while let Some(&byte) = raw.get(at) {
        at += match CLASSES[usize::from(byte)] {
            Class::Plain | Class::Slash => {
                path.push(char::from(byte));
                1
            }
            Class::Percent => match Escape::read(&raw[at..])? {
                Escape::Unreserved(character) => {
                    path.push(char::from(character));
                    3
                }
                Escape::Kept { length, .. } => {
                    path.extend(raw[at..at + length].iter().map(|byte| char::from(byte.to_ascii_uppercase())));
                    length
                }
            },
            Class::Escaped => {
                push_escape(&mut path, byte);
                1
            }
            Class::Refused => return Err(refusal(byte)),
        };
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(PathFault::TooLong);
    }
    // Only now: `%2e` has become a dot, and `%2f` a `%2F`.
    let has_encoded_slash = check_segments(path.as_bytes())?;
    Ok(CanonicalPath { path: Cow::Owned(path), has_encoded_slash })
}

/// Refuses dot segments and empty ones; returns whether there is a `%2F`.
fn check_segments(path: &[u8]) -> Result<bool, PathFault> {
    let mut has_encoded_slash = false;
    for (at, byte) in path.iter().enumerate() {
        match byte {
            b'/' => check_segment(&path[at + 1..])?,
            b'%' => has_encoded_slash |= check_encoded_slash(&path[at..])?,
            _ => {}
        }
    }
    Ok(has_encoded_slash)
}

/// Checks the segment that `rest`, the bytes after a slash, begins with.
fn check_segment(rest: &[u8]) -> Result<(), PathFault> {
    match rest.first() {
        Some(b'/') => Err(PathFault::EmptySegment),
        Some(b'.') if is_dot_segment(rest) => Err(PathFault::DotSegment),
        _ => Ok(()),
    }
}

/// Returns whether `rest` begins with `%2F`. A server that decodes it resolves the dot segment after it too, so that
/// one is refused even if the route accepts encoded slashes. `%2F%2F` is not: addresses as parameters often contain it.
fn check_encoded_slash(rest: &[u8]) -> Result<bool, PathFault> {
    let Some(after) = rest.strip_prefix(b"%2F") else { return Ok(false) };
    if is_dot_segment(after) { Err(PathFault::DotSegment) } else { Ok(true) }
}

fn is_dot_segment(rest: &[u8]) -> bool {
    let ([b'.', b'.', after @ ..] | [b'.', after @ ..]) = rest else { return false };
    after.is_empty() || after[0] == b'/' || after.starts_with(b"%2F")
}

/// A percent-escape, or the run of them that makes one character outside ASCII.
enum Escape {
    /// It stands for this unreserved character, and the character is the canonical form.
    Unreserved(u8),
    /// It stays an escape; `length` counts the bytes of the whole run.
    Kept { length: usize, is_upper: bool },
}

impl Escape {
    /// Parses the escape that `rest`, which begins with `%`, begins with.
    fn read(rest: &[u8]) -> Result<Self, PathFault> {
        let length = match escaped_byte(rest)? {
            byte if is_unreserved(byte) => return Ok(Self::Unreserved(byte)),
            0..=0x1F | 0x7F => return Err(PathFault::Control),
            b'\\' => return Err(PathFault::Backslash),
            0..=0x7F => 3,
            0x80.. => utf8_length(rest)?,
        };
        Ok(Self::Kept { length, is_upper: !rest[..length].iter().any(u8::is_ascii_lowercase) })
    }
}

/// Returns the byte that `%XY` at the front of `rest` stands for.
fn escaped_byte(rest: &[u8]) -> Result<u8, PathFault> {
    let [b'%', high, low, ..] = rest else { return Err(PathFault::BadEscape) };
    match (char::from(*high).to_digit(16), char::from(*low).to_digit(16)) {
        (Some(high), Some(low)) => Ok((high << 4 | low) as u8),
        _ => Err(PathFault::BadEscape),
    }
}

/// Returns the length in `rest` of the escapes that together are one character; its first byte is not ASCII.
fn utf8_length(rest: &[u8]) -> Result<usize, PathFault> {
    let mut character = [0; 4];
    let mut filled = 0;
    for escape in rest.chunks(3).take(character.len()) {
        if escape[0] != b'%' {
            break;
        }
        character[filled] = escaped_byte(escape)?;
        filled += 1;
        // The standard library rejects overlong forms, surrogates, and values beyond U+10FFFF.
        if std::str::from_utf8(&character[..filled]).is_ok() {
            return Ok(filled * 3);
        }
    }
    Err(PathFault::NotUtf8)
}

fn push_escape(path: &mut String, byte: u8) {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    path.extend(['%', digit(byte >> 4), digit(byte & 0xF)]);
}

fn ascii(checked: &[u8]) -> &str {
    std::str::from_utf8(checked).expect("every class that stays as it is holds ASCII only")
}

/// The treatment of a raw byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Slash,
    Percent,
    Escaped,
    Refused,
}

static CLASSES: [Class; 256] = {
    let mut classes = [Class::Refused; 256];
    let mut byte = 0;
    while byte < classes.len() {
        classes[byte] = class(byte as u8);
        byte += 1;
    }
    classes
};

const fn class(byte: u8) -> Class {
    match byte {
        b'/' => Class::Slash,
        b'%' => Class::Percent,
        // RFC 3986 section 3.3, pchar: unreserved, sub-delims, `:` and `@`. `;` is a sub-delim, and left out.
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@' => Class::Plain,
        b' ' | b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => Class::Escaped,
        _ if is_unreserved(byte) => Class::Plain,
        _ => Class::Refused,
    }
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Returns the fault of a raw byte of [`Class::Refused`].
const fn refusal(byte: u8) -> PathFault {
    match byte {
        b'\\' => PathFault::Backslash,
        b';' => PathFault::Semicolon,
        b'?' | b'#' => PathFault::Delimiter,
        0x80.. => PathFault::NotAscii,
        _ => PathFault::Control,
    }
}
