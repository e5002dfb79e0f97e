//! The methods that a route accepts.

use std::fmt;

use http::Method;
use http::header::HeaderValue;
use thiserror::Error;

/// The methods of a route that names none, in the order in which they are shown.
const STANDARD: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// A set of methods. `GET` includes `HEAD`; `TRACE` and `CONNECT` are never in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MethodSet {
    /// One bit for each of [`STANDARD`].
    standard: u8,
    /// Sorted.
    others: Box<[Method]>,
}

impl Default for MethodSet {
    /// `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` and `OPTIONS`.
    fn default() -> Self {
        Self { standard: (1 << STANDARD.len()) - 1, others: Box::default() }
    }
}

impl MethodSet {
    /// Returns the set of these names; the default set if there are none.
    ///
    /// # Errors
    /// Returns every name that is wrong.
    pub(crate) fn from_list<N: AsRef<str>>(names: &[N]) -> Result<Self, MethodFaults> {
        if names.is_empty() {
            return Ok(Self::default());
        }
        let mut set = Self::empty();
        let mut faults = Vec::new();
        for name in names {
            match method(name.as_ref()) {
                Ok(method) => set.insert(&method),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(set) } else { Err(MethodFaults(faults)) }
    }

    /// Returns whether the route accepts this method.
    pub(crate) fn contains(&self, method: &Method) -> bool {
        match bit(method) {
            Some(bit) => self.standard & bit != 0,
            None => self.others.contains(method),
        }
    }

    /// Returns the value for an `Allow` header, the standard methods first, always in the same order.
    pub(crate) fn allow(&self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("methods are tokens, which a header value may hold")
    }

    pub(super) fn empty() -> Self {
        Self { standard: 0, others: Box::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.standard == 0 && self.others.is_empty()
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let others = self.others.iter().filter(|method| other.others.contains(method)).cloned().collect();
        Self { standard: self.standard & other.standard, others }
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.standard |= other.standard;
        other.others.iter().for_each(|method| self.insert(method));
    }

    fn insert(&mut self, method: &Method) {
        match bit(method) {
            Some(bit) => self.standard |= bit,
            None if self.others.contains(method) => {}
            None => {
                let mut others = std::mem::take(&mut self.others).into_vec();
                others.push(method.clone());
                others.sort_by(|a, b| a.as_str().cmp(b.as_str()));
                self.others = others.into();
            }
        }
        if *method == Method::GET {
            self.insert(&Method::HEAD);
        }
    }

    /// Returns the methods, the standard ones first, always in the same order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Method> {
        let standard = STANDARD.iter().enumerate().filter(|(place, _)| self.standard & 1 << place != 0);
        standard.map(|(_, method)| method).chain(&self.others)
    }
}

fn bit(method: &Method) -> Option<u8> {
    let place = match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        _ => return None,
    };
    Some(1 << place)
}

impl fmt::Display for MethodSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, method) in self.iter().enumerate() {
            write!(f, "{}{method}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

fn method(name: &str) -> Result<Method, MethodFault> {
    match name {
        "*" => return Err(MethodFault::Anything),
        _ if name.eq_ignore_ascii_case("TRACE") || name.eq_ignore_ascii_case("CONNECT") => {
            return Err(MethodFault::Never(name.into()));
        }
        _ => {}
    }
    let method = Method::try_from(name).map_err(|_| MethodFault::NoToken(name.into()))?;
    match name.to_ascii_uppercase() {
        suggestion if suggestion == name => Ok(method),
        suggestion => Err(MethodFault::LowerCase { name: name.into(), suggestion }),
    }
}

/// All names in a list that are not methods, in the order of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodFaults(pub Vec<MethodFault>);

impl std::error::Error for MethodFaults {}

impl fmt::Display for MethodFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if place == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl From<MethodFaults> for String {
    fn from(faults: MethodFaults) -> Self {
        faults.to_string()
    }
}

/// The reason why the name of a method is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MethodFault {
    /// `*`.
    #[error("`*` is not a method; leave `methods` out for {}", MethodSet::default())]
    Anything,
    /// `TRACE`, which shows credentials, or `CONNECT`, which makes a tunnel.
    #[error("`{0}` is never let through")]
    Never(String),
    /// Methods are case-sensitive (RFC 9110 section 9.1), so `get` would match no request.
    #[error("methods are case-sensitive: `{name}` should be `{suggestion}`")]
    LowerCase {
        /// The name as written in the file.
        name: String,
        /// The name as it should be.
        suggestion: String,
    },
    /// Not a token (RFC 9110 section 5.6.2).
    #[error("`{0}` is not a method")]
    NoToken(String),
}
