//! Sets and leases: entries with members that end on their own.

use std::time::Duration;

use bytes::Bytes;

use super::{
    members::{Member, Members},
    name::Name,
    table::{Refused, Room, Table},
};
use crate::store::{
    MAX_MEMBERS,
    clock::micros,
    request::{LeaseRequest, Leased},
};

impl Table {
    pub(super) fn insert(
        &mut self,
        set: Name,
        name: &[u8],
        keep: Duration,
        room: Room,
        now: u64,
    ) -> Result<bool, Refused> {
        let there = self.live_members(&set, now);
        let is_new = there.is_none_or(|members| members.get(name, now).is_none());
        if is_new {
            if there.is_some_and(|members| members.len() >= MAX_MEMBERS) {
                return Err(Refused);
            }
            self.make_room(room, now)?;
        }
        let member = Member { ends: now.saturating_add(micros(keep)), fence: 0 };
        self.change_members(&set, now, |members| members.put(name, member));
        Ok(is_new)
    }

    pub(super) fn discard(&mut self, set: &Name, name: &[u8], now: u64) -> bool {
        let is_there = self.members_there(set, now).is_some_and(|members| members.get(name, now).is_some());
        if is_there {
            self.change_members(set, now, |members| members.remove(name));
        }
        is_there
    }

    pub(super) fn members(&self, set: &Name, now: u64) -> Vec<Bytes> {
        self.members_there(set, now).map(|members| members.names(now)).unwrap_or_default()
    }

    pub(super) fn lease(
        &mut self,
        key: Name,
        request: &LeaseRequest<'_>,
        fence: impl FnOnce() -> u64,
        room: Room,
        now: u64,
    ) -> Result<Leased, Refused> {
        let there = self.live_members(&key, now);
        let known = there.and_then(|holders| holders.get(request.holder, now));
        if known.is_none() {
            let at_most = usize::try_from(request.at_most).unwrap_or(usize::MAX);
            if there.map_or(0, Members::len) >= at_most {
                let wait = there.map_or(Duration::MAX, |holders| Duration::from_micros(holders.first_end() - now));
                return Ok(Leased::Taken { retry_after: wait });
            }
            self.make_room(room, now)?;
        }
        let fence = known.map_or_else(fence, |known| known.fence);
        let holder = Member { ends: now.saturating_add(micros(request.keep)), fence };
        self.change_members(&key, now, |holders| holders.put(request.holder, holder));
        Ok(Leased::Granted { fence })
    }

    pub(super) fn renew(&mut self, key: &Name, holder: &[u8], keep: Duration, now: u64) -> bool {
        let Some(known) = self.members_there(key, now).and_then(|holders| holders.get(holder, now)) else {
            return false;
        };
        let holder_until = Member { ends: now.saturating_add(micros(keep)), ..known };
        self.change_members(key, now, |holders| holders.put(holder, holder_until));
        true
    }
}
