//! The challenges for clients without a good token (RFC 6750 section 3).

use portcullis_plugin::{Attempt, Challenge, Place, Places};

/// Made once.
pub(crate) struct Challenges {
    absent: Challenge,
    denied: Challenge,
}

impl Challenges {
    /// Names the scheme of the first header that has one. Without such a header it is `Bearer`, and a parameter says
    /// where else the token is looked for.
    pub(crate) fn new(places: &Places) -> Self {
        let scheme = places.headers().find_map(|(_, scheme)| scheme);
        let absent = match (scheme, places.0.first()) {
            (Some(scheme), _) => Challenge { scheme: scheme.to_owned().into(), parameters: Vec::new() },
            (None, place) => Challenge { scheme: "Bearer".into(), parameters: place.map(named).unwrap_or_default() },
        };
        let mut denied = absent.clone();
        if denied.scheme.eq_ignore_ascii_case("bearer") {
            // An error code where a token was sent, none where there was none (RFC 6750 section 3.1).
            denied.parameters.push(("error", "invalid_token".to_owned()));
        }
        Self { absent, denied }
    }

    pub(crate) fn of(&self, attempt: Attempt) -> Challenge {
        match attempt {
            Attempt::Absent => self.absent.clone(),
            Attempt::Denied(_) => self.denied.clone(),
        }
    }
}

fn named(place: &Place) -> Vec<(&'static str, String)> {
    match place {
        Place::Header { name, .. } => vec![("header", name.to_string())],
        Place::Query(name) => vec![("in", "query".to_owned()), ("name", name.clone())],
        Place::Cookie(name) => vec![("in", "cookie".to_owned()), ("name", name.clone())],
    }
}
