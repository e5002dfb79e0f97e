//! Signals in masses and at bad moments: before the gateway is ready, under load, at its end.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use crate::harness::{Client, Gateway, LIMIT, Recorded, Reply, Upstream, eventually, key};

/// In every configuration of these tests the same number stands in three places that are compiled apart: the identity
/// headers, the consumer and the upstream.
fn numbered(number: usize) -> String {
    format!(
        r#"
[server]
threads = 2

[admin]
listen = "127.0.0.1:0"

[log]
access = false

[audit]
sample_successes = 0

[[listeners]]
address = "127.0.0.1:0"

[identity.headers]
consumer = "X-Caller-{number}"

[upstreams.app]
targets = ["@UPSTREAM@"]
host = "app-{number}.internal"

[policies.keys]
use = "key-auth"

[consumers.acme]
groups = ["group-{number}"]

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-1"
sha256 = "@SHA256@"

[routes.app]
paths = ["/{{*rest}}"]
upstream = "app"
auth = ["keys"]
"#
    )
}

/// Which configuration a request was served by, if it was one alone.
fn configuration_of(request: &Recorded) -> Option<usize> {
    let number = |text: Option<&str>, before: &str, after: &str| -> Option<usize> {
        text?.strip_prefix(before)?.strip_suffix(after)?.parse().ok()
    };
    let group = number(request.header("x-consumer-groups"), "group-", "")?;
    let host = number(request.header("host"), "app-", ".internal")?;
    let caller = request.headers.iter().find(|(name, value)| name.starts_with("x-caller-") && value == "acme")?;
    let caller = number(Some(&caller.0), "x-caller-", "")?;
    (group == host && host == caller).then_some(group)
}

async fn start(upstream: &Upstream) -> (Gateway, String) {
    let (key, sha256) = key("acme");
    let builder = Gateway::builder(&numbered(0)).set("UPSTREAM", &upstream.address()).set("SHA256", &sha256);
    (builder.start().await, key)
}

/// A file that is wrong in a way that its refusal tells.
fn bad(number: usize) -> String {
    let mut toml = numbered(number);
    write!(toml, "\n[bad_{number}]\n").expect("a String takes every write");
    toml
}

/// The number of reloads, of which every second one is refused.
const RELOADS: usize = 500;
/// After so many everything has been allocated once.
const WARM: usize = 50;
/// What may be added to the memory of a gateway by 450 reloads. One that kept its snapshots would add more than ten
/// times as much.
const GROWTH_KIB: u64 = 3 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_reloads_under_load_lose_mix_and_leak_nothing() {
    let upstream = Upstream::with(|request| match configuration_of(request) {
        Some(number) => Reply::new(200).body(number.to_string()),
        None => Reply::new(500).body(format!("a mixture: {request:?}")),
    });
    let (gateway, key) = start(&upstream).await;
    let (is_over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..3)
        .map(|_| {
            let (address, key, is_over, served) = (gateway.address(0), key.clone(), is_over.clone(), served.clone());
            tokio::spawn(async move {
                let client = Client::http1(address);
                let mut newest = 0;
                while !is_over.load(SeqCst) {
                    let answer = client.get("/a?x=1").header("x-api-key", &key).send().await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let number: usize = answer.text().parse().expect("a number");
                    assert!(number >= newest, "configuration {number} after {newest}");
                    newest = number;
                    served.fetch_add(1, SeqCst);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                assert_eq!(client.connections().await, 1, "a connection was lost");
            })
        })
        .collect();

    let began = Instant::now();
    let mut warm = None;
    for number in 1..=RELOADS {
        let is_bad = number % 2 == 0;
        gateway.rewrite(&if is_bad { bad(number) } else { numbered(number) });
        gateway.signal(libc::SIGHUP);
        let generation = 1 + number.div_ceil(2);
        let wanted = format!("`bad_{number}`");
        let is_it = |line: &serde_json::Value| {
            line["event"] == "reload"
                && line["generation"] == generation
                && line["errors"].as_str().is_some_and(|errors| errors.contains(&wanted)) == is_bad
        };
        gateway.wait_line(is_it, LIMIT).await;
        if number == WARM {
            warm = Some(Footprint::of(&gateway));
        }
    }
    let took = began.elapsed();
    is_over.store(true, SeqCst);
    for client in load {
        client.await.expect("no request fails");
    }
    let (warm, end) = (warm.expect("more reloads than that"), Footprint::of(&gateway));
    println!("{RELOADS} reloads in {took:?}, {} requests; {warm:?}, then {end:?}", served.load(SeqCst));
    assert!(served.load(SeqCst) > RELOADS, "that was no load: {} requests", served.load(SeqCst));
    assert!(end.resident_kib <= warm.resident_kib + GROWTH_KIB, "{warm:?}, then {end:?}");
    assert_eq!(end.threads, warm.threads);
    assert!(end.files <= warm.files + 4, "{warm:?}, then {end:?}");
    assert_eq!(gateway.metric("portcullis_reloads_total{result=\"failure\"}").await, 250.0);
    assert_eq!(gateway.metric("portcullis_reloads_total{result=\"success\"}").await, 251.0);
    assert_eq!(gateway.metric("portcullis_requests_total{route=\"app\",status_class=\"5xx\"}").await, 0.0);
}

#[derive(Debug)]
struct Footprint {
    resident_kib: u64,
    threads: u64,
    files: usize,
}

impl Footprint {
    fn of(gateway: &Gateway) -> Self {
        let (resident_kib, threads) = (gateway.process("VmRSS"), gateway.process("Threads"));
        Self { resident_kib, threads, files: gateway.open_files() }
    }
}

#[tokio::test]
async fn signals_faster_than_reloads_are_carried_out_by_the_file_as_it_is_at_last() {
    let upstream = Upstream::start();
    let (gateway, key) = start(&upstream).await;
    for number in 1..=100 {
        gateway.rewrite(&if number % 2 == 0 { numbered(number) } else { bad(number) });
        gateway.signal(libc::SIGHUP);
    }
    let client = Client::http1(gateway.address(0));
    let is_newest = async || {
        assert_eq!(client.get("/a").header("x-api-key", &key).send().await.status, 200);
        configuration_of(&upstream.last()) == Some(100)
    };
    eventually("the last file serves", is_newest).await;
}

#[tokio::test]
async fn sighup_before_it_is_ready_does_not_kill_it() {
    for _ in 0..10 {
        let gateway = launched().await;
        // From the first instruction of `main`, as fast as it goes, until it serves; each of them would kill.
        let (mut sent, deadline) = (0, Instant::now() + LIMIT);
        while !gateway.lines().iter().any(|line| line["event"] == "ready") {
            gateway.signal(libc::SIGHUP);
            sent += 1;
            tokio::task::yield_now().await;
            assert!(Instant::now() < deadline, "it died, or hangs");
        }
        assert!(sent > 1, "it was ready before it was signalled");
        // What came too early is not lost: the file is read once more.
        gateway.wait_line(|line| line["event"] == "reload" && line["level"] == "info", LIMIT).await;
        assert!(gateway.stop().await.success());
    }
}

#[tokio::test]
async fn a_stop_before_it_is_ready_is_a_stop() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut gateway = launched().await;
        gateway.signal(signal);
        assert!(gateway.ended(LIMIT).await.success());
    }
}

/// A gateway that has begun and is not ready: the signal is blocked before there is a second thread. What is sent before
/// that, while the kernel and the dynamic linker are at work, is for whoever starts it to hold back.
async fn launched() -> Gateway {
    let gateway = Gateway::builder(&numbered(0)).set("UPSTREAM", "127.0.0.1:9").set("SHA256", &key("acme").1).spawn();
    let deadline = Instant::now() + LIMIT;
    while !gateway.blocks(libc::SIGHUP) {
        assert!(Instant::now() < deadline, "SIGHUP is never blocked");
        tokio::task::yield_now().await;
    }
    gateway
}

#[tokio::test]
async fn a_reload_that_races_with_a_stop_neither_holds_it_nor_hangs() {
    let upstream = Upstream::start();
    for round in 0..5_u64 {
        let (mut gateway, _) = start(&upstream).await;
        for number in 0..20 {
            gateway.rewrite(&numbered(number));
            gateway.signal(libc::SIGHUP);
        }
        gateway.rewrite(&numbered(1));
        let reload = tokio::spawn(gateway.reload_command());
        // The stop comes at a different moment of the command each time.
        tokio::time::sleep(Duration::from_millis(2 * round)).await;
        gateway.signal(libc::SIGHUP);
        gateway.signal(libc::SIGTERM);
        gateway.signal(libc::SIGHUP);
        let (reload, status) = tokio::join!(reload, gateway.ended(LIMIT));
        let reload = reload.expect("the command ends");
        assert!(status.success(), "{status}");
        // Taken in time, or told that nobody is there to take it or that it ended meanwhile; never left waiting.
        assert!(matches!((reload.code, reload.stderr.is_empty()), (0, true) | (1 | 4, false)), "{reload:?}");
    }
}
