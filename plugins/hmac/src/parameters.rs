//! The parameters of an `Authorization` header: `name="value"` or `name=value`, separated by commas (RFC 9110 section
//! 11.2), as `cavage` and `aws4` have them.
//!
//! Both schemes share this strict parser: no name twice, no escapes in a quoted string, nothing after the last value.
//! Where two readers of one header can disagree, one of them checks what the other does not use.

use portcullis_plugin::{
    Reason,
    http::{HeaderMap, header},
};

use crate::scheme::Wrong;

/// Returns the text after this authentication scheme in the `Authorization` header, without white space around it;
/// `None` if the header is absent or has another scheme. [`portcullis_plugin::Places`] finds the same, and so removes
/// it before the request is forwarded.
///
/// # Errors
/// Two lines have the scheme. Which of them is meant is not for us to guess.
pub(crate) fn credentials<'r>(headers: &'r HeaderMap, scheme: &str) -> Result<Option<&'r [u8]>, Wrong> {
    let lines = headers.get_all(header::AUTHORIZATION).into_iter();
    let mut found = lines.filter_map(|line| after_scheme(line.as_bytes(), scheme));
    let first = found.next();
    if found.next().is_some() { Err(Wrong::malformed("two Authorization headers of one scheme")) } else { Ok(first) }
}

fn after_scheme<'l>(line: &'l [u8], scheme: &str) -> Option<&'l [u8]> {
    let (start, rest) = line.trim_ascii().split_at_checked(scheme.len())?;
    let is_scheme = start.eq_ignore_ascii_case(scheme.as_bytes()) && matches!(rest.first(), None | Some(b' ' | b'\t'));
    is_scheme.then(|| rest.trim_ascii())
}

/// The most parameters that a header may have. The schemes here have no more than eight.
pub(crate) const PARAMETERS_MAX_COUNT: usize = 16;

/// Every parameter once, in the order of the header.
pub(crate) struct Parameters<'r>(Vec<(&'r str, &'r str)>);

impl<'r> Parameters<'r> {
    /// Reads all of `text`, which is what follows the authentication scheme.
    ///
    /// # Errors
    /// Everything that is not a list of parameters with different names.
    pub(crate) fn read(text: &'r [u8]) -> Result<Self, Wrong> {
        // Control characters cannot get here, and what is not ASCII has no place in any of the values.
        let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii()).ok_or(MALFORMED)?;
        let mut all = Vec::with_capacity(8);
        let mut rest = trim(text);
        loop {
            let (name, after) = rest.split_once('=').ok_or(MALFORMED)?;
            let (value, after) = split_value(after)?;
            let is_repeated = all.iter().any(|(other, _)| *other == name);
            if !is_name(name) || is_repeated || all.len() == PARAMETERS_MAX_COUNT {
                return Err(MALFORMED);
            }
            all.push((name, value));
            let after = trim(after);
            if after.is_empty() {
                return Ok(Self(all));
            }
            rest = trim(after.strip_prefix(',').ok_or(MALFORMED)?);
        }
    }

    /// Takes a parameter out.
    ///
    /// # Errors
    /// It is not there, or empty.
    pub(crate) fn take(&mut self, name: &str) -> Result<&'r str, Wrong> {
        let index = self.0.iter().position(|(of, _)| *of == name).ok_or(MALFORMED)?;
        let (_, value) = self.0.swap_remove(index);
        if value.is_empty() { Err(MALFORMED) } else { Ok(value) }
    }

    /// Ends the reading: a parameter that nobody took is one that means something to its sender and nothing to us.
    ///
    /// # Errors
    /// One is left.
    pub(crate) fn finish(self) -> Result<(), Wrong> {
        if self.0.is_empty() { Ok(()) } else { Err(MALFORMED) }
    }
}

const MALFORMED: Wrong = Wrong {
    reason: Reason::SignatureMalformed,
    why: "the header's parameters are missing, repeated, unknown or cannot be read",
};

/// Splits a value, without its quotes, from the rest of the text.
fn split_value(text: &str) -> Result<(&str, &str), Wrong> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        let value = value.trim_end_matches(BLANK);
        return if value.contains([' ', '\t', '"', '\\']) { Err(MALFORMED) } else { Ok((value, rest)) };
    };
    let (value, rest) = quoted.split_once('"').ok_or(MALFORMED)?;
    if value.contains('\\') { Err(MALFORMED) } else { Ok((value, rest)) }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// White space in a header's value (RFC 9110 section 5.6.3).
const BLANK: [char; 2] = [' ', '\t'];

fn trim(text: &str) -> &str {
    text.trim_matches(BLANK)
}

#[cfg(test)]
mod tests;
