#![expect(clippy::disallowed_methods, reason = "these tests are about time that passes")]

use std::{
    cell::RefCell,
    collections::HashMap,
    io::{ErrorKind, Read, pipe},
    sync::{
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc::TryRecvError,
    },
};

use super::{
    queue::{EARLY_WAKE_BYTES, GATHER, Shard},
    *,
};
use crate::telemetry::Note;

const LONG: Duration = Duration::from_secs(20);

/// A sink that remembers what it was given, and can be closed for a while.
#[derive(Clone, Default)]
struct Sink {
    bytes: Arc<Mutex<Vec<u8>>>,
    closed: Arc<Mutex<bool>>,
    opened: Arc<Condvar>,
    entered: Arc<AtomicUsize>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.entered.fetch_add(1, SeqCst);
        let mut closed = self.closed.lock();
        while *closed {
            self.opened.wait(&mut closed);
        }
        self.bytes.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn set_closed(&self, closed: bool) {
        *self.closed.lock() = closed;
        self.opened.notify_all();
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.bytes.lock().clone()).unwrap().lines().map(str::to_owned).collect()
    }

    /// Closes it, and waits until the writer is stuck in it.
    fn jam(&self, output: &Output) {
        self.set_closed(true);
        let before = self.entered.load(SeqCst);
        say(output, "jam").unwrap();
        until(|| self.entered.load(SeqCst) > before);
    }
}

fn say(output: &Output, line: &str) -> Result<(), Full> {
    output.try_line(Urgency::High, |buffer| buffer.extend_from_slice(line.as_bytes()))
}

fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "it never came true");
        thread::sleep(Duration::from_millis(1));
    }
}

fn queued_bytes(output: &Output) -> usize {
    output.owner.0.shards.lock().iter().map(|shard| shard.bytes.lock().len()).sum()
}

/// A sink that answers according to a script.
struct Scripted<F>(F);

impl<F: FnMut(&[u8]) -> io::Result<usize>> Write for Scripted<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_of_many_threads_are_whole_and_in_order() {
    const THREADS: usize = 8;
    const LINES: usize = 3_000;
    let sink = Sink::default();
    let output = Output::start(sink.clone()).unwrap();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let output = &output;
            scope.spawn(move || {
                for number in 0..LINES {
                    let filling = "x".repeat(number % 97);
                    while say(output, &format!("{thread} {number} {filling} end")).is_err() {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            });
        }
    });
    assert!(output.flush(LONG));
    let mut next = HashMap::new();
    for line in sink.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [thread, number, filling, "end"] = words[..] else { panic!("torn: {line}") };
        assert!(filling.bytes().all(|byte| byte == b'x'), "mixed: {line}");
        let expected = next.entry(thread.to_owned()).or_insert(0);
        assert_eq!(number.parse::<usize>().unwrap(), *expected);
        *expected += 1;
    }
    assert_eq!(next.len(), THREADS);
    assert!(next.values().all(|&count| count == LINES));
}

#[test]
fn a_pipe_that_nobody_reads_holds_up_nobody_and_does_not_grow() {
    const THREADS: usize = 4;
    const LINES: usize = 40_000;
    let (mut reader, pipe) = pipe().unwrap();
    let output = Output::start(pipe).unwrap();
    let line = "y".repeat(99);
    let began = Instant::now();
    let queued: usize = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|_| scope.spawn(|| (0..LINES).filter(|_| say(&output, &line).is_ok()).count())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(began.elapsed() < LONG, "the threads waited for the reader");
    // The queue, as much again in the writer, and the content of the pipe.
    let bound = 2 * THREADS * MAX_QUEUED_BYTES + (1 << 20);
    assert!(queued < THREADS * LINES && queued * 100 < bound, "{queued}");
    assert!(queued_bytes(&output) <= THREADS * MAX_QUEUED_BYTES);
    assert!(!output.flush(Duration::from_millis(20)), "nothing can be flushed into a full pipe");

    drop(output);
    let mut told = String::new();
    reader.read_to_string(&mut told).unwrap();
    assert_eq!(told.lines().filter(|told| *told == line).count(), queued, "every queued line came out whole");
}

#[test]
fn access_lines_leave_room_for_the_others() {
    let sink = Sink::default();
    let output = Output::start(sink.clone()).unwrap();
    sink.jam(&output);
    let line = |buffer: &mut Vec<u8>| buffer.extend_from_slice(&[b'z'; 999]);
    while output.try_line(Urgency::Low, line).is_ok() {}
    assert!(queued_bytes(&output) <= MAX_QUEUED_BYTES - AUDIT_ROOM_BYTES);
    for _ in 0..AUDIT_ROOM_BYTES / 1000 {
        output.try_line(Urgency::High, line).unwrap();
    }
    assert_eq!(output.try_line(Urgency::High, line), Err(Full));
    assert_eq!(output.dropped(), 0, "who gives up counts");
    output.note(&Note { level: Level::Info, event: "test", message: &"x".repeat(1000), fields: &[] });
    assert_eq!(output.dropped(), 1);
    sink.set_closed(false);
    assert!(output.flush(LONG));
    output.try_line(Urgency::Low, line).unwrap();
}

#[test]
fn a_line_longer_than_the_queue_is_refused_alone() {
    let sink = Sink::default();
    let output = Output::start(sink.clone()).unwrap();
    say(&output, "before").unwrap();
    assert_eq!(say(&output, &"x".repeat(MAX_QUEUED_BYTES)), Err(Full));
    say(&output, "after").unwrap();
    assert!(output.flush(LONG));
    assert_eq!(sink.lines(), ["before", "after"]);
}

#[test]
fn a_flush_waits_no_longer_than_it_was_told() {
    let sink = Sink::default();
    let output = Output::start(sink.clone()).unwrap();
    sink.jam(&output);
    say(&output, "queued").unwrap();
    assert!(!output.flush(Duration::from_millis(30)));
    sink.set_closed(false);
    assert!(output.flush(LONG));
    assert_eq!(sink.lines(), ["jam", "queued"]);
    assert!(output.flush(LONG), "with nothing to do");
}

#[test]
fn the_log_says_how_many_lines_it_lacks() {
    let sink = Sink::default();
    let output = Output::start(sink.clone()).unwrap();
    for _ in 0..3 {
        output.count_dropped();
    }
    say(&output, "line").unwrap();
    assert!(output.flush(LONG));
    output.count_dropped();
    say(&output, "line").unwrap();
    assert!(output.flush(LONG));
    let lines = sink.lines();
    assert_eq!(lines.len(), 3, "one report a second: {lines:?}");
    let report: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!((report["event"].as_str(), report["count"].as_u64()), (Some("log_lines_dropped"), Some(3)));
}

#[test]
fn a_reader_that_is_gone_costs_its_lines_and_nothing_else() {
    let (reader, pipe) = pipe().unwrap();
    drop(reader);
    let output = Output::start(pipe).unwrap();
    for _ in 0..5 {
        say(&output, "line").unwrap();
    }
    assert!(output.flush(LONG));
    assert_eq!(output.dropped(), 5);
}

/// Returns an output whose sink takes nothing while `broken`, and counts the attempts.
fn breakable() -> (Output, Arc<AtomicBool>, Sink) {
    let (broken, sink) = (Arc::new(AtomicBool::new(false)), Sink::default());
    let (is_broken, mut behind) = (broken.clone(), sink.clone());
    let output = Output::start(Scripted(move |bytes: &[u8]| {
        if is_broken.load(SeqCst) {
            behind.entered.fetch_add(1, SeqCst);
            return Err(ErrorKind::StorageFull.into());
        }
        behind.write(bytes)
    }));
    (output.unwrap(), broken, sink)
}

#[test]
fn a_sink_that_fails_is_failing_until_it_takes_a_line() {
    let (output, broken, sink) = breakable();
    for round in 1..4 {
        say(&output, "taken").unwrap();
        assert!(output.flush(LONG) && !output.is_failing());
        broken.store(true, SeqCst);
        say(&output, "lost").unwrap();
        assert!(output.flush(LONG) && output.is_failing());
        assert_eq!(output.dropped(), round);
        broken.store(false, SeqCst);
    }
    say(&output, "last").unwrap();
    assert!(output.flush(LONG) && !output.is_failing());
    assert_eq!(sink.lines().iter().filter(|line| *line == "taken").count(), 3);
}

#[test]
fn a_sink_that_failed_is_found_to_take_lines_again_though_nobody_has_any() {
    let (output, broken, sink) = breakable();
    broken.store(true, SeqCst);
    say(&output, "lost").unwrap();
    say(&output, "lost").unwrap();
    until(|| output.is_failing());
    let tried = sink.entered.load(SeqCst);
    until(|| sink.entered.load(SeqCst) >= tried + 2);
    assert!(output.is_failing());
    assert_eq!(output.dropped(), 2, "the attempts are no lines that anybody misses");
    // An event that was not queued at all.
    output.count_dropped();
    broken.store(false, SeqCst);
    until(|| !output.is_failing());
    let lines = sink.lines();
    let report: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((lines.len(), report["count"].as_u64()), (1, Some(3)), "what no attempt could tell is told");
    until(|| output.owner.0.idle.load(SeqCst));
}

#[test]
fn a_sink_that_hangs_is_failing_until_it_moves() {
    for hangs in [true, false] {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let output = Output::start(Scripted(move |bytes: &[u8]| match (hangs, held.try_recv()) {
            (true, Err(TryRecvError::Empty)) => {
                held.recv().map(|()| bytes.len()).map_err(|_| ErrorKind::BrokenPipe.into())
            }
            (false, Err(TryRecvError::Empty)) => Err(ErrorKind::WouldBlock.into()),
            _ => Ok(bytes.len()),
        }))
        .unwrap();
        say(&output, "waits").unwrap();
        assert!(!output.is_failing(), "it may only be slow");
        until(|| output.is_failing());
        release.send(()).ok();
        until(|| !output.is_failing());
        drop(release);
    }
}

#[test]
fn a_sink_that_fails_is_not_tried_all_the_time() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let output = Output::start(Scripted(move |_: &[u8]| {
        counted.fetch_add(1, SeqCst);
        Err(ErrorKind::BrokenPipe.into())
    }))
    .unwrap();
    let began = Instant::now();
    while began.elapsed() < GATHER * 10 {
        say(&output, "line").unwrap();
        thread::sleep(Duration::from_micros(50));
    }
    assert!(output.flush(LONG));
    let gathers = began.elapsed().as_millis() / GATHER.as_millis();
    let calls = calls.load(SeqCst) as u128;
    assert!(calls <= gathers + 4, "{calls} calls in {gathers} times of gathering");
}

#[test]
fn after_half_a_line_the_next_begins_on_its_own() {
    let written = Arc::new(Mutex::new(Vec::new()));
    let sink = written.clone();
    let mut room = 7;
    let output = Output::start(Scripted(move |bytes: &[u8]| {
        if room == 0 {
            room = usize::MAX;
            return Err(ErrorKind::StorageFull.into());
        }
        let count = bytes.len().min(room);
        room -= count;
        sink.lock().extend_from_slice(&bytes[..count]);
        Ok(count)
    }))
    .unwrap();
    say(&output, "0123").unwrap();
    say(&output, "torn").unwrap();
    assert!(output.flush(LONG));
    assert_eq!(output.dropped(), 1);
    say(&output, "whole").unwrap();
    assert!(output.flush(LONG));
    let text = String::from_utf8(written.lock().clone()).unwrap();
    assert!(text.starts_with("0123\nto\nwhole\n{"), "{text}");
}

#[test]
fn a_sink_that_does_not_block_is_tried_again() {
    let written = Arc::new(Mutex::new(Vec::new()));
    let sink = written.clone();
    let mut calls = 0;
    let output = Output::start(Scripted(move |bytes: &[u8]| {
        calls += 1;
        match calls % 3 {
            0 => Err(ErrorKind::WouldBlock.into()),
            1 => Err(ErrorKind::Interrupted.into()),
            _ => {
                sink.lock().push(bytes[0]);
                Ok(1)
            }
        }
    }))
    .unwrap();
    say(&output, "abc").unwrap();
    assert!(output.flush(LONG));
    assert_eq!(*written.lock(), b"abc\n");
    assert_eq!(output.dropped(), 0);
}

#[test]
fn shards_of_threads_that_have_ended_are_let_go() {
    let sink = Sink::default();
    let output = Output::start(sink.clone()).unwrap();
    let shards = || output.owner.0.shards.lock().len();
    for number in 0..50 {
        thread::scope(|scope| scope.spawn(|| say(&output, &number.to_string()).unwrap()).join().unwrap());
    }
    assert!(output.flush(LONG));
    until(|| output.flush(LONG) && shards() == 0);
    assert_eq!(sink.lines().len(), 50, "what they said is not lost");

    sink.jam(&output);
    let before = shards();
    for number in 0..50 {
        thread::scope(|scope| scope.spawn(|| say(&output, &number.to_string()).unwrap()).join().unwrap());
    }
    // A scope ends before its threads' locals are dropped: an overlap of a few is possible.
    assert!(shards() <= before + 10, "a stuck writer must not collect shards: {}", shards());
    sink.set_closed(false);
    assert!(output.flush(LONG));
    assert_eq!(sink.lines().len(), 101);
}

#[test]
fn the_first_line_wakes_the_writer() {
    let sink = Sink::default();
    let output = Output::start(sink.clone()).unwrap();
    for count in 1..20 {
        until(|| output.owner.0.idle.load(SeqCst));
        say(&output, "line").unwrap();
        until(|| sink.lines().len() == count);
    }
}

#[test]
fn a_buffer_asks_for_the_writer_once_it_is_half_full() {
    let shard = Shard { bytes: Mutex::default() };
    let line = |buffer: &mut Vec<u8>| buffer.extend_from_slice(&[b'x'; EARLY_WAKE_BYTES / 4]);
    let asked: Vec<_> = (0..8).map(|_| shard.append(MAX_QUEUED_BYTES, line)).collect();
    assert_eq!(asked, [Ok(false), Ok(false), Ok(false), Ok(true), Ok(false), Ok(false), Ok(false), Err(Full)]);

    // An idle writer is woken by the same line that makes the buffer half full.
    let sink = Sink::default();
    let output = Output::start(sink.clone()).unwrap();
    until(|| output.owner.0.idle.load(SeqCst));
    say(&output, &"x".repeat(EARLY_WAKE_BYTES)).unwrap();
    until(|| sink.lines().len() == 1);
}

#[cfg(target_os = "linux")]
#[test]
fn an_idle_writer_sleeps() {
    let thread = Arc::new(OnceLock::new());
    let found = thread.clone();
    let output = Output::start(Scripted(move |bytes: &[u8]| {
        found.get_or_init(|| std::fs::read_link("/proc/thread-self").unwrap());
        Ok(bytes.len())
    }))
    .unwrap();
    say(&output, "line").unwrap();
    assert!(output.flush(LONG));
    until(|| output.owner.0.idle.load(SeqCst));
    thread::sleep(GATHER);
    let status = std::path::Path::new("/proc").join(thread.get().unwrap()).join("status");
    let switches = || {
        let status = std::fs::read_to_string(&status).unwrap();
        status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap().to_owned()
    };
    let before = switches();
    thread::sleep(GATHER * 10);
    assert_eq!(switches(), before);
}

#[test]
fn the_last_output_ends_the_writer_which_writes_everything() {
    let sink = Sink::default();
    let output = Output::start(sink.clone()).unwrap();
    let again = output.clone();
    drop(output);
    say(&again, "last").unwrap();
    let queue = Arc::downgrade(&again.owner.0);
    drop(again);
    until(|| queue.strong_count() == 0);
    assert_eq!(sink.lines(), ["last"]);
}

#[test]
fn a_line_from_a_destructor_of_a_thread_arrives() {
    struct Late(Output);
    impl Drop for Late {
        fn drop(&mut self) {
            say(&self.0, "late").unwrap();
        }
    }
    thread_local! {
        static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
    }
    let sink = Sink::default();
    let output = Output::start(sink.clone()).unwrap();
    let theirs = output.clone();
    thread::spawn(move || {
        // Registered first, and so dropped last or first: both have to work.
        LATE.with(|late| *late.borrow_mut() = Some(Late(theirs.clone())));
        say(&theirs, "early").unwrap();
    })
    .join()
    .unwrap();
    until(|| output.flush(LONG) && sink.lines().len() == 2);
    assert_eq!(sink.lines(), ["early", "late"]);
}
