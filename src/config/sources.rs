//! The files of a configuration as they were read.

use std::path::PathBuf;

/// One file of a configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its path, as shown in messages.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// All files of a configuration, the main file first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources(pub Vec<Source>);

impl Sources {
    /// Returns line and column, both from 1, the column in characters.
    pub(super) fn position(&self, file: usize, offset: usize) -> (usize, usize) {
        let text = self.0.get(file).map_or("", |source| source.text.as_str());
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.bytes().filter(|byte| *byte == b'\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}
