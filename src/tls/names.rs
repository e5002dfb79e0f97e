//! Maps the server name that a client asks for to its settings.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::Arc,
};

use openssl::{error::ErrorStack, ssl::SslContext};
use portcullis_plugin::UnixTime;

use super::{
    certificate::Certified,
    clients::Clients,
    context,
    served::{OTHER_NAMES, Served},
};
use crate::config::file;

/// The settings of a connection to one server name, or to several with equal settings.
pub(super) struct Name {
    /// The OpenSSL context with its certificates.
    pub(super) context: SslContext,
    /// Its client certificate settings.
    pub(super) clients: Arc<Clients>,
    /// The settings in a form for operators.
    served: Served,
}

/// All names of a listener. Names of certificates and names that the file has settings for are one table, so that a
/// name which is only in one of them is found with the other's settings for its wildcard.
///
/// The wildcard of a certificate stands for one label (RFC 6125 section 6.4.3). The file's settings for `*.example.com`
/// hold for every name below `example.com`, as in the `hosts` of a route: otherwise `a.b.example.com` would evade the
/// request for a certificate and reach the routes of `*.example.com` all the same.
pub(super) struct Names {
    /// By name in lower case; a wildcard without its `*`, so that it begins with a dot.
    known: HashMap<Box<str>, Arc<Name>>,
    /// For names that no certificate has, below one of the file's wildcards: by that wildcard, again without its `*`.
    below: HashMap<Box<str>, Arc<Name>>,
    /// The settings of a client that asks for no name or for an unknown one.
    unknown: Arc<Name>,
    is_unknown_refused: bool,
    /// Set if any name asks for certificates: otherwise requests need not be compared with their connection.
    pub(super) ask_anywhere: bool,
}

impl Names {
    pub(super) fn build(
        file: &file::Tls,
        listener: usize,
        certificates: &[Arc<Certified>],
        clients: &Arc<Clients>,
        of_names: &[(&str, Arc<Clients>)],
    ) -> Result<Self, ErrorStack> {
        let mut named: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, certificate) in certificates.iter().enumerate() {
            certificate.names.iter().for_each(|name| named.entry(key(name)).or_default().push(index));
        }
        let first = vec![0];
        let asked: HashMap<&str, &Arc<Clients>> = of_names.iter().map(|(name, clients)| (key(name), clients)).collect();
        // Names with equal settings share a context: it holds parsed keys, and there may be thousands of names.
        let mut built: HashMap<(Vec<usize>, *const Clients), Arc<Name>> = HashMap::new();
        let mut name = |shown: &Vec<usize>, clients: &Arc<Clients>| -> Result<Arc<Name>, ErrorStack> {
            match built.entry((shown.clone(), Arc::as_ptr(clients))) {
                Entry::Occupied(known) => Ok(known.get().clone()),
                Entry::Vacant(free) => {
                    let certificates: Vec<&Certified> = shown.iter().map(|index| &*certificates[*index]).collect();
                    let context = context::of_name(file, listener, &certificates, clients)?;
                    let served = served(&certificates, clients);
                    Ok(free.insert(Arc::new(Name { context, clients: clients.clone(), served })).clone())
                }
            }
        };
        let mut known = HashMap::new();
        for key in named.keys().chain(asked.keys()) {
            let shown = named.get(key).or_else(|| named.get(parents(key).next()?)).unwrap_or(&first);
            let asked = asked.get(key).or_else(|| parents(key).find_map(|parent| asked.get(parent)));
            known.insert(Box::from(*key), name(shown, asked.copied().unwrap_or(clients))?);
        }
        let mut below = HashMap::new();
        for (wildcard, clients) in asked.iter().filter(|(key, _)| key.starts_with('.')) {
            below.insert(Box::from(*wildcard), name(&first, clients)?);
        }
        let unknown = name(&first, clients)?;
        let ask_anywhere = known.values().chain([&unknown]).any(|name| name.clients.trust.is_some());
        let is_unknown_refused = file.unknown_name == file::UnknownName::Refuse;
        Ok(Self { known, below, unknown, is_unknown_refused, ask_anywhere })
    }

    /// Returns the settings of a client that asks for this name, in lower case; `None`: the handshake is refused.
    pub(super) fn requested(&self, name: Option<&str>) -> Option<&Arc<Name>> {
        match name.and_then(|name| self.find(name)) {
            Some(known) => Some(known),
            None if self.is_unknown_refused => None,
            None => Some(self.of_name(name)),
        }
    }

    /// Returns the settings for requests to this host.
    pub(super) fn of_host(&self, host: &str) -> &Arc<Name> {
        let below = || parents(host).find_map(|parent| self.below.get(parent));
        self.find(host).or_else(below).unwrap_or(&self.unknown)
    }

    /// Returns the settings of a connection that asked for this name.
    pub(super) fn of_name(&self, name: Option<&str>) -> &Arc<Name> {
        name.map_or(&self.unknown, |name| self.of_host(name))
    }

    /// Returns the settings of each name, for operators.
    pub(super) fn served(&self) -> BTreeMap<String, Served> {
        let spelt = |key: &str| if key.starts_with('.') { format!("*{key}") } else { key.to_owned() };
        let known = self.known.iter().map(|(key, name)| (spelt(key), name.served.clone()));
        let unknown = (!self.is_unknown_refused).then(|| (OTHER_NAMES.to_owned(), self.unknown.served.clone()));
        known.chain(unknown).collect()
    }

    /// Looks up an exact name before a wildcard.
    fn find(&self, name: &str) -> Option<&Arc<Name>> {
        self.known.get(name).or_else(|| self.known.get(parents(name).next()?))
    }
}

fn served(certificates: &[&Certified], clients: &Clients) -> Served {
    Served {
        certificates: certificates.iter().map(|certificate| certificate.sha256).collect(),
        until: certificates.iter().map(|certificate| certificate.until).min().unwrap_or(UnixTime(0)),
        client_auth: clients.auth,
        clients: clients.fingerprint,
    }
}

/// Returns the key of a name in the tables.
fn key(name: &str) -> &str {
    name.strip_prefix('*').unwrap_or(name)
}

/// Returns the keys of the wildcards that a name may be under, the nearest first: `.b.c` and `.c` for `a.b.c`.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(dot, _)| &name[dot..])
}

/// Returns whether one of these names of certificates equals this one or is a wildcard for it.
pub(super) fn covers<'n>(mut names: impl Iterator<Item = &'n str>, name: &str) -> bool {
    let (name, parent) = (key(name), parents(name).next());
    names.any(|known| key(known) == name || known.starts_with('*') && Some(key(known)) == parent)
}
