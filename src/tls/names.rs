//! From the server name that a client asks for to what it gets.

use std::{collections::HashMap, sync::Arc};

use openssl::{error::ErrorStack, ssl::SslContext};

use super::{certificate::Certified, clients::Clients, context};
use crate::config::file;

/// What holds for a connection to one server name, or to several that are served alike.
pub(super) struct Name {
    /// Its certificates and all that goes with them.
    pub(super) context: SslContext,
    /// Who is asked.
    pub(super) clients: Arc<Clients>,
}

/// All names of a listener. Names of certificates and names that the file has something to say about are one table, so
/// that a name which is only in one of them is found with what the other says about its wildcard.
pub(super) struct Names {
    /// In lower case; a wildcard begins with `*.`.
    known: HashMap<Box<str>, Arc<Name>>,
    /// What a client gets that asks for no name or for an unknown one.
    unknown: Arc<Name>,
    is_unknown_refused: bool,
    /// Whether any name asks for certificates: with none, requests need not be compared with their connection.
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
            certificate.names.iter().for_each(|name| named.entry(name).or_default().push(index));
        }
        let first = vec![0];
        let asked: HashMap<&str, &Arc<Clients>> = of_names.iter().map(|(name, clients)| (*name, clients)).collect();
        // Names that are served alike share a context: it holds parsed keys, and there may be thousands of names.
        let mut built: HashMap<(&[usize], *const Clients), Arc<Name>> = HashMap::new();
        let mut name = |shown: &[usize], clients: &Arc<Clients>| -> Result<Arc<Name>, ErrorStack> {
            let shown: &[usize] = match named.values().chain([&first]).find(|known| known.as_slice() == shown) {
                Some(known) => known,
                None => &first,
            };
            if let Some(known) = built.get(&(shown, Arc::as_ptr(clients))) {
                return Ok(known.clone());
            }
            let certificates: Vec<&Certified> = shown.iter().map(|index| &*certificates[*index]).collect();
            let context = context::of_name(file, listener, &certificates, clients)?;
            let made = Arc::new(Name { context, clients: clients.clone() });
            built.insert((shown, Arc::as_ptr(clients)), made.clone());
            Ok(made)
        };
        let mut known = HashMap::new();
        for key in named.keys().chain(asked.keys()) {
            let shown = look_up(&named, key).unwrap_or(&first);
            let clients = look_up(&asked, key).copied().unwrap_or(clients);
            known.insert(Box::from(*key), name(shown, clients)?);
        }
        let unknown = name(&first, clients)?;
        let ask_anywhere = known.values().chain([&unknown]).any(|name| name.clients.trust.is_some());
        let is_unknown_refused = file.unknown_name == file::UnknownName::Refuse;
        Ok(Self { known, unknown, is_unknown_refused, ask_anywhere })
    }

    /// What a client gets that asks for this name, in lower case; `None`: the handshake is refused.
    pub(super) fn asked(&self, name: Option<&str>) -> Option<&Arc<Name>> {
        let known = name.and_then(|name| self.find(name));
        known.or((!self.is_unknown_refused).then_some(&self.unknown))
    }

    /// What holds for requests to this host.
    pub(super) fn of_host(&self, host: &str) -> &Arc<Name> {
        self.find(host).unwrap_or(&self.unknown)
    }

    /// What holds for a connection that asked for this name.
    pub(super) fn of_name(&self, name: Option<&str>) -> &Arc<Name> {
        name.map_or(&self.unknown, |name| self.of_host(name))
    }

    fn find(&self, name: &str) -> Option<&Arc<Name>> {
        self.known.get(name).or_else(|| self.known.get(&*wildcard(name)?))
    }
}

/// Exact before wildcard.
fn look_up<'m, T>(map: &'m HashMap<&str, T>, name: &str) -> Option<&'m T> {
    map.get(name).or_else(|| map.get(&*wildcard(name)?))
}

/// The wildcard that stands for a name: one label (RFC 6125 section 6.4.3).
fn wildcard(name: &str) -> Option<String> {
    let (_, parent) = name.split_once('.')?;
    Some(format!("*.{parent}"))
}
