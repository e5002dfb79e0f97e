use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{limits::PROVEN_KEEP, names::Names, noted::Noted, rules::Record, table::Table};
use crate::BuildCx;

/// Remembers which principals have succeeded from which addresses within [`Attempts::PROVEN_KEEP`](crate::Attempts::PROVEN_KEEP), for a policy that
/// limits no attempts and still treats strangers otherwise: see [`RequestCx::vouch`](crate::RequestCx::vouch).
///
/// Only successes write to it. It has a bounded size, outlives a reload, and holds keyed digests. A principal who succeeds
/// from very many addresses pushes out what is remembered of themselves, and of nobody else.
pub struct KnownCallers(Arc<Known>);

struct Known {
    start: Instant,
    names: Names,
    proven: Table,
    noted: Noted,
}

impl Known {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

impl KnownCallers {
    /// Those of the policy which is being built.
    pub fn new(cx: &mut BuildCx<'_>) -> Self {
        let policy = cx.policy().to_owned();
        Self(cx.shared(&policy, || Known {
            start: Instant::now(),
            names: Names::default(),
            proven: Table::default(),
            noted: Noted::default(),
        }))
    }

    /// Remembers a success. Where it was remembered a short while ago this allocates nothing and takes no lock.
    pub fn note(&self, address: IpAddr, principal: Option<&[u8]>) {
        let (now, pair) = (self.0.now(), self.0.names.pair(address, principal));
        if !self.0.noted.has(pair, now) {
            let record = Record { count: 1, at: now };
            let owner = self.0.names.who(address, principal).owner;
            self.0.proven.change_of(owner, pair, now, |_| (record, now + PROVEN_KEEP));
            self.0.noted.note(pair, now);
        }
    }

    /// Returns `true` if this principal has succeeded from this address.
    pub fn has(&self, address: IpAddr, principal: Option<&[u8]>) -> bool {
        self.0.proven.get(self.0.names.pair(address, principal), self.0.now()).is_some()
    }
}
