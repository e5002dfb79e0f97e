//! Names of targets: looked up in the background, as often as they may change, beside all configurations.
//!
//! A name is known by host and port. It is looked up from when a configuration with it is about to serve until no
//! configuration has it any more, and what is known of it outlives a reload. Nobody waits for a name but the first
//! requests to it. One that cannot be looked up keeps the addresses that it had. Where requests must not go they are not
//! kept either, whether an answer said them or they are known without asking.

pub mod allowed;
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

/// A name is looked up again no sooner, however short its addresses live.
const MIN_AGE: Duration = Duration::from_secs(1);
/// Nor any later, however long they live.
const MAX_AGE: Duration = Duration::from_secs(60);
/// The longest pause after look-ups that failed. The first one is [`MIN_AGE`], and each is twice the one before.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Look-ups at once.
const MAX_LOOKUPS: usize = 64;

/// All names that a configuration has or had.
pub struct Names {
    known: Mutex<HashMap<HostPort, Weak<Name>>>,
    around: OnceLock<Around>,
    turns: Semaphore,
    output: Output,
}

/// What a process has from its start on.
struct Around {
    lookups: Lookups,
    /// Where the gateway listens.
    own: Vec<SocketAddr>,
}

/// One name.
pub struct Name {
    of: HostPort,
    /// What is known.
    pub addresses: Addresses,
    last: ArcSwap<Outcome>,
    is_kept: AtomicBool,
    /// Whether it was looked up, with or without success.
    settled: watch::Sender<bool>,
    /// Somebody wants it to be looked up now.
    asked: Arc<Notify>,
}

/// How the last look-up ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// When one succeeded.
    pub resolved: Option<UnixTime>,
    /// Why the last one did not.
    pub failure: Option<String>,
    /// Whether that is because all addresses that it found must not be targets.
    pub is_refused: bool,
    /// Addresses that must not be targets.
    refused: Vec<(IpAddr, &'static str)>,
}

impl Names {
    /// None yet.
    pub fn new(output: Output) -> Self {
        Self { known: Mutex::default(), around: OnceLock::new(), turns: Semaphore::new(MAX_LOOKUPS), output }
    }

    /// The name, known or new. Nothing is looked up.
    pub fn of(&self, of: &HostPort) -> Arc<Name> {
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
    pub fn forget_unused(&self) {
        self.known.lock().retain(|_, name| name.strong_count() > 0);
    }

    /// Says what holds for all look-ups, once: which servers are asked (none: the system's), and where the gateway
    /// listens.
    pub fn begin(&self, servers: &[SocketAddr], own: Vec<SocketAddr>) {
        let around = self.around.get_or_init(|| Around { lookups: Lookups::new(servers), own });
        let known = self.known.lock();
        known.values().filter_map(Weak::upgrade).for_each(|name| name.forget_forbidden(&around.own));
    }

    /// Says why nobody may be led to an address, whoever names it.
    pub fn judge(&self, address: SocketAddr) -> Result<(), &'static str> {
        let own = self.around.get().map_or(&[][..], |around| &around.own);
        forbidden(address, own).map_or(Ok(()), Err)
    }

    /// Looks these up from now on, for as long as anybody has them. Those that failed last are looked up at once.
    pub fn keep(self: &Arc<Self>, names: impl Iterator<Item = Arc<Name>>, runtime: &Handle) {
        for name in names {
            if !name.is_kept.swap(true, Relaxed) {
                let (names, of) = (self.clone(), Arc::downgrade(&name));
                runtime.spawn(async move {
                    // A panic is a bug; the name is looked up again all the same.
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
            // Nobody else may have the name by then: it is not held while its time goes by.
            drop(strong);
            tokio::select! { () = sleep(pause) => {} () = asked.notified() => {} }
        }
    }

    /// Looks a name up once. Returns how long that holds.
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

    /// Takes what a look-up came to, and says so where it is news.
    fn take(&self, name: &Name, verdict: Verdict) {
        let before = name.last.load_full();
        let is_first = before.resolved.is_none() && before.failure.is_none();
        let is_news = is_first || verdict.failure.is_some() != before.failure.is_some();
        if verdict.is_refused && before.resolved.is_none() {
            // What is known of `localhost` without asking was never found: the answer says otherwise.
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

/// The addresses in a line.
fn shown(addresses: &Addresses) -> String {
    addresses.list().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What came of a look-up.
#[derive(Debug, Default)]
struct Verdict {
    addresses: Vec<SocketAddr>,
    /// `None`: nothing was found out, so that what was refused before is no news when it comes again.
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

    /// How the last look-up ended.
    pub fn last(&self) -> Arc<Outcome> {
        self.last.load_full()
    }

    /// Waits until it was looked up once, with or without success.
    pub async fn settled(&self) {
        // The sender lives as long as the name.
        let _ = self.settled.subscribe().wait_for(|is| *is).await;
    }

    /// Forgets the addresses that must not be targets.
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
        // Of a kind that could not be found out, what was known is kept.
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
        // Of a kind that could not be found out, what was refused before is no news when it comes again.
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
