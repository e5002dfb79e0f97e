//! Certificate files that change by themselves: clients of certificate authorities (ACME, RFC 8555) write new ones and
//! tell nobody.
//!
//! What is read again is the certificates and nothing else: the configuration stays the one that serves, whatever its
//! file says by now. Somebody may be in the middle of editing it.

use std::{
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use super::Wish;
use crate::snapshot::{Snapshot, route::Settings};

/// How often it is looked whether there is anything to look at.
const TICK: Duration = Duration::from_secs(1);

/// What a file is like; absent where it is not there.
type Likeness = Option<(u64, u64, i64, i64)>;

/// Looks at the files until nobody wants to hear of it. A change is told once the files are the same at two looks: a
/// certificate and its key are written one after the other.
pub fn run(current: &ArcSwap<Snapshot>, wishes: &mpsc::Sender<Wish>) {
    let mut told = likenesses(&current.load().settings);
    let mut before = told.clone();
    let mut looked = Instant::now();
    loop {
        thread::sleep(TICK);
        let settings = current.load().settings.clone();
        if every(&settings).is_none_or(|every| looked.elapsed() < every) {
            continue;
        }
        looked = Instant::now();
        let now = likenesses(&settings);
        if now != told && now == before {
            told.clone_from(&now);
            if wishes.send(Wish::Certificates).is_err() {
                return;
            }
        }
        before = now;
    }
}

/// The shortest time that a listener says.
fn every(settings: &Settings) -> Option<Duration> {
    settings.listeners.iter().filter_map(|listener| listener.tls.as_ref()?.watch).min()
}

fn likenesses(settings: &Settings) -> Vec<(PathBuf, Likeness)> {
    let watched = settings.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let files = watched.filter(|tls| tls.watch.is_some()).flat_map(|tls| &tls.files);
    files
        .map(|file| {
            let like = std::fs::metadata(file).map(|like| (like.ino(), like.len(), like.mtime(), like.mtime_nsec()));
            (file.clone(), like.ok())
        })
        .collect()
}
