//! Ways around a protected route: open routes that reach the same server.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use crate::{
    config::{Configuration, Ending, Problems},
    router,
    upstream::Upstream,
};

/// Refuses an open catch-all beside a protected route of the same servers. It is a way around the protection: any path
/// that somebody forgot to protect, or that a server reads differently, goes through the open one. Two upstreams with a
/// server in common count as one. If only their names resolve to one address that is a warning: behind it may be
/// several services, told apart by their host, and the addresses of a name change independently of the file.
pub(super) fn refuse(
    configuration: &Configuration<'_>,
    compiled: &BTreeMap<String, Arc<Upstream>>,
    problems: &mut Problems,
) {
    let mut told: HashSet<usize> = HashSet::new();
    let named = |name: &str| -> Vec<String> {
        let targets = configuration.upstreams[name].file.targets.0.iter();
        targets.map(|target| target.get_ref().address.to_ascii_lowercase()).collect()
    };
    for (open, beside) in overlaps(configuration, named) {
        if told.insert(open) {
            let text = format!(
                "this open catch-all reaches the upstream of {}, which asks who is calling; narrow its paths, or say \
                 `overlap = \"accepted\"`",
                configuration.routes[beside].location.path
            );
            configuration.routes[open].location.problem(problems, "paths", text);
        }
    }
    let resolved = |name: &str| -> Vec<String> {
        let addresses = compiled.get(name).into_iter().flat_map(|upstream| upstream.addresses());
        addresses.map(|address| address.to_string()).collect()
    };
    for (open, beside) in overlaps(configuration, resolved) {
        if told.insert(open) {
            let text = format!(
                "this open catch-all goes to the same address as {}, which asks who is calling: is it another service, \
                 or a way around?",
                configuration.routes[beside].location.path
            );
            configuration.routes[open].location.warn(problems, text);
        }
    }
}

/// Returns open catch-alls, each with a protected route that it reaches, by the addresses of upstreams.
fn overlaps(configuration: &Configuration<'_>, places: impl Fn(&str) -> Vec<String>) -> Vec<(usize, usize)> {
    let routes = &configuration.routes;
    let mut by_upstream: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, route) in routes.iter().enumerate() {
        if let Ending::Forward(upstream) = &route.ending {
            by_upstream.entry(upstream).or_default().push(number);
        }
    }
    let mut by_place: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for name in configuration.upstreams.keys().filter(|name| by_upstream.contains_key(name.as_str())) {
        for place in places(name) {
            by_place.entry(place).or_default().insert(name);
        }
    }
    // Most upstreams share no server with others: each set of routes is looked at once.
    let together: BTreeSet<BTreeSet<&str>> = by_place.into_values().collect();
    let mut found = Vec::new();
    for upstreams in together {
        let numbers = upstreams.iter().flat_map(|name| &by_upstream[name]).copied();
        // An anonymous request needs no credential either.
        let is_open = |number: &usize| routes[*number].auth.is_empty() || routes[*number].anonymous.is_some();
        let (open, protected): (Vec<usize>, Vec<usize>) = numbers.partition(is_open);
        let protected = router::Protected::new(protected.into_iter().map(|number| (number, &routes[number].pattern)));
        let open = open.into_iter().filter(|number| !routes[*number].is_overlap_accepted);
        found.extend(open.filter_map(|number| Some((number, protected.first_reached_by(&routes[number].pattern)?))));
    }
    found
}
