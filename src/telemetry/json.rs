//! A JSON object (RFC 8259), written straight into a byte buffer.
//!
//! Nothing is allocated but what the buffer needs to grow. Keys are constants and written as they are; values may come
//! from anywhere.
//!
//! # The danger
//! One line is one event: a raw line end in a value would let a client write events of its own. And people read logs in
//! terminals, so the controls that drive one are escaped too: DEL and the C1 range, which JSON would let pass, and
//! marks that turn the direction of text.

/// An object that is being written. Without [`Object::end`] it stays open.
#[must_use = "an object is only whole after `end`"]
pub(crate) struct Object<'a> {
    buffer: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    /// Opens an object at the end of `buffer`.
    pub(crate) fn begin(buffer: &'a mut Vec<u8>) -> Self {
        buffer.push(b'{');
        Self { buffer, is_empty: true }
    }

    /// Adds a text.
    #[inline]
    pub(crate) fn str(mut self, key: &'static str, value: &str) -> Self {
        self.key(key);
        quote(value, self.buffer);
        self
    }

    /// Adds a text that is known to need no escaping, because of what it was made from.
    #[inline]
    pub(crate) fn plain_str(self, key: &'static str, value: &str) -> Self {
        debug_assert!(value.bytes().all(is_plain), "{value:?}");
        self.plain(key, |line| line.extend_from_slice(value.as_bytes()))
    }

    /// Adds a text, if there is one.
    #[inline]
    pub(crate) fn opt_str(self, key: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.str(key, value),
            None => self,
        }
    }

    /// Adds bytes that should be text but need not be. Each sequence that is not UTF-8 becomes `\ufffd`.
    pub(crate) fn bytes(mut self, key: &'static str, value: &[u8]) -> Self {
        self.key(key);
        self.buffer.push(b'"');
        for chunk in value.utf8_chunks() {
            escape(chunk.valid(), self.buffer);
            if !chunk.invalid().is_empty() {
                self.buffer.extend_from_slice(br"\ufffd");
            }
        }
        self.buffer.push(b'"');
        self
    }

    /// Adds a whole number.
    #[inline]
    pub(crate) fn num(mut self, key: &'static str, value: impl Into<u64>) -> Self {
        self.key(key);
        self.buffer.extend_from_slice(itoa::Buffer::new().format(value.into()).as_bytes());
        self
    }

    /// Adds a list of texts.
    pub(crate) fn strs<'t>(mut self, key: &'static str, values: impl IntoIterator<Item = &'t str>) -> Self {
        self.key(key);
        self.buffer.push(b'[');
        for value in values {
            if self.buffer.last() != Some(&b'[') {
                self.buffer.push(b',');
            }
            quote(value, self.buffer);
        }
        self.buffer.push(b']');
        self
    }

    /// Adds an object inside of this one, with the fields that `fill` adds.
    pub(crate) fn object(mut self, key: &'static str, fill: impl FnOnce(Object<'_>) -> Object<'_>) -> Self {
        self.key(key);
        fill(Object::begin(self.buffer)).end();
        self
    }

    /// Adds a text that `write` appends and that needs no escaping: a time, an address.
    #[inline]
    pub(crate) fn plain(mut self, key: &'static str, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        self.key(key);
        self.buffer.push(b'"');
        write(self.buffer);
        self.buffer.push(b'"');
        self
    }

    /// Closes the object.
    pub(crate) fn end(self) {
        self.buffer.push(b'}');
    }

    /// Appends the comma, if one is due, and `"key":`. Inlined, so that constants are copied as constants.
    #[inline(always)]
    fn key(&mut self, key: &'static str) {
        debug_assert!(key.bytes().all(is_plain), "a key is a plain constant");
        let separator: &[u8] = if self.is_empty { b"\"" } else { b",\"" };
        self.is_empty = false;
        self.buffer.extend_from_slice(separator);
        self.buffer.extend_from_slice(key.as_bytes());
        self.buffer.extend_from_slice(b"\":");
    }
}

/// Returns at most the first `max_bytes` of a text, in whole characters.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    let end = (0..=max_bytes).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

#[inline]
fn quote(text: &str, into: &mut Vec<u8>) {
    into.push(b'"');
    escape(text, into);
    into.push(b'"');
}

/// Appends a text, escaped for the quotes of a JSON string.
#[inline]
pub(crate) fn escape(mut text: &str, into: &mut Vec<u8>) {
    loop {
        // Plain bytes are ASCII: the next byte begins a character.
        let (plain, rest) = text.split_at(plain_prefix(text.as_bytes()));
        into.extend_from_slice(plain.as_bytes());
        let Some(character) = rest.chars().next() else { return };
        escape_character(character, into);
        text = &rest[character.len_utf8()..];
    }
}

#[cold]
fn escape_character(character: char, into: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match character {
        '"' => into.extend_from_slice(br#"\""#),
        '\\' => into.extend_from_slice(br"\\"),
        '\n' => into.extend_from_slice(br"\n"),
        '\r' => into.extend_from_slice(br"\r"),
        '\t' => into.extend_from_slice(br"\t"),
        // C0, DEL and C1: all below U+0100.
        control if control.is_control() => {
            let code = control as usize;
            into.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[code >> 4 & 15], HEX[code & 15]]);
        }
        // Line ends that are none in JSON but in many programs, and marks that turn the direction of what people see.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            let code = character as usize;
            let digit = |shift: usize| HEX[code >> shift & 15];
            into.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
        }
        other => into.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Returns the length of the prefix that is ASCII and needs no escaping. Nearly all texts are plain from end to end, so
/// that is checked first, eight bytes at a time.
#[inline]
fn plain_prefix(bytes: &[u8]) -> usize {
    // The last eight may overlap those before them.
    if let Some(last) = bytes.last_chunk()
        && bytes.as_chunks().0.iter().chain([last]).all(|eight| are_plain(*eight))
    {
        return bytes.len();
    }
    bytes.iter().take_while(|&&byte| is_plain(byte)).count()
}

/// Applies [`is_plain`] to eight bytes at once. Each term sets the highest bit of a byte that is not plain; a borrow
/// from the byte below can only set one more, and only if that byte is not plain either.
#[inline]
fn are_plain(eight: [u8; 8]) -> bool {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let bytes = u64::from_ne_bytes(eight);
    let is_zero = |bytes: u64| bytes.wrapping_sub(EACH) & !bytes;
    let is = |byte: u8| is_zero(bytes ^ (EACH * u64::from(byte)));
    let is_control = bytes.wrapping_sub(EACH * 0x20) & !bytes;
    (bytes | is_control | is(0x7f) | is(b'"') | is(b'\\')) & (EACH * 0x80) == 0
}

#[inline]
fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

#[cfg(test)]
mod tests;
