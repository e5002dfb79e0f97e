//! Admits connections: limits how many one address may hold, and chooses which one closes when nearly all are taken.
//!
//! A connection costs a client nothing, and a silent one reveals nothing about itself. With a total limit alone, one
//! client that opens that many and stays silent keeps everybody else out. So one address may hold a part of them, and
//! if many addresses do the same, connections that wait for a request are closed for new ones, the oldest first: a
//! client that sends requests is served, however many idle connections there are.
//!
//! Requests share nothing here: a connection is registered when it comes and removed when it goes, and in between a
//! request changes only its own [`Place`].

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use portcullis_plugin::AddressBlock;
use tokio::sync::Notify;

/// The number of shards of the lock, so that workers do not wait for one another.
const SHARDS: usize = 16;
/// The number of idle connections found by one search. A search goes through all connections, and serves this many
/// displacements.
const CANDIDATES: usize = 256;
/// The pause after a search that found none.
const SEARCH_EVERY: Duration = Duration::from_millis(100);

/// The reason why a connection was closed before or between requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejection {
    /// `max_connections` is reached, and each of them is in use.
    #[error("`max_connections` are in use")]
    TooMany,
    /// Its address has `max_connections_per_address`.
    #[error("its address has `max_connections_per_address` already")]
    TooManyOfAddress,
    /// It waited for a request longer than any other, and nearly all connections are taken.
    #[error("it was idle longest, and nearly `max_connections` are open")]
    Displaced,
    /// It came from a load balancer without a valid PROXY protocol header; the text says what is wrong with it.
    #[error("invalid PROXY protocol header: {0}")]
    ProxyProtocol(&'static str),
}

impl Rejection {
    /// Returns its code, for log and metric.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::TooMany => "max_connections",
            Self::TooManyOfAddress => "max_connections_per_address",
            Self::Displaced => "displaced",
            Self::ProxyProtocol(_) => "proxy_protocol",
        }
    }
}

/// Open connections, by address and by state.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// The number of connections of each block of addresses; blocks without any are not here.
    addresses: [Mutex<HashMap<AddressBlock, usize>>; SHARDS],
    places: [Mutex<HashMap<u64, Arc<Place>>>; SHARDS],
    next: AtomicU64,
    candidates: Mutex<Candidates>,
}

/// Connections that were idle at the last search, the oldest last.
#[derive(Debug, Default)]
struct Candidates {
    oldest_last: Vec<(Instant, Arc<Place>)>,
    searched: Option<Instant>,
}

impl Admission {
    /// Registers a connection that waits for its first request.
    pub(super) fn enter(&self) -> Arc<Place> {
        let number = self.next.fetch_add(1, Relaxed);
        let place = Arc::new(Place { number, state: Mutex::default(), displaced: Notify::new() });
        self.shard(number).lock().insert(number, place.clone());
        place
    }

    pub(super) fn leave(&self, place: &Place) {
        self.shard(place.number).lock().remove(&place.number);
    }

    /// Counts one more connection of this address, unless it has `max` already. The block is given back by
    /// [`give_back`](Self::give_back).
    pub(super) fn take(&self, address: IpAddr, max: usize) -> Option<AddressBlock> {
        let block = AddressBlock::of(address);
        let mut blocks = self.of_block(block).lock();
        let count = blocks.entry(block).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(block)
    }

    pub(super) fn give_back(&self, block: AddressBlock) {
        let mut blocks = self.of_block(block).lock();
        if let Some(count) = blocks.get_mut(&block) {
            *count -= 1;
            if *count == 0 {
                blocks.remove(&block);
            }
        }
    }

    /// Closes the connection that has waited for a request longest; returns `false` if none waits.
    pub(super) fn displace_oldest(&self) -> bool {
        let mut candidates = self.candidates.lock();
        if displace_one(&mut candidates.oldest_last) {
            return true;
        }
        if candidates.searched.is_some_and(|searched| searched.elapsed() < SEARCH_EVERY) {
            return false;
        }
        candidates.oldest_last = self.oldest_idle();
        let found = displace_one(&mut candidates.oldest_last);
        candidates.searched = (!found).then(Instant::now);
        found
    }

    /// Returns idle connections, the oldest last.
    fn oldest_idle(&self) -> Vec<(Instant, Arc<Place>)> {
        let mut idle: Vec<(Instant, Arc<Place>)> = Vec::new();
        for shard in &self.places {
            let shard = shard.lock();
            idle.extend(shard.values().filter_map(|place| Some((place.idle_since()?, place.clone()))));
        }
        if idle.len() > CANDIDATES {
            idle.select_nth_unstable_by_key(CANDIDATES, |(since, _)| *since);
            idle.truncate(CANDIDATES);
        }
        idle.sort_unstable_by_key(|(since, _)| std::cmp::Reverse(*since));
        idle
    }

    fn shard(&self, number: u64) -> &Mutex<HashMap<u64, Arc<Place>>> {
        &self.places[number as usize % SHARDS]
    }

    fn of_block(&self, block: AddressBlock) -> &Mutex<HashMap<AddressBlock, usize>> {
        let sum: usize = block.octets().iter().map(|octet| usize::from(*octet)).sum();
        &self.addresses[sum % SHARDS]
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.places.iter().all(|shard| shard.lock().is_empty())
            && self.addresses.iter().all(|shard| shard.lock().is_empty())
    }
}

/// Closes the oldest. Those that have served a request since they were found are skipped.
fn displace_one(oldest_last: &mut Vec<(Instant, Arc<Place>)>) -> bool {
    while let Some((since, place)) = oldest_last.pop() {
        if place.displace(since) {
            return true;
        }
    }
    false
}

/// The state of one connection: idle and since when, or serving a request.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    state: Mutex<State>,
    displaced: Notify,
}

#[derive(Debug)]
struct State {
    requests: usize,
    idle_since: Instant,
    is_displaced: bool,
}

impl Default for State {
    fn default() -> Self {
        Self { requests: 0, idle_since: Instant::now(), is_displaced: false }
    }
}

impl Place {
    /// Begins a request, which lasts until the guard is dropped. `None`: the connection is being closed for another
    /// one.
    pub(super) fn request(self: &Arc<Self>) -> Option<Busy> {
        let mut state = self.state.lock();
        if state.is_displaced {
            return None;
        }
        state.requests += 1;
        Some(Busy(self.clone()))
    }

    /// Waits until the connection has to close for another one.
    pub(super) async fn displaced(&self) {
        // A permit is kept for a later wait.
        self.displaced.notified().await;
    }

    fn idle_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        (state.requests == 0 && !state.is_displaced).then_some(state.idle_since)
    }

    fn displace(&self, since: Instant) -> bool {
        let mut state = self.state.lock();
        if state.requests > 0 || state.is_displaced || state.idle_since != since {
            return false;
        }
        state.is_displaced = true;
        self.displaced.notify_one();
        true
    }
}

/// A guard for a request of a connection.
#[derive(Debug)]
pub(super) struct Busy(Arc<Place>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.requests -= 1;
        if state.requests == 0 {
            state.idle_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests;
