//! The fingerprints by which a reload tells what has changed beside the routes.

use std::collections::HashMap;

use crate::{config::Fingerprint, services::CredentialKey};

/// The fingerprints of everything beside the routes, by name.
#[derive(Default)]
pub(crate) struct OtherFingerprints {
    /// The tables that hold for every route.
    pub tables: HashMap<String, Fingerprint>,
    /// Each upstream, with the files that it names.
    pub upstreams: HashMap<String, Fingerprint>,
    /// Each consumer, without its credentials.
    pub consumers: HashMap<String, Fingerprint>,
    /// Of each credential.
    pub credentials: HashMap<CredentialKey, Fingerprint>,
}
