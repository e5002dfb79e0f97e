use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use portcullis_plugin::UnixTime;
use quick_cache::{Weighter, sync::Cache};
use sha2::{Digest, Sha256};

use crate::{Key, KeyId, KeySet};

/// The SHA-256 of a token and of the policy that judges it: what was verified under one policy says nothing under
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Digests a token for a policy. `policy` stands for everything that the verdict depends on, and changes when any of
    /// it does.
    pub fn of(policy: &[u8; 32], token: &[u8]) -> Self {
        // sha2 rather than aws-lc-rs, which allocates a context for a digest over two pieces.
        Self(Sha256::new().chain_update(policy).chain_update(token).finalize().into())
    }
}

/// Tokens whose signature was found right, with what the caller made of them.
///
/// Only the signature is remembered to be right. Whoever finds a token here still asks the clock
/// ([`Times::check`](crate::Times::check)) and the revocations: both change without the token.
///
/// It is bounded twice, by entries and by the bytes of the tokens (a caller keeps about as much as the token said), and
/// the least used entries leave. A hit allocates nothing.
pub struct VerifiedTokens<T> {
    entries: Cache<TokenDigest, Arc<Verified<T>>, ByBytes>,
    max_entry_bytes: usize,
}

/// A token that was verified.
pub struct Verified<T> {
    /// The value that the caller keeps.
    pub value: T,
    key: KeyId,
    /// The newest key set that the key was seen in.
    generation: AtomicU64,
    ends: UnixTime,
    bytes: usize,
}

impl<T> VerifiedTokens<T> {
    /// Keeps at most `max_entries` tokens, of at most `max_bytes` together.
    pub fn new(max_entries: usize, max_bytes: usize) -> Self {
        let weight = u64::try_from(max_bytes).unwrap_or(u64::MAX);
        let by_bytes = ByBytes { least: max_bytes / max_entries.max(1) };
        // A single token takes no more than a sixteenth of the room: one shard of the cache holds little more.
        let max_entry_bytes = max_bytes / 16;
        Self { entries: Cache::with_weighter(max_entries, weight, by_bytes), max_entry_bytes }
    }

    /// Returns a token that was verified, if the key that verified it is still in the set and the token has not ended.
    pub fn find(&self, digest: &TokenDigest, keys: &KeySet, now: UnixTime) -> Option<Arc<Verified<T>>> {
        let verified = self.entries.get(digest)?;
        if verified.counts(keys, now) {
            return Some(verified);
        }
        self.entries.remove(digest);
        None
    }

    /// Returns a token that was verified, for a caller that learns from it whose keys to ask. The caller then has to
    /// ask [`Verified::counts`].
    pub fn look(&self, digest: &TokenDigest) -> Option<Arc<Verified<T>>> {
        self.entries.get(digest)
    }

    /// Remembers a token of so many bytes that `key` has verified. It is forgotten when it `ends`, and when the key is
    /// withdrawn.
    pub fn keep(
        &self,
        digest: TokenDigest,
        token_bytes: usize,
        key: &Key,
        ends: UnixTime,
        value: T,
    ) -> Arc<Verified<T>> {
        let verified =
            Arc::new(Verified { value, key: key.id(), generation: AtomicU64::new(0), ends, bytes: token_bytes });
        if token_bytes <= self.max_entry_bytes {
            self.entries.insert(digest, verified.clone());
        }
        verified
    }

    /// Returns the number of tokens that are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns `true` if no token is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        self.entries.clear();
    }
}

impl<T> Verified<T> {
    /// Returns `true` if the token has not ended, and the key that verified it is still in the set.
    pub fn counts(&self, keys: &KeySet, now: UnixTime) -> bool {
        self.ends > now && self.is_current(keys)
    }

    /// Returns `true` if the key is in the set. The set's generation is noted, so that only the first hit after a
    /// change looks.
    fn is_current(&self, keys: &KeySet) -> bool {
        if self.generation.load(Relaxed) == keys.generation() {
            return true;
        }
        let is_there = keys.has(self.key);
        if is_there {
            self.generation.store(keys.generation(), Relaxed);
        }
        is_there
    }
}

/// Weighs an entry by its token. The cache has no limit but on the weight, so no entry weighs less than what would fill
/// it with the most entries there may be.
#[derive(Clone)]
struct ByBytes {
    least: usize,
}

impl<T> Weighter<TokenDigest, Arc<Verified<T>>> for ByBytes {
    fn weight(&self, _: &TokenDigest, verified: &Arc<Verified<T>>) -> u64 {
        // An entry without weight is never removed.
        u64::try_from(verified.bytes.max(self.least).max(1)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
