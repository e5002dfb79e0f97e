//! The thread that writes the queued lines.

use std::{
    io::{self, ErrorKind, Write},
    sync::{
        Arc,
        atomic::Ordering::{AcqRel, Acquire, Release, SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use log::Level;

use super::queue::{BUFFER_BYTES, GATHER, Queue, REPORT_EVERY};
use crate::telemetry::{clock, journal, json::Object};

/// The pause before another attempt at a non-blocking sink that takes nothing now.
const RETRY: Duration = Duration::from_millis(5);

/// Writes lines until the queue is closed and empty.
pub(super) fn run(queue: &Queue, sink: impl Write) {
    queue.writer.set(thread::current()).expect("a queue has one writer");
    let mut writer = Writer { queue, sink, buffers: Vec::new(), torn: false, reported: 0, reported_at: None };
    loop {
        let asked = queue.flushes.lock().asked;
        let closed = queue.closed.load(Acquire);
        let wrote = writer.write_queued() || writer.probe();
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

/// Sleeps until there is a line. While the sink fails there may never be one, and it has to be tried all the same: then
/// only for a limited time.
fn sleep_until_line(queue: &Queue) {
    queue.idle.store(true, SeqCst);
    if queue.is_empty() {
        while queue.idle.load(Acquire) && !queue.is_urgent() {
            if queue.is_failing.load(Acquire) {
                thread::park_timeout(REPORT_EVERY);
                break;
            }
            thread::park();
        }
    }
    queue.idle.store(false, SeqCst);
}

struct Writer<'a, W> {
    queue: &'a Queue,
    sink: W,
    /// The buffers being written, which become the empty ones of the next exchange.
    buffers: Vec<Vec<u8>>,
    /// Set if the sink failed in the middle of a line.
    torn: bool,
    /// The number of dropped lines that the log has reported.
    reported: u64,
    reported_at: Option<Instant>,
}

impl<W: Write> Writer<'_, W> {
    /// Writes everything that is queued now. Returns whether there was anything.
    fn write_queued(&mut self) -> bool {
        let taken = self.take();
        let Some(last) = taken.checked_sub(1) else { return false };
        let report = self.report_dropped();
        let mut failure = None;
        for number in 0..taken {
            let report = report.as_ref().filter(|_| number == last);
            let mut bytes = std::mem::take(&mut self.buffers[number]);
            report.iter().for_each(|report| bytes.extend_from_slice(&report.line));
            failure = failure.or(self.write(&bytes, report));
            bytes.clear();
            self.buffers[number] = bytes;
        }
        // Losses were counted when writing; most sinks have nothing to flush.
        let _ = self.sink.flush();
        self.ended(failure);
        true
    }

    /// Tries whether a sink that failed takes lines again, if there is no other line to try it with. Returns whether it
    /// was tried.
    fn probe(&mut self) -> bool {
        if !self.queue.is_failing.load(Acquire) {
            return false;
        }
        let Some(report) = self.report_dropped() else { return false };
        let failure = self.write(&report.line, Some(&report));
        self.ended(failure);
        true
    }

    /// Writes lines, of which the last may be a report, and counts those that are lost. A lost report is not counted:
    /// its content is reported again.
    fn write(&mut self, bytes: &[u8], report: Option<&Report>) -> Option<io::Error> {
        match write(&mut self.sink, bytes, &mut self.torn, self.queue) {
            Ok(()) => {
                self.reported = report.map_or(self.reported, |report| report.up_to);
                None
            }
            Err(failed) => {
                self.queue.dropped.add(failed.lost - u64::from(report.is_some()));
                Some(failed.why)
            }
        }
    }

    /// Notes whether the sink took everything this time, and reports a change on standard error.
    fn ended(&self, failure: Option<io::Error>) {
        let was_failing = self.queue.is_failing.swap(failure.is_some(), AcqRel);
        let missing = self.queue.dropped.sum();
        match failure {
            Some(why) if !was_failing => {
                self.tell(Level::Error, format!("error: the log cannot be written, lines are lost: {why}"));
            }
            None if was_failing => {
                let missing = format!("warning: the log is written again; lines lost since the start: {missing}");
                self.tell(Level::Warn, missing);
            }
            _ => {}
        }
    }

    /// Writes a line to standard error, from a thread of its own that may block: this one may not. There is only one
    /// such thread at a time.
    fn tell(&self, level: Level, line: String) {
        let is_telling = self.queue.is_telling.clone();
        if is_telling.swap(true, AcqRel) {
            return;
        }
        // Without a thread, or with a closed standard error, nothing more can be done.
        let told = thread::Builder::new().name("log-notice".into()).spawn(move || {
            let priority = if journal::is_journal(io::stderr()) { journal::priority(level) } else { "" };
            let _ = writeln!(io::stderr(), "{priority}{line}");
            is_telling.store(false, Release);
        });
        if told.is_err() {
            self.queue.is_telling.store(false, Release);
        }
    }

    /// Exchanges the buffers of all shards for empty ones, and releases the shards of threads that have ended. Returns
    /// how many of [`Self::buffers`] are filled now.
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

    /// Returns the log line that reports missing lines, if there are any and a report is due.
    fn report_dropped(&mut self) -> Option<Report> {
        let up_to = self.queue.dropped.sum();
        if up_to == self.reported || self.reported_at.is_some_and(|at| at.elapsed() < REPORT_EVERY) {
            return None;
        }
        let mut line = self.queue.priority(Level::Warn).as_bytes().to_vec();
        Object::begin(&mut line)
            .plain("time", clock::now)
            .str("level", "warn")
            .str("event", "log_lines_dropped")
            .str("message", "the log was not read fast enough, or could not be written")
            .num("count", up_to - self.reported)
            .end();
        line.push(b'\n');
        self.reported_at = Some(Instant::now());
        Some(Report { line, up_to })
    }
}

/// A line that reports the number of missing lines.
struct Report {
    line: Vec<u8>,
    /// The number up to then, including those reported before.
    up_to: u64,
}

/// A failed write.
struct Failed {
    /// The number of lines lost.
    lost: u64,
    why: io::Error,
}

/// Writes all of `bytes`, or as much as the sink takes before it fails. A sink that is gone fails at once each time:
/// that is at most one call for each [`GATHER`].
fn write(sink: &mut impl Write, bytes: &[u8], torn: &mut bool, queue: &Queue) -> Result<(), Failed> {
    queue.set_busy(true);
    let written = write_all(sink, bytes, torn, queue);
    queue.set_busy(false);
    written
}

#[expect(clippy::disallowed_methods, reason = "this is the writer's own thread, and its sink asks to be left alone")]
fn write_all(sink: &mut impl Write, bytes: &[u8], torn: &mut bool, queue: &Queue) -> Result<(), Failed> {
    let mut rest = bytes;
    while !rest.is_empty() {
        // After half a line the next one begins on a line of its own.
        let next = if *torn { &b"\n"[..] } else { rest };
        match sink.write(next) {
            Ok(1) if *torn => *torn = false,
            Ok(count) if count > 0 => {
                rest = &rest[count..];
                // It makes progress: its time begins anew.
                queue.set_busy(true);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Standard output that shares its descriptor with a program which made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock && !queue.closed.load(Acquire) => thread::sleep(RETRY),
            // Gone, or (`Ok(0)`) permanently unwilling.
            refused => {
                let written = bytes.len() - rest.len();
                *torn = *torn || bytes[..written].last().is_some_and(|&byte| byte != b'\n');
                let why = refused.err().unwrap_or_else(|| ErrorKind::WriteZero.into());
                return Err(Failed { lost: lines(rest), why });
            }
        }
    }
    Ok(())
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}
