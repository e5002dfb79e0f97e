//! The fields of a policy that say where its credential stands.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Place, Places};

/// `"x-api-key"` or `["x-api-key", "apikey"]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a header's name, or a list of names")]
pub enum HeaderNames {
    /// One header.
    One(String),
    /// Several; the credential may be in any of them.
    Several(Vec<String>),
}

/// The fields `header`, `scheme` and `from` of a policy, which mean the same for every plugin that has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlaceFields<'c> {
    /// The header, or the headers, that carry the credential.
    pub header: Option<&'c HeaderNames>,
    /// The authentication scheme before the credential in these headers.
    pub scheme: Option<&'c str>,
    /// All places, in the place of the other two.
    pub from: Option<&'c Places>,
}

impl PlaceFields<'_> {
    /// Returns the places to look. Without any of the fields that is the header `usual`, after the scheme
    /// `usual_scheme` if there is one; this scheme also goes with `usual` where `header` names it and `scheme` is not
    /// set. A place that is not valid is added to `problems`, with its field, and left out.
    pub fn places(self, usual: &str, usual_scheme: Option<&str>, problems: &mut Vec<(String, String)>) -> Places {
        let mut wrong = |field: &str, why: String| problems.push((field.to_owned(), why));
        if let Some(from) = self.from {
            if self.header.is_some() || self.scheme.is_some() {
                wrong("from", "says where the credential is: leave out `header` and `scheme`".to_owned());
            }
            if from.0.is_empty() {
                wrong("from", "is empty: name at least one place".to_owned());
            }
            return from.clone();
        }
        if self.scheme.is_some() && self.header.is_none() && usual_scheme.is_none() {
            wrong("scheme", "needs `header`, such as header = \"authorization\"".to_owned());
        }
        if let Some(Err(why)) = self.scheme.map(|scheme| Place::header("authorization", Some(scheme))) {
            wrong("scheme", why);
            return Places::default();
        }
        let mut places = Places::default();
        for (field, name) in self.names(usual, &mut wrong) {
            let usual_scheme = usual_scheme.filter(|_| name.eq_ignore_ascii_case(usual));
            match Place::header(name, self.scheme.or(usual_scheme)) {
                Ok(place) => places.merge(Places(vec![place])),
                Err(why) => wrong(&field, why),
            }
        }
        places
    }

    /// Each header's name, with the field that says it.
    fn names<'n>(&'n self, usual: &'n str, wrong: &mut impl FnMut(&str, String)) -> Vec<(String, &'n str)> {
        match self.header {
            None => vec![("header".to_owned(), usual)],
            Some(HeaderNames::One(name)) => vec![("header".to_owned(), name)],
            Some(HeaderNames::Several(names)) => {
                if names.is_empty() {
                    wrong("header", "is empty: name at least one header".to_owned());
                }
                names.iter().enumerate().map(|(index, name)| (format!("header[{index}]"), name.as_str())).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests;
