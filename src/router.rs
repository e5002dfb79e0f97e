//! Finds the route that owns a request, by host, path, method and headers.
//!
//! Order of preference, the first difference deciding:
//!
//! 1. Host: the exact name, then the longest wildcard, then routes without a host. When no path of a host fits, the
//!    next host is tried.
//! 2. Path, segment by segment: a literal, then a parameter, then a rest. The search backtracks from a dead end.
//! 3. More header conditions before fewer.
//!
//! Once a path has matched, and the header conditions of at least one route there are met, the answer is settled: one
//! of the routes there, or 405. A wrong method never leads on to a weaker route. The order in the file decides nothing:
//! two routes that would need it are a [`Tie`], and an error.
//!
//! Danger: [`Router::find`] trusts its caller. The path must come from [`crate::canonical`] and the host from
//! [`host_key`]; a raw spelling of either walks around the routes that protect it.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use http::Method;

mod host;
mod kept;
mod method;
mod overlap;
mod parameter;
mod path;
mod pattern;
mod sample;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use host::{HostPattern, host_key, request_host_key};
pub(crate) use kept::{Headers, KeptHeaders, MatchedAgain, MatchedFirst};
pub(crate) use method::MethodSet;
pub(crate) use overlap::{Protected, Tie, contains_host, do_hosts_meet};
pub(crate) use path::PathPattern;
pub(crate) use pattern::{HeaderCondition, Pattern};
pub(crate) use sample::Sample;
pub(crate) use tree::Find;

use overlap::TieFinder;
use tree::{Entry, Forest, NodeIndex, Wanted};

/// All routes of a snapshot, compiled. A look-up costs one hash per segment, however many routes there are, and
/// allocates nothing.
#[derive(Debug)]
pub(crate) struct Router {
    exact: Hosts,
    /// By the part after `*.`.
    wildcards: Hosts,
    /// The longest key of `wildcards`: a request's host may have a hundred labels, and nearly all need no look-up.
    wildcard_bytes_max: usize,
    any: Option<NodeIndex>,
    forest: Forest,
}

/// The keys are the configuration's; a client can look up, but not insert, so a fixed seed endangers nothing.
type Hosts = HashMap<Box<str>, NodeIndex, FixedState>;

impl Router {
    /// Compiles the patterns, each with the name of its route for the text of a [`Tie`].
    ///
    /// # Errors
    /// Returns all ties, though of several routes that tie with each other only each with the first.
    pub(crate) fn build(patterns: &[(&str, &Pattern)]) -> Result<Self, Vec<Tie>> {
        let mut router = Self {
            exact: Hosts::default(),
            wildcards: Hosts::default(),
            wildcard_bytes_max: 0,
            any: None,
            forest: Forest::default(),
        };
        for (route, (_, pattern)) in patterns.iter().enumerate() {
            router.add(route, pattern);
        }
        let mut ties = TieFinder::new(patterns);
        router.forest.finish(|place, entries| ties.look_at(place, entries));
        ties.verdict().map(|()| router)
    }

    fn add(&mut self, route: usize, pattern: &Pattern) {
        let entry = Entry::new(route, pattern);
        let any_host = pattern.hosts.is_empty().then_some(None);
        for host in any_host.into_iter().chain(pattern.hosts.iter().map(Some)) {
            let root = self.root(host);
            for path in &pattern.paths {
                self.forest.insert(root, host, path, &entry);
            }
        }
    }

    /// Returns the root of the paths of `host`.
    fn root(&mut self, host: Option<&HostPattern>) -> NodeIndex {
        let forest = &mut self.forest;
        let Some(host) = host else { return *self.any.get_or_insert_with(|| forest.plant()) };
        if let Some(name) = host.exact() {
            return *self.exact.entry(name.into()).or_insert_with(|| forest.plant());
        }
        self.wildcard_bytes_max = self.wildcard_bytes_max.max(host.name().len());
        *self.wildcards.entry(host.name().into()).or_insert_with(|| forest.plant())
    }

    /// Returns the route that owns a request: `host` as [`host_key`] returns it (empty if a request has none), `path`
    /// as [`crate::canonical::canonical`] returns it.
    pub(crate) fn find(&self, host: &str, path: &str, method: &Method, headers: &impl Headers) -> Find<'_> {
        let Some(rest) = path.strip_prefix('/') else { return Find::NotFound };
        let wanted = Wanted { method, headers };
        self.roots(host).find_map(|root| self.forest.search(root, Some(rest), &wanted)).unwrap_or(Find::NotFound)
    }

    /// Returns the trees that may own `host`, the strongest first.
    fn roots(&self, host: &str) -> impl Iterator<Item = NodeIndex> {
        let wildcards = if self.wildcards.is_empty() { "" } else { host };
        let wildcards = wildcards
            .match_indices('.')
            .map(move |(dot, _)| &wildcards[dot + 1..])
            .filter(|suffix| suffix.len() <= self.wildcard_bytes_max)
            .filter_map(|suffix| self.wildcards.get(suffix));
        self.exact.get(host).into_iter().chain(wildcards).chain(&self.any).copied()
    }
}
