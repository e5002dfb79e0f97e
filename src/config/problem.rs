//! The errors and warnings of a configuration, collected in one run.

use std::{collections::HashSet, ops::Range};

use super::{
    report::{Located, Report},
    sources::Sources,
};

/// An error or a warning with its location.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Problem {
    file: usize,
    span: Range<usize>,
    path: String,
    text: String,
}

/// The problems of one run.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    list: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Problems {
    /// Adds an error. `path` is the path of the field as text, such as `routes.orders.plugins[0]`.
    pub(crate) fn add(&mut self, file: usize, span: Range<usize>, path: impl Into<String>, text: impl Into<String>) {
        self.list.push(Problem { file, span, path: in_one_line(path.into()), text: in_one_line(text.into()) });
    }

    /// Adds a warning: a setting that is valid but probably a mistake.
    pub(crate) fn warn(&mut self, file: usize, span: Range<usize>, path: impl Into<String>, text: impl Into<String>) {
        self.warnings.push(Problem { file, span, path: in_one_line(path.into()), text: in_one_line(text.into()) });
    }

    /// Returns the warnings, in the order of the files.
    pub(crate) fn warnings(&mut self, sources: &Sources) -> Report {
        Self { list: std::mem::take(&mut self.warnings), warnings: Vec::new() }.locate(sources)
    }

    /// Adds those of another run.
    pub(crate) fn append(&mut self, mut others: Self) {
        self.list.append(&mut others.list);
        self.warnings.append(&mut others.warnings);
    }

    /// Returns whether there is no error so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the number of errors so far.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Puts them in the order of the files and turns offsets into lines and columns. A problem with a default is found
    /// once for each route, and reported once.
    pub(crate) fn locate(mut self, sources: &Sources) -> Report {
        let mut told = HashSet::new();
        self.list.retain(|problem| told.insert(problem.clone()));
        self.list.sort_by_key(|problem| (problem.file, problem.span.start));
        let located = self.list.into_iter().map(|problem| {
            let (line, column) = sources.position(problem.file, problem.span.start);
            let file = sources.0.get(problem.file).map_or_else(String::new, |source| source.path.display().to_string());
            Located { file, line, column, path: problem.path, text: problem.text }
        });
        Report(located.collect())
    }
}

/// Escapes names and values of the file for messages: they must not break lines, nor send control sequences to
/// terminals.
fn in_one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let shown =
        |letter: char| if letter.is_control() { letter.escape_default().to_string() } else { letter.to_string() };
    text.chars().map(shown).collect()
}

/// Returns a number with its noun: `1 route`, `2 routes`.
pub(crate) fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// Returns the name that is most similar to a misspelt one, if any is similar.
pub(crate) fn nearest<'a>(name: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = among.into_iter().map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate));
    near.filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4).min().map(|(_, candidate)| candidate)
}

/// Returns `, did you mean ...?`, or nothing.
pub(crate) fn suggestion<'a>(name: &str, among: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, among).map_or_else(String::new, |candidate| format!(", did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests;
