use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::available_parallelism,
    time::Duration,
};

use tokio::sync::Semaphore;

/// The most hashes that are computed at once, for all policies together; on small machines it is half the cores, and at
/// least one. The rest is left to forward requests.
pub const HASHES_AT_ONCE_MAX: usize = 16;

/// The most requests that wait for a hash. One more is answered 503: a queue that is longer than clients wait computes
/// hashes for nobody.
pub const HASHES_WAITING_MAX: usize = 256;

/// The longest that a request waits for its turn, in seconds; then it is answered 503.
pub const HASH_WAIT_MAX_SECS: u64 = 5;

/// Computes hashes on threads that may be blocked, a few at a time.
pub(crate) struct Hashing {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Default for Hashing {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self::new((cores / 2).clamp(1, HASHES_AT_ONCE_MAX))
    }
}

/// A hash was not computed, which says nothing about the password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Unhashed {
    #[error("too many passwords are waiting to be verified")]
    QueueFull,
    #[error("no turn to verify a password within {HASH_WAIT_MAX_SECS} s")]
    NoTurn,
    #[error("verifying a password ended early")]
    Broken,
}

impl Hashing {
    pub(crate) fn new(at_once: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(at_once)), waiting: AtomicUsize::new(0) }
    }

    /// Waits for a turn and does the work. A request that is given up leaves the queue at once. Work that has begun is
    /// finished, and keeps its turn until then: whoever gives up early gets no more of them.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unhashed> {
        let permit = {
            let _waiting = Waiting::enter(&self.waiting).ok_or(Unhashed::QueueFull)?;
            let turn = self.permits.clone().acquire_owned();
            let turn = tokio::time::timeout(Duration::from_secs(HASH_WAIT_MAX_SECS), turn).await;
            turn.map_err(|_| Unhashed::NoTurn)?.map_err(|_| Unhashed::Broken)?
        };
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.map_err(|_| Unhashed::Broken)
    }
}

/// One that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicUsize) -> Option<Self> {
        let before = waiting.fetch_add(1, SeqCst);
        let entered = Self(waiting);
        (before < HASHES_WAITING_MAX).then_some(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests;
