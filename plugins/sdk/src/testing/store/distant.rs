use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    Answer,
    store::{
        Charge, ChargeMode, Charged, Count, Counter, Key, LeaseRequest, Leased, LocalStore, Put, Store, StoreAnswer,
        StoreError, Subscription, Values,
    },
    testing::now,
};

/// A [`LocalStore`] as if it were elsewhere: it answers later, or not at all.
pub struct DistantStore {
    local: Arc<LocalStore>,
    error: Mutex<Option<StoreError>>,
    hangs: AtomicBool,
    round_trips: AtomicUsize,
}

impl DistantStore {
    /// Answers later what this store says.
    pub fn new(local: Arc<LocalStore>) -> Self {
        Self { local, error: Mutex::default(), hangs: AtomicBool::new(false), round_trips: AtomicUsize::new(0) }
    }

    /// Fails from now on, or no longer.
    pub fn fail(&self, error: Option<StoreError>) {
        *self.error.lock() = error;
    }

    /// Returns `true` if it fails now.
    pub fn is_failing(&self) -> bool {
        self.error.lock().is_some()
    }

    /// Does not answer calls that are made from now on, or answers again.
    pub fn hang(&self, hangs: bool) {
        self.hangs.store(hangs, Relaxed);
    }

    /// The number of calls so far.
    pub fn round_trips(&self) -> usize {
        self.round_trips.load(Relaxed)
    }

    fn answer<'s, T: Send + 's>(
        &'s self,
        ask: impl FnOnce(&'s LocalStore) -> StoreAnswer<'s, T>,
    ) -> StoreAnswer<'s, T> {
        self.round_trips.fetch_add(1, Relaxed);
        if self.hangs.load(Relaxed) {
            return Answer::later(std::future::pending());
        }
        let error = self.error.lock().clone();
        let answer = error.map_or_else(|| now(ask(&self.local)), Err);
        let mut is_there = false;
        Answer::later(async move {
            poll_fn(|context| {
                if std::mem::replace(&mut is_there, true) {
                    return Poll::Ready(());
                }
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            answer
        })
    }
}

impl Store for DistantStore {
    fn within(self: Arc<Self>, _: Duration) -> Arc<dyn Store> {
        self
    }
    fn get_many<'s>(&'s self, keys: &[Key<'_>]) -> StoreAnswer<'s, Values> {
        self.answer(|local| local.get_many(keys))
    }
    fn put<'s>(&'s self, put: Put<'_>) -> StoreAnswer<'s, bool> {
        self.answer(|local| local.put(put))
    }
    fn take<'s>(&'s self, key: Key<'_>) -> StoreAnswer<'s, Option<Bytes>> {
        self.answer(|local| local.take(key))
    }
    fn touch<'s>(&'s self, key: Key<'_>, keep: Duration) -> StoreAnswer<'s, bool> {
        self.answer(|local| local.touch(key, keep))
    }
    fn remove<'s>(&'s self, key: Key<'_>) -> StoreAnswer<'s, bool> {
        self.answer(|local| local.remove(key))
    }
    fn add<'s>(&'s self, counter: Counter<'_>, by: u64, keep: Duration) -> StoreAnswer<'s, Count> {
        self.answer(|local| local.add(counter, by, keep))
    }
    fn charge<'s>(&'s self, charges: &[Charge<'_>], mode: ChargeMode) -> StoreAnswer<'s, Charged> {
        self.answer(|local| local.charge(charges, mode))
    }
    fn insert<'s>(&'s self, set: Key<'_>, member: &[u8], keep: Duration) -> StoreAnswer<'s, bool> {
        self.answer(|local| local.insert(set, member, keep))
    }
    fn discard<'s>(&'s self, set: Key<'_>, member: &[u8]) -> StoreAnswer<'s, bool> {
        self.answer(|local| local.discard(set, member))
    }
    fn members<'s>(&'s self, set: Key<'_>) -> StoreAnswer<'s, Vec<Bytes>> {
        self.answer(|local| local.members(set))
    }
    fn lease<'s>(&'s self, request: LeaseRequest<'_>) -> StoreAnswer<'s, Leased> {
        self.answer(|local| local.lease(request))
    }
    fn renew<'s>(&'s self, key: Key<'_>, holder: &[u8], keep: Duration) -> StoreAnswer<'s, bool> {
        self.answer(|local| local.renew(key, holder, keep))
    }
    fn release<'s>(&'s self, key: Key<'_>, holder: &[u8]) -> StoreAnswer<'s, bool> {
        self.answer(|local| local.release(key, holder))
    }
    fn publish<'s>(&'s self, channel: Key<'_>, message: Bytes) -> StoreAnswer<'s, ()> {
        self.answer(|local| local.publish(channel, message))
    }
    fn subscribe<'s>(&'s self, channel: Key<'_>) -> StoreAnswer<'s, Subscription> {
        self.answer(|local| local.subscribe(channel))
    }
}
