use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ipnet::IpNet;

use crate::UnixTime;

/// Someone the gateway knows by name. Any number of credentials of any kind belong to a consumer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    /// The name in the file: `[consumers.NAME]`.
    pub name: String,
    /// Groups it belongs to.
    pub groups: Vec<String>,
    /// Roles it has wherever it calls from.
    pub roles: Vec<String>,
    /// Free labels, for restrictions.
    pub labels: BTreeMap<String, String>,
    /// The tenant it belongs to.
    pub tenant: Option<String>,
    /// The name of the client software (OAuth 2.0, RFC 6749 section 2.2); the consumer's name where absent.
    pub client_id: Option<String>,
}

/// The limits of a credential of any kind. The engine checks all of them after a plugin has granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialLimits {
    /// Switched off without being removed.
    pub disabled: bool,
    /// Not usable before.
    pub not_before: Option<UnixTime>,
    /// Not usable from this moment on.
    pub expires: Option<UnixTime>,
    /// When it was made; a policy's `max_age` counts from here.
    pub created: Option<UnixTime>,
    /// The names of the routes it opens; absent: all.
    pub routes: Option<Vec<String>>,
    /// The networks it may be used from; absent: all.
    pub addresses: Option<Vec<IpNet>>,
}

/// A credential that proves who is calling, without its secret.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The plugin it belongs to, such as `key-auth`.
    pub kind: &'static str,
    /// Its name: unique among all credentials of its kind, and safe to log.
    pub id: Arc<str>,
    /// Whose it is.
    pub consumer: Arc<Consumer>,
    /// Scopes that go with it (RFC 6749 section 3.3).
    pub scopes: Vec<String>,
    /// The person or team that is responsible for it.
    pub owner: Option<String>,
    /// A class of service; for limits.
    pub tier: Option<String>,
    /// When and from where it can be used.
    pub limits: CredentialLimits,
    /// The record of its use. It outlives reloads.
    pub usage: Arc<Usage>,
}

impl Credential {
    /// Returns `true` if both are the same but for the limits on when and where they can be used.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.id == other.id
            && self.consumer == other.consumer
            && self.scopes == other.scopes
            && self.owner == other.owner
            && self.tier == other.tier
    }

    /// The same credential, usable no longer than `max_age` after it was made.
    pub fn aged(&self, max_age: Duration) -> Self {
        let mut aged = self.clone();
        if let Some(created) = self.limits.created {
            let end = created.after(max_age);
            aged.limits.expires = Some(self.limits.expires.map_or(end, |expires| expires.min(end)));
        }
        aged
    }
}

/// The record of a credential's use: how often, when last and from where. All snapshots that know the credential share
/// it.
#[derive(Debug, Default)]
pub struct Usage {
    count: AtomicU64,
    last: AtomicI64,
    address: [AtomicU64; 2],
    revoked: AtomicBool,
}

impl Usage {
    /// Counts one use. Values that do not change are not written, so that a busy key's cache line is mostly read.
    pub fn record(&self, now: UnixTime, address: IpAddr) {
        self.count.fetch_add(1, Relaxed);
        if self.last.load(Relaxed) != now.0 {
            self.last.store(now.0, Relaxed);
        }
        let bits = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        for (half, value) in self.address.iter().zip([(bits >> 64) as u64, bits as u64]) {
            if half.load(Relaxed) != value {
                half.store(value, Relaxed);
            }
        }
    }

    /// Returns the number of uses.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Returns the time of the last use, and its address. The two are read one after the other: under load the address
    /// may be of a use just after.
    pub fn last(&self) -> Option<(UnixTime, IpAddr)> {
        let last = self.last.load(Relaxed);
        let [high, low] = [&self.address[0], &self.address[1]].map(|half| u128::from(half.load(Relaxed)));
        (last != 0).then(|| (UnixTime(last), IpAddr::V6(Ipv6Addr::from_bits(high << 64 | low)).to_canonical()))
    }

    /// Marks the credential as gone or back.
    pub fn set_revoked(&self, revoked: bool) {
        self.revoked.store(revoked, Relaxed);
    }

    /// Returns `true` if the credential was taken out of the configuration since.
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Relaxed)
    }
}
