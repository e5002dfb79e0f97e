//! The time of a line: RFC 3339, UTC, milliseconds, always 24 bytes long.
//!
//! Everything up to the second is computed once a second on each thread. What remains is reading the clock.

use std::{
    cell::Cell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use portcullis_plugin::UnixTime;

/// `2026-07-01T12:34:56.`
const SECOND_BYTES: usize = 20;

thread_local! {
    /// The last second that was written on this thread, and its text.
    static WRITTEN: Cell<(u64, [u8; SECOND_BYTES])> = const { Cell::new((u64::MAX, [0; SECOND_BYTES])) };
}

/// Returns a moment as in lines, but without milliseconds.
pub(crate) fn rfc3339(time: UnixTime) -> String {
    jiff::Timestamp::from_second(time.0).map_or_else(|_| time.0.to_string(), |time| time.to_string())
}

/// Appends the current time.
#[inline]
pub(crate) fn now(into: &mut Vec<u8>) {
    // A clock set before 1970 is a broken clock; that must not make a log line fail.
    append(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), into);
}

/// Appends a time, given as the duration since the beginning of 1970.
#[inline]
pub(crate) fn append(since_epoch: Duration, into: &mut Vec<u8>) {
    let second = since_epoch.as_secs();
    let (written, mut text) = WRITTEN.get();
    if written != second {
        text = spell(second);
        WRITTEN.set((second, text));
    }
    let millis = since_epoch.subsec_millis();
    let digit = |divisor: u32| b'0' + (millis / divisor % 10) as u8;
    into.extend_from_slice(&text);
    into.extend_from_slice(&[digit(100), digit(10), digit(1), b'Z']);
}

#[cold]
fn spell(second: u64) -> [u8; SECOND_BYTES] {
    // There is no such text for years after 9999 (RFC 3339 section 1); the clock is broken, but the line is written.
    let time = i64::try_from(second).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    let civil = jiff::tz::Offset::UTC.to_datetime(time.unwrap_or(jiff::Timestamp::MAX));
    let mut text = *b"0000-00-00T00:00:00.";
    let mut put = |at: usize, digits: usize, mut value: u32| {
        for place in text[at..at + digits].iter_mut().rev() {
            *place = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0, 4, u32::from(civil.year().unsigned_abs()));
    put(5, 2, u32::from(civil.month().unsigned_abs()));
    put(8, 2, u32::from(civil.day().unsigned_abs()));
    put(11, 2, u32::from(civil.hour().unsigned_abs()));
    put(14, 2, u32::from(civil.minute().unsigned_abs()));
    put(17, 2, u32::from(civil.second().unsigned_abs()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: u64, millis: u32) -> String {
        let mut line = Vec::new();
        append(Duration::new(seconds, millis * 1_000_000 + 999_999), &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn times_are_rfc_3339() {
        for (seconds, millis, expected) in [
            (0, 0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, 999, "2000-02-28T23:59:59.999Z"),
            (951_782_400, 7, "2000-02-29T00:00:00.007Z"),
            (1_782_909_296, 40, "2026-07-01T12:34:56.040Z"),
            (253_402_207_200, 1, "9999-12-30T22:00:00.001Z"),
        ] {
            assert_eq!(text(seconds, millis), expected);
        }
    }

    #[test]
    fn a_second_that_was_written_before_is_not_taken_for_another() {
        assert_eq!(text(59, 1), "1970-01-01T00:00:59.001Z");
        assert_eq!(text(59, 2), "1970-01-01T00:00:59.002Z");
        assert_eq!(text(60, 3), "1970-01-01T00:01:00.003Z");
        assert_eq!(text(59, 4), "1970-01-01T00:00:59.004Z");
    }

    #[test]
    fn a_clock_beyond_the_calendar_still_gives_a_text() {
        assert_eq!(text(u64::MAX - 1, 0).len(), 24);
        assert!(text(i64::MAX as u64, 0).starts_with("9999-"));
    }

    #[test]
    fn now_is_now() {
        let mut line = Vec::new();
        now(&mut line);
        let told: jiff::Timestamp = std::str::from_utf8(&line).unwrap().parse().unwrap();
        assert!((jiff::Timestamp::now().as_millisecond() - told.as_millisecond()).abs() < 5_000);
    }
}
