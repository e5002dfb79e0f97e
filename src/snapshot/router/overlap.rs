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

/// Whether a catch-all of `weaker` lies under a path of `stronger`: it would take that path's requests if `stronger`
/// were not there, and it does take what stands below or beside that path.
///
/// The danger: `/admin` is protected, `/{*rest}` is public, and both go to one server. Whatever the server takes for
/// the same as `/admin`, and the gateway does not, is open: `/admin.json`, `/Admin`, `/admin/users`.
///
/// It holds for a path of `weaker` that ends in a rest, where all of this is so:
/// - its host is the other's, or contains it: no host, the same, a wildcard above it;
/// - its segments in front of the rest agree with the other's first ones, and where they differ first, `weaker` has the
///   parameter. So a public `/public/{*rest}` beside a protected `/{*rest}` is no catch-all but an exception;
/// - where both are the same path, some method is both's. Otherwise a wrong method is 405.
pub fn covers(weaker: &Pattern, stronger: &Pattern) -> bool {
    weaker.paths.iter().filter(|path| path.has_rest()).any(|catch_all| {
        host_pairs(weaker, stronger).any(|(weak_host, strong_host)| {
            stronger.paths.iter().any(|path| match is_same_shape(catch_all, path) {
                true => !weaker.methods.intersection(&stronger.methods).is_empty(),
                false => lies_under(catch_all, path, weak_host != strong_host),
            })
        })
    })
}

/// The hosts of the one with those of the other that they contain.
fn host_pairs<'p>(
    weaker: &'p Pattern,
    stronger: &'p Pattern,
) -> impl Iterator<Item = (Option<&'p HostPattern>, Option<&'p HostPattern>)> {
    hosts(weaker)
        .flat_map(|weak| hosts(stronger).map(move |strong| (weak, strong)))
        .filter(|(weak, strong)| contains_host(*weak, *strong))
}

/// The hosts of a pattern; one `None` for any host.
fn hosts(pattern: &Pattern) -> impl Iterator<Item = Option<&HostPattern>> {
    let any = pattern.hosts.is_empty().then_some(None);
    any.into_iter().chain(pattern.hosts.iter().map(Some))
}

fn contains_host(weaker: Option<&HostPattern>, stronger: Option<&HostPattern>) -> bool {
    match (weaker, stronger) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(weaker), Some(stronger)) => weaker.contains(stronger),
    }
}

fn is_same_shape(one: &PathPattern, other: &PathPattern) -> bool {
    one.has_rest() == other.has_rest() && one.segments() == other.segments()
}

/// `is_behind`: the host has decided already that the catch-all comes after the path.
fn lies_under(catch_all: &PathPattern, path: &PathPattern, mut is_behind: bool) -> bool {
    for (weak, strong) in catch_all.segments().iter().zip(path.segments()) {
        match (weak, strong) {
            (Segment::Literal(weak), Segment::Literal(strong)) if weak != strong => return false,
            (Segment::Literal(_), Segment::Parameter) if !is_behind => return false,
            (Segment::Parameter, Segment::Literal(_)) => is_behind = true,
            _ => {}
        }
    }
    catch_all.segments().len() <= path.segments().len()
}
