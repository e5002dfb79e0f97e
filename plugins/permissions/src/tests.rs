//! Functions that the tests of the three plugins share.

use std::sync::Arc;

use portcullis_plugin::{
    Admit, Identity, Plugin, Refusal, Verdict,
    testing::{Build, Conformance, Request, now},
};

pub(crate) const ALLOWED: &str = "allowed";

pub(crate) fn hook<P: Plugin>(toml: &str) -> Arc<dyn Admit> {
    Build::new().plugin::<P>(toml::from_str(toml).unwrap()).unwrap().admit.unwrap()
}

pub(crate) fn problems<P: Plugin>(toml: &str) -> Vec<String> {
    let error = Build::new().plugin::<P>(toml::from_str(toml).unwrap()).err().expect("an error");
    error.problems.into_iter().map(|(field, message)| format!("{field}: {message}")).collect()
}

/// The verdict on a request of this method and this identity.
pub(crate) fn verdict(hook: &dyn Admit, method: &str, identity: Identity) -> Verdict {
    now(hook.admit(&mut Request::new(method, "/").cx(), &Arc::new(identity))).unwrap()
}

/// `allowed`, or the reason code of a 403.
pub(crate) fn outcome(hook: &dyn Admit, method: &str, identity: Identity) -> &'static str {
    match verdict(hook, method, identity) {
        Verdict::Allow => ALLOWED,
        other @ (Verdict::AllowWith(_) | Verdict::Respond(_)) => panic!("{other:?}"),
        Verdict::Refuse(refusal) => {
            assert_eq!(refusal.status, Refusal::forbidden(refusal.reason).status, "a refusal is a 403");
            refusal.reason.code()
        }
    }
}

/// The detail of a refusal in the audit log.
pub(crate) fn detail(hook: &dyn Admit, method: &str, identity: Identity) -> String {
    let Verdict::Refuse(refusal) = verdict(hook, method, identity) else { panic!("it is allowed") };
    refusal.detail.expect("a detail").to_string()
}

pub(crate) fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|item| (*item).to_owned()).collect()
}

/// Two proofs that were asked for together, as the engine puts them together: the first one speaks.
pub(crate) fn both(first: Identity, second: Identity) -> Identity {
    Identity {
        scopes: first.scopes.clone(),
        roles: first.roles.clone(),
        claims: first.claims.clone().or(second.claims.clone()),
        parts: vec![Arc::new(first), Arc::new(second)],
        ..Identity::default()
    }
}

#[test]
fn they_do_what_every_plugin_does() {
    let with = || Identity { scopes: strings(&["read"]), roles: strings(&["editor"]), ..Identity::default() };
    let scopes = || toml::from_str("all = ['read']").unwrap();
    Conformance::<crate::Scopes>::new(scopes).identity(with()).identity(both(with(), with())).check();
    let roles = || toml::from_str("any = ['editor']").unwrap();
    Conformance::<crate::Roles>::new(roles).identity(with()).check();
    let claims = || toml::from_str("all = [{ claim = 'plan', equals = 'gold' }]").unwrap();
    Conformance::<crate::Claims>::new(claims).identity(with()).check();
}
