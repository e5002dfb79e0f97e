//! Counts open connections, for the limit and for the end of the process, and requests in flight.
//!
//! A drain waits for connections, because HTTP/2 frames are still being written when a request's context is gone. An
//! idle HTTP/2 peer may keep its connection long after GOAWAY, so a drain also ends when no request has been in flight
//! for a while.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use portcullis_plugin::AddressBlock;
use tokio::sync::Notify;

use super::admission::{Admission, Place, Rejection};
use crate::unsent_budget::UnsentBudget;

/// The interval at which a drain checks the requests in flight.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The number of cache lines that the counters of requests are spread over, so that cores do not contend for one.
const SHARDS: usize = 16;

/// Counts open connections and requests in flight. Listeners that share a limit share one of these.
#[derive(Debug, Default)]
pub(crate) struct Open {
    connections: AtomicUsize,
    rejected: AtomicU64,
    streams_refused: AtomicU64,
    floods: AtomicU64,
    unsent: Arc<UnsentBudget>,
    none_left: Notify,
    admission: Admission,
    requests: [Shard; SHARDS],
}

/// The requests begun and ended on some of the threads. A request that moved to another thread ends in another shard:
/// only the sums mean something.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Open {
    /// Returns the number of open connections.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// Returns the number of connections that were closed at once because there were too many, in total or of their
    /// address.
    pub(crate) fn rejected(&self) -> u64 {
        self.rejected.load(SeqCst)
    }

    /// Returns the number of HTTP/2 streams that were refused because their connection had too many requests in flight.
    pub(crate) fn streams_refused(&self) -> u64 {
        self.streams_refused.load(SeqCst)
    }

    /// Returns the budget of the data that waits to be sent on all connections.
    pub(crate) fn unsent(&self) -> &Arc<UnsentBudget> {
        &self.unsent
    }

    /// Returns the number of HTTP/2 connections that were ended because of a flood of control frames.
    pub(crate) fn floods(&self) -> u64 {
        self.floods.load(SeqCst)
    }

    /// Returns the number of requests and HTTP/2 streams being served.
    pub(crate) fn in_flight(&self) -> u64 {
        // The ended ones are read first, so that a request that ends in between counts as in flight rather than as
        // negative.
        let ended = self.sum(|shard| &shard.ended);
        self.sum(|shard| &shard.begun).saturating_sub(ended)
    }

    /// Waits until no connection is open and no request is in flight.
    pub(crate) async fn drained(&self) {
        loop {
            let notified = self.none_left.notified();
            if self.connections() == 0 {
                break;
            }
            notified.await;
        }
        // HTTP/2 streams are tasks of their own and may outlive their connection for a moment.
        while self.in_flight() > 0 {
            pingora::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until no request was in flight for `span`: the connections that are still open then are idle.
    pub(crate) async fn idle_for(&self, span: Duration) {
        let (mut since, mut begun) = (Instant::now(), None);
        while since.elapsed() < span || begun.is_none() {
            let now_begun = Some(self.sum(|shard| &shard.begun));
            if begun != now_begun || self.in_flight() > 0 {
                (since, begun) = (Instant::now(), now_begun);
            }
            pingora::time::sleep(LOOK_EVERY.min(span)).await;
        }
    }

    /// Counts a connection until the guard is dropped. If nine tenths of `max` are open already, the one that has
    /// waited for a request longest is closed for it, and `displaced` is called.
    ///
    /// # Errors
    /// There are `max`, and none of them waits for a request.
    pub(super) fn connection(self: &Arc<Self>, max: usize, displaced: impl FnOnce()) -> Result<Connection, Rejection> {
        let before = self.connections.fetch_add(1, SeqCst);
        let is_nearly_full = before >= max - max / 10;
        let makes_room = is_nearly_full && self.admission.displace_oldest();
        // Registered only now, so that it is not displaced for itself.
        let connection = Connection { place: self.admission.enter(), open: self.clone(), block: None };
        if makes_room {
            displaced();
        } else if before >= max {
            self.rejected.fetch_add(1, SeqCst);
            return Err(Rejection::TooMany);
        }
        Ok(connection)
    }

    /// Counts a refused HTTP/2 stream.
    pub(super) fn refuse_stream(&self) {
        self.streams_refused.fetch_add(1, SeqCst);
    }

    /// Counts an HTTP/2 connection that was ended because of a flood.
    pub(super) fn end_flood(&self) {
        self.floods.fetch_add(1, SeqCst);
    }

    /// Counts a request until the guard is dropped.
    pub(super) fn request(&self) -> Request<'_> {
        self.shard().begun.fetch_add(1, SeqCst);
        Request(self)
    }

    fn shard(&self) -> &Shard {
        thread_local! {
            static MINE: usize = {
                static NEXT: AtomicUsize = AtomicUsize::new(0);
                NEXT.fetch_add(1, SeqCst) % SHARDS
            };
        }
        // While a thread ends its locals are gone; any shard will do.
        &self.requests[MINE.try_with(|mine| *mine).unwrap_or(0)]
    }

    fn sum(&self, which: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.requests.iter().map(|shard| which(shard).load(SeqCst)).sum()
    }
}

/// A guard for an open connection.
pub(super) struct Connection {
    open: Arc<Open>,
    place: Arc<Place>,
    block: Option<AddressBlock>,
}

impl Connection {
    /// Counts it as one of this address.
    ///
    /// # Errors
    /// The address has `max` already.
    pub(super) fn count_for(&mut self, address: IpAddr, max: usize) -> Result<(), Rejection> {
        self.block = self.open.admission.take(address, max);
        if self.block.is_none() {
            self.open.rejected.fetch_add(1, SeqCst);
            return Err(Rejection::TooManyOfAddress);
        }
        Ok(())
    }

    /// Returns its place, which notes whether it waits for a request.
    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.admission.leave(&self.place);
        self.block.into_iter().for_each(|block| self.open.admission.give_back(block));
        if self.open.connections.fetch_sub(1, SeqCst) == 1 {
            self.open.none_left.notify_waiters();
        }
    }
}

/// A guard for a request in flight.
pub(super) struct Request<'a>(&'a Open);

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.0.shard().ended.fetch_add(1, SeqCst);
    }
}
