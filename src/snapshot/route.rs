//! A route, compiled: everything a request needs from its match to its log line.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use portcullis_plugin::{
    Admit, Authenticate, Body, EditRequest, EditResponse, Guard, Hooks, Identity, Observe, Places,
};

use super::{Listener, router::PathPattern};
use crate::{
    config::file,
    proxy::{client_address::ClientAddress, identity_headers::IdentityHeaders},
    telemetry::metrics::{AuthMetrics, RouteMetrics},
    tls::Tls,
    upstream::Upstream,
};

/// What holds on every route of a snapshot.
pub struct Settings {
    /// Which headers carry the identity, and which are removed.
    pub identity: IdentityHeaders,
    /// Which hops are believed.
    pub client_address: ClientAddress,
    /// `[log]`.
    pub log: file::Log,
    /// `[audit]`.
    pub audit: file::Audit,
    /// What a caller of the admin listener has to send.
    pub admin_token: Option<portcullis_plugin::Secret>,
    /// The listeners, by their number.
    pub listeners: Vec<Arc<Listener>>,
}

impl Settings {
    /// What the listener of this number speaks.
    pub fn tls(&self, listener: usize) -> Option<&Tls> {
        self.listeners.get(listener)?.tls.as_ref()
    }
}

/// One hook of one policy.
pub struct Step<H: ?Sized> {
    /// The policy's name.
    pub policy: Arc<str>,
    /// What runs.
    pub hook: Arc<H>,
}

/// One authenticator of one policy.
pub struct Authenticator {
    /// The policy's name.
    pub policy: Arc<str>,
    /// What runs.
    pub hook: Arc<dyn Authenticate>,
    /// Where its results are counted.
    pub metrics: Arc<AuthMetrics>,
}

/// How a route finds out who is calling.
pub struct Auth {
    /// Tried in order; inside one all have to grant.
    pub alternatives: Box<[Box<[Authenticator]>]>,
    /// Who a request without any credential counts as.
    pub anonymous: Option<Arc<Identity>>,
    /// What must not reach the upstream.
    pub hidden: Places,
    /// One of them looks at the client's certificate: the host has to be the one that the connection was made for.
    pub needs_certificate: bool,
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

/// The hooks of a route, phase by phase.
#[derive(Default)]
#[expect(missing_docs, reason = "one field a hook")]
pub struct Pipeline {
    pub guard: Vec<Step<dyn Guard>>,
    pub admit: Vec<Step<dyn Admit>>,
    pub edit_request: Vec<Step<dyn EditRequest>>,
    pub edit_response: Vec<Step<dyn EditResponse>>,
    pub body: Vec<Step<dyn Body>>,
    pub observe: Vec<Step<dyn Observe>>,
}

impl Pipeline {
    /// Adds a policy's hooks, all but its authenticator.
    pub fn add(&mut self, policy: &Arc<str>, hooks: &Hooks) {
        fn push<H: ?Sized>(into: &mut Vec<Step<H>>, policy: &Arc<str>, hook: Option<&Arc<H>>) {
            into.extend(hook.map(|hook| Step { policy: policy.clone(), hook: hook.clone() }));
        }
        push(&mut self.guard, policy, hooks.guard.as_ref());
        push(&mut self.admit, policy, hooks.admit.as_ref());
        push(&mut self.edit_request, policy, hooks.edit_request.as_ref());
        push(&mut self.edit_response, policy, hooks.edit_response.as_ref());
        push(&mut self.body, policy, hooks.body.as_ref());
        push(&mut self.observe, policy, hooks.observe.as_ref());
    }
}

/// What a request keeps of its route when everything else has been let go: a stream of an hour does not hold on to a
/// configuration that is long gone.
pub struct RouteRecord {
    /// The route's name.
    pub name: Arc<str>,
    /// Where its requests are counted.
    pub metrics: Arc<RouteMetrics>,
    /// Whether requests are logged.
    pub is_logged: bool,
    /// Told when a request has ended.
    pub observe: Vec<Step<dyn Observe>>,
}

/// A route, compiled.
pub struct Route {
    /// What outlives the rest.
    pub record: Arc<RouteRecord>,
    /// What every route has.
    pub settings: Arc<Settings>,
    /// Absent: everybody is let in.
    pub auth: Option<Auth>,
    /// Its hooks.
    pub pipeline: Pipeline,
    /// What it does with a request that it lets through.
    pub ending: Ending,
    /// Its patterns, for what stands at their parameters.
    pub paths: Box<[PathPattern]>,
    /// Lets `%2F` pass as data.
    pub allows_encoded_slash: bool,
    /// The largest request body.
    pub max_body_bytes: Option<u64>,
    /// The realm of challenges, ready to stand between quotes.
    pub realm: String,
    /// Where clients are sent that did not come by TLS, in place of what the listener says.
    pub https_redirect: Option<file::HttpsRedirect>,
    /// What `Strict-Transport-Security` says, in place of what the listener says.
    pub hsts: Option<HeaderValue>,
}

impl Route {
    /// The names of its policies, some of them more than once.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        fn names<H: ?Sized>(steps: &[Step<H>]) -> impl Iterator<Item = &str> {
            steps.iter().map(|step| &*step.policy)
        }
        let pipeline = &self.pipeline;
        let authenticators = self.auth.iter().flat_map(|auth| &auth.alternatives).flatten();
        authenticators
            .map(|authenticator| &*authenticator.policy)
            .chain(names(&pipeline.guard))
            .chain(names(&pipeline.admit))
            .chain(names(&pipeline.edit_request))
            .chain(names(&pipeline.edit_response))
            .chain(names(&pipeline.body))
            .chain(names(&self.record.observe))
    }

    /// What stands in a canonical path at `{name}`, or `{*name}`, of the first of the route's patterns that fits it.
    pub fn path_parameter<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        self.paths.iter().find(|pattern| pattern.fits(path))?.parameter(path, name)
    }
}
