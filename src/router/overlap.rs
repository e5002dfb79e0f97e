//! Routes that conflict: ties, and catch-alls beside routes that they should not reach.

use std::collections::{HashMap, HashSet};

use super::{
    host::HostPattern,
    path::{PathPattern, Segment},
    pattern::{HeaderCondition, Pattern},
    tree::{Entry, Place},
};

/// Two routes of which neither is the stronger for some request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tie {
    /// The index of the one in the list that was built from.
    pub first: usize,
    /// The index of the other, later in the list.
    pub second: usize,
    /// The requests that both would take, as text with the names of both.
    pub what: String,
}

/// Collects ties, leaf by leaf.
pub(super) struct TieFinder<'p> {
    patterns: &'p [(&'p str, &'p Pattern)],
    ties: Vec<Tie>,
    /// Two routes may meet at many leaves; one report is enough.
    known: HashSet<(usize, usize)>,
}

impl<'p> TieFinder<'p> {
    pub(super) fn new(patterns: &'p [(&'p str, &'p Pattern)]) -> Self {
        Self { patterns, ties: Vec::new(), known: HashSet::new() }
    }

    /// Compares the entries of one leaf, which are in order. Only the first tie of each is kept, so that a thousand
    /// equal routes are a thousand ties and not half a million.
    pub(super) fn look_at(&mut self, place: &Place, entries: &[Entry]) {
        for peers in entries.chunk_by(|a, b| a.conditions.len() == b.conditions.len()) {
            for (at, second) in peers.iter().enumerate().skip(1) {
                if let Some(first) = peers[..at].iter().find(|first| do_tie(first, second)) {
                    self.note(place, first, second);
                }
            }
        }
    }

    fn note(&mut self, place: &Place, first: &Entry, second: &Entry) {
        if !self.known.insert((first.route, second.route)) {
            return;
        }
        let name = |entry: &Entry| self.patterns[entry.route].0;
        let methods = first.methods.intersection(&second.methods);
        let host = place.host.as_ref().map_or_else(|| "any host".into(), |host| format!("host `{host}`"));
        let what = format!(
            "routes `{}` and `{}` both take {methods} on path `{}` of {host}",
            name(first),
            name(second),
            place.path,
        );
        self.ties.push(Tie { first: first.route, second: second.route, what });
    }

    pub(super) fn verdict(mut self) -> Result<(), Vec<Tie>> {
        self.ties.sort_by_key(|tie| (tie.first, tie.second));
        if self.ties.is_empty() { Ok(()) } else { Err(self.ties) }
    }
}

/// Returns whether two entries of one leaf with equally many header conditions tie.
fn do_tie(first: &Entry, second: &Entry) -> bool {
    !first.methods.intersection(&second.methods).is_empty() && !are_exclusive(&first.conditions, &second.conditions)
}

fn are_exclusive(first: &[HeaderCondition], second: &[HeaderCondition]) -> bool {
    first.iter().any(|one| second.iter().any(|other| one.excludes(other)))
}

/// Protected routes, indexed so that an open one is compared only with those few that it may reach: with thousands of
/// both, comparing each with each takes longer than all other work on a configuration.
///
/// The danger: `/admin` is protected, `/{*rest}` is public, and both go to one server. Any path that the server treats
/// like `/admin`, and the gateway does not, is open: `/admin.json`, `/Admin`, `/admin/users`. Worse if the catch-all is
/// the stronger of the two: with a host of its own, or with a literal where the other has a parameter, it takes the
/// protected path itself.
#[derive(Default)]
pub(crate) struct Protected<'p> {
    all: ByHost<'p>,
    /// Those whose path begins with a literal, by that literal.
    by_first: HashMap<&'p str, ByHost<'p>>,
    /// Those whose path does not.
    others: ByHost<'p>,
}

/// One path of a protected route on one of its hosts.
#[derive(Clone, Copy)]
pub(super) struct Guarded<'p> {
    pub(super) route: usize,
    pub(super) pattern: &'p Pattern,
    pub(super) host: Option<&'p HostPattern>,
    pub(super) path: &'p PathPattern,
}

impl<'p> Protected<'p> {
    /// Indexes routes, each with its number.
    pub(crate) fn new(routes: impl IntoIterator<Item = (usize, &'p Pattern)>) -> Self {
        let mut protected = Self::default();
        for guarded in routes.into_iter().flat_map(|(route, pattern)| guarded(route, pattern)) {
            protected.all.add(guarded);
            match guarded.path.segments().first() {
                Some(Segment::Literal(first)) => protected.by_first.entry(first).or_default().add(guarded),
                _ => protected.others.add(guarded),
            }
        }
        protected
    }

    /// Returns the first route, by its number, of which a catch-all of `open` reaches protected paths, or their direct
    /// neighbours.
    ///
    /// A path of `open` that ends in a rest reaches another path if all of this holds:
    /// - some host belongs to both;
    /// - some path that begins with its segments in front of the rest begins with the other's first ones too, and the
    ///   other has at least as many. So a public `/public/{*rest}` beside a protected `/admin` is a sibling, and beside
    ///   a protected `/{*rest}` an exception;
    /// - it is no exception in the place of a parameter either: `/docs/{*rest}` beside a protected `/{tenant}/{*rest}`;
    /// - if both are the same path, some method belongs to both. Otherwise a wrong method is 405.
    pub(crate) fn first_reached_by(&self, open: &Pattern) -> Option<usize> {
        let reached = guarded(usize::MAX, open).filter(|open| open.path.has_rest());
        let reached = reached.flat_map(|open| self.near(open).filter(move |guarded| reaches(&open, guarded)));
        reached.map(|guarded| guarded.route).min()
    }

    /// Returns those that have a host and perhaps a first segment in common with a catch-all.
    fn near(&self, open: Guarded<'p>) -> impl Iterator<Item = &Guarded<'p>> {
        let groups = match open.path.segments().first() {
            Some(Segment::Literal(first)) => [self.by_first.get(&**first), Some(&self.others)],
            _ => [Some(&self.all), None],
        };
        groups.into_iter().flatten().flat_map(move |group| group.on(open.host))
    }
}

/// Returns each path of a route on each of its hosts.
pub(super) fn guarded(route: usize, pattern: &Pattern) -> impl Iterator<Item = Guarded<'_>> {
    let any_host = pattern.hosts.is_empty().then_some(None);
    let hosts = any_host.into_iter().chain(pattern.hosts.iter().map(Some));
    hosts.flat_map(move |host| pattern.paths.iter().map(move |path| Guarded { route, pattern, host, path }))
}

#[derive(Default)]
struct ByHost<'p> {
    /// `None`: any host.
    hosts: HashMap<Option<&'p HostPattern>, Vec<Guarded<'p>>>,
    wildcards: Vec<&'p HostPattern>,
}

impl<'p> ByHost<'p> {
    fn add(&mut self, guarded: Guarded<'p>) {
        let known = self.hosts.entry(guarded.host).or_default();
        if known.is_empty() {
            self.wildcards.extend(guarded.host.filter(|host| host.exact().is_none()));
        }
        known.push(guarded);
    }

    /// Returns all that have a host in common with this one.
    fn on(&self, host: Option<&'p HostPattern>) -> impl Iterator<Item = &Guarded<'p>> {
        let exact = host.filter(|host| host.exact().is_some());
        let above = exact.into_iter().flat_map(|host| self.wildcards.iter().filter(|above| above.contains(host)));
        let keys = exact.map(|host| [Some(host), None]).into_iter().flatten().chain(above.map(|above| Some(*above)));
        let looked_up = keys.filter_map(|key| self.hosts.get(&key));
        let all = exact.is_none().then(|| self.hosts.iter().filter(move |(other, _)| do_hosts_meet(host, **other)));
        looked_up.chain(all.into_iter().flatten().map(|(_, guarded)| guarded)).flatten()
    }
}

/// Returns whether a path of an open route that ends in a rest reaches this one: see [`Protected::first_reached_by`].
pub(super) fn reaches(open: &Guarded<'_>, guarded: &Guarded<'_>) -> bool {
    if !do_hosts_meet(open.host, guarded.host) {
        return false;
    }
    if open.path.is_same(guarded.path) {
        return !open.pattern.methods.intersection(&guarded.pattern.methods).is_empty();
    }
    let is_behind = open.host != guarded.host && contains_host(open.host, guarded.host);
    meets(open.path, guarded.path) && (is_behind || !is_exception(open.path, guarded.path))
}

/// Returns whether two names or wildcards have a host in common: if they are the same, or one is above the other.
pub(crate) fn do_hosts_meet(one: Option<&HostPattern>, other: Option<&HostPattern>) -> bool {
    contains_host(one, other) || contains_host(other, one)
}

/// Returns whether the first matches every host that the second matches; `None` matches any host.
pub(crate) fn contains_host(one: Option<&HostPattern>, other: Option<&HostPattern>) -> bool {
    match (one, other) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(one), Some(other)) => one.contains(other),
    }
}

/// Returns whether some path begins with the catch-all's segments and with the path's, of which there are as many or
/// more.
fn meets(catch_all: &PathPattern, path: &PathPattern) -> bool {
    let differ =
        |pair: (&Segment, &Segment)| matches!(pair, (Segment::Literal(one), Segment::Literal(other)) if one != other);
    catch_all.segments().len() <= path.segments().len() && !catch_all.segments().iter().zip(path.segments()).any(differ)
}

/// Returns whether `path` is a catch-all as well, and `catch_all` is an explicit exception within it.
fn is_exception(catch_all: &PathPattern, path: &PathPattern) -> bool {
    let is_within = |(one, other): (&Segment, &Segment)| *other == Segment::Parameter || one == other;
    path.has_rest()
        && catch_all.segments().len() == path.segments().len()
        && catch_all.segments().iter().zip(path.segments()).all(is_within)
}
