//! What plugins remember beyond a request: counters, nonces, revocations, sessions.
//!
//! A key begins with what it is about and a colon (`nonce:`, `revoked:`), so that plugins do not meet, and
//! holds no secret: whoever keeps a token there keeps a digest of it. Every entry has an end.

use std::time::Duration;

use bytes::Bytes;

use crate::Answer;

mod local;

pub use local::LocalStore;

/// The store could not be asked, or is full. Whoever needs its answer to let a request pass refuses it.
#[derive(Debug, thiserror::Error)]
#[error("store: {0}")]
pub struct StoreError(pub String);

/// What all stores can do. The one in this process ([`LocalStore`]) answers at once; one that a fleet shares does not.
pub trait Store: Send + Sync {
    /// What is kept under this key.
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Result<Option<Bytes>, StoreError>>;

    /// Keeps a value under this key for so long, in place of what was there.
    fn put<'a>(&'a self, key: &'a str, value: Bytes, keep: Duration) -> Answer<'a, Result<(), StoreError>>;

    /// Keeps a value under this key for so long, unless one is there: whether it was put. Of several that do so at once
    /// exactly one puts.
    fn put_new<'a>(&'a self, key: &'a str, value: Bytes, keep: Duration) -> Answer<'a, Result<bool, StoreError>>;

    /// Adds to the number under this key and says what it is now, in one step. A key that is not there counts as zero;
    /// its end is set then, and not by later additions.
    fn add<'a>(&'a self, key: &'a str, by: u64, keep: Duration) -> Answer<'a, Result<u64, StoreError>>;

    /// Forgets what is kept under this key.
    fn remove<'a>(&'a self, key: &'a str) -> Answer<'a, Result<(), StoreError>>;
}
