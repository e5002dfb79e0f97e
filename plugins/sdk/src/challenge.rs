use std::borrow::Cow;

use crate::HeaderEdits;

/// A challenge for `WWW-Authenticate` (RFC 9110 section 11.3), without its realm: the engine adds the route's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The authentication scheme, such as `Bearer`.
    pub scheme: Cow<'static, str>,
    /// Its parameters; values are quoted by the engine.
    pub parameters: Vec<(&'static str, String)>,
    /// Headers that come with it, such as `DPoP-Nonce`. They go to every client that is challenged.
    pub headers: HeaderEdits,
}

impl Challenge {
    /// A challenge without parameters.
    pub fn new(scheme: impl Into<Cow<'static, str>>) -> Self {
        Self { scheme: scheme.into(), parameters: Vec::new(), headers: HeaderEdits::new() }
    }

    /// Adds a parameter.
    #[must_use]
    pub fn parameter(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.parameters.push((name, value.into()));
        self
    }

    /// Adds headers that come with it.
    #[must_use]
    pub fn with(self, headers: HeaderEdits) -> Self {
        Self { headers, ..self }
    }

    /// `Bearer error="insufficient_scope"` with the scopes that would be enough (RFC 6750 section 3.1); without them
    /// where none would be.
    pub fn insufficient_scope<'s>(scopes: impl IntoIterator<Item = &'s str>) -> Self {
        let scopes = scopes.into_iter().collect::<Vec<_>>().join(" ");
        let challenge = Self::new("Bearer").parameter("error", "insufficient_scope");
        if scopes.is_empty() { challenge } else { challenge.parameter("scope", scopes) }
    }

    /// Returns `true` for this scheme; its case does not matter.
    pub fn is_scheme(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }
}
