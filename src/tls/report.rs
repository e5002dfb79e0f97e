//! What people are told of a listener's TLS: in `/status`, in metrics, and of what a reload changed.

use std::collections::BTreeMap;

use portcullis_plugin::UnixTime;
use serde_json::{Value, json};

use super::compiled::Tls;
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

impl Tls {
    /// By name.
    pub fn served(&self) -> BTreeMap<String, Served> {
        self.names.served()
    }

    /// The same for `/status`.
    pub fn status(&self) -> Value {
        let served = self.served().into_iter().map(|(name, served)| {
            json!({
                "name": name,
                "until": rfc3339(served.until),
                "sha256": served.certificates.iter().map(hex::encode).collect::<Vec<_>>(),
                "client_auth": word(served.client_auth),
            })
        });
        served.collect()
    }

    /// What is different from what was served before: a line for each name.
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let (now, before) = (self.served(), before.served());
        let lines = now.iter().map(|(name, served)| match before.get(name) {
            None => Some(format!("+ {name}: {}", valid(served))),
            Some(was) => served.changes_since(was).map(|what| format!("~ {name}: {what}")),
        });
        let gone = before.keys().filter(|name| !now.contains_key(*name)).map(|name| format!("- {name}"));
        lines.flatten().chain(gone).collect()
    }
}

impl Served {
    fn changes_since(&self, was: &Self) -> Option<String> {
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

fn valid(served: &Served) -> String {
    format!("certificate until {}", rfc3339(served.until))
}

/// As the file has it.
fn word(auth: ClientAuth) -> &'static str {
    match auth {
        ClientAuth::Off => "off",
        ClientAuth::Optional => "optional",
        ClientAuth::Required => "required",
    }
}
