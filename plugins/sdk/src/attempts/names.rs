use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
};

use crate::AddressBlock;

/// Makes the names under which failures are counted: SipHash with a key that is random for each policy and process.
/// Whoever does not know the key cannot make two names meet, nor learn from a name whose it is.
#[derive(Default)]
pub(super) struct Names(RandomState);

/// Stands for an address, for an address and a principal, or for what was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name(pub(super) u64);

/// Who tries: the address, and the address with the principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Who {
    /// The address, with all others that whoever has it can use as well.
    pub block: Name,
    /// The address and the principal.
    pub pair: Name,
    /// The principal, wherever they are; where there is none, the pair.
    pub owner: Name,
    /// There is a principal. Without one there is no limit on the pair.
    pub has_principal: bool,
}

impl Names {
    pub(super) fn who(&self, address: IpAddr, principal: Option<&[u8]>) -> Who {
        let pair = self.pair(address, principal);
        Who {
            block: Name(self.0.hash_one(('b', AddressBlock::of(address)))),
            pair,
            owner: principal.map_or(pair, |principal| Name(self.0.hash_one(('o', principal)))),
            has_principal: principal.is_some(),
        }
    }

    /// Only the pair of [`Names::who`].
    pub(super) fn pair(&self, address: IpAddr, principal: Option<&[u8]>) -> Name {
        Name(self.0.hash_one(('p', AddressBlock::of(address), principal)))
    }

    /// The name of a proof and of whoever tried it.
    pub(super) fn tried(&self, who: &Who, proof: &[u8]) -> Name {
        Name(self.0.hash_one(('t', who.pair, proof)))
    }
}
