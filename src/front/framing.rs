//! Finds the end of a request's body independently of Pingora, and more strictly.
//!
//! Pingora parses chunks itself, and accepts what other servers may read differently: a bare line feed or a NUL in an
//! extension, white space after a size, trailers that are not header lines. nginx ends the line of a chunk at a line
//! feed; a load balancer that does the same sees another body than this gateway, and the difference is a smuggled
//! request. So the bytes are checked before Pingora gets them, and one that RFC 9112 section 7.1 does not allow ends
//! the request.
//!
//! A body with a length costs a subtraction for each read, and the data of chunks is skipped without looking at it.

use super::grammar::{is_token, is_value_byte};

/// The part of a request's body that is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes.
    Length(u64),
    /// Chunks, read up to a position.
    Chunked(Chunks),
    /// Everything that comes: the connection has been upgraded and carries no HTTP/1 requests any more.
    Endless,
}

impl Framing {
    /// Returns whether nothing is left.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunks { next: Next::Nothing, .. }))
    }

    /// Returns how many of these bytes belong to the request, the first of them being the next to come.
    ///
    /// # Errors
    /// A byte is not allowed where it is.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        match self {
            Self::Length(left) => {
                let ours = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= ours as u64;
                Ok(ours)
            }
            Self::Chunked(chunks) => chunks.advance(bytes),
            Self::Endless => Ok(bytes.len()),
        }
    }
}

/// The longest line of a chunk's size with its extensions, which nobody uses.
const MAX_SIZE_LINE_BYTES: u32 = 256;
/// The most hexadecimal digits of a chunk's size: no reader of a size this short overflows, and larger ones do not
/// exist.
const MAX_SIZE_DIGITS: u8 = 15;
/// The most bytes that the chunks of one body may take beside its data. A body of nothing but one-byte chunks with long
/// extensions makes work that no limit of the body's size detects (CVE-2023-39326).
const MAX_OVERHEAD_BYTES: u32 = 16 << 10;
/// The overhead of a chunk that does not count: its size, two line ends, and some zeros.
const FREE_OVERHEAD_BYTES: u32 = 16;
/// The most bytes of a trailer section, which is discarded.
const MAX_TRAILER_BYTES: u32 = 8 << 10;

/// A position in a chunked body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunks {
    next: Next,
    /// The size of the current chunk, and the number of bytes of its data still to come.
    size: u64,
    left: u64,
    digits: u8,
    /// The length of the size line, or of the trailer section, so far.
    line_bytes: u32,
    overhead_bytes: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Size,
    /// White space before an extension (`BWS`, which a recipient must accept).
    BeforeExtension,
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    /// The first byte of a trailer line, or the return that ends the section.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    LastLineFeed,
    Nothing,
}

impl Chunks {
    fn advance(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let mut at = 0;
        while at < bytes.len() && self.next != Next::Nothing {
            if self.next == Next::Data {
                let skipped = (bytes.len() - at).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= skipped as u64;
                at += skipped;
                if self.left == 0 {
                    self.next = Next::DataReturn;
                }
                continue;
            }
            self.next = self.step(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    /// Processes a byte that is not data.
    fn step(&mut self, byte: u8) -> Result<Next, &'static str> {
        match (self.next, byte) {
            (Next::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte),
            (Next::Size | Next::BeforeExtension, b' ' | b'\t') if self.digits > 0 => {
                self.of_size_line(Next::BeforeExtension)
            }
            (Next::Size | Next::BeforeExtension, b';') if self.digits > 0 => self.of_size_line(Next::Extension),
            (Next::Size | Next::Extension, b'\r') if self.digits > 0 => self.of_size_line(Next::SizeLineFeed),
            (Next::Size | Next::BeforeExtension, _) => Err("chunk size"),
            (Next::Extension, _) if is_value_byte(byte) => self.of_size_line(Next::Extension),
            (Next::Extension, _) => Err("byte in a chunk extension"),
            (Next::SizeLineFeed, b'\n') => self.begin_data(),
            (Next::DataReturn, b'\r') => Ok(Next::DataLineFeed),
            (Next::DataLineFeed, b'\n') => Ok(Next::Size),
            (Next::DataReturn | Next::DataLineFeed, _) => Err("chunk longer than its size"),
            (Next::Trailer, b'\r') => Ok(Next::LastLineFeed),
            (Next::Trailer | Next::TrailerName, _) if is_token(byte) => self.of_trailer(Next::TrailerName),
            (Next::TrailerName, b':') => self.of_trailer(Next::TrailerValue),
            (Next::TrailerValue, b'\r') => self.of_trailer(Next::TrailerLineFeed),
            (Next::TrailerValue, _) if is_value_byte(byte) => self.of_trailer(Next::TrailerValue),
            (Next::TrailerLineFeed, b'\n') => self.of_trailer(Next::Trailer),
            (Next::LastLineFeed, b'\n') => Ok(Next::Nothing),
            (Next::SizeLineFeed | Next::TrailerLineFeed | Next::LastLineFeed, _) => {
                Err("bare carriage return in chunks")
            }
            (Next::Trailer | Next::TrailerName | Next::TrailerValue, _) => Err("trailer line"),
            (Next::Data | Next::Nothing, _) => Ok(self.next),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<Next, &'static str> {
        self.digits += 1;
        if self.digits > MAX_SIZE_DIGITS {
            return Err("chunk size of too many digits");
        }
        self.size = self.size << 4 | u64::from(char::from(byte).to_digit(16).unwrap_or(0));
        self.of_size_line(Next::Size)
    }

    fn of_size_line(&mut self, next: Next) -> Result<Next, &'static str> {
        self.line_bytes += 1;
        if self.line_bytes > MAX_SIZE_LINE_BYTES { Err("chunk extension too long") } else { Ok(next) }
    }

    /// Ends the line of a size: data of that size comes, or the end.
    fn begin_data(&mut self) -> Result<Next, &'static str> {
        // Two bytes for each byte of data are free as well: a client that sends one byte at a time in plain chunks is
        // no attacker.
        let free = u64::from(FREE_OVERHEAD_BYTES).saturating_add(self.size.saturating_mul(2));
        let free = u32::try_from(free).unwrap_or(u32::MAX);
        self.overhead_bytes = self.overhead_bytes.saturating_add(self.line_bytes.saturating_sub(free));
        if self.overhead_bytes > MAX_OVERHEAD_BYTES {
            return Err("chunk extensions too long");
        }
        let next = if self.size == 0 { Next::Trailer } else { Next::Data };
        *self = Self { left: self.size, overhead_bytes: self.overhead_bytes, ..Self::default() };
        Ok(next)
    }

    fn of_trailer(&mut self, next: Next) -> Result<Next, &'static str> {
        self.line_bytes += 1;
        if self.line_bytes > MAX_TRAILER_BYTES { Err("trailers too long") } else { Ok(next) }
    }
}

#[cfg(test)]
mod tests;
