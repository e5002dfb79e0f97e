//! A compiled route: everything a request needs from its match to its log line, in three parts that it releases one
//! after the other. The [`Gate`] judges it and holds every table of keys; the [`Route`] forwards it; the
//! [`RouteRecord`] is the part that a stream of an hour keeps.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use portcullis_plugin::{
    Admit, Authenticate, Body, EditRequest, EditResponse, Guard, Hooks, Identity, Observe, Places, Prepare, Serve,
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

/// The settings about callers: how their address is determined, and how the upstream is told about them. Small, and
/// kept by every request until its response has begun.
pub(crate) struct Callers {
    /// The headers that carry the identity, and those that are removed.
    pub identity: IdentityHeaders,
    /// The cookies that policies have for themselves, and no upstream gets.
    pub cookies: Places,
    /// The trusted hops.
    pub client_address: ClientAddress,
}

/// The settings that hold on every route of a snapshot.
pub(crate) struct Settings {
    /// The settings about callers.
    pub callers: Arc<Callers>,
    /// `[log]`.
    pub log: file::Log,
    /// `[audit]`.
    pub audit: file::Audit,
    /// The token that a caller of the admin listener has to send.
    pub admin_token: Option<portcullis_plugin::Secret>,
    /// The listeners, by their number.
    pub listeners: Vec<Arc<Listener>>,
    /// Counts the snapshot as being in memory.
    pub(super) _alive: LiveGeneration,
}

impl Settings {
    /// Returns the TLS settings of the listener of this number.
    pub(crate) fn tls(&self, listener: usize) -> Option<&Tls> {
        self.listeners.get(listener)?.tls.as_ref()
    }
}

/// One authenticator of one policy.
pub(crate) struct Authenticator {
    /// The policy's name.
    pub policy: Arc<str>,
    /// Its number in the configuration.
    pub number: usize,
    /// The hook.
    pub hook: Arc<dyn Authenticate>,
    /// The places where it looks for its credential.
    pub places: Places,
    /// The headers that its identities may fill: see [`Authenticate::headers`].
    pub fills: Box<[HeaderName]>,
    /// The counters of its results.
    pub metrics: Arc<PolicyMetrics>,
    /// The time limit of the hook.
    pub timeout: Duration,
}

/// One alternative of authentication: an authenticator, or several that must all grant.
pub(crate) struct Alternative {
    /// The authenticators, in the order of the file.
    pub parts: Box<[Authenticator]>,
    /// The index of the one whose identity the request gets, if the file names one.
    pub speaker: Option<usize>,
}

/// The authentication of a route.
pub(crate) struct Auth {
    /// The alternatives, tried in order.
    pub alternatives: Box<[Alternative]>,
    /// The identity of a request without any credential.
    pub anonymous: Option<Arc<Identity>>,
    /// The places of credentials, which are removed before the request is forwarded.
    pub hidden: Places,
}

impl Auth {
    /// Returns those of all alternatives, in the order of the file.
    pub(crate) fn authenticators(&self) -> impl Iterator<Item = &Authenticator> {
        self.alternatives.iter().flat_map(|alternative| &alternative.parts)
    }
}

/// The way that a route answers a request that it lets through.
pub(crate) enum Ending {
    /// Forwards it.
    Forward(Arc<Upstream>),
    /// Answers with a fixed response.
    Respond {
        /// The status.
        status: StatusCode,
        /// The body.
        body: Bytes,
        /// The body's media type.
        content_type: HeaderValue,
    },
    /// Answers with the request that would have been forwarded.
    Echo,
    /// Has a policy answer, whose own path it is.
    Own(Step<dyn Serve>),
}

/// The hooks of a route, phase by phase, while it is assembled.
#[derive(Default)]
pub(super) struct Pipeline {
    pub(super) guard: Vec<Step<dyn Guard>>,
    pub(super) admit: Vec<Step<dyn Admit>>,
    pub(super) prepare: Vec<Step<dyn Prepare>>,
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
        push(&mut self.prepare, of, hooks.prepare.as_ref());
        push(&mut self.edit_request, of, hooks.edit_request.as_ref());
        push(&mut self.edit_response, of, hooks.edit_response.as_ref());
        push(&mut self.body, of, hooks.body.as_ref());
        push(&mut self.observe, of, hooks.observe.as_ref());
    }
}

/// The checks that a request must pass. It holds the route's policies with all their data (tables of keys, CAs), so a
/// request releases it as soon as it has been judged.
pub(crate) struct Gate {
    /// Handles a request that is let through.
    pub route: Arc<Route>,
    /// The settings of every route.
    pub settings: Arc<Settings>,
    /// The authentication; `None`: everybody is let in.
    pub auth: Option<Auth>,
    /// Set if a policy uses the certificate of the connection: see `Authenticate::needs_certificate`.
    pub needs_certificate: bool,
    /// Hooks that run before authentication.
    pub guard: Vec<Step<dyn Guard>>,
    /// Hooks that run after authentication.
    pub admit: Vec<Step<dyn Admit>>,
    /// Hooks that run last, for requests that all others let through.
    pub prepare: Vec<Step<dyn Prepare>>,
    /// Lets `%2F` pass as data.
    pub allows_encoded_slash: bool,
    /// The realm of challenges, escaped for the quotes.
    pub realm: String,
    /// The redirect of clients that did not come over TLS, instead of the listener's setting.
    pub https_redirect: Option<file::HttpsRedirect>,
    /// The value of `Strict-Transport-Security`, instead of the listener's setting.
    pub hsts: Option<HeaderValue>,
}

impl Gate {
    /// Returns `true` if no hook is asked before the route's ending: every request is let through.
    pub(crate) fn is_open(&self) -> bool {
        self.auth.is_none()
            && self.guard.is_empty()
            && self.admit.is_empty()
            && self.prepare.is_empty()
            && !matches!(self.route.ending, Ending::Own(_))
    }
}

/// Handles a request that was let through. A request holds it until its response has begun, which may take long: it
/// contains no keys.
pub(crate) struct Route {
    /// The part that outlives the rest.
    pub record: Arc<RouteRecord>,
    /// The settings about callers.
    pub callers: Arc<Callers>,
    /// Hooks that change the request before it is forwarded.
    pub edit_request: Vec<Step<dyn EditRequest>>,
    /// Hooks that change the response before the client gets it.
    pub edit_response: Vec<Step<dyn EditResponse>>,
    /// Hooks that inspect bodies as they pass.
    pub body: Vec<Step<dyn Body>>,
    /// The way that it answers.
    pub ending: Ending,
    /// The requests that it matches: for the parameters of its paths, and to find out who takes its requests after a
    /// reload.
    pub pattern: Pattern,
    /// The largest request body.
    pub max_body_bytes: Option<u64>,
}

impl Gate {
    /// Returns the policies that may refuse a request, before or after authentication.
    pub(crate) fn judges(&self) -> impl Iterator<Item = &str> {
        let guards = self.guard.iter().map(|step| &*step.policy);
        let prepares = self.prepare.iter().map(|step| &*step.policy);
        guards.chain(self.admit.iter().map(|step| &*step.policy)).chain(prepares)
    }

    /// Returns the name of the policy with this number, which has a hook that may hold a body; empty if none has it.
    pub(crate) fn policy(&self, number: usize) -> &str {
        let guards = self.guard.iter().map(|step| (step.number, &step.policy));
        let authenticators = self.auth.iter().flat_map(Auth::authenticators);
        let authenticators = authenticators.map(|authenticator| (authenticator.number, &authenticator.policy));
        let admits = self.admit.iter().map(|step| (step.number, &step.policy));
        let prepares = self.prepare.iter().map(|step| (step.number, &step.policy));
        let mut steps = guards.chain(authenticators).chain(admits).chain(prepares);
        steps.find(|(of, _)| *of == number).map_or("", |(_, name)| name)
    }

    /// Returns the names of its policies, some of them more than once.
    pub(crate) fn policies(&self) -> impl Iterator<Item = &str> {
        fn names<H: ?Sized>(steps: &[Step<H>]) -> impl Iterator<Item = &str> {
            steps.iter().map(|step| &*step.policy)
        }
        let authenticators = self.auth.iter().flat_map(Auth::authenticators);
        authenticators
            .map(|authenticator| &*authenticator.policy)
            .chain(names(&self.guard))
            .chain(names(&self.admit))
            .chain(names(&self.prepare))
            .chain(names(&self.route.edit_request))
            .chain(names(&self.route.edit_response))
            .chain(names(&self.route.body))
            .chain(names(&self.route.record.observe))
    }
}

impl Route {
    /// Returns the value of `{name}`, or `{*name}`, in a canonical path, by the first of the route's patterns that
    /// matches it.
    pub(crate) fn path_parameter<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        self.pattern.paths.iter().find(|pattern| pattern.fits(path))?.parameter(path, name)
    }
}
