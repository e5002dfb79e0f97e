//! Portcullis: an API gateway that proves who is calling, decides whether they may, and only then lets a request
//! through. The daemon is this library with its built-in plugins; so is a gateway of your own with yours:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     portcullis::Gateway::new().main()
//! }
//! ```
//!
//! # Where things are
//! - [`cli`]: the command line, one file a subcommand.
//! - [`gateway`]: from a configuration to sockets, a runtime and services; the main loop and its end.
//! - [`signals`], [`control`], [`systemd`], [`reload`]: what the process is told and tells; signal -> load -> publish.
//! - [`descriptors`]: how many files and connections the process may have open.
//! - [`config`]: what a file may say -> what it means -> what is wrong with it.
//! - [`registry`], [`builtin`]: which plugins there are.
//! - [`router`]: which route a request is for.
//! - [`header_names`], [`body_budget`], [`unsent_budget`], `clock`: names, limits and a clock that several of these
//!   share.
//! - [`snapshot`]: a compiled configuration: routes with their pipelines.
//! - [`front`]: a connection before Pingora: limits, TLS, the HTTP/1 head read and checked.
//! - [`files`]: what the configuration names, read within bounds.
//! - [`mod@unit`]: what a systemd unit gives to its service.
//! - [`certificates`]: the gateway's own, as files have them.
//! - [`tls`]: which of them a client sees, who is asked for one, and what is known of a connection.
//! - [`canonical`]: the one path that is matched, authorised and forwarded.
//! - [`proxy`]: the one `ProxyHttp` implementation, and what its phases call.
//! - [`streams`]: requests that last, judged again when what they rest on may have changed.
//! - [`upstream`]: the servers that requests are forwarded to.
//! - [`services`]: what outlives a reload.
//! - [`telemetry`], [`admin`]: logs, metrics, health, status.
//!
//! # The way of a request
//! 1. [`front`] counts the connection and gives it a place, or closes it; then come the PROXY header and the TLS
//!    handshake ([`front::Acceptor`], [`tls`]).
//! 2. Over HTTP/1 `front::connection` reads the head and `front::head` checks it, before Pingora gets it as bytes
//!    already read. Over HTTP/2 h2 has checked it, and each stream comes back to `front::App`.
//! 3. `front::App` counts the request and gives it a [`front::StreamLife`]: its deadlines, and how much may wait
//!    unsent.
//! 4. Pingora calls [`proxy::Proxy`], whose `proxy::decide` takes the current [`snapshot::Snapshot`]: [`proxy::check`]
//!    makes the head unambiguous ([`canonical`]), and [`router`] finds the [`snapshot::Gate`].
//! 5. `proxy::pipeline` runs the gate's guards, [`proxy::authenticate`], restrictions, checks of the whole body and
//!    preparation; on its own path a policy answers.
//! 6. A refusal is a row of [`proxy::refusal`], and `proxy::own_answer` sends it. Whoever is let through loses foreign
//!    identity headers, credentials and the cookies of policies ([`proxy::forward::strip`]).
//! 7. A route without an upstream answers by `proxy::respond`. For others [`proxy::retry`] has [`upstream`] choose an
//!    address, and [`proxy::forward`] makes the upstream's request: plugins' edits, then what only the gateway says.
//! 8. Pieces of the body pass `proxy::request_body`.
//! 9. The response passes `proxy::response_head`, `proxy::edit_response` and `proxy::response_edits`; a failure becomes
//!    an answer in [`proxy::failure`].
//! 10. `proxy::end` writes the log line and tells metrics and observers. A request that lasts longer than a second is
//!     in [`streams`] meanwhile, where [`proxy::judging`] asks [`proxy::recheck`] again and again whether it may go on.
//!
//! # The way of a configuration
//! 1. A signal ([`signals`]), a command ([`control`]) or a changed file (`reload::watch`) makes a
//!    [`reload::ReloadRequest`]. [`gateway::run`] begins with the same steps, from nothing.
//! 2. `config::read` reads the file and those that it includes; `config::pieces` cuts large ones.
//! 3. [`config::node`] decodes the shapes in [`config::file`], so that every error has its line and none hides another.
//! 4. [`config::load`] resolves names and secrets into a [`config::Configuration`]; `config::value_lints` warns.
//! 5. [`snapshot::compile`] builds upstreams, and policies by their [`registry::Registry`] entry, or takes over those
//!    that did not change.
//! 6. `snapshot::own_paths` adds the paths of policies, `snapshot::gates` assembles routes with their whole pipelines,
//!    [`router::Router::build`] finds ties, and the lints and `snapshot::overlaps` look for ways around.
//! 7. Any error, or a change that only a restart can make, refuses all of it: the report goes to the log and the
//!    caller.
//! 8. [`reload::prepare`] has plugins fetch what they need, and names of targets are looked up, for a bounded time.
//! 9. Publishing is one atomic store of the snapshot. Requests that were decided keep what they need of the one before.
//! 10. [`services`] keeps what outlives it, [`streams`] judge long requests again, and the difference
//!     ([`snapshot::Changes`]) goes to the log and the caller.
//!
//! # When Pingora is upgraded
//! Files that rest on how Pingora works inside, and not on what it promises, have a section of this name: the version
//! for which it was found out, the test that fails when it is no longer so, and what to offer upstream. A test of the
//! house holds them to the version in the lock file, so that an upgrade reads each of them.
//!
//! # What always holds
//! 1. There is one `ProxyHttp` implementation. Plugins see the SDK only.
//! 2. A snapshot never changes. A request is decided by one. It keeps the [`snapshot::Route`] that it was matched to
//!    until its response has begun, and the small [`snapshot::RouteRecord`] of that until its log line is written.
//! 3. A configuration is taken whole or not at all. A failed reload leaves the old one serving, and says so in the log,
//!    in a metric, in systemd's status and in the exit code of the command.
//! 4. A route has its whole pipeline, or the configuration is refused. No unknown, failed or misspelt plugin ever means
//!    "let it through".
//! 5. Identity headers from outside are removed on every route, public ones too, in every spelling, and ours are set in
//!    the upstream request after hop-by-hop headers are dealt with. Cookies of policies reach no upstream, and none sets
//!    them.
//! 6. The path that is matched is the path that is authorised is the path that is forwarded: made canonical once.
//! 7. Nothing in the request but the matched route chooses policy: no `Upgrade`, method override or cookie switches a
//!    plugin off.
//! 8. Every response that the gateway makes comes from one table, or was declared by a plugin. It never says which part
//!    of a credential was wrong; the audit log does.
//! 9. A secret is never logged, printed, put into a metric or an error, or compared in variable time.
//! 10. Everything has a limit with a name: bodies, headers, caches, queues, waits, retries.

mod admin;
mod body_budget;
mod builtin;
mod canonical;
mod certificates;
mod cli;
mod clock;
mod config;
mod control;
mod descriptors;
mod files;
mod front;
mod gateway;
mod header_names;
mod proxy;
mod registry;
mod reload;
mod router;
mod services;
mod signals;
mod snapshot;
mod streams;
mod systemd;
mod telemetry;
mod tls;
mod unit;
mod unsent_budget;
mod upstream;

use std::process::ExitCode;

/// What a plugin needs: see its documentation for a whole plugin.
pub use portcullis_plugin as plugin;

use crate::registry::Registry;

/// A gateway: the engine with a list of plugins.
pub struct Gateway {
    registry: Registry,
}

impl Gateway {
    /// With the built-in plugins. Make it the first thing `main` does: from here on SIGHUP no longer kills the process.
    pub fn new() -> Self {
        let mut gateway = Self::bare();
        builtin::add_all(&mut gateway.registry);
        gateway
    }

    /// Without any plugin.
    pub fn bare() -> Self {
        signals::block();
        Self { registry: Registry::new() }
    }

    /// Adds a plugin.
    ///
    /// # Panics
    /// There is one of the same name already.
    #[must_use]
    pub fn plugin<P: plugin::Plugin>(mut self) -> Self {
        self.registry.add::<P>();
        self
    }

    /// Runs the command line of this process: `run`, `check`, `reload` and the rest.
    pub fn main(self) -> ExitCode {
        cli::main(self.registry)
    }
}

impl Default for Gateway {
    fn default() -> Self {
        Self::new()
    }
}
