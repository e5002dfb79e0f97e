//! What the gateway costs beyond a bare Pingora proxy: CPU time, rate and latency of a request, side by side.
//!
//! `cargo bench --bench overhead` measures that, `-- growth` behind it what growth costs, and `-- methods` what each
//! method of authentication does, `-- tls` what TLS does.
//!
//! 2026-11-30, two cores of an EPYC. The aim is 1.05 with the log and 1.03 without it.
//!
//! | | CPU us a request | x bare | requests/s | p99 us |
//! |---|---|---|---|---|
//! | bare Pingora | 26.0 | 1 | 38,700 | 1,229 |
//! | key and restriction, log on | 35.9 | 1.43 | 27,800 | 1,792 |
//! | key and restriction, log off | 33.4 | 1.32 | 29,900 | 1,730 |
//! | public, log off | 30.1 | 1.24 | 33,300 | 1,461 |
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::time::Duration;

use sha2::{Digest, Sha256};

mod growth;
mod methods;
mod rig;
mod tls;

use rig::{
    load::{Cost, OtherSide, Requests},
    median, micros,
    process::{Cores, Process},
    request,
};

/// As in the gateway: the same for both sides.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEY: &str = "bench_live_0123456789abcdef0123456789abcdef";

const CONFIGURATION: &str = r#"
[server]
threads = 1
control = "@DIR@/control.sock"

[[listeners]]
address = "127.0.0.1:0"

[log]
access = @LOG@

[audit]
sample_successes = @SAMPLE@

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.keys]
use = "key-auth"

[routes.orders]
paths = ["/orders/{*rest}"]
upstream = "app"
auth = ["keys"]
plugins = [{ use = "consumer-restriction", allow = [{ groups = ["partners"] }] }]

[routes.open]
paths = ["/open/{*rest}"]
upstream = "app"
public = true

[consumers.acme]
groups = ["partners"]
tenant = "acme"

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-1"
sha256 = "@SHA256@"
scopes = ["orders:read"]
"#;

const ROUNDS: usize = 12;
const WARM_UP: Duration = Duration::from_millis(300);
const SPAN: Duration = Duration::from_millis(1200);

struct Subject<'p> {
    name: &'static str,
    proxy: &'p Process,
    requests: Requests,
    costs: Vec<Cost>,
}

impl<'p> Subject<'p> {
    fn new(name: &'static str, proxy: &'p Process, requests: Requests) -> Self {
        Self { name, proxy, requests, costs: vec![] }
    }
}

fn main() {
    if rig::has_played_a_part() {
        return;
    }
    let Some(cores) = Cores::claim() else {
        println!("this bench needs two cores");
        return;
    };
    if std::env::args().any(|argument| argument == "growth") {
        return growth::run(cores);
    }
    if std::env::args().any(|argument| argument == "methods") {
        return methods::run(cores);
    }
    if std::env::args().any(|argument| argument == "tls") {
        return tls::run(cores);
    }
    let other_side = OtherSide::start();
    let bare = Process::bare(cores, other_side.upstream);
    let configuration = CONFIGURATION
        .replace("@UPSTREAM@", &other_side.upstream.to_string())
        .replace("@SHA256@", &hex::encode(Sha256::digest(KEY)));
    let with_log = |log: &str, sample: &str| configuration.replace("@LOG@", log).replace("@SAMPLE@", sample);
    let logs = Process::gateway(cores, &with_log("true", "1"));
    let silent = Process::gateway(cores, &with_log("false", "0"));

    let guarded = Requests::list([request("/orders/12345?expand=lines", &[("X-Api-Key", KEY)])]);
    let open = Requests::list([request("/open/12345?expand=lines", &[])]);
    let mut subjects = [
        Subject::new("bare Pingora", &bare, guarded.clone()),
        Subject::new("key and restriction, log on", &logs, guarded.clone()),
        Subject::new("key and restriction, log off", &silent, guarded),
        Subject::new("public, log off", &silent, open),
    ];
    measure(&other_side, &mut subjects, ROUNDS, WARM_UP, SPAN);
    table(&subjects);
    println!("\nthe gateway started in {:.0} ms", silent.took_to_serve.as_secs_f64() * 1e3);
}

/// Measures the subjects in turn. Who comes first takes turns too.
fn measure(other_side: &OtherSide, subjects: &mut [Subject<'_>], rounds: usize, warm_up: Duration, span: Duration) {
    for round in 0..rounds {
        for turn in 0..subjects.len() {
            let at = if round % 2 == 0 { turn } else { subjects.len() - 1 - turn };
            let subject = &mut subjects[at];
            subject.costs.push(other_side.measure(subject.proxy, &subject.requests, warm_up, span));
        }
    }
}

fn table(subjects: &[Subject<'_>]) {
    let bare = &subjects[0].costs;
    println!("{:30} {:>14} {:>8} {:>8} {:>11} {:>9}", "", "CPU us/request", "+ us", "x bare", "requests/s", "p99 us");
    for Subject { name, costs, .. } in subjects {
        // Each against its neighbour in time.
        let ratios = costs.iter().zip(bare).map(|(cost, bare)| micros(cost.cpu) / micros(bare.cpu));
        let more = costs.iter().zip(bare).map(|(cost, bare)| micros(cost.cpu) - micros(bare.cpu));
        println!(
            "{name:30} {:>14.2} {:>8.2} {:>8.3} {:>11.0} {:>9.0}",
            median(costs.iter().map(|cost| micros(cost.cpu))),
            median(more),
            median(ratios),
            median(costs.iter().map(|cost| cost.rate)),
            median(costs.iter().map(|cost| micros(cost.p99))),
        );
    }
}
