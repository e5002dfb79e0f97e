use std::time::Duration;

use super::error::StoreError;
use crate::Span;

/// An algorithm of counting, with its limit. Both kinds of store carry it out by the same integers, so that they mean
/// the same.
///
/// | rule | takes at most | over a boundary |
/// |---|---|---|
/// | [`Rule::gcra`] | `burst` at once, and then `limit` in each `per` | `burst + limit` in any `per` |
/// | [`Rule::sliding_window`] | `limit` in each window, the one before counted in part | an estimate: requests that came late in the window before count as if spread over it, so up to twice `limit` for less than a window |
/// | [`Rule::fixed_window`] | `limit` in each window, which begins with its first charge | twice `limit` around the end of a window |
///
/// The clock is the store's, in whole microseconds.
///
/// ```
/// use std::time::Duration;
/// use portcullis_plugin::store::Rule;
///
/// let rule = Rule::gcra(100, Duration::from_secs(1), 20)?;
/// assert!(Rule::gcra(0, Duration::from_secs(1), 20).is_err());
/// # let _ = rule;
/// # Ok::<(), portcullis_plugin::StoreError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule(Algorithm);

/// The algorithm of a [`Rule`], for whoever writes a store. Its numbers are within bounds in which doubles count exactly,
/// as the scripts of a server do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// The generic cell rate algorithm. A counter keeps one moment, the theoretical arrival time (TAT): each unit moves it
    /// on by `per / limit`, counted from now where it is past, and a charge fits if it stays within `burst` units of now.
    /// The moment is kept as whole microseconds and a remainder of `1 / limit` microseconds.
    Gcra {
        /// Units in each `per_us`.
        limit: u64,
        /// Microseconds.
        per_us: u64,
        /// Units at once.
        burst: u64,
    },
    /// Windows one after the other; those before the current one are forgotten but for the last. Of the last one the share
    /// counts that a window of this length, ending now, would still reach, rounded up.
    SlidingWindow {
        /// Units in each window.
        limit: u64,
        /// Milliseconds.
        window_ms: u64,
    },
    /// A window begins with the first charge and ends `window_us` later, or when everything was given back.
    FixedWindow {
        /// Units in each window.
        limit: u64,
        /// Microseconds.
        window_us: u64,
    },
}

impl Rule {
    /// The highest `limit` and `burst` of [`Rule::gcra`].
    pub const MAX_RATE: u64 = 1 << 26;
    /// The highest limit of [`Rule::fixed_window`]; that of [`Rule::sliding_window`], multiplied by its milliseconds.
    pub const MAX_LIMIT: u64 = 1 << 52;
    /// The longest `per` and window, and the longest time in which a whole burst comes back.
    pub const LONGEST: Duration = Span::LONGEST;

    /// A token bucket: `burst` units at once, and `limit` come back in each `per`.
    ///
    /// A bucket that queues requests in place of refusing them is this rule as well: `burst` is the length of the queue,
    /// and a request that is granted waits for [`Budget::resets_in`] less its own share of `per`.
    ///
    /// # Errors
    /// A number is zero or above its maximum.
    pub fn gcra(limit: u64, per: Duration, burst: u64) -> Result<Self, StoreError> {
        let per_us = whole(per.as_micros(), per)?;
        let is_valid = within(limit, Self::MAX_RATE) && within(burst, Self::MAX_RATE);
        let is_short = u128::from(burst) * u128::from(per_us) <= Self::LONGEST.as_micros() * u128::from(limit);
        let rule = Self(Algorithm::Gcra { limit, per_us, burst });
        if is_valid && is_short { Ok(rule) } else { Err(out_of_range()) }
    }

    /// Two windows, of which the earlier counts in part. `window` is whole milliseconds.
    ///
    /// # Errors
    /// A number is zero or above its maximum.
    pub fn sliding_window(limit: u64, window: Duration) -> Result<Self, StoreError> {
        let window_ms = whole(window.as_millis(), window)?;
        let product = limit.checked_mul(window_ms).unwrap_or(0);
        let is_whole = Duration::from_millis(window_ms) == window;
        let rule = Self(Algorithm::SlidingWindow { limit, window_ms });
        if is_whole && within(product, Self::MAX_LIMIT) { Ok(rule) } else { Err(out_of_range()) }
    }

    /// A window that begins with its first charge. The quota of a calendar day has the day in its counter's name and the
    /// time until midnight as its window.
    ///
    /// # Errors
    /// A number is zero or above its maximum.
    pub fn fixed_window(limit: u64, window: Duration) -> Result<Self, StoreError> {
        let window_us = whole(window.as_micros(), window)?;
        let rule = Self(Algorithm::FixedWindow { limit, window_us });
        if within(limit, Self::MAX_LIMIT) { Ok(rule) } else { Err(out_of_range()) }
    }

    /// The algorithm and its numbers.
    pub const fn algorithm(self) -> Algorithm {
        self.0
    }

    /// The most units that can be taken at once.
    pub const fn most(self) -> u64 {
        match self.0 {
            Algorithm::Gcra { burst, .. } => burst,
            Algorithm::SlidingWindow { limit, .. } | Algorithm::FixedWindow { limit, .. } => limit,
        }
    }
}

fn whole(number: u128, span: Duration) -> Result<u64, StoreError> {
    let number = u64::try_from(number).ok().filter(|number| *number > 0 && span <= Rule::LONGEST);
    number.ok_or_else(out_of_range)
}

const fn within(number: u64, most: u64) -> bool {
    number > 0 && number <= most
}

fn out_of_range() -> StoreError {
    StoreError::invalid("a limit or its window is zero or too large")
}

/// The state of a counter under its rule, as it is after a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The charge fits into what was left.
    pub is_within: bool,
    /// Units that could be taken now.
    pub remaining: u64,
    /// The time after which the charge fits, if nobody else is charged: zero where it fits, [`Duration::MAX`] where it is
    /// above the limit itself.
    pub retry_after: Duration,
    /// The time after which nothing counts any more, if nobody is charged.
    pub resets_in: Duration,
}
