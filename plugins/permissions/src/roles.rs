use std::sync::Arc;

use portcullis_plugin::{
    Admit, Answer, BuildCx, BuildError, Hooks, Identity, NoCredential, Plugin, PluginError, Reason, Refusal, RequestCx,
    Verdict,
};

use crate::{
    Config,
    need::{Needs, are_met},
};

/// The plugin `roles`: what the subject or the consumer is.
pub struct Roles;

impl Plugin for Roles {
    const NAME: &'static str = "roles";
    type Config = Config<String>;
    type Credential = NoCredential;

    fn build(config: Self::Config, _: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        Ok(Hooks::new().admit(Restriction(Needs::new(config, |name| check(name))?)))
    }
}

/// A role is whatever the issuer calls it, spaces and all.
fn check(role: &str) -> Result<(), String> {
    if role.is_empty() { Err("is empty".to_owned()) } else { Ok(()) }
}

struct Restriction(Needs<String>);

impl Admit for Restriction {
    fn admit<'a>(
        &'a self,
        cx: &'a mut RequestCx<'_>,
        identity: &'a Arc<Identity>,
    ) -> Answer<'a, Result<Verdict, PluginError>> {
        let needs = self.0.of(cx.method());
        let has = |part: &Identity| are_met(needs.clone(), |role| part.roles.contains(role));
        let refuse = || Verdict::Refuse(Refusal::forbidden(Reason::RoleMissing));
        Answer::Now(Ok(if identity.each().any(has) { Verdict::Allow } else { refuse() }))
    }
}

#[cfg(test)]
mod tests;
