//! The bytes that are allowed in each part of a head.

/// Returns whether a header value may contain this byte: text, white space, and bytes that RFC 9110 section 5.5 leaves
/// opaque. Written so that the compiler makes it a comparison of 16 bytes at once.
pub(super) const fn is_value_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) | (byte == b'\t')
}

/// Returns whether a header name may contain this byte (RFC 9110 section 5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// Characters of a header name (RFC 9110 section 5.6.2).
pub(super) const TOKEN: [bool; 256] = with_letters_and_digits(b"abcdefghijklmnopqrstuvwxyz!#$%&'*+-.^_`|~");
/// Characters of a method. Methods are case-sensitive, every registered one is upper case, and a server that folds
/// `get` into `GET` lets a client evade a rule for `GET`.
pub(super) const METHOD: [bool; 256] = with_letters_and_digits(b"-");
/// Characters of a host name.
pub(super) const HOST: [bool; 256] = with_letters_and_digits(b"abcdefghijklmnopqrstuvwxyz-._");

const fn with_letters_and_digits(more: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        table[byte as usize] = byte.is_ascii_uppercase() || byte.is_ascii_digit();
        byte += 1;
    }
    let mut at = 0;
    while at < more.len() {
        table[more[at] as usize] = true;
        at += 1;
    }
    table
}

/// Returns whether a request target may contain these bytes, in every version of HTTP.
///
/// Controls, spaces and bytes that are not ASCII are not allowed (RFC 9112 section 3.2; with a space a second version
/// could stand in the request line). What follows `#` is never sent to a server. Four more characters are in no URI,
/// and browsers escape them: the `http` crate does not accept them in either path or query, and Pingora would answer by
/// itself.
pub(crate) fn is_target(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |ok, byte| ok & TARGET[usize::from(*byte)])
}

const TARGET: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        table[byte as usize] = !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'`');
        byte += 1;
    }
    table
};
