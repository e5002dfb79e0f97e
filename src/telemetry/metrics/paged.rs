//! Families with series for each name of the configuration, written page by page: twenty thousand routes make a hundred
//! thousand series, which are never in memory together, and nobody who resolves a name waits for all of them.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use portcullis_plugin::Metric as PluginMetric;
use prometheus::proto::{Metric, MetricType};

use super::{
    Metrics, Named, UpstreamError,
    family::{FamilyWriter, buckets, counter, family, gauge, write_family},
    series::STATUS_CLASSES,
};

/// The number of names that are written at once.
const PAGE_NAMES: usize = 256;

impl Metrics {
    /// Returns the writers of these families, each with the family's name.
    pub(super) fn paged(&self) -> Vec<(String, FamilyWriter<'_>)> {
        let mut writers = self.paged_of_plugins();
        writers.push(by_name(
            "portcullis_requests_total",
            "Requests, by route and class of status.",
            &self.routes,
            |route, metrics, samples| {
                // A route is left out until its first request, and then its five series appear together.
                let classes = STATUS_CLASSES.iter().enumerate().filter(|_| metrics.classes.is_used());
                samples.extend(
                    classes.map(|(at, class)| {
                        counter(&[("route", route), ("status_class", class)], metrics.classes.sum(at))
                    }),
                );
            },
        ));
        writers.push(by_name(
            "portcullis_authentications_total",
            "Decisions of authentication policies, by result and reason.",
            &self.policies,
            |policy, metrics, samples| {
                samples.extend(metrics.decisions.each().map(|([result, reason], count)| {
                    counter(&[("policy", policy), ("result", result), ("reason", reason)], count)
                }));
            },
        ));
        writers.push(by_name(
            "portcullis_hook_failures_total",
            "Hooks of plugins that failed, took too long, panicked or lost their client.",
            &self.policies,
            |policy, metrics, samples| {
                samples.extend(metrics.undecided.each().map(|([hook, reason], count)| {
                    counter(&[("policy", policy), ("hook", hook), ("reason", reason)], count)
                }));
            },
        ));
        writers.push(by_name(
            "portcullis_upstream_errors_total",
            "Upstreams that gave no answer.",
            &self.upstreams,
            |upstream, metrics, samples| {
                samples.extend(UpstreamError::ALL.map(|kind| {
                    counter(&[("upstream", upstream), ("kind", kind.as_str())], metrics.errors.sum(kind as usize))
                }));
            },
        ));
        writers.push(by_name(
            "portcullis_upstream_retries_total",
            "Requests that were sent again.",
            &self.upstreams,
            |upstream, metrics, samples| samples.push(counter(&[("upstream", upstream)], metrics.retries.sum())),
        ));
        writers.push(by_name(
            "portcullis_upstream_retries_refused_total",
            "Requests that were not sent again because a fifth of all had been already.",
            &self.upstreams,
            |upstream, metrics, samples| {
                samples.push(counter(&[("upstream", upstream)], metrics.retries_refused.sum()));
            },
        ));
        writers
    }

    /// A plugin may have metrics for each policy, and a route a policy of its own.
    fn paged_of_plugins(&self) -> Vec<(String, FamilyWriter<'_>)> {
        let families = self.plugins.0.lock();
        let writer = |(name, known): (&&'static str, &super::plugins::Family)| {
            let (name, help) = (*name, known.help);
            let kind = known.series.first_key_value().map_or(MetricType::UNTYPED, |(_, first)| kind(first));
            let page = move |after: Option<&_>| {
                let families = self.plugins.0.lock();
                families.get(name).map_or_else(Vec::new, |family| page_of(&family.series, after))
            };
            let write: FamilyWriter<'_> = Box::new(move |out| {
                write_pages(out, (name, help, kind), page, |labels: &super::plugins::Labels, metric, samples| {
                    let labels: Vec<_> = labels.iter().map(|(label, value)| (*label, &**value)).collect();
                    samples.push(sample(&labels, metric));
                })
            });
            (name.to_owned(), write)
        };
        families.iter().map(writer).collect()
    }
}

fn kind(metric: &PluginMetric) -> MetricType {
    match metric {
        PluginMetric::Counter(_) => MetricType::COUNTER,
        PluginMetric::Gauge(_) => MetricType::GAUGE,
        PluginMetric::Histogram(_) => MetricType::HISTOGRAM,
    }
}

fn sample(labels: &[(&str, &str)], metric: &PluginMetric) -> Metric {
    match metric {
        PluginMetric::Counter(count) => counter(labels, count.value()),
        PluginMetric::Gauge(now) => gauge(labels, now.value() as f64),
        PluginMetric::Histogram(of) => buckets(labels, of.cumulative(), of.count(), of.sum()),
    }
}

/// Writes the series of each name.
fn by_name<'m, T: 'm>(
    family: &'static str,
    help: &'static str,
    named: &'m Named<T>,
    samples: impl Fn(&str, &T, &mut Vec<Metric>) + 'm,
) -> (String, FamilyWriter<'m>) {
    let page = |after: Option<&String>| page_of(&named.lock(), after);
    let write: FamilyWriter<'m> = Box::new(move |out| {
        let of = (family, help, MetricType::COUNTER);
        write_pages(out, of, page, |name: &String, of: &Arc<T>, all| samples(name.as_str(), of, all))
    });
    (family.to_owned(), write)
}

/// Returns the entries after this one.
fn page_of<K: Ord + Clone, V: Clone>(all: &BTreeMap<K, V>, after: Option<&K>) -> Vec<(K, V)> {
    let from = after.map_or(Unbounded, Excluded);
    all.range((from, Unbounded)).take(PAGE_NAMES).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn write_pages<K: Clone, V>(
    out: &mut dyn Write,
    (name, help, kind): (&str, &str, MetricType),
    page: impl Fn(Option<&K>) -> Vec<(K, V)>,
    samples: impl Fn(&K, &V, &mut Vec<Metric>),
) -> io::Result<()> {
    let (mut after, mut is_first) = (None, true);
    loop {
        let page = page(after.as_ref());
        let Some((last, _)) = page.last() else { return Ok(()) };
        let mut all = Vec::new();
        page.iter().for_each(|(key, value)| samples(key, value, &mut all));
        after = Some(last.clone());
        if !all.is_empty() {
            write_family(out, family(name, help, kind, all), is_first)?;
            is_first = false;
        }
    }
}
