//! Checks the names of other entries of the configuration that policies refer to.
//!
//! This is done for every configuration, and also for policies that are kept from the one before: an entry that they
//! refer to may be gone.

use std::{
    cell::OnceCell,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use portcullis_plugin::{Credential, Mention, Mentioned};

use super::instance::Instance;
use crate::config::{Configuration, PolicyDraft, Problems, RouteDraft, problem::suggestion};

/// Reports names that do not exist.
pub(super) fn check(
    configuration: &Configuration<'_>,
    credentials: &[Arc<Credential>],
    instances: &[Option<Arc<Instance>>],
    problems: &mut Problems,
) {
    let everybody = OnceCell::new();
    let mut of_paths: HashMap<usize, Vec<(String, String)>> = HashMap::new();
    for (number, (policy, instance)) in configuration.policies.iter().zip(instances).enumerate() {
        let admit = instance.as_ref().and_then(|instance| instance.hooks.admit.as_ref());
        for Mention { field, of } in admit.map(|admit| admit.mentions()).unwrap_or_default() {
            match of {
                Mentioned::PathParameter(name) => of_paths.entry(number).or_default().push((field, name)),
                Mentioned::Consumer(_) | Mentioned::Credential(_) => {
                    unknown(configuration, &of).into_iter().for_each(|why| policy.problem(problems, &field, why));
                }
                of => {
                    let everybody = everybody.get_or_init(|| Everybody::of(configuration, credentials));
                    everybody.lack(&of).into_iter().for_each(|why| policy.warn_of(problems, &field, why));
                }
            }
        }
    }
    if of_paths.is_empty() {
        return;
    }
    for route in &configuration.routes {
        for number in route.plugins.iter().map(|plugin| plugin.policy) {
            for (field, name) in of_paths.get(&number).into_iter().flatten() {
                parameter(route, &configuration.policies[number], field, name, problems);
            }
        }
    }
}

/// Returns what is wrong with a name.
fn unknown(configuration: &Configuration<'_>, of: &Mentioned) -> Option<String> {
    let (what, name, near) = match of {
        Mentioned::Consumer(name) if !configuration.consumers.contains_key(name) => {
            ("consumer", name, suggestion(name, configuration.consumers.keys().map(String::as_str)))
        }
        Mentioned::Credential(id) if !configuration.credential_ids.contains(id) => {
            ("credential", id, suggestion(id, configuration.credential_ids.iter().map(String::as_str)))
        }
        _ => return None,
    };
    Some(format!("there is no {what} `{name}`{near}"))
}

/// The attributes of all consumers together.
#[derive(Default)]
struct Everybody<'c> {
    groups: BTreeSet<&'c str>,
    labels: BTreeSet<(&'c str, &'c str)>,
    roles: BTreeSet<&'c str>,
    tenants: BTreeSet<&'c str>,
    /// Those of credentials.
    scopes: BTreeSet<&'c str>,
    /// Set if some policy can grant attributes beyond those of consumers' entries: a token brings roles, scopes and a
    /// tenant.
    has_others: bool,
}

impl<'c> Everybody<'c> {
    fn of(configuration: &'c Configuration<'_>, credentials: &'c [Arc<Credential>]) -> Self {
        let mut all = Self::default();
        for consumer in configuration.consumers.values() {
            all.groups.extend(consumer.groups.iter().map(String::as_str));
            all.labels.extend(consumer.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            all.roles.extend(consumer.roles.iter().map(String::as_str));
            all.tenants.extend(consumer.tenant.as_deref());
        }
        all.scopes.extend(credentials.iter().flat_map(|credential| &credential.scopes).map(String::as_str));
        let mut used = configuration.routes.iter().flat_map(|route| route.auth.iter().flat_map(|of| &of.policies));
        all.has_others = used.any(|plugin| !configuration.policies[plugin.policy].kind.needs_credentials);
        all
    }

    /// Returns an error text if nobody has the attribute, and so an entry that names it is about nobody.
    fn lack(&self, of: &Mentioned) -> Option<String> {
        let lacks = |known: &BTreeSet<&str>, name: &str, what: &str| {
            let near = || suggestion(name, known.iter().copied());
            (!known.contains(name)).then(|| format!("this matches nobody: no {what} `{name}`{}", near()))
        };
        match of {
            Mentioned::Group(name) => lacks(&self.groups, name, "consumer is in the group"),
            Mentioned::Role(name) if !self.has_others => lacks(&self.roles, name, "consumer has the role"),
            Mentioned::Tenant(name) if !self.has_others => lacks(&self.tenants, name, "consumer belongs to the tenant"),
            Mentioned::Scope(name) if !self.has_others => lacks(&self.scopes, name, "credential has the scope"),
            Mentioned::Label(name, value) if !self.labels.contains(&(name, value)) => {
                let values = self.labels.iter().filter(|(known, _)| known == name).map(|(_, value)| *value);
                let near = suggestion(value, values);
                Some(format!("this matches nobody: no consumer has the label `{name}` with the value `{value}`{near}"))
            }
            Mentioned::Method(name) => unregistered(name),
            _ => None,
        }
    }
}

/// Returns a warning text if a method is not one that clients are known to send.
pub(super) fn unregistered(name: &str) -> Option<String> {
    let is_known = REGISTERED.contains(&name);
    (!is_known).then(|| format!("`{name}` is not a registered HTTP method{}", suggestion(name, REGISTERED)))
}

/// The methods in IANA's registry (RFC 9110 section 16.1), and `PURGE`, which caches accept.
const REGISTERED: [&str; 40] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "OPTIONS",
    "ORDERPATCH",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "TRACE",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// Checks that every path of the route has the parameter: otherwise the policy would find no value.
fn parameter(route: &RouteDraft, policy: &PolicyDraft<'_>, field: &str, name: &str, problems: &mut Problems) {
    let Some(path) = route.pattern.paths.iter().find(|path| path.parameters().all(|known| known != name)) else {
        return;
    };
    let known: Vec<_> = path.parameters().map(|name| format!("`{name}`")).collect();
    let known = match known.as_slice() {
        [] => "no parameters".to_owned(),
        known => format!("{} and not `{name}`", known.join(", ")),
    };
    let text = format!("the path `{path}` of the route `{}` has {known}", route.name.text);
    policy.problem(problems, field, format!("{text}{}", suggestion(name, path.parameters())));
}
