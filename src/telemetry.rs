//! Logs and metrics: lines on standard output, and counters for Prometheus.
//!
//! - [`output`]: a bounded queue of JSON lines in front of a writer thread. A request never waits for the reader of the
//!   log.
//! - [`events`]: the lines: of a request (`access`), of a decision (`authentication`, `authorization`), and of events
//!   of the process itself.
//! - [`logger`]: messages of libraries through the `log` crate, on the same output.
//! - [`journal`]: the priority of a line for systemd's journal.
//! - [`metrics`]: counters per core, resolved by name when a configuration is built, and their text for Prometheus.
//! - [`json`] and [`clock`]: build a line without allocating.
//!
//! # The danger
//! A log is read by more people than a secret is meant for, and a line or a label that a client can shape is a way in.
//! So: no query strings, no header values but a cut `User-Agent` and the names that a denied attempt claims, every text
//! escaped and cut, and no label that does not come from the configuration or from a written list.

#[cfg(test)]
mod allocations;
pub(crate) mod clock;
pub(crate) mod events;
pub(crate) mod journal;
pub(crate) mod json;
pub(crate) mod logger;
pub(crate) mod metrics;
pub(crate) mod output;

pub(crate) use events::{Access, Audit, AuditEvent, AuditResult, Note, RefusedHandshake, Value};
pub(crate) use logger::Logger;
pub(crate) use metrics::Metrics;
pub(crate) use output::Output;
