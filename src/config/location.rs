use super::{node::Node, problem::Problems};

/// Where an entry of a file stands, for messages about it that come later.
#[derive(Clone, Debug)]
pub struct Location {
    /// The file.
    pub file: usize,
    /// The bytes.
    pub span: std::ops::Range<usize>,
    /// The way to it in words.
    pub path: String,
}

impl Location {
    pub(super) fn of(node: &Node<'_>) -> Self {
        Self { file: node.file, span: node.span(), path: node.path.clone() }
    }

    /// Says what is hardly meant by the entry.
    pub fn warn(&self, problems: &mut Problems, text: impl Into<String>) {
        problems.warn(self.file, self.span.clone(), self.path.clone(), text);
    }

    /// Says what is hardly meant by a field of the entry.
    pub fn warn_of(&self, problems: &mut Problems, field: &str, text: impl Into<String>) {
        problems.warn(self.file, self.span.clone(), format!("{}.{field}", self.path), text);
    }

    /// Says what is wrong with a field of the entry.
    pub fn problem(&self, problems: &mut Problems, field: &str, text: impl Into<String>) {
        let path = if field.is_empty() { self.path.clone() } else { format!("{}.{field}", self.path) };
        problems.add(self.file, self.span.clone(), path, text);
    }
}
