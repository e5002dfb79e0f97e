//! The limit on failed attempts to prove an identity, the same for every plugin that has one.
//!
//! Failures are counted twice (pitfall 34):
//! - by **address and claimed principal together**: after `per_principal` failures the pair waits, first a 64th of the
//!   `window`, then twice as long after every further failure, up to the whole window. A success resets the pair. Who
//!   fails at another address makes nobody wait, so that no user can be locked out from afar.
//! - by **address alone** (IPv6 by its /64), *distinct* failures: the same wrong password again is a client with an old
//!   configuration and not a guess. After `per_address` of them the address waits for a window, except for principals
//!   that have succeeded from there within [`Attempts::PROVEN_KEEP`]: behind one address there may be a whole office.
//!   While the address waits, their success does not reset their pair; else somebody in that office could guess on and
//!   on, and the victim's own requests would wipe the count.
//!
//! A plugin asks [`Attempts::check`] before it judges what a request brings, even where it knows the answer already: were
//! a right password let through while wrong ones are told to wait, waiting would hinder nobody who guesses. What is
//! expensive to judge, or is judged while something is waited for, takes a place with [`Attempts::begin`]: attempts that
//! are under way count as failed for whoever comes meanwhile, and so a burst gets no more than its share (pitfall 47).
//! Places are kept in this process; gateways that share a store hold so many places each.
//!
//! A signature that is waited for because the body under it is still coming is not guessed at: see
//! [`Attempts::for_bodies`].
//!
//! # Where it is kept
//! In the [`Store`], under keys that are keyed digests: the store learns neither names nor addresses. The key of the
//! digests is made once for a process, so that gateways that share a store still count each by itself. Memory is bounded
//! by the store, for failures and for what was proven apart (`attempts:` and `attempts-proven:`), so that a flood of
//! failures cannot push out what is known of good clients.
//!
//! # When the store fails
//! Limits are the named exception to failing closed: unless a policy says `on_store_failure = "refuse"`, an attempt that
//! could not be counted is judged as if there were no limit, and `portcullis_attempts_store_failures_total` grows. The
//! other way round, whoever fills the store from many addresses would keep everybody out.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

use self::{
    back_off::BackOff,
    in_flight::{InFlight, Place},
    names::{Name, Names, Who},
    noted::Noted,
};
use crate::{Answer, BuildCx, BuildError, Counter, Store, StoreError};

mod back_off;
mod in_flight;
mod limits;
mod names;
mod noted;

pub use limits::{AttemptLimits, AttemptTable, OnStoreFailure};

/// Counts the failed attempts of one policy, and says who has to wait.
pub struct Attempts(Option<Counted>);

/// Whether an attempt may be judged; if not, the time after which it is worth trying again. The error is the store's,
/// and comes only to policies that refuse then.
pub type Checked<T = ()> = Result<Result<T, Duration>, StoreError>;

impl Attempts {
    /// How long it is remembered that a principal succeeded from an address.
    pub const PROVEN_KEEP: Duration = Duration::from_secs(24 * 60 * 60);

    /// What an attempt is told to wait while others of its kind are under way.
    pub const UNDER_WAY_WAIT: Duration = Duration::from_secs(1);

    /// Counts in the store of the gateway, for this policy alone.
    ///
    /// # Errors
    /// What is wrong with the limits, in the field `attempts`.
    pub fn new(limits: AttemptLimits, cx: &mut BuildCx<'_>) -> Result<Self, BuildError> {
        let AttemptLimits::On(limits) = limits else { return Ok(Self(None)) };
        limits.check()?;
        let policy = cx.policy().to_owned();
        Ok(Self(Some(Counted {
            store: cx.store(),
            names: Names::new(cx).map_err(|why| BuildError::new("attempts", why))?,
            in_flight: InFlight::default(),
            noted: Noted::default(),
            store_failures: cx.counter(
                "portcullis_attempts_store_failures_total",
                "Attempts to prove an identity that could not be counted",
                &[("policy", &policy)],
            ),
            limits,
            are_bodies: false,
        })))
    }

    /// For a plugin whose proofs nobody can guess, and whose attempts are under way because a body is waited for: what
    /// places bound is the memory that strangers take, and not how often somebody guesses.
    ///
    /// So whoever has succeeded from their address within [`Attempts::PROVEN_KEEP`], and has not failed `per_principal`
    /// times since, may have any number under way; a partner sends more than five requests at a time. And what has no
    /// place, because it waits for nothing, is not kept waiting by those that have one.
    #[must_use]
    pub fn for_bodies(mut self) -> Self {
        if let Some(counted) = &mut self.0 {
            counted.are_bodies = true;
        }
        self
    }

    /// Whether this attempt may be judged. While no failure is on record for the address this is one look-up, and
    /// allocates nothing where the store answers at once.
    pub fn check<'a>(&'a self, address: IpAddr, principal: &[u8]) -> Answer<'a, Checked> {
        let Some(counted) = &self.0 else { return Answer::Now(Ok(Ok(()))) };
        let block = counted.names.block(address);
        // A store that does not answer at once is asked again below. A future that was not polled has asked nothing.
        let mark = block.mark();
        match counted.store.get(&mark) {
            Answer::Now(Ok(None)) if counted.are_bodies || counted.in_flight.is_empty() => {
                return Answer::Now(Ok(Ok(())));
            }
            Answer::Now(Err(error)) => return Answer::Now(counted.without_store(error).map(Ok)),
            Answer::Now(Ok(_)) | Answer::Later(_) => {}
        }
        let who = counted.names.who(address, principal);
        Answer::later(async move {
            let beside = if counted.are_bodies { Beside::default() } else { counted.in_flight.beside(&who) };
            counted.settle(counted.wait(&who, beside).await)
        })
    }

    /// As [`Attempts::check`], and takes a place among the attempts that are under way.
    pub fn begin<'a>(&'a self, address: IpAddr, principal: &[u8]) -> Answer<'a, Checked<Begun<'a>>> {
        let Some(counted) = &self.0 else { return Answer::Now(Ok(Ok(Begun(None)))) };
        let who = counted.names.who(address, principal);
        // The place is taken before anything is looked up, and given back only after a failure is on record: whoever
        // looks in between sees the attempt in one of the two.
        let place = counted.in_flight.enter(&who);
        Answer::later(async move {
            let wait = counted.wait(&who, place.beside).await;
            let begun = Begun(Some(BegunAttempt { counted, who, _place: place }));
            Ok(counted.settle(wait)?.map(|()| begun))
        })
    }

    /// Counts a failure of an attempt that was checked and not begun. `proof` is what was tried, or a digest of it: only
    /// a keyed digest is kept.
    pub fn failed<'a>(&'a self, address: IpAddr, principal: &[u8], proof: &[u8]) -> Answer<'a, ()> {
        let Some(counted) = &self.0 else { return Answer::Now(()) };
        let who = counted.names.who(address, principal);
        let tried = counted.names.tried(&who, proof);
        Answer::later(async move { counted.count(&who, &tried).await })
    }

    /// Resets what an attempt that was checked and not begun had failed before. Where all was well a short while ago
    /// this asks the store nothing and allocates nothing.
    pub fn succeeded<'a>(&'a self, address: IpAddr, principal: &[u8]) -> Answer<'a, ()> {
        let Some(counted) = &self.0 else { return Answer::Now(()) };
        if counted.noted.has(address, principal) {
            return Answer::Now(());
        }
        let who = counted.names.who(address, principal);
        Answer::later(async move { counted.reset(&who).await })
    }
}

/// An attempt that is under way: it holds a place until it is told how it ended, or dropped. One that is dropped counts
/// neither way; whoever made it got no answer either.
#[must_use = "an attempt ends with `failed` or `succeeded`"]
pub struct Begun<'a>(Option<BegunAttempt<'a>>);

struct BegunAttempt<'a> {
    counted: &'a Counted,
    who: Who,
    _place: Place<'a>,
}

impl Begun<'_> {
    /// Counts a failure, as [`Attempts::failed`].
    pub async fn failed(self, proof: &[u8]) {
        let Some(BegunAttempt { counted, who, _place }) = self.0 else { return };
        counted.count(&who, &counted.names.tried(&who, proof)).await;
    }

    /// Resets what failed before, as [`Attempts::succeeded`].
    pub async fn succeeded(self) {
        let Some(BegunAttempt { counted, who, _place }) = self.0 else { return };
        if !counted.noted.has_slot(who.slot) {
            counted.reset(&who).await;
        }
    }
}

/// What [`Attempts`] is where it is not switched off.
///
/// | key | value | kept for |
/// |---|---|---|
/// | `mark` of the address | nothing: something failed here | two windows after the last failure |
/// | `failures` of the pair | how many | a window from the first |
/// | `back_off` of the pair | until when, and which wait it is | a window longer than it lasts |
/// | `tried` | nothing: this failure was seen | a window |
/// | `distinct` of the address | how many | a window from the first |
/// | `closed` of the address | until when | a window |
/// | `proven` of the pair | nothing: it succeeded | [`Attempts::PROVEN_KEEP`] |
struct Counted {
    limits: AttemptTable,
    store: Arc<dyn Store>,
    names: Names,
    in_flight: InFlight,
    noted: Noted,
    store_failures: Counter,
    /// Whether attempts are under way because bodies are waited for.
    are_bodies: bool,
}

/// How many attempts are under way beside one: of the same pair, and from the same address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Beside {
    pair: u64,
    block: u64,
}

impl Counted {
    /// What an attempt comes to, given what the store said.
    fn settle(&self, wait: Result<Option<Duration>, StoreError>) -> Checked {
        match wait {
            Ok(None) => Ok(Ok(())),
            Ok(Some(wait)) => Ok(Err(wait)),
            Err(error) => self.without_store(error).map(Ok),
        }
    }

    /// The store could not be asked.
    fn without_store(&self, error: StoreError) -> Result<(), StoreError> {
        self.store_failures.increment();
        match self.limits.on_store_failure {
            OnStoreFailure::Allow => Ok(()),
            OnStoreFailure::Refuse => Err(error),
        }
    }

    /// How long an attempt has to wait, if it has to.
    async fn wait(&self, who: &Who, beside: Beside) -> Result<Option<Duration>, StoreError> {
        if self.store.get(&who.block.mark()).get().await?.is_none() {
            let is_crowd = beside.pair >= self.per_principal() || beside.block >= self.per_address();
            let must_wait = is_crowd && !self.may_crowd(who).await?;
            return Ok(must_wait.then_some(Attempts::UNDER_WAY_WAIT));
        }
        match self.wait_of_pair(who, beside.pair).await? {
            None => self.wait_of_address(who, beside.block).await,
            wait => Ok(wait),
        }
    }

    async fn wait_of_pair(&self, who: &Who, beside: u64) -> Result<Option<Duration>, StoreError> {
        let room = match self.back_off(&who.pair.back_off()).await? {
            // Once a pair has had to wait, one attempt at a time.
            Some(back_off) => match back_off.left(self.limits.window.0) {
                None => 1,
                wait => return Ok(wait),
            },
            None => match self.per_principal().saturating_sub(self.number(&who.pair.failures()).await?) {
                1.. if self.may_crowd(who).await? => return Ok(None),
                room => room,
            },
        };
        Ok((beside >= room).then_some(Attempts::UNDER_WAY_WAIT))
    }

    /// Whether any number of attempts of this pair may be under way.
    async fn may_crowd(&self, who: &Who) -> Result<bool, StoreError> {
        Ok(self.are_bodies && self.is_proven(who).await?)
    }

    async fn is_proven(&self, who: &Who) -> Result<bool, StoreError> {
        Ok(self.store.get(&who.pair.proven()).get().await?.is_some())
    }

    async fn wait_of_address(&self, who: &Who, beside: u64) -> Result<Option<Duration>, StoreError> {
        let closed = self.back_off(&who.block.closed()).await?.and_then(|closed| closed.left(self.limits.window.0));
        let wait = match closed {
            None => {
                let room = self.per_address().saturating_sub(self.number(&who.block.distinct()).await?);
                (beside >= room).then_some(Attempts::UNDER_WAY_WAIT)
            }
            wait => wait,
        };
        let is_proven = wait.is_some() && self.is_proven(who).await?;
        Ok(wait.filter(|_| !is_proven))
    }

    /// Puts a failure on record. What could not be counted is seen in the metric; the attempt has failed either way.
    async fn count(&self, who: &Who, tried: &Name) {
        self.noted.forget(who.slot);
        for counted in [self.count_pair(who).await, self.count_address(who, tried).await] {
            if counted.is_err() {
                self.store_failures.increment();
            }
        }
    }

    async fn count_pair(&self, who: &Who) -> Result<(), StoreError> {
        let window = self.limits.window.0;
        self.store.put(&who.block.mark(), Bytes::new(), window * 2).get().await?;
        let key = who.pair.back_off();
        let next = match self.back_off(&key).await? {
            // Of failures that come together only the first makes the wait longer.
            Some(back_off) if back_off.left(window).is_some() => None,
            Some(back_off) => Some(back_off.next(window)),
            None => {
                let failures = self.store.add(&who.pair.failures(), 1, window).get().await?;
                (failures >= self.per_principal()).then(|| BackOff::first(window))
            }
        };
        let Some(next) = next else { return Ok(()) };
        self.store.put(&key, next.to_bytes(), next.wait(window) + window).get().await
    }

    async fn count_address(&self, who: &Who, tried: &Name) -> Result<(), StoreError> {
        let window = self.limits.window.0;
        if !self.store.put_new(&tried.tried(), Bytes::new(), window).get().await? {
            return Ok(());
        }
        if self.store.add(&who.block.distinct(), 1, window).get().await? < self.per_address() {
            return Ok(());
        }
        self.store.put(&who.block.closed(), BackOff::whole(window).to_bytes(), window).get().await
    }

    /// Forgets what the pair has failed, and remembers that it succeeded.
    async fn reset(&self, who: &Who) {
        match self.reset_pair(who).await {
            Ok(true) => self.noted.note(who.slot),
            Ok(false) => {}
            Err(_) => self.store_failures.increment(),
        }
    }

    /// Whether there is nothing left to forget.
    async fn reset_pair(&self, who: &Who) -> Result<bool, StoreError> {
        self.store.put(&who.pair.proven(), Bytes::new(), Attempts::PROVEN_KEEP).get().await?;
        if self.store.get(&who.block.mark()).get().await?.is_none() {
            return Ok(true);
        }
        if self.store.get(&who.block.closed()).get().await?.is_some() {
            return Ok(false);
        }
        self.store.remove(&who.pair.failures()).get().await?;
        self.store.remove(&who.pair.back_off()).get().await?;
        Ok(true)
    }

    async fn back_off(&self, key: &str) -> Result<Option<BackOff>, StoreError> {
        Ok(self.store.get(key).get().await?.as_deref().and_then(BackOff::from_bytes))
    }

    /// A number that was added up; zero where there is none.
    async fn number(&self, key: &str) -> Result<u64, StoreError> {
        let number = self.store.get(key).get().await?;
        let digits = number.as_deref().and_then(|digits| std::str::from_utf8(digits).ok());
        Ok(digits.and_then(|digits| digits.parse().ok()).unwrap_or(0))
    }

    fn per_principal(&self) -> u64 {
        self.limits.per_principal.get().into()
    }

    fn per_address(&self) -> u64 {
        self.limits.per_address.get().into()
    }
}

/// Milliseconds since 1970. The store may be shared, so that only the time of day has the same meaning to all.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
