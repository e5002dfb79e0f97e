//! One place where keys are published: the keys that were there last, and the results of the attempts to fetch them.
//! These are facts, which all policies that name the place share; each judges them by its own settings.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use aws_lc_rs::rand;
use parking_lot::Mutex;
use portcullis_plugin::{BoxFuture, BuildCx, Counter, JudgeAgain};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::{sync::watch, time::Instant};

use super::{
    fetch::{FetchError, Page},
    settings::Settings,
};
use crate::{KeySet, PublishedKeys, SkipReason, SkippedKey};

/// The most `kid`s that are remembered as unknown.
pub const MAX_UNKNOWN_KIDS: usize = 1024;

/// The most fetches that tokens with unknown keys cause in a row before there is one in a cooldown.
pub const MAX_REFRESHES_AT_ONCE: u32 = 4;

/// The shortest time between two of them.
const REFRESH_SPACING: Duration = Duration::from_secs(1);

/// The pause after the first fetch that fails. After each further one it is twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The most keys of one set whose faults are logged one by one.
const MAX_SKIPPED_LOGGED: usize = 8;

/// The function that fetches: from the network, or in a test.
pub(super) type Fetch = Box<dyn Fn() -> BoxFuture<'static, Result<Page, FetchError>> + Send + Sync>;

/// A place where keys are published.
pub(super) struct Place {
    /// For log and metric; a query, which may hold a secret, is left out.
    pub name: Arc<str>,
    fetch: Fetch,
    pub known: ArcSwapOption<Known>,
    pub schedule: Mutex<Schedule>,
    /// Tells whoever waits until the keys are due that a fetch has ended.
    pub ended: watch::Sender<()>,
    /// When a `kid` was not in the set that was just fetched.
    unknown: Cache<[u8; 32], Instant>,
    pub counters: Counters,
    /// Has open streams judged again when keys were withdrawn.
    judge_again: JudgeAgain,
}

/// Keys, as fetched.
#[derive(Clone)]
pub(super) struct Known {
    pub keys: Arc<KeySet>,
    skipped: Arc<[SkippedKey]>,
    /// Of the text that they were read from.
    digest: [u8; 32],
    pub fetched: Instant,
    /// The time for which their server lets them be kept.
    pub max_age: Option<Duration>,
    /// The issuer has answered since, but with something that is no key set.
    pub is_contradicted: bool,
}

impl Known {
    /// Returns how long after their fetch the keys may be used under these settings.
    pub(super) fn lifetime(&self, settings: &Settings) -> Duration {
        let lifetime = settings.fresh(self.max_age) + settings.max_stale.0;
        if self.is_contradicted { lifetime.min(settings.max_refresh.0) } else { lifetime }
    }
}

/// The state of the fetches.
#[derive(Default)]
pub(super) struct Schedule {
    /// The fetch that is under way, if any: closed once it is done.
    running: Option<watch::Receiver<()>>,
    /// When the last fetch began.
    begun: Option<Instant>,
    /// The fetches that tokens with unknown keys may still cause.
    pub budget: RefreshBudget,
    /// The last fetch failed.
    pub failed: Option<Failed>,
}

impl Schedule {
    /// The fetch that is under way.
    pub(super) fn running(&self) -> Option<watch::Receiver<()>> {
        self.running.clone().filter(|running| running.has_changed().is_ok())
    }

    /// Returns `true` if the last fetch began after this moment: it has decided about a token that came then.
    pub(super) fn has_begun_after(&self, moment: Instant) -> bool {
        self.begun.is_some_and(|begun| begun > moment)
    }
}

/// The fetches for unknown keys: [`MAX_REFRESHES_AT_ONCE`] in a row, at least [`REFRESH_SPACING`] apart, and one more in
/// each cooldown. One stranger's token costs one of them and leaves the others to a key that was just rotated in; those
/// who come between two of them share the next.
#[derive(Default)]
pub(super) struct RefreshBudget {
    /// When all of them may be made again.
    full_at: Option<Instant>,
    last: Option<Instant>,
}

impl RefreshBudget {
    /// Returns when the next fetch may be made, or `None` where none are left for now.
    pub(super) fn next(&self, now: Instant, cooldown: Duration) -> Option<Instant> {
        let used_up = cooldown.saturating_mul(MAX_REFRESHES_AT_ONCE - 1);
        let is_left = self.full_at.is_none_or(|full_at| full_at.saturating_duration_since(now) <= used_up);
        is_left.then(|| self.last.map_or(now, |last| (last + REFRESH_SPACING).max(now)))
    }

    /// Takes one of them.
    pub(super) fn take(&mut self, now: Instant, cooldown: Duration) {
        self.full_at = Some(self.full_at.map_or(now, |full_at| full_at.max(now)) + cooldown);
        self.last = Some(now);
    }
}

/// Fetches that failed, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Failed {
    /// When the last one ended.
    pub at: Instant,
    count: u32,
    /// From three quarters to one: gateways that lost an issuer together do not all ask again together.
    jitter: f64,
}

impl Failed {
    fn after(before: Option<Self>) -> Self {
        let mut random = [0];
        // Without random numbers all of them ask together.
        let _ = rand::fill(&mut random);
        let count = before.map_or(0, |failed| failed.count).saturating_add(1);
        Self { at: Instant::now(), count, jitter: 1.0 - f64::from(random[0]) / 1024.0 }
    }

    /// The moment of the next attempt, after a pause that grows up to `longest`.
    pub(super) fn retry(self, longest: Duration) -> Instant {
        let pause = FIRST_RETRY.saturating_mul(1_u32.checked_shl(self.count - 1).unwrap_or(u32::MAX));
        self.at + pause.min(longest).mul_f64(self.jitter)
    }
}

/// `portcullis_key_set_fetches_total` and `portcullis_key_set_skipped_keys_total`.
#[derive(Clone, Default)]
pub(super) struct Counters {
    pub fetched: Counter,
    pub unreachable: Counter,
    pub invalid: Counter,
    pub skipped: [Counter; SkipReason::ALL.len()],
}

impl Counters {
    pub(super) fn new(cx: &mut BuildCx<'_>, source: &str) -> Self {
        let mut fetches = |result: &str| {
            let labels = [("source", source), ("result", result)];
            cx.counter("portcullis_key_set_fetches_total", "Fetches of key sets, by how they ended.", &labels)
        };
        let [fetched, unreachable, invalid] = ["ok", "unreachable", "invalid"].map(&mut fetches);
        let skipped = SkipReason::ALL.map(|reason| {
            let labels = [("source", source), ("reason", reason.as_str())];
            let help = "Keys that something was wrong with, in each key set that was fetched.";
            cx.counter("portcullis_key_set_skipped_keys_total", help, &labels)
        });
        Self { fetched, unreachable, invalid, skipped }
    }
}

impl Place {
    pub(super) fn new(name: String, counters: Counters, judge_again: JudgeAgain, fetch: Fetch) -> Self {
        Self {
            name: name.into(),
            fetch,
            known: ArcSwapOption::empty(),
            schedule: Mutex::default(),
            ended: watch::Sender::new(()),
            unknown: Cache::new(MAX_UNKNOWN_KIDS),
            counters,
            judge_again,
        }
    }

    /// Returns `true` if the last fetch succeeded, so that a key which it did not bring is not published.
    pub(super) fn is_up_to_date(&self) -> bool {
        self.schedule.lock().failed.is_none() && self.known.load().is_some()
    }

    /// Starts a fetch, or joins the one that is under way. It is a task of its own: whoever asked for it may go away.
    pub(super) fn start(self: &Arc<Self>, schedule: &mut Schedule, timeout: Duration) -> watch::Receiver<()> {
        if let Some(running) = schedule.running() {
            return running;
        }
        let (done, running) = watch::channel(());
        schedule.running = Some(running.clone());
        schedule.begun = Some(Instant::now());
        let under_way = UnderWay { place: self.clone(), is_done: false, _done: done };
        tokio::spawn(under_way.carry_out(timeout));
        running
    }

    /// When this `kid` was found to be unknown.
    pub(super) fn unknown_since(&self, kid: &str) -> Option<Instant> {
        self.unknown.get(&digest(kid.as_bytes()))
    }

    /// Remembers a `kid` that the newest keys do not have.
    pub(super) fn remember_unknown(&self, kid: &str) {
        if self.is_up_to_date() && self.known.load().as_ref().is_some_and(|known| !known.keys.knows(kid)) {
            self.unknown.insert(digest(kid.as_bytes()), Instant::now());
        }
    }

    #[cfg(test)]
    pub(super) fn unknown_len(&self) -> usize {
        self.unknown.len()
    }

    fn succeed(&self, page: &Page) -> Result<(), FetchError> {
        let digest = digest(&page.jwks);
        let (keys, skipped) = match self.known.load_full().filter(|known| known.digest == digest) {
            // The same keys stay the same set, so that nothing that was verified has to be looked at again.
            Some(known) => (known.keys.clone(), known.skipped.clone()),
            None => {
                let read = PublishedKeys::from_jwks(&page.jwks).map_err(|why| FetchError::Invalid(why.to_string()))?;
                self.tell(&read);
                (Arc::new(read.keys), read.skipped.into())
            }
        };
        self.count(&skipped);
        let known =
            Known { keys, skipped, digest, fetched: Instant::now(), max_age: page.max_age, is_contradicted: false };
        let before = self.known.swap(Some(Arc::new(known)));
        if before.is_some_and(|before| before.digest != digest) {
            // A key may have been withdrawn on which an open stream rests.
            self.judge_again.call();
        }
        self.schedule.lock().failed = None;
        self.counters.fetched.increment();
        Ok(())
    }

    fn count(&self, skipped: &[SkippedKey]) {
        for (reason, counter) in SkipReason::ALL.iter().zip(&self.counters.skipped) {
            let keys = skipped.iter().filter(|key| key.why.skip_reason() == *reason);
            keys.for_each(|_| counter.increment());
        }
    }

    /// Logs the problems of a set that was not there before; alarms come first.
    fn tell(&self, read: &PublishedKeys) {
        let name = &self.name;
        if read.keys.keys().is_empty() {
            log::warn!("the key set of {name} has no key that can verify a signature");
        }
        let (alarms, others): (Vec<_>, Vec<_>) =
            read.skipped.iter().partition(|key| key.why.skip_reason() == SkipReason::Private);
        let lines = alarms.iter().chain(&others).take(MAX_SKIPPED_LOGGED);
        lines.for_each(|key| match key.why.skip_reason() {
            SkipReason::Private => log::error!("a key in the key set of {name} is not used: {key}"),
            _ => log::warn!("a key in the key set of {name} is not used: {key}"),
        });
        let more = read.skipped.len().saturating_sub(MAX_SKIPPED_LOGGED);
        if more > 0 {
            log::warn!("{more} more keys in the key set of {name} are not used");
        }
    }

    fn fail(&self, error: &FetchError) {
        log::warn!("the keys of {} could not be fetched: {error}", self.name);
        match error {
            FetchError::Unreachable(_) => self.counters.unreachable.increment(),
            FetchError::Status(_) | FetchError::Invalid(_) => self.counters.invalid.increment(),
        }
        if let (FetchError::Invalid(_), Some(known)) = (error, self.known.load_full()) {
            self.known.store(Some(Arc::new(Known { is_contradicted: true, ..(*known).clone() })));
        }
        self.failed();
    }

    fn failed(&self) {
        let mut schedule = self.schedule.lock();
        schedule.failed = Some(Failed::after(schedule.failed));
    }
}

/// A fetch that was started. When it is dropped, whoever waits goes on.
struct UnderWay {
    place: Arc<Place>,
    is_done: bool,
    _done: watch::Sender<()>,
}

impl UnderWay {
    async fn carry_out(mut self, timeout: Duration) {
        let place = self.place.clone();
        let fetched = tokio::time::timeout(timeout, (place.fetch)()).await;
        let fetched = fetched.unwrap_or_else(|_| Err(FetchError::Unreachable("it took too long".to_owned())));
        if let Err(error) = fetched.and_then(|page| place.succeed(&page)) {
            place.fail(&error);
        }
        self.is_done = true;
    }
}

impl Drop for UnderWay {
    /// One that was cut off, with the runtime it was on or by a panic, has failed: it is made again, and not at once for
    /// ever.
    fn drop(&mut self) {
        if !self.is_done {
            self.place.failed();
        }
        self.place.ended.send_replace(());
    }
}

/// Waits until the fetch is done: nothing is ever sent.
pub(super) async fn finished(mut running: watch::Receiver<()>) {
    while running.changed().await.is_ok() {}
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
