//! The location of a part of the configuration, for errors that are found after it was read.

use super::{node::Node, problem::Problems};

/// The location of an entry in a file, for messages that come after it was read.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    /// The file.
    pub file: usize,
    /// The range of bytes.
    pub span: std::ops::Range<usize>,
    /// The path to it as text, such as `routes.orders.auth[0]`.
    pub path: String,
}

impl Location {
    pub(super) fn of(node: &Node<'_>) -> Self {
        Self { file: node.file, span: node.span(), path: node.path.clone() }
    }

    /// Adds a warning about the entry.
    pub(crate) fn warn(&self, problems: &mut Problems, text: impl Into<String>) {
        problems.warn(self.file, self.span.clone(), self.path.clone(), text);
    }

    /// Adds a warning about a field of the entry.
    pub(crate) fn warn_of(&self, problems: &mut Problems, field: &str, text: impl Into<String>) {
        problems.warn(self.file, self.span.clone(), format!("{}.{field}", self.path), text);
    }

    /// Adds an error about a field of the entry.
    pub(crate) fn problem(&self, problems: &mut Problems, field: &str, text: impl Into<String>) {
        let path = if field.is_empty() { self.path.clone() } else { format!("{}.{field}", self.path) };
        problems.add(self.file, self.span.clone(), path, text);
    }
}
