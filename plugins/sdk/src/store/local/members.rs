use std::collections::HashMap;

use bytes::Bytes;

/// The members of a set or the holders of a lease, each with an end of its own.
#[derive(Default)]
pub(super) struct Members {
    by_name: HashMap<Bytes, Member>,
    /// The bytes of all names.
    bytes: usize,
    /// None ends before.
    first_end: u64,
    /// None ends after.
    last_end: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Member {
    /// In microseconds since the clock began.
    pub ends: u64,
    /// The number of a lease; zero in sets.
    pub fence: u64,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A moment at which all have ended; `None` if there are none.
    pub(super) fn last_end(&self) -> Option<u64> {
        (!self.by_name.is_empty()).then_some(self.last_end)
    }

    /// The earliest moment at which one may end; later than now, where those that have ended are forgotten.
    pub(super) fn first_end(&self) -> u64 {
        self.first_end
    }

    pub(super) fn forget_ended(&mut self, now: u64) {
        if self.first_end > now {
            return;
        }
        self.by_name.retain(|_, member| member.ends > now);
        let ends = || self.by_name.values().map(|member| member.ends);
        (self.first_end, self.last_end) = (ends().min().unwrap_or(u64::MAX), ends().max().unwrap_or(0));
        self.bytes = self.by_name.keys().map(Bytes::len).sum();
    }

    pub(super) fn put(&mut self, name: &[u8], member: Member) {
        self.first_end = self.first_end.min(member.ends);
        self.last_end = self.last_end.max(member.ends);
        match self.by_name.get_mut(name) {
            Some(there) => *there = member,
            None => {
                self.bytes += name.len();
                self.by_name.insert(Bytes::copy_from_slice(name), member);
            }
        }
    }

    pub(super) fn get(&self, name: &[u8], now: u64) -> Option<Member> {
        self.by_name.get(name).filter(|member| member.ends > now).copied()
    }

    pub(super) fn remove(&mut self, name: &[u8]) {
        if self.by_name.remove(name).is_some() {
            self.bytes -= name.len();
        }
    }

    pub(super) fn names(&self, now: u64) -> Vec<Bytes> {
        let live = self.by_name.iter().filter(|(_, member)| member.ends > now);
        live.map(|(name, _)| name.clone()).collect()
    }
}
