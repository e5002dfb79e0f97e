//! Memory beyond a request, in this process or shared by a fleet: counters, replay marks, revocations, sessions, locks.
//!
//! A plugin is lent a [`Store`] by [`BuildCx::store`](crate::BuildCx::store) and does not know which one it is. The one in
//! this process ([`LocalStore`]) answers at once; one at the other end of a wire answers later, or fails. Both mean the
//! same: [`testing::store`](crate::testing::store) has the tests that every store passes.
//!
//! # Keys and spaces
//! A [`Key`] is a name in a [`Space`], and a space has a room of its own: what fills one takes no place from another.
//! Counters always belong to a policy ([`Counters`]), replay marks and revocations never do. Everything has an end.
//! A space cannot be listed: a plugin that has to list its entries keeps their names in [sets](Store::insert), several where
//! one would have too many members.
//!
//! ```
//! use std::time::Duration;
//! use portcullis_plugin::{PluginError, store::*};
//!
//! static PROOFS: Space = Space::replay("dpop");
//!
//! /// Takes a proof once, in the whole fleet, whatever policy sees it first.
//! async fn is_first(store: &dyn Store, jti_digest: &[u8]) -> Result<bool, PluginError> {
//!     Ok(store.put(Put::mark(PROOFS.key(jti_digest), Duration::from_secs(300))).get().await?)
//! }
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let store = LocalStore::default();
//! assert!(is_first(&store, b"4711").await?);
//! assert!(!is_first(&store, b"4711").await?);
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limits
//! [`Store::charge`] checks several counters and takes from all of them or from none:
//!
//! ```
//! use std::time::Duration;
//! use portcullis_plugin::{PluginError, store::*};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let store = LocalStore::default();
//! let requests = Counters::of_policy("requests", "public-api");
//! let (by_second, by_day) = (requests.counter(b"acme"), requests.counter(b"acme").part(1));
//! let charges = [
//!     Charge { counter: by_second, rule: Rule::gcra(2, Duration::from_secs(1), 2)?, cost: 1 },
//!     Charge { counter: by_day, rule: Rule::fixed_window(10_000, Duration::from_secs(86_400))?, cost: 1 },
//! ];
//! for _ in 0..2 {
//!     assert!(store.charge(&charges, ChargeMode::AllOrNothing).get().await?.is_granted);
//! }
//! let refused = store.charge(&charges, ChargeMode::AllOrNothing).get().await?;
//! assert!(!refused.is_granted && refused.budgets[0].retry_after <= Duration::from_millis(500));
//! assert_eq!(refused.budgets[1].remaining, 9_998, "nothing was taken of the day");
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Work that happens once
//! A value that is good for one use is [taken](Store::take), which reads and removes it in one step. Of several gateways
//! that could do the same work, such as the refresh of a session's token, one holds a [lease](Store::lease); the others read
//! what it left:
//!
//! ```
//! use std::time::Duration;
//! use portcullis_plugin::{PluginError, bytes::Bytes, store::*};
//!
//! /// Refreshes a session's tokens, unless another gateway does so at this moment.
//! async fn refreshed(store: &dyn Store, session: Key<'_>, attempt: &[u8]) -> Result<Option<Bytes>, PluginError> {
//!     let request = LeaseRequest { key: session, holder: attempt, at_most: 1, keep: Duration::from_secs(10) };
//!     let Leased::Granted { .. } = store.lease(request).get().await? else {
//!         return Ok(store.get(session).get().await?);
//!     };
//!     let fresh = Bytes::from_static(b"what the provider answered, sealed");
//!     store.put(Put::new(session, fresh.clone(), Duration::from_secs(3600))).get().await?;
//!     store.release(session, attempt).get().await?;
//!     Ok(Some(fresh))
//! }
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let sessions = Space::of_policy("session", "login");
//! assert!(refreshed(&LocalStore::default(), sessions.key(b"1"), b"a").await?.is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Deadlines and failures
//! Every call ends within the store's deadline, which covers the way there, the server's work and the way back. A plugin
//! that can wait longer, or must not wait so long, takes [`Store::within`]. The errors are told apart by
//! [`StoreError`]; above all, after [`StoreError::Timeout`] nobody knows whether the operation was done.
//!
//! An answer can be dropped at any time. An operation that was not sent by then is not sent later.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::Answer;

mod clock;
mod error;
mod key;
mod local;
mod request;
mod rule;
mod subscription;

pub use clock::SimulatedClock;
pub use error::{SpaceName, StoreError};
pub use key::{Counter, Counters, Key, Purpose, Space};
pub use local::LocalStore;
pub use request::{Budgets, Charge, ChargeMode, Charged, Count, LeaseRequest, Leased, Put, Values, When};
pub use rule::{Algorithm, Budget, Rule};
pub use subscription::{Event, Events, Subscription};

/// The answer of a [`Store`].
pub type StoreAnswer<'s, T> = Answer<'s, Result<T, StoreError>>;

/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;
/// The longest member of a set, holder of a lease, and message of a channel, in bytes.
pub const MAX_MEMBER_BYTES: usize = 1024;
/// The most members of one set. One that has no place is [`StoreError::Full`].
pub const MAX_MEMBERS: usize = 1024;
/// The most keys of one [`Store::get_many`], and the most counters of one [`Store::charge`].
pub const MAX_KEYS: usize = 8;
/// The longest time that anything is kept.
pub const MAX_KEEP: Duration = Duration::from_secs(20 * 366 * 86_400);

/// All that a store can do: see the [module](self).
///
/// For whoever writes one:
/// - A call reads its request before it returns: the answer borrows nothing but the store.
/// - Every operation is one step, also for others who use the same keys at the same time.
/// - Requests beyond the limits of this module are [`StoreError::Invalid`]. Nothing ends before its time; it may end up to a
///   second later.
/// - An entry is never removed to make room, except in a [cache](Space::cache).
/// - Values, sets, leases, channels and the counters of each algorithm are apart: one key may have all of them.
pub trait Store: Send + Sync {
    /// The same store with another deadline for each call.
    fn within(self: Arc<Self>, deadline: Duration) -> Arc<dyn Store>;

    /// Reads the values of several keys in one round trip. They are not read at one moment.
    fn get_many<'s>(&'s self, keys: &[Key<'_>]) -> StoreAnswer<'s, Values>;

    /// Reads a value.
    fn get<'s>(&'s self, key: Key<'_>) -> StoreAnswer<'s, Option<Bytes>> {
        self.get_many(&[key]).map(|values| Ok(values?.first().cloned().flatten()))
    }

    /// Keeps a value if the condition holds, and tells whether it did.
    fn put<'s>(&'s self, put: Put<'_>) -> StoreAnswer<'s, bool>;

    /// Reads a value and removes it. Of several who take at once exactly one gets it.
    fn take<'s>(&'s self, key: Key<'_>) -> StoreAnswer<'s, Option<Bytes>>;

    /// Has a value end so long from now, sooner or later than before, and tells whether it was there.
    fn touch<'s>(&'s self, key: Key<'_>, keep: Duration) -> StoreAnswer<'s, bool>;

    /// Removes a value, and tells whether it was there.
    fn remove<'s>(&'s self, key: Key<'_>) -> StoreAnswer<'s, bool>;

    /// Adds to a plain counter. It begins at zero and ends `keep` after the first addition; later ones do not move its
    /// end.
    fn add<'s>(&'s self, counter: Counter<'_>, by: u64, keep: Duration) -> StoreAnswer<'s, Count>;

    /// Charges counters by their rules. All of them are checked before anything is taken from any.
    ///
    /// In a cluster counters with different names may be on different servers. A store then takes from one server after the
    /// other and gives back where a later one refuses: for a moment others may find less than there is, and never more.
    fn charge<'s>(&'s self, charges: &[Charge<'_>], mode: ChargeMode) -> StoreAnswer<'s, Charged>;

    /// Puts a member into a set for so long, or moves its end, and tells whether it is new. The set ends with its last
    /// member.
    fn insert<'s>(&'s self, set: Key<'_>, member: &[u8], keep: Duration) -> StoreAnswer<'s, bool>;

    /// Removes a member of a set, and tells whether it was there.
    fn discard<'s>(&'s self, set: Key<'_>, member: &[u8]) -> StoreAnswer<'s, bool>;

    /// Lists the members of a set that have not ended, in no order.
    fn members<'s>(&'s self, set: Key<'_>) -> StoreAnswer<'s, Vec<Bytes>>;

    /// Takes one of a bounded number of places until it is released or its time has passed: a lock, or a request that is
    /// under way. A holder that has a place keeps it, with a new end and the same number.
    fn lease<'s>(&'s self, request: LeaseRequest<'_>) -> StoreAnswer<'s, Leased>;

    /// Has a lease end so long from now. `false` says that it is lost: its time has passed, and others may have the place.
    fn renew<'s>(&'s self, key: Key<'_>, holder: &[u8], keep: Duration) -> StoreAnswer<'s, bool>;

    /// Gives a place back, and tells whether it was still held.
    fn release<'s>(&'s self, key: Key<'_>, holder: &[u8]) -> StoreAnswer<'s, bool>;

    /// Sends a message to all who are subscribed to this channel now, in all gateways of the fleet. None of them has to be.
    fn publish<'s>(&'s self, channel: Key<'_>, message: Bytes) -> StoreAnswer<'s, ()>;

    /// Receives the messages of a channel, from this answer on. A copy of what messages tell of is read after it, so that
    /// nothing is missed between the two.
    fn subscribe<'s>(&'s self, channel: Key<'_>) -> StoreAnswer<'s, Subscription>;
}
