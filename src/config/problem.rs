//! Everything that is wrong with a configuration, collected in one run.

use std::{collections::HashSet, ops::Range};

use super::{
    report::{Located, Report},
    sources::Sources,
};

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    file: usize,
    span: Range<usize>,
    path: String,
    text: String,
}

/// The problems of one run.
#[derive(Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Problems {
    /// Adds one. `path` is the way to the field in words, such as `routes.orders.plugins[0]`.
    pub fn add(&mut self, file: usize, span: Range<usize>, path: impl Into<String>, text: impl Into<String>) {
        self.list.push(Problem { file, span, path: in_one_line(path.into()), text: in_one_line(text.into()) });
    }

    /// Adds something that is hardly meant, and not wrong.
    pub fn warn(&mut self, file: usize, span: Range<usize>, path: impl Into<String>, text: impl Into<String>) {
        self.warnings.push(Problem { file, span, path: in_one_line(path.into()), text: in_one_line(text.into()) });
    }

    /// What is hardly meant, put in order like what is wrong.
    pub fn warnings(&mut self, sources: &Sources) -> Report {
        Self { list: std::mem::take(&mut self.warnings), warnings: Vec::new() }.locate(sources)
    }

    /// Takes over those of another run.
    pub fn append(&mut self, mut others: Self) {
        self.list.append(&mut others.list);
        self.warnings.append(&mut others.warnings);
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are so far.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Puts them in the order of the files and turns offsets into lines and columns. What is wrong with a default is
    /// found once for each route, and told once.
    pub fn locate(mut self, sources: &Sources) -> Report {
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

/// Names and values of the file stand in messages: they do not break lines, and they do not command terminals.
fn in_one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let shown =
        |letter: char| if letter.is_control() { letter.escape_default().to_string() } else { letter.to_string() };
    text.chars().map(shown).collect()
}

/// A number of things: `1 route`, `2 routes`.
pub fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// The name nearest to a misspelt one, if any is near.
pub fn nearest<'a>(name: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = among.into_iter().map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate));
    near.filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4).min().map(|(_, candidate)| candidate)
}

/// `, did you mean ...?`, or nothing.
pub fn suggestion<'a>(name: &str, among: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, among).map_or_else(String::new, |candidate| format!(", did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests;
