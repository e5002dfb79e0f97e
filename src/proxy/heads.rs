//! Small operations on Pingora's heads and sessions that several phases share.

use http::{Version, header, request::Parts};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

/// Returns an empty head, to stand in the place of one that is taken out of its session. It allocates nothing.
pub(super) fn empty() -> RequestHeader {
    RequestHeader::from(http::Request::new(()).into_parts().0)
}

/// Opens a head for many changes at once, and drops the original spelling of its header names.
///
/// Pingora keeps the spelling in a second map. To set one header through both, a name that is known is copied, parsed
/// and copied again: for the eleven that the gateway sets that made 17,600 instructions, where a bare proxy needs
/// 85,000 for a whole request. Header names have no case (RFC 9110 section 5.1), and HTTP/2 has lower case only.
///
/// The target is taken from the URI, so the path has to be the canonical one.
pub(super) fn open<T>(head: &mut RequestHeader, edit: impl FnOnce(&mut Parts) -> T) -> T {
    let mut parts = Parts::from(std::mem::replace(head, empty()));
    let outcome = edit(&mut parts);
    *head = RequestHeader::from(parts);
    outcome
}

/// Returns whether the head of the response has been sent.
pub(super) fn has_begun(session: &Session) -> bool {
    session.response_written().is_some_and(|head| !head.status.is_informational())
}

/// Returns whether the caller speaks gRPC: over HTTP/2 alone, and `application/grpc` or a kind of it.
pub(super) fn is_grpc(session: &Session) -> bool {
    let media_type = session.get_header_bytes(header::CONTENT_TYPE);
    let rest = media_type.strip_prefix(b"application/grpc");
    session.req_header().version == Version::HTTP_2 && rest.is_some_and(|rest| matches!(rest, [] | [b'+' | b';', ..]))
}
