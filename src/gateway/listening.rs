//! The connections of a listener: their limits, the proxy behind them, and log lines about those that never become a
//! request.

use std::{
    collections::HashMap,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora::proxy::HttpProxy;
use pingora::{listeners::L4BufferSettings, protocols::http::v2::server::H2Options, server::configuration::ServerConf};
use tokio::sync::watch;

use crate::{
    config::file,
    front::{
        Acceptor, Fault, Limits, MAX_HEAD_BYTES, MAX_HEAD_LINES, MAX_HEADER_LIST_BYTES, MinBodyRate, Refuse,
        RejectionListener,
    },
    proxy::{
        Proxy,
        refusal::{Answer, Problem},
        request_id::RequestId,
        retry::MAX_ATTEMPTS,
    },
    services::Services,
    snapshot::Snapshot,
    telemetry::{Access, RefusedHandshake},
    tls::{Failure, Handshake, Tls},
};

/// The most streams that an HTTP/2 client may have open. Requests of streams that it has reset may still be in flight:
/// see `CONNECTION_REQUESTS_MAX` in `front::streams`.
pub(super) const MAX_STREAMS: u32 = 100;
/// The most streams that a client may open and reset before we have looked at them; one more ends the connection
/// (CVE-2023-44487).
const MAX_STREAMS_TAKEN_BACK: usize = 20;
/// The most streams that we reset because of a client's errors; one more ends the connection.
const MAX_STREAMS_AT_FAULT: usize = 200;
/// The size of HTTP/2's send buffer, beside the pieces that are counted as unsent.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// The most idle connections to upstreams that are pooled.
const KEPT_UPSTREAM_CONNECTIONS: usize = 1024;

/// Returns the sizes of the buffers of a connection. Pingora's own 64 KiB are cleared for each connection and stay with
/// it, also while it is idle: with ten thousand they are 640 MB. A plain connection's first read bypasses a buffer that
/// is no larger than itself, and OpenSSL reads a record in two pieces, the second of 16 KiB.
pub(super) fn buffers(tls: Option<&Tls>) -> L4BufferSettings {
    const PLAIN_BYTES: usize = 4 << 10;
    const RECORD_BYTES: usize = 18 << 10;
    L4BufferSettings::default().read(if tls.is_some() { RECORD_BYTES } else { PLAIN_BYTES })
}

pub(super) fn limits(server: &file::Server) -> Limits {
    Limits {
        head_bytes: MAX_HEAD_BYTES,
        head_lines: MAX_HEAD_LINES,
        head_timeout: server.head_timeout.0,
        idle_timeout: server.idle_timeout.0,
        body_timeout: server.body_timeout.0,
        min_body_rate: MinBodyRate {
            bytes_per_second: server.min_body_bytes_per_second,
            patience: server.body_timeout.0,
        },
        write_timeout: server.write_timeout.0,
        max_stream_age: server.max_stream_age.0,
        max_connections: server.max_connections.get(),
        max_connections_per_address: per_address(server),
    }
}

/// Returns the default limit of connections per address: a tenth, but at least as many as a browser or two open.
fn per_address(server: &file::Server) -> usize {
    const LEAST: usize = 16;
    let tenth = (server.max_connections.get() / 10).max(LEAST);
    server.max_connections_per_address.map_or(tenth, NonZeroUsize::get)
}

pub(super) fn proxy(
    server: &file::Server,
    threads: usize,
    services: &Arc<Services>,
    current: &Arc<ArcSwap<Snapshot>>,
    closing: &watch::Receiver<bool>,
) -> Arc<HttpProxy<Proxy>> {
    let conf = ServerConf {
        threads,
        upstream_keepalive_pool_size: KEPT_UPSTREAM_CONNECTIONS,
        // Counts the first attempt as well.
        max_retries: MAX_ATTEMPTS,
        ..ServerConf::default()
    };
    let inner = Proxy::new(services.clone(), current.clone(), closing.clone(), server.write_timeout.0);
    let mut proxy = HttpProxy::new(inner, Arc::new(conf));
    let mut http2 = H2Options::default();
    http2
        .max_header_list_size(MAX_HEADER_LIST_BYTES as u32)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_STREAMS_TAKEN_BACK)
        .max_local_error_reset_streams(Some(MAX_STREAMS_AT_FAULT))
        .max_send_buffer_size(SEND_BUFFER_BYTES);
    proxy.h2_options = Some(http2);
    proxy.handle_init_modules();
    Arc::new(proxy)
}

/// Returns the acceptor of a listener, which follows the configuration that serves when a connection comes.
pub(super) fn acceptor(number: usize, services: &Arc<Services>, current: &Arc<ArcSwap<Snapshot>>) -> Acceptor {
    let output = services.output.clone();
    let metrics = services.metrics.listener(number);
    let on_handshake = move |listener: usize, handshake: &Handshake, peer: SocketAddr| {
        metrics.finished(handshake.outcome.map_err(Failure::code));
        // A client that connects and leaves only checks whether the port is open: every load balancer does, once a
        // second.
        if let Err(failure) = handshake.outcome
            && (handshake.has_begun || failure != Failure::Closed)
        {
            output.handshake(&RefusedHandshake {
                reason: failure.code(),
                listener,
                address: peer.ip().to_canonical(),
                server_name: handshake.server_name.as_deref(),
                subject: handshake.subject.as_deref(),
                issuer: handshake.issuer.as_deref(),
            });
        }
    };
    let (of_listener, of_clients) = (current.clone(), current.clone());
    Acceptor::new(
        number,
        move || of_listener.load().settings.listeners[number].clone(),
        move |address| of_clients.load().settings.callers.client_address.trusts(address),
        Box::new(on_handshake),
        rejected(services),
    )
}

/// Counts and logs connections that are closed as they come. Each reason has at most one line a second, with the number
/// since the one before: a flood of connections must not flood the log as well.
fn rejected(services: &Arc<Services>) -> RejectionListener {
    let (services, lines) = (services.clone(), Mutex::new(HashMap::<&str, Sampled>::new()));
    Box::new(move |listener, rejection, address| {
        let code = rejection.code();
        services.metrics.rejected(code);
        let Some(count) = lines.lock().entry(code).or_default().take(Instant::now()) else { return };
        let (listener, address) = (listener.to_string(), address.map(|address| address.to_string()));
        let (listener, address) = (listener.as_str(), address.as_deref().unwrap_or("-"));
        let more = if count > 1 { format!(" ({count} since the last such line)") } else { String::new() };
        log::warn!(listener, address, reason = code; "rejected connection: {rejection}{more}");
    })
}

/// Counts events since the last one that was logged.
#[derive(Default)]
struct Sampled {
    last: Option<Instant>,
    since: u64,
}

impl Sampled {
    /// Counts an event. Returns the number of events to log, if a line is due.
    fn take(&mut self, now: Instant) -> Option<u64> {
        const REPORT_EVERY: Duration = Duration::from_secs(1);
        self.since += 1;
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < REPORT_EVERY) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

/// Answers a request whose head was not valid.
pub(super) fn refuse(services: &Arc<Services>) -> Refuse {
    let services = services.clone();
    Arc::new(move |fault, peer, hsts| {
        let problem = match fault {
            Fault::BadRequest(_) => Problem::BadRequest,
            Fault::MethodNotAllowed => Problem::MethodNotAllowed,
            Fault::HeadTooLarge(_) => Problem::HeadTooLarge,
            Fault::HeadTimeout => Problem::RequestTimeout,
        };
        let id = RequestId::random();
        services.metrics.refused_before_routing(problem.code());
        services.output.access(&Access {
            request_id: id.as_str(),
            method: "-",
            host: None,
            path: "-",
            protocol: "HTTP/1.1",
            status: problem.status().as_u16(),
            bytes_sent: 0,
            bytes_received: 0,
            duration: Duration::ZERO,
            upstream: None,
            target: None,
            target_address: None,
            unreached: &[],
            route: None,
            consumer: None,
            address: peer.ip().to_canonical(),
            reason: None,
            error: Some(fault.why()),
            user_agent: None,
        });
        Answer::from(problem).bytes(id.as_str(), hsts)
    })
}
