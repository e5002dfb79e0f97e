use std::mem::discriminant;

use crate::{Counter, Gauge, Histogram};

/// One series among the gateway's metrics.
#[derive(Clone, Debug)]
pub enum Metric {
    /// It only grows.
    Counter(Counter),
    /// It goes up and down.
    Gauge(Gauge),
    /// It says how often values fall into which range.
    Histogram(Histogram),
}

impl Metric {
    /// Returns `true` if both may be series of one name: they are of one kind, with the same bounds.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Histogram(one), Self::Histogram(other)) => one.bounds() == other.bounds(),
            _ => discriminant(self) == discriminant(other),
        }
    }
}
