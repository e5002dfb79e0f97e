//! The size of an HTTP/2 head, counted as if it had come in HTTP/1.
//!
//! HPACK encodes a repeated field in one byte, and the limit of `h2` (RFC 9113 section 6.5.2) does not count lines: a
//! thousand empty fields pass it, each of which takes a hundred bytes of memory.

use http::header;
use pingora::http::RequestHeader;

use super::{MAX_HEAD_BYTES, MAX_HEAD_LINES, TOO_MANY_BYTES, TOO_MANY_LINES};

/// The overhead that RFC 9113 section 6.5.2 adds to each field.
const FIELD_OVERHEAD_BYTES: usize = 32;
/// `:method`, `:scheme`, `:authority`, `:path`.
const PSEUDO_FIELDS: usize = 4;

/// The largest head that `h2` accepts: large enough for whatever HTTP/1's limits allow. It answers larger ones with 431
/// by itself, without a body, and ends the connection at four times as much.
pub(crate) const MAX_HEADER_LIST_BYTES: usize =
    MAX_HEAD_BYTES + FIELD_OVERHEAD_BYTES * (MAX_HEAD_LINES + PSEUDO_FIELDS);

/// The bytes that HTTP/1 adds to the method and the target, and after the last line.
const REQUEST_LINE_BYTES: usize = b"  HTTP/1.1\r\n\r\n".len();
/// The bytes that HTTP/1 adds to a name and a value.
const LINE_BYTES: usize = b": \r\n".len();

/// Checks that a head is within the limits of HTTP/1 heads. `:authority` counts as the Host line, and split cookies as
/// the one line that they become.
pub(crate) fn fits(head: &RequestHeader) -> Result<(), &'static str> {
    let mut bytes = REQUEST_LINE_BYTES + head.method.as_str().len() + head.raw_path().len();
    let mut lines = 0;
    if let Some(authority) = head.uri.authority()
        && !head.headers.contains_key(header::HOST)
    {
        bytes += LINE_BYTES + header::HOST.as_str().len() + authority.as_str().len();
        lines += 1;
    }
    let mut has_cookie = false;
    for (name, value) in &head.headers {
        bytes += value.len();
        if name == header::COOKIE && std::mem::replace(&mut has_cookie, true) {
            bytes += b"; ".len();
            continue;
        }
        bytes += LINE_BYTES + name.as_str().len();
        lines += 1;
    }
    if bytes > MAX_HEAD_BYTES {
        return Err(TOO_MANY_BYTES);
    }
    if lines > MAX_HEAD_LINES { Err(TOO_MANY_LINES) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: impl IntoIterator<Item = (&'static str, String)>) -> RequestHeader {
        let request = http::Request::post("http://a.example/path?query");
        let request = fields.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let mut head = RequestHeader::from(request.body(()).expect("a request").into_parts().0);
        head.set_version(http::Version::HTTP_2);
        head
    }

    /// The same head in HTTP/1.
    const BARE: usize = b"POST /path?query HTTP/1.1\r\nhost: a.example\r\n\r\n".len();

    #[test]
    fn lines_are_counted_as_over_http1() {
        let of = |fields| fits(&head((0..fields).map(|_| ("a", String::new()))));
        assert_eq!(of(MAX_HEAD_LINES - 1), Ok(()), "the authority is a line, too");
        assert_eq!(of(MAX_HEAD_LINES), Err(TOO_MANY_LINES));
        let with_host = |fields| fits(&head((0..fields).map(|_| ("host", "a.example".to_owned()))));
        assert_eq!(with_host(MAX_HEAD_LINES), Ok(()), "the authority is one of them");
        assert_eq!(with_host(MAX_HEAD_LINES + 1), Err(TOO_MANY_LINES));
    }

    #[test]
    fn bytes_are_counted_as_over_http1() {
        let of = |bytes: usize| fits(&head([("x-large", "x".repeat(bytes - BARE - b"x-large: \r\n".len()))]));
        assert_eq!(of(MAX_HEAD_BYTES), Ok(()));
        assert_eq!(of(MAX_HEAD_BYTES + 1), Err(TOO_MANY_BYTES));
    }

    #[test]
    fn crumbs_are_one_line_of_all_their_bytes() {
        let crumbs = |count: usize, bytes: usize| fits(&head((0..count).map(|_| ("cookie", "x".repeat(bytes)))));
        assert_eq!(crumbs(500, 10), Ok(()));
        let most = (MAX_HEAD_BYTES - BARE - b"cookie: \r\n".len() + 2) / 12;
        assert_eq!(crumbs(most, 10), Ok(()));
        assert_eq!(crumbs(most + 1, 10), Err(TOO_MANY_BYTES));
    }

    #[test]
    fn whatever_is_within_the_limits_passes_h2() {
        // By h2's count a field is 28 bytes larger, and the names of pseudo-header fields count as well.
        const { assert!(MAX_HEADER_LIST_BYTES >= MAX_HEAD_BYTES + (32 - LINE_BYTES) * MAX_HEAD_LINES + 4 * (32 + 10)) };
    }
}
