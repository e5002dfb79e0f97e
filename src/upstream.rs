//! Named sets of servers that requests are forwarded to.
//!
//! - `place`: the address of a target as the file has it.
//! - `names`: names of targets, resolved in the background.
//! - `addresses`: the addresses of a target, which take turns.
//! - `budget`: the limit of retries.
//! - `http2`: a target's support of HTTP/2, as far as known.
//! - `upgrade`: connections for requests that ask for an upgrade.
//! - `windows`: the HTTP/2 windows of connections to targets.
//! - `tls`: the verification of a target's certificate.

mod addresses;
mod budget;
mod http2;
mod names;
pub(crate) mod place;
pub(crate) mod tls;
mod upgrade;
pub(crate) mod windows;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http::HeaderValue;
use pingora::{
    protocols::{ALPN, l4::socket},
    upstreams::peer::HttpPeer,
};
use portcullis_plugin::UnixTime;
use serde_json::{Value, json};

use self::{
    addresses::{Addresses, Wanted},
    http2::Http2,
    place::{Place, plain},
    tls::{Handshake, SystemAuthorities, Tls, Verifier, Wrong},
    windows::Windows,
};
use crate::{
    config::{Fingerprint, Secrets, file},
    telemetry::{
        clock::rfc3339,
        metrics::{Metrics, TargetCounts, UpstreamMetrics},
    },
};

pub(crate) use budget::{RetryBudget, RetryBudgets};
pub(crate) use names::{Name, Names};

/// State that upstreams share, and that outlives a reload of them.
pub(crate) struct SharedByUpstreams<'s> {
    /// The counters.
    pub metrics: &'s Metrics,
    /// The names of targets, with their addresses.
    pub names: &'s Names,
    /// The retry budgets.
    pub retries: &'s RetryBudgets,
}

impl SharedByUpstreams<'_> {
    /// Forgets the state of upstreams that no configuration has any more.
    pub(crate) fn forget_unused(&self) {
        self.names.forget_unused();
        self.retries.forget_unused();
        Http2::forget_unused();
    }
}

/// One upstream, compiled.
pub(crate) struct Upstream {
    /// Its name in the file.
    pub name: Arc<str>,
    /// The `Host` header that is sent instead of the client's.
    pub host: Option<HeaderValue>,
    /// The time that it may stay silent; also applied to an upgraded connection.
    pub read_timeout: Duration,
    /// The counters of its errors.
    pub metrics: Arc<UpstreamMetrics>,
    /// The budget of its retries.
    pub retries: Arc<RetryBudget>,
    /// The fingerprint of the certificates and keys that it names; empty for an upstream without TLS.
    pub files: Fingerprint,
    /// The subject and the end of the client certificate that it is shown.
    pub own_certificate: Option<(String, UnixTime)>,
    /// Set if its certificate is not verified, which its author has accepted.
    pub is_unverified: bool,
    targets: Box<[Arc<Target>]>,
    /// Indexes into the targets: each as often as its weight, spread evenly.
    turns: Box<[u16]>,
    turn: AtomicUsize,
    /// The time that a request waits for a name that has not been resolved yet.
    patience: Duration,
}

/// One server, or several behind one name.
pub(crate) struct Target {
    /// Its address as the file has it.
    pub address: Arc<str>,
    addresses: Known,
    /// The index of the next address.
    turn: AtomicUsize,
    peer: HttpPeer,
    /// The verifier of a target with TLS.
    verifier: Option<Arc<Verifier>>,
    /// The HTTP/2 support of a target whose server chooses the protocol.
    http2: Option<Arc<Http2>>,
}

/// The addresses of a target, and how they are known.
enum Known {
    /// Written in the file.
    Written(Addresses),
    /// Resolved from a name.
    Named(Arc<Name>),
}

/// The destination of a request.
#[derive(Clone)]
pub(crate) struct Choice {
    /// The target.
    pub target: Arc<Target>,
    /// The chosen address.
    pub at: SocketAddr,
}

impl Upstream {
    /// Reads its certificates and prepares the peers of its targets. No name is resolved.
    ///
    /// # Errors
    /// Returns what is wrong, each with its field.
    pub(crate) fn compile(
        name: &str,
        file: &file::Upstream,
        secrets: &Secrets,
        system: &SystemAuthorities,
        shared: &SharedByUpstreams<'_>,
    ) -> Result<Self, Wrong> {
        let mut wrong = Wrong::new();
        wrong.extend(protocol_without_tls(file).map(|why| ("protocol".to_owned(), why)));
        wrong.extend(window_without_http2(file).map(|why| ("http2_window_bytes".to_owned(), why)));
        let tls = file.tls.as_ref().map(|tls| Tls::read(tls, file.protocol, secrets, system)).transpose();
        let tls = tls.unwrap_or_else(|faults| {
            wrong.extend(faults);
            None
        });
        let mut targets = Vec::new();
        for (index, target) in file.targets.0.iter().enumerate() {
            match Target::prepare(&target.get_ref().address, file, tls.as_ref(), shared.names) {
                Ok(target) => targets.push(Arc::new(target)),
                Err(why) => wrong.push((format!("targets[{index}]"), why)),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let weights: Vec<u32> = file.targets.0.iter().map(|target| target.get_ref().weight).collect();
        Ok(Self {
            name: name.into(),
            host: file.host.as_ref().map(|host| {
                HeaderValue::from_str(host.0.as_str()).expect("an authority is made of characters a header may have")
            }),
            read_timeout: file.read_timeout.0,
            metrics: shared.metrics.upstream(name),
            retries: shared.retries.of(name),
            files: tls.as_ref().map_or_else(Fingerprint::default, |tls| Fingerprint(tls.settings())),
            own_certificate: tls.as_ref().and_then(Tls::own_certificate),
            is_unverified: tls.as_ref().is_some_and(Tls::is_unverified),
            targets: targets.into(),
            turns: turns(&weights),
            turn: AtomicUsize::new(0),
            patience: file.connect_timeout.0,
        })
    }

    /// Returns the next address that this request has not tried, by the targets' weights: one that can be connected to,
    /// as far as that is known. If all were tried, returns the next one again. `None`: no name of a target resolves.
    pub(crate) fn choose(&self, tried: &[SocketAddr]) -> Option<Choice> {
        let turn = self.turn.fetch_add(1, Relaxed);
        let order = |wanted: Wanted| {
            let mut turns = (0..self.turns.len()).map(|step| self.turns[turn.wrapping_add(step) % self.turns.len()]);
            turns.find_map(|target| self.targets[usize::from(target)].choose(wanted, tried))
        };
        [Wanted::Rested, Wanted::Untried, Wanted::Any].into_iter().find_map(order)
    }

    /// Does the same for a request that comes before the names were resolved: it waits for them, as it waits for a
    /// connection.
    pub(crate) async fn choose_once_resolved(&self, tried: &[SocketAddr]) -> Option<Choice> {
        let settled = async {
            for (_, name) in self.names() {
                name.settled().await;
                if !name.addresses.is_empty() {
                    return;
                }
            }
        };
        // One limit for all of them: they are resolved concurrently.
        let _ = tokio::time::timeout(self.patience, settled).await;
        self.choose(tried)
    }

    /// Returns the names of its targets, each with the number of its target.
    pub(crate) fn names(&self) -> impl Iterator<Item = (usize, &Arc<Name>)> {
        self.targets.iter().enumerate().filter_map(|(number, target)| match &target.addresses {
            Known::Named(name) => Some((number, name)),
            Known::Written(_) => None,
        })
    }

    /// Returns the addresses of its targets, as far as they are known.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.targets.iter().flat_map(|target| target.addresses().list()).map(plain)
    }

    /// Returns the number of different addresses to try.
    pub(crate) fn len(&self) -> usize {
        self.targets.iter().map(|target| target.addresses().len()).sum()
    }

    /// Returns the names that could not be resolved, each with the reason, for the log.
    pub(crate) fn unresolved_names(&self) -> String {
        let why = |(_, name): (usize, &Arc<Name>)| {
            let last = name.last();
            format!("`{name}`: {}", last.failure.as_deref().unwrap_or("no answer yet"))
        };
        self.names().map(why).collect::<Vec<_>>().join("; ")
    }

    /// Returns the number of its targets whose last look-up failed.
    fn unresolved(&self) -> usize {
        self.names().filter(|(_, name)| name.last().failure.is_some()).count()
    }

    /// Returns the numbers of its targets and addresses.
    pub(crate) fn counts(&self) -> TargetCounts {
        TargetCounts { upstream: self.name.clone(), addresses: self.len(), unresolved: self.unresolved() }
    }

    /// Returns a description of its targets for the operator.
    pub(crate) fn status(&self) -> Value {
        let targets = self.targets.iter().map(|target| {
            let addresses: Vec<_> = target.addresses().list().iter().map(ToString::to_string).collect();
            match &target.addresses {
                Known::Written(_) => json!({ "target": &*target.address, "addresses": addresses }),
                Known::Named(name) => {
                    let last = name.last();
                    json!({
                        "target": &*target.address,
                        "addresses": addresses,
                        "resolved": last.resolved.map(rfc3339),
                        "unresolved": last.failure,
                    })
                }
            }
        });
        json!({ "targets": targets.collect::<Vec<_>>() })
    }
}

impl Target {
    fn prepare(address: &str, file: &file::Upstream, tls: Option<&Tls>, names: &Names) -> Result<Self, String> {
        let place = Place::parse(address)?;
        // A name is replaced by an address for each request.
        let at = match &place {
            Place::Address(at) => *at,
            Place::Name(name) => SocketAddr::from(([0, 0, 0, 0], name.port)),
        };
        let (mut peer, verifier) = match tls {
            None => (HttpPeer::new(at, false, String::new()), None),
            Some(tls) => {
                let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
                let (peer, verifier) = tls.peer(at, host)?;
                (peer, Some(verifier))
            }
        };
        if file.protocol == Some(file::Protocol::H2c) {
            peer.options.alpn = ALPN::H2;
        }
        hold_to(&mut peer, file);
        Ok(Self {
            address: address.into(),
            addresses: match place {
                Place::Address(at) => Known::Written(Addresses::new(vec![at])),
                Place::Name(name) => Known::Named(names.of(&name)),
            },
            turn: AtomicUsize::new(0),
            http2: (peer.options.alpn == ALPN::H2H1).then(|| Arc::new(Http2::new(peer.group_key))),
            peer,
            verifier,
        })
    }

    fn choose(self: &Arc<Self>, wanted: Wanted, tried: &[SocketAddr]) -> Option<Choice> {
        let at = self.addresses().choose(self.turn.load(Relaxed), wanted, tried)?;
        self.turn.fetch_add(1, Relaxed);
        Some(Choice { target: self.clone(), at })
    }

    /// Returns whether its addresses are resolved from a name.
    pub(crate) fn is_name(&self) -> bool {
        matches!(self.addresses, Known::Named(_))
    }

    fn addresses(&self) -> &Addresses {
        match &self.addresses {
            Known::Written(addresses) => addresses,
            Known::Named(name) => &name.addresses,
        }
    }
}

impl Choice {
    /// Returns the peer to connect to for one request, and an observer of its handshake.
    pub(crate) fn peer(&self) -> (Box<HttpPeer>, Option<Arc<Handshake>>) {
        let mut peer = self.own_peer();
        if let Some(http2) = &self.target.http2 {
            http2.offer(&mut peer);
        }
        let http2 = self.target.http2.as_ref().filter(|_| peer.options.alpn != ALPN::H1);
        self.watched(peer, http2)
    }

    /// Does the same for a request that asks for an upgrade.
    pub(crate) fn upgradable_peer(&self) -> (Box<HttpPeer>, Option<Arc<Handshake>>) {
        let mut peer = self.own_peer();
        // HTTP/2 has no upgrade: there it is a request like any other (RFC 9113 section 8.6).
        if peer.options.alpn != ALPN::H2 {
            peer.options.alpn = ALPN::H1;
            upgrade::prepare(&mut peer);
        }
        self.watched(peer, None)
    }

    /// Returns a copy of the target's peer. Its TLS settings, SNI and the name to verify do not depend on the address.
    fn own_peer(&self) -> HttpPeer {
        let mut peer = self.target.peer.clone();
        peer._address = socket::SocketAddr::Inet(self.at);
        peer
    }

    fn watched(&self, mut peer: HttpPeer, http2: Option<&Arc<Http2>>) -> (Box<HttpPeer>, Option<Arc<Handshake>>) {
        let verifier = self.target.verifier.as_ref();
        let handshake = verifier.map(|verifier| Handshake::watch(verifier, http2, &mut peer));
        (Box::new(peer), handshake)
    }

    /// Handles a failed handshake that offered this. Returns whether another one may succeed, which offers HTTP/1.1 as
    /// well.
    pub(crate) fn may_speak_http1_now(&self, offered: &ALPN) -> bool {
        self.target.http2.as_ref().is_some_and(|http2| http2.may_have_gone(offered))
    }

    /// Handles an invalid HTTP/2 response from a peer that offered this.
    pub(crate) fn broke_http2(&self, offered: &ALPN) {
        self.target.http2.iter().for_each(|http2| http2.failed(offered));
    }

    /// Notes that the server requires HTTP/1.1. Returns whether that is new; `None`: the file allows no other protocol.
    pub(crate) fn requires_http1(&self) -> Option<bool> {
        self.target.http2.as_ref().map(|http2| http2.requires_http1())
    }

    /// Notes whether the address can be connected to.
    pub(crate) fn set_reached(&self, is_reached: bool) {
        self.target.addresses().set_rest(self.at, !is_reached);
    }
}

/// Returns an error if `h2` and `h2c`, which mean HTTP/2 with TLS and without, contradict the TLS settings.
fn protocol_without_tls(file: &file::Upstream) -> Option<String> {
    match (file.protocol, &file.tls) {
        (Some(file::Protocol::H2c), Some(_)) => Some("`h2c` is HTTP/2 without TLS: over TLS it is `h2`".to_owned()),
        (Some(file::Protocol::H2), None) => Some("`h2` is HTTP/2 over TLS: say `tls`, or `h2c` without it".to_owned()),
        _ => None,
    }
}

/// Returns an error if a window is set for an upstream that never speaks HTTP/2.
fn window_without_http2(file: &file::Upstream) -> Option<String> {
    let is_http2 = match file.protocol {
        Some(protocol) => protocol != file::Protocol::Http1,
        None => file.tls.is_some(),
    };
    let text = "this upstream speaks HTTP/1.1, which has no windows: say `protocol`, or leave this out";
    (file.http2_window_bytes.is_some() && !is_http2).then(|| text.to_owned())
}

/// Applies the limits of the file.
fn hold_to(peer: &mut HttpPeer, file: &file::Upstream) {
    peer.options.connection_timeout = Some(file.connect_timeout.0);
    peer.options.total_connection_timeout = Some(file.connect_timeout.0);
    peer.options.read_timeout = Some(file.read_timeout.0);
    peer.options.write_timeout = Some(file.write_timeout.0);
    peer.options.idle_timeout = Some(file.idle_timeout.0);
    if peer.options.alpn.get_max_http_version() == 2 {
        let window = file.http2_window_bytes.unwrap_or(windows::DEFAULT_STREAM_BYTES);
        Windows::of(window).set(&mut peer.options);
        // Connections with other windows must not be shared. The lowest bit and the highest have meanings of their own.
        peer.group_key ^= u64::from(window - windows::DEFAULT_STREAM_BYTES) << 32;
    }
}

/// Computes a smooth weighted round robin (as in nginx) in advance: at each turn every target gains its weight, and the
/// richest one is chosen and pays the sum.
fn turns(weights: &[u32]) -> Box<[u16]> {
    let sum: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
    let mut wealth = vec![0i64; weights.len()];
    let mut turns = Vec::new();
    for _ in 0..sum {
        wealth.iter_mut().zip(weights).for_each(|(wealth, weight)| *wealth += i64::from(*weight));
        let richest = (0..wealth.len()).rev().max_by_key(|i| wealth[*i]).unwrap_or_default();
        wealth[richest] -= sum;
        turns.push(u16::try_from(richest).unwrap_or_default());
    }
    turns.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_the_weights_and_are_spread() {
        assert_eq!(*turns(&[1]), [0]);
        assert_eq!(*turns(&[1, 1]), [0, 1]);
        assert_eq!(*turns(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
    }
}
