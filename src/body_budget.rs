//! The memory budget of all buffered request bodies, and the share of one client.
//!
//! The sender of a body is not known yet, and a key id that makes it worth reading is no secret. So nobody may take the
//! whole budget: an address block holds **at most as much as it leaves free**. Alone that is half of the budget; of two
//! that take what they can the later one gets a quarter, until both have reached a third; and as much always remains
//! for the next. A fixed half would be used up by two addresses. A fixed tenth would be little for a load balancer that
//! is not named in `client_address`, with all its clients behind one address, while nobody else needs anything.
//!
//! An eighth of it is reserved for clients that have authenticated from their address before
//! ([`RequestCx::vouch`](portcullis_plugin::RequestCx::vouch)): strangers with many addresses cannot take it, and a
//! stranger at the same address takes nothing from them.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use portcullis_plugin::AddressBlock;

/// The memory budget of buffered bodies.
#[derive(Debug)]
pub(crate) struct BodyBudget {
    /// Written only under the lock of `blocks`; the metric reads it without.
    used_bytes: Arc<AtomicUsize>,
    max_bytes: AtomicUsize,
    patience_ms: AtomicU64,
    /// The bytes of each block. Only those that hold some are here, so that there are never more of them than requests
    /// with a body. It is locked when a body grows, which never happens in a request without one.
    blocks: Mutex<HashMap<AddressBlock, usize>>,
}

impl BodyBudget {
    /// The default of `server.max_held_body_bytes`.
    pub(crate) const DEFAULT_MAX_BYTES: usize = 256 << 20;

    /// The default of `server.body_timeout`.
    pub(crate) const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);

    /// Returns the part of a budget of this size that strangers must leave free.
    const fn kept_free(max_bytes: usize) -> usize {
        max_bytes / 8
    }

    /// Returns the most that one body can take of a budget of this size when no other takes any.
    pub(crate) const fn largest_reservation(max_bytes: usize) -> usize {
        max_bytes / 2
    }

    /// Returns an empty budget; its use is shown in `used_bytes`.
    pub(crate) fn new(used_bytes: Arc<AtomicUsize>) -> Self {
        let budget = Self {
            used_bytes,
            max_bytes: AtomicUsize::new(Self::DEFAULT_MAX_BYTES),
            patience_ms: AtomicU64::new(0),
            blocks: Mutex::default(),
        };
        budget.set_patience(Self::DEFAULT_PATIENCE);
        budget
    }

    /// Sets the size. Memory that is taken already stays taken.
    pub(crate) fn set_max_bytes(&self, max_bytes: usize) {
        self.max_bytes.store(max_bytes, Relaxed);
    }

    /// Sets the time that a buffered body may make no progress.
    pub(crate) fn set_patience(&self, patience: Duration) {
        self.patience_ms.store(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Returns the time that a buffered body may make no progress.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms.load(Relaxed))
    }

    /// Returns an empty reservation for a client at this address.
    pub(crate) fn reservation(self: &Arc<Self>, address: IpAddr) -> Reservation {
        Reservation { budget: self.clone(), block: AddressBlock::of(address), bytes: 0, is_vouched: false }
    }

    fn take(&self, block: AddressBlock, bytes: usize, is_vouched: bool) -> bool {
        let mut blocks = self.blocks.lock();
        let used = self.used_bytes.load(Relaxed).saturating_add(bytes);
        let of_block = blocks.get(&block).copied().unwrap_or(0).saturating_add(bytes);
        let max_bytes = self.max_bytes.load(Relaxed);
        let least = if is_vouched { 0 } else { Self::kept_free(max_bytes).max(of_block) };
        let fits = max_bytes.checked_sub(used).is_some_and(|free| free >= least);
        if fits {
            self.used_bytes.store(used, Relaxed);
            blocks.insert(block, of_block);
        }
        fits
    }

    /// Counts memory that is in use already, whether it fits or not.
    fn overdraw(&self, block: AddressBlock, bytes: usize) {
        let mut blocks = self.blocks.lock();
        self.used_bytes.fetch_add(bytes, Relaxed);
        *blocks.entry(block).or_default() += bytes;
    }

    fn give_back(&self, block: AddressBlock, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut blocks = self.blocks.lock();
        self.used_bytes.fetch_sub(bytes, Relaxed);
        if let Entry::Occupied(mut of_block) = blocks.entry(block) {
            *of_block.get_mut() -= bytes;
            if *of_block.get() == 0 {
                of_block.remove();
            }
        }
    }
}

/// The reservation of one body; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<BodyBudget>,
    block: AddressBlock,
    bytes: usize,
    is_vouched: bool,
}

impl Reservation {
    /// Returns its size.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Allows it the reserved part, for a client that has authenticated before.
    pub(crate) fn vouched(mut self) -> Self {
        self.is_vouched = true;
        self
    }

    /// Grows it to this size, and returns whether it fits.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.bytes || self.budget.take(self.block, bytes - self.bytes, self.is_vouched);
        if fits {
            self.bytes = self.bytes.max(bytes);
        }
        fits
    }

    /// Grows it to this size, for a piece that has been read already.
    pub(crate) fn overdraw_to(&mut self, bytes: usize) {
        self.budget.overdraw(self.block, bytes.saturating_sub(self.bytes));
        self.bytes = self.bytes.max(bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.block, self.bytes);
    }
}

#[cfg(test)]
mod tests;
