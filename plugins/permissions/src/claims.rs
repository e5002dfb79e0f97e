use portcullis_jose::claims::Rule;
use portcullis_plugin::{
    BuildCx, BuildError, Hooks, Identity, NoCredential, Plugin, Reason, Refusal, Verdict, http::Method,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Config,
    need::{NO_ENTRY, Need, Needs, are_met},
    restriction::Restriction,
};

/// The plugin `claims`: requirements on the claims of a token.
pub struct Claims;

/// Lets a request pass by what its token says, claim by claim: at least one of `all`, `any` and `per_method`.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ClaimsConfig(pub Config<Rule>);

impl Plugin for Claims {
    const NAME: &'static str = "claims";
    type Config = ClaimsConfig;
    type Credential = NoCredential;

    fn build(config: Self::Config, _: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        // A rule that makes no sense was refused when it was read.
        Ok(Hooks::new().admit(Restriction { needs: Needs::new(config.0, |_| Ok(()))?, judge }))
    }
}

/// Returns whether there is a token and every one of them fulfils the rules. One of two would not be enough: a claim that
/// must be absent would be absent from the other.
fn allows(needs: &Needs<Rule>, method: &Method, identity: &Identity) -> bool {
    let needs = needs.of(method);
    let mut tokens = identity.each().filter_map(|part| part.claims.as_deref()).peekable();
    tokens.peek().is_some() && tokens.all(|claims| are_met(needs.clone(), |rule: &Rule| rule.holds(claims)))
}

/// Describes the first claim that does not meet the need, or those of which none does. It never shows a claim's value.
fn objection(needs: &Needs<Rule>, method: &Method, identity: &Identity) -> String {
    let mut tokens = identity.each().filter_map(|part| part.claims.as_deref()).peekable();
    if tokens.peek().is_none() {
        return "no token, and so no claims".to_owned();
    }
    let unmet = |claims| needs.of(method).find_map(|need| unmet(need, claims));
    tokens.find_map(unmet).unwrap_or_else(|| NO_ENTRY.to_owned())
}

fn judge(needs: &Needs<Rule>, method: &Method, identity: &Identity) -> Verdict {
    let detail = || objection(needs, method, identity);
    let refuse = || Verdict::Refuse(Refusal::forbidden(Reason::ClaimMismatch).detailed(detail()));
    if allows(needs, method, identity) { Verdict::Allow } else { refuse() }
}

/// Returns the part of a need that these claims do not meet.
fn unmet(need: &Need<Rule>, claims: &portcullis_plugin::Claims) -> Option<String> {
    if let Some(rule) = need.all.iter().find(|rule| !rule.holds(claims)) {
        return Some(format!("claim {}", rule.claim));
    }
    let is_met = need.any.is_empty() || need.any.iter().any(|rule| rule.holds(claims));
    let names = || need.any.iter().map(|rule| rule.claim.to_string()).collect::<Vec<_>>().join(", ");
    (!is_met).then(|| format!("none of the claims {}", names()))
}

#[cfg(test)]
mod tests;
