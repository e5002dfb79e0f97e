//! A configuration, compiled: routes, router and pipelines. A snapshot never changes; exactly one is current. A request
//! keeps what it still needs of the route it was matched to, and no more: see [`route`].

mod asked;
mod beside;
mod changes;
pub mod client_address;
mod compile;
mod exposed;
pub mod identity_headers;
pub mod instance;
mod listener;
mod mentions;
mod record;
pub mod route;
mod slips;
mod together;

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use http::{HeaderMap, HeaderName};
use portcullis_plugin::Credential;

pub use changes::Changes;
pub use compile::compile;
pub use listener::Listener;
pub use record::{Mark, RouteRecord, Step};
pub use route::{Gate, Route};

use self::{beside::Beside, instance::Instance, route::Settings};
use crate::{
    config::{Fingerprint, Location, OfTheStart, Report, Sources, file},
    router::{KeptHeaders, Router},
    upstream::{Name, Upstream},
};

/// One configuration, compiled.
pub struct Snapshot {
    /// Counts publications, from 1.
    pub generation: u64,
    /// The routes with what has to be passed before them; the router's answers are indexes into them.
    pub gates: Vec<Arc<Gate>>,
    /// From a request to a route.
    pub router: Router,
    /// What holds on every route.
    pub settings: Arc<Settings>,
    /// What it was read from, where a listener has its files watched: they are read again without the file itself.
    pub sources: Arc<Sources>,
    /// What of it is hardly meant.
    pub warnings: Report,
    /// Secrets that it goes by and that are those of the service's start.
    pub of_the_start: BTreeSet<OfTheStart>,
    /// What only a restart can change.
    pub fixed: Fixed,
    /// Every credential, for the admin listener.
    pub credentials: Vec<Arc<Credential>>,
    /// Of what proves each of them, in the same order.
    pub secrets: Vec<Fingerprint>,
    /// Which credentials open each policy: their numbers, in order.
    pub opened: HashMap<String, Box<[u32]>>,
    /// The headers that routes have conditions on.
    pub condition_headers: Arc<[HeaderName]>,
    /// The upstreams, used or not.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The names among their targets, each with where the file says it.
    pub named_targets: Vec<(Arc<Name>, Location)>,
    /// What each route says, to tell which changed.
    pub fingerprints: HashMap<String, Fingerprint>,
    /// What is said beside the routes, to tell what of it changed.
    pub beside: Beside,
    /// The built policies, to keep those that do not change.
    pub instances: HashMap<String, Arc<Instance>>,
}

impl Snapshot {
    /// The routes, in the order of the configuration.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.gates.iter().map(|gate| &gate.route)
    }

    /// Those headers of a request that routes have conditions on; `None` where no route has one.
    pub fn conditions_of(&self, headers: &HeaderMap) -> Option<Box<KeptHeaders>> {
        (!self.condition_headers.is_empty()).then(|| Box::new(KeptHeaders::of(headers, &self.condition_headers)))
    }
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

impl Snapshot {
    /// Whether a listener has its files watched.
    pub fn is_watching(&self) -> bool {
        self.settings.listeners.iter().any(|listener| listener.tls.as_ref().is_some_and(|tls| tls.watch.is_some()))
    }
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
