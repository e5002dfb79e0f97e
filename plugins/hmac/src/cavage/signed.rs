//! The list of signed headers, and the string that is made of it.

use portcullis_plugin::{
    Reason, UnixTime,
    http::{HeaderMap, HeaderName},
};

use super::{dialect::Dialect, digest};
use crate::{
    instant,
    scheme::{BodyUse, SignedRequest, Wrong},
};

/// The most names in the list.
pub(super) const SIGNED_MAX_COUNT: usize = 64;

/// The names in the order of the string, as the client wrote them, each once in whatever case.
pub(super) struct SignedNames<'r>(Vec<&'r str>);

impl<'r> SignedNames<'r> {
    /// Reads a list that spaces separate.
    pub(super) fn read(list: &'r str) -> Result<Self, Wrong> {
        let names: Vec<_> = list.split(' ').filter(|name| !name.is_empty()).take(SIGNED_MAX_COUNT + 1).collect();
        let is_repeated = |(index, name): (usize, &&str)| names[..index].iter().any(|of| of.eq_ignore_ascii_case(name));
        if names.len() > SIGNED_MAX_COUNT || names.iter().enumerate().any(is_repeated) {
            return Err(Wrong::malformed("the list of signed headers is too long, or has a name twice"));
        }
        Ok(Self(names))
    }

    /// Returns `true` if the list has this name. Names of headers are compared without case.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|of| of.eq_ignore_ascii_case(name))
    }

    /// Checks that all of these headers are in the list.
    pub(super) fn require(&self, headers: &[HeaderName]) -> Result<(), Wrong> {
        let is_complete = headers.iter().all(|name| self.has(name.as_str()));
        if is_complete { Ok(()) } else { Err(Wrong::incomplete("a header that has to be signed is not")) }
    }

    /// The signed time. `X-Date` goes before `Date`, which browsers do not let a client set.
    pub(super) fn time(&self, headers: &HeaderMap) -> Result<UnixTime, Wrong> {
        let mut names = ["x-date", "date"].into_iter().filter(|name| self.has(name));
        let name = names.next().ok_or(Wrong::incomplete("neither Date nor X-Date is signed"))?;
        let value = single(headers, name)?;
        let time = std::str::from_utf8(value).ok().and_then(instant::http_date);
        time.ok_or(Wrong::malformed("Date or X-Date is not a time"))
    }

    /// Returns the digests of the body, if the header with them is signed.
    pub(super) fn body_use(&self, headers: &HeaderMap) -> Result<BodyUse, Wrong> {
        if !self.has("digest") {
            return Ok(BodyUse::NotCovered);
        }
        digest::read(headers).map(BodyUse::Declared)
    }

    /// The string that was signed.
    pub(super) fn message(
        &self,
        dialect: Dialect,
        key_id: &str,
        request: &SignedRequest<'_>,
    ) -> Result<Vec<u8>, Wrong> {
        let mut lines = self.0.iter().map(|name| line(dialect, name, request)).collect::<Result<Vec<_>, _>>()?;
        if dialect == Dialect::Apisix {
            lines.insert(0, key_id.into());
            lines.push(Vec::new());
        }
        Ok(lines.join(&b'\n'))
    }
}

/// One line of the string. No header can pass for the target: none has a name with `(` or `@`, or with a space.
fn line(dialect: Dialect, name: &str, request: &SignedRequest<'_>) -> Result<Vec<u8>, Wrong> {
    let (method, target) = (request.method.as_str(), request.target);
    let lower_case = method.to_ascii_lowercase();
    Ok(match (dialect, name) {
        (Dialect::Draft, "(request-target)") | (Dialect::Kong, "@request-target") => {
            format!("{name}: {lower_case} {target}").into()
        }
        (Dialect::Apisix, "@request-target") => format!("{method} {target}").into(),
        (Dialect::Kong, "request-line") => format!("{method} {target} HTTP/1.1").into(),
        // The draft has names in lower case (section 2.3); the others leave them as they stand in the list.
        (Dialect::Draft, _) => joined(&name.to_ascii_lowercase(), request.headers)?,
        (Dialect::Kong | Dialect::Apisix, _) => [name.as_bytes(), b": ", single(request.headers, name)?].concat(),
    })
}

/// All lines of a header as one (draft section 2.3, step 2).
fn joined(name: &str, headers: &HeaderMap) -> Result<Vec<u8>, Wrong> {
    let values: Vec<_> = headers.get_all(name).into_iter().map(|line| line.as_bytes().trim_ascii()).collect();
    if values.is_empty() {
        return Err(ABSENT);
    }
    Ok([name.as_bytes(), b": ", &values.join(&b", "[..])].concat())
}

/// The one line of a header. Kong and APISIX sign the first of several, and forward them all.
fn single<'r>(headers: &'r HeaderMap, name: &str) -> Result<&'r [u8], Wrong> {
    let mut lines = headers.get_all(name).into_iter();
    let value = lines.next().ok_or(ABSENT)?;
    if lines.next().is_some() {
        return Err(Wrong::malformed("a signed header twice"));
    }
    Ok(value.as_bytes().trim_ascii())
}

const ABSENT: Wrong = Wrong { reason: Reason::SignatureIncomplete, why: "a signed header is not there" };
