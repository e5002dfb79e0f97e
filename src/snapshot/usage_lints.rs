//! Warnings about settings that are valid but probably mistakes, found by looking at the whole configuration: entries
//! that nothing uses, and targets and headers that are used for two purposes.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{instance::Instance, mentions, route::Settings};
use crate::{
    config::{Configuration, Ending, Problems, RouteDraft, UpstreamDraft, file::AdminAddress},
    upstream::place::{LOCALHOST, Place, is_localhost},
};

/// Warns of such settings.
pub(super) fn check(
    configuration: &Configuration<'_>,
    instances: &[Option<Arc<Instance>>],
    settings: &Settings,
    problems: &mut Problems,
) {
    warn_of_unused(configuration, problems);
    for (name, upstream) in &configuration.upstreams {
        warn_of_loops(name, upstream, configuration, problems);
    }
    for route in &configuration.routes {
        for why in route.pattern.methods.iter().filter_map(|method| mentions::unregistered(method.as_str())) {
            route.location.warn_of(problems, "methods", why);
        }
    }
    for (policy, instance) in configuration.policies.iter().zip(instances) {
        let Some(instance) = instance else { continue };
        for (field, text) in &instance.warnings {
            policy.warn_of(problems, field, text.clone());
        }
        let places = instance.hooks.authenticate.as_ref().map(|hook| hook.places()).unwrap_or_default();
        for name in places.headers().map(|(name, _)| name).filter(|name| settings.callers.identity.carries(name)) {
            let text = format!(
                "this looks for a credential in `{name}`, which tells upstreams who is calling: choose another header"
            );
            policy.warn(problems, text);
        }
    }
}

/// Returns the numbers of the policies that a route uses.
pub(super) fn used_policies(routes: &[RouteDraft]) -> HashSet<usize> {
    let used =
        routes.iter().flat_map(|route| route.auth.iter().flat_map(|together| &together.policies).chain(&route.plugins));
    used.map(|plugin| plugin.policy).collect()
}

/// Warns of unused entries: a restriction that no route uses restricts nothing.
fn warn_of_unused(configuration: &Configuration<'_>, problems: &mut Problems) {
    let used = used_policies(&configuration.routes);
    for (_, policy) in configuration.policies.iter().enumerate().filter(|(number, _)| !used.contains(number)) {
        policy.warn(problems, "no route uses this: it protects and restricts nothing");
    }
    let endings = configuration.routes.iter().map(|route| &route.ending);
    let used: HashSet<&str> = endings
        .filter_map(|ending| match ending {
            Ending::Forward(upstream) => Some(upstream.as_str()),
            Ending::Respond { .. } | Ending::Echo | Ending::Own(_) => None,
        })
        .collect();
    for (_, upstream) in configuration.upstreams.iter().filter(|(name, _)| !used.contains(name.as_str())) {
        upstream.warn(problems, "", "no route forwards to this");
    }
}

/// Warns of targets that are this gateway itself. Names are not resolved for that: their addresses are checked when
/// they are resolved.
fn warn_of_loops(name: &str, upstream: &UpstreamDraft<'_>, configuration: &Configuration<'_>, problems: &mut Problems) {
    let admin = configuration.admin.as_ref().and_then(|(address, _)| match address {
        AdminAddress::Tcp(address) => Some(*address),
        AdminAddress::Unix(_) => None,
    });
    for (number, target) in upstream.file.targets.0.iter().enumerate() {
        let Ok(place) = Place::parse(&target.get_ref().address) else { continue };
        let (is_name, at) = known(&place);
        let leads_to = |own: SocketAddr| at.iter().any(|target| is_reached(own, *target));
        let field = format!("targets[{number}]");
        let is_listener = configuration.listeners.iter().any(|listener| leads_to(listener.file.address));
        let text = match (is_listener, admin.is_some_and(leads_to)) {
            (true, _) if is_name => "this is a listener of the gateway itself: no request is sent there".to_owned(),
            (true, _) => {
                format!("this is a listener of the gateway itself: requests to `{name}` would come back for ever")
            }
            (_, true) if is_name => {
                "this is the admin listener of the gateway itself: no request is sent there".to_owned()
            }
            (_, true) => {
                "this is the admin listener of the gateway itself: its metrics and status would be everybody's"
                    .to_owned()
            }
            _ => continue,
        };
        upstream.warn(problems, &field, text);
    }
}

/// Returns whether a target is a name, and its addresses as far as they are known without resolving: an IP address, or
/// those of `localhost`.
fn known(place: &Place) -> (bool, Vec<SocketAddr>) {
    match place {
        Place::Address(at) => (false, vec![*at]),
        Place::Name(name) if is_localhost(&name.host) => {
            (true, LOCALHOST.map(|ip| SocketAddr::new(ip, name.port)).into())
        }
        Place::Name(_) => (true, Vec::new()),
    }
}

/// Returns whether a connection to the target's address reaches the listener's. A listener on every address is reached
/// on all of this machine's, of which the loopback ones are known for certain.
fn is_reached(listener: SocketAddr, target: SocketAddr) -> bool {
    let is_everywhere = |ip: IpAddr| ip.is_unspecified();
    let is_here = target.ip().to_canonical().is_loopback() || is_everywhere(target.ip());
    let is_same = listener.ip().to_canonical() == target.ip().to_canonical();
    let does_meet = is_same
        || (is_everywhere(listener.ip()) && is_here)
        || (is_everywhere(target.ip()) && is_here && listener.ip().is_loopback());
    listener.port() == target.port() && listener.port() != 0 && does_meet
}
