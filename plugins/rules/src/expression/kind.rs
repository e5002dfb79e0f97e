//! The kinds of values as they are known before evaluation, and the operators and functions that take them.

use cel::common::ast::operators;

/// The kind of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Number,
    Text,
    Bytes,
    /// A list of texts.
    Texts,
    List,
    Map,
    Time,
    Span,
    Null,
    /// Known by the request alone: a claim.
    Any,
}

use Kind::{Any, Bool, Bytes, List, Map, Null, Number, Span, Text, Texts, Time};

impl Kind {
    /// Returns the kind of its items: of a list the members, of a map the keys.
    pub(super) fn item(self) -> Option<Self> {
        match self {
            Texts => Some(Text),
            List | Map | Any => Some(Any),
            _ => None,
        }
    }

    /// Returns the kind of the results of `[..]` and `.name`.
    pub(super) fn member(self) -> Option<Self> {
        self.item()
    }

    pub(super) fn is_list(self) -> bool {
        matches!(self, Texts | List)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Bool => "true or false",
            Number => "a number",
            Text => "a text",
            Bytes => "bytes",
            Texts => "a list of texts",
            List => "a list",
            Map => "a map",
            Time => "a time",
            Span => "a length of time",
            Null => "null",
            Any => "any value",
        }
    }
}

/// A function or an operator, whether it stands after a dot, what it takes, and what it gives.
type Signature = (&'static str, bool, &'static [&'static [Kind]], Kind);

const BOOL: &[Kind] = &[Bool];
const NUMBER: &[Kind] = &[Number];
const TEXT: &[Kind] = &[Text];
const TIME: &[Kind] = &[Time];
const TIME_OR_SPAN: &[Kind] = &[Time, Span];
const SIZED: &[Kind] = &[Text, Bytes, Texts, List, Map];

/// A closed list: functions that are not here do not exist, whatever the interpreter has.
const SIGNATURES: &[Signature] = &[
    (operators::LOGICAL_AND, false, &[BOOL, BOOL], Bool),
    (operators::LOGICAL_OR, false, &[BOOL, BOOL], Bool),
    (operators::LOGICAL_NOT, false, &[BOOL], Bool),
    (operators::NOT_STRICTLY_FALSE, false, &[BOOL], Bool),
    (operators::MULTIPLY, false, &[NUMBER, NUMBER], Number),
    (operators::DIVIDE, false, &[NUMBER, NUMBER], Number),
    (operators::MODULO, false, &[NUMBER, NUMBER], Number),
    (operators::NEGATE, false, &[NUMBER], Number),
    ("size", false, &[SIZED], Number),
    ("size", true, &[SIZED], Number),
    ("contains", true, &[TEXT, TEXT], Bool),
    ("startsWith", true, &[TEXT, TEXT], Bool),
    ("endsWith", true, &[TEXT, TEXT], Bool),
    ("matches", true, &[TEXT, TEXT], Bool),
    ("matches", false, &[TEXT, TEXT], Bool),
    ("in_network", false, &[TEXT, TEXT], Bool),
    ("int", false, &[&[Number, Text, Time]], Number),
    ("uint", false, &[&[Number, Text]], Number),
    ("double", false, &[&[Number, Text]], Number),
    ("string", false, &[&[Bool, Number, Text, Bytes, Time, Span]], Text),
    ("bool", false, &[&[Bool, Text]], Bool),
    ("timestamp", false, &[&[Number, Text, Time]], Time),
    ("duration", false, &[&[Text, Span]], Span),
    ("getFullYear", true, &[TIME], Number),
    ("getFullYear", true, &[TIME, TEXT], Number),
    ("getMonth", true, &[TIME], Number),
    ("getMonth", true, &[TIME, TEXT], Number),
    ("getDate", true, &[TIME], Number),
    ("getDate", true, &[TIME, TEXT], Number),
    ("getDayOfMonth", true, &[TIME], Number),
    ("getDayOfMonth", true, &[TIME, TEXT], Number),
    ("getDayOfWeek", true, &[TIME], Number),
    ("getDayOfWeek", true, &[TIME, TEXT], Number),
    ("getDayOfYear", true, &[TIME], Number),
    ("getDayOfYear", true, &[TIME, TEXT], Number),
    ("getHours", true, &[TIME_OR_SPAN], Number),
    ("getHours", true, &[TIME, TEXT], Number),
    ("getMinutes", true, &[TIME_OR_SPAN], Number),
    ("getMinutes", true, &[TIME, TEXT], Number),
    ("getSeconds", true, &[TIME_OR_SPAN], Number),
    ("getSeconds", true, &[TIME, TEXT], Number),
    ("getMilliseconds", true, &[TIME_OR_SPAN], Number),
    ("getMilliseconds", true, &[TIME, TEXT], Number),
];

/// Operators that are overloaded: for each, what it gives for two kinds; `None` where that would always fail, or where
/// an equality would never hold.
fn overloaded(name: &str, left: Kind, right: Kind) -> Option<Kind> {
    match name {
        operators::EQUALS | operators::NOT_EQUALS => is_comparable(left, right).then_some(Bool),
        operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => {
            let is_ordered = |kind| matches!(kind, Any | Number | Text | Bytes | Time | Span);
            (is_ordered(left) && is_ordered(right) && is_comparable(left, right)).then_some(Bool)
        }
        operators::ADD => sum(left, right),
        operators::SUBSTRACT => difference(left, right),
        operators::IN => (right == Any || right.item().is_some_and(|item| is_comparable(left, item))).then_some(Bool),
        operators::INDEX => {
            let fits = !left.is_list() || is_comparable(right, Number);
            left.member().filter(|_| fits)
        }
        _ => None,
    }
}

fn is_comparable(left: Kind, right: Kind) -> bool {
    left == right || left == Any || right == Any || (left.is_list() && right.is_list())
}

fn sum(left: Kind, right: Kind) -> Option<Kind> {
    match (left, right) {
        (Any, _) | (_, Any) => Some(Any),
        (Time, Span) | (Span, Time) => Some(Time),
        (Number | Text | Bytes | Span | Texts, same) if same == left => Some(left),
        (left, right) if left.is_list() && right.is_list() => Some(List),
        _ => None,
    }
}

fn difference(left: Kind, right: Kind) -> Option<Kind> {
    match (left, right) {
        (Any, _) | (_, Any) => Some(Any),
        (Time, Span) => Some(Time),
        (Time, Time) | (Span, Span) => Some(Span),
        (Number, Number) => Some(Number),
        _ => None,
    }
}

/// Returns the kind of a call's result, or the problem of the call. The target of a member call is the first argument.
pub(super) fn result(name: &str, is_member: bool, arguments: &[Kind]) -> Result<Kind, String> {
    if let (operators::CONDITIONAL, [condition, yes, no]) = (name, arguments) {
        let kind = if yes == no { *yes } else { Any };
        return if is_comparable(*condition, Bool) { Ok(kind) } else { Err(wrong(name, arguments)) };
    }
    if let [left, right] = arguments
        && let Some(kind) = overloaded(name, *left, *right)
    {
        return Ok(kind);
    }
    let fits = |kind: &Kind, wanted: &[Kind]| *kind == Any || wanted.contains(kind);
    let known = SIGNATURES.iter().filter(|(of, member, ..)| *of == name && *member == is_member);
    let fitting = known.clone().find(|(_, _, wanted, _)| {
        wanted.len() == arguments.len() && arguments.iter().zip(*wanted).all(|(kind, wanted)| fits(kind, wanted))
    });
    match fitting {
        Some((.., result)) => Ok(*result),
        None if known.count() > 0 || !is_written_as_call(name) => Err(wrong(name, arguments)),
        None => Err(format!("there is no function `{}` here", name.escape_debug())),
    }
}

/// Operators have names that no call can have.
fn is_written_as_call(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_alphabetic())
}

fn wrong(name: &str, arguments: &[Kind]) -> String {
    let operator = if is_written_as_call(name) { name } else { name.trim_matches(['_', '@']) };
    let kinds = arguments.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    if let (operators::IN, [_, Text]) = (name, arguments) {
        return "`in` looks for an item of a list or a key of a map, and not into a text: write \
                `text.contains(part)`, or `==` for the whole of it"
            .to_owned();
    }
    let why = if matches!(name, operators::EQUALS | operators::NOT_EQUALS | operators::IN) {
        "can never be equal"
    } else {
        "is not for these"
    };
    let is_one_of_many = matches!(arguments, [Texts | List, Text] | [Text, Texts | List]);
    let hint = match name {
        operators::EQUALS | operators::NOT_EQUALS if is_one_of_many => "; `in` looks for an item of a list",
        _ => "",
    };
    format!("`{operator}` {why}: {kinds}{hint}")
}

#[cfg(test)]
mod tests;
