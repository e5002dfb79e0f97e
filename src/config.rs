//! Reads, decodes and checks configuration files.
//!
//! The path of a configuration: [`read`] reads the file and those it includes, [`node`] walks the tables and decodes
//! their leaves so that every error of a run has its file, line and column, [`mod@file`] holds the shapes, and
//! [`load()`] puts them together into a [`Configuration`]. Plugins are built from it in [`crate::snapshot`]; nothing
//! here connects, binds or publishes.

mod credentials;
mod drafts;
pub mod file;
mod fingerprint;
mod folders;
mod include;
mod listeners;
mod load;
mod location;
pub mod node;
mod pieces;
pub mod problem;
mod read;
mod references;
mod report;
mod routes;
pub mod secrets;
mod sources;
#[cfg(test)]
mod tests;
mod value_lints;

pub use credentials::{CONSUMER_TO_NAME, CredentialDraft, Opens, SAMPLE_PASSWORD_HASH, SAMPLE_SECRETS};
pub use drafts::{PolicyDraft, UpstreamDraft};
pub use fingerprint::Fingerprint;
pub use listeners::{ClientsDraft, ListenerDraft, TlsDraft};
pub use load::{Configuration, load};
pub use location::Location;
pub use problem::Problems;
pub use report::{Located, Report};
pub use routes::{Alternative, Ending, PluginUse, PolicyRef, RouteDraft};
pub use secrets::{OfTheStart, Secrets, changed_since_start};
pub use sources::{Source, Sources};
