//! Metrics with fixed names, in the text format of Prometheus.
//!
//! Counters are resolved once, when a configuration is built, and kept as [`Arc`]s: a request looks nothing up. The
//! same name gives the same counters, also over a reload; [`Metrics::retain`] forgets those that no configuration names
//! any more.
//!
//! # The danger
//! A label that a client can choose can fill the memory of the gateway and of everything that scrapes it. Labels come
//! from the configuration or from constants of the code. There is no label for a path, a consumer, an address or a user
//! agent.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use portcullis_plugin::UnixTime;

mod counter;
mod family;
mod paged;
mod plugins;
mod render;
mod series;

use plugins::PluginMetrics;
use series::Labelled;

pub(crate) use counter::{Counter, Histogram};
pub(crate) use plugins::PluginMetricKey;
pub(crate) use series::{AuthOutcome, HandshakeMetrics, PolicyMetrics, RouteMetrics, UpstreamError, UpstreamMetrics};

/// The `Content-Type` of [`Metrics::write`].
pub(crate) const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The label `route` of a request that matched no route. No configuration forgets it.
pub(crate) const NO_ROUTE: &str = "(none)";

/// A part of a request that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Everything that policies and plugins did before the request was forwarded.
    Policy,
    /// From the choice of an upstream to the head of its response.
    Upstream,
    /// From the head to the last byte.
    Total,
}

impl Phase {
    const ALL: [Self; 3] = [Self::Policy, Self::Upstream, Self::Total];

    /// Returns the label `phase`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Upstream => "upstream",
            Self::Total => "total",
        }
    }
}

/// The kind of a name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `[routes.NAME]`
    Route,
    /// `[policies.NAME]`
    Policy,
    /// `[upstreams.NAME]`
    Upstream,
}

/// Returns a number that is kept elsewhere, when the metrics are exported.
pub(crate) type Source = Box<dyn Fn() -> u64 + Send + Sync>;

/// The numbers of targets and addresses of an upstream.
pub(crate) struct TargetCounts {
    /// The name of the upstream.
    pub upstream: Arc<str>,
    /// Addresses that requests can go to.
    pub addresses: usize,
    /// Targets whose last look-up failed.
    pub unresolved: usize,
}

/// Counts the targets of all upstreams, when the metrics are exported.
pub(crate) type Targets = Box<dyn Fn() -> Vec<TargetCounts> + Send + Sync>;

/// All metrics.
pub(crate) struct Metrics {
    version: String,
    connections: Source,
    log_lines_dropped: Source,
    durations: [Histogram; Phase::ALL.len()],
    refused: Labelled<1>,
    rejected: Labelled<1>,
    reloads_good: Counter,
    reloads_bad: Counter,
    last_reload_millis: AtomicU64,
    generation: AtomicU64,
    live_generations: Arc<AtomicUsize>,
    held_body_bytes: Arc<AtomicUsize>,
    open_streams: Arc<AtomicUsize>,
    streams_ended: Labelled<1>,
    unsent_bytes: Arc<AtomicUsize>,
    routes: Named<RouteMetrics>,
    /// The counters of requests that matched no route; also contained in `routes`.
    unrouted: Arc<RouteMetrics>,
    policies: Named<PolicyMetrics>,
    upstreams: Named<UpstreamMetrics>,
    targets: Mutex<Targets>,
    listeners: Named<HandshakeMetrics>,
    certificates: Mutex<BTreeMap<String, i64>>,
    revocation_lists: Mutex<BTreeMap<String, i64>>,
    plugins: PluginMetrics,
}

/// Counters by the name that they are about. The lock is for building and exporting; requests hold the `Arc`s.
type Named<T> = Mutex<BTreeMap<String, Arc<T>>>;

impl Metrics {
    /// Returns metrics with nothing counted yet. `version` is that of the gateway, `connections` the number of open
    /// ones, and `log_lines_dropped` the value of [`Output::dropped`](super::Output::dropped).
    pub(crate) fn new(version: impl Into<String>, connections: Source, log_lines_dropped: Source) -> Self {
        let unrouted: Arc<RouteMetrics> = Arc::default();
        Self {
            version: version.into(),
            connections,
            log_lines_dropped,
            durations: Default::default(),
            refused: Labelled::default(),
            rejected: Labelled::default(),
            reloads_good: Counter::default(),
            reloads_bad: Counter::default(),
            last_reload_millis: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            live_generations: Arc::default(),
            held_body_bytes: Arc::default(),
            open_streams: Arc::default(),
            streams_ended: Labelled::default(),
            unsent_bytes: Arc::default(),
            routes: Mutex::new(BTreeMap::from([(NO_ROUTE.to_owned(), unrouted.clone())])),
            unrouted,
            policies: Named::default(),
            upstreams: Named::default(),
            targets: Mutex::new(Box::new(Vec::new)),
            listeners: Named::default(),
            certificates: Mutex::default(),
            revocation_lists: Mutex::default(),
            plugins: PluginMetrics::default(),
        }
    }

    /// Sets the gauge of bytes that wait to be sent.
    #[must_use]
    pub(crate) fn unsent(self, unsent_bytes: Arc<AtomicUsize>) -> Self {
        Self { unsent_bytes, ..self }
    }

    /// Returns the counters of requests that matched no route.
    pub(crate) fn unrouted(&self) -> &RouteMetrics {
        &self.unrouted
    }

    /// Returns the counters of a route. The same name gives the same counters.
    pub(crate) fn route(&self, name: &str) -> Arc<RouteMetrics> {
        resolve(&self.routes, name)
    }

    /// Returns the counters of a policy.
    pub(crate) fn policy(&self, name: &str) -> Arc<PolicyMetrics> {
        resolve(&self.policies, name)
    }

    /// Returns the counters of an upstream.
    pub(crate) fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        resolve(&self.upstreams, name)
    }

    /// Returns the counters of a TLS listener, by its number in the file. Listeners are fixed at the start of the
    /// process.
    pub(crate) fn listener(&self, number: usize) -> Arc<HandshakeMetrics> {
        resolve(&self.listeners, &number.to_string())
    }

    /// Sets the function that counts the targets of all upstreams.
    pub(crate) fn targets(&self, targets: Targets) {
        *self.targets.lock() = targets;
    }

    /// Sets the names that certificates are served for, each with its end.
    pub(crate) fn certificates<'n>(&self, expiries: impl Iterator<Item = (&'n str, UnixTime)>) {
        *self.certificates.lock() = first_ends(expiries);
    }

    /// Sets the lists of revoked certificates, by issuer, each with its end.
    pub(crate) fn revocation_lists<'n>(&self, ends: impl Iterator<Item = (&'n str, UnixTime)>) {
        *self.revocation_lists.lock() = first_ends(ends);
    }

    /// Forgets the names for which `is_named` returns false. To be called after each reload, also after a failed one:
    /// building may have resolved names that the configuration which goes on serving does not have. Requests still in
    /// flight on a forgotten name go on counting, unseen.
    pub(crate) fn retain(&self, is_named: impl Fn(Kind, &str) -> bool) {
        self.routes.lock().retain(|name, _| name == NO_ROUTE || is_named(Kind::Route, name));
        self.policies.lock().retain(|name, _| is_named(Kind::Policy, name));
        self.upstreams.lock().retain(|name, _| is_named(Kind::Upstream, name));
    }

    /// Returns the gauge of buffered bytes of request bodies.
    pub(crate) fn held_body_bytes(&self) -> Arc<AtomicUsize> {
        self.held_body_bytes.clone()
    }

    /// Returns the gauge of requests that have lasted longer than a second.
    pub(crate) fn open_streams(&self) -> Arc<AtomicUsize> {
        self.open_streams.clone()
    }

    /// Returns a plugin's metric: the same name and labels give the same one, and the first time it is `new`.
    ///
    /// # Errors
    /// The name is not valid in Prometheus, or is in use with another meaning.
    pub(crate) fn plugin_metric(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        new: portcullis_plugin::Metric,
    ) -> Result<(PluginMetricKey, portcullis_plugin::Metric), String> {
        self.plugins.metric(name, help, labels, new)
    }

    /// Forgets the metrics of plugins that are not among these.
    pub(crate) fn retain_plugin_metrics<'k>(&self, kept: impl Iterator<Item = &'k PluginMetricKey>) {
        self.plugins.retain(kept);
    }

    /// Counts a request that was ended early, by the code of the reason.
    pub(crate) fn stream_ended(&self, reason: &'static str) {
        self.streams_ended.add([reason]);
    }

    /// Counts the duration of a phase of a request.
    #[inline]
    pub(crate) fn observe(&self, phase: Phase, took: Duration) {
        self.durations[phase as usize].observe(took);
    }

    /// Counts a request that was refused before it was matched: its head is malformed, too long or too late. `code` is
    /// that of the answer.
    pub(crate) fn refused_before_routing(&self, code: &'static str) {
        self.refused.add([code]);
    }

    /// Counts a connection that was closed as it came, or for another one. `reason` is a constant of the code.
    pub(crate) fn rejected(&self, reason: &'static str) {
        self.rejected.add([reason]);
    }

    /// Counts a successful reload, after which `generation` serves.
    pub(crate) fn reload_succeeded(&self, generation: u64, at: SystemTime) {
        let millis = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.last_reload_millis.store(u64::try_from(millis).unwrap_or(u64::MAX), Relaxed);
        self.generation.store(generation, Relaxed);
        self.reloads_good.add(1);
    }

    /// Counts a configuration as being in memory, until the guard is dropped.
    pub(crate) fn live_generation(&self) -> LiveGeneration {
        self.live_generations.fetch_add(1, Relaxed);
        LiveGeneration(self.live_generations.clone())
    }

    /// Counts a reload that was refused as a whole.
    pub(crate) fn reload_failed(&self) {
        self.reloads_bad.add(1);
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A guard for a configuration that is in memory: see [`Metrics::live_generation`].
pub(crate) struct LiveGeneration(Arc<AtomicUsize>);

impl Drop for LiveGeneration {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn first_ends<'n>(ends: impl Iterator<Item = (&'n str, UnixTime)>) -> BTreeMap<String, i64> {
    let mut of_names = BTreeMap::new();
    for (name, until) in ends {
        let first = of_names.entry(name.to_owned()).or_insert(until.0);
        *first = (*first).min(until.0);
    }
    of_names
}

fn resolve<T: Default>(named: &Named<T>, name: &str) -> Arc<T> {
    let mut named = named.lock();
    if let Some(known) = named.get(name) {
        return known.clone();
    }
    named.entry(name.to_owned()).or_default().clone()
}

#[cfg(test)]
mod tests;
