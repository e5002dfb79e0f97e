use std::{fmt::Write, sync::Arc};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::error::SpaceName;

/// A family of entries with a room of its own: a full room of one space takes no place from another.
///
/// Who may be confused with whom is decided by the constructor, and not by how a caller spells a key:
///
/// | constructor | one for | when the room is full |
/// |---|---|---|
/// | [`Space::replay`] | the whole fleet, whatever the policy | [`Full`](super::StoreError::Full) |
/// | [`Space::revocation`] | the whole fleet, whatever the policy | `Full` |
/// | [`Space::shared`] | the whole fleet, whatever the policy | `Full` |
/// | [`Space::cache`] | the whole fleet, whatever the policy | other entries are forgotten |
/// | [`Space::of_policy`] | one policy | `Full` |
/// | [`Counters::of_policy`] | one policy | `Full` |
///
/// A request that was signed once must not pass once for each policy, and so a replay mark cannot be given a policy:
///
/// ```
/// use portcullis_plugin::store::Space;
///
/// static SIGNATURES: Space = Space::replay("signature");
/// let sessions = Space::of_policy("session", "login");
///
/// assert_eq!(SIGNATURES.key(b"a1").wire_name("edge"), "edge:replay:signature:{a1}");
/// assert_eq!(sessions.key(b"a1").wire_name("edge"), "edge:value:session:{login/a1}");
/// ```
#[derive(Clone, Debug)]
pub struct Space {
    purpose: Purpose,
    kind: &'static str,
    policy: Option<Arc<str>>,
    id: u64,
    room: Option<usize>,
}

/// The purpose of a [`Space`], by which a store decides how to treat its entries while it cannot reach a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Marks of things that may happen once: signatures, nonces, the `jti` of a proof.
    Replay,
    /// Withdrawn tokens. Every request reads them and hardly anybody writes: a store may answer from a replica.
    Revocation,
    /// Counters of limits, quotas and attempts.
    Counter,
    /// Anything else that has to be there: sessions, logins under way, credentials, locks.
    Value,
    /// Entries that can be had again elsewhere. A full room forgets some of them, at random.
    Cache,
}

impl Purpose {
    /// The name of the purpose, as it stands in keys.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Revocation => "revocation",
            Self::Counter => "counter",
            Self::Value => "value",
            Self::Cache => "cache",
        }
    }
}

impl Space {
    /// Marks of things that may happen once in the whole fleet.
    pub const fn replay(kind: &'static str) -> Self {
        Self::for_all(Purpose::Replay, kind)
    }

    /// Withdrawn tokens, credentials or sessions.
    pub const fn revocation(kind: &'static str) -> Self {
        Self::for_all(Purpose::Revocation, kind)
    }

    /// Entries that all policies share, such as credentials.
    pub const fn shared(kind: &'static str) -> Self {
        Self::for_all(Purpose::Value, kind)
    }

    /// Entries that all policies share and that may be forgotten at any time, such as the answers of a server.
    pub const fn cache(kind: &'static str) -> Self {
        Self::for_all(Purpose::Cache, kind)
    }

    /// Entries of one policy, such as its sessions; see also [`BuildCx::space`](crate::BuildCx::space).
    pub fn of_policy(kind: &'static str, policy: &str) -> Self {
        Self::with_policy(Purpose::Value, kind, policy)
    }

    /// The key of the entry of this name.
    pub const fn key<'k>(&'k self, name: &'k [u8]) -> Key<'k> {
        Key { space: self, name, part: 0 }
    }

    /// Limits the room of this space to about so many entries without a value, where the store would give it more.
    /// One with a value takes the room of several.
    #[must_use]
    pub const fn holding(mut self, max_entries: usize) -> Self {
        self.room = Some(max_entries);
        self
    }

    const fn for_all(purpose: Purpose, kind: &'static str) -> Self {
        Self { purpose, kind, policy: None, id: id(purpose, kind, None), room: None }
    }

    fn with_policy(purpose: Purpose, kind: &'static str, policy: &str) -> Self {
        Self { purpose, kind, policy: Some(policy.into()), id: id(purpose, kind, Some(policy)), room: None }
    }

    /// The purpose of its entries.
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The most entries that it has room for, if it says so itself: counters, or entries without a value.
    pub const fn room(&self) -> Option<usize> {
        self.room
    }

    /// The name of the space in errors and metrics.
    pub fn name(&self) -> SpaceName {
        SpaceName { kind: self.kind, policy: self.policy.clone() }
    }

    /// A number that differs from that of every other space.
    pub(super) const fn id(&self) -> u64 {
        self.id
    }
}

/// FNV-1a of the parts with a zero byte between them. Names of spaces come from source code and configuration: nobody
/// chooses them so that two meet.
const fn id(purpose: Purpose, kind: &str, policy: Option<&str>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let (policy, count) = match policy {
        Some(policy) => (policy, 3),
        None => ("", 2),
    };
    let parts = [purpose.name().as_bytes(), kind.as_bytes(), policy.as_bytes()];
    let mut part = 0;
    while part < count {
        let mut at = 0;
        while at < parts[part].len() {
            hash = (hash ^ parts[part][at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        hash = hash.wrapping_mul(0x0100_0000_01b3);
        part += 1;
    }
    hash
}

/// The key of an entry: its space and its name in it, and a part where one name has several.
///
/// A name is any bytes, and holds no secret: a caller who keeps a token under its name uses a digest of it. One key may
/// hold a value, a set and a lease at once; they do not know of each other.
#[derive(Clone, Copy, Debug)]
pub struct Key<'k> {
    space: &'k Space,
    name: &'k [u8],
    part: u32,
}

impl<'k> Key<'k> {
    /// The longest name that a server sees as it is; of a longer one it sees a digest.
    const MAX_PLAIN_BYTES: usize = 96;

    /// One of several entries under the same name. Keys that differ in their part alone live on the same server of a
    /// cluster.
    #[must_use]
    pub const fn part(self, part: u32) -> Self {
        Self { part, ..self }
    }

    /// The space that it belongs to.
    pub const fn space(&self) -> &'k Space {
        self.space
    }

    /// Its name, and its part, for a store that has names of its own.
    pub const fn name(&self) -> (&'k [u8], u32) {
        (self.name, self.part)
    }

    /// The key for a store at the other end of a wire: printable ASCII of a bounded length, different for different keys,
    /// and with policy and name in braces, by which a Redis cluster chooses the server.
    pub fn wire_name(&self, prefix: &str) -> String {
        let mut wire = format!("{prefix}:{}:{}:{{", self.space.purpose.name(), self.space.kind);
        if let Some(policy) = &self.space.policy {
            push_plain(&mut wire, policy.as_bytes());
            wire.push('/');
        }
        push_plain(&mut wire, self.name);
        wire.push('}');
        if self.part != 0 {
            // Writing to a String does not fail.
            _ = write!(wire, ":{}", self.part);
        }
        wire
    }
}

/// Letters, digits and these stand for themselves. `~` is not among them, and begins a digest.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b':');

fn push_plain(wire: &mut String, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= Key::MAX_PLAIN_BYTES => wire.extend(utf8_percent_encode(text, &PLAIN)),
        _ => {
            wire.push('~');
            wire.push_str(&hex::encode(Sha256::digest(bytes)));
        }
    }
}

/// Counters of one policy. What is counted without a policy in its key would be counted once for all policies, and so
/// there is no other way to make a [`Counter`].
///
/// ```
/// use portcullis_plugin::store::Counters;
///
/// let counters = Counters::of_policy("requests", "public-api");
/// let by_second = counters.counter(b"acme");
/// let by_day = by_second.part(1);
/// # let _ = by_day;
/// ```
#[derive(Clone, Debug)]
pub struct Counters(Space);

impl Counters {
    /// The counters of this kind of this policy; see also [`BuildCx::counters`](crate::BuildCx::counters).
    pub fn of_policy(kind: &'static str, policy: &str) -> Self {
        Self(Space::with_policy(Purpose::Counter, kind, policy))
    }

    /// Limits them to about so many, where the store would have room for more. What has no room is
    /// [`Full`](super::StoreError::Full): counters in use are never forgotten for new ones.
    #[must_use]
    pub const fn holding(mut self, max_counters: usize) -> Self {
        self.0.room = Some(max_counters);
        self
    }

    /// The counter of this name.
    pub const fn counter<'k>(&'k self, name: &'k [u8]) -> Counter<'k> {
        Counter(self.0.key(name))
    }
}

/// The key of a counter.
#[derive(Clone, Copy, Debug)]
pub struct Counter<'k>(Key<'k>);

impl<'k> Counter<'k> {
    /// One of several counters under the same name, such as one a second and one a day; see [`Key::part`].
    #[must_use]
    pub const fn part(self, part: u32) -> Self {
        Self(self.0.part(part))
    }

    /// The key, under which requests that are under way can hold [leases](super::Store::lease).
    pub const fn key(&self) -> Key<'k> {
        self.0
    }
}

#[cfg(test)]
mod tests;
