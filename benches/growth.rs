//! What growth costs: a request among 10 and among 10,000 routes, with 10 and with 100,000 credentials, and how long
//! the large configurations take to load. The aim: 5 % more at most for the request, 2 seconds for the load.

use std::{
    fmt::Write,
    process::Command,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use super::rig::{
    load::{OtherSide, Requests},
    median, micros,
    process::{Cores, GATEWAY, Process, configuration},
    request,
};

const FEW: usize = 10;
const MANY_ROUTES: usize = 10_000;
const MANY_CREDENTIALS: usize = 100_000;
const ROUNDS: usize = 10;
const WARM_UP: Duration = Duration::from_millis(300);
const SPAN: Duration = Duration::from_millis(1200);

/// Measures both, and prints them.
pub(crate) fn run(cores: Cores) {
    let other_side = OtherSide::start();
    let toml = |routes, credentials| grown(routes, credentials, &other_side.upstream.to_string());
    for (name, routes, credentials) in [
        ("10,000 routes", MANY_ROUTES, FEW),
        ("100,000 credentials", FEW, MANY_CREDENTIALS),
        ("both", MANY_ROUTES, MANY_CREDENTIALS),
    ] {
        let grown = toml(routes, credentials);
        println!("{name:22} checked in {:.2} s", checked_in(&grown).as_secs_f64());
    }
    let few = Process::gateway(cores, &toml(FEW, FEW));
    let routes = Process::gateway(cores, &toml(MANY_ROUTES, FEW));
    let credentials = Process::gateway(cores, &toml(FEW, MANY_CREDENTIALS));
    // The same ten requests everywhere, so that what differs is what there is beside them.
    let requests =
        Requests::list((0..FEW).map(|n| request(&format!("/service-{n}/orders/7"), &[("X-Api-Key", &key(n))])));
    let subjects =
        [("10 routes and credentials", &few), ("10,000 routes", &routes), ("100,000 credentials", &credentials)];
    let mut costs = vec![Vec::new(); subjects.len()];
    for round in 0..ROUNDS {
        for turn in 0..subjects.len() {
            let at = (round + turn) % subjects.len();
            costs[at].push(other_side.measure(subjects[at].1, &requests, WARM_UP, SPAN));
        }
    }
    println!("\n{:28} {:>14} {:>8} {:>12}", "", "CPU us/request", "x few", "started in s");
    for ((name, process), costs_here) in subjects.iter().zip(&costs) {
        let ratios = costs_here.iter().zip(&costs[0]).map(|(cost, few)| micros(cost.cpu) / micros(few.cpu));
        println!(
            "{name:28} {:>14.2} {:>8.3} {:>12.2}",
            median(costs_here.iter().map(|cost| micros(cost.cpu))),
            median(ratios),
            process.took_to_serve.as_secs_f64(),
        );
    }
}

fn key(number: usize) -> String {
    format!("bench_live_{number:032}")
}

/// A configuration of so many routes and credentials.
fn grown(routes: usize, credentials: usize, upstream: &str) -> String {
    let mut toml = format!(
        "[server]\nthreads = 1\ncontrol = \"@DIR@/control.sock\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
         [log]\naccess = false\n[audit]\nsample_successes = 0\n[upstreams.app]\ntargets = [\"{upstream}\"]\n\
         [policies.keys]\nuse = \"key-auth\"\n"
    );
    for number in 0..routes {
        let _ = writeln!(
            toml,
            "[routes.r{number}]\npaths = [\"/service-{number}/{{*rest}}\"]\nauth = [\"keys\"]\nupstream = \"app\""
        );
    }
    for number in 0..credentials {
        let hash = hex::encode(Sha256::digest(key(number)));
        let _ = writeln!(
            toml,
            "[consumers.c{number}]\ngroups = [\"partners\"]\n[[consumers.c{number}.credentials]]\nuse = \"key-auth\"\n\
             id = \"c{number}\"\nsha256 = \"{hash}\""
        );
    }
    toml
}

/// How long `portcullis check` takes.
fn checked_in(toml: &str) -> Duration {
    let (_dir, file) = configuration(toml);
    let begun = Instant::now();
    let output = Command::new(GATEWAY).args(["check", "-c"]).arg(file).output().expect("the gateway can be started");
    let took = begun.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    took
}
