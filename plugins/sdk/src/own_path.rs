//! Paths that belong to a policy.

use http::Method;

/// The most of a request's body on a path that says nothing else: a form is smaller.
const DEFAULT_MAX_BODY_BYTES: u64 = 64 << 10;

/// A path of a policy's own, on the hosts of the routes that use the policy: see [`Serve`](crate::Serve).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnPath {
    /// The path, without parameters, such as `/oauth/callback`.
    pub path: String,
    /// The methods that are answered; `GET` includes `HEAD`. Others get 405.
    pub methods: Vec<Method>,
    /// The largest body of a request; a larger one gets 413.
    pub max_body_bytes: u64,
}

impl OwnPath {
    /// Returns a path that is asked for by these methods.
    pub fn new(path: impl Into<String>, methods: impl IntoIterator<Item = Method>) -> Self {
        Self { path: path.into(), methods: methods.into_iter().collect(), max_body_bytes: DEFAULT_MAX_BODY_BYTES }
    }

    /// Sets the largest body of a request.
    #[must_use]
    pub fn max_body_bytes(self, max_body_bytes: u64) -> Self {
        Self { max_body_bytes, ..self }
    }
}
