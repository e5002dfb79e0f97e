//! Watches certificate files, which ACME clients (RFC 8555) replace without telling anybody.
//!
//! The configuration itself is not read again: the current one goes on serving, whatever its file says by now, because
//! somebody may be in the middle of editing it. All files that it names are read again: certificates together with the
//! files of policies and upstreams, whole or not at all.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use super::{
    outcome::Reloaded,
    request::{ReloadRequest, Scope},
};
use crate::snapshot::{Snapshot, route::Settings};

/// The interval at which it is checked whether any file is due.
const TICK: Duration = Duration::from_secs(1);

/// The longest pause before a refused change is tried again.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// The identity of a file's content; `None` if the file does not exist. Device, inode and length, and the times of the
/// last write and the last change: a file whose permissions were mended has the same content and time of writing as
/// before, and tools that copy files set that time as they like.
type FileStamp = Option<([u64; 3], [i64; 4])>;

/// Checks the files until the receiver is gone. A change is reported once the files are the same at two checks: a
/// certificate and its key are written one after the other. A refused change is reported again later: the cause may
/// have been something else, and nobody writes the certificate a second time for that.
#[expect(clippy::disallowed_methods, reason = "this is the watch's own thread, and time is all that it waits for")]
pub(crate) fn run(current: &ArcSwap<Snapshot>, requests: &mpsc::Sender<ReloadRequest>) {
    let mut taken = likenesses(&current.load().settings);
    let mut before = taken.clone();
    let mut looked = Instant::now();
    let mut refused: Option<Refused> = None;
    loop {
        thread::sleep(TICK);
        let settings = current.load().settings.clone();
        if every(&settings).is_none_or(|every| looked.elapsed() < every) {
            continue;
        }
        looked = Instant::now();
        let now = likenesses(&settings);
        let is_due = refused.as_ref().is_none_or(|refused| refused.is_due(&now));
        if now != taken && now == before && is_due {
            let Some(reloaded) = request_reload(requests) else { return };
            if reloaded.errors.is_empty() {
                taken.clone_from(&now);
                refused = None;
            } else {
                let waits = refused.filter(|refused| refused.of == now).map_or(TICK, |refused| refused.waits * 2);
                refused = Some(Refused { of: now.clone(), at: Instant::now(), waits: waits.min(MAX_WAIT) });
            }
        }
        before = now;
    }
}

/// A change that was refused, and the pause before it is tried again: longer each time, because each try is a line in
/// the log.
struct Refused {
    of: Vec<(PathBuf, FileStamp)>,
    at: Instant,
    waits: Duration,
}

impl Refused {
    fn is_due(&self, now: &[(PathBuf, FileStamp)]) -> bool {
        self.of != now || self.at.elapsed() >= self.waits
    }
}

/// Requests a reload and returns its result; `None`: the receiver is gone.
fn request_reload(requests: &mpsc::Sender<ReloadRequest>) -> Option<Reloaded> {
    let (answer, waits) = mpsc::channel();
    requests.send(ReloadRequest { scope: Scope::ReferencedFiles, answer: Some(answer) }).ok()?;
    waits.recv().ok()
}

/// Returns the shortest interval of all listeners.
fn every(settings: &Settings) -> Option<Duration> {
    settings.listeners.iter().filter_map(|listener| listener.tls.as_ref()?.watch).min()
}

fn likenesses(settings: &Settings) -> Vec<(PathBuf, FileStamp)> {
    let watched = settings.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let files = watched.filter(|tls| tls.watch.is_some()).flat_map(|tls| &tls.files);
    files.map(|file| (file.clone(), likeness(file))).collect()
}

fn likeness(file: &Path) -> FileStamp {
    let like = std::fs::metadata(file).ok()?;
    let times = [like.mtime(), like.mtime_nsec(), like.ctime(), like.ctime_nsec()];
    Some(([like.dev(), like.ino(), like.len()], times))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn whatever_becomes_of_a_file_is_seen() {
        let dir = tempfile::TempDir::new().expect("a temporary directory");
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        let mut seen = vec![likeness(&link)];
        let mut look = |what: &str| {
            let now = likeness(&link);
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
        };
        fs::write(&file, "one").expect("a file in our own directory");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        look("there");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).expect("our own file");
        look("readable");
        fs::write(dir.path().join("new"), "two").expect("a file in our own directory");
        fs::rename(dir.path().join("new"), &file).expect("our own file");
        look("replaced");
        // Kubernetes and certbot replace files in this way.
        fs::write(dir.path().join("next"), "two").expect("a file in our own directory");
        std::os::unix::fs::symlink(dir.path().join("next"), dir.path().join("swap")).expect("a link");
        fs::rename(dir.path().join("swap"), &link).expect("our own link");
        look("pointed elsewhere");
    }
}
