//! Header names that have a role of their own in HTTP, and are not free for identities or credentials.

use http::HeaderName;
use portcullis_plugin::ManagedHeader;

/// Returns whether a header describes the message: an identity in it would overwrite that.
pub(crate) fn is_message_metadata(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("content-") || matches!(name, "cookie" | "accept" | "range" | "user-agent" | "date")
}

/// Returns whether a header carries credentials: it must not be removed from every request.
pub(crate) fn is_authentication(name: &HeaderName) -> bool {
    matches!(name.as_str(), "authorization" | "proxy-authorization" | "proxy-authenticate" | "www-authenticate")
}

/// Returns whether the gateway itself writes a header about the client, after the identity.
pub(crate) fn is_about_client(name: &HeaderName) -> bool {
    matches!(name.as_str(), "forwarded" | "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host")
}

/// Returns whether a header frames a message or chooses its destination: only the engine writes these.
pub(crate) fn is_framing(name: &HeaderName) -> bool {
    ManagedHeader::is_framing(name)
}
