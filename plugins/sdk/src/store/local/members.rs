use std::collections::HashMap;

use bytes::Bytes;

/// The members of a set or the holders of a lease, each with an end of its own.
#[derive(Default)]
pub(super) struct Members {
    by_name: HashMap<Bytes, Member>,
    /// None ends before.
    first_end: u64,
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

    pub(super) fn last_end(&self) -> Option<u64> {
        self.by_name.values().map(|member| member.ends).max()
    }

    pub(super) fn forget_ended(&mut self, now: u64) {
        if self.first_end <= now {
            self.by_name.retain(|_, member| member.ends > now);
            self.first_end = self.by_name.values().map(|member| member.ends).min().unwrap_or(u64::MAX);
        }
    }

    pub(super) fn put(&mut self, name: &[u8], member: Member) {
        self.first_end = self.first_end.min(member.ends);
        match self.by_name.get_mut(name) {
            Some(there) => *there = member,
            None => _ = self.by_name.insert(Bytes::copy_from_slice(name), member),
        }
    }

    pub(super) fn get(&self, name: &[u8], now: u64) -> Option<Member> {
        self.by_name.get(name).filter(|member| member.ends > now).copied()
    }

    pub(super) fn count(&self, now: u64) -> usize {
        if self.first_end > now {
            return self.by_name.len();
        }
        self.by_name.values().filter(|member| member.ends > now).count()
    }

    pub(super) fn remove(&mut self, name: &[u8]) {
        self.by_name.remove(name);
    }

    pub(super) fn names(&self, now: u64) -> Vec<Bytes> {
        let live = self.by_name.iter().filter(|(_, member)| member.ends > now);
        live.map(|(name, _)| name.clone()).collect()
    }

    /// The time until the next of them ends, in microseconds.
    pub(super) fn next_end_in(&self, now: u64) -> Option<u64> {
        self.by_name.values().filter_map(|member| member.ends.checked_sub(now)).filter(|left| *left > 0).min()
    }
}
