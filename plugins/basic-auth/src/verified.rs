use std::{sync::Arc, time::Duration};

use hmac::{Hmac, Mac};
use portcullis_plugin::{BuildCx, UnixTime};
use quick_cache::{
    DefaultHashBuilder, UnitWeighter,
    sync::{Cache, DefaultLifecycle, PlaceholderGuard},
};
use sha2::Sha256;

use crate::{hash::Fingerprint, login::Login};

/// The most pairs of user name and password that are remembered for one policy; those that are used least go.
pub const VERIFIED_MAX_PAIRS: usize = 64 * 1024;

/// The pairs of one policy that were right: by a digest with a random key, so that neither a copy of the memory nor the
/// time of a look-up leads to a password. It outlives a reload. Only the hash that fitted is remembered, and a hash
/// that is not in the file any more fits nobody.
pub(crate) struct Verified {
    keyed: Hmac<Sha256>,
    pairs: Cache<Digest, Seen>,
}

/// Stands for a user name and a password.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The hash that fitted, and the time.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    fingerprint: Fingerprint,
    at: UnixTime,
}

impl Seen {
    /// The longest that a verification takes: a request that came before it ended may see its result.
    const SLACK: Duration = Duration::from_secs(60);

    /// A clock that was set back makes nothing live longer.
    fn is_fresh(&self, now: UnixTime, ttl: Duration) -> bool {
        self.at <= now.after(Self::SLACK) && now < self.at.after(ttl)
    }
}

/// The result of asking for a pair together with others.
pub(crate) enum Joined<'a, T> {
    /// It is known.
    Known(T),
    /// It is this request's turn to find out. The others wait until this is noted or dropped.
    Turn(Turn<'a>),
}

/// The right to verify a pair.
pub(crate) struct Turn<'a>(
    PlaceholderGuard<'a, Digest, Seen, UnitWeighter, DefaultHashBuilder, DefaultLifecycle<Digest, Seen>>,
);

impl Turn<'_> {
    /// Remembers that the pair is right.
    pub(crate) fn note(self, fingerprint: Fingerprint, at: UnixTime) {
        // An error says that the place is gone, to make room: then nothing is remembered.
        let _ = self.0.insert(Seen { fingerprint, at });
    }
}

impl Verified {
    /// That of the policy which is being built.
    pub(crate) fn shared(cx: &mut BuildCx<'_>) -> Result<Arc<Self>, String> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| format!("the system has no random bits: {error}"))?;
        let keyed: Hmac<Sha256> = Hmac::new_from_slice(&key).expect("HMAC takes a key of any length");
        let policy = cx.policy().to_owned();
        Ok(cx.shared(&policy, || Self { keyed: keyed.clone(), pairs: Cache::new(VERIFIED_MAX_PAIRS) }))
    }

    /// A user name has no colon, so that no two pairs are the same bytes.
    pub(crate) fn digest(&self, login: &Login) -> Digest {
        let digest = self.keyed.clone().chain_update(login.username()).chain_update(":").chain_update(login.password());
        Digest(digest.finalize().into_bytes().into())
    }

    /// Returns the hash that the pair fitted, if that was not too long ago.
    pub(crate) fn recall(&self, digest: &Digest, now: UnixTime, ttl: Duration) -> Option<Fingerprint> {
        let seen = self.pairs.get(digest)?;
        seen.is_fresh(now, ttl).then_some(seen.fingerprint)
    }

    /// Returns the result for the pair, or the turn to find it out. `known` says whether a hash still stands for
    /// anyone.
    pub(crate) async fn join<T>(
        &self,
        digest: &Digest,
        now: UnixTime,
        ttl: Duration,
        known: impl Fn(&Fingerprint) -> Option<T>,
    ) -> Joined<'_, T> {
        loop {
            let seen = match self.pairs.get_value_or_guard_async(digest).await {
                Ok(seen) => seen,
                Err(guard) => return Joined::Turn(Turn(guard)),
            };
            match known(&seen.fingerprint).filter(|_| seen.is_fresh(now, ttl)) {
                Some(known) => return Joined::Known(known),
                None => drop(self.pairs.remove_if(digest, |there| *there == seen)),
            }
        }
    }
}
