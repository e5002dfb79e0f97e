//! The canonical request of Signature Version 4: one spelling for all requests that mean the same.
//!
//! AWS: "Create a signed AWS API request", step 1. A request that two servers could understand in two ways has no
//! spelling here and is refused, because a signature over one meaning would hold for the other.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use portcullis_plugin::http::HeaderMap;

use crate::scheme::Wrong;

/// The most parameters that a query may have: all of them are decoded and sorted before anyone is known.
pub(crate) const QUERY_PARAMETERS_MAX_COUNT: usize = 512;

/// Everything is encoded but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const ENCODED_IN_PATHS: &AsciiSet = &ENCODED.remove(b'/');

/// The way from the path on the wire to the path that is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathEncoding {
    /// Encoded as it stands, `%` too: a path that comes encoded is encoded twice.
    Double,
    /// Encoded once, as S3 has it: each segment is decoded first.
    Single,
}

/// The path in its canonical spelling. Dot segments and empty ones, which AWS removes for all services but S3, are not
/// looked for: the gateway refuses them before any plugin sees the request.
pub(crate) fn path(path: &str, encoding: PathEncoding) -> Result<String, Wrong> {
    if encoding == PathEncoding::Double {
        return Ok(utf8_percent_encode(path, ENCODED_IN_PATHS).to_string());
    }
    // Segment by segment, so that an encoded slash does not become one that separates: `/a%2Fb` is not `/a/b`.
    let segments: Result<Vec<_>, _> = path.split('/').map(|segment| Ok(encode(&decode(segment)?))).collect();
    Ok(segments?.join("/"))
}

/// The parameters of a query, each decoded, in the order of the query.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes a query. A bare `+` is a space to one server and a plus to the next, so it is refused; clients of AWS
    /// write `%20` and `%2B`.
    pub(super) fn read(query: Option<&str>) -> Result<Self, Wrong> {
        let parameters = || query.unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty());
        if parameters().nth(QUERY_PARAMETERS_MAX_COUNT).is_some() {
            return Err(Wrong::malformed("the query has too many parameters"));
        }
        if query.is_some_and(|query| query.contains('+')) {
            return Err(Wrong::malformed("the query has a `+`, which can be a space and a plus"));
        }
        let decoded = parameters().map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            Ok((decode(name)?, decode(value)?))
        });
        decoded.collect::<Result<_, _>>().map(Self)
    }

    /// Returns `true` if there is a parameter of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(of, _)| of == name)
    }

    /// The value of a parameter that is there once at most.
    pub(super) fn value(&self, name: &str) -> Result<Option<&str>, Wrong> {
        let mut values = self.0.iter().filter(|(of, _)| of == name).map(|(_, value)| value.as_str());
        let first = values.next();
        if values.next().is_some() { Err(Wrong::malformed("a parameter of the query twice")) } else { Ok(first) }
    }

    /// The canonical spelling, without the parameter `but`.
    pub(super) fn canonical(&self, but: &str) -> String {
        let kept = self.0.iter().filter(|(name, _)| name != but);
        let mut encoded: Vec<_> = kept.map(|(name, value)| (encode(name), encode(value))).collect();
        encoded.sort_unstable();
        encoded.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }
}

/// Appends one line for each of the headers: the name, and the values of all its lines with white space made plain.
pub(crate) fn headers(names: &[&str], headers: &HeaderMap, into: &mut Vec<u8>) -> Result<(), Wrong> {
    for name in names {
        into.extend_from_slice(name.as_bytes());
        let mut separator = b':';
        for line in headers.get_all(*name) {
            into.push(separator);
            plain(line.as_bytes(), into);
            separator = b',';
        }
        if separator == b':' {
            return Err(Wrong::incomplete("a signed header is not there"));
        }
        into.push(b'\n');
    }
    Ok(())
}

/// Appends a value without white space around it and with one space for each run of it inside.
fn plain(value: &[u8], into: &mut Vec<u8>) {
    let words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            into.push(b' ');
        }
        into.extend_from_slice(word);
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Decodes percent-encoding. A broken escape, or text that is not UTF-8 afterwards, is an error: it would be spelt like
/// something else.
fn decode(text: &str) -> Result<String, Wrong> {
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(is_escape) {
        return Err(Wrong::malformed("a bad escape in path or query"));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Cow::into_owned).map_err(|_| Wrong::malformed("path or query is not UTF-8"))
}
