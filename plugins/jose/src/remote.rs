//! Key sets that an issuer publishes: fetched before they are needed, kept over reloads, shared by all policies that name
//! the same place with the same settings.
//!
//! ```
//! use portcullis_jose::{remote::{KeySource, Location, Settings}, Algorithm, Token, Unverified};
//! use portcullis_plugin::{BuildCx, BuildError, PluginError};
//! # use std::sync::Arc;
//!
//! fn build(cx: &mut BuildCx<'_>) -> Result<Arc<KeySource>, BuildError> {
//!     KeySource::shared(cx, Location::Issuer("https://auth.example.com".to_owned()), Settings::default())
//! }
//!
//! async fn verify(source: &Arc<KeySource>, token: &Token<'_>) -> Result<Result<(), Unverified>, PluginError> {
//!     let unavailable = |error: portcullis_jose::remote::KeysUnavailable| PluginError::new(error.to_string());
//!     let allowed = [Algorithm::Rs256];
//!     let keys = source.current().map_err(unavailable)?;
//!     match keys.verify(token, &allowed) {
//!         Err(why) if why.may_be_newer(token) => {
//!             let keys = source.refreshed_for(token.kid()).await.map_err(unavailable)?;
//!             Ok(keys.verify(token, &allowed).map(|_| ()))
//!         }
//!         verdict => Ok(verdict.map(|_| ())),
//!     }
//! }
//! ```
//!
//! # When it is fetched (pitfalls 9 and 24)
//! - Before a configuration is published, for as long as that may take; then in the background whenever the keys are
//!   due, by `Cache-Control` within bounds. A fetch that fails is tried again after the cooldown, and the keys known
//!   before go on serving for [`Settings::max_stale`] after they were due. Then there are none, and requests are answered
//!   with 503.
//! - At once for a token whose key is not known, because the issuer may just have made it: at most once in a cooldown,
//!   whoever asks, and however many different `kid`s they name. Those who wait for a fetch that is under way wait for the
//!   same one, and no longer than [`Settings::max_wait`]. A fetch in the background does not use up this one, so that keys
//!   which change right after it still lose no request.
//! - A `kid` that a fetch did not bring is remembered for two cooldowns, in a bounded list, and makes no fetch again:
//!   one client with an old token does not take the fetch away from all others.
//!
//! The request path takes no lock: the keys are swapped whole.

mod fetch;
mod settings;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use portcullis_plugin::{BoxFuture, BuildCx, BuildError, Counter};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::{sync::watch, time::Instant};

use crate::KeySet;
pub use fetch::MAX_BODY_BYTES;
use fetch::{FetchError, Page, Target};
pub use settings::{Location, Settings};

/// The most `kid`s that are remembered as unknown.
pub const MAX_UNKNOWN_KIDS: usize = 1024;

/// After a fetch that was cut off together with what it ran on, the next one waits so long.
const PAUSE_AFTER_CUT: Duration = Duration::from_secs(1);

/// There are no keys to verify with: the request is answered with 503.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysUnavailable {
    /// No fetch has succeeded yet.
    #[error("the keys of {0} could not be fetched yet")]
    NeverFetched(Arc<str>),
    /// The last keys are older than [`Settings::max_stale`] allows.
    #[error("the keys of {0} are too old, and no newer ones could be fetched")]
    Stale(Arc<str>),
}

/// What fetches: the network, or a test.
type Fetch = Box<dyn Fn() -> BoxFuture<'static, Result<Page, FetchError>> + Send + Sync>;

/// One place where keys are published, and the keys that were there last.
pub struct KeySource {
    /// For log and metric; a query, which may hold a secret, is left out.
    name: Arc<str>,
    settings: Settings,
    fetch: Fetch,
    known: ArcSwapOption<Known>,
    schedule: Mutex<Schedule>,
    unknown: Cache<[u8; 32], Instant>,
    counters: Counters,
}

/// Keys, as fetched.
struct Known {
    keys: Arc<KeySet>,
    /// Of the text that they were read from.
    digest: [u8; 32],
    /// They serve until then.
    until: Instant,
}

/// When to fetch.
struct Schedule {
    /// The fetch that is under way, if any: closed once it is done.
    running: Option<watch::Receiver<()>>,
    /// When the keys are due, or the next attempt to get any.
    refresh: Instant,
    /// From when on a token with an unknown key may cause a fetch.
    ask: Instant,
}

/// `portcullis_key_set_fetches_total`.
#[derive(Clone, Default)]
struct Counters {
    fetched: Counter,
    unreachable: Counter,
    invalid: Counter,
}

impl Counters {
    fn new(cx: &mut BuildCx<'_>, source: &str) -> Self {
        let mut counter = |result: &str| {
            let labels = [("source", source), ("result", result)];
            cx.counter("portcullis_key_set_fetches_total", "Fetches of key sets, by how they ended.", &labels)
        };
        Self { fetched: counter("ok"), unreachable: counter("unreachable"), invalid: counter("invalid") }
    }
}

impl KeySource {
    /// The source for this place, shared with every policy that names it with the same settings; keeps it fresh from
    /// publishing on, for as long as the policy lives.
    ///
    /// # Errors
    /// What is wrong with the place, about the field `url` or `issuer`, and with the settings, each about its own.
    pub fn shared(cx: &mut BuildCx<'_>, location: Location, settings: Settings) -> Result<Arc<Self>, BuildError> {
        let key = format!("{location:?} {settings:?}");
        let mut problems = settings.problems();
        let field = location.field();
        let target = Target::new(location, settings.allow_http).map_err(|why| problems.push((field, why)));
        let (Ok(target), true) = (target, problems.is_empty()) else {
            let problems = problems.into_iter().map(|(field, why)| (field.to_owned(), why)).collect();
            return Err(BuildError { problems });
        };
        let counters = Counters::new(cx, &target.name());
        let source = cx.shared(&key, || {
            Self::new(target.name(), settings, counters.clone(), network(&target, settings.allow_http))
        });
        cx.before_publish(source.clone().first());
        cx.background(source.clone().keep_fresh());
        Ok(source)
    }

    fn new(name: String, settings: Settings, counters: Counters, fetch: Fetch) -> Self {
        let now = Instant::now();
        Self {
            name: name.into(),
            settings,
            fetch,
            known: ArcSwapOption::empty(),
            schedule: Mutex::new(Schedule { running: None, refresh: now, ask: now }),
            unknown: Cache::new(MAX_UNKNOWN_KIDS),
            counters,
        }
    }

    /// The keys known now.
    ///
    /// # Errors
    /// There are none, or they are too old.
    pub fn current(&self) -> Result<Arc<KeySet>, KeysUnavailable> {
        match &*self.known.load() {
            Some(known) if Instant::now() < known.until => Ok(known.keys.clone()),
            Some(_) => Err(KeysUnavailable::Stale(self.name.clone())),
            None => Err(KeysUnavailable::NeverFetched(self.name.clone())),
        }
    }

    /// The keys for a token whose key is not among the current ones (`kid` is the token's), after a fetch where one may
    /// be made. It must run on a runtime; whoever stops waiting does not stop the fetch.
    ///
    /// # Errors
    /// There are no keys, or they are too old.
    pub async fn refreshed_for(self: &Arc<Self>, kid: Option<&str>) -> Result<Arc<KeySet>, KeysUnavailable> {
        let knows = |keys: &KeySet| kid.is_some_and(|kid| keys.knows(kid));
        let waiting = async {
            if let Some(running) = self.running() {
                finished(running).await;
            }
            // What was under way may have begun before the key was published.
            if !self.current().is_ok_and(|keys| knows(&keys))
                && let Some(running) = self.asked(kid)
            {
                finished(running).await;
                self.remember(kid);
            }
        };
        // Out of time: what is known now is as good as it gets.
        let _ = tokio::time::timeout(self.settings.max_wait.0, waiting).await;
        self.current()
    }

    /// The fetch before publishing. Where keys are known from before, there is nothing to wait for.
    async fn first(self: Arc<Self>) {
        if self.current().is_err() {
            let running = self.start(&mut self.schedule.lock());
            finished(running).await;
        }
    }

    /// Fetches whenever the keys are due.
    async fn keep_fresh(self: Arc<Self>) {
        loop {
            let due = self.schedule.lock().refresh;
            tokio::time::sleep_until(due).await;
            // Meanwhile another policy that shares the source, or a request, may have seen to it.
            let running = {
                let mut schedule = self.schedule.lock();
                (schedule.refresh <= Instant::now()).then(|| self.start(&mut schedule))
            };
            if let Some(running) = running {
                finished(running).await;
            }
        }
    }

    /// The fetch that is under way.
    fn running(&self) -> Option<watch::Receiver<()>> {
        self.schedule.lock().running.clone().filter(is_open)
    }

    /// The fetch for a token whose key is not known: the one that is under way, a new one if there may be one, or none.
    fn asked(self: &Arc<Self>, kid: Option<&str>) -> Option<watch::Receiver<()>> {
        let now = Instant::now();
        let is_known_unknown =
            kid.and_then(|kid| self.unknown.get(&digest(kid.as_bytes()))).is_some_and(|until| now < until);
        let mut schedule = self.schedule.lock();
        if let Some(running) = schedule.running.clone().filter(is_open) {
            return Some(running);
        }
        if is_known_unknown || now < schedule.ask {
            return None;
        }
        schedule.ask = now + self.settings.cooldown.0;
        Some(self.start(&mut schedule))
    }

    /// Remembers a `kid` that the newest keys do not have.
    fn remember(&self, kid: Option<&str>) {
        let Some(kid) = kid else { return };
        let is_fresh = self.known.load().as_ref().is_some_and(|known| !known.keys.knows(kid)) && self.is_fresh();
        if is_fresh {
            self.unknown.insert(digest(kid.as_bytes()), Instant::now() + 2 * self.settings.cooldown.0);
        }
    }

    /// Whether the last fetch succeeded, so that what it did not bring is not there.
    fn is_fresh(&self) -> bool {
        let due = self.schedule.lock().refresh;
        self.known.load().as_ref().is_some_and(|known| due + self.settings.max_stale.0 == known.until)
    }

    /// Starts a fetch, or joins the one that is under way. It is a task of its own: whoever asked for it may go away.
    fn start(self: &Arc<Self>, schedule: &mut Schedule) -> watch::Receiver<()> {
        if let Some(running) = schedule.running.clone().filter(is_open) {
            return running;
        }
        let (done, running) = watch::channel(());
        schedule.running = Some(running.clone());
        let under_way = UnderWay { source: self.clone(), is_done: false, _done: done };
        tokio::spawn(under_way.carry_out());
        running
    }

    fn succeed(&self, page: &Page) -> Result<(), FetchError> {
        let digest = digest(&page.jwks);
        let before = self.known.load_full().filter(|known| known.digest == digest);
        let keys = match before {
            // The same keys stay the same set, so that nothing that was verified has to be looked at again.
            Some(known) => known.keys.clone(),
            None => {
                Arc::new(KeySet::from_published_jwks(&page.jwks).map_err(|why| FetchError::Invalid(why.to_string()))?)
            }
        };
        if keys.keys().is_empty() {
            log::warn!("the key set of {} has no key that can verify a signature", self.name);
        }
        let fresh = self.settings.fresh(page.max_age);
        let due = Instant::now() + fresh;
        self.known.store(Some(Arc::new(Known { keys, digest, until: due + self.settings.max_stale.0 })));
        self.schedule.lock().refresh = due;
        self.counters.fetched.increment();
        Ok(())
    }

    fn fail(&self, error: &FetchError) {
        log::warn!("the keys of {} could not be fetched: {error}", self.name);
        match error {
            FetchError::Unreachable(_) => self.counters.unreachable.increment(),
            FetchError::Invalid(_) => self.counters.invalid.increment(),
        }
        let later = Instant::now() + self.settings.cooldown.0;
        let mut schedule = self.schedule.lock();
        schedule.refresh = later;
        schedule.ask = schedule.ask.max(later);
    }
}

/// A fetch that was started. When it is dropped, whoever waits goes on.
struct UnderWay {
    source: Arc<KeySource>,
    is_done: bool,
    _done: watch::Sender<()>,
}

impl UnderWay {
    async fn carry_out(mut self) {
        let source = self.source.clone();
        let fetched = tokio::time::timeout(source.settings.timeout.0, (source.fetch)()).await;
        let fetched = fetched.unwrap_or_else(|_| Err(FetchError::Unreachable("it took too long".to_owned())));
        if let Err(error) = fetched.and_then(|page| source.succeed(&page)) {
            source.fail(&error);
        }
        self.is_done = true;
    }
}

impl Drop for UnderWay {
    /// Cut off, with the runtime it was on or by a panic: soon again, and not at once for ever.
    fn drop(&mut self) {
        if !self.is_done {
            self.source.schedule.lock().refresh = Instant::now() + PAUSE_AFTER_CUT;
        }
    }
}

fn network(target: &Target, allow_http: bool) -> Fetch {
    let target = Arc::new(target.clone());
    Box::new(move || {
        let target = target.clone();
        Box::pin(async move { fetch::page(&target, allow_http).await })
    })
}

/// Whether the fetch is still under way.
fn is_open(running: &watch::Receiver<()>) -> bool {
    running.has_changed().is_ok()
}

/// Waits until the fetch is done: nothing is ever sent.
async fn finished(mut running: watch::Receiver<()>) {
    while running.changed().await.is_ok() {}
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests;
