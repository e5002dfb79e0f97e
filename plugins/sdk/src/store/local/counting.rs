//! The rules of counting, as integers.

use std::time::Duration;

use crate::store::rule::{Algorithm, Budget, Rule};

/// The state of a counter. `first` and `second` are, for
/// - GCRA: the theoretical arrival time in microseconds, and its remainder in `1 / limit` microseconds;
/// - a sliding window: the units of this window and of the one before;
/// - a fixed window and a plain counter: its units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// In microseconds since the clock began; from then on it says no more than no state at all.
    pub ends: u64,
    pub first: u64,
    pub second: u64,
}

/// A charge that does not fit: the time after which it does, in microseconds; `None` if it never does.
pub(super) struct TooMuch(Option<u64>);

/// A counter under its rule, at one moment.
#[derive(Clone, Copy)]
pub(super) enum Counting {
    Gcra(Gcra),
    Sliding(Sliding),
    Fixed(Fixed),
}

impl Counting {
    pub(super) fn new(rule: Rule, state: Option<Cell>, now: u64) -> Self {
        match rule.algorithm() {
            Algorithm::Gcra { limit, per_us, burst } => Self::Gcra(Gcra::new(limit, per_us, burst, state, now)),
            Algorithm::SlidingWindow { limit, window_ms } => Self::Sliding(Sliding::new(limit, window_ms, state, now)),
            Algorithm::FixedWindow { limit, window_us } => Self::Fixed(Fixed::new(limit, window_us, state, now)),
        }
    }

    /// Takes so many units, if they are there.
    pub(super) fn take(self, cost: u64) -> Result<Self, TooMuch> {
        match self {
            Self::Gcra(counter) => counter.take(cost).map(Self::Gcra),
            Self::Sliding(counter) => counter.take(cost).map(Self::Sliding),
            Self::Fixed(counter) => counter.take(cost).map(Self::Fixed),
        }
    }

    pub(super) fn give_back(self, units: u64) -> Self {
        match self {
            Self::Gcra(counter) => Self::Gcra(counter.give_back(units)),
            Self::Sliding(counter) => {
                Self::Sliding(Sliding { current: counter.current.saturating_sub(units), ..counter })
            }
            Self::Fixed(counter) => Self::Fixed(Fixed { units: counter.units.saturating_sub(units), ..counter }),
        }
    }

    /// The units that [`take`](Self::take) would give at most.
    pub(super) fn remaining(self) -> u64 {
        match self {
            Self::Gcra(counter) => counter.remaining(),
            Self::Sliding(counter) => counter.limit.saturating_sub(counter.used()),
            Self::Fixed(counter) => counter.limit.saturating_sub(counter.units),
        }
    }

    /// The state to keep; one that has ended where nothing counts.
    pub(super) fn cell(self) -> Cell {
        if self.resets_in() == 0 {
            return Cell { ends: 0, first: 0, second: 0 };
        }
        match self {
            Self::Gcra(counter) => {
                Cell { ends: counter.tat.0 + u64::from(counter.tat.1 > 0), first: counter.tat.0, second: counter.tat.1 }
            }
            Self::Sliding(counter) => {
                let ends = (counter.index + 2) * counter.window_ms * 1000;
                Cell { ends, first: counter.current, second: counter.previous }
            }
            Self::Fixed(counter) => Cell { ends: counter.ends, first: counter.units, second: 0 },
        }
    }

    fn resets_in(self) -> u64 {
        match self {
            Self::Gcra(counter) => counter.tat.0 + u64::from(counter.tat.1 > 0) - counter.now,
            Self::Sliding(counter) => counter.resets_in(),
            Self::Fixed(counter) if counter.units > 0 => counter.ends - counter.now,
            Self::Fixed(_) => 0,
        }
    }

    /// The state for whoever asked, and the reason why a charge did not fit.
    pub(super) fn budget(self, refused: Option<&TooMuch>) -> Budget {
        let retry_after = match refused {
            None => Duration::ZERO,
            Some(TooMuch(wait)) => wait.map_or(Duration::MAX, Duration::from_micros),
        };
        Budget {
            is_within: refused.is_none(),
            remaining: self.remaining(),
            retry_after,
            resets_in: Duration::from_micros(self.resets_in()),
        }
    }
}

/// A moment in microseconds, and a remainder in `1 / limit` microseconds.
type Exact = (u64, u64);

#[derive(Clone, Copy)]
pub(super) struct Gcra {
    limit: u64,
    per_us: u64,
    burst: u64,
    now: u64,
    /// Not before now.
    tat: Exact,
}

impl Gcra {
    fn new(limit: u64, per_us: u64, burst: u64, state: Option<Cell>, now: u64) -> Self {
        let state = state.map_or((0, 0), |cell| (cell.first, cell.second));
        // A remainder of another limit, before a reload.
        let state = if state.1 < limit { state } else { (state.0 + 1, 0) };
        Self { limit, per_us, burst, now, tat: state.max((now, 0)) }
    }

    /// So many units later.
    fn later(&self, (whole, rest): Exact, units: u64) -> Exact {
        let rest = rest + units * (self.per_us % self.limit);
        (whole + units * (self.per_us / self.limit) + rest / self.limit, rest % self.limit)
    }

    /// The last moment that the arrival time may move to.
    fn bound(&self) -> Exact {
        self.later((self.now, 0), self.burst)
    }

    fn take(self, cost: u64) -> Result<Self, TooMuch> {
        if cost > self.burst {
            return Err(TooMuch(None));
        }
        let (tat, bound) = (self.later(self.tat, cost), self.bound());
        if tat <= bound {
            return Ok(Self { tat, ..self });
        }
        Err(TooMuch(Some(tat.0 - bound.0 + u64::from(tat.1 > bound.1))))
    }

    fn units(&self, (whole, rest): Exact) -> u128 {
        u128::from(whole) * u128::from(self.limit) + u128::from(rest)
    }

    fn give_back(self, units: u64) -> Self {
        let back = u128::from(units) * u128::from(self.per_us);
        let tat = self.units(self.tat).saturating_sub(back).max(self.units((self.now, 0)));
        let limit = u128::from(self.limit);
        let part = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
        Self { tat: (part(tat / limit), part(tat % limit)), ..self }
    }

    fn remaining(&self) -> u64 {
        let left = self.units(self.bound()).saturating_sub(self.units(self.tat));
        u64::try_from(left / u128::from(self.per_us)).unwrap_or(u64::MAX)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Sliding {
    limit: u64,
    window_ms: u64,
    now: u64,
    /// The number of the current window.
    index: u64,
    current: u64,
    previous: u64,
}

impl Sliding {
    fn new(limit: u64, window_ms: u64, state: Option<Cell>, now: u64) -> Self {
        let index = now / 1000 / window_ms;
        let (current, previous) = match state {
            Some(cell) if cell.ends == (index + 2) * window_ms * 1000 => (cell.first, cell.second),
            Some(cell) if cell.ends == (index + 1) * window_ms * 1000 => (0, cell.first),
            _ => (0, 0),
        };
        // More than the limit can be left of a higher one, before a reload.
        let (current, previous) = (current.min(limit), previous.min(limit));
        Self { limit, window_ms, now, index, current, previous }
    }

    /// The units that count now.
    fn used(&self) -> u64 {
        let left_ms = (self.index + 1) * self.window_ms - self.now / 1000;
        self.current.saturating_add((self.previous * left_ms).div_ceil(self.window_ms))
    }

    fn take(self, cost: u64) -> Result<Self, TooMuch> {
        if cost > self.limit {
            return Err(TooMuch(None));
        }
        if self.used().saturating_add(cost) <= self.limit {
            return Ok(Self { current: self.current + cost, ..self });
        }
        let (window, begins_ms) = (self.window_ms, self.index * self.window_ms);
        let fits_ms = match self.limit.checked_sub(self.current.saturating_add(cost)) {
            // Enough of the window before has to be left behind.
            Some(free) => begins_ms + window - (free * window / self.previous.max(1)).min(window),
            // This window has to be the one before, and enough of it left behind.
            None => begins_ms + 2 * window - ((self.limit - cost) * window / self.current.max(1)).min(window),
        };
        Err(TooMuch(Some((fits_ms * 1000).saturating_sub(self.now).max(1))))
    }

    fn resets_in(&self) -> u64 {
        let windows = if self.current > 0 {
            2
        } else if self.previous > 0 {
            1
        } else {
            return 0;
        };
        (self.index + windows) * self.window_ms * 1000 - self.now
    }
}

#[derive(Clone, Copy)]
pub(super) struct Fixed {
    limit: u64,
    now: u64,
    ends: u64,
    units: u64,
}

impl Fixed {
    fn new(limit: u64, window_us: u64, state: Option<Cell>, now: u64) -> Self {
        let (ends, units) = state.map_or((now + window_us, 0), |cell| (cell.ends, cell.first));
        Self { limit, now, ends, units }
    }

    fn take(self, cost: u64) -> Result<Self, TooMuch> {
        if cost > self.limit {
            return Err(TooMuch(None));
        }
        match self.units.checked_add(cost).filter(|units| *units <= self.limit) {
            Some(units) => Ok(Self { units, ..self }),
            None => Err(TooMuch(Some(self.ends - self.now))),
        }
    }
}
