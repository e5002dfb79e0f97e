//! Built policies. One is kept over a reload when its configuration, its credentials and everything it read are the
//! same: its counters, caches and key sets go on.

use std::{
    any::{Any, TypeId},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use portcullis_plugin::{Background, BuildCx, BuildEnv, BuildError, CredentialEntry, Hooks, Secret, SecretSource};
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    config::{Fingerprint, PolicyDraft, Problems, Secrets},
    services::Services,
};

/// A built policy.
pub struct Instance {
    /// What it takes part in.
    pub hooks: Hooks,
    /// Of its plugin, configuration and credentials.
    pub fingerprint: Fingerprint,
    read: Vec<(Read, Fingerprint)>,
    work: Mutex<Work>,
}

/// Something a policy read while it was built.
enum Read {
    File(PathBuf),
    Secret(SecretSource),
}

#[derive(Default)]
struct Work {
    pending: Vec<Background>,
    running: Vec<AbortHandle>,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.running.iter().for_each(AbortHandle::abort);
    }
}

impl Instance {
    /// Builds a policy; what is wrong with it is added to `problems`.
    pub fn build(
        draft: &mut PolicyDraft<'_>,
        fingerprint: Fingerprint,
        credentials: &[CredentialEntry],
        report: &mut dyn FnMut(usize, &str, String, &mut Problems),
        secrets: &Secrets,
        services: &Services,
        problems: &mut Problems,
    ) -> Option<Self> {
        let config = draft.config.take()?;
        let mut env = Env {
            policy: &draft.key,
            credentials,
            secrets,
            services,
            read: Vec::new(),
            pending: Vec::new(),
            wrong: Vec::new(),
        };
        // A panic is a bug of the plugin. It refuses the configuration like any other fault, and the thread that reloads
        // lives on to take the next one. What the plugin had begun is dropped with `env`.
        let build = AssertUnwindSafe(|| (draft.kind.build)(config, &mut BuildCx::new(&mut env)));
        let built =
            catch_unwind(build).unwrap_or_else(|_| Err(BuildError::new("", "the plugin panicked: a bug in it")));
        let Env { read, pending, wrong, .. } = env;
        let is_whole = wrong.is_empty();
        wrong.into_iter().for_each(|(index, field, text)| report(index, &field, text, problems));
        match built {
            Ok(hooks) => is_whole.then(|| Self {
                hooks,
                fingerprint,
                read,
                work: Mutex::new(Work { pending, running: Vec::new() }),
            }),
            Err(error) => {
                error.problems.into_iter().for_each(|(field, text)| draft.problem(problems, &field, text));
                None
            }
        }
    }

    /// Whether everything it read still says the same.
    pub fn is_current(&self, secrets: &Secrets) -> bool {
        self.read.iter().all(|(read, then)| {
            let now = match read {
                Read::File(path) => std::fs::read(path).ok().map(|bytes| Fingerprint::of_bytes(&bytes)),
                Read::Secret(source) => secrets.read(source).ok().map(|secret| Fingerprint::of_bytes(secret.expose())),
            };
            now == Some(*then)
        })
    }

    /// Starts its background work, once.
    pub fn start(&self, runtime: &Handle) {
        let mut work = self.work.lock();
        let pending = std::mem::take(&mut work.pending);
        work.running.extend(pending.into_iter().map(|work| runtime.spawn(work).abort_handle()));
    }
}

/// The engine's side of a plugin's `build`.
struct Env<'e> {
    policy: &'e str,
    credentials: &'e [CredentialEntry],
    secrets: &'e Secrets,
    services: &'e Services,
    read: Vec<(Read, Fingerprint)>,
    pending: Vec<Background>,
    wrong: Vec<(usize, String, String)>,
}

impl BuildEnv for Env<'_> {
    fn policy(&self) -> &str {
        self.policy
    }

    fn credentials(&self) -> &[CredentialEntry] {
        self.credentials
    }

    fn credential_problem(&mut self, index: usize, field: &str, message: String) {
        self.wrong.push((index, field.to_owned(), message));
    }

    fn read_file(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let path = self.secrets.path(path);
        let bytes = std::fs::read(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
        self.read.push((Read::File(path), Fingerprint::of_bytes(&bytes)));
        Ok(bytes)
    }

    fn secret(&mut self, source: &SecretSource) -> Result<Secret, String> {
        let secret = self.secrets.read(source)?;
        self.read.push((Read::Secret(source.clone()), Fingerprint::of_bytes(secret.expose())));
        Ok(secret)
    }

    fn shared(
        &mut self,
        of: TypeId,
        key: &str,
        make: &mut dyn FnMut() -> Arc<dyn Any + Send + Sync>,
    ) -> Arc<dyn Any + Send + Sync> {
        self.services.shared(of, key, make)
    }

    fn background(&mut self, work: Background) {
        self.pending.push(work);
    }
}
