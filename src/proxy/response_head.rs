//! The head of an upstream's answer: refused where it can be read in two ways, and without what holds between the
//! upstream and the gateway alone.
//!
//! Pingora reads a head as leniently as it can, and writes what it has read. What it decides about the body it decides
//! before, from its own copy; so a head that two readers would frame differently must not go on.

use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};
use portcullis_plugin::Places;

/// Fields that every connection has for itself (RFC 9110 section 7.6.1). `Transfer-Encoding` is another one: Pingora
/// frames the answer by it.
const OF_THE_CONNECTION: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::UPGRADE,
];

/// The request that an answer is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The version of the client's request.
    pub version: Version,
    /// Set if it asked for an upgrade.
    pub wants_upgrade: bool,
}

/// Takes the head of an answer as it came, informational ones too.
///
/// # Errors
/// It is no valid answer to what was asked: 502.
pub(super) fn receive(head: &mut ResponseHeader, asked: Asked) -> Result<()> {
    check_upgrade(head, asked)?;
    let fields = Fields::of(head);
    if fields.has_transfer_coding {
        check_transfer_coding(head)?;
    }
    if fields.has_length {
        one_length(head)?;
    }
    if has_no_content(head.status) {
        head.remove_header(&header::CONTENT_LENGTH);
        head.remove_header(&header::TRANSFER_ENCODING);
    }
    // It says how long the answer to a GET would be. An HTTP/2 client may take it for the length of this one.
    if head.status == StatusCode::NOT_MODIFIED && asked.version == Version::HTTP_2 {
        head.remove_header(&header::CONTENT_LENGTH);
    }
    if fields.has_hop_by_hop {
        remove_hop_by_hop(head)?;
    }
    // Whatever the upstream speaks: it is the gateway that answers (RFC 9112 section 2.3).
    head.set_version(Version::HTTP_11);
    Ok(())
}

/// Removes the cookies that only policies may set.
///
/// # Errors
/// None that can occur: what is put back was there before.
pub(super) fn remove_cookies(head: &mut ResponseHeader, of_policies: &Places) -> Result<()> {
    let is_foreign = |line: &HeaderValue| of_policies.has_set_cookie(line.as_bytes());
    if !head.headers.get_all(header::SET_COOKIE).iter().any(is_foreign) {
        return Ok(());
    }
    let kept: Vec<HeaderValue> =
        head.headers.get_all(header::SET_COOKIE).iter().filter(|line| !is_foreign(line)).cloned().collect();
    head.remove_header(&header::SET_COOKIE);
    kept.into_iter().try_for_each(|line| head.append_header(header::SET_COOKIE, line).map(drop))
}

/// The fields of a head that have to be looked at. One look at the few names there are costs less than to ask the map
/// for each that may be there.
#[derive(Clone, Copy, Default)]
struct Fields {
    has_transfer_coding: bool,
    has_length: bool,
    has_hop_by_hop: bool,
}

impl Fields {
    fn of(head: &ResponseHeader) -> Self {
        let mut fields = Self::default();
        for name in head.headers.keys() {
            fields.has_transfer_coding |= name == header::TRANSFER_ENCODING;
            fields.has_length |= name == header::CONTENT_LENGTH;
            fields.has_hop_by_hop |= OF_THE_CONNECTION.contains(name);
        }
        fields
    }
}

/// Returns whether a response has no body (RFC 9110 sections 8.6 and 15.2).
fn has_no_content(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}

/// Checks a 101: after it the connection is no HTTP any more, on both sides or on none.
fn check_upgrade(head: &ResponseHeader, asked: Asked) -> Result<()> {
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    if !asked.wants_upgrade || asked.version != Version::HTTP_11 || head.version != Version::HTTP_11 {
        return invalid("a 101 that nobody asked for");
    }
    let protocols = head.headers.get_all(header::UPGRADE).iter();
    let mut protocols = protocols.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let is_websocket = |protocol: &[u8]| protocol.trim_ascii().eq_ignore_ascii_case(b"websocket");
    // Nothing else is ever asked for.
    if !protocols.next().is_some_and(is_websocket) || protocols.next().is_some() {
        return invalid("a 101 to another protocol");
    }
    Ok(())
}

/// Checks the transfer coding (RFC 9112 section 6.1): HTTP/1.0 has none, and none but `chunked` may be used that was
/// not asked for (`TE`).
fn check_transfer_coding(head: &ResponseHeader) -> Result<()> {
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if head.version != Version::HTTP_11 {
        return invalid("a transfer coding in an answer of HTTP/1.0");
    }
    if codings.next().is_some() || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return invalid("a transfer coding other than chunked");
    }
    Ok(())
}

/// A length that is repeated becomes one (RFC 9110 section 8.6); Pingora has refused those that differ.
fn one_length(head: &mut ResponseHeader) -> Result<()> {
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(()) };
    let is_one = lengths.next().is_none();
    if is_one && first.as_bytes().iter().all(u8::is_ascii_digit) {
        return Ok(());
    }
    let length = first.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    let length = std::str::from_utf8(length).ok().and_then(|length| length.parse::<u64>().ok());
    let Some(length) = length else { return invalid("a length that is none") };
    head.insert_header(header::CONTENT_LENGTH, length)
}

/// The options of `Connection` beside the names of fields (RFC 9112 section 9, RFC 9110 section 7.8): nearly always
/// nothing else.
const OPTIONS: [&[u8]; 3] = [b"close", b"keep-alive", b"upgrade"];

fn remove_hop_by_hop(head: &mut ResponseHeader) -> Result<()> {
    let upgrade = head.headers.get(header::UPGRADE).cloned();
    // Gathered first, because a header map cannot be walked and changed at once; mostly there are none.
    let named: Vec<HeaderName> = head
        .headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !OPTIONS.iter().any(|option| option.eq_ignore_ascii_case(name)))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        // The body is framed by these, whoever names them.
        .filter(|name| ![header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(name))
        .collect();
    named.iter().chain(&OF_THE_CONNECTION).for_each(|name| _ = head.remove_header(name));
    if let Some(upgrade) = upgrade.filter(|_| head.status == StatusCode::SWITCHING_PROTOCOLS) {
        head.insert_header(header::UPGRADE, upgrade)?;
        head.insert_header(header::CONNECTION, "upgrade")?;
    }
    Ok(())
}

fn invalid<T>(why: &'static str) -> Result<T> {
    let mut error = Error::new(ErrorType::new(why));
    error.as_up();
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP1: Asked = Asked { version: Version::HTTP_11, wants_upgrade: false };
    const HTTP2: Asked = Asked { version: Version::HTTP_2, wants_upgrade: false };
    const UPGRADE: Asked = Asked { version: Version::HTTP_11, wants_upgrade: true };

    fn head(version: Version, status: u16, lines: &[(&'static str, &'static str)]) -> ResponseHeader {
        let mut head = ResponseHeader::build(status, None).expect("a status");
        head.set_version(version);
        lines.iter().for_each(|(name, value)| _ = head.append_header(*name, *value).expect("a header"));
        head
    }

    /// What is left of a head, in order of the names; `None`: it is refused.
    fn left(
        asked: Asked,
        version: Version,
        status: u16,
        lines: &[(&'static str, &'static str)],
    ) -> Option<Vec<String>> {
        let mut head = head(version, status, lines);
        receive(&mut head, asked).ok()?;
        assert_eq!(head.version, Version::HTTP_11);
        let line =
            |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().expect("visible ASCII"));
        let mut left: Vec<String> = head.headers.iter().map(line).collect();
        left.sort();
        Some(left)
    }

    #[test]
    fn what_belongs_to_the_connection_does_not_pass() {
        let lines = [
            ("Connection", "X-Hop, keep-alive,,x-other"),
            ("connection", "X-Third, Content-Length"),
            ("x-hop", "1"),
            ("X-Hop", "2"),
            ("x-other", "3"),
            ("x-third", "4"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("x-kept", "5"),
            ("content-length", "2"),
        ];
        for asked in [HTTP1, HTTP2, UPGRADE] {
            let kept = left(asked, Version::HTTP_11, 200, &lines).expect("a valid answer");
            assert_eq!(kept, ["content-length: 2", "x-kept: 5"]);
        }
        assert_eq!(left(HTTP1, Version::HTTP_11, 103, &lines[..6]), Some(Vec::new()), "nor in a 103");
    }

    #[test]
    fn a_body_is_framed_in_one_way() {
        let length = |lengths: &[&'static str]| {
            let lines: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
            left(HTTP1, Version::HTTP_11, 200, &lines)
        };
        let two = Some(vec!["content-length: 2".to_owned()]);
        assert_eq!([length(&["2", "2"]), length(&["2, 2"]), length(&["2"])], [two.clone(), two.clone(), two]);
        let coding = |version, codings: &[&'static str]| {
            let lines: Vec<_> = codings.iter().map(|coding| ("transfer-encoding", *coding)).collect();
            left(HTTP1, version, 200, &lines).is_some()
        };
        assert!(coding(Version::HTTP_11, &["Chunked"]));
        assert!(!coding(Version::HTTP_10, &["chunked"]));
        for codings in [&["gzip, chunked"][..], &["identity"], &["chunked", "chunked"], &["chunked, chunked"], &[""]] {
            assert!(!coding(Version::HTTP_11, codings), "{codings:?}");
        }
    }

    #[test]
    fn what_has_no_body_has_no_length() {
        let lines = [("content-length", "2")];
        let kept = |asked, status| left(asked, Version::HTTP_11, status, &lines).expect("a valid answer").len();
        assert_eq!([kept(HTTP1, 204), kept(HTTP2, 204), kept(HTTP1, 100)], [0, 0, 0]);
        assert_eq!([kept(HTTP1, 304), kept(HTTP2, 304), kept(HTTP2, 200)], [1, 0, 1]);
    }

    #[test]
    fn a_101_is_the_answer_to_an_upgrade_to_websocket() {
        let websocket = [("upgrade", "WebSocket"), ("connection", "Upgrade, X-Hop"), ("x-hop", "1")];
        let kept = left(UPGRADE, Version::HTTP_11, 101, &websocket);
        assert_eq!(kept, Some(vec!["connection: upgrade".to_owned(), "upgrade: WebSocket".to_owned()]));
        for (asked, version, protocol) in [
            (HTTP1, Version::HTTP_11, "websocket"),
            (HTTP2, Version::HTTP_11, "websocket"),
            (UPGRADE, Version::HTTP_10, "websocket"),
            (UPGRADE, Version::HTTP_2, "websocket"),
            (UPGRADE, Version::HTTP_11, "h2c"),
            (UPGRADE, Version::HTTP_11, "websocket, h2c"),
        ] {
            assert_eq!(left(asked, version, 101, &[("upgrade", protocol)]), None, "{asked:?} {version:?} {protocol}");
        }
        assert_eq!(left(UPGRADE, Version::HTTP_11, 101, &[]), None);
    }
}
