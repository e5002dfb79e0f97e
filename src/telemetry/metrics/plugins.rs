//! Counters that plugins ask for while they are built.

use std::collections::{BTreeMap, HashSet};

use parking_lot::Mutex;
use portcullis_plugin::Counter;

/// The names that the engine has taken; a test holds them to what it exports.
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

/// What a histogram appends to its name: such a name would be read as a part of it.
const HISTOGRAM_PARTS: [&str; 3] = ["_bucket", "_count", "_sum"];

pub(super) type Labels = Box<[(&'static str, Box<str>)]>;

/// One counter of a plugin: what [`Metrics::retain_counters`](super::Metrics::retain_counters) knows it by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CounterKey {
    name: &'static str,
    labels: Labels,
}

/// By name.
#[derive(Default)]
pub(super) struct PluginCounters(pub(super) Mutex<BTreeMap<&'static str, Family>>);

/// The counters of one name, by the values of their labels.
pub(super) struct Family {
    pub(super) help: &'static str,
    pub(super) counters: BTreeMap<Labels, Counter>,
}

impl Family {
    /// Whether it has these labels: series of one name that differ in them cannot be added up.
    fn has_labels(&self, labels: &Labels) -> bool {
        let Some((first, _)) = self.counters.first_key_value() else { return true };
        first.iter().map(|(label, _)| label).eq(labels.iter().map(|(label, _)| label))
    }
}

impl PluginCounters {
    /// A plugin's counter: the same name and labels give the same one.
    ///
    /// # Errors
    /// The name is not one of Prometheus, or means something else already.
    pub(super) fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Result<(CounterKey, Counter), String> {
        let is_taken = ENGINE_NAMES.contains(&name) || HISTOGRAM_PARTS.iter().any(|part| name.ends_with(part));
        if !is_name(name) || is_taken || !labels.iter().all(|(label, _)| is_name(label)) {
            return Err(format!("the plugin cannot have a counter `{name}`: a bug in it"));
        }
        let labels: Labels = labels.iter().map(|(label, value)| (*label, Box::from(*value))).collect();
        let mut families = self.0.lock();
        let family = families.entry(name).or_insert_with(|| Family { help, counters: BTreeMap::new() });
        if family.help != help || !family.has_labels(&labels) {
            return Err(format!("another plugin has a counter `{name}` that means something else"));
        }
        let counter = family.counters.entry(labels.clone()).or_default().clone();
        Ok((CounterKey { name, labels }, counter))
    }

    /// Forgets the counters of plugins that are not among these, as [`Metrics::retain`](super::Metrics::retain) does with names.
    pub(super) fn retain<'k>(&self, kept: impl Iterator<Item = &'k CounterKey>) {
        let kept: HashSet<(&str, &Labels)> = kept.map(|key| (key.name, &key.labels)).collect();
        self.0.lock().retain(|name, family| {
            family.counters.retain(|labels, _| kept.contains(&(*name, labels)));
            !family.counters.is_empty()
        });
    }
}

/// `snake_case`, which both names of metrics and names of labels may be.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
