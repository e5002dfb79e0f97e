use std::sync::Arc;

use cel::{Context, Env, Value, parser::Parser};

use super::*;

/// For each signature a call with literals: the interpreter knows the function, and gives what the list says.
#[test]
fn the_interpreter_agrees_with_the_list() {
    let language = Arc::new(Env::default().with_optional_support(false).with_stdlib());
    let context = Context::with_env(language);
    let sample = |kind: Kind| match kind {
        Bool => "true",
        Number => "1",
        Text => "'+01:00'",
        Bytes => "b'a'",
        Texts | List => "['a']",
        Map => "{'a': 1}",
        Time => "timestamp(0)",
        Span => "duration('1s')",
        Null | Any => "null",
    };
    let named = |name: &str| is_written_as_call(name) && !matches!(name, "matches" | "in_network");
    for (name, is_member, wanted, result) in SIGNATURES.iter().filter(|(name, ..)| named(name)) {
        for first in wanted[0] {
            let mut arguments: Vec<&str> = std::iter::once(first)
                .chain(wanted[1..].iter().map(|kinds| &kinds[0]))
                .map(|kind| sample(*kind))
                .collect();
            if matches!((*name, first), ("int" | "uint" | "double" | "bool" | "timestamp" | "duration", Text)) {
                arguments[0] = match *name {
                    "bool" => "'true'",
                    "timestamp" => "'2027-01-15T08:00:00Z'",
                    "duration" => "'1h'",
                    _ => "'1'",
                };
            }
            let call = if *is_member {
                format!("{}.{name}({})", arguments[0], arguments[1..].join(", "))
            } else {
                format!("{name}({})", arguments.join(", "))
            };
            let value = Value::resolve(&Parser::new().parse(&call).unwrap(), &context);
            let kind = match value {
                Ok(Value::Bool(_)) => Bool,
                Ok(Value::Int(_) | Value::UInt(_) | Value::Float(_)) => Number,
                Ok(Value::String(_)) => Text,
                Ok(Value::Timestamp(_)) => Time,
                Ok(Value::Duration(_)) => Span,
                other => panic!("{call}: {other:?}"),
            };
            assert_eq!(kind, *result, "{call}");
        }
    }
}

#[test]
fn a_claim_fits_every_operator() {
    for (name, arguments, expected) in [
        (operators::EQUALS, [Any, Text], Bool),
        (operators::LESS, [Any, Time], Bool),
        (operators::ADD, [Any, Any], Any),
        (operators::IN, [Text, Any], Bool),
        (operators::INDEX, [Any, Number], Any),
        (operators::INDEX, [Texts, Any], Text),
        (operators::LOGICAL_AND, [Any, Any], Bool),
    ] {
        assert_eq!(result(name, false, &arguments), Ok(expected), "{name}");
    }
}
