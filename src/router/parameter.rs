//! The values of a pattern's parameters in a path.
//!
//! They are computed on demand, from the pattern's own text: the router does not need names, and a request whose
//! parameters nobody uses pays nothing for them.

use super::path::{PathPattern, Segment};

impl PathPattern {
    /// Returns whether the pattern matches this canonical path. The router's own search is the authority; this agrees
    /// with it.
    pub(crate) fn fits(&self, path: &str) -> bool {
        self.behind_segments(path).is_some_and(|rest| match rest {
            None => !self.has_rest(),
            Some(rest) => self.has_rest() || rest.is_empty(),
        })
    }

    /// Returns the value of `{name}` or `{*name}` in `path`, which must match the pattern: still percent-encoded, and
    /// empty only for a rest.
    pub(crate) fn parameter<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        let body = self.as_str().strip_prefix('/')?;
        let mut rest = path.strip_prefix('/');
        for written in body.split('/') {
            let (segment, below) = split(rest?);
            match written.strip_prefix('{').and_then(|inside| inside.strip_suffix('}')) {
                Some(inside) if inside == name => return Some(segment),
                Some(inside) if inside.strip_prefix('*') == Some(name) => return rest,
                _ => rest = below,
            }
        }
        None
    }

    /// Returns the names of its parameters, including the rest's.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &str> {
        self.as_str().split('/').filter_map(|segment| {
            let inside = segment.strip_prefix('{')?.strip_suffix('}')?;
            Some(inside.strip_prefix('*').unwrap_or(inside))
        })
    }

    /// Returns the rest of the path after the pattern's segments; the outer `None`: they do not match.
    #[expect(clippy::option_option, reason = "the inner one is a path that ends without a slash, as in the search")]
    fn behind_segments<'p>(&self, path: &'p str) -> Option<Option<&'p str>> {
        let mut rest = path.strip_prefix('/');
        rest?;
        for segment in self.segments() {
            let (found, below) = split(rest?);
            let matches = match segment {
                Segment::Literal(literal) => **literal == *found,
                Segment::Parameter => !found.is_empty(),
            };
            if !matches {
                return None;
            }
            rest = below;
        }
        Some(rest)
    }
}

/// Returns the first segment, and the path below it.
fn split(path: &str) -> (&str, Option<&str>) {
    match path.split_once('/') {
        Some((segment, below)) => (segment, Some(below)),
        None => (path, None),
    }
}
