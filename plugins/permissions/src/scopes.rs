use std::sync::Arc;

use portcullis_plugin::{
    BuildCx, BuildError, Challenge, Hooks, Identity, NoCredential, Plugin, Refusal, Verdict, http::Method,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Config,
    need::{Need, Needs, are_met, described},
    restriction::Restriction,
};

/// The plugin `scopes`: requirements on the scopes of the credential that speaks for a request (RFC 6749 section 3.3).
pub struct Scopes;

/// Lets a request pass by the scopes that its credential was given: at least one of `all`, `any` and `per_method`.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ScopesConfig(pub Config<String>);

impl Plugin for Scopes {
    const NAME: &'static str = "scopes";
    type Config = ScopesConfig;
    type Credential = NoCredential;

    fn build(config: Self::Config, _: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        Ok(Hooks::new().admit(Restriction { needs: Needs::new(config.0, |name| check(name))?, judge }))
    }
}

/// A scope that no authorization server can issue is one that nobody has.
fn check(scope: &str) -> Result<(), String> {
    // RFC 6749 section 3.3. A space stands between scopes and never in one; a quote would end the challenge's.
    let is_scope = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if scope.is_empty() {
        Err("is empty".to_owned())
    } else if scope.contains(' ') {
        Err(format!("`{}` is not one scope: write them as a list", scope.escape_debug()))
    } else if !scope.bytes().all(is_scope) {
        Err(format!("`{}` is not a scope: visible ASCII without quotes and backslashes", scope.escape_debug()))
    } else {
        Ok(())
    }
}

fn judge(needs: &Needs<String>, method: &Method, identity: &Identity) -> Verdict {
    let needs = needs.of(method);
    // Only scopes of the credential that speaks count: others add none. The wanted scopes are the operator's few; a
    // token brings as many as it likes, and they are walked in place.
    let has = are_met(needs.clone(), |scope| identity.scopes.contains(scope));
    if has { Verdict::Allow } else { Verdict::Refuse(refusal(needs.clone())) }
}

/// Lists scopes that would be enough: everything of `all`, and the first of each `any`, which may be a list of ever
/// more powerful scopes.
fn refusal<'n>(needs: impl Iterator<Item = &'n Need<String>> + Clone) -> Refusal {
    let detail = described(needs.clone());
    let mut scopes: Vec<&str> = Vec::new();
    for scope in needs.flat_map(|need| need.all.iter().chain(need.any.first())) {
        if !scopes.contains(&scope.as_str()) {
            scopes.push(scope);
        }
    }
    Refusal::insufficient_scope(Arc::new(Challenge::insufficient_scope(scopes))).detailed(detail)
}

#[cfg(test)]
mod tests;
