//! Changes to the head of a response that plugins attached to their verdicts before there was a response.

use parking_lot::Mutex;
use pingora::http::ResponseHeader;
use portcullis_plugin::{HeaderEdits, Reach};

use super::edit::ClientEdit;

/// The edits that came with verdicts so far.
///
/// Behind a lock because hooks and the trail of one request share its state; nobody ever waits for it.
#[derive(Default)]
pub(crate) struct ResponseEdits(Mutex<Edits>);

#[derive(Default)]
struct Edits {
    all: Vec<HeaderEdits>,
    /// The number of edits before the alternative that granted.
    before_grant: usize,
}

/// The recipient of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipient {
    /// Any caller but those below: the request was let through, or was refused for another reason, before or after it
    /// was known who sent it.
    Other,
    /// A caller who gets 401.
    Unauthenticated,
    /// A caller who gets what an authenticator proposed in place of 401.
    Proposed,
}

impl ResponseEdits {
    /// Adds those of one verdict.
    pub(crate) fn add(&self, edits: HeaderEdits) {
        if !edits.is_empty() {
            self.0.lock().all.push(edits);
        }
    }

    /// Returns the number of verdicts with edits.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().all.len()
    }

    /// Removes all but the first `count`: those of an alternative that did not grant in the end.
    pub(crate) fn truncate(&self, count: usize) {
        self.0.lock().all.truncate(count);
    }

    /// Notes that an alternative granted after the first `count` edits.
    pub(crate) fn grant_behind(&self, count: usize) {
        self.0.lock().before_grant = count;
    }

    /// Removes those of the alternative that granted, and of all who judged its identity afterwards.
    pub(crate) fn disprove(&self) {
        let mut edits = self.0.lock();
        let before_grant = edits.before_grant;
        edits.all.truncate(before_grant);
    }

    /// Applies them to the upstream's response or, where there is a recipient, in an answer of the gateway's own: those
    /// that reach it. It is done after every hook, so that none of them loses a cookie.
    pub(crate) fn apply(&self, head: &mut ResponseHeader, own: Option<Recipient>) {
        let all = &self.0.lock().all;
        if all.is_empty() {
            return;
        }
        let mut edit = if own.is_some() { ClientEdit::of_own_answer(head) } else { ClientEdit::of_response(head) };
        let recipient = own.unwrap_or(Recipient::Other);
        for (name, change) in all.iter().filter(|edits| reaches(edits.reach(), recipient)).flat_map(HeaderEdits::iter) {
            edit.change(name, change);
        }
    }
}

fn reaches(reach: Reach, recipient: Recipient) -> bool {
    match reach {
        Reach::Every => true,
        Reach::NoProposal => recipient != Recipient::Proposed,
        Reach::Authenticated => recipient == Recipient::Other,
    }
}

#[cfg(test)]
mod tests;
