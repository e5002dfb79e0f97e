//! The addresses of a target. Requests read the list without a lock, and the resolver replaces it.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use arc_swap::ArcSwap;

use crate::clock::now_ms;

/// The most addresses of one name.
pub(super) const MAX_ADDRESSES: usize = 64;
/// The time that requests avoid an address that could not be connected to, if there are others.
pub(super) const REST: Duration = Duration::from_secs(5);

/// A list of addresses, in ascending order and without duplicates.
pub(crate) struct Addresses(ArcSwap<Box<[Address]>>);

struct Address {
    at: SocketAddr,
    /// The end of its rest in milliseconds of [`now_ms`]. 0: it was connected to, or not tried yet.
    rests_until: AtomicU64,
}

/// The addresses that are acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Those that this request has not tried, and that nobody failed to connect to lately.
    Rested,
    /// Those that this request has not tried.
    Untried,
    /// All.
    Any,
}

impl Addresses {
    /// Returns a list of these, cut to [`MAX_ADDRESSES`].
    pub(crate) fn new(list: Vec<SocketAddr>) -> Self {
        Self(ArcSwap::from_pointee(made(list, &[])))
    }

    /// Replaces the addresses. One that stays keeps its rest.
    ///
    /// Returns whether they differ.
    pub(crate) fn replace(&self, list: Vec<SocketAddr>) -> bool {
        let before = self.0.load();
        let made = made(list, &before);
        let differs = made.iter().map(|one| one.at).ne(before.iter().map(|one| one.at));
        if differs {
            self.0.store(std::sync::Arc::new(made));
        }
        differs
    }

    /// Removes the addresses for which `is_good` returns false.
    pub(crate) fn retain(&self, is_good: impl Fn(SocketAddr) -> bool) {
        self.replace(self.list().into_iter().filter(|address| is_good(*address)).collect());
    }

    /// Returns the address at this turn, or the first after it that is wanted.
    pub(crate) fn choose(&self, turn: usize, wanted: Wanted, tried: &[SocketAddr]) -> Option<SocketAddr> {
        let list = self.0.load();
        let length = list.len();
        let order = (0..length).map(|step| &list[(turn % length + step) % length]);
        order.into_iter().find(|one| one.is(wanted, tried)).map(|one| one.at)
    }

    /// Makes other requests avoid an address, or ends that.
    pub(crate) fn set_rest(&self, at: SocketAddr, rests: bool) {
        let list = self.0.load();
        let until = if rests { now_ms() + u64::try_from(REST.as_millis()).unwrap_or(u64::MAX) } else { 0 };
        if let Some(one) = list.iter().find(|one| one.at == at)
            && one.rests_until.load(Relaxed) != until
        {
            one.rests_until.store(until, Relaxed);
        }
    }

    /// Returns all addresses.
    pub(crate) fn list(&self) -> Vec<SocketAddr> {
        self.0.load().iter().map(|one| one.at).collect()
    }

    /// Returns the number of addresses.
    pub(crate) fn len(&self) -> usize {
        self.0.load().len()
    }

    /// Returns whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Address {
    fn is(&self, wanted: Wanted, tried: &[SocketAddr]) -> bool {
        match wanted {
            Wanted::Any => true,
            Wanted::Untried => !tried.contains(&self.at),
            Wanted::Rested => {
                let until = self.rests_until.load(Relaxed);
                (until == 0 || until <= now_ms()) && !tried.contains(&self.at)
            }
        }
    }
}

fn made(mut list: Vec<SocketAddr>, before: &[Address]) -> Box<[Address]> {
    list.sort_unstable();
    list.dedup();
    list.truncate(MAX_ADDRESSES);
    let rest = |at| before.iter().find(|one| one.at == at).map_or(0, |one| one.rests_until.load(Relaxed));
    list.into_iter().map(|at| Address { at, rests_until: rest(at).into() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 80))
    }

    #[test]
    fn addresses_take_turns() {
        let addresses = Addresses::new(vec![at(2), at(1), at(2)]);
        let chosen: Vec<_> = (0..4).filter_map(|turn| addresses.choose(turn, Wanted::Rested, &[])).collect();
        assert_eq!(chosen, [at(1), at(2), at(1), at(2)]);
        assert_eq!(Addresses::new(Vec::new()).choose(3, Wanted::Any, &[]), None);
    }

    #[test]
    fn one_that_failed_is_passed_over_until_it_is_connected_to() {
        let addresses = Addresses::new(vec![at(1), at(2)]);
        addresses.set_rest(at(1), true);
        assert_eq!(addresses.choose(0, Wanted::Rested, &[]), Some(at(2)));
        assert_eq!(addresses.choose(0, Wanted::Rested, &[at(2)]), None, "there are better ones elsewhere, perhaps");
        assert_eq!(addresses.choose(0, Wanted::Untried, &[at(2)]), Some(at(1)), "else it is tried all the same");
        assert_eq!(addresses.choose(1, Wanted::Any, &[at(1), at(2)]), Some(at(2)));
        addresses.set_rest(at(1), false);
        assert_eq!(addresses.choose(0, Wanted::Rested, &[]), Some(at(1)));
    }

    #[test]
    fn what_is_looked_up_again_keeps_its_rest() {
        let addresses = Addresses::new(vec![at(1), at(2)]);
        addresses.set_rest(at(2), true);
        assert!(!addresses.replace(vec![at(2), at(1)]), "the same in another order");
        assert!(addresses.replace(vec![at(2), at(3)]));
        assert_eq!(addresses.list(), [at(2), at(3)]);
        assert_eq!(addresses.choose(0, Wanted::Rested, &[]), Some(at(3)));
    }
}
