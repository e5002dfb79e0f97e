use std::time::Duration;

/// The most of a head that is read, in bytes.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The most header lines of an answer.
pub const MAX_HEADER_LINES: usize = 100;
/// The most interim answers (1xx) before the answer.
pub const MAX_INTERIM_ANSWERS: usize = 16;
/// The most exchanges with one origin, under one set of settings, that are under way at once. Others wait for their turn.
pub const MAX_EXCHANGES: usize = 256;
/// The limits of an exchange where the file says none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See [`HttpSettings::timeout`](crate::HttpSettings::timeout).
    pub timeout: Duration,
    /// See [`HttpSettings::max_body_bytes`](crate::HttpSettings::max_body_bytes).
    pub max_body_bytes: usize,
}

impl Default for Limits {
    /// Five seconds and a mebibyte.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5), max_body_bytes: 1 << 20 }
    }
}

impl Limits {
    /// Shorter, and a server across an ocean could not answer.
    pub const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);
    /// Longer, and whoever waits has given up.
    pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);
    /// The most that an answer may be allowed to have: it is held in memory.
    pub const LARGEST_BODY_BYTES: usize = 64 << 20;
}
