//! Errors and warnings with their file, line and column.

use std::fmt;

/// An error or a warning, with its location as it is printed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Located {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The path of the field as text.
    pub path: String,
    /// The message.
    pub text: String,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)
    }
}

/// All errors, or all warnings, of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Report(pub Vec<Located>);

impl Report {
    /// Returns a report with one entry about a file as a whole.
    pub(crate) fn of_file(file: &std::path::Path, text: impl Into<String>) -> Self {
        Self(vec![Located {
            file: file.display().to_string(),
            line: 1,
            column: 1,
            path: String::new(),
            text: text.into(),
        }])
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| writeln!(f, "{problem}"))
    }
}

impl std::error::Error for Report {}
