use std::{net::IpAddr, thread::available_parallelism, time::Duration};

use portcullis_plugin::FairQueue;

/// The most hashes that are computed at once, for all policies together; on small machines it is half the cores, and at
/// least one. The rest is left to forward requests.
pub const HASHES_AT_ONCE_MAX: usize = 16;

/// The most requests that wait for a hash: a quarter of them from users who have sent their password from there before,
/// and of what is left at most half from one address. One more is answered 503: a queue that is longer than clients wait
/// computes hashes for nobody.
pub const HASHES_WAITING_MAX: usize = 256;

/// The longest that a request waits for its turn, in seconds; then it is answered 503.
pub const HASH_WAIT_MAX_SECS: u64 = 5;

/// Computes hashes on threads that may be blocked, a few at a time.
pub(crate) struct Hashing(FairQueue);

impl Default for Hashing {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self::new((cores / 2).clamp(1, HASHES_AT_ONCE_MAX))
    }
}

/// A hash was not computed: the password may be right or wrong.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Unhashed {
    #[error("too many passwords are waiting to be verified")]
    QueueFull,
    #[error("no turn to verify a password within {HASH_WAIT_MAX_SECS} s")]
    NoTurn,
    #[error("verifying a password ended early")]
    Broken,
}

/// The client for which a hash is computed.
pub(crate) struct Requester<'a> {
    pub address: IpAddr,
    /// The user, where they have sent their password from this address before.
    pub known: Option<&'a [u8]>,
}

impl Hashing {
    pub(crate) fn new(at_once: usize) -> Self {
        Self(FairQueue::new(at_once, HASHES_WAITING_MAX))
    }

    /// Waits for a turn and does the work. A request that is given up leaves the queue at once. Work that has begun is
    /// finished, and keeps its turn until then: whoever gives up early gets no more of them.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        requester: Requester<'_>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unhashed> {
        let turn = self.0.acquire(requester.address, requester.known).map_err(|_| Unhashed::QueueFull)?;
        let turn = tokio::time::timeout(Duration::from_secs(HASH_WAIT_MAX_SECS), turn).await;
        let turn = turn.map_err(|_| Unhashed::NoTurn)?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(|_| Unhashed::Broken)
    }
}

#[cfg(test)]
mod tests;
