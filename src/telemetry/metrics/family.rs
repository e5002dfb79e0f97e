//! Builds and writes one family of series.

use std::io::{self, Write};

use prometheus::{
    TextEncoder,
    proto::{
        Bucket, Counter as CounterValue, Gauge, Histogram as Buckets, LabelPair, Metric, MetricFamily, MetricType,
    },
};

/// Writes one family.
pub(super) type FamilyWriter<'m> = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + 'm>;

/// Writes a family, or more of one that was begun: its help text and type are written once.
pub(super) fn write_family(out: &mut dyn Write, family: MetricFamily, is_first: bool) -> io::Result<()> {
    let text = TextEncoder::new().encode_to_string(&[family]).map_err(io::Error::other)?;
    let head: usize = match is_first {
        true => 0,
        false => text.split_inclusive('\n').take_while(|line| line.starts_with('#')).map(str::len).sum(),
    };
    out.write_all(&text.as_bytes()[head..])
}

pub(super) fn family(
    name: &str,
    help: &str,
    kind: MetricType,
    samples: impl IntoIterator<Item = Metric>,
) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(samples.into_iter().collect());
    family
}

pub(super) fn counter(labels: &[(&str, &str)], count: u64) -> Metric {
    let mut value = CounterValue::default();
    value.set_value(count as f64);
    let mut sample = labelled(labels);
    sample.set_counter(value);
    sample
}

pub(super) fn gauge(labels: &[(&str, &str)], now: f64) -> Metric {
    let mut value = Gauge::default();
    value.set_value(now);
    let mut sample = labelled(labels);
    sample.set_gauge(value);
    sample
}

/// A histogram, by how many values do not exceed which bound.
pub(super) fn buckets(
    labels: &[(&str, &str)],
    buckets: impl IntoIterator<Item = (f64, u64)>,
    count: u64,
    sum: f64,
) -> Metric {
    let buckets = buckets.into_iter().map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut value = Buckets::default();
    value.set_bucket(buckets.collect());
    value.set_sample_count(count);
    value.set_sample_sum(sum);
    let mut sample = labelled(labels);
    sample.set_histogram(value);
    sample
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}
