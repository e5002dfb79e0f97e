//! Paths of policies' own: a callback, a logout. Each becomes a route beside those of the file, on the hosts of the routes
//! that use the policy, with their guards and without authentication.
//!
//! On each host a path is guarded by everything that guards a route which uses the policy there, so that whoever is kept
//! from all of them is kept from it too.

use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use portcullis_plugin::OwnPath;

use super::instance::Instance;
use crate::{
    config::{Configuration, Ending, Fingerprint, PluginUse, Problems, RouteDraft, node::Name},
    router::{HostPattern, MethodSet, PathPattern, Pattern},
};

/// The most paths that one policy can have.
const MAX_PATHS: usize = 16;

/// Adds the routes to the configuration. Paths that cannot be had are errors of their policies.
pub(super) fn add(configuration: &mut Configuration<'_>, instances: &[Option<Arc<Instance>>], problems: &mut Problems) {
    let mut own: Vec<RouteDraft> = Vec::new();
    for (number, instance) in instances.iter().enumerate() {
        let Some(hook) = instance.as_ref().and_then(|instance| instance.hooks.serve.as_ref()) else { continue };
        let policy = &configuration.policies[number];
        let paths = hook.paths();
        if paths.len() > MAX_PATHS {
            policy.problem(problems, "", format!("the plugin wants {} paths; {MAX_PATHS} are the most", paths.len()));
            continue;
        }
        for path in paths {
            match pattern(&path) {
                Ok(found) => own.extend(drafts(configuration, instances, number, &path, &found)),
                Err(why) => policy.problem(problems, "", format!("its path `{}`: {why}", path.path.escape_debug())),
            }
        }
    }
    for draft in own {
        let taken = configuration.routes.iter().find(|other| is_same(&other.pattern, &draft.pattern));
        if let Some(other) = taken {
            let path = &draft.pattern.paths[0];
            let text = format!("its path `{path}` is a path of {} already", other.location.path);
            draft.location.problem(problems, "", text);
        } else {
            configuration.routes.push(draft);
        }
    }
}

/// Returns the pattern of a path, on any host.
fn pattern(path: &OwnPath) -> Result<Pattern, String> {
    let pattern = PathPattern::from_str(&path.path).map_err(|fault| fault.to_string())?;
    if !pattern.is_literal() {
        return Err("it has a parameter".to_owned());
    }
    if path.methods.is_empty() {
        return Err("it has no method".to_owned());
    }
    let methods = MethodSet::from_list(&path.methods).map_err(|faults| faults.to_string())?;
    Ok(Pattern { paths: vec![pattern], methods, ..Pattern::default() })
}

/// Returns whether both have a path of the same spelling on a host that both have.
fn is_same(one: &Pattern, other: &Pattern) -> bool {
    let overlap = |a: &HostPattern| other.hosts.iter().any(|b| a == b || a.contains(b) || b.contains(a));
    let has_host = one.hosts.is_empty() || other.hosts.is_empty() || one.hosts.iter().any(overlap);
    has_host && one.paths.iter().any(|path| other.paths.iter().any(|other| path.is_same(other)))
}

/// Returns the routes for one path: one for all hosts that are guarded alike.
fn drafts(
    configuration: &Configuration<'_>,
    instances: &[Option<Arc<Instance>>],
    policy: usize,
    path: &OwnPath,
    pattern: &Pattern,
) -> Vec<RouteDraft> {
    let uses = |route: &&RouteDraft| {
        let of_auth = route.auth.iter().flat_map(|together| &together.policies);
        of_auth.chain(&route.plugins).any(|plugin| plugin.policy == policy)
    };
    let users: Vec<&RouteDraft> = configuration.routes.iter().filter(uses).collect();
    // By host; `None` is any host.
    let mut hosts: Vec<Option<&HostPattern>> = Vec::new();
    for host in users.iter().flat_map(|route| hosts_of(route)) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let mut groups: BTreeMap<(bool, Vec<usize>), Vec<Option<&HostPattern>>> = BTreeMap::new();
    for host in hosts {
        let guards = guards(&users, host, instances).map(|plugin| plugin.policy).collect();
        groups.entry((host.is_none(), guards)).or_default().push(host);
    }
    let key = &configuration.policies[policy];
    let several = groups.len() > 1;
    let drafts = groups.into_values().filter_map(|hosts| {
        let first = users.iter().find(|route| hosts_of(route).any(|host| host == hosts[0]))?;
        let name = match hosts[0] {
            Some(host) if several => format!("{}:{}@{host}", key.key, path.path),
            _ => format!("{}:{}", key.key, path.path),
        };
        let said = format!("{name} {:?} {:?} {}", pattern.methods, hosts, path.max_body_bytes);
        Some(RouteDraft {
            name: Name { text: name, file: key.location.file, span: key.location.span.clone(), path: String::new() },
            pattern: Pattern { hosts: hosts.iter().copied().flatten().cloned().collect(), ..pattern.clone() },
            ending: Ending::Own(policy),
            auth: Vec::new(),
            anonymous: None,
            plugins: guards(&users, hosts[0], instances).cloned().collect(),
            is_overlap_accepted: true,
            allows_encoded_slash: false,
            max_body_bytes: Some(path.max_body_bytes),
            realm: first.realm.clone(),
            https_redirect: first.https_redirect,
            hsts: first.hsts.clone(),
            fingerprint: Fingerprint::all([key.fingerprint, Fingerprint::of_bytes(said.as_bytes())]),
            location: key.location.clone(),
        })
    });
    drafts.collect()
}

/// Returns the hosts of a route; `None` is any host.
fn hosts_of(route: &RouteDraft) -> impl Iterator<Item = Option<&HostPattern>> {
    let any = route.pattern.hosts.is_empty().then_some(None);
    route.pattern.hosts.iter().map(Some).chain(any)
}

/// Returns the policies with a guard of the routes that have this host, and those that every route has, each once.
fn guards<'r>(
    users: &[&'r RouteDraft],
    host: Option<&HostPattern>,
    instances: &[Option<Arc<Instance>>],
) -> impl Iterator<Item = &'r PluginUse> {
    let mut found: Vec<&PluginUse> = Vec::new();
    let here = users.iter().filter(|route| hosts_of(route).any(|of| of == host));
    for plugin in here.flat_map(|route| &route.plugins) {
        let is_guard = instances[plugin.policy].as_ref().is_some_and(|instance| instance.hooks.guard.is_some());
        if (is_guard || plugin.is_default) && !found.iter().any(|known| known.policy == plugin.policy) {
            found.push(plugin);
        }
    }
    found.into_iter()
}
