//! Key sets that an issuer publishes: fetched before they are needed, kept over reloads, shared by all policies that name
//! the same place.
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
//! # When it is fetched
//! - Before a configuration is published, for as long as that may take; then in the background whenever the keys are
//!   due, by `Cache-Control` within bounds. A fetch that fails is tried again after a second, and then after pauses that
//!   double up to the cooldown.
//! - At once for a token whose key is not known, because the issuer may just have made it: [`MAX_REFRESHES_AT_ONCE`] in a
//!   row, a second apart, and then one in a cooldown, whoever asks, and however many different `kid`s they name. Those who
//!   wait for a fetch that is under way, or for the second to pass, wait for the same one, and no longer than
//!   [`Settings::max_wait`]. So a stranger's token with a random `kid` does not keep out a key that is rotated in just
//!   afterwards, and strangers who go on and on cause no more fetches than the cooldown lets them. A fetch in the
//!   background uses up none of these, so that keys which change right after it still lose no request.
//! - A `kid` that a fetch did not bring is remembered for two cooldowns, in a bounded list, and makes no fetch again:
//!   one client with an old token does not take the fetch away from all others.
//!
//! # How long keys serve
//! - A key that the issuer takes out of its set serves for [`Settings::max_refresh`] at the longest, whatever else is
//!   wrong with the set: a key that cannot be used is skipped, and all others count. Where the issuer answers with
//!   something that is no key set at all, the keys known before serve no longer than that either.
//! - While the issuer does not answer, or with an error, they serve for [`Settings::max_stale`] after they were due.
//! - Then there are none, and requests are answered with 503. So is a token whose key is not known while the newest set
//!   could not be fetched: whether it is good cannot be decided.
//!
//! A set that is another one than before has open streams judged again at once: a key may be gone on which one rests.
//!
//! Keys belong to their place. Policies with different settings for one place share its keys and its fetches, and each
//! judges by its own settings how old the keys may be: a reload that changes settings keeps the keys.
//!
//! # Operating it
//! A policy that hands its sources to [`register`] has a command `refresh`, for an issuer that has changed its keys out of
//! turn, and shows in `/status` which keys it has and when it fetches them next.
//!
//! The request path takes no lock: the keys are swapped whole.

mod control;
mod fetch;
mod place;
mod settings;

use std::sync::Arc;

use portcullis_http::{Client, HttpSettings};
use portcullis_plugin::{BuildCx, BuildError};
use tokio::{sync::watch, time::Instant};

use crate::KeySet;
pub use control::register;
pub use fetch::MAX_BODY_BYTES;
use fetch::Target;
use place::{Counters, Fetch, Place, Schedule, finished};
pub use place::{MAX_REFRESHES_AT_ONCE, MAX_UNKNOWN_KIDS};
pub use settings::{Location, Settings};

/// There are no keys to decide by: the request is answered with 503.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysUnavailable {
    /// No fetch has succeeded yet.
    #[error("the keys of {0} could not be fetched yet")]
    NeverFetched(Arc<str>),
    /// The last keys are older than the settings allow.
    #[error("the keys of {0} are too old, and no newer ones could be fetched")]
    Stale(Arc<str>),
    /// The token's key is not among those known, and the newest ones could not be fetched.
    #[error("the token's key is not among those known of {0}, and newer ones could not be fetched")]
    Unconfirmed(Arc<str>),
}

/// The keys of one place, as one policy sees them.
pub struct KeySource {
    place: Arc<Place>,
    settings: Settings,
}

impl KeySource {
    /// The source for this place; keeps it fresh from publishing on, for as long as the policy lives. Its keys are shared
    /// with every policy that names the place, now or before a reload.
    ///
    /// # Errors
    /// The problems of the place, at the field `url` or `issuer`, and of the settings, each at its own field.
    pub fn shared(cx: &mut BuildCx<'_>, location: Location, settings: Settings) -> Result<Arc<Self>, BuildError> {
        let allow_http = settings.allow_http;
        let mut problems = settings.problems();
        let (field, named) = (location.field(), format!("{location:?}"));
        let target = Target::new(location, allow_http).map_err(|why| problems.push((field, why)));
        let (Ok(target), true) = (target, problems.is_empty()) else {
            let problems = problems.into_iter().map(|(field, why)| (field.to_owned(), why)).collect();
            return Err(BuildError { problems });
        };
        let client = Client::shared(cx, target.origin(), &HttpSettings::default(), fetch::LIMITS)?;
        // An issuer may say where its keys are: what came from there by http counts only where that is allowed.
        let key = format!("{named} allow_http={allow_http} client={}", client.settings_digest());
        let counters = Counters::new(cx, &target.name());
        let again = cx.judge_again();
        let place = cx.shared(&key, || {
            Place::new(target.name(), counters.clone(), again.clone(), network(&client, &target, allow_http))
        });
        let source = Arc::new(Self { place, settings });
        cx.before_publish(source.clone().first());
        cx.background(source.clone().keep_fresh());
        Ok(source)
    }

    /// The keys known now.
    ///
    /// # Errors
    /// There are none, or they are too old.
    pub fn current(&self) -> Result<Arc<KeySet>, KeysUnavailable> {
        match &*self.place.known.load() {
            Some(known) if known.fetched.elapsed() < known.lifetime(&self.settings) => Ok(known.keys.clone()),
            Some(_) => Err(KeysUnavailable::Stale(self.place.name.clone())),
            None => Err(KeysUnavailable::NeverFetched(self.place.name.clone())),
        }
    }

    /// The keys for a token whose key is not among the current ones (`kid` is the token's), after a fetch where one may
    /// be made. It must run on a runtime; whoever stops waiting does not stop the fetch.
    ///
    /// # Errors
    /// There are no keys, or they are too old; or the token's key is not among them, and it is not known whether they are
    /// the newest.
    pub async fn refreshed_for(self: &Arc<Self>, kid: Option<&str>) -> Result<Arc<KeySet>, KeysUnavailable> {
        let knows = |keys: &KeySet| kid.is_some_and(|kid| keys.knows(kid));
        let came = Instant::now();
        let waiting = async {
            if let Some(running) = self.running() {
                finished(running).await;
            }
            // A fetch that was under way may have begun before the key was published.
            while !self.current().is_ok_and(|keys| knows(&keys)) {
                match self.asked(kid, came) {
                    Asked::Running(running) => {
                        finished(running).await;
                        return kid.iter().for_each(|kid| self.place.remember_unknown(kid));
                    }
                    Asked::From(moment) => tokio::time::sleep_until(moment).await,
                    Asked::Decided => return kid.iter().for_each(|kid| self.place.remember_unknown(kid)),
                    Asked::Nothing => return,
                }
            }
        };
        let is_in_time = tokio::time::timeout(self.settings.max_wait.0, waiting).await.is_ok();
        let keys = self.current()?;
        if knows(&keys) || is_in_time && self.place.is_up_to_date() {
            Ok(keys)
        } else {
            Err(KeysUnavailable::Unconfirmed(self.place.name.clone()))
        }
    }

    /// The fetch before publishing. Where keys are known from before, there is nothing to wait for.
    async fn first(self: Arc<Self>) {
        if self.current().is_err() {
            let running = self.start(&mut self.place.schedule.lock());
            finished(running).await;
        }
    }

    /// Fetches whenever the keys are due.
    async fn keep_fresh(self: Arc<Self>) {
        let mut ended = self.place.ended.subscribe();
        loop {
            ended.mark_unchanged();
            let due = self.due(&self.place.schedule.lock());
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                // One that a request or another policy caused: by now the keys are due at another time.
                _ = ended.changed() => continue,
            }
            // Meanwhile another policy that shares the place, or a request, may have seen to it.
            let running = {
                let mut schedule = self.place.schedule.lock();
                (self.due(&schedule) <= Instant::now()).then(|| self.start(&mut schedule))
            };
            if let Some(running) = running {
                finished(running).await;
            }
        }
    }

    /// When the keys are due, or the next attempt to get any.
    fn due(&self, schedule: &Schedule) -> Instant {
        match (schedule.failed, &*self.place.known.load()) {
            (Some(failed), _) => failed.retry(self.settings.cooldown.0),
            (None, Some(known)) => known.fetched + self.settings.fresh(known.max_age),
            (None, None) => Instant::now(),
        }
    }

    /// The fetch that is under way.
    fn running(&self) -> Option<watch::Receiver<()>> {
        self.place.schedule.lock().running()
    }

    /// Asks for a fetch for a token that came at this moment and whose key is not known.
    fn asked(&self, kid: Option<&str>, came: Instant) -> Asked {
        let (now, cooldown) = (Instant::now(), self.settings.cooldown.0);
        let unknown_since = kid.and_then(|kid| self.place.unknown_since(kid));
        let mut schedule = self.place.schedule.lock();
        if let Some(running) = schedule.running() {
            return Asked::Running(running);
        }
        if schedule.has_begun_after(came) {
            return Asked::Decided;
        }
        let is_over = |since: Option<Instant>, pause| since.is_none_or(|since| since + pause <= now);
        let may_ask =
            is_over(unknown_since, 2 * cooldown) && is_over(schedule.failed.map(|failed| failed.at), cooldown);
        match schedule.budget.next(now, cooldown).filter(|_| may_ask) {
            None => Asked::Nothing,
            Some(moment) if moment > now => Asked::From(moment),
            Some(_) => {
                schedule.budget.take(now, cooldown);
                Asked::Running(self.start(&mut schedule))
            }
        }
    }

    fn start(&self, schedule: &mut Schedule) -> watch::Receiver<()> {
        self.place.start(schedule, self.settings.timeout.0)
    }
}

/// The result of asking for a fetch.
enum Asked {
    /// The fetch that is under way, or that has just begun.
    Running(watch::Receiver<()>),
    /// From this moment on there may be one.
    From(Instant),
    /// One that began after the token came has ended.
    Decided,
    /// There may be none.
    Nothing,
}

fn network(client: &Client, target: &Target, allow_http: bool) -> Fetch {
    let (client, target) = (client.clone(), Arc::new(target.clone()));
    Box::new(move || {
        let (client, target) = (client.clone(), target.clone());
        Box::pin(async move { fetch::page(&client, &target, allow_http).await })
    })
}

#[cfg(test)]
mod tests;
