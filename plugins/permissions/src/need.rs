//! The common part of the three plugins: the shape of their configuration, and the choice of those parts of it that a
//! request has to meet.

use std::fmt;

use portcullis_plugin::{BuildError, Mention, Mentioned, http::Method};
use schemars::JsonSchema;
use serde::Deserialize;

/// The needs of a policy: at least one of `all`, `any` and `per_method`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config<T> {
    /// Every one of these is needed.
    pub all: Option<Vec<T>>,
    /// One of these is needed. A client that has none is told the first.
    pub any: Option<Vec<T>>,
    /// Further needs of some methods. Where neither `all` nor `any` stands beside it, a method that no entry names is
    /// refused.
    pub per_method: Option<Vec<ForMethods<T>>>,
}

/// The needs of some methods: `all`, `any` or both.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForMethods<T> {
    /// The methods; `GET` includes `HEAD`. A method stands in one entry alone.
    pub methods: Vec<String>,
    /// Every one of these is needed.
    pub all: Option<Vec<T>>,
    /// One of these is needed. A client that has none is told the first.
    pub any: Option<Vec<T>>,
}

/// Pairs of a field and why it is wrong.
pub(crate) type Problems = Vec<(String, String)>;

/// Needs that have to be met together. One of the lists may be empty, and then asks for nothing.
pub(crate) struct Need<T> {
    pub all: Vec<T>,
    pub any: Vec<T>,
}

impl<T> Need<T> {
    pub(crate) fn is_met(&self, has: impl Fn(&T) -> bool) -> bool {
        self.all.iter().all(&has) && (self.any.is_empty() || self.any.iter().any(has))
    }

    /// Compiles both lists. `None`: neither is there.
    fn new(path: &str, all: Option<Vec<T>>, any: Option<Vec<T>>, problems: &mut Problems) -> Option<Self> {
        if all.is_none() && any.is_none() {
            return None;
        }
        for (name, list) in [("all", &all), ("any", &any)] {
            if list.as_ref().is_some_and(Vec::is_empty) {
                problems.push((format!("{path}{name}"), "is empty: name what is needed, or leave it out".to_owned()));
            }
        }
        Some(Self { all: all.unwrap_or_default(), any: any.unwrap_or_default() })
    }

    /// Checks each item, and reports problems at the field of the item.
    fn check(&self, path: &str, check: impl Fn(&T) -> Result<(), String>, problems: &mut Problems) {
        for (name, list) in [("all", &self.all), ("any", &self.any)] {
            let wrong = list.iter().enumerate().filter_map(|(index, item)| Some((index, check(item).err()?)));
            problems.extend(wrong.map(|(index, why)| (format!("{path}{name}[{index}]"), why)));
        }
    }
}

/// A compiled configuration.
pub(crate) struct Needs<T> {
    always: Option<Need<T>>,
    per_method: Vec<(Vec<Method>, Need<T>)>,
}

impl<T> Needs<T> {
    /// Compiles a configuration. `check` returns the problem of an item that nobody could have.
    pub(crate) fn new(config: Config<T>, check: impl Fn(&T) -> Result<(), String>) -> Result<Self, BuildError> {
        let mut problems = Vec::new();
        if config.all.is_none() && config.any.is_none() && config.per_method.is_none() {
            problems.push((String::new(), "asks for nothing: it needs `all`, `any` or `per_method`".to_owned()));
        }
        let needs = Self {
            always: Need::new("", config.all, config.any, &mut problems),
            per_method: per_method(config.per_method, &mut problems),
        };
        needs.check(check, &mut problems);
        if problems.is_empty() { Ok(needs) } else { Err(BuildError { problems }) }
    }

    fn check(&self, check: impl Fn(&T) -> Result<(), String>, problems: &mut Problems) {
        if let Some(need) = &self.always {
            need.check("", &check, problems);
        }
        for (index, (_, need)) in self.per_method.iter().enumerate() {
            need.check(&format!("per_method[{index}]."), &check, problems);
        }
    }

    /// Returns the methods that entries name: an entry for a misspelt one would never count.
    pub(crate) fn mentions(&self) -> Vec<Mention> {
        let entries = self.per_method.iter().enumerate();
        let methods = entries.flat_map(|(index, (methods, _))| methods.iter().map(move |method| (index, method)));
        let mention = |(index, method): (usize, &Method)| Mention {
            field: format!("per_method[{index}].methods"),
            of: Mentioned::Method(method.to_string()),
        };
        methods.map(mention).collect()
    }

    /// Returns the needs that a request of this method has to meet, all of them. If there are none, the request is
    /// refused.
    pub(crate) fn of<'n>(&'n self, method: &'n Method) -> impl Iterator<Item = &'n Need<T>> + Clone {
        let entries = self.per_method.iter().filter(|(methods, _)| has_method(methods, method));
        self.always.iter().chain(entries.map(|(_, need)| need))
    }
}

/// Returns `true` if there are needs and all of them are met.
pub(crate) fn are_met<'n, T: 'n>(
    mut needs: impl Iterator<Item = &'n Need<T>> + Clone,
    has: impl Fn(&T) -> bool,
) -> bool {
    needs.clone().next().is_some() && needs.all(|need| need.is_met(&has))
}

/// Describes the needs in the words of the configuration.
pub(crate) fn described<'n, T: fmt::Display + 'n>(needs: impl Iterator<Item = &'n Need<T>>) -> String {
    let list = |of: &[T]| of.iter().map(T::to_string).collect::<Vec<_>>().join(", ");
    let asked = needs.flat_map(|need| [("all", &need.all), ("one", &need.any)]);
    let asked: Vec<_> =
        asked.filter(|(_, of)| !of.is_empty()).map(|(how_many, of)| format!("{how_many} of {}", list(of))).collect();
    if asked.is_empty() { NO_ENTRY.to_owned() } else { format!("needs {}", asked.join(" and ")) }
}

/// Nothing would be enough.
pub(crate) const NO_ENTRY: &str = "no entry of per_method is about this method";

fn has_method(methods: &[Method], method: &Method) -> bool {
    methods.contains(method) || (method == Method::HEAD && methods.contains(&Method::GET))
}

/// Compiles the entries. One that could not count for any request, or about which another disagrees, is a mistake.
fn per_method<T>(entries: Option<Vec<ForMethods<T>>>, problems: &mut Problems) -> Vec<(Vec<Method>, Need<T>)> {
    if entries.as_ref().is_some_and(Vec::is_empty) {
        problems.push(("per_method".to_owned(), "is empty: leave it out or fill it".to_owned()));
    }
    let mut compiled: Vec<(Vec<Method>, Need<T>)> = Vec::new();
    for (index, entry) in entries.into_iter().flatten().enumerate() {
        let path = format!("per_method[{index}].");
        let methods = methods(&format!("{path}methods"), &entry.methods, problems);
        for method in &methods {
            if let Some(first) = compiled.iter().position(|(others, _)| overlap(others, method)) {
                let why = format!("`{method}` belongs to per_method[{first}]: put what it needs there");
                problems.push((format!("{path}methods"), why));
            }
        }
        match Need::new(&path, entry.all, entry.any, problems) {
            Some(need) => compiled.push((methods, need)),
            None => {
                problems
                    .push((format!("per_method[{index}]"), "asks for nothing: it needs `all`, `any` or both".into()));
                compiled.push((methods, Need { all: Vec::new(), any: Vec::new() }));
            }
        }
    }
    compiled
}

/// Returns `true` if a request of this method, or its `HEAD`, would fall under another entry too.
fn overlap(others: &[Method], method: &Method) -> bool {
    has_method(others, method) || (method == Method::GET && others.contains(&Method::HEAD))
}

/// Compiles a list of methods. They are case-sensitive (RFC 9110 section 9.1): `get` would never fit.
fn methods(field: &str, names: &[String], problems: &mut Problems) -> Vec<Method> {
    if names.is_empty() {
        problems.push((field.to_owned(), "is empty: name the methods it is about".to_owned()));
    }
    let mut wrong = |why: String| problems.push((field.to_owned(), why));
    let mut methods: Vec<Method> = Vec::with_capacity(names.len());
    for name in names {
        match Method::from_bytes(name.as_bytes()) {
            Err(_) => wrong(format!("`{}` is not a method", name.escape_debug())),
            Ok(method) if name.contains(|letter: char| letter.is_ascii_lowercase()) => {
                wrong(format!("`{method}` has to be written in capitals"));
            }
            Ok(Method::TRACE | Method::CONNECT) => wrong(format!("`{name}` is refused before anyone is asked")),
            Ok(method) if overlap(&methods, &method) => wrong(format!("has `{method}` twice; `GET` includes `HEAD`")),
            Ok(method) => methods.push(method),
        }
    }
    methods
}
