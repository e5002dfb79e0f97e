//! A place in a file: walking tables by hand, decoding leaves with serde, and going on after an error.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::problem::{Problems, nearest};

type Value<'i> = toml::Spanned<DeValue<'i>>;

/// A value of a file, with the way that leads to it.
#[derive(Clone)]
pub struct Node<'i> {
    /// In words, such as `routes.orders.plugins[0]`.
    pub path: String,
    /// Which of the [`Sources`](super::Sources) it stands in.
    pub file: usize,
    value: Value<'i>,
}

/// A name in a file: a table's key or a string that refers to one.
#[derive(Clone, Debug)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Where it stands.
    pub file: usize,
    /// The bytes it covers.
    pub span: Range<usize>,
    /// The way to it in words.
    pub path: String,
}

impl Name {
    /// Says what is wrong with it.
    pub fn problem(&self, problems: &mut Problems, text: impl Into<String>) {
        problems.add(self.file, self.span.clone(), self.path.clone(), text);
    }
}

impl<'i> Node<'i> {
    /// Parses a file. Each line shows its first syntax error only: those after it are mostly echoes.
    pub fn parse(file: usize, text: &'i str, problems: &mut Problems) -> Option<Self> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut line_shown = None;
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            let line = text.as_bytes()[..span.start.min(text.len())].iter().filter(|byte| **byte == b'\n').count();
            if line_shown.replace(line) != Some(line) {
                problems.add(file, span, "", error.message().trim_end());
            }
        }
        let span = root.span();
        errors.is_empty().then(|| Self {
            path: String::new(),
            file,
            value: toml::Spanned::new(span, DeValue::Table(root.into_inner())),
        })
    }

    /// Where it stands. A table written as `[a.b]` covers its header alone.
    pub fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// Says what is wrong with it.
    pub fn problem(&self, problems: &mut Problems, text: impl Into<String>) {
        problems.add(self.file, self.span(), self.path.clone(), text);
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        self.value.get_ref().as_str()
    }

    /// Whether it is a table.
    pub fn is_table(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Table(_))
    }

    /// The value itself.
    pub(super) fn value(&self) -> &DeValue<'i> {
        self.value.get_ref()
    }

    /// The string as a name that refers to something.
    pub fn name(&self) -> Option<Name> {
        let text = self.as_str()?.to_owned();
        Some(Name { text, file: self.file, span: self.span(), path: self.path.clone() })
    }

    /// Takes an entry out of a table.
    pub fn take(&mut self, key: &str) -> Option<Node<'i>> {
        let DeValue::Table(table) = self.value.get_mut() else { return None };
        let value = table.remove(key)?;
        Some(Node { path: join(&self.path, key), file: self.file, value })
    }

    /// An entry of a table, left where it is.
    pub fn entry(&self, key: &str) -> Option<Node<'i>> {
        let DeValue::Table(table) = self.value.get_ref() else { return None };
        Some(Node { path: join(&self.path, key), file: self.file, value: table.get(key)?.clone() })
    }

    /// An empty table in the same place.
    pub fn shell(&self) -> Node<'i> {
        let value = toml::Spanned::new(self.span(), DeValue::Table(DeTable::new()));
        Node { path: self.path.clone(), file: self.file, value }
    }

    /// Moves an entry of another table into this one.
    pub fn move_from(&mut self, other: &mut Node<'i>, key: &str) {
        let DeValue::Table(from) = other.value.get_mut() else { return };
        if let (Some((key, value)), DeValue::Table(into)) = (from.remove_entry(key), self.value.get_mut()) {
            into.insert(key, value);
        }
    }

    /// Takes a table's entries apart.
    pub fn entries(self, problems: &mut Problems) -> Vec<(Name, Node<'i>)> {
        if !self.is_table() {
            self.problem(problems, "this has to be a table");
            return Vec::new();
        }
        let DeValue::Table(table) = self.value.into_inner() else { return Vec::new() };
        let entries = table.into_iter().map(|(key, value)| {
            let path = join(&self.path, key.get_ref());
            let name =
                Name { span: key.span(), file: self.file, path: path.clone(), text: key.into_inner().into_owned() };
            (name, Node { path, file: self.file, value })
        });
        entries.collect()
    }

    /// Takes an array's items apart.
    pub fn items(self, problems: &mut Problems) -> Vec<Node<'i>> {
        if !matches!(self.value.get_ref(), DeValue::Array(_)) {
            self.problem(problems, "this has to be a list");
            return Vec::new();
        }
        let DeValue::Array(array) = self.value.into_inner() else { return Vec::new() };
        let items = array.into_iter().enumerate();
        items.map(|(i, value)| Node { path: format!("{}[{i}]", self.path), file: self.file, value }).collect()
    }

    /// The span of a field below this node, for a message that came without one (`allow[1].groups`).
    pub fn span_of(&self, field: &str) -> Range<usize> {
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

    /// Decodes it. After an error the offending entry is taken out and decoding goes on, so that one run finds all.
    pub fn decode<T: DeserializeOwned>(mut self, problems: &mut Problems) -> Option<T> {
        let mut taken_out: Vec<String> = Vec::new();
        let mut is_whole = true;
        loop {
            let error = match T::deserialize(ValueDeserializer::from(self.value.clone())) {
                Ok(decoded) => return is_whole.then_some(decoded),
                Err(error) => error,
            };
            is_whole = false;
            let span = error.span().unwrap_or(self.value.span());
            let mut path = self.path.clone();
            let cut = cut(&mut self.value, &span, &mut path);
            let is_echo = taken_out.iter().any(|name| error.message().starts_with(&format!("missing field `{name}`")));
            if !is_echo {
                problems.add(self.file, span, path, explain(error.message()));
            }
            match cut {
                Some(name) => taken_out.push(name),
                None => return None,
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn is_inside(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Whether the span lies in this value. A table written as `[a.b]` spans its header alone, so its entries are asked too.
fn holds(value: &Value<'_>, span: &Range<usize>) -> bool {
    is_inside(&value.span(), span)
        || match value.get_ref() {
            DeValue::Table(table) => {
                table.iter().any(|(key, value)| is_inside(&key.span(), span) || holds(value, span))
            }
            DeValue::Array(items) => items.iter().any(|value| holds(value, span)),
            _ => false,
        }
}

/// Removes the innermost entry that the span lies in, appends the way to it to `path`, and returns its name. `None`:
/// the value as a whole is wrong.
fn cut<'i>(value: &mut Value<'i>, span: &Range<usize>, path: &mut String) -> Option<String> {
    match value.get_mut() {
        DeValue::Table(table) => {
            let holder = table.iter().find(|(key, value)| is_inside(&key.span(), span) || holds(value, span));
            let key = holder.map(|(key, _)| key.clone())?;
            *path = join(path, key.get_ref());
            let below = if is_inside(&key.span(), span) { None } else { cut(table.get_mut(&key)?, span, path) };
            below.or_else(|| {
                table.remove(&key);
                Some(key.into_inner().into_owned())
            })
        }
        DeValue::Array(items) => {
            let index = items.iter().position(|item| holds(item, span))?;
            path.push_str(&format!("[{index}]"));
            let below = cut(&mut AsMut::<[Value<'i>]>::as_mut(items)[index], span, path);
            if below.is_none() {
                let DeValue::Array(all) = std::mem::replace(value.get_mut(), DeValue::Boolean(false)) else {
                    return None;
                };
                let others = all.into_iter().enumerate().filter(|(i, _)| *i != index);
                *value.get_mut() = DeValue::Array(others.map(|(_, item)| item).collect());
            }
            below.or_else(|| Some(String::new()))
        }
        _ => None,
    }
}

/// Adds the nearest known name to serde's words about an unknown one.
fn explain(message: &str) -> String {
    let message = message.trim_end();
    let mut quoted = message.split('`').skip(1).step_by(2);
    let kind = ["unknown field", "unknown variant"].into_iter().find(|kind| message.starts_with(kind));
    match (kind, quoted.next()) {
        (Some(kind), Some(name)) => match nearest(name, quoted) {
            Some(known) => format!("{kind} `{name}`, did you mean `{known}`?"),
            None => message.to_owned(),
        },
        _ => message.to_owned(),
    }
}
