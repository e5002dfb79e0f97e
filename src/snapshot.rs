//! A compiled configuration: routes, router and pipelines. A snapshot never changes; exactly one is current. A request
//! keeps only what it still needs of the route it was matched to: see [`route`].

mod changes;
pub(crate) mod client_address;
mod client_certificate_lints;
mod compile;
mod contended_header_lints;
mod exposed;
mod fingerprints;
mod gates;
pub(crate) mod identity_headers;
pub(crate) mod instance;
mod listener;
mod mentions;
mod overlaps;
mod own_paths;
mod record;
pub(crate) mod route;
mod usage_lints;

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use http::{HeaderMap, HeaderName};
use portcullis_plugin::Credential;

pub(crate) use changes::Changes;
pub(crate) use compile::compile;
pub(crate) use listener::Listener;
pub(crate) use record::{Mark, RouteRecord, Step};
pub(crate) use route::{Gate, Route};

use self::{fingerprints::OtherFingerprints, instance::Instance, route::Settings};
use crate::{
    config::{Fingerprint, Location, OfTheStart, Report, Sources, file},
    router::{KeptHeaders, Router},
    upstream::{Name, Upstream},
};

/// One configuration, compiled.
pub(crate) struct Snapshot {
    /// The number of the publication, from 1.
    pub generation: u64,
    /// The routes with the checks in front of them; the router returns indexes into this.
    pub gates: Vec<Arc<Gate>>,
    /// Finds the route of a request.
    pub router: Router,
    /// The settings that hold on every route.
    pub settings: Arc<Settings>,
    /// The files it was read from, if a listener has its files watched: then they are compiled again without reading
    /// the configuration.
    pub sources: Arc<Sources>,
    /// Warnings: settings that are valid but probably mistakes.
    pub warnings: Report,
    /// The secrets in use that the service got at its start.
    pub of_the_start: BTreeSet<OfTheStart>,
    /// The settings that only a restart can change.
    pub fixed: Fixed,
    /// Every credential, for the admin listener.
    pub credentials: Vec<Arc<Credential>>,
    /// The fingerprint of each one's secret, in the same order.
    pub secrets: Vec<Fingerprint>,
    /// The numbers of the credentials that open each policy, in order.
    pub opened: HashMap<String, Box<[u32]>>,
    /// The headers that routes have conditions on.
    pub condition_headers: Arc<[HeaderName]>,
    /// The upstreams, used or not.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The names among their targets, each with its location in the file.
    pub named_targets: Vec<(Arc<Name>, Location)>,
    /// The fingerprint of each route, to find out which changed.
    pub fingerprints: HashMap<String, Fingerprint>,
    /// The fingerprints of everything else, to find out what changed.
    pub other_fingerprints: OtherFingerprints,
    /// The built policies, to keep those that do not change.
    pub instances: HashMap<String, Arc<Instance>>,
}

impl Snapshot {
    /// Returns the routes, in the order of the configuration.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.gates.iter().map(|gate| &gate.route)
    }

    /// Returns the headers of a request that routes have conditions on; `None` if no route has one.
    pub(crate) fn conditions_of(&self, headers: &HeaderMap) -> Option<Box<KeptHeaders>> {
        (!self.condition_headers.is_empty()).then(|| Box::new(KeptHeaders::of(headers, &self.condition_headers)))
    }
}

/// The part of a configuration that a running process cannot change: a reload that changes it is refused by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fixed {
    /// `[server]`.
    pub server: file::Server,
    /// `[admin] listen`.
    pub admin: Option<file::AdminAddress>,
    /// The addresses of `[[listeners]]`. Their other settings may change.
    pub listeners: Vec<SocketAddr>,
}

impl Snapshot {
    /// Returns whether a listener has its files watched.
    pub(crate) fn is_watching(&self) -> bool {
        self.settings.listeners.iter().any(|listener| listener.tls.as_ref().is_some_and(|tls| tls.watch.is_some()))
    }
}

impl Fixed {
    /// Returns the names of the settings that differ, as in the file.
    pub(crate) fn differences(&self, new: &Self) -> Vec<&'static str> {
        let differs = [
            (self.server != new.server, "server"),
            (self.admin != new.admin, "admin.listen"),
            (self.listeners != new.listeners, "listeners.address"),
        ];
        differs.into_iter().filter_map(|(differs, name)| differs.then_some(name)).collect()
    }
}
