use std::sync::Arc;

use portcullis_jose::claims::Rule;
use portcullis_plugin::{
    Admit, Answer, BuildCx, BuildError, Hooks, Identity, Mention, NoCredential, OpenStream, Plugin, PluginError,
    Reason, Refusal, RequestCx, Verdict, http::Method,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Config,
    need::{NO_ENTRY, Need, Needs, are_met},
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

    /// The first claim that is not as it should be, or those of which none is. Never what it is: that is the token's.
    fn objection(&self, method: &Method, identity: &Identity) -> String {
        let mut tokens = identity.each().filter_map(|part| part.claims.as_deref()).peekable();
        if tokens.peek().is_none() {
            return "no token, and so no claims".to_owned();
        }
        let unmet = |claims| self.0.of(method).find_map(|need| unmet(need, claims));
        tokens.find_map(unmet).unwrap_or_else(|| NO_ENTRY.to_owned())
    }
}

impl Restriction {
    fn judge(&self, method: &Method, identity: &Identity) -> Verdict {
        let detail = || self.objection(method, identity);
        let refuse = || Verdict::Refuse(Refusal::forbidden(Reason::ClaimMismatch).detailed(detail()));
        if self.allows(method, identity) { Verdict::Allow } else { refuse() }
    }
}

impl Admit for Restriction {
    fn admit<'a>(
        &'a self,
        cx: &'a mut RequestCx<'_>,
        identity: &'a Arc<Identity>,
    ) -> Answer<'a, Result<Verdict, PluginError>> {
        Answer::Now(Ok(self.judge(cx.method(), identity)))
    }

    fn recheck<'a>(
        &'a self,
        stream: &'a OpenStream<'a>,
        identity: &'a Arc<Identity>,
    ) -> Answer<'a, Result<Verdict, PluginError>> {
        Answer::Now(Ok(self.judge(stream.method, identity)))
    }

    fn mentions(&self) -> Vec<Mention> {
        self.0.mentions()
    }
}

/// What of a need these claims do not meet.
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
