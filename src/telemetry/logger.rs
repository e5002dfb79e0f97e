//! Writes messages of libraries through the `log` crate as lines of the same output.
//!
//! # The danger
//! Pingora writes whole request heads at debug and trace, and so does `h2`: whatever the level, those targets never go
//! below info. At warn and error Pingora writes lines that a client causes, one for each connection that it breaks:
//! only so many a second are shown per target, and then the number of suppressed ones.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError, kv::Key};

use super::{
    clock,
    events::{MAX_MESSAGE_BYTES, level_name},
    json::{Object, cut},
    output::{Output, Urgency},
};

/// The most lines of one Pingora target that are shown in a second, at warn and error.
pub(crate) const MAX_LINES_PER_SECOND: u32 = 10;

/// The longest wait of [`Log::flush`].
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The number of counters for targets; two that fall on the same one share its lines.
const PLACES: usize = 64;

/// The fields of a record that become fields of its line, so that a line can be found by them: `log::info!(request_id =
/// cx.request_id(); "...")`. A fixed list, and texts alone: other fields that libraries add to their records may
/// contain anything.
pub(crate) const FIELDS: [&str; 6] = ["request_id", "policy", "route", "listener", "address", "reason"];

/// The most bytes of such a field.
const MAX_FIELD_BYTES: usize = 256;

/// The logger of the process.
pub(crate) struct Logger {
    output: Output,
    level: LevelFilter,
    started: Instant,
    places: [Place; PLACES],
}

/// Counts the lines of one target, or of those that share its place, in a second.
#[derive(Default)]
struct Place {
    /// The second in the upper half, the number of its lines in the lower one.
    shown: AtomicU64,
    suppressed: AtomicU64,
}

impl Logger {
    /// Returns a logger of lines at `level` and above.
    pub(crate) fn new(output: Output, level: LevelFilter) -> Self {
        Self { output, level, started: Instant::now(), places: std::array::from_fn(|_| Place::default()) }
    }

    /// Makes it the logger of the process. Works only once.
    pub(crate) fn install(self) -> Result<(), SetLoggerError> {
        let level = self.level;
        log::set_boxed_logger(Box::new(self))?;
        log::set_max_level(level);
        Ok(())
    }

    fn write(&self, record: &Record<'_>, suppressed: u64) {
        // Formatted before it is queued: a `Display` that logs would wait for a lock that its own thread holds.
        let formatted;
        let message = match record.args().as_str() {
            Some(message) => message,
            None => {
                formatted = record.args().to_string();
                &formatted
            }
        };
        let fields = FIELDS.map(|name| (name, field(record, name)));
        let priority = self.output.priority(record.level());
        let queued = self.output.try_line(Urgency::High, |line| {
            line.extend_from_slice(priority.as_bytes());
            let object = Object::begin(line)
                .plain("time", clock::now)
                .str("level", level_name(record.level()))
                .str("event", "log")
                .str("target", cut(record.target(), 256));
            let object = fields
                .iter()
                .fold(object, |object, (name, value)| object.opt_str(name, value.as_deref()))
                .str("message", cut(message, MAX_MESSAGE_BYTES));
            let object = if suppressed > 0 { object.num("suppressed", suppressed) } else { object };
            object.end();
        });
        if queued.is_err() {
            self.output.count_dropped();
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let limit = if shows_heads(metadata.target()) { self.level.min(LevelFilter::Info) } else { self.level };
        metadata.level() <= limit
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if record.level() > Level::Warn || !record.target().starts_with("pingora") {
            return self.write(record, 0);
        }
        let place = &self.places[place_of(record.target())];
        if let Some(suppressed) = place.admit(self.started.elapsed().as_secs()) {
            self.write(record, suppressed);
        }
    }

    fn flush(&self) {
        self.output.flush(FLUSH_TIMEOUT);
    }
}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logger").field("level", &self.level).finish_non_exhaustive()
    }
}

impl Place {
    /// Counts a line, and returns the number suppressed since the last one if it may be shown in this second.
    fn admit(&self, second: u64) -> Option<u64> {
        let count = |shown: u64| {
            let so_far = if shown >> 32 == second { shown & u64::from(u32::MAX) } else { 0 };
            (so_far < u64::from(MAX_LINES_PER_SECOND)).then_some((second << 32) | (so_far + 1))
        };
        if self.shown.fetch_update(Relaxed, Relaxed, count).is_ok() {
            return Some(self.suppressed.swap(0, Relaxed));
        }
        self.suppressed.fetch_add(1, Relaxed);
        None
    }
}

/// Returns a field of the record, if it is a text. Copied before the line is queued, like the message.
fn field(record: &Record<'_>, name: &str) -> Option<String> {
    let value = record.key_values().get(Key::from(name))?;
    value.to_borrowed_str().map(|text| cut(text, MAX_FIELD_BYTES).to_owned())
}

/// Returns whether a target writes request heads below info.
fn shows_heads(target: &str) -> bool {
    target.starts_with("pingora") || target == "h2" || target.starts_with("h2::")
}

/// Hashes by FNV-1a: targets are a few constants of the code that nobody outside chooses.
fn place_of(target: &str) -> usize {
    let hash = target
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash % PLACES as u64) as usize
}

#[cfg(test)]
mod tests;
