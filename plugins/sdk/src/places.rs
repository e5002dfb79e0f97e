//! The places of a credential in a request: one type for every plugin that looks for one, and for the engine, which
//! takes the credential out before the request is forwarded.
//!
//! Looking and removing share the same parsing on purpose. Were they to disagree on what a parameter or a cookie is, a
//! key could be found and still be forwarded, or be removed without ever having been judged.

use std::{borrow::Cow, fmt};

use http::{HeaderName, header, request::Parts};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

/// One place: `{ header = "authorization", scheme = "Bearer" }`, `{ query = "key" }` or `{ cookie = "key" }`.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "RawPlace")]
pub enum Place {
    /// A header; with a scheme only a value that starts with it (RFC 9110 section 11.4).
    Header {
        /// The header's name.
        name: HeaderName,
        /// The authentication scheme, compared without case.
        scheme: Option<String>,
    },
    /// A parameter of the query. Queries end up in logs and histories: a place of last resort.
    Query(String),
    /// A cookie.
    Cookie(String),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawPlace {
    /// A header's name.
    header: Option<String>,
    /// With `header`: the authentication scheme that comes before the credential.
    scheme: Option<String>,
    /// A query parameter's name.
    query: Option<String>,
    /// A cookie's name.
    cookie: Option<String>,
}

impl<'de> Deserialize<'de> for Place {
    /// Uses a visitor, so that the problem of one place of several is reported at that place.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Place;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a place, such as { header = \"x-api-key\" }")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Place, A::Error> {
                let raw = RawPlace::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Place::try_from(raw).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl TryFrom<RawPlace> for Place {
    type Error = String;

    fn try_from(raw: RawPlace) -> Result<Self, String> {
        if raw.scheme.is_some() && raw.header.is_none() {
            return Err("`scheme` goes with `header` and nothing else".to_owned());
        }
        match (raw.header, raw.query, raw.cookie) {
            (Some(name), None, None) => Self::header(&name, raw.scheme.as_deref()),
            (None, Some(name), None) => Self::query(name),
            (None, None, Some(name)) => Self::cookie(name),
            (None, None, None) => Err("a place names one of `header`, `query`, `cookie`".to_owned()),
            _ => Err("a place is one of `header`, `query`, `cookie`, not several of them".to_owned()),
        }
    }
}

impl Place {
    /// Headers that frame the message, belong to the connection, hold many things at once or stand in logs. A place is
    /// emptied before forwarding, and a request without these is another request; hop-by-hop headers are gone before
    /// anyone looks for a credential.
    const NO_PLACES: [HeaderName; 18] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::COOKIE,
        header::EXPECT,
        header::FORWARDED,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::USER_AGENT,
        HeaderName::from_static("http2-settings"),
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("x-request-id"),
    ];

    /// A header, and the authentication scheme before the credential in it.
    ///
    /// # Errors
    /// The problem of the name or the scheme, in words.
    pub fn header(name: &str, scheme: Option<&str>) -> Result<Self, String> {
        let name: HeaderName = name.parse().map_err(|_| format!("`{}` is not a header name", name.escape_debug()))?;
        if name == header::COOKIE {
            return Err("a credential in a cookie is written { cookie = \"name\" }".to_owned());
        }
        if Self::NO_PLACES.contains(&name) {
            return Err(format!("`{name}` cannot carry a credential: it has a use of its own"));
        }
        match scheme {
            Some(scheme) if !is_token(scheme) => Err(format!(
                "`{}` is not an authentication scheme: letters and digits, no spaces",
                scheme.escape_debug()
            )),
            _ => Ok(Self::Header { name, scheme: scheme.map(str::to_owned) }),
        }
    }

    /// A query parameter, by its decoded name.
    ///
    /// # Errors
    /// The name is empty or holds control characters.
    pub fn query(name: String) -> Result<Self, String> {
        if name.is_empty() || name.contains(char::is_control) {
            return Err(format!("`{}` is not the name of a query parameter", name.escape_debug()));
        }
        Ok(Self::Query(name))
    }

    /// A cookie; its name is a token (RFC 6265 section 4.1.1).
    ///
    /// # Errors
    /// The name is not one.
    pub fn cookie(name: String) -> Result<Self, String> {
        if !is_token(&name) {
            return Err(format!("`{}` is not the name of a cookie", name.escape_debug()));
        }
        Ok(Self::Cookie(name))
    }

    /// Adds every value that stands here to what was found.
    fn look<'r>(&self, head: &'r Parts, found: &mut Found<'r>) {
        match self {
            Self::Header { name, scheme } => {
                let lines = head.headers.get_all(name).into_iter();
                let values = lines.filter_map(|line| credential(line.as_bytes(), scheme.as_deref()));
                values.for_each(|value| found.add(Cow::Borrowed(value)));
            }
            Self::Query(name) => {
                let parameters = head.uri.query().unwrap_or_default().split('&');
                let values = parameters.filter(|parameter| is_parameter(parameter, name));
                values.for_each(|parameter| found.add(percent_decode_str(split_parameter(parameter).1).into()));
            }
            Self::Cookie(name) => {
                let lines = head.headers.get_all(header::COOKIE).into_iter();
                let cookies = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).map(split_cookie);
                let values = cookies.filter(|(of, _)| *of == name.as_bytes());
                values.for_each(|(_, value)| found.add(Cow::Borrowed(value)));
            }
        }
    }
}

/// The places where one policy looks for its credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Places(pub Vec<Place>);

/// The content of the places.
#[derive(PartialEq, Eq)]
pub enum Found<'r> {
    /// Nothing in any of them.
    Absent,
    /// One value, perhaps several times. It may be empty: that is not absent but wrong.
    One(Cow<'r, [u8]>),
    /// Different values: it would be a guess which of them is meant.
    Conflict,
}

/// Never prints the value: it is a credential.
impl fmt::Debug for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::One(_) => "One(***)",
            Self::Conflict => "Conflict",
        })
    }
}

impl<'r> Found<'r> {
    /// Both values came from the client, so that comparing them in variable time tells it nothing new.
    fn add(&mut self, value: Cow<'r, [u8]>) {
        match self {
            Self::Absent => *self = Self::One(value),
            Self::One(first) if *first != value => *self = Self::Conflict,
            Self::One(_) | Self::Conflict => {}
        }
    }
}

impl Places {
    /// Looks into every place: every line of a header, every parameter and every cookie of that name. A value in a
    /// header or a cookie is borrowed; a parameter is copied only where it has escapes to decode.
    ///
    /// Query values are percent-decoded and `+` stays plus: keys in Base64 would be damaged by form decoding.
    pub fn find<'r>(&self, head: &'r Parts) -> Found<'r> {
        let mut found = Found::Absent;
        for place in &self.0 {
            place.look(head, &mut found);
        }
        found
    }

    /// Returns `true` if a request's credential in these places is the one in those: all places of one are places of
    /// the other, so that a search finds the same or a [`Found::Conflict`].
    pub fn are_those_of(&self, other: &Self) -> bool {
        let are_among = |some: &Self, all: &Self| some.0.iter().all(|place| all.0.contains(place));
        !self.0.is_empty() && !other.0.is_empty() && (are_among(self, other) || are_among(other, self))
    }

    /// Adds the places of another policy, each once.
    pub fn merge(&mut self, other: Places) {
        for place in other.0 {
            if !self.0.contains(&place) {
                self.0.push(place);
            }
        }
    }

    /// The headers among the places, with the scheme that a line must have to be meant.
    pub fn headers(&self) -> impl Iterator<Item = (&HeaderName, Option<&str>)> {
        self.0.iter().filter_map(|place| match place {
            Place::Header { name, scheme } => Some((name, scheme.as_deref())),
            Place::Query(_) | Place::Cookie(_) => None,
        })
    }

    /// Returns `true` if this header line holds a credential, and so is not forwarded: [`Places::find`] would find its
    /// value.
    pub fn has_header_line(&self, name: &HeaderName, line: &[u8]) -> bool {
        self.headers().any(|(place, scheme)| place == name && credential(line, scheme).is_some())
    }

    /// Returns `true` if any place is a query parameter.
    pub fn has_query(&self) -> bool {
        self.0.iter().any(|place| matches!(place, Place::Query(_)))
    }

    /// Returns `true` if any place is a cookie.
    pub fn has_cookie(&self) -> bool {
        self.0.iter().any(|place| matches!(place, Place::Cookie(_)))
    }

    /// The query without the parameters that stand in a place, all others byte for byte; `None` where it stays as it
    /// is. An empty string means that nothing is left, and that the `?` goes too.
    pub fn strip_query(&self, query: &str) -> Option<String> {
        let is_hidden = |parameter: &str| {
            self.0.iter().any(|place| matches!(place, Place::Query(name) if is_parameter(parameter, name)))
        };
        if !query.split('&').any(is_hidden) {
            return None;
        }
        let kept: Vec<&str> = query.split('&').filter(|parameter| !is_hidden(parameter)).collect();
        Some(kept.join("&"))
    }

    /// A `Cookie` line without the cookies that stand in a place, all others byte for byte; `None` where it stays as
    /// it is. An empty value means that nothing is left, and that the line goes too.
    pub fn strip_cookies(&self, line: &[u8]) -> Option<Vec<u8>> {
        let is_hidden = |pair: &&[u8]| {
            let (of, _) = split_cookie(pair);
            self.0.iter().any(|place| matches!(place, Place::Cookie(name) if name.as_bytes() == of))
        };
        let pairs = || line.split(|byte| *byte == b';');
        if !pairs().any(|pair| is_hidden(&pair)) {
            return None;
        }
        let kept: Vec<&[u8]> = pairs().filter(|pair| !is_hidden(pair)).collect();
        Some(kept.join(&b';').trim_ascii_start().to_vec())
    }

    /// Returns `true` if a `Set-Cookie` line makes a browser send a cookie that stands in a place. A cookie without a
    /// name counts by its value, which is all that a browser sends of it: `=session=x` comes back as `session=x`.
    pub fn has_set_cookie(&self, line: &[u8]) -> bool {
        let pair = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let (name, _) = split_cookie(pair);
        let name = match name {
            b"" => split_cookie(trim(pair).strip_prefix(b"=").unwrap_or_default()).0,
            name => name,
        };
        self.0.iter().any(|place| matches!(place, Place::Cookie(own) if own.as_bytes() == name))
    }
}

/// The credential in a header line: all of it, or what follows the scheme. `None` where the line has another scheme.
fn credential<'l>(line: &'l [u8], scheme: Option<&str>) -> Option<&'l [u8]> {
    let line = trim(line);
    let Some(scheme) = scheme else { return Some(line) };
    let (start, rest) = line.split_at_checked(scheme.len())?;
    // The separator is one or more spaces (RFC 9110 section 11.4). A tab is taken for a separator too, but stays in the
    // value and spoils it: were the line passed over as another scheme's, it would be forwarded to an upstream that
    // may well understand it.
    let is_scheme = start.eq_ignore_ascii_case(scheme.as_bytes()) && matches!(rest.first(), None | Some(b' ' | b'\t'));
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    is_scheme.then(|| &rest[spaces..])
}

/// Name and value of a query parameter, still encoded. Without `=` the value is empty.
fn split_parameter(parameter: &str) -> (&str, &str) {
    parameter.split_once('=').unwrap_or((parameter, ""))
}

/// Returns `true` if a query parameter has this name once it is decoded.
fn is_parameter(parameter: &str, name: &str) -> bool {
    percent_decode_str(split_parameter(parameter).0).eq(name.bytes())
}

/// Name and value of one piece between the semicolons of a `Cookie` line (RFC 6265 section 4.2.1). White space is
/// dropped around both, as servers do; so are quotes around the value. Without `=` the value is empty.
fn split_cookie(pair: &[u8]) -> (&[u8], &[u8]) {
    let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
    let (name, value) = (trim(&pair[..end]), trim(pair.get(end + 1..).unwrap_or_default()));
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    (name, unquoted.unwrap_or(value))
}

/// Drops white space around a field value (`OWS`, RFC 9110 section 5.6.3).
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Returns `true` if this is a `token` (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

#[cfg(test)]
mod tests;
