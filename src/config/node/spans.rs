//! Finds the value that a span of the file lies in: for the path of an error, and to go on without what is wrong.

use std::ops::Range;

use toml::de::DeValue;

/// A value with its span.
pub(super) type Value<'i> = toml::Spanned<DeValue<'i>>;

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

pub(super) fn is_inside(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Returns whether the span lies in this value. The span of a table written as `[a.b]` covers its header alone, so its
/// entries are searched too.
pub(super) fn contains_span(value: &Value<'_>, span: &Range<usize>) -> bool {
    is_inside(&value.span(), span)
        || match value.get_ref() {
            DeValue::Table(table) => {
                table.iter().any(|(key, value)| is_inside(&key.span(), span) || contains_span(value, span))
            }
            DeValue::Array(items) => items.iter().any(|value| contains_span(value, span)),
            _ => false,
        }
}

/// Appends the path to the innermost entry that the span lies in. `is_about_table`: the span is a table's own. A table
/// without a header of its own has the span of the first one below it.
pub(super) fn follow(mut at: &Value<'_>, span: &Range<usize>, is_about_table: bool, path: &mut String) {
    while !(is_about_table && at.span() == *span) {
        at = match at.get_ref() {
            DeValue::Table(table) => {
                let holder =
                    table.iter().find(|(key, value)| is_inside(&key.span(), span) || contains_span(value, span));
                let Some((key, value)) = holder else { return };
                *path = join(path, key.get_ref());
                if is_inside(&key.span(), span) {
                    return;
                }
                value
            }
            DeValue::Array(items) => {
                let Some((index, item)) = items.iter().enumerate().find(|(_, item)| contains_span(item, span)) else {
                    return;
                };
                path.push_str(&format!("[{index}]"));
                item
            }
            _ => return,
        };
    }
}

/// Removes the innermost entry that the span lies in, and a list with its last item. Returns `false` if the value as a
/// whole is wrong.
pub(super) fn cut<'i>(value: &mut Value<'i>, span: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => {
            let holder = table.iter().find(|(key, value)| is_inside(&key.span(), span) || contains_span(value, span));
            let Some(key) = holder.map(|(key, _)| key.clone()) else { return false };
            let is_key = is_inside(&key.span(), span);
            if is_key || !table.get_mut(&key).is_some_and(|below| cut(below, span)) {
                table.remove(&key);
            }
            true
        }
        DeValue::Array(items) => {
            let Some(index) = items.iter().position(|item| contains_span(item, span)) else { return false };
            if cut(&mut AsMut::<[Value<'i>]>::as_mut(items)[index], span) {
                return true;
            }
            let DeValue::Array(all) = std::mem::replace(value.get_mut(), DeValue::Boolean(false)) else { return false };
            let others: Vec<_> =
                all.into_iter().enumerate().filter(|(at, _)| *at != index).map(|(_, item)| item).collect();
            let is_left = !others.is_empty();
            *value.get_mut() = DeValue::Array(others.into_iter().collect());
            is_left
        }
        _ => false,
    }
}

/// Returns the innermost value that the span lies in.
pub(super) fn innermost<'v, 'i>(value: &'v mut Value<'i>, span: &Range<usize>) -> &'v mut Value<'i> {
    let step = match value.get_ref() {
        DeValue::Table(table) => table.iter().position(|(_, value)| contains_span(value, span)),
        DeValue::Array(items) => items.iter().position(|value| contains_span(value, span)),
        _ => None,
    };
    let Some(step) = step else { return value };
    let below = match value.get_mut() {
        DeValue::Table(table) => table.iter_mut().nth(step).map(|(_, value)| value),
        DeValue::Array(items) => AsMut::<[Value<'i>]>::as_mut(items).get_mut(step),
        _ => None,
    };
    innermost(below.expect("it was found there"), span)
}
