//! How much all held bodies together may take.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The room for bodies that are held.
#[derive(Debug)]
pub struct Room {
    used_bytes: Arc<AtomicUsize>,
    max_bytes: AtomicUsize,
}

impl Room {
    /// As much as `server.max_held_body_bytes` is unless said otherwise.
    pub const DEFAULT_MAX_BYTES: usize = 256 << 20;

    /// Nothing taken yet; what is taken shows in `used_bytes`.
    pub fn new(used_bytes: Arc<AtomicUsize>) -> Self {
        Self { used_bytes, max_bytes: AtomicUsize::new(Self::DEFAULT_MAX_BYTES) }
    }

    /// Says how much there is. What is taken already stays taken.
    pub fn set_max_bytes(&self, max_bytes: usize) {
        self.max_bytes.store(max_bytes, Relaxed);
    }

    /// A part of it, empty so far.
    pub fn part(self: &Arc<Self>) -> Part {
        Part { room: self.clone(), bytes: 0 }
    }

    fn take(&self, bytes: usize) -> bool {
        let max_bytes = self.max_bytes.load(Relaxed);
        let grown = |used: usize| used.checked_add(bytes).filter(|used| *used <= max_bytes);
        self.used_bytes.fetch_update(Relaxed, Relaxed, grown).is_ok()
    }
}

/// What one body has of the room; given back when it is dropped.
#[derive(Debug)]
pub struct Part {
    room: Arc<Room>,
    bytes: usize,
}

impl Part {
    /// How much it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes it as large as this, if there is room.
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let has_room = bytes <= self.bytes || self.room.take(bytes - self.bytes);
        if has_room {
            self.bytes = self.bytes.max(bytes);
        }
        has_room
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.room.used_bytes.fetch_sub(self.bytes, Relaxed);
    }
}
