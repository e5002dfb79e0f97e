use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    ops::Deref,
    sync::Arc,
};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::{AddressBlock, BuildCx};

/// Makes the names under which the store keeps what it counts.
pub(super) struct Names {
    /// HMAC-SHA-256 with a key for this policy, which is cloned where a digest is made: the key's part of the work is
    /// done once.
    keyed: Hmac<Sha256>,
    /// Held so that it lasts from one configuration to the next, and what was counted with it.
    _process: Arc<ProcessKey>,
}

/// The key of this process, of which each policy's is derived.
struct ProcessKey([u8; 32]);

/// A name: 128 bits of a keyed digest. Nobody without the key can make two of them meet.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Name([u8; 16]);

/// Who tries: the address, and the address with the principal.
#[derive(Clone, Copy)]
pub(super) struct Who {
    pub(super) block: Name,
    pub(super) pair: Name,
    /// Of the pair, where a whole name is more than is needed.
    pub(super) slot: u64,
}

impl Names {
    /// Takes a random key of this process, made when it is first asked for.
    pub(super) fn new(cx: &mut BuildCx<'_>) -> Result<Self, String> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| format!("the system has no random bits: {error}"))?;
        let process = cx.shared("attempts", || ProcessKey(random));
        let of_policy = keyed(&process.0).chain_update(cx.policy()).finalize().into_bytes();
        Ok(Self { keyed: keyed(&of_policy), _process: process })
    }

    /// An address, with all others that whoever has it can use as well.
    pub(super) fn block(&self, address: IpAddr) -> Name {
        self.name(b'b', &[AddressBlock::of(address).octets()])
    }

    pub(super) fn who(&self, address: IpAddr, principal: &[u8]) -> Who {
        let pair = self.name(b'p', &[AddressBlock::of(address).octets(), principal]);
        Who { block: self.block(address), pair, slot: slot(address, principal) }
    }

    /// What was tried by whom.
    pub(super) fn tried(&self, who: &Who, proof: &[u8]) -> Name {
        self.name(b't', &[&who.pair.0, proof])
    }

    /// All parts but the last have a fixed length, so that no two lists of parts are the same bytes.
    fn name(&self, kind: u8, parts: &[&[u8]]) -> Name {
        let mut digest = self.keyed.clone().chain_update([kind]);
        parts.iter().for_each(|part| digest.update(part));
        let whole: [u8; 32] = digest.finalize().into_bytes().into();
        Name(*whole.first_chunk().expect("16 of 32 bytes"))
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// SipHash with a key of this process: a quarter of what a name costs.
pub(super) fn slot(address: IpAddr, principal: &[u8]) -> u64 {
    static KEYS: std::sync::LazyLock<RandomState> = std::sync::LazyLock::new(RandomState::new);
    KEYS.hash_one((AddressBlock::of(address), principal))
}

/// The store's keys. Where they begin differently the store counts them apart.
macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $name:ident: $prefix:literal,)+) => {
        impl Name {
            $($(#[doc = $doc])+ pub(super) fn $name(&self) -> Key { self.key($prefix) })+
        }
    };
}

keys! {
    /// Something failed at this address.
    mark: "attempts:m",
    /// How often this pair failed.
    failures: "attempts:f",
    /// How long this pair waits.
    back_off: "attempts:w",
    /// This was tried.
    tried: "attempts:t",
    /// How many different things failed at this address.
    distinct: "attempts:d",
    /// How long this address waits.
    closed: "attempts:c",
    /// This pair succeeded.
    proven: "attempts-proven:",
}

/// A key of the store, made without an allocation.
pub(super) struct Key {
    text: [u8; Self::LENGTH],
    length: usize,
}

impl Key {
    const PREFIX_MAX_CHARS: usize = 16;
    const LENGTH: usize = Self::PREFIX_MAX_CHARS + 32;
}

impl Name {
    fn key(&self, prefix: &str) -> Key {
        let (mut text, length) = ([0; Key::LENGTH], prefix.len() + 32);
        text[..prefix.len()].copy_from_slice(prefix.as_bytes());
        hex::encode_to_slice(self.0, &mut text[prefix.len()..length]).expect("there is room for 32 digits");
        Key { text, length }
    }
}

impl Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.text[..self.length]).expect("a prefix and hexadecimal digits")
    }
}
