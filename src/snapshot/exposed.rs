//! Paths that a reload takes protection from: a route is gone or asks for less, and what takes its requests now lets in
//! somebody whom it refused.
//!
//! It is no error. To take a route out has to be possible, and a signal has no way to ask back. What takes a route out
//! by accident (a folder that is not there, an empty file) is an error before it comes to this.

use super::{
    Gate, Snapshot,
    route::{Alternative, Ending},
};
use crate::router::{Find, Router, Sample};

/// The most requests that are made up for one route.
const MAX_SAMPLES: usize = 1_000;

/// The most routes that are named.
const MAX_NAMED: usize = 20;

impl Snapshot {
    /// Says of each route whose requests are let through by less than before what takes them.
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

    /// What is told of the route of this number of the snapshot before.
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

    /// In which way the one route lets in more than the other did. Of a route of the same name only what opens it to
    /// everybody is told: which credentials it takes is its own business, and the reload names it as changed.
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
