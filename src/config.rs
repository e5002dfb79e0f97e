//! Reads, decodes and checks configuration files.
//!
//! The path of a configuration: [`read`] reads the file and those it includes, [`node`] walks the tables and decodes
//! their leaves so that every error of a run has its file, line and column, [`mod@file`] holds the shapes, and
//! [`load()`] puts them together into a [`Configuration`]. Plugins are built from it in [`crate::snapshot`]; nothing
//! here connects, binds or publishes.

mod credentials;
mod drafts;
pub(crate) mod file;
mod fingerprint;
mod folders;
mod include;
mod listeners;
mod load;
mod location;
pub(crate) mod node;
mod pieces;
pub(crate) mod problem;
mod read;
mod references;
mod report;
mod routes;
pub(crate) mod secrets;
mod sources;
#[cfg(test)]
mod tests;
mod value_lints;

#[cfg(feature = "key-auth")]
pub(crate) use credentials::CONSUMER_TO_NAME;
pub(crate) use credentials::Opens;
pub(crate) use drafts::{PolicyDraft, UpstreamDraft};
pub(crate) use fingerprint::Fingerprint;
pub(crate) use listeners::{ClientsDraft, ListenerDraft, TlsDraft};
pub(crate) use load::{Configuration, load};
pub(crate) use location::Location;
pub(crate) use problem::Problems;
pub(crate) use report::{Located, Report};
pub(crate) use routes::{Alternative, Ending, PluginUse, RouteDraft};
pub(crate) use secrets::{OfTheStart, Secrets, changed_since_start};
pub(crate) use sources::{Source, Sources};
