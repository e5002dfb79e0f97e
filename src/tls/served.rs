//! The TLS settings that clients get for each server name, and what a reload changed of them.

use portcullis_plugin::UnixTime;

use crate::{config::file::ClientAuth, telemetry::clock::rfc3339};

/// The settings that a client gets for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    /// The SHA-256 of the certificates, one for each type of key.
    pub(super) certificates: Vec<[u8; 32]>,
    /// The earliest end of them.
    pub(super) until: UnixTime,
    /// The policy on asking for a client certificate.
    pub(super) client_auth: ClientAuth,
    /// The fingerprint of all client certificate settings.
    pub(super) clients: [u8; 32],
}

/// The description of clients that ask for no name, or for an unknown one.
pub(super) const OTHER_NAMES: &str = "(other names)";

impl Served {
    pub(super) fn changes_since(&self, was: &Self) -> Option<String> {
        let mut what = Vec::new();
        if self.certificates != was.certificates {
            what.push(valid(self));
        }
        if self.client_auth != was.client_auth {
            what.push(format!("client_auth {} -> {}", word(was.client_auth), word(self.client_auth)));
        } else if self.clients != was.clients {
            what.push("other CAs, CRLs or rules for clients".to_owned());
        }
        (!what.is_empty()).then(|| what.join("; "))
    }
}

pub(super) fn valid(served: &Served) -> String {
    format!("certificate until {}", rfc3339(served.until))
}

/// Returns a value as written in the file.
pub(super) fn word(auth: ClientAuth) -> &'static str {
    match auth {
        ClientAuth::Off => "off",
        ClientAuth::Optional => "optional",
        ClientAuth::Required => "required",
    }
}
