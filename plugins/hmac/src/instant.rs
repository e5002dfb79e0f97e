//! Times as clients write them. The signature covers the text of a time; only its value is compared with the clock.

use jiff::{Timestamp, civil::DateTime, fmt::rfc2822, tz::TimeZone};
use portcullis_plugin::UnixTime;

/// The longest text of a time, in bytes: RFC 3339 with nanoseconds and an offset.
const TEXT_MAX_BYTES: usize = 40;
/// The most digits of Unix time in seconds. Milliseconds of today have more.
const UNIX_MAX_DIGITS: usize = 11;

/// Unix time in seconds, or RFC 3339.
pub(crate) fn unix_or_rfc3339(text: &str) -> Option<UnixTime> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return if text.len() > UNIX_MAX_DIGITS { None } else { text.parse().ok().map(UnixTime) };
    }
    let timestamp: Timestamp = if text.len() > TEXT_MAX_BYTES { None } else { text.parse().ok() }?;
    Some(UnixTime(timestamp.as_second()))
}

/// The one form of `Date` that is still made (RFC 9110 section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn http_date(text: &str) -> Option<UnixTime> {
    const FORM: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let is_form = text.len() == FORM.len() && text.ends_with(" GMT");
    let zoned = if is_form { rfc2822::parse(text).ok() } else { None }?;
    Some(UnixTime(zoned.timestamp().as_second()))
}

/// The basic form of ISO 8601 that AWS has, in UTC: `20150830T123600Z`.
pub(crate) fn iso_basic(text: &str) -> Option<UnixTime> {
    let digits = |from: usize, to: usize| {
        let digits = text.get(from..to).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<i16>().ok()
    };
    let two = |from: usize| digits(from, from + 2).and_then(|number| i8::try_from(number).ok());
    if text.len() != 16 || text.get(8..9) != Some("T") || text.get(15..) != Some("Z") {
        return None;
    }
    let time = DateTime::new(digits(0, 4)?, two(4)?, two(6)?, two(9)?, two(11)?, two(13)?, 0).ok()?;
    Some(UnixTime(TimeZone::UTC.to_timestamp(time).ok()?.as_second()))
}

#[cfg(test)]
mod tests;
