//! The thread that empties the queue.

use std::{
    io::{ErrorKind, Write},
    sync::{
        Arc,
        atomic::Ordering::{Acquire, SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use super::{BUFFER_BYTES, GATHER, Queue};
use crate::telemetry::{clock, json::Object};

/// The pause before another attempt at a sink that does not block and takes nothing now.
const RETRY: Duration = Duration::from_millis(5);

/// The shortest time between two lines that say how many were dropped.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Writes lines until the queue is closed and empty.
pub(super) fn run(queue: &Queue, sink: impl Write) {
    queue.writer.set(thread::current()).expect("a queue has one writer");
    let mut writer = Writer { queue, sink, buffers: Vec::new(), torn: false, reported: 0, reported_at: None };
    loop {
        let asked = queue.flushes.lock().asked;
        let closed = queue.closed.load(Acquire);
        let wrote = writer.write_queued();
        queue.flushes.lock().done = asked;
        queue.flushed.notify_all();
        if closed {
            return;
        }
        if !wrote {
            sleep_until_line(queue);
        }
        if !queue.is_urgent() {
            // A flush, or a buffer that is half full, ends this early.
            thread::park_timeout(GATHER);
        }
    }
}

fn sleep_until_line(queue: &Queue) {
    queue.idle.store(true, SeqCst);
    if queue.is_empty() {
        while queue.idle.load(Acquire) && !queue.is_urgent() {
            thread::park();
        }
    }
    queue.idle.store(false, SeqCst);
}

struct Writer<'a, W> {
    queue: &'a Queue,
    sink: W,
    /// What is written now, and after that the empty buffers of the next exchange.
    buffers: Vec<Vec<u8>>,
    /// The sink failed in the middle of a line.
    torn: bool,
    /// How many dropped lines the log has been told of.
    reported: u64,
    reported_at: Option<Instant>,
}

impl<W: Write> Writer<'_, W> {
    /// Writes everything that is queued now. Says whether there was anything.
    fn write_queued(&mut self) -> bool {
        let taken = self.take();
        if let Some(last) = taken.checked_sub(1) {
            self.report_dropped(last);
        }
        for buffer in &mut self.buffers[..taken] {
            let lost = write(&mut self.sink, buffer, &mut self.torn, self.queue);
            self.queue.dropped.add(lost);
            buffer.clear();
        }
        if taken > 0 {
            // What a failure loses was counted when writing; most sinks have nothing to flush.
            let _ = self.sink.flush();
        }
        taken > 0
    }

    /// Exchanges the buffers of all shards against empty ones, and lets go of the shards of threads that have ended.
    /// Says how many of [`Self::buffers`] are filled now.
    fn take(&mut self) -> usize {
        let mut taken = 0;
        let mut shards = self.queue.shards.lock();
        shards.retain_mut(|shard| {
            let has_ended = Arc::get_mut(shard).is_some();
            let mut bytes = shard.bytes.lock();
            if !bytes.is_empty() {
                if taken == self.buffers.len() {
                    self.buffers.push(Vec::with_capacity(BUFFER_BYTES));
                }
                std::mem::swap(&mut *bytes, &mut self.buffers[taken]);
                taken += 1;
            }
            !has_ended
        });
        self.buffers.truncate(shards.len().max(taken));
        taken
    }

    /// Says in the log itself that lines are missing from it, where they are missing.
    fn report_dropped(&mut self, buffer: usize) {
        let dropped = self.queue.dropped.sum();
        if dropped == self.reported || self.reported_at.is_some_and(|at| at.elapsed() < REPORT_EVERY) {
            return;
        }
        let line = &mut self.buffers[buffer];
        Object::begin(line)
            .plain("time", clock::now)
            .str("level", "warn")
            .str("event", "log_lines_dropped")
            .str("message", "the log was not read fast enough")
            .num("count", dropped - self.reported)
            .end();
        line.push(b'\n');
        self.reported = dropped;
        self.reported_at = Some(Instant::now());
    }
}

/// Writes all of `bytes`, or as much as the sink takes before it fails; says how many lines were lost. A sink that is
/// gone fails at once each time: that is at most one call for each [`GATHER`].
#[expect(clippy::disallowed_methods, reason = "this is the writer's own thread, and its sink asks to be left alone")]
fn write(sink: &mut impl Write, bytes: &[u8], torn: &mut bool, queue: &Queue) -> u64 {
    let mut rest = bytes;
    while !rest.is_empty() {
        // After half a line the next one begins on a line of its own.
        let next = if *torn { &b"\n"[..] } else { rest };
        match sink.write(next) {
            Ok(1) if *torn => *torn = false,
            Ok(count) if count > 0 => rest = &rest[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Standard output that shares its descriptor with a program which made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock && !queue.closed.load(Acquire) => thread::sleep(RETRY),
            // Gone, or (`Ok(0)`) unwilling for good.
            _ => {
                let written = bytes.len() - rest.len();
                *torn = *torn || bytes[..written].last().is_some_and(|&byte| byte != b'\n');
                return lines(rest);
            }
        }
    }
    0
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}
