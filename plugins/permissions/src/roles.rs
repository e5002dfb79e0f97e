use portcullis_plugin::{
    BuildCx, BuildError, Hooks, Identity, NoCredential, Plugin, Reason, Refusal, Verdict, http::Method,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Config,
    need::{Needs, are_met, described},
    restriction::Restriction,
};

/// The plugin `roles`: requirements on the roles of the subject or the consumer.
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
        Ok(Hooks::new().admit(Restriction { needs: Needs::new(config.0, |name| check(name))?, judge }))
    }
}

/// A role is whatever the issuer calls it, spaces and all.
fn check(role: &str) -> Result<(), String> {
    if role.is_empty() { Err("is empty".to_owned()) } else { Ok(()) }
}

fn judge(needs: &Needs<String>, method: &Method, identity: &Identity) -> Verdict {
    let needs = needs.of(method);
    // Only roles of the credential that speaks count: others add none.
    let has = are_met(needs.clone(), |role| identity.roles.contains(role));
    let refusal = || Refusal::forbidden(Reason::RoleMissing).detailed(described(needs.clone()));
    if has { Verdict::Allow } else { Verdict::Refuse(refusal()) }
}

#[cfg(test)]
mod tests;
