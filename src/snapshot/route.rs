//! A route, compiled: everything a request needs from its match to its log line, in three parts that it lets go of one
//! after the other. The [`Gate`] judges it and holds every table of keys; the [`Route`] forwards it; the [`RouteRecord`]
//! is what a stream of an hour keeps.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use portcullis_plugin::{
    Admit, Authenticate, Body, EditRequest, EditResponse, Guard, Hooks, Identity, Observe, Places,
};

use super::{
    Listener,
    client_address::ClientAddress,
    identity_headers::IdentityHeaders,
    record::{RouteRecord, Step},
};
use crate::{
    config::file,
    router::Pattern,
    telemetry::metrics::{LiveGeneration, PolicyMetrics},
    tls::Tls,
    upstream::Upstream,
};

/// Who is calling: how that is found out by address, and how the upstream is told. Small, and kept by every request until
/// its response has begun.
pub struct Callers {
    /// Which headers carry the identity, and which are removed.
    pub identity: IdentityHeaders,
    /// Which hops are believed.
    pub client_address: ClientAddress,
}

/// What holds on every route of a snapshot.
pub struct Settings {
    /// Who is calling.
    pub callers: Arc<Callers>,
    /// `[log]`.
    pub log: file::Log,
    /// `[audit]`.
    pub audit: file::Audit,
    /// What a caller of the admin listener has to send.
    pub admin_token: Option<portcullis_plugin::Secret>,
    /// The listeners, by their number.
    pub listeners: Vec<Arc<Listener>>,
    /// Counts the snapshot as one that is in memory.
    pub(super) _alive: LiveGeneration,
}

impl Settings {
    /// What the listener of this number speaks.
    pub fn tls(&self, listener: usize) -> Option<&Tls> {
        self.listeners.get(listener)?.tls.as_ref()
    }
}

/// One authenticator of one policy.
pub struct Authenticator {
    /// The policy's name.
    pub policy: Arc<str>,
    /// Its number in the configuration.
    pub number: usize,
    /// What runs.
    pub hook: Arc<dyn Authenticate>,
    /// Where it looks for its credential.
    pub places: Places,
    /// The headers that its identities may fill: see [`Authenticate::headers`].
    pub fills: Box<[HeaderName]>,
    /// Where its results are counted.
    pub metrics: Arc<PolicyMetrics>,
    /// How long it may wait.
    pub timeout: Duration,
}

/// One way to prove who is calling: an authenticator, or several that have to grant together.
pub struct Alternative {
    /// The authenticators, in the order of the file.
    pub parts: Box<[Authenticator]>,
    /// Which of them speaks for the request, where the file says it.
    pub speaker: Option<usize>,
}

/// How a route finds out who is calling.
pub struct Auth {
    /// Tried in order.
    pub alternatives: Box<[Alternative]>,
    /// Who a request without any credential counts as.
    pub anonymous: Option<Arc<Identity>>,
    /// What must not reach the upstream.
    pub hidden: Places,
    /// One of them looks at the client's certificate: the host has to be the one that the connection was made for.
    pub needs_certificate: bool,
}

impl Auth {
    /// Those of all alternatives, in the order of the file.
    pub fn authenticators(&self) -> impl Iterator<Item = &Authenticator> {
        self.alternatives.iter().flat_map(|alternative| &alternative.parts)
    }
}

/// What a route does with a request that it lets through.
pub enum Ending {
    /// Forwards it.
    Forward(Arc<Upstream>),
    /// Answers by itself.
    Respond {
        /// The status.
        status: StatusCode,
        /// The body.
        body: Bytes,
        /// The body's media type.
        content_type: HeaderValue,
    },
    /// Answers with what would have been forwarded.
    Echo,
}

/// The hooks of a route, phase by phase, while it is put together.
#[derive(Default)]
pub(super) struct Pipeline {
    pub(super) guard: Vec<Step<dyn Guard>>,
    pub(super) admit: Vec<Step<dyn Admit>>,
    pub(super) edit_request: Vec<Step<dyn EditRequest>>,
    pub(super) edit_response: Vec<Step<dyn EditResponse>>,
    pub(super) body: Vec<Step<dyn Body>>,
    pub(super) observe: Vec<Step<dyn Observe>>,
}

impl Pipeline {
    /// Adds the hooks of the policy of this name and number, all but its authenticator. They may wait for at most
    /// `timeout`.
    pub(super) fn add(&mut self, policy: (&Arc<str>, usize), hooks: &Hooks, timeout: Duration) {
        type Of<'p> = (&'p Arc<str>, usize, Duration);
        fn push<H: ?Sized>(into: &mut Vec<Step<H>>, (policy, number, timeout): Of<'_>, hook: Option<&Arc<H>>) {
            into.extend(hook.map(|hook| Step { policy: policy.clone(), number, hook: hook.clone(), timeout }));
        }
        let of = (policy.0, policy.1, timeout);
        push(&mut self.guard, of, hooks.guard.as_ref());
        push(&mut self.admit, of, hooks.admit.as_ref());
        push(&mut self.edit_request, of, hooks.edit_request.as_ref());
        push(&mut self.edit_response, of, hooks.edit_response.as_ref());
        push(&mut self.body, of, hooks.body.as_ref());
        push(&mut self.observe, of, hooks.observe.as_ref());
    }
}

/// What a request has to pass before it is let through. It holds the route's policies with all that they know (tables of
/// keys, CAs), so a request lets go of it as soon as it has been judged.
pub struct Gate {
    /// What happens to a request that is let through.
    pub route: Arc<Route>,
    /// What every route has.
    pub settings: Arc<Settings>,
    /// Absent: everybody is let in.
    pub auth: Option<Auth>,
    /// Runs before anyone is known.
    pub guard: Vec<Step<dyn Guard>>,
    /// Runs when it is known who is calling.
    pub admit: Vec<Step<dyn Admit>>,
    /// Lets `%2F` pass as data.
    pub allows_encoded_slash: bool,
    /// The realm of challenges, ready to stand between quotes.
    pub realm: String,
    /// Where clients are sent that did not come by TLS, in place of what the listener says.
    pub https_redirect: Option<file::HttpsRedirect>,
    /// What `Strict-Transport-Security` says, in place of what the listener says.
    pub hsts: Option<HeaderValue>,
}

/// What happens to a request that was let through. A request holds it until its response has begun, which may take long:
/// nothing in it knows a key.
pub struct Route {
    /// What outlives the rest.
    pub record: Arc<RouteRecord>,
    /// How the upstream is told who is calling.
    pub callers: Arc<Callers>,
    /// Changes the request before it is forwarded.
    pub edit_request: Vec<Step<dyn EditRequest>>,
    /// Changes the response before the client gets it.
    pub edit_response: Vec<Step<dyn EditResponse>>,
    /// Looks at bodies as they pass.
    pub body: Vec<Step<dyn Body>>,
    /// What it does with a request that it lets through.
    pub ending: Ending,
    /// What it matches: for what stands at the parameters of its paths, and to tell who takes its requests after a reload.
    pub pattern: Pattern,
    /// The largest request body.
    pub max_body_bytes: Option<u64>,
}

impl Gate {
    /// The policies that may refuse a request, before or after it is known who is calling.
    pub fn judges(&self) -> impl Iterator<Item = &str> {
        let guards = self.guard.iter().map(|step| &*step.policy);
        guards.chain(self.admit.iter().map(|step| &*step.policy))
    }

    /// The names of its policies, some of them more than once.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        fn names<H: ?Sized>(steps: &[Step<H>]) -> impl Iterator<Item = &str> {
            steps.iter().map(|step| &*step.policy)
        }
        let authenticators = self.auth.iter().flat_map(Auth::authenticators);
        authenticators
            .map(|authenticator| &*authenticator.policy)
            .chain(names(&self.guard))
            .chain(names(&self.admit))
            .chain(names(&self.route.edit_request))
            .chain(names(&self.route.edit_response))
            .chain(names(&self.route.body))
            .chain(names(&self.route.record.observe))
    }
}

impl Route {
    /// What stands in a canonical path at `{name}`, or `{*name}`, of the first of the route's patterns that fits it.
    pub fn path_parameter<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        self.pattern.paths.iter().find(|pattern| pattern.fits(path))?.parameter(path, name)
    }
}
