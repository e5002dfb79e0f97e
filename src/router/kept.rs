//! The headers of a request as route conditions see them: those it came with, or those that were kept of it.

use std::{
    cell::{Cell, OnceCell},
    sync::Arc,
};

use http::{HeaderMap, header::HeaderName};

use super::pattern::HeaderCondition;

/// Decides whether a request meets the header conditions of a route.
pub(crate) trait Headers {
    /// Returns whether all of these are met.
    fn meet(&self, conditions: &[HeaderCondition]) -> bool;
}

impl Headers for HeaderMap {
    fn meet(&self, conditions: &[HeaderCondition]) -> bool {
        conditions.iter().all(|condition| condition.is_met(self))
    }
}

/// The headers of a new request. It notes whether the route depended on them: most requests are matched without a look
/// at a header, and none of theirs is kept.
pub(crate) struct MatchedFirst<'h> {
    headers: &'h HeaderMap,
    is_conditional: Cell<bool>,
}

impl<'h> MatchedFirst<'h> {
    /// Returns a request with these headers.
    pub(crate) fn new(headers: &'h HeaderMap) -> Self {
        Self { headers, is_conditional: Cell::new(false) }
    }

    /// Returns whether a route that was considered has a header condition.
    pub(crate) fn is_conditional(&self) -> bool {
        self.is_conditional.get()
    }
}

impl Headers for MatchedFirst<'_> {
    fn meet(&self, conditions: &[HeaderCondition]) -> bool {
        if !conditions.is_empty() {
            self.is_conditional.set(true);
        }
        self.headers.meet(conditions)
    }
}

/// The headers of a request that routes had conditions on when it came. A long request is matched again by them when
/// its other headers are gone.
#[derive(Debug)]
pub(crate) struct KeptHeaders {
    names: Arc<[HeaderName]>,
    values: HeaderMap,
}

impl KeptHeaders {
    /// Returns those with these names.
    pub(crate) fn of(headers: &HeaderMap, names: &Arc<[HeaderName]>) -> Self {
        let mut values = HeaderMap::new();
        for name in &**names {
            headers.get_all(name).iter().for_each(|value| _ = values.append(name, value.clone()));
        }
        Self { names: names.clone(), values }
    }
}

/// A request that is matched again by its kept headers. A condition on any other header, which only later routes can
/// have, counts as not met, and is noted: whether the request meets it is not known.
///
/// Headers are not kept for conditions that may come: they would take memory and time of each request, and most of
/// their content is secret.
pub(crate) struct MatchedAgain<'k> {
    kept: Option<&'k KeptHeaders>,
    not_kept: OnceCell<HeaderName>,
}

impl<'k> MatchedAgain<'k> {
    /// Returns a request with these kept headers, if any were kept.
    pub(crate) fn new(kept: Option<&'k KeptHeaders>) -> Self {
        Self { kept, not_kept: OnceCell::new() }
    }

    /// Returns the first header that was needed and was not kept, if the other conditions of that route are met: then
    /// the result may not be the one that the request itself would get.
    pub(crate) fn not_kept(&self) -> Option<&HeaderName> {
        self.not_kept.get()
    }

    fn is_met(&self, condition: &HeaderCondition) -> bool {
        self.kept.is_some_and(|kept| condition.is_met(&kept.values))
    }

    fn is_kept(&self, condition: &HeaderCondition) -> bool {
        self.kept.is_some_and(|kept| kept.names.contains(&condition.name))
    }
}

impl Headers for MatchedAgain<'_> {
    fn meet(&self, conditions: &[HeaderCondition]) -> bool {
        let unmet = || conditions.iter().filter(|condition| !self.is_met(condition));
        let Some(first) = unmet().next() else { return true };
        if unmet().all(|condition| !self.is_kept(condition)) {
            self.not_kept.get_or_init(|| first.name.clone());
        }
        false
    }
}

#[cfg(test)]
mod tests;
