//! Names of targets, resolved in the background as often as they may change, independently of configurations.
//!
//! A name is identified by host and port. It is resolved from when a configuration with it is about to serve until no
//! configuration has it any more, and its addresses outlive a reload. Only the first requests to a name wait for it.
//! One that cannot be resolved keeps the addresses that it had. Addresses that requests must not go to are never kept,
//! whether they come from an answer or are known without asking.

pub(super) mod allowed;
mod lookup;

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use log::Level;
use parking_lot::Mutex;
use portcullis_plugin::UnixTime;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, watch},
    time::sleep,
};

use self::{
    allowed::{forbidden, has_route},
    lookup::{Found, Lookups},
};
use super::{
    addresses::Addresses,
    place::{HostPort, LOCALHOST, is_localhost, plain},
};
use crate::telemetry::{Note, Output, Value};

/// The shortest time until a name is resolved again, however short its TTL.
const MIN_AGE: Duration = Duration::from_secs(1);
/// The longest time until then, however long its TTL.
const MAX_AGE: Duration = Duration::from_secs(60);
/// The longest pause after failed look-ups. The first pause is [`MIN_AGE`], and each is twice the one before.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The most look-ups at once.
const MAX_LOOKUPS: usize = 64;

/// All names that a configuration has or had.
pub(crate) struct Names {
    known: Mutex<HashMap<HostPort, Weak<Name>>>,
    around: OnceLock<Around>,
    turns: Semaphore,
    output: Output,
}

/// Facts that do not change after the start of the process.
struct Around {
    lookups: Lookups,
    /// The addresses that the gateway listens on.
    own: Vec<SocketAddr>,
}

/// One name.
pub(crate) struct Name {
    of: HostPort,
    /// Its known addresses.
    pub addresses: Addresses,
    last: ArcSwap<Outcome>,
    is_kept: AtomicBool,
    /// Set once a look-up has ended, with or without success.
    settled: watch::Sender<bool>,
    /// Notified when a look-up is wanted now.
    asked: Arc<Notify>,
}

/// The result of the last look-up.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The time of the last success.
    pub resolved: Option<UnixTime>,
    /// The reason why the last one failed.
    pub failure: Option<String>,
    /// Set if it failed because all addresses that it found must not be targets.
    pub is_refused: bool,
    /// Addresses that must not be targets.
    refused: Vec<(IpAddr, &'static str)>,
}

impl Names {
    /// Returns an empty set.
    pub(crate) fn new(output: Output) -> Self {
        Self { known: Mutex::default(), around: OnceLock::new(), turns: Semaphore::new(MAX_LOOKUPS), output }
    }

    /// Returns the name, known or new. Nothing is resolved.
    pub(crate) fn of(&self, of: &HostPort) -> Arc<Name> {
        let mut known = self.known.lock();
        let name = known.get(of).and_then(Weak::upgrade);
        name.unwrap_or_else(|| {
            let name = Arc::new(Name::new(of.clone()));
            self.around.get().iter().for_each(|around| name.forget_forbidden(&around.own));
            known.insert(of.clone(), Arc::downgrade(&name));
            name
        })
    }

    /// Forgets those that no configuration has any more.
    pub(crate) fn forget_unused(&self) {
        self.known.lock().retain(|_, name| name.strong_count() > 0);
    }

    /// Sets the facts for all look-ups, once: the DNS servers (empty: the system's), and the addresses that the gateway
    /// listens on.
    pub(crate) fn begin(&self, servers: &[SocketAddr], own: Vec<SocketAddr>) {
        let around = self.around.get_or_init(|| Around { lookups: Lookups::new(servers), own });
        let known = self.known.lock();
        known.values().filter_map(Weak::upgrade).for_each(|name| name.forget_forbidden(&around.own));
    }

    /// Returns an error with the reason if an address must not be a target.
    pub(crate) fn judge(&self, address: SocketAddr) -> Result<(), &'static str> {
        let own = self.around.get().map_or(&[][..], |around| &around.own);
        forbidden(address, own).map_or(Ok(()), Err)
    }

    /// Keeps these names resolved from now on, for as long as anybody holds them. Those that failed last are resolved
    /// at once.
    pub(crate) fn keep(self: &Arc<Self>, names: impl Iterator<Item = Arc<Name>>, runtime: &Handle) {
        for name in names {
            if !name.is_kept.swap(true, Relaxed) {
                let (names, of) = (self.clone(), Arc::downgrade(&name));
                runtime.spawn(async move {
                    // A panic is a bug; the name is resolved again all the same.
                    while let Err(panicked) = tokio::spawn(names.clone().look_up_again_and_again(of.clone())).await {
                        log::error!("looking a name up: {panicked}");
                        sleep(MAX_PAUSE).await;
                    }
                });
            } else if name.last.load().failure.is_some() {
                name.asked.notify_one();
            }
        }
    }

    async fn look_up_again_and_again(self: Arc<Self>, name: Weak<Name>) {
        let mut failures = 0;
        loop {
            let Some(strong) = name.upgrade() else { return };
            let pause = match self.look_up(&strong).await {
                Ok(ttl) => {
                    failures = 0;
                    ttl.clamp(MIN_AGE, MAX_AGE)
                }
                Err(()) => {
                    failures += 1;
                    MAX_PAUSE.min(MIN_AGE * 2_u32.saturating_pow(failures - 1))
                }
            };
            let asked = strong.asked.clone();
            // The task does not hold the name while it sleeps: nobody else may have it by then.
            drop(strong);
            tokio::select! { () = sleep(pause) => {} () = asked.notified() => {} }
        }
    }

    /// Resolves a name once. Returns how long the result is valid.
    async fn look_up(&self, name: &Name) -> Result<Duration, ()> {
        let around = self.around.get().ok_or(())?;
        let found = {
            let _turn = self.turns.acquire().await;
            around.lookups.find(&name.of.host).await
        };
        // One may have become an address of this machine since.
        name.forget_forbidden(&around.own);
        let ttl = found.as_ref().map_or(MIN_AGE, |found| found.ttl);
        let verdict = found.map_or_else(Verdict::failed, |found| name.judge(found, &around.own));
        let outcome = if verdict.failure.is_none() { Ok(ttl) } else { Err(()) };
        self.take(name, verdict);
        name.settled.send_replace(true);
        outcome
    }

    /// Stores the result of a look-up, and logs it if it is new.
    fn take(&self, name: &Name, verdict: Verdict) {
        let before = name.last.load_full();
        let is_first = before.resolved.is_none() && before.failure.is_none();
        let is_news = is_first || verdict.failure.is_some() != before.failure.is_some();
        if verdict.is_refused && before.resolved.is_none() {
            // The built-in addresses of `localhost` were never looked up: the answer says otherwise.
            name.addresses.retain(|_| false);
        }
        let has_changed = verdict.failure.is_none() && name.addresses.replace(verdict.addresses);
        let resolved = if verdict.failure.is_none() { Some(UnixTime::now()) } else { before.resolved };
        let outcome = Outcome {
            resolved,
            failure: verdict.failure,
            is_refused: verdict.is_refused,
            refused: verdict.refused.unwrap_or_else(|| before.refused.clone()),
        };
        for (ip, why) in outcome.refused.iter().filter(|refused| !before.refused.contains(refused)) {
            let text = format!("`{}` resolves to {ip}, {why}: no request is sent there", name.of.host);
            self.note(name, Level::Warn, &text, &outcome);
        }
        match &outcome.failure {
            Some(_) if is_news && name.addresses.is_empty() => {
                self.note(
                    name,
                    Level::Warn,
                    "could not be resolved; requests to this target fail until it is",
                    &outcome,
                );
            }
            Some(_) if is_news => {
                self.note(
                    name,
                    Level::Warn,
                    "could not be resolved; requests still go to the addresses found before",
                    &outcome,
                );
            }
            None if is_news || has_changed => self.note(name, Level::Info, "resolved", &outcome),
            _ => {}
        }
        name.last.store(Arc::new(outcome));
    }

    fn note(&self, name: &Name, level: Level, message: &str, outcome: &Outcome) {
        let (target, addresses) = (name.to_string(), shown(&name.addresses));
        let mut fields = vec![("target", Value::Text(&target)), ("addresses", Value::Text(&addresses))];
        fields.extend(outcome.failure.iter().map(|why| ("error", Value::Text(why))));
        self.output.note(&Note { level, event: "resolution", message, fields: &fields });
    }
}

/// Formats the addresses for a line.
fn shown(addresses: &Addresses) -> String {
    addresses.list().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The judged result of a look-up.
#[derive(Debug, Default)]
struct Verdict {
    addresses: Vec<SocketAddr>,
    /// `None`: nothing was found out, so that a refusal like the one before is not logged again.
    refused: Option<Vec<(IpAddr, &'static str)>>,
    failure: Option<String>,
    is_refused: bool,
}

impl Verdict {
    fn failed(why: String) -> Self {
        Self { failure: Some(why), ..Self::default() }
    }
}

impl Name {
    fn new(of: HostPort) -> Self {
        let known = if is_localhost(&of.host) { LOCALHOST.as_slice() } else { &[] };
        let known = known.iter().map(|ip| SocketAddr::new(*ip, of.port));
        Self {
            addresses: Addresses::new(known.collect()),
            of,
            last: ArcSwap::default(),
            is_kept: AtomicBool::new(false),
            settled: watch::Sender::new(false),
            asked: Arc::default(),
        }
    }

    /// Returns the result of the last look-up.
    pub(crate) fn last(&self) -> Arc<Outcome> {
        self.last.load_full()
    }

    /// Waits until it was looked up once, with or without success.
    pub(crate) async fn settled(&self) {
        // The sender lives as long as the name.
        let _ = self.settled.subscribe().wait_for(|is| *is).await;
    }

    /// Removes the addresses that must not be targets.
    fn forget_forbidden(&self, own: &[SocketAddr]) {
        self.addresses.retain(|address| forbidden(address, own).is_none());
    }

    fn judge(&self, found: Found, own: &[SocketAddr]) -> Verdict {
        let (mut verdict, mut refused) = (Verdict::default(), Vec::new());
        for ip in found.addresses {
            let address = plain(SocketAddr::new(ip, self.of.port));
            match forbidden(address, own) {
                Some(why) => refused.push((ip, why)),
                None => verdict.addresses.push(address),
            }
        }
        // The known addresses of a kind that could not be looked up are kept.
        if let Some(kind) = found.unknown {
            verdict.addresses.extend(self.addresses.list().iter().filter(|known| kind.has(known.ip())));
        }
        if verdict.addresses.iter().any(|address| has_route(*address)) {
            verdict.addresses.retain(|address| has_route(*address));
        }
        if verdict.addresses.is_empty() {
            let ips = refused.iter().map(|(ip, why)| format!("{ip}, {why}")).collect::<Vec<_>>();
            let text = format!("resolves only to {}; such addresses are refused", ips.join(", and "));
            (verdict.failure, verdict.is_refused) = (Some(text), true);
        }
        // A refusal of a kind that could not be looked up is not logged again later.
        if let Some(kind) = found.unknown {
            refused.extend(self.last().refused.iter().filter(|(ip, _)| kind.has(*ip)));
        }
        verdict.refused = Some(refused);
        verdict
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.of.host, self.of.port)
    }
}

#[cfg(test)]
mod tests;
