use std::sync::Arc;

use portcullis_jose::claims::Rule;
use portcullis_plugin::{
    Admit, Answer, BuildCx, BuildError, Hooks, Identity, NoCredential, Plugin, PluginError, Reason, Refusal, RequestCx,
    Verdict, http::Method,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Config,
    need::{Needs, are_met},
};

/// The plugin `claims`: what a token has to say, claim by claim.
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
        // A rule that makes no sense does not come this far: reading it says so.
        Ok(Hooks::new().admit(Restriction(Needs::new(config.0, |_| Ok(()))?)))
    }
}

struct Restriction(Needs<Rule>);

impl Restriction {
    /// Whether there is a token, and every one there is fulfils the rules. One of two would not be enough: a claim that
    /// must be absent would be absent from the other.
    fn allows(&self, method: &Method, identity: &Identity) -> bool {
        let needs = self.0.of(method);
        let mut tokens = identity.each().filter_map(|part| part.claims.as_deref()).peekable();
        tokens.peek().is_some() && tokens.all(|claims| are_met(needs.clone(), |rule: &Rule| rule.holds(claims)))
    }
}

impl Admit for Restriction {
    fn admit<'a>(
        &'a self,
        cx: &'a mut RequestCx<'_>,
        identity: &'a Arc<Identity>,
    ) -> Answer<'a, Result<Verdict, PluginError>> {
        let refuse = || Verdict::Refuse(Refusal::forbidden(Reason::ClaimMismatch));
        Answer::Now(Ok(if self.allows(cx.method(), identity) { Verdict::Allow } else { refuse() }))
    }
}

#[cfg(test)]
mod tests;
