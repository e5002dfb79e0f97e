//! Resolves a name: `/etc/hosts` first, then DNS, as configured by the system or by `server.resolver`.
//!
//! DNS is queried directly rather than through the C library, because that returns no TTLs, blocks a thread for half a
//! minute when a server is silent, and cannot use a server of the operator's choice. Other modules of `nsswitch.conf`
//! are left out; systemd-resolved answers for most of them at the address that it writes into `resolv.conf`.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
    system_conf::read_system_conf,
};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::upstream::place::{LOCALHOST, is_localhost};

/// The time limit of one server, unless `resolv.conf` sets one.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit of a look-up, search domains and repetitions included.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// The time that the other kind of addresses, IPv4 or IPv6, is waited for once there are some of one kind.
const OTHER_KIND_TIMEOUT: Duration = Duration::from_secs(1);
/// The TTL of entries of `/etc/hosts`.
const HOSTS_TTL: Duration = Duration::from_secs(60);

/// The addresses found, of one kind or of both.
#[derive(Debug)]
pub(super) struct Found {
    /// The addresses, in no order.
    pub addresses: Vec<IpAddr>,
    /// The time that they are valid.
    pub ttl: Duration,
    /// The kind that could not be looked up, while the other could.
    pub unknown: Option<Kind>,
}

/// A kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Kind {
    /// Returns whether an address is of this kind.
    pub(super) fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }
}

/// The reason why nothing was found.
#[derive(Debug)]
enum Miss {
    /// There is no such name, or it has no address.
    Nothing,
    /// No server could answer.
    Failed(String),
}

/// Resolves names.
pub(super) struct Lookups {
    /// `server.resolver`; empty: the servers of the system.
    servers: Box<[SocketAddr]>,
    system: Mutex<Option<System>>,
}

/// The content of the system's files, until they change.
#[derive(Clone)]
struct System {
    stamp: [Option<(u64, i64, i64)>; 2],
    hosts: Arc<Hosts>,
    dns: Result<Dns, String>,
}

#[derive(Clone)]
struct Dns {
    resolver: TokioResolver,
    search: Vec<Name>,
    ndots: usize,
}

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";

impl Lookups {
    /// Returns a resolver that asks these servers, or those of the system.
    pub(super) fn new(servers: &[SocketAddr]) -> Self {
        Self { servers: servers.into(), system: Mutex::default() }
    }

    /// Returns the addresses of a host.
    ///
    /// # Errors
    /// Returns why there are none.
    pub(super) async fn find(&self, host: &str) -> Result<Found, String> {
        let found = timeout(LOOKUP_TIMEOUT, self.find_slowly(host)).await;
        match found.unwrap_or_else(|_| Err(Miss::Failed(format!("no answer within {LOOKUP_TIMEOUT:?}")))) {
            Ok(found) => Ok(found),
            Err(Miss::Nothing) => Err("there is no such name, or it has no address".to_owned()),
            Err(Miss::Failed(why)) => Err(why),
        }
    }

    async fn find_slowly(&self, host: &str) -> Result<Found, Miss> {
        let name = Name::from_utf8(host).map_err(|error| Miss::Failed(error.to_string()))?;
        let system = self.system();
        if let Some(found) = in_hosts(&system.hosts, &name) {
            return Ok(found);
        }
        if is_localhost(host) {
            return Ok(Found { addresses: LOCALHOST.into(), ttl: HOSTS_TTL, unknown: None });
        }
        let dns = system.dns.map_err(Miss::Failed)?;
        for candidate in candidates(&name, &dns.search, dns.ndots) {
            match both_kinds(&dns.resolver, candidate).await {
                Err(Miss::Nothing) => {}
                // If it is not known whether the nearer name exists, the farther one is not used: it may be somebody
                // else's.
                other => return other,
            }
        }
        Err(Miss::Nothing)
    }

    /// Returns the system's files, read again when one has changed, as the C library does.
    fn system(&self) -> System {
        let stamp = [HOSTS, RESOLV_CONF].map(|path| {
            let like = fs::metadata(path).ok()?;
            Some((like.ino(), like.mtime(), like.mtime_nsec()))
        });
        let mut system = self.system.lock();
        if let Some(known) = system.as_ref().filter(|known| known.stamp == stamp) {
            return known.clone();
        }
        let hosts = Arc::new(Hosts::from_system().unwrap_or_default());
        let dns = if self.servers.is_empty() { Dns::of_the_system() } else { Dns::of(&self.servers) };
        system.insert(System { stamp, hosts, dns }).clone()
    }
}

impl Dns {
    fn of_the_system() -> Result<Self, String> {
        let (config, options) = read_system_conf().map_err(|error| format!("{RESOLV_CONF}: {error}"))?;
        Self::build(config, options)
    }

    /// Names are complete then: search domains belong to the system's servers.
    fn of(servers: &[SocketAddr]) -> Result<Self, String> {
        let servers = servers.iter().map(|server| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        let mut options = ResolverOpts::default();
        options.timeout = SERVER_TIMEOUT;
        Self::build(config, options)
    }

    fn build(config: ResolverConfig, mut options: ResolverOpts) -> Result<Self, String> {
        // Names are resolved when their TTL ends, each once.
        options.cache_size = 0;
        let mut search = config.search().to_vec();
        search.extend(config.domain().filter(|_| config.search().is_empty()).cloned());
        let ndots = options.ndots;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { resolver, search, ndots })
    }
}

/// Returns the addresses in `/etc/hosts`. A name found there is not looked up elsewhere.
fn in_hosts(hosts: &Hosts, name: &Name) -> Option<Found> {
    let kinds = [RecordType::A, RecordType::AAAA].into_iter();
    let lookups = kinds.filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)));
    let addresses: Vec<IpAddr> = lookups.flat_map(|lookup| addresses(&lookup)).collect();
    (!addresses.is_empty()).then_some(Found { addresses, ttl: HOSTS_TTL, unknown: None })
}

/// Returns the complete names that a name may stand for, in the order of `resolv.conf`: with search domains first if it
/// has few dots.
fn candidates(name: &Name, search: &[Name], ndots: usize) -> Vec<Name> {
    let mut whole = name.clone();
    whole.set_fqdn(true);
    if name.is_fqdn() {
        return vec![whole];
    }
    let mut names: Vec<Name> = search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    let at = if dots >= ndots { 0 } else { names.len() };
    names.insert(at, whole);
    names
}

/// Looks up both kinds of addresses concurrently.
async fn both_kinds(resolver: &TokioResolver, name: Name) -> Result<Found, Miss> {
    let v4 = resolver.ipv4_lookup(name.clone());
    let v6 = resolver.ipv6_lookup(name);
    tokio::pin!(v4, v6);
    let (v4, v6) = tokio::select! {
        first = &mut v4 => {
            let first = found(first);
            let second = or_silent(&first, v6).await;
            (first, second)
        }
        first = &mut v6 => {
            let first = found(first);
            let second = or_silent(&first, v4).await;
            (second, first)
        }
    };
    match (v4, v6) {
        (Ok(mut v4), Ok(v6)) => {
            v4.addresses.extend(v6.addresses);
            Ok(Found { ttl: v4.ttl.min(v6.ttl), ..v4 })
        }
        (Ok(found), Err(Miss::Nothing)) | (Err(Miss::Nothing), Ok(found)) => Ok(found),
        (Ok(found), Err(Miss::Failed(_))) => Ok(Found { unknown: Some(Kind::V6), ..found }),
        (Err(Miss::Failed(_)), Ok(found)) => Ok(Found { unknown: Some(Kind::V4), ..found }),
        (Err(Miss::Failed(why)), Err(_)) | (Err(_), Err(Miss::Failed(why))) => Err(Miss::Failed(why)),
        (Err(Miss::Nothing), Err(Miss::Nothing)) => Err(Miss::Nothing),
    }
}

/// Limits the wait for the other kind: some servers never answer for IPv6.
async fn or_silent(
    first: &Result<Found, Miss>,
    second: impl Future<Output = Result<Lookup, NetError>>,
) -> Result<Found, Miss> {
    if first.is_err() {
        return found(second.await);
    }
    timeout(OTHER_KIND_TIMEOUT, second).await.map_or_else(|_| Err(Miss::Failed("no answer".to_owned())), found)
}

fn found(lookup: Result<Lookup, NetError>) -> Result<Found, Miss> {
    match lookup {
        Ok(lookup) => {
            let addresses = addresses(&lookup);
            let ttl = lookup.valid_until().saturating_duration_since(Instant::now());
            if addresses.is_empty() { Err(Miss::Nothing) } else { Ok(Found { addresses, ttl, unknown: None }) }
        }
        Err(error) if error.is_no_records_found() => Err(Miss::Nothing),
        Err(error) => Err(Miss::Failed(error.to_string())),
    }
}

fn addresses(lookup: &Lookup) -> Vec<IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_utf8(text).expect("a name")
    }

    #[test]
    fn search_domains_come_first_for_names_with_few_dots() {
        let search = ["prod.svc.", "svc."].map(name);
        let asked = |host: &str| -> Vec<String> {
            candidates(&name(host), &search, 2).iter().map(ToString::to_string).collect()
        };
        assert_eq!(asked("orders"), ["orders.prod.svc.", "orders.svc.", "orders."]);
        assert_eq!(asked("orders.prod"), ["orders.prod.prod.svc.", "orders.prod.svc.", "orders.prod."]);
        assert_eq!(asked("a.orders.prod"), ["a.orders.prod.", "a.orders.prod.prod.svc.", "a.orders.prod.svc."]);
        assert_eq!(asked("orders."), ["orders."], "a dot at the end: this name and no other");
    }

    #[test]
    fn hosts_are_read_for_both_kinds_of_addresses() {
        let mut hosts = Hosts::default();
        let text = "10.0.0.1 Orders orders.internal # a comment\n10.0.0.2 orders\nfd00::1 orders\n";
        hosts.read_hosts_conf(text.as_bytes()).expect("bytes can be read");
        let found = in_hosts(&hosts, &name("orders")).expect("it is there");
        let mut addresses: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
        addresses.sort();
        assert_eq!(addresses, ["10.0.0.1", "10.0.0.2", "fd00::1"]);
        assert!(in_hosts(&hosts, &name("payments")).is_none());
    }
}
