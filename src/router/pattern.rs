//! The pattern of the requests that a route matches.

use http::HeaderMap;
use http::header::HeaderName;

use super::{host::HostPattern, method::MethodSet, path::PathPattern};

/// The requests that a route matches: any of the hosts, any of the paths, any of the methods, and all of the headers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Pattern {
    /// Empty: any host.
    pub hosts: Vec<HostPattern>,
    /// Empty: the route matches nothing.
    pub paths: Vec<PathPattern>,
    /// The methods that the route accepts.
    pub methods: MethodSet,
    /// All of them must be met.
    pub headers: Vec<HeaderCondition>,
}

/// A condition of a route on a request header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderCondition {
    /// The header.
    pub name: HeaderName,
    /// Its exact value, case-sensitive; `None`: any value. A header in two lines has the value `one, two` (RFC 9110
    /// section 5.3), so it equals neither: the same request cannot match two exclusive routes.
    pub value: Option<String>,
}

impl HeaderCondition {
    pub(super) fn is_met(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(&self.name).iter();
        match (&self.value, lines.next(), lines.next()) {
            (_, None, _) => false,
            (None, Some(_), _) => true,
            (Some(value), Some(line), None) => line.as_bytes() == value.as_bytes(),
            (Some(_), Some(_), Some(_)) => false,
        }
    }

    /// Returns whether no request meets both.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        self.name == other.name && self.value.is_some() && other.value.is_some() && self.value != other.value
    }
}
