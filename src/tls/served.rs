use portcullis_plugin::UnixTime;

use crate::{config::file::ClientAuth, telemetry::clock::rfc3339};

/// What a client gets that asks for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The SHA-256 of the certificates, one for each type of key.
    pub(super) certificates: Vec<[u8; 32]>,
    /// The first end of them.
    pub(super) until: UnixTime,
    /// Whether it is asked for a certificate.
    pub(super) client_auth: ClientAuth,
    /// Of all that holds for its certificate.
    pub(super) clients: [u8; 32],
}

/// What is said of those who ask for no name, or for one that is not known.
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

/// As the file has it.
pub(super) fn word(auth: ClientAuth) -> &'static str {
    match auth {
        ClientAuth::Off => "off",
        ClientAuth::Optional => "optional",
        ClientAuth::Required => "required",
    }
}
