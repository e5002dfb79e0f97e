use std::borrow::Cow;

/// A challenge for `WWW-Authenticate` (RFC 9110 section 11.3), without its realm: the engine adds the route's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The authentication scheme, such as `Bearer`.
    pub scheme: Cow<'static, str>,
    /// Its parameters; values are quoted by the engine.
    pub parameters: Vec<(&'static str, String)>,
}

impl Challenge {
    /// `Bearer error="insufficient_scope"` with the scopes that would be enough (RFC 6750 section 3.1); without them
    /// where none would be.
    pub fn insufficient_scope<'s>(scopes: impl IntoIterator<Item = &'s str>) -> Self {
        let scopes = scopes.into_iter().collect::<Vec<_>>().join(" ");
        let error = ("error", "insufficient_scope".to_owned());
        let scope = (!scopes.is_empty()).then_some(("scope", scopes));
        Self { scheme: "Bearer".into(), parameters: [error].into_iter().chain(scope).collect() }
    }
}
