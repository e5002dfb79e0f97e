//! The thread that empties the queue.

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

/// The pause before another attempt at a sink that does not block and takes nothing now.
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

/// While the sink fails there may never be another line, and it has to be tried all the same: then once is enough.
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
        // What a failure loses was counted when writing; most sinks have nothing to flush.
        let _ = self.sink.flush();
        self.ended(failure);
        true
    }

    /// Finds out whether a sink that failed takes lines again, where there is no other line to find it out by. Says
    /// whether it was tried.
    fn probe(&mut self) -> bool {
        if !self.queue.is_failing.load(Acquire) {
            return false;
        }
        let Some(report) = self.report_dropped() else { return false };
        let failure = self.write(&report.line, Some(&report));
        self.ended(failure);
        true
    }

    /// Writes lines, of which the last may be a report, and counts those that are lost. A report is not among them:
    /// what it told is told again.
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

    /// Remembers whether the sink took everything this time, and says so on standard error when that is different now.
    fn ended(&self, failure: Option<io::Error>) {
        let was_failing = self.queue.is_failing.swap(failure.is_some(), AcqRel);
        let missing = self.queue.dropped.sum();
        match failure {
            Some(why) if !was_failing => {
                self.tell(Level::Error, format!("error: the log cannot be written, lines are lost: {why}"));
            }
            None if was_failing => {
                let missing = format!("warning: the log is written again; {missing} lines were lost since the start");
                self.tell(Level::Warn, missing);
            }
            _ => {}
        }
    }

    /// Puts a line on standard error, from a thread that may wait for whoever reads it: this one may not. While one waits
    /// there is no other.
    fn tell(&self, level: Level, line: String) {
        let is_telling = self.queue.is_telling.clone();
        if is_telling.swap(true, AcqRel) {
            return;
        }
        // Without a thread, or with nobody at the other end, there is nobody left to tell.
        let told = thread::Builder::new().name("log-notice".into()).spawn(move || {
            let priority = if journal::is_journal(io::stderr()) { journal::priority(level) } else { "" };
            let _ = writeln!(io::stderr(), "{priority}{line}");
            is_telling.store(false, Release);
        });
        if told.is_err() {
            self.queue.is_telling.store(false, Release);
        }
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

    /// What says in the log itself that lines are missing from it, where they are missing; if it is due.
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

/// A line that says how many are missing.
struct Report {
    line: Vec<u8>,
    /// How many there were then, with those that were told before.
    up_to: u64,
}

/// What a sink did not take.
struct Failed {
    /// How many lines.
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
                // It moves: its time begins anew.
                queue.set_busy(true);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Standard output that shares its descriptor with a program which made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock && !queue.closed.load(Acquire) => thread::sleep(RETRY),
            // Gone, or (`Ok(0)`) unwilling for good.
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
