//! What is said of an issuer in two places: its own table, and the one that holds for all.

use std::{sync::Arc, time::Duration};

use portcullis_jose::Expectations;
use portcullis_plugin::{BuildCx, Span};

use crate::{Problems, config::Issuer as Said, consumers::Consumers, headers, issuer::Issuer, keys, mapping::Parts};

/// What is said of one issuer, and beside it for all of them.
pub(crate) struct Layers<'c> {
    /// Leads to the issuer's fields.
    pub(crate) prefix: String,
    pub(crate) own: &'c Said,
    pub(crate) common: &'c Said,
}

impl<'c> Layers<'c> {
    /// What the issuer's own table says, or else the common one.
    pub(crate) fn pick<T: ?Sized>(&self, field: impl Fn(&'c Said) -> Option<&'c T>) -> Option<&'c T> {
        field(self.own).or_else(|| field(self.common))
    }

    fn span(&self, field: impl Fn(&'c Said) -> Option<&'c Span>) -> Option<Duration> {
        self.pick(field).map(|span| span.0)
    }

    /// The way to a field of the issuer's own table; empty: the table itself.
    pub(crate) fn field(&self, field: &str) -> String {
        format!("{}{field}", self.prefix).trim_end_matches('.').to_owned()
    }

    /// The way to what `fetch` says, in the table that says it; to any other field in the issuer's own.
    pub(crate) fn field_of(&self, field: &str) -> String {
        let is_common = field.starts_with("fetch.") && self.own.fetch.is_none();
        if is_common { field.to_owned() } else { self.field(field) }
    }

    pub(crate) fn consumers(&self) -> Consumers {
        let is_required = self.pick(|said| said.consumer_required.as_ref());
        Consumers::new(self.pick(|said| said.consumer.as_ref()).cloned(), is_required.copied())
    }

    /// The audiences; none where any is taken. Who says one of the two says both.
    fn audiences(&self) -> (&'c [String], bool) {
        let is_said = |said: &Said| said.audience.is_some() || said.any_audience.is_some();
        let said = if is_said(self.own) { self.own } else { self.common };
        (said.audience.as_deref().unwrap_or_default(), said.any_audience.unwrap_or(false))
    }

    /// What is wrong with the two tables together.
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

    pub(crate) fn issuer(
        &self,
        consumers: Consumers,
        cx: &mut BuildCx<'_>,
        problems: &mut Problems,
    ) -> Option<Arc<Issuer>> {
        if self.own.issuer.as_ref().is_some_and(|issuer| self.audiences().0.contains(issuer)) {
            let why = "this is the issuer itself: tokens that it makes for its own use would be taken; name your API";
            cx.warn(&self.field("audience"), why);
        }
        let keys = keys::build(self, cx, problems);
        let headers = self.pick(|said| said.headers.as_ref()).map(headers::read).unwrap_or_default();
        let rules = [&self.common.claims, &self.own.claims].into_iter().flatten().flatten().cloned();
        let (algorithms, keys) = keys?;
        Some(Arc::new(Issuer {
            keys,
            algorithms,
            expectations: self.expectations(),
            rules: rules.collect(),
            parts: Parts::new(self.own.identity.as_ref(), self.common.identity.as_ref()),
            tenant: self.pick(|said| said.tenant.as_ref()).cloned(),
            consumers,
            headers,
            binding: self.pick(|said| said.certificate_binding.as_ref()).copied().unwrap_or_default(),
            version_claim: self.pick(|said| said.version_claim.as_ref()).cloned(),
        }))
    }

    fn expectations(&self) -> Expectations {
        let usual = Expectations::default();
        Expectations {
            issuer: self.own.issuer.clone(),
            audiences: self.audiences().0.to_vec(),
            typ: self.pick(|said| said.typ.as_ref()).cloned(),
            leeway: self.span(|said| said.leeway.as_ref()).unwrap_or(usual.leeway),
            max_age: self.span(|said| said.max_age.as_ref()),
            max_lifetime: self.span(|said| said.max_lifetime.as_ref()),
        }
    }
}
