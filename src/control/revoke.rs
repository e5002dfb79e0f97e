use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};

use log::Level;
use portcullis_plugin::{Revocation, Span, UnixTime};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::{
    services::Services,
    telemetry::{Note, Value},
};

/// How long the store may take.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a caller wants to be revoked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The configuration's file of the gateway that the caller means.
    pub serves: PathBuf,
    /// Which tokens.
    pub revocation: Revocation,
    /// For how many seconds.
    pub keep_s: u64,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Revoked {
    /// Why nothing is revoked, if nothing is.
    pub error: Option<String>,
}

/// Writes revocations down for this gateway.
pub struct Revoker {
    /// Where the store is.
    pub services: Arc<Services>,
    /// Where a store that has to be waited for is asked.
    pub runtime: Handle,
}

impl Revoker {
    /// Writes one down, and leaves a line about it in the log, with the user who wanted it.
    pub fn revoke(&self, wanted: &Revoke, serves: &Path, user: libc::uid_t) -> Revoked {
        let error = self.write(wanted, serves).err();
        let (level, message) = match error {
            None => (Level::Info, "tokens were revoked"),
            Some(_) => (Level::Error, "tokens could not be revoked"),
        };
        self.note(level, message, wanted, user, error.as_deref());
        Revoked { error }
    }

    fn write(&self, wanted: &Revoke, serves: &Path) -> Result<(), String> {
        if wanted.serves != serves {
            return Err(format!("the gateway serves `{}`", serves.display()));
        }
        let keep = Duration::from_secs(wanted.keep_s);
        if keep.is_zero() || keep > Span::LONGEST {
            return Err("it can be remembered for a second to ten years".to_owned());
        }
        let (told, waits) = mpsc::channel();
        let (store, revocation) = (self.services.store.clone(), wanted.revocation.clone());
        let asking = self.runtime.spawn(async move { told.send(revocation.write(&*store, keep).await) });
        match waits.recv_timeout(STORE_TIMEOUT) {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => {
                asking.abort();
                Err("the store does not answer".to_owned())
            }
        }
    }

    fn note(&self, level: Level, message: &str, wanted: &Revoke, user: libc::uid_t, error: Option<&str>) {
        let until = |time: &UnixTime| Value::Number(u64::try_from(time.0).unwrap_or_default());
        let mut fields = match &wanted.revocation {
            Revocation::Token { issuer, jti } => vec![("issuer", Value::Text(issuer)), ("token_id", Value::Text(jti))],
            Revocation::Subject { issuer, subject, issued_until } => vec![
                ("issuer", Value::Text(issuer)),
                ("subject", Value::Text(subject)),
                ("issued_until", until(issued_until)),
            ],
            Revocation::Issuer { issuer, issued_until } => {
                vec![("issuer", Value::Text(issuer)), ("issued_until", until(issued_until))]
            }
            Revocation::Version { issuer, subject, at_least } => vec![
                ("issuer", Value::Text(issuer)),
                ("subject", Value::Text(subject)),
                ("min_version", Value::Number(*at_least)),
            ],
        };
        fields.extend([("keep_s", Value::Number(wanted.keep_s)), ("user", Value::Number(user.into()))]);
        fields.extend(error.map(|error| ("error", Value::Text(error))));
        self.services.output.note(&Note { level, event: "revocation", message, fields: &fields });
    }
}
