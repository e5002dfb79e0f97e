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
            (Some(scheme), _) => Challenge::new(scheme.to_owned()),
            (None, place) => place.map_or_else(|| Challenge::new("Bearer"), naming),
        };
        let mut denied = absent.clone();
        if denied.is_scheme("Bearer") {
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

fn naming(place: &Place) -> Challenge {
    let challenge = Challenge::new("Bearer");
    match place {
        Place::Header { name, .. } => challenge.parameter("header", name.as_str()),
        Place::Query(name) => challenge.parameter("in", "query").parameter("name", name),
        Place::Cookie(name) => challenge.parameter("in", "cookie").parameter("name", name),
    }
}
