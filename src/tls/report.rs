//! Descriptions of a listener's TLS for operators: in `/status`, in metrics, and of the changes of a reload.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    compiled::Tls,
    served::{Served, valid, word},
};
use crate::telemetry::clock::rfc3339;

impl Tls {
    /// Returns the settings that are served for each name.
    pub(crate) fn served(&self) -> BTreeMap<String, Served> {
        self.names.served()
    }

    /// Returns the same for `/status`.
    pub(crate) fn status(&self) -> Value {
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

    /// Returns the differences to the TLS served before: a line for each name.
    pub(crate) fn changes_since(&self, before: &Self) -> Vec<String> {
        let (now, before) = (self.served(), before.served());
        let lines = now.iter().map(|(name, served)| match before.get(name) {
            None => Some(format!("+ {name}: {}", valid(served))),
            Some(was) => served.changes_since(was).map(|what| format!("~ {name}: {what}")),
        });
        let gone = before.keys().filter(|name| !now.contains_key(*name)).map(|name| format!("- {name}"));
        lines.flatten().chain(gone).collect()
    }
}
