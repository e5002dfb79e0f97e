//! Lines on their way to standard output: a bounded queue and one writer thread.
//!
//! A line is written straight into a buffer of the thread it comes from, under a lock that only the writer ever
//! contends for, and only for the time of exchanging two buffers. The writer gathers for [`GATHER`] and writes each
//! buffer in one call. While there is nothing to write it sleeps until the first line wakes it. So under load a line
//! costs no system call, and an idle gateway does not wake up.
//!
//! Lines are whole and never mixed. Those of one thread are in order; between threads a line may be late by [`GATHER`].
//!
//! # The danger
//! The reader of the log may stop reading. Then each thread keeps [`MAX_QUEUED_BYTES`], the writer as much again, and
//! further lines are dropped and counted: a request never waits here, and memory does not grow. Access lines stop
//! [`AUDIT_ROOM_BYTES`] earlier than all others, so that a flood of them does not displace an audit event.
//!
//! A sink that fails (`EPIPE` of a reader that is gone, `ENOSPC` of a full disk) costs the lines that are written to
//! it, and nothing else: they are counted, and memory does not grow here either. The queue is then empty and has room
//! all the same. So a caller that admits requests only with an audit event must also check [`Output::is_failing`]. The
//! writer notices when it writes: the events of the last [`GATHER`] before that are lost, although their requests were
//! admitted; with a sink that hangs before it fails, those of [`STUCK_AFTER`] too. Every [`REPORT_EVERY`] it tries
//! again with a line of its own, because no request may be admitted to cause one. A line on standard error reports that
//! writing has begun to fail, and that it works again; a sink that only hangs is not reported.
//!
//! [`GATHER`]: queue::GATHER
//! [`REPORT_EVERY`]: queue::REPORT_EVERY
//! [`STUCK_AFTER`]: queue::STUCK_AFTER

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    thread,
    time::{Duration, Instant},
};

use log::Level;
use parking_lot::{Condvar, Mutex};

use super::{journal, metrics::Counter};

mod queue;
mod writer;

use self::queue::Queue;
pub(crate) use self::queue::{Full, MAX_QUEUED_BYTES};

/// The part of [`MAX_QUEUED_BYTES`] that access lines leave to others.
pub(crate) const AUDIT_ROOM_BYTES: usize = MAX_QUEUED_BYTES / 4;

/// The time that an audit event may wait for room, in steps of [`AUDIT_RETRY`], before it is dropped or its request
/// refused. The caller of [`Output::try_audit`] waits: the queue itself never does.
pub(crate) const AUDIT_WAIT: Duration = Duration::from_millis(50);

/// The pause between two attempts to queue an audit event.
pub(crate) const AUDIT_RETRY: Duration = Duration::from_millis(5);

/// The share of the queue that a line may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Access lines: the first to be dropped.
    Low,
    /// Everything else.
    High,
}

/// The destination of lines. Clones are the same output; when the last one is dropped the writer writes the queued
/// lines and ends.
#[derive(Clone)]
pub(crate) struct Output {
    owner: Arc<Owner>,
}

/// Ends the writer with the last [`Output`].
struct Owner(Arc<Queue>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.closed.store(true, Release);
        self.0.wake();
    }
}

impl Output {
    /// Returns an output to the standard output of the process, past the buffer and the lock of [`io::stdout`]: a
    /// writer that is stuck must hold up neither a `println!` nor the end of the process.
    pub(crate) fn stdout() -> io::Result<Self> {
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let is_journal = journal::is_journal(&stdout);
        Self::start_with(stdout, is_journal)
    }

    /// Returns an output to `sink`, with its writer thread. The sink may block.
    pub(crate) fn start(sink: impl Write + Send + 'static) -> io::Result<Self> {
        Self::start_with(sink, false)
    }

    fn start_with(sink: impl Write + Send + 'static, is_journal: bool) -> io::Result<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let queue = Arc::new(Queue {
            id: NEXT_ID.fetch_add(1, Relaxed),
            shards: Mutex::default(),
            idle: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            writer: OnceLock::new(),
            flushes: Mutex::default(),
            flushed: Condvar::new(),
            dropped: Counter::default(),
            is_journal,
            is_failing: AtomicBool::new(false),
            busy_since: AtomicU64::new(0),
            begun: Instant::now(),
            is_telling: Arc::default(),
        });
        let theirs = queue.clone();
        thread::Builder::new().name("log-writer".into()).spawn(move || writer::run(&theirs, sink))?;
        Ok(Self { owner: Arc::new(Owner(queue)) })
    }

    /// Queues the text that `line` appends, and a line end. If there is no room for it nothing is queued, and nothing
    /// counted.
    ///
    /// `line` runs under the lock of this thread's buffer: it must not log.
    #[inline]
    pub(crate) fn try_line(&self, urgency: Urgency, line: impl FnOnce(&mut Vec<u8>)) -> Result<(), Full> {
        let queue = &*self.owner.0;
        let limit = match urgency {
            Urgency::Low => MAX_QUEUED_BYTES - AUDIT_ROOM_BYTES,
            Urgency::High => MAX_QUEUED_BYTES,
        };
        let half_full = queue.shard().append(limit, line)?;
        // Read first: all threads share this cache line, and only the one that wakes the writer may write to it.
        let asleep = queue.idle.load(Relaxed) && queue.idle.swap(false, AcqRel);
        if asleep || half_full {
            queue.wake();
        }
        Ok(())
    }

    /// Returns the prefix of a line of this level.
    pub(crate) fn priority(&self, level: Level) -> &'static str {
        self.owner.0.priority(level)
    }

    /// Counts a line that the caller gave up on.
    pub(crate) fn count_dropped(&self) {
        self.owner.0.dropped.add(1);
    }

    /// Returns the number of dropped lines so far: those without room, and those that the sink did not take.
    pub(crate) fn dropped(&self) -> u64 {
        self.owner.0.dropped.sum()
    }

    /// Returns whether lines that are queued now are likely to be lost: the sink did not take the lines before, or has
    /// been busy with them for [`STUCK_AFTER`](queue::STUCK_AFTER) and may never take them.
    pub(crate) fn is_failing(&self) -> bool {
        let queue = &self.owner.0;
        queue.is_failing.load(Acquire) || queue.is_stuck()
    }

    /// Waits until everything that was queued before has been handed to the sink, at most for `timeout`; returns
    /// whether it was.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let queue = &*self.owner.0;
        let deadline = Instant::now() + timeout;
        let mut flushes = queue.flushes.lock();
        flushes.asked += 1;
        let mine = flushes.asked;
        queue.wake();
        while flushes.done < mine {
            if queue.flushed.wait_until(&mut flushes, deadline).timed_out() {
                return flushes.done >= mine;
            }
        }
        true
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
