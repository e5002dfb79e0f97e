use std::collections::HashMap;

use crate::{config::Fingerprint, services::CredentialKey};

/// Of what a configuration says beside its routes, by name.
#[derive(Default)]
pub struct Beside {
    /// Of the tables that hold for every route.
    pub tables: HashMap<String, Fingerprint>,
    /// Of each upstream, with the files that it names.
    pub upstreams: HashMap<String, Fingerprint>,
    /// Of each consumer, without its credentials.
    pub consumers: HashMap<String, Fingerprint>,
    /// Of each credential.
    pub credentials: HashMap<CredentialKey, Fingerprint>,
}
