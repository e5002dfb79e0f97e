//! The trees that paths are looked up in, one for each host pattern.
//!
//! A node is a position in a path, after a number of segments; a leaf holds the routes of one host pattern and path
//! shape. Nodes of all trees lie in one list and refer to each other by index.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use http::Method;
use http::header::HeaderValue;

use super::{
    host::HostPattern,
    kept::Headers,
    method::MethodSet,
    path::{PathPattern, Segment},
    pattern::{HeaderCondition, Pattern},
};

/// The result of [`Router::find`](super::Router::find).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Find<'r> {
    /// The route with this index in the list that the router was built from.
    Route(usize),
    /// The path has routes, but none of them accepts the method: 405.
    MethodNotAllowed {
        /// The value of the `Allow` header: every method that some route accepts on this path.
        allow: &'r HeaderValue,
    },
    /// No route: 404.
    NotFound,
}

/// A node of a [`Forest`].
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeIndex(u32);

#[derive(Debug, Clone, Copy)]
struct LeafIndex(u32);

/// All trees. It must be finished before it is searched.
#[derive(Debug, Default)]
pub(super) struct Forest {
    nodes: Vec<Node>,
    leaves: Vec<Leaf>,
    /// A description of each leaf for errors, until the forest is finished: it would be in the way of a search.
    places: Vec<Place>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, NodeIndex, FixedState>,
    parameter: Option<NodeIndex>,
    /// The routes whose pattern ends here.
    end: Option<LeafIndex>,
    /// The routes whose pattern has its rest here.
    rest: Option<LeafIndex>,
}

#[derive(Debug)]
struct Leaf {
    /// More header conditions first, then in the order of the routes.
    entries: Vec<Entry>,
    /// The methods of all of them together.
    allow: HeaderValue,
}

/// The description of a leaf, by the first pattern that led there.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) host: Option<HostPattern>,
    pub(super) path: PathPattern,
}

/// A route at a leaf.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) route: usize,
    pub(super) methods: MethodSet,
    pub(super) conditions: Arc<[HeaderCondition]>,
}

impl Entry {
    pub(super) fn new(route: usize, pattern: &Pattern) -> Self {
        Self { route, methods: pattern.methods.clone(), conditions: pattern.headers.as_slice().into() }
    }
}

/// The part of a request beside host and path.
pub(super) struct Wanted<'w, H> {
    pub(super) method: &'w Method,
    pub(super) headers: &'w H,
}

impl Forest {
    /// Begins a tree.
    pub(super) fn plant(&mut self) -> NodeIndex {
        let index = u32::try_from(self.nodes.len()).expect("a configuration has fewer than 2^32 path segments");
        self.nodes.push(Node::default());
        NodeIndex(index)
    }

    pub(super) fn insert(&mut self, root: NodeIndex, host: Option<&HostPattern>, path: &PathPattern, entry: &Entry) {
        let node = path.segments().iter().fold(root, |node, segment| self.child(node, segment));
        let node = &mut self.nodes[node.0 as usize];
        let place = if path.has_rest() { &mut node.rest } else { &mut node.end };
        let leaf = *place.get_or_insert_with(|| {
            let index = u32::try_from(self.leaves.len()).expect("there are no more leaves than path patterns");
            self.leaves.push(Leaf::default());
            self.places.push(Place { host: host.cloned(), path: path.clone() });
            LeafIndex(index)
        });
        let entries = &mut self.leaves[leaf.0 as usize].entries;
        // A route that has two spellings of one path, `/a` and `/a/`, does not tie with itself.
        if entries.last().is_none_or(|last| last.route != entry.route) {
            entries.push(entry.clone());
        }
    }

    fn child(&mut self, parent: NodeIndex, segment: &Segment) -> NodeIndex {
        let node = &self.nodes[parent.0 as usize];
        let known = match segment {
            Segment::Literal(literal) => node.literals.get(literal).copied(),
            Segment::Parameter => node.parameter,
        };
        known.unwrap_or_else(|| {
            let child = self.plant();
            let node = &mut self.nodes[parent.0 as usize];
            match segment {
                Segment::Literal(literal) => drop(node.literals.insert(literal.clone(), child)),
                Segment::Parameter => node.parameter = Some(child),
            }
            child
        })
    }

    /// Sorts every leaf, and passes it to `look`.
    pub(super) fn finish(&mut self, mut look: impl FnMut(&Place, &[Entry])) {
        for (leaf, place) in self.leaves.iter_mut().zip(std::mem::take(&mut self.places)) {
            leaf.finish();
            look(&place, &leaf.entries);
        }
    }

    /// Searches for the rest of a path below `node`: `None` is its end, and `Some("")` its end after a trailing slash.
    ///
    /// A tree has one way to each node, so no node is visited twice, and backtracking is bounded by the patterns.
    pub(super) fn search(
        &self,
        node: NodeIndex,
        rest: Option<&str>,
        wanted: &Wanted<'_, impl Headers>,
    ) -> Option<Find<'_>> {
        let node = &self.nodes[node.0 as usize];
        let at_end = || self.answer(node.end, wanted);
        let at_rest = || self.answer(node.rest, wanted);
        let rest = match rest {
            None => return at_end(),
            Some("") => return at_end().or_else(at_rest),
            Some(rest) => rest,
        };
        let (segment, below) = match rest.split_once('/') {
            Some((segment, below)) => (segment, Some(below)),
            None => (rest, None),
        };
        let literal = node.literals.get(segment).and_then(|child| self.search(*child, below, wanted));
        literal
            .or_else(|| node.parameter.filter(|_| !segment.is_empty()).and_then(|it| self.search(it, below, wanted)))
            .or_else(at_rest)
    }

    fn answer(&self, leaf: Option<LeafIndex>, wanted: &Wanted<'_, impl Headers>) -> Option<Find<'_>> {
        self.leaves[leaf?.0 as usize].answer(wanted)
    }
}

impl Default for Leaf {
    fn default() -> Self {
        Self { entries: Vec::with_capacity(1), allow: HeaderValue::from_static("") }
    }
}

impl Leaf {
    fn finish(&mut self) {
        self.entries.sort_by_key(|entry| (std::cmp::Reverse(entry.conditions.len()), entry.route));
        let mut methods = MethodSet::empty();
        self.entries.iter().for_each(|entry| methods.extend(&entry.methods));
        self.allow = methods.allow();
    }

    /// Returns `None` only if no route's header conditions are met: only then are weaker paths searched.
    fn answer(&self, wanted: &Wanted<'_, impl Headers>) -> Option<Find<'_>> {
        let mut settled = None;
        for entry in &self.entries {
            if wanted.headers.meet(&entry.conditions) {
                if entry.methods.contains(wanted.method) {
                    return Some(Find::Route(entry.route));
                }
                settled = Some(Find::MethodNotAllowed { allow: &self.allow });
            }
        }
        settled
    }
}
