//! Routes that stand in each other's way: ties, and catch-alls beside what they should not reach.

use std::collections::HashSet;

use super::path::Segment;
use super::tree::{Entry, Place};
use super::{HeaderCondition, HostPattern, PathPattern, Pattern};

/// Two routes of which neither is the stronger for some request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tie {
    /// The place of the one in the list that was built from.
    pub first: usize,
    /// The place of the other, later in the list.
    pub second: usize,
    /// What both would take, in words, with the names of both.
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

/// Of two entries of one leaf with equally many header conditions.
fn do_tie(first: &Entry, second: &Entry) -> bool {
    !first.methods.intersection(&second.methods).is_empty() && !are_exclusive(&first.conditions, &second.conditions)
}

fn are_exclusive(first: &[HeaderCondition], second: &[HeaderCondition]) -> bool {
    first.iter().any(|one| second.iter().any(|other| one.excludes(other)))
}

/// Whether a catch-all of `open` reaches what a path of `protected` is there to protect, or what lies right beside it.
///
/// The danger: `/admin` is protected, `/{*rest}` is public, and both go to one server. Whatever the server takes for
/// the same as `/admin`, and the gateway does not, is open: `/admin.json`, `/Admin`, `/admin/users`. Worse where the
/// catch-all is the stronger of the two: with a host of its own, or with a literal where the other has a parameter, it
/// takes the protected path itself.
///
/// It holds for a path of `open` that ends in a rest, where all of this is so:
/// - some host is both's;
/// - some path that begins with its segments in front of the rest begins with the other's first ones too, and the other
///   has at least as many. So a public `/public/{*rest}` beside a protected `/admin` is a sibling, and beside a
///   protected `/{*rest}` an exception;
/// - it is no exception in the place of a parameter either: `/docs/{*rest}` beside a protected `/{tenant}/{*rest}`;
/// - where both are the same path, some method is both's. Otherwise a wrong method is 405.
pub fn covers(open: &Pattern, protected: &Pattern) -> bool {
    open.paths.iter().filter(|path| path.has_rest()).any(|catch_all| {
        host_pairs(open, protected).any(|(open_host, protected_host)| {
            protected.paths.iter().any(|path| match is_same_shape(catch_all, path) {
                true => !open.methods.intersection(&protected.methods).is_empty(),
                false => {
                    let is_behind = open_host != protected_host && contains_host(open_host, protected_host);
                    meets(catch_all, path) && (is_behind || !is_exception(catch_all, path))
                }
            })
        })
    })
}

/// The hosts of the one with those of the other that have a host in common with them.
fn host_pairs<'p>(
    open: &'p Pattern,
    protected: &'p Pattern,
) -> impl Iterator<Item = (Option<&'p HostPattern>, Option<&'p HostPattern>)> {
    // Two names or wildcards that have a host in common are the same, or one is above the other.
    hosts(open)
        .flat_map(|one| hosts(protected).map(move |other| (one, other)))
        .filter(|(one, other)| contains_host(*one, *other) || contains_host(*other, *one))
}

/// The hosts of a pattern; one `None` for any host.
fn hosts(pattern: &Pattern) -> impl Iterator<Item = Option<&HostPattern>> {
    let any = pattern.hosts.is_empty().then_some(None);
    any.into_iter().chain(pattern.hosts.iter().map(Some))
}

fn contains_host(one: Option<&HostPattern>, other: Option<&HostPattern>) -> bool {
    match (one, other) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(one), Some(other)) => one.contains(other),
    }
}

fn is_same_shape(one: &PathPattern, other: &PathPattern) -> bool {
    one.has_rest() == other.has_rest() && one.segments() == other.segments()
}

/// Whether some path begins with the catch-all's segments and with the path's, of which there are as many or more.
fn meets(catch_all: &PathPattern, path: &PathPattern) -> bool {
    let differ =
        |pair: (&Segment, &Segment)| matches!(pair, (Segment::Literal(one), Segment::Literal(other)) if one != other);
    catch_all.segments().len() <= path.segments().len() && !catch_all.segments().iter().zip(path.segments()).any(differ)
}

/// Whether `path` is a catch-all as well, and this one says for some of what it takes that it is otherwise.
fn is_exception(catch_all: &PathPattern, path: &PathPattern) -> bool {
    let is_within = |(one, other): (&Segment, &Segment)| *other == Segment::Parameter || one == other;
    path.has_rest()
        && catch_all.segments().len() == path.segments().len()
        && catch_all.segments().iter().zip(path.segments()).all(is_within)
}
