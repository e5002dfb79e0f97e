//! A configuration, compiled: routes, router and pipelines. A snapshot never changes; exactly one is current, and a
//! request keeps the [`Route`] it was matched to (which holds all that it needs) to its end.

mod asked;
mod compile;
pub mod instance;
mod listener;
mod mentions;
pub mod route;
pub mod router;
mod together;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
};

use portcullis_plugin::Credential;

pub use compile::compile;
pub use listener::Listener;
pub use route::Route;

use self::{instance::Instance, route::Settings, router::Router};
use crate::{
    config::{Fingerprint, Report, Sources, file},
    upstream::Upstream,
};

/// One configuration, compiled.
pub struct Snapshot {
    /// Counts publications, from 1.
    pub generation: u64,
    /// The routes; the router's answers are indexes into them.
    pub routes: Vec<Arc<Route>>,
    /// From a request to a route.
    pub router: Router,
    /// What holds on every route.
    pub settings: Arc<Settings>,
    /// What it was read from.
    pub sources: Arc<Sources>,
    /// What of it is hardly meant.
    pub warnings: Report,
    /// What only a restart can change.
    pub fixed: Fixed,
    /// Every credential, for the admin listener.
    pub credentials: Vec<Arc<Credential>>,
    /// Of what proves each of them, in the same order.
    pub secrets: Vec<Fingerprint>,
    /// The upstreams, used or not.
    pub upstreams: Vec<Arc<Upstream>>,
    /// What each route says, to tell which changed.
    pub fingerprints: HashMap<String, Fingerprint>,
    /// The built policies, to keep those that do not change.
    pub instances: HashMap<String, Arc<Instance>>,
}

/// The part of a configuration that a running process cannot change: a reload that changes it is refused by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// `[server]`.
    pub server: file::Server,
    /// `[admin] listen`.
    pub admin: Option<file::AdminAddress>,
    /// The addresses of `[[listeners]]`. What else is said of them may change.
    pub listeners: Vec<SocketAddr>,
}

impl Fixed {
    /// What differs, in the words of the file.
    pub fn differences(&self, new: &Self) -> Vec<&'static str> {
        let differs = [
            (self.server != new.server, "server"),
            (self.admin != new.admin, "admin.listen"),
            (self.listeners != new.listeners, "listeners.address"),
        ];
        differs.into_iter().filter_map(|(differs, name)| differs.then_some(name)).collect()
    }
}

/// Which routes a reload added, changed and removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Changes {
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
    /// Routes about which the configuration says the same, each with a policy of it that was built anew all the same: a
    /// file or a secret that it reads is another.
    pub reread: Vec<(String, String)>,
    /// What listeners show and ask for that they did not: lines that begin with `+`, `~` or `-`.
    pub tls: Vec<String>,
}

impl Snapshot {
    /// What is different from the one before. A route counts as changed when what it says, a policy it uses or the
    /// upstream it forwards to says something else.
    pub fn changes_since(&self, before: &Self) -> Changes {
        let mut changes = Changes::default();
        for (name, fingerprint) in &self.fingerprints {
            match before.fingerprints.get(name) {
                None => changes.added.push(name.clone()),
                Some(old) if old != fingerprint => changes.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        changes
            .removed
            .extend(before.fingerprints.keys().filter(|name| !self.fingerprints.contains_key(*name)).cloned());
        [&mut changes.added, &mut changes.changed, &mut changes.removed].into_iter().for_each(|names| names.sort());
        changes.reread = self.reread_since(before);
        changes.tls = self.tls_since(before);
        changes
    }

    fn tls_since(&self, before: &Self) -> Vec<String> {
        let listeners = self.settings.listeners.iter().zip(&before.settings.listeners).enumerate();
        let changes = listeners.flat_map(|(number, (now, before))| {
            let lines = match (&now.tls, &before.tls) {
                (Some(now), Some(before)) => now.changes_since(before),
                (Some(_), None) => vec!["~ TLS, which it did not speak".to_owned()],
                (None, Some(_)) => vec!["~ plain, where it spoke TLS".to_owned()],
                (None, None) => Vec::new(),
            };
            // The sign first, as with routes.
            lines.into_iter().map(move |line| format!("{} listeners[{number}] {}", &line[..1], &line[2..]))
        });
        changes.collect()
    }

    /// Of the routes that say the same as before, those with a policy that was built anew.
    fn reread_since(&self, before: &Self) -> Vec<(String, String)> {
        let is_rebuilt = |(name, now): &(&String, &Arc<Instance>)| {
            let old = before.instances.get(*name);
            old.is_some_and(|old| old.fingerprint == now.fingerprint && !Arc::ptr_eq(old, now))
        };
        let rebuilt: HashSet<&str> = self.instances.iter().filter(is_rebuilt).map(|(name, _)| name.as_str()).collect();
        if rebuilt.is_empty() {
            return Vec::new();
        }
        let says_the_same = |route: &&Arc<Route>| {
            let name = &*route.record.name;
            self.fingerprints.get(name).is_some_and(|now| before.fingerprints.get(name) == Some(now))
        };
        let reread = self.routes.iter().filter(says_the_same).filter_map(|route| {
            let policy = route.policies().find(|policy| rebuilt.contains(policy))?;
            Some((route.record.name.to_string(), policy.to_owned()))
        });
        let mut reread: Vec<_> = reread.collect();
        reread.sort();
        reread
    }
}
