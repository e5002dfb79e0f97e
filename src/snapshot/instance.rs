//! Built policies. One is kept over a reload when its configuration, its credentials and everything it read are the
//! same: its counters, caches and key sets go on.

use std::{
    any::{Any, TypeId},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use portcullis_plugin::{
    AddressRules, Background, BuildCx, BuildEnv, BuildError, Command, CredentialEntry, Ends, Hooks, JudgeAgain, Metric,
    Place, Places, Secret, SecretSource, StatusPart, Store, UnixTime,
};
use tokio::{runtime::Handle, task::AbortHandle};

use super::record::Mark;
use crate::{
    config::{Fingerprint, PolicyDraft, Problems, Secrets},
    files,
    services::Services,
    telemetry::metrics::PluginMetricKey,
};

/// The largest file that a policy reads: a CRL of a large CA has some MB.
const MAX_FILE_BYTES: usize = 64 << 20;

/// A built policy.
pub(crate) struct Instance {
    /// Its hooks.
    pub hooks: Hooks,
    /// The fingerprint of its plugin, configuration and credentials.
    pub fingerprint: Fingerprint,
    /// The mark by which it is told apart later.
    pub mark: Arc<Mark>,
    /// Its metrics.
    pub metrics: Vec<PluginMetricKey>,
    /// The things it depends on that expire, with the time of each.
    pub ends: Vec<(Ends, UnixTime)>,
    /// The cookies of its own, which no upstream gets.
    pub cookies: Places,
    /// Probable mistakes in it, by field: told at each load, also where it is kept from the one before.
    pub warnings: Vec<(String, String)>,
    /// Its commands of the control socket.
    pub commands: Vec<Command>,
    /// Its parts of `/status`.
    pub status: Vec<StatusPart>,
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
    before_publish: Vec<Background>,
    pending: Vec<Background>,
    running: Vec<AbortHandle>,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.running.iter().for_each(AbortHandle::abort);
    }
}

/// The surroundings that all policies of a configuration are built in.
pub(crate) struct Surroundings<'s> {
    /// The reader of secrets and files.
    pub secrets: &'s Secrets,
    /// The state that outlives a reload.
    pub services: &'s Services,
    /// The largest body of one request for which there can be memory.
    pub max_held_body_bytes: usize,
    /// The time limit of hooks, if a policy sets none.
    pub hook_timeout: Duration,
}

impl Instance {
    /// Builds a policy, and adds its errors to `problems`, also where a part of it could not be decoded.
    pub(crate) fn build(
        draft: &mut PolicyDraft<'_>,
        fingerprint: Fingerprint,
        credentials: &[CredentialEntry],
        report: &mut dyn FnMut(usize, &str, String, &mut Problems),
        around: &Surroundings<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let (config, partly) = draft.config.take()?.split();
        let mut env = Env {
            policy: &draft.key,
            credentials,
            hook_timeout: draft.hook_timeout.map_or(around.hook_timeout, |own| own.0),
            around,
            read: Vec::new(),
            work: Work::default(),
            metrics: Vec::new(),
            ends: Vec::new(),
            cookies: Places::default(),
            warnings: Vec::new(),
            commands: Vec::new(),
            status: Vec::new(),
            wrong: Vec::new(),
            faults: Vec::new(),
        };
        // A panic is a bug of the plugin. It refuses the configuration like any other fault, and the thread that reloads
        // lives on to take the next one. What the plugin had begun is dropped with `env`.
        let build = AssertUnwindSafe(|| (draft.kind.build)(config, &mut BuildCx::new(&mut env)));
        let built =
            catch_unwind(build).unwrap_or_else(|_| Err(BuildError::new("", "the plugin panicked: a bug in it")));
        let Env { read, work, metrics, ends, cookies, warnings, commands, status, wrong, faults, .. } = env;
        if !partly.is_whole() {
            // It was built for what more there is to say, and is thrown away. Of credentials nothing can be said: what
            // they have to be may stand in the part that is wrong.
            let more = built.err().into_iter().flat_map(|error| error.problems);
            more.for_each(|(field, text)| draft.problem_beside(&partly, problems, &field, text));
            return None;
        }
        let is_whole = wrong.is_empty() && faults.is_empty();
        wrong.into_iter().for_each(|(index, field, text)| report(index, &field, text, problems));
        faults.into_iter().for_each(|text| draft.problem(problems, "", text));
        match built {
            Ok(hooks) => is_whole.then(|| {
                let kind = Fingerprint::of_bytes(draft.kind.name.as_bytes());
                let mark = Arc::new(Mark {
                    policy: draft.key.as_str().into(),
                    settings: Fingerprint::all([kind, draft.fingerprint]),
                    read: Fingerprint::all(read.iter().map(|(_, then)| *then)),
                });
                let work = Mutex::new(work);
                Self { hooks, fingerprint, mark, metrics, ends, cookies, warnings, commands, status, read, work }
            }),
            Err(error) => {
                // A policy that is left out without a word would leave its routes open.
                if error.problems.is_empty() {
                    draft.problem(problems, "", "the plugin could not be built and does not say why: a bug in it");
                }
                error.problems.into_iter().for_each(|(field, text)| draft.problem(problems, &field, text));
                None
            }
        }
    }

    /// Returns whether everything that it read is unchanged.
    pub(crate) fn is_current(&self, secrets: &Secrets) -> bool {
        self.read.iter().all(|(read, then)| {
            let now = match read {
                Read::File(path) => files::read(path, MAX_FILE_BYTES).ok().map(|bytes| Fingerprint::of_bytes(&bytes)),
                Read::Secret(source) => secrets.read(source).ok().map(|secret| Fingerprint::of_bytes(secret.expose())),
            };
            now == Some(*then)
        })
    }

    /// Returns the work that is to be finished before the configuration is published; given once, so that a policy
    /// which is kept does not do it again.
    pub(crate) fn before_publish(&self) -> Vec<Background> {
        std::mem::take(&mut self.work.lock().before_publish)
    }

    /// Starts its background work, once.
    pub(crate) fn start(&self, runtime: &Handle) {
        let mut work = self.work.lock();
        let pending = std::mem::take(&mut work.pending);
        work.running.extend(pending.into_iter().map(|work| runtime.spawn(work).abort_handle()));
    }
}

/// The engine's side of a plugin's `build`.
struct Env<'e> {
    policy: &'e str,
    credentials: &'e [CredentialEntry],
    hook_timeout: Duration,
    around: &'e Surroundings<'e>,
    read: Vec<(Read, Fingerprint)>,
    work: Work,
    metrics: Vec<PluginMetricKey>,
    ends: Vec<(Ends, UnixTime)>,
    cookies: Places,
    warnings: Vec<(String, String)>,
    commands: Vec<Command>,
    status: Vec<StatusPart>,
    wrong: Vec<(usize, String, String)>,
    /// The faults of the plugin itself, not of its configuration.
    faults: Vec<String>,
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

    fn warn(&mut self, field: &str, message: String) {
        self.warnings.push((field.to_owned(), message));
    }

    fn read_file(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let path = self.around.secrets.path(path);
        let bytes = files::read(&path, MAX_FILE_BYTES)?;
        self.read.push((Read::File(path), Fingerprint::of_bytes(&bytes)));
        Ok(bytes)
    }

    fn secret(&mut self, source: &SecretSource) -> Result<Secret, String> {
        let secret = self.around.secrets.read(source)?;
        self.read.push((Read::Secret(source.clone()), Fingerprint::of_bytes(secret.expose())));
        Ok(secret)
    }

    fn shared(
        &mut self,
        of: TypeId,
        key: &str,
        make: &mut dyn FnMut() -> Arc<dyn Any + Send + Sync>,
    ) -> Arc<dyn Any + Send + Sync> {
        self.around.services.shared(of, key, make)
    }

    fn background(&mut self, work: Background) {
        self.work.pending.push(work);
    }

    fn before_publish(&mut self, work: Background) {
        self.work.before_publish.push(work);
    }

    fn store(&self) -> Arc<dyn Store> {
        self.around.services.store.clone()
    }

    fn judge_again(&self) -> JudgeAgain {
        let streams = self.around.services.streams.clone();
        JudgeAgain::new(move || streams.judge_again())
    }

    fn address_rules(&self) -> AddressRules {
        let names = self.around.services.names.clone();
        AddressRules::new(move |address| names.judge(address))
    }

    fn has_secrets(&self) -> bool {
        !self.around.secrets.is_absent_fine()
    }

    fn hook_timeout(&self) -> Duration {
        self.hook_timeout
    }

    fn metric(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        new: Metric,
    ) -> Metric {
        match self.around.services.metrics.plugin_metric(name, help, labels, new.clone()) {
            Ok((key, metric)) => {
                self.metrics.push(key);
                metric
            }
            Err(why) => {
                self.faults.push(why);
                new
            }
        }
    }

    fn ends(&mut self, what: Ends, at: UnixTime) {
        self.ends.push((what, at));
    }

    fn command(&mut self, command: Command) {
        let name = command.name;
        if !command.has_valid_name() {
            self.faults.push(format!("`{}` cannot name a command: a bug in the plugin", name.escape_debug()));
        } else if self.commands.iter().any(|other| other.name == name) {
            self.faults.push(format!("the plugin registers the command `{name}` twice: a bug in it"));
        } else if self.commands.len() == Command::OF_POLICY_MAX {
            self.faults.push(format!("the plugin registers more than {} commands: a bug in it", self.commands.len()));
        } else {
            self.commands.push(command);
        }
    }

    fn status(&mut self, part: StatusPart) {
        if self.status.len() < StatusPart::OF_POLICY_MAX {
            self.status.push(part);
        }
    }

    fn max_held_body_bytes(&self) -> usize {
        self.around.max_held_body_bytes
    }

    fn cookie(&mut self, place: Place) {
        self.cookies.merge(Places(vec![place]));
    }
}
