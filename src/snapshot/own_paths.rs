//! Paths of policies' own: a callback, a logout. Each becomes a route beside those of the file, on the hosts of the routes
//! that use the policy, with their guards and without authentication.
//!
//! On each host a path is guarded by all guards of the routes that use the policy and that may be reached there, those of
//! wildcards and of routes without hosts included: whoever is kept from one of them is kept from the path. It is there on
//! every narrower host that the file names too. Otherwise a parameter on such a host would take the path, and its upstream
//! would get the code of a login.

use std::{collections::HashSet, str::FromStr, sync::Arc};

use http::HeaderValue;
use portcullis_plugin::OwnPath;

use super::instance::Instance;
use crate::{
    config::{Configuration, Ending, Fingerprint, PluginUse, Problems, RouteDraft, file::HttpsRedirect, node::Name},
    router::{HostPattern, MethodSet, PathPattern, Pattern, contains_host, do_hosts_meet},
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
        for (at, path) in paths.iter().enumerate() {
            let is_repeated = paths[..at].iter().any(|other| other.path == path.path);
            match pattern(path)
                .and_then(|found| if is_repeated { Err("it is there twice".to_owned()) } else { Ok(found) })
            {
                Ok(found) => own.extend(drafts(configuration, instances, number, path, &found)),
                Err(why) => policy.problem(problems, "", format!("its path `{}`: {why}", path.path.escape_debug())),
            }
        }
    }
    for draft in own {
        // The same policy on several hosts is no conflict: the narrower host counts, as everywhere.
        let is_other =
            |other: &&RouteDraft| other.policy() != draft.policy() && is_same(&other.pattern, &draft.pattern);
        let is_named_alike = |other: &&RouteDraft| other.name.text == draft.name.text;
        let path = &draft.pattern.paths[0];
        let text = if let Some(other) = configuration.routes.iter().find(is_other) {
            format!("its path `{path}` is a path of {} already", other.location.path)
        } else if let Some(other) = configuration.routes.iter().find(is_named_alike) {
            format!(
                "its path `{path}` is called `{}` in logs and metrics, and so is {}",
                draft.name.text, other.location.path
            )
        } else {
            configuration.routes.push(draft);
            continue;
        };
        draft.location.problem(problems, "", text);
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
    let has_host = hosts_of(one).any(|a| hosts_of(other).any(|b| do_hosts_meet(a, b)));
    has_host && one.paths.iter().any(|path| other.paths.iter().any(|other| path.is_same(other)))
}

/// Everything in which the hosts of one path may differ. Hosts that are alike share a route.
#[derive(PartialEq)]
struct Conditions {
    is_any_host: bool,
    guards: Vec<usize>,
    https_redirect: Option<HttpsRedirect>,
    hsts: Option<HeaderValue>,
}

/// Returns the routes for one path: one for all hosts that are treated alike.
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
    let at = |host| users.iter().copied().filter(move |user| hosts_of(&user.pattern).any(|of| contains_host(of, host)));
    let mut groups: Vec<(Conditions, Vec<Option<&HostPattern>>)> = Vec::new();
    let mut seen = HashSet::new();
    for host in configuration.routes.iter().flat_map(|route| hosts_of(&route.pattern)) {
        if !seen.insert(host) || at(host).next().is_none() {
            continue;
        }
        let conditions = Conditions {
            is_any_host: host.is_none(),
            guards: guards(at(host), instances).iter().map(|plugin| plugin.policy).collect(),
            https_redirect: https_redirect(at(host)),
            hsts: at(host).find_map(|user| user.hsts.clone()),
        };
        match groups.iter_mut().find(|(known, _)| *known == conditions) {
            Some((_, hosts)) => hosts.push(host),
            None => groups.push((conditions, vec![host])),
        }
    }
    let key = &configuration.policies[policy];
    let several = groups.len() > 1;
    let drafts = groups.into_iter().filter_map(|(Conditions { https_redirect, hsts, .. }, hosts)| {
        let first = at(hosts[0]).next()?;
        let name = match hosts[0] {
            Some(host) if several => format!("{}:{}@{host}", key.key, path.path),
            _ => format!("{}:{}", key.key, path.path),
        };
        let said =
            format!("{name} {:?} {hosts:?} {} {https_redirect:?} {hsts:?}", pattern.methods, path.max_body_bytes);
        Some(RouteDraft {
            name: Name { text: name, file: key.location.file, span: key.location.span.clone(), path: String::new() },
            pattern: Pattern { hosts: hosts.iter().copied().flatten().cloned().collect(), ..pattern.clone() },
            ending: Ending::Own(policy),
            auth: Vec::new(),
            anonymous: None,
            plugins: guards(at(hosts[0]), instances).into_iter().cloned().collect(),
            is_overlap_accepted: true,
            allows_encoded_slash: false,
            max_body_bytes: Some(path.max_body_bytes),
            realm: first.realm.clone(),
            https_redirect,
            hsts,
            fingerprint: Fingerprint::all([key.fingerprint, Fingerprint::of_bytes(said.as_bytes())]),
            location: key.location.clone(),
        })
    });
    drafts.collect()
}

/// Returns the hosts of a pattern; `None` is any host.
fn hosts_of(pattern: &Pattern) -> impl Iterator<Item = Option<&HostPattern>> {
    let any = pattern.hosts.is_empty().then_some(None);
    pattern.hosts.iter().map(Some).chain(any)
}

/// Returns the strictest of the routes' redirects to TLS: a cookie that one of them keeps to TLS is not made without.
fn https_redirect<'r>(users: impl Iterator<Item = &'r RouteDraft>) -> Option<HttpsRedirect> {
    // One that redirects, then one that leaves it to the listener, then one that refuses to.
    users.map(|user| user.https_redirect).min_by_key(|of| match of {
        Some(HttpsRedirect(Some(_))) => 0,
        None => 1,
        Some(HttpsRedirect(None)) => 2,
    })?
}

/// Returns the policies of these routes that have a guard, and those that every route has, each once.
fn guards<'r>(users: impl Iterator<Item = &'r RouteDraft>, instances: &[Option<Arc<Instance>>]) -> Vec<&'r PluginUse> {
    let mut found: Vec<&PluginUse> = Vec::new();
    // An authenticator may have a guard as well.
    let of_auth = |route: &'r RouteDraft| route.auth.iter().flat_map(|together| &together.policies);
    for plugin in users.flat_map(|route| of_auth(route).chain(&route.plugins)) {
        let is_guard = instances[plugin.policy].as_ref().is_some_and(|instance| instance.hooks.guard.is_some());
        if (is_guard || plugin.is_default) && !found.iter().any(|known| known.policy == plugin.policy) {
            found.push(plugin);
        }
    }
    found
}
