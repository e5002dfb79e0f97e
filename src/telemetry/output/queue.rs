//! The queue between the threads that log and the writer.

use std::{
    cell::RefCell,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed},
        },
    },
    thread::Thread,
    time::{Duration, Instant},
};

use log::Level;
use parking_lot::{Condvar, Mutex};

use crate::telemetry::{journal, metrics::Counter};

/// The time that the writer gathers lines before it writes them.
pub(crate) const GATHER: Duration = Duration::from_millis(20);

/// The most bytes that wait for the writer, for each thread that logs. Reserved when a thread logs for the first time:
/// address space at once, memory as it is touched. At 400 bytes a line and 50,000 lines a second on one thread, 20 ms
/// are 400 KB.
pub(crate) const MAX_QUEUED_BYTES: usize = 1 << 20;

/// The shortest time between two lines that report the number of missing ones, and the pause between two attempts at a
/// sink that fails while there is nothing else to write.
pub(crate) const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The time that the sink may take for one write before it counts as failing.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(1);

/// The fill level of a buffer at which the writer is woken early.
pub(super) const EARLY_WAKE_BYTES: usize = MAX_QUEUED_BYTES / 2;

/// The capacity of a buffer: it can hold one more line than is allowed to stay in it, because a line's length is known
/// only after it was appended.
pub(super) const BUFFER_BYTES: usize = MAX_QUEUED_BYTES + (64 << 10);

/// The error that the queue has no room for the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the log queue is full")
    }
}

impl std::error::Error for Full {}

/// The state that the logging threads and the writer share.
pub(super) struct Queue {
    pub(super) id: u64,
    /// One for each thread that logs. The lock is taken for a thread's first line and by the writer, which never holds
    /// it while it writes.
    pub(super) shards: Mutex<Vec<Arc<Shard>>>,
    /// Set while the writer sleeps and the next line has to wake it. The writer sets it before it looks into the shards
    /// a last time: a line that it does not see there was queued after that look, under the same lock, and sees this.
    pub(super) idle: AtomicBool,
    pub(super) closed: AtomicBool,
    pub(super) writer: OnceLock<Thread>,
    pub(super) flushes: Mutex<Flushes>,
    pub(super) flushed: Condvar,
    pub(super) dropped: Counter,
    /// Set if the journal reads the output.
    pub(super) is_journal: bool,
    /// Set if the sink did not take the last data written to it.
    pub(super) is_failing: AtomicBool,
    /// The time since when the sink is busy with one write, in milliseconds of `begun`, plus one; zero while it is not.
    pub(super) busy_since: AtomicU64,
    pub(super) begun: Instant,
    /// Set while a thread writes to standard error, which may take long.
    pub(super) is_telling: Arc<AtomicBool>,
}

#[derive(Default)]
pub(super) struct Flushes {
    pub(super) asked: u64,
    pub(super) done: u64,
}

/// The lines of one thread. Two cache lines wide, so that two threads' locks do not lie on one.
#[repr(align(128))]
pub(super) struct Shard {
    pub(super) bytes: Mutex<Vec<u8>>,
}

thread_local! {
    /// This thread's shard of each output it has written to: of one, outside tests.
    static SHARDS: RefCell<Vec<(u64, Arc<Shard>)>> = const { RefCell::new(Vec::new()) };
}

impl Queue {
    pub(super) fn priority(&self, level: Level) -> &'static str {
        if self.is_journal { journal::priority(level) } else { "" }
    }

    /// Returns this thread's shard, which is made on the thread's first line.
    #[inline]
    pub(super) fn shard(&self) -> Arc<Shard> {
        let known = SHARDS
            .try_with(|shards| shards.borrow().iter().find(|(id, _)| *id == self.id).map(|(_, shard)| shard.clone()));
        if let Ok(Some(shard)) = known { shard } else { self.first_line() }
    }

    #[cold]
    pub(super) fn first_line(&self) -> Arc<Shard> {
        let shard = self.adopt_or_add();
        // In a destructor this thread's list may be gone already; then the shard is released after the line.
        let _ = SHARDS.try_with(|shards| {
            let mut shards = shards.borrow_mut();
            // If an output is gone, this thread is the last to hold its shard.
            shards.retain(|(_, shard)| Arc::strong_count(shard) > 1);
            shards.push((self.id, shard.clone()));
        });
        shard
    }

    /// Returns a shard whose thread has ended, with the lines that still wait in it, or else a new one. So there are
    /// never more shards than there were threads at one time, even while the writer is stuck.
    pub(super) fn adopt_or_add(&self) -> Arc<Shard> {
        let mut shards = self.shards.lock();
        // A thread that adds to the count holds this lock or a shard already: a count of one stays one.
        if let Some(left) = shards.iter().find(|shard| Arc::strong_count(shard) == 1) {
            return left.clone();
        }
        let shard = Arc::new(Shard { bytes: Mutex::new(Vec::with_capacity(BUFFER_BYTES)) });
        shards.push(shard.clone());
        shard
    }

    pub(super) fn wake(&self) {
        // A writer that has not started yet looks at everything before it sleeps.
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Returns whether a caller waits for the writer.
    pub(super) fn is_urgent(&self) -> bool {
        let flushes = self.flushes.lock();
        flushes.done < flushes.asked || self.closed.load(Acquire)
    }

    pub(super) fn is_stuck(&self) -> bool {
        let since = self.busy_since.load(Relaxed);
        since > 0 && u128::from(since) + STUCK_AFTER.as_millis() < self.begun.elapsed().as_millis()
    }

    /// Notes that the sink is given data, or is done with it.
    pub(super) fn set_busy(&self, is_busy: bool) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        self.busy_since.store(if is_busy { now } else { 0 }, Relaxed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shards.lock().iter().all(|shard| shard.bytes.lock().is_empty())
    }
}

impl Shard {
    /// Appends a line, unless it would end beyond `limit`. Returns whether the buffer has just become half full.
    #[inline]
    pub(super) fn append(&self, limit: usize, line: impl FnOnce(&mut Vec<u8>)) -> Result<bool, Full> {
        let mut bytes = self.bytes.lock();
        let start = bytes.len();
        if start >= limit {
            return Err(Full);
        }
        line(&mut bytes);
        bytes.push(b'\n');
        if bytes.len() > limit {
            bytes.truncate(start);
            return Err(Full);
        }
        Ok(start < EARLY_WAKE_BYTES && bytes.len() >= EARLY_WAKE_BYTES)
    }
}
