//! Header names that have a role of their own in HTTP, and are not free for identities or credentials.

use http::HeaderName;
use portcullis_plugin::ManagedHeader;

/// Headers that say what a message is: whoever wrote an identity into them would overwrite that.
pub(crate) fn is_message_metadata(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("content-") || matches!(name, "cookie" | "accept" | "range" | "user-agent" | "date")
}

/// Headers in which credentials travel: removed from every request they would be missing everywhere.
pub(crate) fn is_authentication(name: &HeaderName) -> bool {
    matches!(name.as_str(), "authorization" | "proxy-authorization" | "proxy-authenticate" | "www-authenticate")
}

/// Headers in which the gateway itself tells about the client, after the identity.
pub(crate) fn is_about_client(name: &HeaderName) -> bool {
    matches!(name.as_str(), "forwarded" | "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host")
}

/// Headers that frame a message or choose where it goes: nothing but the engine writes them.
pub(crate) fn is_framing(name: &HeaderName) -> bool {
    ManagedHeader::is_framing(name)
}
