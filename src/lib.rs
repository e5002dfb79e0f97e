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
//! - [`header_names`], [`body_budget`], [`unsent_budget`], `clock`: words, limits and a clock that several of these share.
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
//! # When Pingora is upgraded
//! Files that rest on how Pingora works inside, and not on what it promises, have a section of this name: the version for
//! which it was found out, the test that fails when it is no longer so, and what to offer upstream. A test of the house
//! holds them to the version in the lock file, so that an upgrade reads each of them.
//!
//! # What always holds
//! 1. There is one `ProxyHttp` implementation. Plugins see the SDK only.
//! 2. A snapshot never changes. A request keeps the route it was matched to until its log line is written.
//! 3. A configuration is taken whole or not at all. A failed reload leaves the old one serving, and says so in the log,
//!    in a metric, in systemd's status and in the exit code of the command.
//! 4. A route has its whole pipeline, or the configuration is refused. No unknown, failed or misspelt plugin ever means
//!    "let it through".
//! 5. Identity headers from outside are removed on every route, public ones too, in every spelling, and ours are set in
//!    the upstream request after hop-by-hop headers are dealt with.
//! 6. The path that is matched is the path that is authorised is the path that is forwarded: made canonical once.
//! 7. Nothing in the request but the matched route chooses policy: no `Upgrade`, method override or cookie switches a
//!    plugin off.
//! 8. Every response that the gateway makes comes from one table, or was declared by a plugin. It never says which part of
//!    a credential was wrong; the audit log does.
//! 9. A secret is never logged, printed, put into a metric or an error, or compared in variable time.
//! 10. Everything has a limit with a name: bodies, headers, caches, queues, waits, retries.

pub mod admin;
pub mod body_budget;
pub mod builtin;
pub mod canonical;
pub mod certificates;
pub mod cli;
mod clock;
pub mod config;
pub mod control;
pub mod descriptors;
pub mod files;
pub mod front;
pub mod gateway;
pub mod header_names;
pub mod proxy;
pub mod registry;
pub mod reload;
pub mod router;
pub mod services;
pub mod signals;
pub mod snapshot;
pub mod streams;
pub mod systemd;
pub mod telemetry;
pub mod tls;
pub mod unit;
pub mod unsent_budget;
pub mod upstream;

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
