//! Counters that plugins request while they are built.

use std::collections::{BTreeMap, HashSet};

use parking_lot::Mutex;
use portcullis_plugin::Metric;

/// The names of the engine's own metrics; a test compares them to what it exports.
pub(super) const ENGINE_NAMES: &[&str] = &[
    "portcullis_authentications_total",
    "portcullis_build_info",
    "portcullis_certificate_expiry_timestamp_seconds",
    "portcullis_config_generation",
    "portcullis_config_generations",
    "portcullis_config_last_reload_success_timestamp_seconds",
    "portcullis_connections",
    "portcullis_connections_rejected_total",
    "portcullis_crl_next_update_timestamp_seconds",
    "portcullis_held_body_bytes",
    "portcullis_log_lines_dropped_total",
    "portcullis_open_streams",
    "portcullis_reloads_total",
    "portcullis_request_duration_seconds",
    "portcullis_requests_refused_before_routing_total",
    "portcullis_requests_total",
    "portcullis_streams_ended_total",
    "portcullis_tls_handshakes_total",
    "portcullis_unsent_bytes",
    "portcullis_upstream_addresses",
    "portcullis_upstream_errors_total",
    "portcullis_upstream_retries_refused_total",
    "portcullis_upstream_retries_total",
    "portcullis_upstream_unresolved_targets",
];

/// The suffixes of a histogram's series: a name with one would be read as a part of the histogram.
const HISTOGRAM_PARTS: [&str; 3] = ["_bucket", "_count", "_sum"];

pub(super) type Labels = Box<[(&'static str, Box<str>)]>;

/// The key of a plugin's metric in [`Metrics::retain_plugin_metrics`](super::Metrics::retain_plugin_metrics).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PluginMetricKey {
    name: &'static str,
    labels: Labels,
}

/// The plugins' metrics by name.
#[derive(Default)]
pub(super) struct PluginMetrics(pub(super) Mutex<BTreeMap<&'static str, Family>>);

/// The metrics of one name, by the values of their labels.
pub(super) struct Family {
    pub(super) help: &'static str,
    pub(super) series: BTreeMap<Labels, Metric>,
}

impl Family {
    /// Returns `true` if this may be one of its series: those of one name that differ in their labels, or in what they
    /// are, cannot be added up.
    fn takes(&self, labels: &Labels, new: &Metric) -> bool {
        let Some((first, known)) = self.series.first_key_value() else { return true };
        first.iter().map(|(label, _)| label).eq(labels.iter().map(|(label, _)| label)) && known.is_like(new)
    }
}

impl PluginMetrics {
    /// Returns a plugin's metric: the same name and labels give the same one.
    ///
    /// # Errors
    /// The name is not valid in Prometheus, or is in use with another meaning.
    pub(super) fn metric(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        new: Metric,
    ) -> Result<(PluginMetricKey, Metric), String> {
        let is_taken = ENGINE_NAMES.contains(&name) || HISTOGRAM_PARTS.iter().any(|part| name.ends_with(part));
        if !is_name(name) || is_taken || !labels.iter().all(|(label, _)| is_name(label)) {
            return Err(format!("the plugin cannot have a metric `{name}`: a bug in it"));
        }
        let labels: Labels = labels.iter().map(|(label, value)| (*label, Box::from(*value))).collect();
        let mut families = self.0.lock();
        let family = families.entry(name).or_insert_with(|| Family { help, series: BTreeMap::new() });
        if family.help != help || !family.takes(&labels, &new) {
            return Err(format!("another plugin has a metric `{name}` that means something else"));
        }
        let metric = family.series.entry(labels.clone()).or_insert(new).clone();
        Ok((PluginMetricKey { name, labels }, metric))
    }

    /// Forgets the metrics of plugins that are not among these, as [`Metrics::retain`](super::Metrics::retain) does
    /// with names.
    pub(super) fn retain<'k>(&self, kept: impl Iterator<Item = &'k PluginMetricKey>) {
        let kept: HashSet<(&str, &Labels)> = kept.map(|key| (key.name, &key.labels)).collect();
        self.0.lock().retain(|name, family| {
            family.series.retain(|labels, _| kept.contains(&(*name, labels)));
            !family.series.is_empty()
        });
    }
}

/// Returns whether this is `snake_case`, which is valid for names of metrics and of labels.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
