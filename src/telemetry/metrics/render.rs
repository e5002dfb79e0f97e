//! The exporter: adds up counters, names them, and writes them with the `prometheus` crate.

use std::{
    io::{self, Write},
    sync::atomic::Ordering::Relaxed,
};

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::{
    Metrics, Phase, TargetCounts,
    counter::Histogram,
    family::{FamilyWriter, buckets, counter, family, gauge, write_family},
};

impl Metrics {
    /// Writes everything, in the text format of Prometheus.
    ///
    /// A route is left out until its first request, and then its five series appear together: a configuration may have
    /// a hundred thousand routes.
    ///
    /// # Errors
    /// The receiver takes no more data.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut writers = self.paged();
        let families = [self.of_requests(), self.of_targets(), self.of_tls(), self.of_the_process()];
        let families = families.into_iter().flatten().filter(|family| !family.get_metric().is_empty());
        writers.extend(families.map(|family| {
            let name = family.name().to_owned();
            let write: FamilyWriter<'_> = Box::new(move |out| write_family(out, family, true));
            (name, write)
        }));
        writers.sort_by(|(a, _), (b, _)| a.cmp(b));
        writers.into_iter().try_for_each(|(_, write)| write(out))
    }

    /// Returns the same as a text.
    #[cfg(test)]
    pub(crate) fn render(&self) -> String {
        let mut text = Vec::new();
        self.write(&mut text).expect("a Vec takes every write");
        String::from_utf8(text).expect("what was formatted is text")
    }

    fn of_requests(&self) -> Vec<MetricFamily> {
        let refused = self.refused.each().map(|([code], count)| counter(&[("code", code)], count));
        let rejected = self.rejected.each().map(|([reason], count)| counter(&[("reason", reason)], count));
        let durations = Phase::ALL.iter().zip(&self.durations);
        let durations = durations.map(|(phase, observed)| histogram(&[("phase", phase.as_str())], observed));
        let counters = MetricType::COUNTER;
        vec![
            family(
                "portcullis_requests_refused_before_routing_total",
                "Requests refused before a route was looked for, by the code of the answer.",
                counters,
                refused,
            ),
            family(
                "portcullis_connections_rejected_total",
                "Connections closed as they came, or idle ones for new ones, by reason.",
                counters,
                rejected,
            ),
            family(
                "portcullis_request_duration_seconds",
                "How long requests took: policies, upstream, and from the first byte to the last.",
                MetricType::HISTOGRAM,
                durations,
            ),
        ]
    }

    fn of_targets(&self) -> Vec<MetricFamily> {
        let targets = (self.targets.lock())();
        let of = |count: fn(&TargetCounts) -> usize| {
            targets.iter().map(move |counts| gauge(&[("upstream", &counts.upstream)], count(counts) as f64))
        };
        vec![
            family(
                "portcullis_upstream_addresses",
                "Addresses that requests can go to.",
                MetricType::GAUGE,
                of(|counts| counts.addresses),
            ),
            family(
                "portcullis_upstream_unresolved_targets",
                "Targets whose name could not be looked up the last time.",
                MetricType::GAUGE,
                of(|counts| counts.unresolved),
            ),
        ]
    }

    fn of_tls(&self) -> Vec<MetricFamily> {
        let listeners = self.listeners.lock();
        let handshakes = listeners.iter().flat_map(|(number, handshakes)| {
            handshakes.outcomes.each().map(move |([result, reason], count)| {
                counter(&[("listener", number), ("result", result), ("reason", reason)], count)
            })
        });
        let certificates = self.certificates.lock();
        let expiries = certificates.iter().map(|(name, until)| gauge(&[("name", name)], *until as f64));
        let lists = self.revocation_lists.lock();
        let list_ends = lists.iter().map(|(issuer, until)| gauge(&[("issuer", issuer)], *until as f64));
        vec![
            family(
                "portcullis_tls_handshakes_total",
                "TLS handshakes, by result and reason.",
                MetricType::COUNTER,
                handshakes,
            ),
            family(
                "portcullis_certificate_expiry_timestamp_seconds",
                "When the first of the certificates of a name expires: those that are served, CAs of clients, and what the \
                 gateway shows to upstreams.",
                MetricType::GAUGE,
                expiries,
            ),
            family(
                "portcullis_crl_next_update_timestamp_seconds",
                "When a list of revoked certificates ceases to hold, and with it the certificates that it is about.",
                MetricType::GAUGE,
                list_ends,
            ),
        ]
    }

    fn of_the_process(&self) -> Vec<MetricFamily> {
        let (counters, gauges) = (MetricType::COUNTER, MetricType::GAUGE);
        let reloads = [("success", &self.reloads_good), ("failure", &self.reloads_bad)];
        let reloads = reloads.map(|(result, count)| counter(&[("result", result)], count.sum()));
        let last_reload = self.last_reload_millis.load(Relaxed) as f64 / 1e3;
        let generation = self.generation.load(Relaxed) as f64;
        vec![
            family(
                "portcullis_build_info",
                "The version that runs.",
                gauges,
                [gauge(&[("version", &self.version)], 1.0)],
            ),
            family("portcullis_reloads_total", "Configurations loaded, by result.", counters, reloads),
            family(
                "portcullis_config_last_reload_success_timestamp_seconds",
                "When the configuration that serves was loaded.",
                gauges,
                [gauge(&[], last_reload)],
            ),
            family(
                "portcullis_config_generation",
                "The number of the configuration that serves.",
                gauges,
                [gauge(&[], generation)],
            ),
            family(
                "portcullis_config_generations",
                "Configurations in memory: the one that serves, those that requests still hold, and one that is being \
                 loaded.",
                gauges,
                [gauge(&[], self.live_generations.load(Relaxed) as f64)],
            ),
            family(
                "portcullis_connections",
                "Connections from clients that are open.",
                gauges,
                [gauge(&[], (self.connections)() as f64)],
            ),
            family(
                "portcullis_held_body_bytes",
                "Memory for request bodies that are read before they are forwarded.",
                gauges,
                [gauge(&[], self.held_body_bytes.load(Relaxed) as f64)],
            ),
            family(
                "portcullis_open_streams",
                "Requests that have lasted for more than a second.",
                gauges,
                [gauge(&[], self.open_streams.load(Relaxed) as f64)],
            ),
            family(
                "portcullis_streams_ended_total",
                "Requests that were ended before their time, by reason.",
                counters,
                self.streams_ended.each().map(|([reason], count)| counter(&[("reason", reason)], count)),
            ),
            family(
                "portcullis_unsent_bytes",
                "Memory for bodies that wait to be sent, to clients and to upstreams.",
                gauges,
                [gauge(&[], self.unsent_bytes.load(Relaxed) as f64)],
            ),
            family(
                "portcullis_log_lines_dropped_total",
                "Log lines that were dropped: the log was not read fast enough, or could not be written.",
                counters,
                [counter(&[], (self.log_lines_dropped)())],
            ),
        ]
    }
}

fn histogram(labels: &[(&str, &str)], histogram: &Histogram) -> Metric {
    let observed = histogram.observed();
    buckets(labels, observed.buckets, observed.count, observed.sum)
}
