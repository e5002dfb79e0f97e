//! What a reload of a large configuration takes at its peak, beside what it leaves behind.
//!
//! A configuration is taken while the one before goes on serving, so that both are in memory. What they have in common
//! is there once, and what a file was read into goes piece by piece: a reload must not need a multiple of what it is
//! for.

use std::{fmt::Write as _, fs, sync::Arc};

use super::load;
use crate::{
    builtin,
    registry::Registry,
    services::Services,
    snapshot::Snapshot,
    telemetry::{Metrics, Output},
};

const ROUTES: usize = 600;
const CONSUMERS: usize = 8_000;

fn configuration(group_of_the_first: &str) -> String {
    let mut text = "[[listeners]]\naddress = \"127.0.0.1:0\"\n\n[upstreams.app]\ntargets = [\"127.0.0.1:9\"]\n\n\
                    [policies.keys]\nuse = \"key-auth\"\n"
        .to_owned();
    for number in 0..ROUTES {
        let route = format!(
            "[routes.r{number}]\npaths = [\"/api/r{number}/{{*rest}}\"]\nupstream = \"app\"\nauth = [\"keys\"]\n"
        );
        text += &route;
    }
    for number in 0..CONSUMERS {
        let group = if number == 0 { group_of_the_first } else { "partners" };
        let credential = format!("use = \"key-auth\"\nid = \"c{number}-1\"\nsha256 = \"{number:064x}\"\n");
        writeln!(
            text,
            "[consumers.c{number}]\ngroups = [\"{group}\"]\n\n[[consumers.c{number}.credentials]]\n{credential}"
        )
        .expect("a string takes all that is written");
    }
    text
}

/// What a step left behind and what it took at its peak, both beside what there was.
struct Taken {
    stays: usize,
    peak: usize,
}

fn measure<T>(step: impl FnOnce() -> T) -> (T, Taken) {
    let mut made = None;
    let bytes = allocation_counter::measure(|| made = Some(step()));
    let taken = Taken {
        stays: usize::try_from(bytes.bytes_current).unwrap_or(0),
        peak: usize::try_from(bytes.bytes_max).expect("a size"),
    };
    (made.expect("the step was run"), taken)
}

#[test]
fn a_reload_takes_no_multiple_of_what_it_is_for() {
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let path = dir.path().join("portcullis.toml");
    let mut registry = Registry::new();
    builtin::add_all(&mut registry);
    let metrics = Arc::new(Metrics::new("0", Box::new(|| 0), Box::new(|| 0)));
    let services = Services::new(metrics, Output::start(std::io::sink()).expect("a thread"));
    let loaded = |before: Option<&Snapshot>, group: &str| {
        fs::write(&path, configuration(group)).expect("our own file");
        let (snapshot, taken) = measure(|| load(&path, &registry, &services, before, false));
        let snapshot = snapshot.unwrap_or_else(|report| panic!("{report}"));
        services.adopt(snapshot.credentials.iter().zip(snapshot.secrets.iter().copied()));
        (snapshot, taken)
    };
    let (first, start) = loaded(None, "partners");
    let (second, unchanged) = loaded(Some(&first), "partners");
    let (_third, changed) = loaded(Some(&second), "others");
    let per_credential = start.stays / CONSUMERS;
    let shown = format!(
        "start {} at the peak, {} stay ({per_credential} a credential); unchanged {} and {}; one changed {} and {}",
        start.peak, start.stays, unchanged.peak, unchanged.stays, changed.peak, changed.stays
    );
    println!("{shown}");
    assert!(start.peak < 3 * start.stays, "{shown}");
    assert!(unchanged.stays < start.stays * 2 / 3 && unchanged.peak < 2 * start.stays, "{shown}");
    assert!(changed.stays < start.stays && changed.peak < 2 * start.stays, "{shown}");
}
