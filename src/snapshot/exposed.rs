//! Finds paths that lose protection by a reload: a route is gone or requires less, and the route that now takes its
//! requests admits somebody who was refused before.
//!
//! That is not an error. It must be possible to remove a route, and a signal has no way to ask for confirmation.
//! Accidental removals (a folder that is not there, an empty file) are errors earlier on.

use super::{
    Gate, Snapshot,
    route::{Alternative, Ending},
};
use crate::router::{Find, Router, Sample};

/// The most sample requests for one route.
const MAX_SAMPLES: usize = 1_000;

/// The most routes that are named.
const MAX_NAMED: usize = 20;

impl Snapshot {
    /// Returns a sentence for each route whose requests now need less to be let through.
    pub(super) fn exposed_since(&self, before: &Self) -> Vec<String> {
        let says_else = |gate: &Gate| {
            let name = &*gate.route.record.name;
            self.fingerprints.get(name) != before.fingerprints.get(name)
        };
        let gates = before.gates.iter().enumerate().filter(|(_, gate)| gate.auth.is_some() && says_else(gate));
        let mut exposed: Vec<_> = gates.filter_map(|(number, _)| self.exposed(before, number)).collect();
        exposed.sort();
        let others = exposed.len().saturating_sub(MAX_NAMED);
        if others > 0 {
            exposed.truncate(MAX_NAMED);
            exposed.push(format!("{others} more routes as these"));
        }
        exposed
    }

    /// Returns the sentence for the route of this number of the snapshot before, if any.
    fn exposed(&self, before: &Self, number: usize) -> Option<String> {
        let was = &before.gates[number];
        let find = |router: &Router, of: &Sample| match router.find(&of.host, &of.path, &of.method, &of.headers) {
            Find::Route(number) => Some(number),
            Find::MethodNotAllowed { .. } | Find::NotFound => None,
        };
        // Another route may have taken this one already.
        let mut own =
            was.route.pattern.samples().take(MAX_SAMPLES).filter(|of| find(&before.router, of) == Some(number));
        own.find_map(|sample| {
            let now = &self.gates[find(&self.router, &sample)?];
            let Ending::Forward(upstream) = &now.route.ending else { return None };
            let less = self.asks_less(now, before, was)?;
            let (name, taker) = (&was.route.record.name, &now.route.record.name);
            let what = if self.fingerprints.contains_key(&**name) { "has changed" } else { "is gone" };
            let taken = match name == taker {
                true => less,
                false => format!("the route `{taker}`, which {less}, takes its requests"),
            };
            let Sample { method, host, path, .. } = sample;
            Some(format!(
                "the route `{name}` {what}, and {taken}: {method} {host}{path} now reaches `{}`",
                upstream.name
            ))
        })
    }

    /// Describes in which way the one route admits more than the other did. For a route of the same name only a change
    /// that opens it to everybody is reported: the credentials that it accepts are its own business, and the reload
    /// reports it as changed.
    fn asks_less(&self, now: &Gate, before: &Self, was: &Gate) -> Option<String> {
        let (Some(auth), Some(old)) = (&now.auth, &was.auth) else { return Some("is public".to_owned()) };
        if auth.anonymous.is_some() && old.anonymous.is_none() {
            return Some("lets in who has no credential".to_owned());
        }
        if now.route.record.name == was.route.record.name {
            return None;
        }
        let is_same = |now: &str, was: &str| {
            let print = |snapshot: &Self, name: &str| snapshot.instances.get(name).map(|instance| instance.fingerprint);
            now == was || print(self, now).is_some_and(|print_now| Some(print_now) == print(before, was))
        };
        let proves = |alternative: &Alternative| {
            let has = |policy: &str| alternative.parts.iter().any(|now| is_same(&now.policy, policy));
            old.alternatives.iter().any(|old| old.parts.iter().all(|was| has(&was.policy)))
        };
        if let Some(other) = auth.alternatives.iter().find(|alternative| !proves(alternative)) {
            let names: Vec<_> = other.parts.iter().map(|part| format!("`{}`", part.policy)).collect();
            return Some(format!("takes {}", names.join(" with ")));
        }
        let lost = was.judges().find(|was| !now.judges().any(|now| is_same(now, was)));
        lost.map(|policy| format!("goes without `{policy}`"))
    }
}
