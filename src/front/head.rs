//! The strict check of an HTTP/1 head, pure: bytes in, verdict out.
//!
//! Pingora's parser silently forwards or repairs much that another server reads differently: two lengths, a missing
//! Host, bare line feeds, a target that is not a path. Each of these has been a way past a gateway. A head that passes
//! here has only one reading (RFC 9112), and the result of [`Head::hand_over`] has its target in origin form, so that
//! Pingora's own repairs never run.
//!
//! One pass with tables: 245 bytes with eight header lines take about 160 ns.

use std::{net::Ipv6Addr, ops::Range};

use bytes::{Buf, BufMut, BytesMut};
use memchr::{memchr, memchr_iter};

use super::{
    fault::Fault,
    framing::{Chunks, Framing},
    grammar::{HOST, METHOD, TOKEN, is_target, is_value_byte},
};

pub(super) mod http2;

/// The longest head of a request, including the request line.
pub(crate) const MAX_HEAD_BYTES: usize = 32 << 10;
/// The most header lines of a request.
pub(crate) const MAX_HEAD_LINES: usize = 100;

/// The error text for a head of too many bytes.
pub(super) const TOO_MANY_BYTES: &str = "head of too many bytes";
const TOO_MANY_LINES: &str = "head of too many lines";
/// An order of magnitude below the largest `u64` and `i64`: no reader of a length this short overflows.
const CONTENT_LENGTH_DIGITS: usize = 18;

/// A head that passed, with the positions of its parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The position after a leading empty line, if there was one.
    start: usize,
    method: Range<usize>,
    target: Range<usize>,
    /// The position of the path: after the start of the target if that is in absolute form.
    path: usize,
    /// The position after the empty line.
    end: usize,
    /// The end of the request's body.
    framing: Framing,
}

/// Checks the head that `buf` begins with. `None`: no error so far, but the head is incomplete.
pub(super) fn check(buf: &[u8], max_bytes: usize, max_lines: usize) -> Result<Option<Head>, Fault> {
    let start = leading_empty_line(buf);
    let mut lines = Lines { buf, at: start };
    let Some(first) = lines.next()? else { return incomplete(buf, max_bytes) };
    let mut request = RequestLine::parse(first, start)?;
    let mut fields = Fields { is_http_11: request.is_http_11, ..Fields::default() };
    let mut left = max_lines;
    loop {
        let Some(line) = lines.next()? else { return incomplete(buf, max_bytes) };
        if lines.at > max_bytes {
            return Err(Fault::HeadTooLarge(TOO_MANY_BYTES));
        }
        if line.is_empty() {
            break;
        }
        left = left.checked_sub(1).ok_or(Fault::HeadTooLarge(TOO_MANY_LINES))?;
        fields.take(line).map_err(Fault::BadRequest)?;
    }
    fields.agree().map_err(Fault::BadRequest)?;
    request.settle_target(buf, fields.host).map_err(Fault::BadRequest)?;
    let RequestLine { method, target, path, .. } = request;
    Ok(Some(Head { start, method, target, path, end: lines.at, framing: fields.framing() }))
}

/// Returns whether a head ends in `buf`, in the strict spelling or a lax one. The first `seen` bytes are known to
/// contain no end.
pub(super) fn has_end(buf: &[u8], seen: usize) -> bool {
    // The last three bytes may be the beginning of an end.
    let from = seen.saturating_sub(3);
    memchr_iter(b'\n', &buf[from..]).any(|at| matches!(&buf[from + at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

impl Head {
    /// Returns the bytes for Pingora, which include as much of the request's body as has come, and separately those
    /// after the request. The bytes are unchanged, except that absolute form becomes origin form; its authority equals
    /// the Host.
    ///
    /// # Errors
    /// The body's chunks are malformed.
    pub(super) fn hand_over(&self, mut buf: BytesMut) -> Result<Request, &'static str> {
        let mut framing = self.framing;
        let ours = self.end + framing.advance(&buf[self.end..])?;
        let behind = if ours == buf.len() { BytesMut::new() } else { buf.split_off(ours) };
        if self.path == self.target.start {
            buf.advance(self.start);
            return Ok(Request { bytes: buf, behind, framing });
        }
        let mut anew = BytesMut::with_capacity(buf.len());
        anew.put_slice(&buf[self.method.clone()]);
        anew.put_u8(b' ');
        let path = &buf[self.path..self.target.end];
        if path.first() != Some(&b'/') {
            anew.put_u8(b'/');
        }
        anew.put_slice(&buf[self.path..]);
        Ok(Request { bytes: anew, behind, framing })
    }
}

/// A request whose head has been checked, with what has come of its body.
#[derive(Debug)]
pub(super) struct Request {
    /// Its head and the beginning of its body.
    pub(super) bytes: BytesMut,
    /// The bytes after the request.
    pub(super) behind: BytesMut,
    /// The part of the body that is still to come.
    pub(super) framing: Framing,
}

/// Returns the length of one empty line before the request line, which is skipped: old clients send it after a body
/// (RFC 9112 section 2.2).
fn leading_empty_line(buf: &[u8]) -> usize {
    if buf.starts_with(b"\r\n") { 2 } else { 0 }
}

fn incomplete(buf: &[u8], max_bytes: usize) -> Result<Option<Head>, Fault> {
    if buf.len() > max_bytes { Err(Fault::HeadTooLarge(TOO_MANY_BYTES)) } else { Ok(None) }
}

/// The lines of a head, each ended by CRLF and by nothing else.
struct Lines<'a> {
    buf: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<Option<&'a [u8]>, Fault> {
        let rest = &self.buf[self.at..];
        let Some(length) = memchr(b'\n', rest) else { return Ok(None) };
        // Some servers end the line at a bare LF, and others do not (RFC 9112 section 2.2).
        let line = rest[..length].strip_suffix(b"\r").ok_or(Fault::BadRequest("bare line feed"))?;
        self.at += length + 1;
        Ok(Some(line))
    }
}

/// `METHOD SP target SP HTTP/1.1`.
struct RequestLine {
    method: Range<usize>,
    target: Range<usize>,
    path: usize,
    is_http_11: bool,
}

impl RequestLine {
    /// Parses the line. One space ends the method and one begins the version; the target between them contains none.
    fn parse(line: &[u8], at: usize) -> Result<Self, Fault> {
        let (rest, is_http_11) = match line {
            [rest @ .., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'] => (rest, true),
            [rest @ .., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'] => (rest, false),
            _ => return Err(Fault::BadRequest("request line without HTTP/1.1 or HTTP/1.0")),
        };
        let length = rest.iter().position(|byte| !METHOD[usize::from(*byte)]).unwrap_or(rest.len());
        let method = &rest[..length];
        let Some((b' ', target)) = rest[length..].split_first().filter(|_| !method.is_empty()) else {
            return Err(Fault::BadRequest("method"));
        };
        if matches!(method, b"TRACE" | b"CONNECT") {
            return Err(Fault::MethodNotAllowed);
        }
        if !is_target(target) {
            return Err(Fault::BadRequest("byte in the target"));
        }
        let target_at = at + length + 1;
        Ok(Self { method: at..at + length, target: target_at..target_at + target.len(), path: target_at, is_http_11 })
    }

    /// Accepts origin form, or absolute form with the same authority as Host (RFC 9112 section 3.2). Servers disagree
    /// about the path of anything else.
    fn settle_target(&mut self, buf: &[u8], host: Option<&[u8]>) -> Result<(), &'static str> {
        let target = &buf[self.target.clone()];
        if target.first() == Some(&b'/') {
            return Ok(());
        }
        let scheme = [b"http://".as_slice(), b"https://"]
            .into_iter()
            .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
            .ok_or("target in neither origin nor absolute form")?;
        let rest = &target[scheme.len()..];
        let length = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        if !host.is_some_and(|host| host.eq_ignore_ascii_case(&rest[..length])) {
            return Err("target's authority is not the Host");
        }
        // Without a path it would be `OPTIONS *` (RFC 9112 section 3.2.4), which concerns a server and not a route.
        if length == rest.len() && &buf[self.method.clone()] == b"OPTIONS" {
            return Err("OPTIONS without a path");
        }
        self.path += scheme.len() + length;
        Ok(())
    }
}

/// The header lines that matter to the head itself.
#[derive(Default)]
struct Fields<'a> {
    is_http_11: bool,
    host: Option<&'a [u8]>,
    length: Option<u64>,
    is_chunked: bool,
    has_authorization: bool,
}

impl<'a> Fields<'a> {
    fn take(&mut self, line: &'a [u8]) -> Result<(), &'static str> {
        let length = line.iter().position(|byte| !TOKEN[usize::from(*byte)]).unwrap_or(line.len());
        let (name, rest) = line.split_at(length);
        let Some((b':', value)) = rest.split_first().filter(|_| !name.is_empty()) else {
            let is_folded = matches!(line.first(), Some(b' ' | b'\t'));
            return Err(if is_folded { "folded header line" } else { "header name" });
        };
        if !value.iter().fold(true, |ok, byte| ok & is_value_byte(*byte)) {
            return Err("byte in a header value");
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.take_host(value.trim_ascii()),
            13 if name.eq_ignore_ascii_case(b"authorization") => {
                once(&mut self.has_authorization, "two Authorization lines")
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.take_length(value.trim_ascii()),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.take_coding(value.trim_ascii()),
            _ => Ok(()),
        }
    }

    fn take_host(&mut self, value: &'a [u8]) -> Result<(), &'static str> {
        if self.host.replace(value).is_some() {
            return Err("two Host lines");
        }
        if is_authority(value) { Ok(()) } else { Err("Host") }
    }

    fn take_length(&mut self, value: &[u8]) -> Result<(), &'static str> {
        if self.length.is_some() {
            return Err("two Content-Length lines");
        }
        let is_number = (1..=CONTENT_LENGTH_DIGITS).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        if !is_number {
            return Err("Content-Length");
        }
        self.length = Some(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')));
        Ok(())
    }

    fn take_coding(&mut self, value: &[u8]) -> Result<(), &'static str> {
        once(&mut self.is_chunked, "two Transfer-Encoding lines")?;
        if value.eq_ignore_ascii_case(b"chunked") { Ok(()) } else { Err("Transfer-Encoding other than chunked") }
    }

    /// Returns the end of the request (RFC 9112 section 6.3). Without either line it has no body.
    fn framing(&self) -> Framing {
        if self.is_chunked { Framing::Chunked(Chunks::default()) } else { Framing::Length(self.length.unwrap_or(0)) }
    }

    fn agree(&self) -> Result<(), &'static str> {
        if self.is_http_11 && self.host.is_none() {
            return Err("no Host");
        }
        if self.is_chunked && self.length.is_some() {
            return Err("Content-Length with Transfer-Encoding");
        }
        // RFC 9112 section 6.1: faulty framing.
        if self.is_chunked && !self.is_http_11 {
            return Err("Transfer-Encoding in HTTP/1.0");
        }
        Ok(())
    }
}

/// Notes a header line that may appear only once.
fn once(has: &mut bool, twice: &'static str) -> Result<(), &'static str> {
    if std::mem::replace(has, true) { Err(twice) } else { Ok(()) }
}

/// Returns whether this is a host name or address, with or without a port. RFC 3986 section 3.2.2 allows more in a name
/// (escapes, commas, brackets elsewhere), but no real name contains these, and some servers read each of them
/// differently.
pub(crate) fn is_authority(value: &[u8]) -> bool {
    if let Some(rest) = value.strip_prefix(b"[") {
        let Some(length) = memchr(b']', rest) else { return false };
        let is_address = str::from_utf8(&rest[..length]).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok());
        return is_address && is_port(&rest[length + 1..]);
    }
    let length = value.iter().position(|byte| !HOST[usize::from(*byte)]).unwrap_or(value.len());
    let (name, port) = value.split_at(length);
    !name.is_empty() && !name.starts_with(b".") && !name.windows(2).any(|two| two == b"..") && is_port(port)
}

/// Returns whether this is empty, or a colon and a port.
fn is_port(rest: &[u8]) -> bool {
    let [b':', digits @ ..] = rest else { return rest.is_empty() };
    (1..=5).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && digits.iter().fold(0, |port, digit| port * 10 + u32::from(digit - b'0')) <= u32::from(u16::MAX)
}

#[cfg(test)]
mod tests;
