//! The limit on failed attempts to prove an identity, the same for every plugin that has one.
//!
//! A limit belongs where guessing is real: on passwords, and on secrets of less than 128 bits. A secret that nobody can
//! guess (a token's signature, a long key) needs none; there a limit protects nobody, and whoever sends wrong ones on
//! purpose would make others wait.
//!
//! Failures are counted three times:
//! - by **address and claimed principal together**: after `per_principal` failures the pair waits, first a 64th of the
//!   `window`, then twice as long after every further failure, up to the whole window. A success resets the pair. Who
//!   fails at another address makes nobody wait, so that no user can be locked out from afar. Where nothing names a
//!   principal there is no such limit.
//! - by **address alone** (IPv6 by its /64), *distinct* failures: the same wrong password again is a client with an old
//!   configuration and not a guess. After `per_address` of them the address waits for a window, except for principals
//!   that have succeeded from there within [`Attempts::PROVEN_KEEP`]: behind one address there may be a whole office.
//!   While the address waits, their success does not reset their pair; else somebody in that office could guess on and
//!   on, and the victim's own requests would wipe the count.
//! - for the whole **policy**, distinct failures again: one guess for each user from each of many addresses (credential
//!   stuffing) shows in neither of the others. Above `per_policy` in a window attempts wait, again except for those who
//!   have succeeded from their address; others are let through as earlier failures are forgotten, which they are one by
//!   one and evenly.
//!
//! A plugin asks [`Attempts::check`] before it judges what a request brings, even where it knows the answer already:
//! were a right password let through while wrong ones are told to wait, waiting would hinder nobody who guesses. An
//! attempt that is expensive to judge, or waits for something meanwhile, takes a place with [`Attempts::begin`]:
//! attempts that are under way count as failed for whoever comes meanwhile, and so a burst gets no more than its share.
//!
//! # When a failure counts
//! When the request is refused. A route may have several policies, of which a credential fits one: a user whose password
//! is right for the second must not use up their attempts at the first. So a plugin only reports a failure, as a
//! [`FailedAttempt`] in its [`Denial`](crate::Denial::counting), and the engine excuses it when another policy granted
//! what stood in the same place of the request. A grant by something else, such as a key beside a guessed password,
//! excuses nothing: else whoever has a key could guess at all passwords beside it.
//!
//! A failed attempt that is dropped counts, and so does [`Begun`]: a client that leaves while its guess is being judged
//! has made a guess.
//!
//! A signature that is waited for because the body under it is still coming is not guessed at: see
//! [`Attempts::for_bodies`].
//!
//! # Operating it
//! A policy that counts has two commands of the control socket, `forget ADDRESS [PRINCIPAL]` for somebody who is locked out
//! and may try again now, and `forget-all`; and a part of `/status`.
//!
//! # Where it is kept
//! In this process, for each policy in tables of a fixed size that are never full: see `counts`.
//! They hold neither names nor addresses but keyed digests. The rules (`rules`) know nothing of where counts are kept.
//! Time is monotonic.

use std::{net::IpAddr, sync::Arc, time::Duration};

use self::{counted::Counted, counts::Counts, rules::Beside};
use crate::{Answer, BuildCx, BuildError};

mod commands;
mod counted;
mod counts;
mod failed;
mod in_flight;
mod known;
mod limits;
mod names;
mod noted;
mod rules;
mod table;

pub use failed::FailedAttempt;
pub use known::KnownCallers;
pub use limits::{AttemptLimits, AttemptTable};

/// Counts the failed attempts of one policy, and says who has to wait.
pub struct Attempts(Option<Arc<Counted>>);

/// The right to judge an attempt, or the time after which it is worth trying again.
pub type Checked<T = ()> = Result<T, Duration>;

impl Attempts {
    /// The time for which it is remembered that a principal succeeded from an address.
    pub const PROVEN_KEEP: Duration = limits::PROVEN_KEEP;

    /// The wait of an attempt while others of its kind are under way.
    pub const UNDER_WAY_WAIT: Duration = limits::UNDER_WAY_WAIT;

    /// Counts for this policy alone.
    ///
    /// # Errors
    /// The problems of the limits, in the field `attempts`.
    pub fn new(limits: AttemptLimits, cx: &mut BuildCx<'_>) -> Result<Self, BuildError> {
        let AttemptLimits::On(limits) = limits else { return Ok(Self(None)) };
        limits.check()?;
        let policy = cx.policy().to_owned();
        let mut counter = |kind| {
            let help = "Attempts to prove an identity that failed, of policies that limit them";
            cx.counter("portcullis_failed_attempts_total", help, &[("policy", &policy), ("kind", kind)])
        };
        let (distinct, repeated) = (counter("distinct"), counter("repeated"));
        let counts = cx.shared(&policy, Counts::default);
        commands::register(&counts, limits, cx);
        Ok(Self(Some(Arc::new(Counted { limits, counts, distinct, repeated, are_bodies: false }))))
    }

    /// For a plugin whose attempts are under way because a body is waited for: what places bound is the memory that
    /// strangers take, and not how often somebody guesses.
    ///
    /// So whoever has succeeded from their address within [`Attempts::PROVEN_KEEP`], and has not failed `per_principal`
    /// times since, may have any number under way; a partner sends more than five requests at a time. And what has no
    /// place, because it waits for nothing, is not kept waiting by those that have one.
    #[must_use]
    pub fn for_bodies(self) -> Self {
        Self(self.0.map(|counted| Arc::new(Counted { are_bodies: true, ..(*counted).clone() })))
    }

    /// Asks whether this attempt may be judged. While nothing has failed lately this allocates nothing and takes no lock.
    pub fn check(&self, address: IpAddr, principal: Option<&[u8]>) -> Answer<'_, Checked> {
        let Some(counted) = &self.0 else { return Answer::Now(Ok(())) };
        let Counted { counts, are_bodies, .. } = &**counted;
        if counts.is_quiet(counted.limits.window.0) && (*are_bodies || counts.in_flight.is_empty()) {
            return Answer::Now(Ok(()));
        }
        let who = counts.names.who(address, principal);
        let beside = if *are_bodies { Beside::default() } else { counts.in_flight.beside(&who) };
        Answer::Now(counted.wait(&who, beside))
    }

    /// Asks as [`Attempts::check`] does, and takes a place among the attempts that are under way. `proof` is what is
    /// tried, or a digest of it: only a keyed digest is kept.
    pub fn begin(&self, address: IpAddr, principal: Option<&[u8]>, proof: &[u8]) -> Answer<'_, Checked<Begun>> {
        let Some(counted) = &self.0 else { return Answer::Now(Ok(Begun(FailedAttempt::UNLIMITED))) };
        let counts = &counted.counts;
        let who = counts.names.who(address, principal);
        // The place is taken before anything is looked up, so that of a burst nobody overlooks another.
        let beside = counts.in_flight.enter(&who);
        let checked = counted.wait(&who, beside);
        if checked.is_err() {
            counts.in_flight.leave(&who);
        }
        let begun = |()| Begun(FailedAttempt::new(counted, who, counts.names.tried(&who, proof), true));
        Answer::Now(checked.map(begun))
    }

    /// Reports a failure of an attempt that was checked and not begun; see [`Attempts::begin`] for `proof`.
    pub fn failed(&self, address: IpAddr, principal: Option<&[u8]>, proof: &[u8]) -> FailedAttempt {
        let Some(counted) = &self.0 else { return FailedAttempt::UNLIMITED };
        let who = counted.counts.names.who(address, principal);
        FailedAttempt::new(counted, who, counted.counts.names.tried(&who, proof), false)
    }

    /// Resets what an attempt that was checked and not begun had failed before. Where all was well a short while ago
    /// this allocates nothing and takes no lock.
    pub fn succeeded(&self, address: IpAddr, principal: Option<&[u8]>) {
        let Some(counted) = &self.0 else { return };
        if !counted.counts.is_noted(counted.counts.names.pair(address, principal)) {
            counted.succeeded(&counted.counts.names.who(address, principal));
        }
    }
}

/// An attempt that is under way: it holds a place until it is told how it ended. One that is dropped has failed.
#[must_use = "an attempt that is dropped counts as failed"]
pub struct Begun(FailedAttempt);

impl Begun {
    /// Reports a failure. The place is held until it is counted or excused.
    pub fn failed(self) -> FailedAttempt {
        self.0
    }

    /// Resets what failed before, as [`Attempts::succeeded`].
    pub fn succeeded(self) {
        self.0.succeed();
    }

    /// Gives the place back without a verdict: the attempt was not judged.
    pub fn excuse(self) {
        self.0.excuse();
    }
}

#[cfg(test)]
mod tests;
