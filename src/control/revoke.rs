//! Revocations that are asked for at the control socket.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};

use arc_swap::ArcSwap;
use log::Level;
use portcullis_plugin::{Authenticate, Revocation, Span, UnixTime};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::served_file::{is_one_file, serves_another};
use crate::{
    services::Services,
    snapshot::Snapshot,
    telemetry::{Note, Value, clock::rfc3339},
};

/// The time limit of the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// A request to revoke tokens.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revoke {
    /// The configuration's file of the gateway that the caller means.
    pub serves: PathBuf,
    /// The tokens.
    pub revocation: Revocation,
    /// The time for which that holds, in seconds.
    pub keep_s: u64,
}

impl Revoke {
    /// The most that clocks may differ. A moment that is later than now by more is a mistake, such as a wrong year.
    pub(crate) const MAX_AHEAD: Duration = Duration::from_secs(300);
}

/// The result of such a request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Revoked {
    /// The reason why nothing was revoked, if nothing was.
    pub error: Option<String>,
    /// Set if nothing was revoked because the request would have done something else than it says.
    #[serde(default)]
    pub is_not_meant: bool,
    /// The reason why it has no effect under the current configuration.
    pub warning: Option<String>,
}

/// Carries out revocations for this gateway.
pub(crate) struct Revoker {
    /// The services, with the store.
    pub services: Arc<Services>,
    /// The runtime that waits for the store.
    pub runtime: Handle,
    /// The current snapshot, which tells whether a policy heeds revocations.
    pub current: Arc<ArcSwap<Snapshot>>,
}

impl Revoker {
    /// Stores a revocation, and logs it with the user who asked for it.
    pub(crate) fn revoke(&self, wanted: &Revoke, serves: &Path, user: libc::uid_t) -> Revoked {
        let not_meant = self.not_meant(&wanted.revocation);
        let is_not_meant = not_meant.is_some();
        let error = not_meant.or_else(|| self.write(wanted, serves).err());
        // Also after an error: a write that timed out may have been made.
        if !is_not_meant {
            self.services.streams.judge_again();
        }
        let warning = error.is_none().then(|| self.warning(&wanted.revocation)).flatten();
        let (level, message) = match (&error, &warning) {
            (None, None) => (Level::Info, "tokens were revoked"),
            (None, Some(_)) => (Level::Warn, "tokens were revoked, which has no effect"),
            (Some(_), _) => (Level::Error, "tokens could not be revoked"),
        };
        let why = [("error", error.as_deref()), ("warning", warning.as_deref())];
        self.note(level, message, wanted, user, &why);
        Revoked { error, is_not_meant, warning }
    }

    /// Returns why it would do something else than it says. A token without a version counts as an old one: where
    /// nobody looks at versions, all that speak of the subject would be refused, and without an end.
    fn not_meant(&self, revocation: &Revocation) -> Option<String> {
        if let Revocation::Subject { issued_until, .. } | Revocation::Issuer { issued_until, .. } = revocation
            && *issued_until > UnixTime::now().after(Revoke::MAX_AHEAD)
        {
            return Some("it lies ahead: tokens that are not issued yet would be refused as well".to_owned());
        }
        let Revocation::Version { issuer, subject, .. } = revocation else { return None };
        let all = Revocation::Issuer { issuer: issuer.clone(), issued_until: UnixTime(0) };
        let is_other = |hook: &dyn Authenticate| hook.heeds(&all) && !hook.heeds(revocation);
        self.any(is_other).then(|| {
            format!(
                "a policy takes tokens of `{}` and looks at no version (`version_claim`): it would refuse all that speak \
                 of `{}`, new ones too; say --issued-before in place of --min-version",
                issuer.escape_debug(),
                subject.escape_debug()
            )
        })
    }

    /// Returns why it has no effect under the current configuration.
    fn warning(&self, revocation: &Revocation) -> Option<String> {
        let shown = revocation.issuer().escape_debug();
        let is_idle = !self.is_heeded(revocation);
        is_idle.then(|| format!("it has no effect: no policy takes tokens of the issuer `{shown}`"))
    }

    fn is_heeded(&self, revocation: &Revocation) -> bool {
        self.any(|hook| hook.heeds(revocation))
    }

    /// Returns `true` if this holds for an authenticator of the configuration.
    fn any(&self, holds: impl Fn(&dyn Authenticate) -> bool) -> bool {
        let current = self.current.load();
        let mut hooks = current.instances.values().filter_map(|instance| instance.hooks.authenticate.as_ref());
        hooks.any(|hook| holds(&**hook))
    }

    fn write(&self, wanted: &Revoke, serves: &Path) -> Result<(), String> {
        if !is_one_file(&wanted.serves, serves) {
            return Err(serves_another(serves));
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
                Err("the store does not answer: it may have been written or not, so revoke again".to_owned())
            }
        }
    }

    fn note(
        &self,
        level: Level,
        message: &str,
        wanted: &Revoke,
        user: libc::uid_t,
        why: &[(&'static str, Option<&str>)],
    ) {
        let until = match &wanted.revocation {
            Revocation::Subject { issued_until, .. } | Revocation::Issuer { issued_until, .. } => {
                Some(rfc3339(*issued_until))
            }
            Revocation::Token { .. } | Revocation::Version { .. } => None,
        };
        let mut fields = vec![("issuer", Value::Text(wanted.revocation.issuer()))];
        match &wanted.revocation {
            Revocation::Token { jti, .. } => fields.push(("token_id", Value::Text(jti))),
            Revocation::Subject { subject, .. } => fields.push(("subject", Value::Text(subject))),
            Revocation::Issuer { .. } => {}
            Revocation::Version { subject, at_least, .. } => {
                fields.extend([("subject", Value::Text(subject)), ("min_version", Value::Number(*at_least))]);
            }
        }
        fields.extend(until.iter().map(|until| ("issued_until", Value::Text(until))));
        fields.extend([("keep_s", Value::Number(wanted.keep_s)), ("user", Value::Number(user.into()))]);
        fields.extend(why.iter().filter_map(|(name, why)| Some((*name, Value::Text((*why)?)))));
        self.services.output.note(&Note { level, event: "revocation", message, fields: &fields });
    }
}
