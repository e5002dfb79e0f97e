//! A queue for work that is expensive and done on behalf of strangers, such as password hashes.
//!
//! So many permits are given out at once, and a bounded number of requests wait for one. Whoever sends the most gets no
//! more than others do:
//! - **Fair between address blocks.** Permits go round: one to each block that waits, and then the next to each. A block
//!   may wait with no more requests than it leaves places free, so that it fills at most half of the queue.
//! - **Places for callers who are known.** A quarter of the places is for principals who have succeeded from their address
//!   before, and while any of them waits every second permit is theirs. Among them it goes round by principal and not by
//!   address: whoever has one good password and many addresses gets the share of one principal.
//!
//! An attacker with many addresses can fill the places of strangers. Known callers then wait for about two permits, and
//! other strangers are told that the queue is full.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use crate::AddressBlock;

/// Gives out permits for work that is expensive, fairly between those who ask; see the module's documentation in the
/// source for how.
#[derive(Clone)]
pub struct FairQueue(Arc<Shared>);

struct Shared {
    names: RandomState,
    queue: Mutex<Queue>,
}

/// As many requests wait as may wait, or as many from this address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests are waiting")]
pub struct QueueFull;

impl FairQueue {
    /// Gives out `at_once` permits, for which at most `places` requests wait.
    pub fn new(at_once: usize, places: usize) -> Self {
        let known = places / 4;
        let lanes = [Lane::new(known), Lane::new(places - known)];
        let queue = Queue { free: at_once, lanes, next_lane: KNOWN, next_ticket: 0 };
        Self(Arc::new(Shared { names: RandomState::new(), queue: Mutex::new(queue) }))
    }

    /// Asks for a permit on behalf of this address. `known` is the principal, where it has succeeded from there before:
    /// see [`KnownCallers`](crate::KnownCallers).
    ///
    /// # Errors
    /// There is no place left to wait in.
    pub fn acquire(&self, address: IpAddr, known: Option<&[u8]>) -> Result<Acquire, QueueFull> {
        let mut queue = self.0.queue.lock();
        let place = if queue.free > 0 {
            queue.free -= 1;
            Place::Permit
        } else {
            let of_known = known.map(|principal| (KNOWN, self.0.names.hash_one(principal)));
            let of_strangers = || (STRANGERS, self.0.names.hash_one(AddressBlock::of(address)));
            let entered = of_known.and_then(|(lane, name)| queue.enter(lane, name));
            let entered = entered.or_else(|| {
                let (lane, name) = of_strangers();
                queue.enter(lane, name)
            });
            Place::Waiting(entered.ok_or(QueueFull)?)
        };
        drop(queue);
        Ok(Acquire { shared: self.0.clone(), place })
    }

    /// Permits that nobody has.
    pub fn available(&self) -> usize {
        self.0.queue.lock().free
    }

    /// Returns the number of those that wait.
    pub fn waiting(&self) -> usize {
        self.0.queue.lock().lanes.iter().map(|lane| lane.waiting).sum()
    }
}

/// A request that waits for its [`Permit`]. One that is dropped leaves the queue at once.
#[must_use = "a permit that is not waited for is given back"]
pub struct Acquire {
    shared: Arc<Shared>,
    place: Place,
}

enum Place {
    Waiting(Ticket),
    Permit,
    /// It has become a [`Permit`].
    Over,
}

impl Future for Acquire {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        if let Place::Waiting(ticket) = &self.place
            && let Some(waiter) = self.shared.queue.lock().waiter(ticket)
        {
            waiter.waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        self.place = Place::Over;
        Poll::Ready(Permit(self.shared.clone()))
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        match &self.place {
            Place::Waiting(ticket) if self.shared.queue.lock().leave(ticket) => {}
            // The permit was given and not taken yet.
            Place::Waiting(_) | Place::Permit => drop(Permit(self.shared.clone())),
            Place::Over => {}
        }
    }
}

/// The right to do the work. Dropped, it goes to the next who waits.
#[must_use = "the work may only be done while the permit is held"]
pub struct Permit(Arc<Shared>);

impl Drop for Permit {
    fn drop(&mut self) {
        let next = self.0.queue.lock().next();
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

const KNOWN: usize = 0;
const STRANGERS: usize = 1;

struct Queue {
    /// Permits that nobody has. While there is one nobody waits.
    free: usize,
    lanes: [Lane; 2],
    /// The lane that gets the next permit, if anybody waits there.
    next_lane: usize,
    next_ticket: u64,
}

/// Where somebody waits.
struct Ticket {
    lane: usize,
    name: u64,
    number: u64,
}

impl Queue {
    fn enter(&mut self, lane: usize, name: u64) -> Option<Ticket> {
        let number = self.next_ticket;
        self.next_ticket += 1;
        self.lanes[lane].enter(name, number).then_some(Ticket { lane, name, number })
    }

    /// Gives a permit to whoever is next, or takes it back.
    fn next(&mut self) -> Option<Waker> {
        let other = 1 - self.next_lane;
        let waker = self.lanes[self.next_lane].pop().or_else(|| self.lanes[other].pop());
        self.next_lane = other;
        if waker.is_none() {
            self.free += 1;
        }
        waker
    }

    /// Whoever waits with this ticket; `None`: they have been given a permit.
    fn waiter(&mut self, ticket: &Ticket) -> Option<&mut Waiter> {
        let waiters = self.lanes[ticket.lane].by_name.get_mut(&ticket.name)?;
        waiters.iter_mut().find(|waiter| waiter.number == ticket.number)
    }

    fn leave(&mut self, ticket: &Ticket) -> bool {
        self.lanes[ticket.lane].leave(ticket)
    }
}

/// Those who wait, by name: an address block or a principal.
struct Lane {
    places: usize,
    waiting: usize,
    by_name: HashMap<u64, VecDeque<Waiter>>,
    /// The names that wait, each once; the first is next.
    order: VecDeque<u64>,
}

struct Waiter {
    number: u64,
    waker: Waker,
}

impl Lane {
    fn new(places: usize) -> Self {
        Self { places, waiting: 0, by_name: HashMap::new(), order: VecDeque::new() }
    }

    fn enter(&mut self, name: u64, number: u64) -> bool {
        let waiters = self.by_name.get(&name).map_or(0, VecDeque::len);
        if waiters >= self.places - self.waiting {
            return false;
        }
        self.waiting += 1;
        if waiters == 0 {
            self.order.push_back(name);
        }
        self.by_name.entry(name).or_default().push_back(Waiter { number, waker: Waker::noop().clone() });
        true
    }

    fn pop(&mut self) -> Option<Waker> {
        let name = self.order.pop_front()?;
        let waiters = self.by_name.get_mut(&name)?;
        let waiter = waiters.pop_front()?;
        self.waiting -= 1;
        if waiters.is_empty() {
            self.by_name.remove(&name);
        } else {
            self.order.push_back(name);
        }
        Some(waiter.waker)
    }

    fn leave(&mut self, ticket: &Ticket) -> bool {
        let Some(waiters) = self.by_name.get_mut(&ticket.name) else { return false };
        let Some(at) = waiters.iter().position(|waiter| waiter.number == ticket.number) else { return false };
        waiters.remove(at);
        self.waiting -= 1;
        if waiters.is_empty() {
            self.by_name.remove(&ticket.name);
            self.order.retain(|name| *name != ticket.name);
        }
        true
    }
}

#[cfg(test)]
mod tests;
