//! A value in a file with its location: walks tables by hand, decodes leaves with serde, and goes on after an error.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use self::{
    message::{NO_STRING, between_ticks, explain},
    spans::{Value, cut, follow, innermost, join},
};
use super::problem::{Problems, suggestion};

mod message;
mod spans;

/// Decodes a value.
type Decode<T> = fn(Value<'_>) -> Result<T, toml::de::Error>;

/// A value of a file, with the path that leads to it.
#[derive(Clone)]
pub(crate) struct Node<'i> {
    /// The path as text, such as `routes.orders.plugins[0]`.
    pub path: String,
    /// The index of its file in [`Sources`](super::Sources).
    pub file: usize,
    /// Names that are valid in it but have already been taken out; they are suggested for misspelt ones.
    also_known: &'static [&'static str],
    value: Value<'i>,
}

/// A name in a file: a table's key or a string that refers to one.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    /// The name.
    pub text: String,
    /// The index of its file.
    pub file: usize,
    /// The range of bytes.
    pub span: Range<usize>,
    /// The path to it as text.
    pub path: String,
}

impl Name {
    /// Adds an error about it.
    pub(crate) fn problem(&self, problems: &mut Problems, text: impl Into<String>) {
        problems.add(self.file, self.span.clone(), self.path.clone(), text);
    }

    /// Adds the error that there is no such `what`, and suggests a known name that is similar.
    pub(crate) fn unknown<'a>(&self, what: &str, known: impl IntoIterator<Item = &'a str>, problems: &mut Problems) {
        let near = suggestion(&self.text, known);
        self.problem(problems, format!("there is no {what} `{}`{near}", self.text));
    }
}

impl<'i> Node<'i> {
    /// Parses a file. Only the first syntax error of each line is reported: those after it are mostly consequences.
    pub(crate) fn parse(file: usize, text: &'i str, problems: &mut Problems) -> Option<Self> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut errors: Vec<_> =
            errors.iter().map(|error| (error.span().unwrap_or(0..0), error.message().trim_end())).collect();
        errors.sort_by_key(|(span, _)| span.start);
        let is_whole = errors.is_empty();
        let mut before: Option<(usize, &str)> = None;
        for (span, message) in errors {
            let start = span.start.min(text.len());
            let is_echo = before.is_some_and(|(last, told)| {
                let between = &text.as_bytes()[last.min(start)..start];
                // If a table appears twice, each of its keys is reported as a duplicate: only the first report is kept.
                let is_same_table = message == "duplicate key" && told == message && !contains(between, b"\n[");
                is_same_table || !between.contains(&b'\n')
            });
            if !is_echo {
                problems.add(file, span, "", message);
            }
            before = Some((start, message));
        }
        let span = root.span();
        is_whole.then(|| Self {
            path: String::new(),
            file,
            also_known: &[],
            value: toml::Spanned::new(span, DeValue::Table(root.into_inner())),
        })
    }

    /// Shifts the node of a piece that begins at this byte of its file.
    pub(super) fn shifted(self, by: usize) -> Self {
        Self { value: shifted(self.value, by), ..self }
    }

    /// Returns its range of bytes. That of a table written as `[a.b]` covers its header alone.
    pub(crate) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// Adds an error about it.
    pub(crate) fn problem(&self, problems: &mut Problems, text: impl Into<String>) {
        problems.add(self.file, self.span(), self.path.clone(), text);
    }

    /// Adds a warning about it.
    pub(crate) fn warn(&self, problems: &mut Problems, text: impl Into<String>) {
        problems.warn(self.file, self.span(), self.path.clone(), text);
    }

    /// Returns the string, if it is one.
    pub(crate) fn as_str(&self) -> Option<&str> {
        self.value.get_ref().as_str()
    }

    /// Returns whether it is a table.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Table(_))
    }

    /// Returns whether it is a table that contains nothing but empty tables and lists.
    pub(super) fn is_hollow(&self) -> bool {
        let is_empty = |value: &DeValue<'_>| match value {
            DeValue::Table(table) => table.is_empty(),
            DeValue::Array(items) => items.is_empty(),
            _ => false,
        };
        matches!(self.value.get_ref(), DeValue::Table(table) if table.values().all(|value| is_empty(value.get_ref())))
    }

    /// Returns whether it is a list.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Array(_))
    }

    /// Returns the value itself.
    pub(super) fn value(&self) -> &DeValue<'i> {
        self.value.get_ref()
    }

    /// Returns the string as a name that refers to something.
    pub(crate) fn name(&self) -> Option<Name> {
        let text = self.as_str()?.to_owned();
        Some(Name { text, file: self.file, span: self.span(), path: self.path.clone() })
    }

    /// Adds names that have been taken out already: they are suggested for misspelt ones.
    #[must_use]
    pub(crate) fn knowing(self, also_known: &'static [&'static str]) -> Self {
        Self { also_known, ..self }
    }

    /// Takes an entry out of a table.
    pub(crate) fn take(&mut self, key: &str) -> Option<Node<'i>> {
        let DeValue::Table(table) = self.value.get_mut() else { return None };
        let value = table.remove(key)?;
        Some(Node { path: join(&self.path, key), file: self.file, also_known: &[], value })
    }

    /// Returns whether a table has this entry.
    pub(crate) fn has(&self, key: &str) -> bool {
        matches!(self.value.get_ref(), DeValue::Table(table) if table.contains_key(key))
    }

    /// Returns a copy of an entry of a table.
    pub(crate) fn entry(&self, key: &str) -> Option<Node<'i>> {
        let DeValue::Table(table) = self.value.get_ref() else { return None };
        Some(Node { path: join(&self.path, key), file: self.file, also_known: &[], value: table.get(key)?.clone() })
    }

    /// Returns an empty table with the same location.
    pub(crate) fn shell(&self) -> Node<'i> {
        let value = toml::Spanned::new(self.span(), DeValue::Table(DeTable::new()));
        Node { path: self.path.clone(), file: self.file, also_known: &[], value }
    }

    /// Moves an entry of another table into this one.
    pub(crate) fn move_from(&mut self, other: &mut Node<'i>, key: &str) {
        let DeValue::Table(from) = other.value.get_mut() else { return };
        if let (Some((key, value)), DeValue::Table(into)) = (from.remove_entry(key), self.value.get_mut()) {
            into.insert(key, value);
        }
    }

    /// Returns the entries of a table.
    pub(crate) fn entries(self, problems: &mut Problems) -> Vec<(Name, Node<'i>)> {
        if !self.is_table() {
            self.problem(problems, "this has to be a table");
            return Vec::new();
        }
        let DeValue::Table(table) = self.value.into_inner() else { return Vec::new() };
        let entries = table.into_iter().map(|(key, value)| {
            let path = join(&self.path, key.get_ref());
            let name =
                Name { span: key.span(), file: self.file, path: path.clone(), text: key.into_inner().into_owned() };
            (name, Node { path, file: self.file, also_known: &[], value })
        });
        entries.collect()
    }

    /// Returns the items of an array.
    pub(crate) fn items(self, problems: &mut Problems) -> Vec<Node<'i>> {
        if !matches!(self.value.get_ref(), DeValue::Array(_)) {
            self.problem(problems, "this has to be a list");
            return Vec::new();
        }
        let DeValue::Array(array) = self.value.into_inner() else { return Vec::new() };
        let items = array.into_iter().enumerate();
        items
            .map(|(i, value)| Node { path: format!("{}[{i}]", self.path), file: self.file, also_known: &[], value })
            .collect()
    }

    /// Returns the span of a field below this node, for a message without one (`allow[1].groups`).
    pub(crate) fn span_of(&self, field: &str) -> Range<usize> {
        let mut at = &self.value;
        for step in field.split(['.', '[']).map(|step| step.trim_end_matches(']')).filter(|step| !step.is_empty()) {
            let below = match at.get_ref() {
                DeValue::Table(table) => table.iter().find(|(key, _)| key.get_ref() == step).map(|(_, value)| value),
                DeValue::Array(items) => step.parse::<usize>().ok().and_then(|i| items.get(i)),
                _ => None,
            };
            let Some(below) = below else { break };
            at = below;
        }
        at.span()
    }

    /// Decodes it. After an error the offending entry is removed and decoding goes on, so that one run finds all
    /// errors; of several missing fields of a table, however, serde reports only the first.
    pub(crate) fn decode<T: DeserializeOwned>(self, problems: &mut Problems) -> Option<T> {
        self.decode_by(deserialize, problems)
    }

    /// Like [`Node::decode`], for a type that only the function knows.
    pub(crate) fn decode_by<T>(self, decode: Decode<T>, problems: &mut Problems) -> Option<T> {
        self.decode_partly_by(decode, problems).filter(Partly::is_whole).map(|partly| partly.value)
    }

    /// Like [`Node::decode`], for a caller that goes on to check the valid parts of a value.
    pub(crate) fn decode_partly<T: DeserializeOwned>(self, problems: &mut Problems) -> Option<Partly<T>> {
        self.decode_partly_by(deserialize, problems)
    }

    /// Like [`Node::decode_by`], for a caller that goes on to check the valid parts of a value.
    pub(crate) fn decode_partly_by<T>(mut self, decode: Decode<T>, problems: &mut Problems) -> Option<Partly<T>> {
        // The value before anything was removed: its items still have the numbers that they have in the file.
        let mut whole: Option<Value<'i>> = None;
        let mut wrong = Wrong { within: self.path.clone(), ways: Vec::new(), is_choice_lost: false };
        loop {
            let error = match decode(self.value.clone()) {
                Ok(value) => return Some(Partly { value, wrong }),
                Err(error) => error,
            };
            let whole = whole.get_or_insert_with(|| self.value.clone());
            let span = error.span().unwrap_or(self.value.span());
            let missing = between_ticks("missing field ", error.message());
            let mut path = self.path.clone();
            follow(whole, &span, missing.is_some(), &mut path);
            // After something was removed from a value, further errors may be a consequence of that.
            let is_echo = match missing {
                Some(field) => wrong.has(&join(&path, field)),
                None => wrong.has(&path),
            };
            if !is_echo {
                // An error about an entry that was removed here is not reported again. Some errors about a name are
                // located at the table that contains it.
                let unknown = between_ticks("unknown field ", error.message());
                let is_own = unknown.is_some_and(|name| path == join(&self.path, name));
                let also_known = if is_own { self.also_known } else { &[] };
                let choices = (error.message().trim_end() == NO_STRING).then(|| choices(decode, &self.value, &span));
                let (text, meant) = explain(error.message(), also_known, choices.flatten());
                wrong.is_choice_lost |= error.message().starts_with("unknown variant");
                // The name that was misspelt is not reported as missing as well.
                wrong.ways.extend(meant.map(|name| join(parent(&path), name)));
                problems.add(self.file, span.clone(), path.clone(), text);
                wrong.ways.push(path);
            }
            if !cut(&mut self.value, &span) {
                return None;
            }
        }
    }
}

fn deserialize<T: DeserializeOwned>(value: Value<'_>) -> Result<T, toml::de::Error> {
    T::deserialize(ValueDeserializer::from(value))
}

/// A decoded value, without the parts that were wrong.
pub(crate) struct Partly<T> {
    /// The value, with defaults in place of the parts that were wrong.
    pub value: T,
    wrong: Wrong,
}

impl<T> Partly<T> {
    /// Returns whether nothing was wrong.
    pub(crate) fn is_whole(&self) -> bool {
        self.wrong.ways.is_empty()
    }

    /// Returns whether something was wrong in this field.
    pub(crate) fn lacks(&self, field: &str) -> bool {
        self.wrong.has(&join(&self.wrong.within, field))
    }

    /// Returns whether the value of an enum was wrong: other fields may depend on it.
    pub(crate) fn lacks_a_choice(&self) -> bool {
        self.wrong.is_choice_lost
    }

    /// Separates the value from the record of the parts that were wrong.
    pub(crate) fn split(self) -> (T, Partly<()>) {
        (self.value, Partly { value: (), wrong: self.wrong })
    }
}

/// The paths of the parts that were wrong.
struct Wrong {
    within: String,
    ways: Vec<String>,
    is_choice_lost: bool,
}

impl Wrong {
    /// Returns whether something was wrong there or below.
    fn has(&self, way: &str) -> bool {
        let is_below = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        self.ways.iter().any(|known| known.strip_prefix(way).is_some_and(is_below))
    }
}

fn shifted(value: Value<'_>, by: usize) -> Value<'_> {
    let span = value.span();
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(
            table
                .into_iter()
                .map(|(key, value)| {
                    let span = key.span();
                    (toml::Spanned::new(span.start + by..span.end + by, key.into_inner()), shifted(value, by))
                })
                .collect(),
        ),
        DeValue::Array(items) => DeValue::Array(items.into_iter().map(|item| shifted(item, by)).collect()),
        leaf => leaf,
    };
    toml::Spanned::new(span.start + by..span.end + by, value)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Returns the valid strings of an enum, in serde's words. Serde lists them only for a string, so one is put there and
/// decoded.
fn choices<T>(decode: Decode<T>, value: &Value<'_>, span: &Range<usize>) -> Option<String> {
    let mut asked = value.clone();
    *innermost(&mut asked, span).get_mut() = DeValue::String("?".into());
    let error = decode(asked).err()?;
    Some(error.message().trim_end().strip_prefix("unknown variant `?`, expected ")?.to_owned())
}

/// Returns the path of the table that contains an entry.
fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

#[cfg(test)]
mod tests;
