//! The components that a policy asks for, and whether a signature covers them.

use portcullis_plugin::http::HeaderName;

use super::component::{Component, Derived};
use crate::scheme::Wrong;

/// The components that every signature has to cover.
#[derive(Clone, Debug)]
pub(super) struct Minimum(Vec<Component>);

impl Minimum {
    /// A request cannot be turned into another one, nor sent to another host.
    pub(super) const DEFAULT: [&'static str; 4] = ["@method", "@authority", "@path", "@query"];

    /// From names, as a policy has them. The error has the index of the name that is wrong.
    pub(super) fn new(names: &[impl AsRef<str>]) -> Result<Self, Vec<(usize, String)>> {
        let (mut components, mut wrong) = (Vec::new(), Vec::new());
        for (index, name) in names.iter().map(AsRef::as_ref).enumerate() {
            match Component::named(name) {
                Err(_) => wrong.push((index, format!("`{}` is no component of a request", name.escape_debug()))),
                Ok(component) if components.contains(&component) => wrong.push((index, format!("`{name}` again"))),
                Ok(component) => components.push(component),
            }
        }
        if wrong.is_empty() { Ok(Self(components)) } else { Err(wrong) }
    }

    /// Checks that all of them are covered: by name, or by components that say the same.
    pub(super) fn check(&self, covered: &[(String, Component)]) -> Result<(), Wrong> {
        let is_met = |component: &Component| match component {
            Component::Derived(derived) => is_derived_covered(*derived, covered),
            other => covered.iter().any(|(_, covered)| covered == other),
        };
        let why = "a component that the policy asks for is not covered";
        if self.0.iter().all(is_met) { Ok(()) } else { Err(Wrong::incomplete(why)) }
    }

    /// Its names, for the challenge.
    pub(super) fn names(&self) -> String {
        let name = |component: &Component| match component {
            Component::Derived(derived) => derived.name().to_owned(),
            Component::QueryParameter(name) => format!("@query-param;name={name}"),
            Component::Field(name) => HeaderName::as_str(name).to_owned(),
        };
        self.0.iter().map(name).collect::<Vec<_>>().join(" ")
    }
}

/// `@target-uri` is made of scheme, authority, path and query, `@request-target` of path and query. Whoever signed the
/// whole signed the parts; whoever signed all the parts signed the whole. A query that is not there counts like any
/// other: without `@query` it could be added.
fn is_derived_covered(wanted: Derived, covered: &[(String, Component)]) -> bool {
    use Derived::{Authority, Method, Path, Query, RequestTarget, Scheme, TargetUri};
    let has = |derived| covered.iter().any(|(_, covered)| *covered == Component::Derived(derived));
    let is_target = || has(TargetUri) || has(RequestTarget) || (has(Path) && has(Query));
    match wanted {
        Method => has(Method),
        Path => has(Path) || is_target(),
        Query => has(Query) || is_target(),
        Authority => has(Authority) || has(TargetUri),
        Scheme => has(Scheme) || has(TargetUri),
        RequestTarget => is_target(),
        TargetUri => has(TargetUri) || (has(Scheme) && has(Authority) && is_target()),
    }
}

#[cfg(test)]
mod tests;
