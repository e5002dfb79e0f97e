use http::HeaderName;

/// A header that belongs to the engine: an identity header, a framing header, one that names the client, or one by which
/// the gateway says something for itself.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is set by the gateway alone")]
pub struct ManagedHeader(pub HeaderName);

impl ManagedHeader {
    /// Returns `true` for headers that frame a message, belong to one connection, or choose where a message goes.
    pub fn is_framing(name: &HeaderName) -> bool {
        matches!(
            name.as_str(),
            "host"
                | "content-length"
                | "transfer-encoding"
                | "connection"
                | "upgrade"
                | "te"
                | "trailer"
                | "keep-alive"
                | "proxy-connection"
                | "expect"
        )
    }

    /// Returns `true` for headers that a plugin's answer, or an edit that is made before the response is known, cannot
    /// have: those of [`is_framing`](Self::is_framing), and those that the gateway writes for itself. A challenge is
    /// made by [`Challenge`](crate::Challenge).
    pub fn is_gateways(name: &HeaderName) -> bool {
        let is_own = matches!(
            name.as_str(),
            "x-request-id"
                | "strict-transport-security"
                | "www-authenticate"
                | "proxy-authenticate"
                | "grpc-status"
                | "grpc-message"
        );
        is_own || Self::is_framing(name)
    }

    /// Returns `true` for headers that make an answer of the gateway's own what it is, beside those of
    /// [`is_gateways`](Self::is_gateways): no other plugin changes them.
    pub fn is_of_own_answer(name: &HeaderName) -> bool {
        let is_its = matches!(name.as_str(), "cache-control" | "content-type" | "location" | "retry-after" | "allow");
        is_its || Self::is_gateways(name)
    }

    /// Returns the name if a plugin may write it into a response that the gateway makes.
    pub(crate) fn check(name: HeaderName) -> Result<HeaderName, Self> {
        if Self::is_gateways(&name) { Err(Self(name)) } else { Ok(name) }
    }
}
