//! The bytes that parts of a head are made of.

/// Text, white space, and bytes that RFC 9110 section 5.5 leaves opaque. Written so that the compiler makes it a
/// comparison of 16 bytes at once.
pub(super) const fn is_value_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) | (byte == b'\t')
}

/// Returns whether a header name holds this character (RFC 9110 section 5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// Characters of a header name (RFC 9110 section 5.6.2).
pub(super) const TOKEN: [bool; 256] = with_letters_and_digits(b"abcdefghijklmnopqrstuvwxyz!#$%&'*+-.^_`|~");
/// Characters of a method. It is case-sensitive, every registered one is upper case, and servers that fold `get` into
/// `GET` are how a rule for `GET` is passed by.
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

/// Returns whether a request target holds these bytes, in every version of HTTP.
///
/// Controls, spaces and bytes that are not ASCII have no place there (RFC 9112 section 3.2: a space is refused, and is
/// how a second version in the request line would pass). Behind `#` no server sees anything. Four more characters are in
/// no URI, and browsers escape them: the `http` crate cannot hold them in either path or query, and Pingora would answer
/// by itself.
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
