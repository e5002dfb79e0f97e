use std::sync::Arc;

use portcullis_plugin::{
    Admit, Answer, BuildCx, BuildError, Hooks, Identity, Mention, NoCredential, OpenStream, Plugin, PluginError,
    Reason, Refusal, RequestCx, Verdict, http::Method,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Config,
    need::{Needs, are_met, described},
};

/// The plugin `roles`: what the subject or the consumer is.
pub struct Roles;

/// Lets a request pass by the roles of its subject or consumer: at least one of `all`, `any` and `per_method`.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RolesConfig(pub Config<String>);

impl Plugin for Roles {
    const NAME: &'static str = "roles";
    type Config = RolesConfig;
    type Credential = NoCredential;

    fn build(config: Self::Config, _: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        Ok(Hooks::new().admit(Restriction(Needs::new(config.0, |name| check(name))?)))
    }
}

/// A role is whatever the issuer calls it, spaces and all.
fn check(role: &str) -> Result<(), String> {
    if role.is_empty() { Err("is empty".to_owned()) } else { Ok(()) }
}

struct Restriction(Needs<String>);

impl Restriction {
    fn judge(&self, method: &Method, identity: &Identity) -> Verdict {
        let needs = self.0.of(method);
        // Those of who speaks: what else was proven beside it adds none.
        let has = are_met(needs.clone(), |role| identity.roles.contains(role));
        let refusal = || Refusal::forbidden(Reason::RoleMissing).detailed(described(needs.clone()));
        if has { Verdict::Allow } else { Verdict::Refuse(refusal()) }
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

#[cfg(test)]
mod tests;
