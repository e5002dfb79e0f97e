//! Path patterns: `/orders`, `/orders/{id}/items`, `/files/{*rest}`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::canonical::{PathFault, canonical};

/// The most segments of a pattern. A search goes one call deeper with each, so this bounds its stack as well.
pub(crate) const MAX_PATH_SEGMENTS: usize = 64;

/// A pattern for whole paths.
///
/// Segments are literals or parameters (`{id}`, one segment that is not empty); the last may be a rest (`{*rest}`,
/// everything that follows, even nothing). `/admin` matches `/admin/` too, in the pattern as in the request;
/// `/orders/{*rest}` matches `/orders/`, but not `/orders`. Literals are stored as [`canonical`] makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathPattern {
    text: Box<str>,
    segments: Box<[Segment]>,
    has_rest: bool,
}

/// A segment that is not the rest. Parameters have no name here: it does not matter for matching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(Box<str>),
    Parameter,
}

impl PathPattern {
    /// Returns the pattern as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Returns whether the pattern ends in a rest, and so is a catch-all below its other segments.
    pub(crate) fn has_rest(&self) -> bool {
        self.has_rest
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PathPattern {
    /// Returns whether it has neither a parameter nor a rest.
    pub(crate) fn is_literal(&self) -> bool {
        !self.has_rest && self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_)))
    }

    /// Returns whether both match the same paths.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.has_rest == other.has_rest && self.segments == other.segments
    }
}

impl FromStr for PathPattern {
    type Err = PathPatternFault;

    fn from_str(text: &str) -> Result<Self, PathPatternFault> {
        let body = text.strip_prefix('/').ok_or(PathPatternFault::NotAbsolute)?;
        if text.contains("//") {
            return Err(PathPatternFault::EmptySegment);
        }
        let mut reader = Reader::default();
        for segment in body.split_terminator('/') {
            reader.take(segment)?;
        }
        let has_rest = match reader.rest {
            Some(rest) if body.ends_with('/') => return Err(PathPatternFault::RestNotLast(rest.into())),
            rest => rest.is_some(),
        };
        Ok(Self { text: text.into(), segments: reader.segments.into(), has_rest })
    }
}

/// The parts of a pattern that have been read.
#[derive(Default)]
struct Reader<'t> {
    segments: Vec<Segment>,
    names: Vec<&'t str>,
    /// The segment that is the rest.
    rest: Option<&'t str>,
}

impl<'t> Reader<'t> {
    fn take(&mut self, segment: &'t str) -> Result<(), PathPatternFault> {
        if let Some(rest) = self.rest {
            return Err(PathPatternFault::RestNotLast(rest.into()));
        }
        if self.segments.len() == MAX_PATH_SEGMENTS {
            return Err(PathPatternFault::TooManySegments);
        }
        let Some(inside) = braced(segment)? else {
            self.segments.push(Segment::Literal(literal(segment)?));
            return Ok(());
        };
        match inside.strip_prefix('*') {
            Some(name) => {
                self.name(segment, name)?;
                self.rest = Some(segment);
            }
            None => {
                self.name(segment, inside)?;
                self.segments.push(Segment::Parameter);
            }
        }
        Ok(())
    }

    fn name(&mut self, segment: &str, name: &'t str) -> Result<(), PathPatternFault> {
        let is_name = !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name {
            return Err(PathPatternFault::Name(segment.into()));
        }
        if self.names.contains(&name) {
            return Err(PathPatternFault::DuplicateName(name.into()));
        }
        self.names.push(name);
        Ok(())
    }
}

/// Returns the text between the braces of a whole segment; `None` for a segment without braces.
fn braced(segment: &str) -> Result<Option<&str>, PathPatternFault> {
    if !segment.contains(['{', '}']) {
        return Ok(None);
    }
    let inside = segment.strip_prefix('{').and_then(|inside| inside.strip_suffix('}'));
    match inside {
        Some(inside) if !inside.contains(['{', '}']) => Ok(Some(inside)),
        _ => Err(PathPatternFault::PartOfSegment(segment.into())),
    }
}

/// Returns the name of a parameter as other gateways and frameworks write it: `:id`, `<id>`, `<int:id>`. Taken
/// literally it would match nothing that anybody requests, and the path would seem to be served.
fn foreign_parameter(segment: &str) -> Option<&str> {
    let angled = segment.strip_prefix('<').and_then(|inside| inside.strip_suffix('>'));
    let inside = match angled {
        Some(inside) => inside.rsplit(':').next().unwrap_or(inside),
        None => segment.strip_prefix(':')?,
    };
    let end = inside.bytes().position(|byte| !byte.is_ascii_alphanumeric() && byte != b'_').unwrap_or(inside.len());
    let is_name = inside.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    Some(if is_name { &inside[..end] } else { "name" })
}

fn literal(segment: &str) -> Result<Box<str>, PathPatternFault> {
    if matches!(segment, "*" | "**") {
        return Err(PathPatternFault::Star(segment.into()));
    }
    if let Some(name) = foreign_parameter(segment) {
        return Err(PathPatternFault::ForeignParameter(segment.into(), name.into()));
    }
    let path = format!("/{segment}");
    let path = canonical(path.as_bytes()).map_err(|fault| PathPatternFault::Literal(segment.into(), fault))?;
    Ok(path.path[1..].into())
}

/// The reason why a path pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum PathPatternFault {
    /// No `/` in front.
    #[error("a path begins with `/`")]
    NotAbsolute,
    /// `//`.
    #[error("`//` is in no request that is let through; write one `/`")]
    EmptySegment,
    /// A literal that no request can have.
    #[error("no request that is let through has the segment `{0}`: {1}")]
    Literal(String, #[source] PathFault),
    /// `{id}.json` and the like.
    #[error(
        "`{0}`: a parameter takes a whole segment, as in `/orders/{{id}}`; a literal brace is written `%7B` or `%7D`"
    )]
    PartOfSegment(String),
    /// `{}`, `{*}`, `{1st}`, `{a-b}`.
    #[error("`{0}`: a parameter has a name of letters, digits and `_`, as in `{{id}}` or `{{*rest}}`")]
    Name(String),
    /// The same name twice.
    #[error("two parameters have the name `{0}`")]
    DuplicateName(String),
    /// A rest with something after it.
    #[error("`{0}` takes all that follows, so it has to be the end of the path")]
    RestNotLast(String),
    /// `*`, which means something in other gateways.
    #[error("`{0}` would be taken literally; write `{{name}}` for one segment, `{{*rest}}` for all that follow")]
    Star(String),
    /// `:id` or `<id>`, which are parameters elsewhere.
    #[error("`{0}` would be taken literally; a parameter is written `{{{1}}}`")]
    ForeignParameter(String, String),
    /// More than [`MAX_PATH_SEGMENTS`].
    #[error("a path has at most {MAX_PATH_SEGMENTS} segments")]
    TooManySegments,
}
