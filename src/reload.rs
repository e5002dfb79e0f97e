//! signal -> load -> check -> build -> prepare -> publish. Starting is a reload from nothing: one path, exercised
//! daily.
//!
//! A configuration is taken whole or not at all. Loading runs on a thread of its own, off the workers; publishing is
//! one atomic store; requests in flight keep the configuration they began with.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::{Duration, SystemTime},
};

mod cost;
mod memory;
mod outcome;
mod prepare;
mod request;
mod watch;

use arc_swap::ArcSwap;
use log::Level;
use portcullis_plugin::{Ends, UnixTime};
use tokio::runtime::Handle;

use crate::{
    config::{self, Located, Problems, Report, Secrets, Sources, changed_since_start},
    registry::Registry,
    services::Services,
    snapshot::{Changes, Snapshot, compile},
    systemd,
    telemetry::{
        Note, Value,
        metrics::{Kind, Metrics},
    },
    unit::Unit,
};

use cost::Cost;
pub(crate) use outcome::Reloaded;
pub(crate) use prepare::prepare;
pub(crate) use request::{ReloadRequest, Scope};
pub(crate) use watch::run as watch;

/// Reads and compiles a configuration, without effect on the running gateway.
///
/// # Errors
/// Returns everything that is wrong with it.
pub(crate) fn load(
    path: &Path,
    registry: &Registry,
    services: &Services,
    before: Option<&Snapshot>,
    is_without_secrets: bool,
) -> Result<Snapshot, Report> {
    let secrets = secrets(path, is_without_secrets);
    load_from(Arc::new(Sources::read(path)?), registry, services, before, secrets)
}

/// Does the same with files that have been read, outside of the service that the configuration is for: secrets that
/// this process was not given are read from where the unit gets them for the service.
///
/// # Errors
/// Returns everything that is wrong with it.
pub(crate) fn check(
    path: &Path,
    sources: &Arc<Sources>,
    registry: &Registry,
    services: &Services,
    before: Option<&Snapshot>,
    is_without_secrets: bool,
) -> Result<Snapshot, Report> {
    let secrets = secrets(path, is_without_secrets).given_by(Unit::find());
    load_from(sources.clone(), registry, services, before, secrets)
}

fn secrets(path: &Path, is_without_secrets: bool) -> Secrets {
    Secrets::new(path.parent().unwrap_or(Path::new("")), is_without_secrets)
}

/// Does the same with files that have been read.
fn load_from(
    sources: Arc<Sources>,
    registry: &Registry,
    services: &Services,
    before: Option<&Snapshot>,
    secrets: Secrets,
) -> Result<Snapshot, Report> {
    let mut problems = Problems::default();
    let read = secrets.clone();
    let configuration = config::load(&sources, registry, secrets, &mut problems);
    let snapshot = configuration.and_then(|configuration| compile(configuration, services, before, &mut problems));
    match snapshot {
        Some(mut snapshot) if problems.is_empty() => {
            snapshot.warnings = problems.warnings(&sources);
            snapshot.of_the_start = read.of_the_start();
            if snapshot.is_watching() {
                snapshot.sources = sources;
            }
            Ok(snapshot)
        }
        _ => Err(problems.locate(&sources)),
    }
}

/// Carries out reloads, one at a time.
pub(crate) struct Reloader {
    /// The path of the file.
    pub path: PathBuf,
    /// The plugins.
    pub registry: Registry,
    /// The state that outlives reloads.
    pub services: Arc<Services>,
    /// The current snapshot.
    pub current: Arc<ArcSwap<Snapshot>>,
    /// The runtime of background work.
    pub runtime: Handle,
}

impl Reloader {
    /// Serves reload requests until nobody can send any. Requests that came while one was carried out are carried out
    /// together: the file is read after the last of them.
    pub(crate) fn run(self, requests: &mpsc::Receiver<ReloadRequest>) {
        while let Ok(request) = requests.recv() {
            let requests: Vec<_> = std::iter::once(request).chain(requests.try_iter()).collect();
            let is_of_file = requests.iter().any(|request| request.scope == Scope::Configuration);
            let reloaded = self.reload_or_refuse(is_of_file);
            // Nobody may be waiting any more.
            requests
                .into_iter()
                .filter_map(|request| request.answer)
                .for_each(|waits| drop(waits.send(reloaded.clone())));
        }
    }

    /// Reloads, and turns a panic into a refusal. It is a bug of ours, and this thread lives on for the next request:
    /// otherwise every later reload would be lost silently.
    fn reload_or_refuse(&self, is_of_file: bool) -> Reloaded {
        catch_unwind(AssertUnwindSafe(|| self.reload(is_of_file))).unwrap_or_else(|_| {
            let why = "the gateway panicked while it took this over: a bug in it, please report it";
            let refused = self.refuse(&self.current.load_full(), Report::of_file(&self.path, why));
            systemd::ready(&refused.status());
            refused
        })
    }

    /// Takes the file as it is now, or the content that was taken last; or leaves everything as it was.
    #[expect(clippy::disallowed_methods, reason = "this is the thread of reloads, and no worker")]
    fn reload(&self, is_of_file: bool) -> Reloaded {
        systemd::reloading();
        let before = self.current.load_full();
        if !is_of_file && !before.is_watching() {
            // After the request was sent, a configuration came that does not watch files.
            let reloaded = Reloaded::unchanged(&before);
            systemd::ready(&reloaded.status());
            return reloaded;
        }
        let cost = Cost::begin();
        let sources = if is_of_file { Sources::read(&self.path).map(Arc::new) } else { Ok(before.sources.clone()) };
        let loaded = sources.and_then(|sources| {
            let source_bytes = sources.0.iter().map(|source| source.text.len() as u64).sum();
            if let Some(shortage) = memory::shortage(source_bytes) {
                return Err(Report::of_file(&self.path, shortage));
            }
            let secrets = secrets(&self.path, false);
            let snapshot = load_from(sources.clone(), &self.registry, &self.services, Some(&before), secrets)?;
            Ok((snapshot, sources))
        });
        let loaded = loaded.and_then(|(mut snapshot, sources)| {
            snapshot.warnings.0.extend(changed_secrets(&self.path, &snapshot));
            let fixed = before.fixed.differences(&snapshot.fixed);
            let needs_restart = || Report::of_file(&self.path, needs_restart(&fixed));
            if fixed.is_empty() { Ok((snapshot, sources)) } else { Err(needs_restart()) }
        });
        let reloaded = match loaded {
            Ok((mut snapshot, sources)) => {
                look_up(&snapshot, &self.services, &self.runtime);
                prepare(&snapshot, &self.runtime);
                self.runtime.block_on(settle(&snapshot, NAMES_TIMEOUT));
                snapshot.warnings.0.extend(unresolved(&snapshot, &sources));
                drop(sources);
                self.publish(snapshot, &before, is_of_file, &cost)
            }
            Err(report) => self.refuse(&before, report),
        };
        systemd::ready(&reloaded.status());
        reloaded
    }

    fn publish(&self, snapshot: Snapshot, before: &Snapshot, is_of_file: bool, cost: &Cost) -> Reloaded {
        let changes = snapshot.changes_since(before);
        let snapshot = Arc::new(snapshot);
        self.current.store(snapshot.clone());
        adopt(&snapshot, &self.services, &self.runtime);
        let changed = changes.changed.len() + changes.reread.len();
        let counts = [changes.added.len(), changed, changes.removed.len()];
        let [added, changed, removed] = counts.map(|count| Value::Number(count as u64));
        let not_reread: Vec<_> = snapshot.of_the_start.iter().map(ToString::to_string).collect();
        let lines = changes.lines().collect::<Vec<_>>().join("; ");
        let (tls, kept) = (changes.tls.join("; "), not_reread.join("; "));
        let fields = [
            ("generation", Value::Number(snapshot.generation)),
            ("routes", Value::Number(snapshot.gates.len() as u64)),
            ("added", added),
            ("changed", changed),
            ("removed", removed),
            ("changes", Value::Text(&lines)),
            ("tls", Value::Text(&tls)),
            ("not_reread", Value::Text(&kept)),
        ];
        self.services.output.note(&Note {
            level: Level::Info,
            event: "reload",
            message: if is_of_file { "the configuration was taken" } else { "files that changed were taken" },
            fields: &[fields.as_slice(), &cost.fields()].concat(),
        });
        self.tell_exposed(&snapshot, &changes);
        Reloaded {
            generation: snapshot.generation,
            routes: snapshot.gates.len(),
            changes: Some(changes),
            errors: Vec::new(),
            warnings: snapshot.warnings.0.clone(),
            not_reread,
        }
    }

    /// Warns loudly, because it may not have been intended.
    fn tell_exposed(&self, snapshot: &Snapshot, changes: &Changes) {
        if changes.exposed.is_empty() {
            return;
        }
        self.services.output.note(&Note {
            level: Level::Warn,
            event: "exposed",
            message: "protection was reduced",
            fields: &[
                ("paths", Value::Text(&changes.exposed.join("; "))),
                ("generation", Value::Number(snapshot.generation)),
            ],
        });
    }

    fn refuse(&self, before: &Snapshot, report: Report) -> Reloaded {
        self.services.metrics.reload_failed();
        retain(&self.services.metrics, before);
        let text = report.to_string();
        self.services.output.note(&Note {
            level: Level::Error,
            event: "reload",
            message: "the configuration was refused; the one before goes on serving",
            fields: &[
                ("generation", Value::Number(before.generation)),
                ("problems", Value::Number(report.0.len() as u64)),
                ("errors", Value::Text(text.trim_end())),
            ],
        });
        Reloaded {
            generation: before.generation,
            routes: before.gates.len(),
            changes: None,
            errors: report.0,
            warnings: Vec::new(),
            not_reread: Vec::new(),
        }
    }
}

/// Returns warnings about secrets that have changed on disk since the service got them, as far as that can be seen.
fn changed_secrets(path: &Path, snapshot: &Snapshot) -> Vec<Located> {
    let secrets = &snapshot.of_the_start;
    let unit = (!secrets.is_empty()).then(Unit::find).flatten();
    let changed = unit.map(|unit| changed_since_start(secrets, &unit)).unwrap_or_default();
    changed.into_iter().flat_map(|text| Report::of_file(path, text).0).collect()
}

fn needs_restart(fixed: &[&str]) -> String {
    format!("`{}` cannot change while the gateway runs: restart it", fixed.join("`, `"))
}

/// The time that a reload waits for new names, to be able to warn of those that do not resolve. It succeeds in any
/// case.
const NAMES_TIMEOUT: Duration = Duration::from_secs(1);

/// Begins to resolve the names of a configuration's targets in the background.
pub(crate) fn look_up(snapshot: &Snapshot, services: &Services, runtime: &Handle) {
    let names = snapshot.named_targets.iter().map(|(name, _)| name.clone());
    services.names.keep(names, runtime);
}

/// Waits until all names of a configuration have been looked up once, concurrently, and no longer than this.
pub(crate) async fn settle(snapshot: &Snapshot, limit: Duration) {
    let all = async {
        for (name, _) in &snapshot.named_targets {
            name.settled().await;
        }
    };
    // Names that are not known by then are warned of, and still being resolved.
    let _ = tokio::time::timeout(limit, all).await;
}

/// Returns warnings about names that do not resolve, each with its location in `sources`.
pub(crate) fn unresolved(snapshot: &Snapshot, sources: &Sources) -> Vec<Located> {
    let mut warnings = Problems::default();
    for (name, at) in &snapshot.named_targets {
        let last = name.last();
        let text = match last.failure.as_deref() {
            Some(why) if last.is_refused => format!("`{name}` {why}"),
            Some(why) => format!("`{name}` cannot be resolved: {why}"),
            None if name.addresses.is_empty() => format!("`{name}` is not resolved yet"),
            None => continue,
        };
        at.warn(&mut warnings, text);
    }
    warnings.warnings(sources).0
}

/// Starts the background work of a snapshot that is current now, and has long requests judged by it.
pub(crate) fn adopt(snapshot: &Snapshot, services: &Services, runtime: &Handle) {
    services.adopt(snapshot.credentials.iter().zip(snapshot.secrets.iter().copied()));
    retain(&services.metrics, snapshot);
    let served = || snapshot.settings.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let shown = snapshot.upstreams.iter().filter_map(|upstream| upstream.own_certificate.as_ref());
    let of_policies = || snapshot.instances.values().flat_map(|instance| &instance.ends);
    let certificates = of_policies().filter_map(|(what, at)| match what {
        Ends::Certificate(subject) => Some((subject.as_str(), *at)),
        Ends::RevocationList(_) => None,
    });
    let lists = of_policies().filter_map(|(what, at)| match what {
        Ends::RevocationList(issuer) => Some((issuer.as_str(), *at)),
        Ends::Certificate(_) => None,
    });
    services.metrics.certificates(served().flat_map(|tls| &tls.expiries).chain(shown).map(named).chain(certificates));
    services.metrics.revocation_lists(served().flat_map(|tls| &tls.lists).map(named).chain(lists));
    snapshot.warnings.0.iter().for_each(|warning| log::warn!("{warning}"));
    services.of_upstreams().forget_unused();
    let upstreams = snapshot.upstreams.clone();
    services.metrics.targets(Box::new(move || upstreams.iter().map(|upstream| upstream.counts()).collect()));
    services.metrics.reload_succeeded(snapshot.generation, SystemTime::now());
    log::set_max_level(snapshot.settings.log.level.0);
    snapshot.instances.values().for_each(|instance| instance.start(runtime));
    services.streams.judge_again();
}

fn named((name, at): &(String, UnixTime)) -> (&str, UnixTime) {
    (name, *at)
}

/// Forgets the series of names that the current configuration does not have.
fn retain(metrics: &Metrics, snapshot: &Snapshot) {
    let upstreams: std::collections::HashSet<&str> =
        snapshot.upstreams.iter().map(|upstream| &*upstream.name).collect();
    metrics.retain(|kind, name| match kind {
        Kind::Route => snapshot.fingerprints.contains_key(name),
        Kind::Policy => snapshot.instances.contains_key(name),
        Kind::Upstream => upstreams.contains(name),
    });
    metrics.retain_plugin_metrics(snapshot.instances.values().flat_map(|instance| &instance.metrics));
}

#[cfg(test)]
mod peak;
#[cfg(test)]
mod tests;
