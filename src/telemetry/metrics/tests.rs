use std::thread;

use portcullis_plugin::{Counter, Gauge, Histogram as PluginHistogram, Metric, Reason, UnixTime};

use super::*;

fn metrics() -> Metrics {
    Metrics::new("1.2.3", Box::new(|| 17), Box::new(|| 4))
}

/// Returns the samples whose lines begin like this.
fn samples(metrics: &Metrics, start: &str) -> Vec<String> {
    metrics.render().lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
}

#[test]
fn everything_under_its_name() {
    let metrics = metrics();
    let route = metrics.route("orders");
    for status in [101, 200, 204, 301, 404, 401, 429, 503] {
        route.answered(status);
    }
    metrics.route("quiet");
    let policy = metrics.policy("partner-keys");
    policy.decided(AuthOutcome::Granted, None);
    policy.decided(AuthOutcome::Granted, None);
    policy.decided(AuthOutcome::Denied, Some(Reason::KeyUnknown));
    policy.decided(AuthOutcome::Failed, Some(Reason::PluginFailed));
    metrics.upstream("orders").failed(UpstreamError::Connect);
    metrics.upstream("orders").retried(true);
    metrics.targets(Box::new(|| vec![TargetCounts { upstream: "orders".into(), addresses: 2, unresolved: 1 }]));
    metrics.refused_before_routing("head_too_large");
    metrics.observe(Phase::Policy, Duration::from_micros(3));
    metrics.observe(Phase::Total, Duration::from_millis(1));
    metrics.observe(Phase::Total, Duration::from_nanos(1_000_001));
    metrics.observe(Phase::Total, Duration::from_secs(11));
    metrics.reload_succeeded(5, UNIX_EPOCH + Duration::from_millis(1_782_909_296_250));
    metrics.reload_failed();
    assert_eq!(metrics.render(), include_str!("tests/golden.txt"));
}

#[test]
fn before_anything_happened_the_text_stands() {
    let text = metrics().render();
    assert!(text.contains("portcullis_reloads_total{result=\"failure\"} 0\n"));
    assert!(text.contains("portcullis_request_duration_seconds_count{phase=\"total\"} 0\n"));
    assert!(!text.contains("portcullis_requests_total"), "no sample, no family");
}

#[test]
fn label_values_are_escaped() {
    let metrics = metrics();
    metrics.route("a\"b\\c\nd").answered(200);
    let lines = samples(&metrics, r#"portcullis_requests_total{route="a\"b\\c\nd",status_class="2xx"} 1"#);
    assert_eq!(lines.len(), 1, "{}", metrics.render());
}

#[test]
fn a_status_that_is_none_is_a_fault_of_ours() {
    let metrics = metrics();
    for status in [0, 99, 600, u16::MAX] {
        metrics.route("odd").answered(status);
    }
    let lines = samples(&metrics, "portcullis_requests_total{route=\"odd\",status_class=\"5xx\"}");
    assert_eq!(lines, ["portcullis_requests_total{route=\"odd\",status_class=\"5xx\"} 4"]);
}

#[test]
fn the_same_name_counts_on_over_a_reload() {
    let metrics = metrics();
    let before = metrics.route("orders");
    before.answered(200);
    metrics.retain(|_, _| true);
    let after = metrics.route("orders");
    assert!(Arc::ptr_eq(&before, &after));
    after.answered(200);
    assert_eq!(samples(&metrics, "portcullis_requests_total{route=\"orders\",status_class=\"2xx\"} 2").len(), 1);
}

#[test]
fn names_that_no_configuration_has_are_forgotten() {
    let metrics = metrics();
    for generation in 0..500 {
        let name = format!("r{generation}");
        let held = metrics.route(&name);
        held.answered(200);
        metrics.policy(&name).decided(AuthOutcome::Absent, Some(Reason::CredentialAbsent));
        metrics.upstream(&name).failed(UpstreamError::Timeout);
        metrics.unrouted().answered(404);
        metrics.retain(|_, known| known == name);
        held.answered(200);
    }
    let text = metrics.render();
    assert!(!text.contains("r498") && text.contains("route=\"r499\"") && text.contains("upstream=\"r499\""));
    assert_eq!(samples(&metrics, "portcullis_requests_total").len(), 10);
    assert_eq!(samples(&metrics, "portcullis_requests_total{route=\"(none)\",status_class=\"4xx\"} 500").len(), 1);

    metrics.retain(|kind, _| kind == Kind::Upstream);
    let text = metrics.render();
    assert!(!text.contains("route=\"r499\"") && !text.contains("policy=") && text.contains("upstream=\"r499\""));
}

#[test]
fn reasons_of_one_policy_are_bounded() {
    let metrics = metrics();
    let policy = metrics.policy("noisy");
    for number in 0..1_000 {
        let code: &'static str = format!("reason_{number}").leak();
        policy.decided(AuthOutcome::Denied, Some(Reason::Plugin(code)));
        policy.decided(AuthOutcome::Denied, Some(Reason::Plugin("reason_0")));
    }
    let lines = samples(&metrics, "portcullis_authentications_total");
    assert_eq!(lines.len(), 129);
    assert!(lines.iter().any(|line| line.ends_with("reason=\"other\"} 872")), "{lines:?}");
    assert!(lines.iter().any(|line| line.ends_with("reason=\"reason_0\"} 1001")), "{lines:?}");
}

#[test]
fn every_reason_of_the_sdk_fits_with_every_outcome() {
    let metrics = metrics();
    let policy = metrics.policy("all");
    for &(reason, _) in Reason::ALL {
        policy.decided(AuthOutcome::Denied, Some(reason));
        policy.decided(AuthOutcome::Failed, Some(reason));
    }
    assert!(!metrics.render().contains("reason=\"other\""));
}

#[test]
fn nothing_is_lost_between_threads() {
    const THREADS: u64 = 12;
    const EACH: u64 = 20_000;
    let metrics = metrics();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let (route, policy) = (metrics.route("orders"), metrics.policy("keys"));
                for number in 0..EACH {
                    route.answered(200);
                    policy.decided(AuthOutcome::Granted, None);
                    if number % 2 == 0 {
                        policy.decided(AuthOutcome::Denied, Some(Reason::KeyExpired));
                    }
                    metrics.observe(Phase::Total, Duration::from_micros(100));
                }
            });
        }
    });
    let text = metrics.render();
    let total = THREADS * EACH;
    for line in [
        format!("portcullis_requests_total{{route=\"orders\",status_class=\"2xx\"}} {total}\n"),
        format!("portcullis_authentications_total{{policy=\"keys\",result=\"granted\",reason=\"none\"}} {total}\n"),
        format!("{{policy=\"keys\",result=\"denied\",reason=\"key_expired\"}} {}\n", total / 2),
        format!("portcullis_request_duration_seconds_count{{phase=\"total\"}} {total}\n"),
        format!("portcullis_request_duration_seconds_sum{{phase=\"total\"}} {}\n", total / 10_000),
    ] {
        assert!(text.contains(&line), "{line} in {text}");
    }
}

#[test]
fn a_bound_belongs_to_its_bucket() {
    let histogram = Histogram::default();
    let seconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
    for &bound in &seconds {
        histogram.observe(Duration::from_secs_f64(bound));
    }
    histogram.observe(Duration::MAX);
    let observed = histogram.observed();
    assert_eq!(observed.count, 15);
    let expected: Vec<_> = seconds.into_iter().zip(1..).collect();
    assert_eq!(observed.buckets, expected);
}

fn counter(
    metrics: &Metrics,
    name: &'static str,
    help: &'static str,
    labels: &[(&'static str, &str)],
) -> Result<(PluginMetricKey, Metric), String> {
    metrics.plugin_metric(name, help, labels, Metric::Counter(Counter::default()))
}

#[test]
fn a_plugins_gauge_and_histogram_are_written_as_such() {
    let metrics = metrics();
    let ask = |name, new: &Metric| metrics.plugin_metric(name, "Help.", &[("policy", "a")], new.clone());
    let (gauge, histogram) = (Gauge::default(), PluginHistogram::new(&[0.5, 1.0]));
    ask("entries", &Metric::Gauge(gauge.clone())).expect("a name");
    ask("answer_seconds", &Metric::Histogram(histogram.clone())).expect("a name");
    gauge.set(7);
    let one = gauge.one();
    assert_eq!(samples(&metrics, "entries"), ["entries{policy=\"a\"} 8"]);
    drop(one);
    [0.25, 0.75, 9.0].iter().for_each(|value| histogram.observe(*value));
    let text = metrics.render();
    for line in [
        "# TYPE entries gauge",
        "entries{policy=\"a\"} 7",
        "# TYPE answer_seconds histogram",
        "answer_seconds_bucket{policy=\"a\",le=\"0.5\"} 1",
        "answer_seconds_bucket{policy=\"a\",le=\"1\"} 2",
        "answer_seconds_bucket{policy=\"a\",le=\"+Inf\"} 3",
        "answer_seconds_sum{policy=\"a\"} 10",
        "answer_seconds_count{policy=\"a\"} 3",
    ] {
        assert!(text.lines().any(|said| said == line), "{line}: {text}");
    }
    let others = [Metric::Counter(Counter::default()), Metric::Histogram(PluginHistogram::new(&[2.0]))];
    assert!(others.iter().all(|other| ask("answer_seconds", other).is_err() && ask("entries", other).is_err()));
}

#[test]
fn a_plugins_counter_is_one_by_its_name_and_labels() {
    let metrics = metrics();
    let count = |policy| {
        let (key, metric) = counter(&metrics, "fetches_total", "Fetches.", &[("policy", policy)]).expect("a name");
        let Metric::Counter(counter) = metric else { panic!("it is a counter") };
        (key, counter)
    };
    let (key, first) = count("a");
    first.increment();
    count("a").1.increment();
    count("b").1.increment();
    let fetches = || samples(&metrics, "fetches_total");
    assert_eq!(fetches(), ["fetches_total{policy=\"a\"} 2", "fetches_total{policy=\"b\"} 1"]);
    assert!(metrics.render().contains("# HELP fetches_total Fetches.\n# TYPE fetches_total counter\n"));
    metrics.retain_plugin_metrics([&key].into_iter());
    assert_eq!(fetches(), ["fetches_total{policy=\"a\"} 2"], "what no policy holds is forgotten");
    metrics.retain_plugin_metrics(std::iter::empty());
    assert!(!metrics.render().contains("fetches_total"));
    assert_eq!(count("a").1.value(), 0);
}

#[test]
fn a_plugins_counter_has_a_name_of_its_own() {
    let metrics = metrics();
    let ask = |name, help, labels: &[(&'static str, &str)]| counter(&metrics, name, help, labels).map(|_| ());
    for name in ["portcullis_requests_total", "", "1st", "Fetches", "a-b", "x_bucket", "x_sum", "x_count"] {
        assert!(ask(name, "Help.", &[]).is_err(), "{name}");
    }
    assert!(ask("fetches_total", "Fetches.", &[("no-name", "a")]).is_err());
    ask("fetches_total", "Fetches.", &[("policy", "a")]).expect("a new one");
    assert!(ask("fetches_total", "Others.", &[("policy", "a")]).is_err(), "it means something else");
    assert!(ask("fetches_total", "Fetches.", &[("key", "a")]).is_err(), "it has other labels");
    assert!(ask("fetches_total", "Fetches.", &[]).is_err(), "it has labels");
}

#[test]
fn the_engine_takes_the_names_that_it_exports() {
    let metrics = metrics();
    metrics.route("orders").answered(200);
    metrics.policy("keys").decided(AuthOutcome::Granted, None);
    metrics.upstream("orders").failed(UpstreamError::Connect);
    metrics.targets(Box::new(|| vec![TargetCounts { upstream: "orders".into(), addresses: 1, unresolved: 0 }]));
    metrics.refused_before_routing("bad_request");
    metrics.rejected("max_connections");
    metrics.stream_ended("expired");
    metrics.listener(0).finished(Ok(false));
    metrics.certificates([("api.example.com", UnixTime(1))].into_iter());
    metrics.revocation_lists([("CN=Partners", UnixTime(1))].into_iter());
    let text = metrics.render();
    let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(names, plugins::ENGINE_NAMES);
}

/// Keeps the largest piece and the length of what is written.
#[derive(Default)]
struct Written {
    text: Vec<u8>,
    largest: usize,
}

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.largest = self.largest.max(bytes.len());
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_hundred_thousand_series_are_written_in_small_pieces_each_once_and_in_order() {
    let metrics = metrics();
    (0..20_000).for_each(|number| metrics.route(&format!("route-{number:05}")).answered(200));
    let mut written = Written::default();
    metrics.write(&mut written).expect("it takes every write");
    let Written { text, largest } = written;
    assert!(largest < 256 << 10 && text.len() > 50 * largest, "{largest} of {}", text.len());
    let text = String::from_utf8(text).expect("text");
    let series: Vec<_> =
        text.lines().filter(|line| line.starts_with("portcullis_requests_total{route=\"route-")).collect();
    assert!(series.len() == 100_000 && series.chunks(5).is_sorted_by_key(|of_route| of_route[0]));
    assert_eq!(text.lines().filter(|line| line.starts_with("# TYPE portcullis_requests_total ")).count(), 1);
    assert_eq!(text.lines().filter(|line| line.starts_with("# HELP portcullis_requests_total ")).count(), 1);
}
