//! What a reload of a large configuration takes at its peak, beside what it leaves behind.
//!
//! A configuration is taken while the one before goes on serving, so that both are in memory. What they have in common is
//! there once, and what a file was read into goes piece by piece: a reload must not need a multiple of what it is for.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fmt::Write as _,
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use portcullis::{
    builtin,
    registry::Registry,
    reload,
    services::Services,
    snapshot::Snapshot,
    telemetry::{Metrics, Output},
};

/// The system's allocator, which knows how much it has given out and what was the most.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller's promise is the same as ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: `pointer` came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let made = step();
    let taken = Taken { stays: LIVE.load(Relaxed).saturating_sub(before), peak: PEAK.load(Relaxed) - before };
    (made, taken)
}

#[test]
fn a_reload_takes_no_multiple_of_what_it_is_for() {
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let path = dir.path().join("portcullis.toml");
    let mut registry = Registry::new();
    builtin::add_all(&mut registry);
    let metrics = Arc::new(Metrics::new("0", Box::new(|| 0), Box::new(|| 0)));
    let services = Services::new(metrics, Output::start(std::io::sink()).expect("a thread"));
    let load = |before: Option<&Snapshot>, group: &str| {
        fs::write(&path, configuration(group)).expect("our own file");
        let (snapshot, taken) = measure(|| reload::load(&path, &registry, &services, before, false));
        let snapshot = snapshot.unwrap_or_else(|report| panic!("{report}"));
        services.adopt(snapshot.credentials.iter().zip(snapshot.secrets.iter().copied()));
        (snapshot, taken)
    };
    let (first, start) = load(None, "partners");
    let (second, unchanged) = load(Some(&first), "partners");
    let (_third, changed) = load(Some(&second), "others");
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
