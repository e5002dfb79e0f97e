//! The settings of an issuer, which stand in two tables: its own, and the one that holds for all.

use std::time::Duration;

use portcullis_plugin::Span;

use crate::{config::Issuer as IssuerSettings, consumers::Consumers, problems::Problems};

/// The settings of one issuer, and those of all of them.
pub(crate) struct Layers<'c> {
    /// Leads to the issuer's fields.
    pub(crate) prefix: String,
    pub(crate) own: &'c IssuerSettings,
    pub(crate) common: &'c IssuerSettings,
}

impl<'c> Layers<'c> {
    /// Returns a setting of the issuer's own table, or else of the common one.
    pub(crate) fn pick<T: ?Sized>(&self, field: impl Fn(&'c IssuerSettings) -> Option<&'c T>) -> Option<&'c T> {
        field(self.own).or_else(|| field(self.common))
    }

    pub(crate) fn span(&self, field: impl Fn(&'c IssuerSettings) -> Option<&'c Span>) -> Option<Duration> {
        self.pick(field).map(|span| span.0)
    }

    /// The way to a field of the issuer's own table; empty: the table itself.
    pub(crate) fn field(&self, field: &str) -> String {
        format!("{}{field}", self.prefix).trim_end_matches('.').to_owned()
    }

    /// The way to a field of `fetch`, in the table that has it; to any other field in the issuer's own.
    pub(crate) fn field_of(&self, field: &str) -> String {
        let is_common = field.starts_with("fetch.") && self.own.fetch.is_none();
        if is_common { field.to_owned() } else { self.field(field) }
    }

    pub(crate) fn consumers(&self) -> Consumers {
        let is_required = self.pick(|settings| settings.consumer_required.as_ref());
        Consumers::new(self.pick(|settings| settings.consumer.as_ref()).cloned(), is_required.copied())
    }

    /// Returns the audiences, and `true` if any audience is taken. A table that has one of the two settings decides on
    /// both.
    pub(crate) fn audiences(&self) -> (&'c [String], bool) {
        let is_said = |settings: &IssuerSettings| settings.audience.is_some() || settings.any_audience.is_some();
        let settings = if is_said(self.own) { self.own } else { self.common };
        (settings.audience.as_deref().unwrap_or_default(), settings.any_audience.unwrap_or(false))
    }

    /// Checks the two tables together.
    pub(crate) fn check(&self, any_issuer: bool, problems: &mut Problems) {
        let mut wrong = |field: &str, why: &str| problems.push((self.field(field), why.to_owned()));
        match (&self.own.issuer, any_issuer) {
            (None, false) => {
                wrong("issuer", "is missing: whose tokens are these? `any_issuer = true` takes everyone's");
            }
            (Some(_), true) => wrong("issuer", "has no use beside `any_issuer`"),
            _ => {}
        }
        if matches!(self.audiences(), ([], false)) && !self.own.audience.as_ref().is_some_and(Vec::is_empty) {
            let why = "is missing: who are we to the issuer? `any_audience = true` takes tokens meant for others too";
            wrong("audience", why);
        }
    }
}
