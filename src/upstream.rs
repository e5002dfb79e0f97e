//! Named sets of servers that requests are forwarded to.

pub mod tls;
mod upgrade;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use http::HeaderValue;
use pingora_core::{protocols::ALPN, upstreams::peer::HttpPeer};
use portcullis_plugin::UnixTime;

use self::tls::{Handshake, SystemAuthorities, Tls, Verifier, Wrong};
use crate::{
    config::{Fingerprint, Secrets, file},
    front::small_frames_budget,
    snapshot::router::host_key,
    telemetry::metrics::UpstreamMetrics,
};

/// One upstream, compiled.
pub struct Upstream {
    /// Its name in the file.
    pub name: Arc<str>,
    /// The `Host` that is sent in place of the client's.
    pub host: Option<HeaderValue>,
    /// How long it may stay silent: an upgraded connection is held to it as well.
    pub read_timeout: std::time::Duration,
    /// Where its errors are counted.
    pub metrics: Arc<UpstreamMetrics>,
    /// Of the certificates and keys that it names; of an upstream without TLS nothing is said.
    pub files: Fingerprint,
    /// The gateway's own certificate that it is shown: its subject and its end.
    pub own_certificate: Option<(String, UnixTime)>,
    /// Whether anybody can pass for it, which its author has accepted.
    pub is_unverified: bool,
    targets: Box<[Target]>,
    /// Indexes into the targets: each as often as its weight, spread evenly.
    turns: Box<[u16]>,
    turn: AtomicUsize,
}

/// One server.
pub struct Target {
    /// As the file has it.
    pub address: Arc<str>,
    /// Where that is, if names were looked up.
    at: Option<SocketAddr>,
    peer: HttpPeer,
    /// Of one that is spoken to over TLS.
    verifier: Option<Arc<Verifier>>,
}

impl Upstream {
    /// Reads its certificates, resolves the targets' names and prepares their peers.
    ///
    /// # Errors
    /// What is wrong, each with the field it is about.
    pub fn compile(
        name: &str,
        file: &file::Upstream,
        secrets: &Secrets,
        system: &SystemAuthorities,
        metrics: Arc<UpstreamMetrics>,
    ) -> Result<Self, Wrong> {
        let mut wrong = Wrong::new();
        wrong.extend(protocol_without_tls(file).map(|why| ("protocol".to_owned(), why)));
        let tls = file.tls.as_ref().map(|tls| Tls::read(tls, file.protocol, secrets, system)).transpose();
        let tls = tls.unwrap_or_else(|faults| {
            wrong.extend(faults);
            None
        });
        let mut targets = Vec::new();
        for (index, target) in file.targets.0.iter().enumerate() {
            match Target::prepare(&target.get_ref().address, file, tls.as_ref(), !secrets.is_absent_fine()) {
                Ok(target) => targets.push(target),
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
            metrics,
            files: tls.as_ref().map_or_else(Fingerprint::default, |tls| Fingerprint(tls.settings())),
            own_certificate: tls.as_ref().and_then(Tls::own_certificate),
            is_unverified: tls.as_ref().is_some_and(Tls::is_unverified),
            targets: targets.into(),
            turns: turns(&weights),
            turn: AtomicUsize::new(0),
        })
    }

    /// The next target: round robin by weight.
    pub fn next(&self) -> &Target {
        let turn = self.turn.fetch_add(1, Relaxed) % self.turns.len();
        &self.targets[usize::from(self.turns[turn])]
    }

    /// Where its targets are, as far as their names were looked up.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.targets.iter().filter_map(|target| target.at)
    }

    /// How many different targets there are to try.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are none; a configuration does not allow that.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }
}

impl Target {
    fn prepare(address: &str, file: &file::Upstream, tls: Option<&Tls>, may_resolve: bool) -> Result<Self, String> {
        let at = resolve(address, may_resolve)?;
        let known = may_resolve.then(|| plain(at));
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
        Ok(Self { address: address.into(), at: known, peer, verifier })
    }

    /// The peer to connect to, for one request, and what came of its handshake.
    pub fn peer(&self) -> (Box<HttpPeer>, Option<Arc<Handshake>>) {
        self.watched(self.peer.clone())
    }

    /// The same for a request that asks for an upgrade.
    pub fn upgradable_peer(&self) -> (Box<HttpPeer>, Option<Arc<Handshake>>) {
        let mut peer = self.peer.clone();
        // HTTP/2 knows no upgrade: there it is a request like any other (RFC 9113 section 8.6).
        if peer.options.alpn != ALPN::H2 {
            peer.options.alpn = ALPN::H1;
            upgrade::prepare(&mut peer);
        }
        self.watched(peer)
    }

    fn watched(&self, mut peer: HttpPeer) -> (Box<HttpPeer>, Option<Arc<Handshake>>) {
        let handshake = self.verifier.as_ref().map(|verifier| Handshake::watch(verifier, &mut peer));
        (Box::new(peer), handshake)
    }
}

/// `h2` and `h2c` are two words for HTTP/2, with TLS and without: the wrong one is a mistake about the other.
fn protocol_without_tls(file: &file::Upstream) -> Option<String> {
    match (file.protocol, &file.tls) {
        (Some(file::Protocol::H2c), Some(_)) => Some("`h2c` is HTTP/2 without TLS: over TLS it is `h2`".to_owned()),
        (Some(file::Protocol::H2), None) => Some("`h2` is HTTP/2 over TLS: say `tls`, or `h2c` without it".to_owned()),
        _ => None,
    }
}

fn resolve(address: &str, may_resolve: bool) -> Result<SocketAddr, String> {
    let is_name = |host: &str| !host.contains(':') && host_key(host.as_bytes()).is_some();
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if let Some(address) = address.parse::<SocketAddr>().ok().filter(|address| address.port() > 0) {
        return Ok(address);
    }
    if !address.rsplit_once(':').is_some_and(|(host, port)| is_name(host) && is_port(port)) {
        let hint = hint(address);
        return Err(format!("`{address}` is not a host with its port, such as \"10.0.0.1:9000\"{hint}"));
    }
    if !may_resolve {
        return Ok(SocketAddr::from(([127, 0, 0, 1], 1)));
    }
    let mut found = address.to_socket_addrs().map_err(|error| format!("`{address}` cannot be resolved: {error}"))?;
    found.next().ok_or_else(|| format!("`{address}` has no address"))
}

/// One of the ways to write an address: `0.0.0.0` reaches this machine, and an IPv4 address may be written as IPv6.
fn plain(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// To who writes a URL: what its scheme says is said elsewhere.
fn hint(address: &str) -> &'static str {
    match address.split_once("://") {
        Some(("https", _)) => "; for `https://` the upstream says `tls = true`",
        Some(("http", _)) => "; without `tls` it is HTTP, so leave out `http://`",
        _ => "",
    }
}

/// Streams that one HTTP/2 connection carries at once.
const MAX_STREAMS: usize = 100;
/// What an upstream may send on an HTTP/2 stream before we have read it.
const STREAM_WINDOW_BYTES: u32 = 65_535;
/// The window of the whole connection. It is so large for two reasons: streams whose clients do not read never use it
/// up, so that they stop nobody else's; and h2 allows small DATA frames that wait to be read half of it in memory, which
/// is more than all streams together can take. Pingora has no setting for that budget.
const CONNECTION_WINDOW_BYTES: u32 = {
    let budget = MAX_STREAMS * small_frames_budget(STREAM_WINDOW_BYTES as usize);
    assert!(budget < (u32::MAX / 4) as usize, "a window has 31 bits");
    2 * budget as u32
};

/// The time limits of the file.
fn hold_to(peer: &mut HttpPeer, file: &file::Upstream) {
    peer.options.connection_timeout = Some(file.connect_timeout.0);
    peer.options.total_connection_timeout = Some(file.connect_timeout.0);
    peer.options.read_timeout = Some(file.read_timeout.0);
    peer.options.write_timeout = Some(file.write_timeout.0);
    peer.options.idle_timeout = Some(file.idle_timeout.0);
    if peer.options.alpn.get_max_http_version() == 2 {
        peer.options.max_h2_streams = MAX_STREAMS;
        peer.options.h2_stream_window_size = Some(STREAM_WINDOW_BYTES);
        peer.options.h2_connection_window_size = Some(CONNECTION_WINDOW_BYTES);
    }
}

/// Smooth weighted round robin (as in nginx), worked out once: at each turn every target gains its weight, the richest
/// one is taken and pays the sum.
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

    #[test]
    fn a_target_is_a_host_with_its_port() {
        assert!(resolve("127.0.0.1:80", true).is_ok());
        assert!(resolve("[::1]:80", true).is_ok());
        assert!(resolve("localhost:80", true).is_ok());
        for wrong in [
            "",
            "127.0.0.1",
            "localhost",
            "localhost:0",
            ":80",
            "localhost:http",
            "http://localhost:80",
            "127.0.0.1:0",
            "u@a:80",
        ] {
            assert!(resolve(wrong, false).is_err(), "{wrong}");
        }
        assert!(resolve("orders.internal:80", false).is_ok(), "names are not looked up without permission");
    }
}
