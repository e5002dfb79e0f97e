//! The differences that a reload made, for the command that requested it and for the log.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{Gate, Listener, Snapshot, instance::Instance};
use crate::{config::Fingerprint, services::CredentialKey};

/// The differences between two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Changes {
    /// Added routes.
    pub added: Vec<String>,
    /// Routes whose own settings changed, or those of a policy, an upstream or a credential of theirs.
    pub changed: Vec<String>,
    /// Removed routes.
    pub removed: Vec<String>,
    /// Routes with unchanged settings, each with a policy of it that was rebuilt because a file or a secret that it
    /// reads has changed.
    pub reread: Vec<(String, String)>,
    /// Changes beside the routes: of settings, upstreams, consumers and credentials, in lines that begin with `+`, `~`
    /// or `-`.
    pub beside: Vec<String>,
    /// Changes of certificates and of client certificate settings, in lines that begin with `+`, `~` or `-`.
    pub tls: Vec<String>,
    /// Protected paths that now require less than before, in sentences.
    #[serde(default)]
    pub exposed: Vec<String>,
}

impl Changes {
    /// Returns all but [`Changes::tls`] and [`Changes::exposed`], in lines that begin with `+`, `~` or `-`. Settings
    /// that hold for every route come first, so that they are not lost where the lines are cut.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let with = |sign: char, names: &[String]| names.iter().map(|name| format!("{sign} {name}")).collect::<Vec<_>>();
        let reread = self.reread.iter();
        let reread =
            reread.map(|(route, policy)| format!("~ {route} (policy {policy}: a file or a secret it reads changed)"));
        let mut changed: Vec<_> = with('~', &self.changed).into_iter().chain(reread).collect();
        changed.sort();
        let routes = with('+', &self.added).into_iter().chain(changed).chain(with('-', &self.removed));
        self.beside.clone().into_iter().chain(routes)
    }
}

impl Snapshot {
    /// Returns the differences to the snapshot before. A route counts as changed when its own settings, those of a
    /// policy it uses or those of the upstream it forwards to have changed.
    pub(crate) fn changes_since(&self, before: &Self) -> Changes {
        let routes = Differences::between(&self.fingerprints, &before.fingerprints);
        let names = |names: Vec<&String>| names.into_iter().cloned().collect();
        Changes {
            added: names(routes.added),
            changed: names(routes.changed),
            removed: names(routes.removed),
            reread: self.reread_since(before),
            beside: self.others_since(before),
            tls: self.tls_since(before),
            exposed: self.exposed_since(before),
        }
    }

    fn others_since(&self, before: &Self) -> Vec<String> {
        let (now, was) = (&self.other_fingerprints, &before.other_fingerprints);
        let mut lines = self.settings_since(before);
        lines.extend(Differences::between(&now.upstreams, &was.upstreams).lines(|name| format!("upstream {name}")));
        lines.extend(Differences::between(&now.consumers, &was.consumers).lines(|name| format!("consumer {name}")));
        let credential = |(_, id): &CredentialKey| format!("credential {id}");
        lines.extend(Differences::between(&now.credentials, &was.credentials).lines(credential));
        lines
    }

    /// Returns the changes of settings that hold for every route, or for one listener. An absent table is a table like
    /// others: one that was added or removed has changed.
    fn settings_since(&self, before: &Self) -> Vec<String> {
        let tables = Differences::between(&self.other_fingerprints.tables, &before.other_fingerprints.tables);
        let mut names: BTreeSet<String> =
            [tables.added, tables.changed, tables.removed].into_iter().flatten().cloned().collect();
        // The same source may hold another token.
        if self.settings.admin_token != before.settings.admin_token {
            names.insert("admin".to_owned());
        }
        let listeners = self.settings.listeners.iter().zip(&before.settings.listeners).enumerate();
        let fields = listeners.flat_map(|(number, (now, before))| {
            now.differences(before).map(move |field| format!("listeners[{number}].{field}"))
        });
        names.into_iter().chain(fields).map(|name| format!("~ {name}")).collect()
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

    /// Returns the unchanged routes with a policy that was rebuilt.
    fn reread_since(&self, before: &Self) -> Vec<(String, String)> {
        let is_rebuilt = |(name, now): &(&String, &Arc<Instance>)| {
            let old = before.instances.get(*name);
            old.is_some_and(|old| old.fingerprint == now.fingerprint && !Arc::ptr_eq(old, now))
        };
        let rebuilt: HashSet<&str> = self.instances.iter().filter(is_rebuilt).map(|(name, _)| name.as_str()).collect();
        if rebuilt.is_empty() {
            return Vec::new();
        }
        let says_the_same = |gate: &&Arc<Gate>| {
            let name = &*gate.route.record.name;
            self.fingerprints.get(name).is_some_and(|now| before.fingerprints.get(name) == Some(now))
        };
        let reread = self.gates.iter().filter(says_the_same).filter_map(|gate| {
            let policy = gate.policies().find(|policy| rebuilt.contains(policy))?;
            Some((gate.route.record.name.to_string(), policy.to_owned()))
        });
        let mut reread: Vec<_> = reread.collect();
        reread.sort();
        reread
    }
}

impl Listener {
    /// Returns the fields that differ, without TLS.
    fn differences(&self, before: &Self) -> impl Iterator<Item = &'static str> + use<> {
        let differs = [
            (self.proxy_protocol != before.proxy_protocol, "proxy_protocol"),
            (self.h2c != before.h2c, "h2c"),
            (self.https_redirect != before.https_redirect, "https_redirect"),
            (self.hsts != before.hsts, "hsts"),
        ];
        differs.into_iter().filter_map(|(differs, field)| differs.then_some(field))
    }
}

/// The differences between two sets of named things, each list sorted by name.
struct Differences<'d, N> {
    added: Vec<&'d N>,
    changed: Vec<&'d N>,
    removed: Vec<&'d N>,
}

impl<'d, N: Eq + std::hash::Hash + Ord> Differences<'d, N> {
    fn between(now: &'d HashMap<N, Fingerprint>, before: &'d HashMap<N, Fingerprint>) -> Self {
        let mut differences = Self { added: Vec::new(), changed: Vec::new(), removed: Vec::new() };
        for (name, fingerprint) in now {
            match before.get(name) {
                None => differences.added.push(name),
                Some(old) if old != fingerprint => differences.changed.push(name),
                Some(_) => {}
            }
        }
        differences.removed.extend(before.keys().filter(|name| !now.contains_key(*name)));
        let Self { added, changed, removed } = &mut differences;
        [added, changed, removed].into_iter().for_each(|names| names.sort());
        differences
    }

    fn lines(self, describe: impl Fn(&N) -> String) -> Vec<String> {
        let signed = [('+', self.added), ('~', self.changed), ('-', self.removed)];
        let lines = signed.into_iter().flat_map(|(sign, names)| names.into_iter().map(move |name| (sign, name)));
        lines.map(|(sign, name)| format!("{sign} {}", describe(name))).collect()
    }
}
