//! The components of a request that a signature can cover (RFC 9421 section 2), and their values.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use portcullis_plugin::http::HeaderName;
use sfv::{BareItemFromInput, ItemSerializer};

use super::dictionary::Item;
use crate::scheme::{SignedRequest, Wrong};

/// A component that a signature can cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Component {
    /// A derived component: a part of the request line, or a value that follows from it.
    Derived(Derived),
    /// `@query-param;name="..."`: one parameter of the query, by its encoded name.
    QueryParameter(String),
    /// A header, all its lines.
    Field(HeaderName),
}

/// The derived components that a request has and that take no parameter (RFC 9421 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Derived {
    /// `@method`.
    Method,
    /// `@target-uri`.
    TargetUri,
    /// `@authority`.
    Authority,
    /// `@scheme`.
    Scheme,
    /// `@request-target`.
    RequestTarget,
    /// `@path`.
    Path,
    /// `@query`.
    Query,
}

impl Derived {
    const ALL: [Self; 7] =
        [Self::Method, Self::TargetUri, Self::Authority, Self::Scheme, Self::RequestTarget, Self::Path, Self::Query];

    /// As it is written.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Method => "@method",
            Self::TargetUri => "@target-uri",
            Self::Authority => "@authority",
            Self::Scheme => "@scheme",
            Self::RequestTarget => "@request-target",
            Self::Path => "@path",
            Self::Query => "@query",
        }
    }

    fn value<'r>(self, request: &SignedRequest<'r>) -> Result<Cow<'r, str>, Wrong> {
        Ok(match self {
            Self::Method => request.method.as_str().into(),
            Self::TargetUri => format!("{}://{}{}", scheme(request), authority(request)?, rooted(request)).into(),
            Self::Authority => authority(request)?,
            Self::Scheme => scheme(request).into(),
            Self::RequestTarget => request.target.into(),
            // An empty path is a single slash; nothing else is decoded or changed (section 2.2.6).
            Self::Path => if request.path().is_empty() { "/" } else { request.path() }.into(),
            // The question mark is part of it, and stands alone where there is no query (section 2.2.7).
            Self::Query => request.query().map_or("?".into(), |query| format!("?{query}").into()),
        })
    }
}

fn scheme(request: &SignedRequest<'_>) -> &'static str {
    if request.is_https { "https" } else { "http" }
}

/// The target, with its path a slash where it is empty.
fn rooted<'r>(request: &SignedRequest<'r>) -> Cow<'r, str> {
    if request.target.starts_with('/') { request.target.into() } else { format!("/{}", request.target).into() }
}

/// `Host` in lower case and without the scheme's own port (section 2.2.3).
fn authority<'r>(request: &SignedRequest<'r>) -> Result<Cow<'r, str>, Wrong> {
    let host = request.host().filter(|host| !host.is_empty()).ok_or(Wrong::incomplete("there is no Host"))?;
    let own = if request.is_https { ":443" } else { ":80" };
    let host = host.strip_suffix(own).or(host.strip_suffix(':')).unwrap_or(host);
    let is_lower = !host.bytes().any(|byte| byte.is_ascii_uppercase());
    Ok(if is_lower { host.into() } else { host.to_ascii_lowercase().into() })
}

impl Component {
    /// By its name, without parameters.
    pub(super) fn named(name: &str) -> Result<Self, Wrong> {
        if name.starts_with('@') {
            let derived = Derived::ALL.into_iter().find(|derived| derived.name() == name);
            return derived.map(Self::Derived).ok_or(Wrong::incomplete("a derived component that requests have not"));
        }
        // Names are covered in lower case (section 2.1). Another spelling would be a second name for the same header.
        let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
        let name = if is_lower { name.parse().ok() } else { None };
        name.map(Self::Field).ok_or(Wrong::malformed("a component is no header name in lower case"))
    }

    /// As a client wrote it. Of the parameters only `name` of `@query-param` is understood; `sf`, `key`, `bs`, `tr` and
    /// `req` change what is signed, and are refused.
    pub(super) fn read(item: &Item<'_>) -> Result<Self, Wrong> {
        let name = item.value.as_string().ok_or(Wrong::malformed("a component is no string"))?.as_str();
        match (name, item.parameters.as_slice()) {
            ("@query-param", [(key, BareItemFromInput::String(of))]) if key.as_str() == "name" => {
                Ok(Self::QueryParameter(of.as_str().to_owned()))
            }
            ("@query-param", _) => Err(Wrong::malformed("@query-param without its name alone")),
            (_, []) => Self::named(name),
            _ => Err(Wrong::incomplete("a component has parameters that are not supported")),
        }
    }

    /// Returns the component's value in this request. A component that the request does not have is an error and never
    /// skipped: it cannot have been signed.
    pub(super) fn value<'r>(&self, request: &SignedRequest<'r>) -> Result<Cow<'r, str>, Wrong> {
        match self {
            Self::Derived(derived) => derived.value(request),
            Self::QueryParameter(name) => query_parameter(request.query().unwrap_or_default(), name).map(Cow::Owned),
            Self::Field(name) => header(request, name),
        }
    }
}

/// An identifier as the signature base has it: serialised anew, so that two spellings are one (section 2.5).
pub(super) fn identifier(item: &Item<'_>) -> String {
    let mut identifier = ItemSerializer::new().bare_item(&item.value);
    for (key, value) in &item.parameters {
        identifier = identifier.parameter(key, value);
    }
    identifier.finish()
}

/// All lines of a header, white space around each dropped, joined by a comma and a space (section 2.1).
fn header<'r>(request: &SignedRequest<'r>, name: &HeaderName) -> Result<Cow<'r, str>, Wrong> {
    let mut lines = request.headers.get_all(name).iter().map(|line| {
        line.to_str().map(str::trim_ascii).map_err(|_| Wrong::malformed("a covered header is not visible ASCII"))
    });
    let first = lines.next().ok_or(Wrong::incomplete("a covered header is absent"))??;
    lines.try_fold(Cow::Borrowed(first), |before, line| Ok(Cow::Owned(format!("{before}, {}", line?))))
}

/// The characters that are encoded in the name and the value of a query parameter (section 2.2.8): the set of
/// `application/x-www-form-urlencoded`, a space as `%20`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// The one parameter of this (encoded) name: decoded and encoded again. One that comes twice cannot be covered.
///
/// The RFC decodes bytes that are not UTF-8 to replacement characters, which makes one text of many. Here they are
/// refused.
fn query_parameter(query: &str, name: &str) -> Result<String, Wrong> {
    let mut values = query.split('&').filter_map(|parameter| {
        let (of, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (recoded(of).as_deref() == Some(name)).then_some(value)
    });
    let value = values.next().ok_or(Wrong::incomplete("a covered query parameter is absent"))?;
    if values.next().is_some() {
        return Err(Wrong::malformed("a covered query parameter comes twice"));
    }
    recoded(value).ok_or(Wrong::malformed("a covered query parameter is not UTF-8"))
}

fn recoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(utf8_percent_encode(&decoded, ENCODED).to_string())
}

#[cfg(test)]
mod tests;
