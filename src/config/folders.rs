//! Tells whether the listing of a folder was complete.
//!
//! A large folder is listed by several system calls, and a file that is renamed in between may show under neither of
//! its names. Two equal listings are no proof: both may miss it. A listing counts if the folder did not change from
//! before it to after it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The resolution of file times: file systems stamp a change with the last tick of the kernel's clock, so two changes
/// within one tick look alike.
const TICK: Duration = Duration::from_millis(20);
/// The same for file systems that keep whole seconds, or every other second.
const COARSE_TICK: Duration = Duration::from_secs(2);

/// Folders as they were right before they were listed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Folders(Vec<(PathBuf, Stamp)>);

impl Folders {
    /// Notes the state of a folder that is about to be listed.
    pub(super) fn note(&mut self, path: &Path) -> io::Result<()> {
        self.0.push((path.to_owned(), Stamp::of(path)?));
        Ok(())
    }

    /// Waits until a further change of these folders can no longer look like the one before.
    #[expect(clippy::disallowed_methods, reason = "a configuration is read on a thread of its own")]
    pub(super) fn settle(&self) {
        if let Some(wait) = self.0.iter().map(|(_, stamp)| stamp.tick()).max() {
            thread::sleep(wait);
        }
    }

    /// Returns the first folder that changed since it was noted.
    pub(super) fn changed(&self) -> Option<&Path> {
        let has_changed = |(path, stamp): &&(PathBuf, Stamp)| Stamp::of(path).ok().as_ref() != Some(stamp);
        self.0.iter().find(has_changed).map(|(path, _)| path.as_path())
    }
}

/// The identity of a folder and the time of its last change, in seconds and nanoseconds.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    id: (u64, u64),
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let like = fs::metadata(path)?;
        Ok(Self {
            id: (like.dev(), like.ino()),
            modified: (like.mtime(), like.mtime_nsec()),
            changed: (like.ctime(), like.ctime_nsec()),
        })
    }

    /// Returns how long the next change may still look like the last. The clock is asked only where times are whole
    /// seconds: a file server's clock may differ.
    fn tick(&self) -> Duration {
        let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(self.changed.0).unwrap_or(0));
        let is_old = SystemTime::now().duration_since(changed).is_ok_and(|age| age > COARSE_TICK);
        if self.changed.1 == 0 && !is_old { COARSE_TICK } else { TICK }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_away_for_a_moment_changed_its_folder() {
        let dir = tempfile::TempDir::new().unwrap();
        let (file, away) = (dir.path().join("a.toml"), dir.path().join("b.toml"));
        fs::write(&file, "").unwrap();
        let mut folders = Folders::default();
        folders.note(dir.path()).unwrap();
        folders.settle();
        assert_eq!(folders.changed(), None);
        fs::write(&file, "another text").unwrap();
        assert_eq!(folders.changed(), None, "what stands in a file is no matter of its folder");
        fs::rename(&file, &away).unwrap();
        fs::rename(&away, &file).unwrap();
        assert_eq!(folders.changed(), Some(dir.path()));
    }

    #[test]
    fn a_folder_that_is_gone_or_another_one_has_changed() {
        let dir = tempfile::TempDir::new().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mut folders = Folders::default();
        folders.note(&at("conf.d")).unwrap_err();
        for name in ["conf.d", "other"] {
            fs::create_dir(at(name)).unwrap();
        }
        folders.note(&at("conf.d")).unwrap();
        fs::rename(at("conf.d"), at("old")).unwrap();
        assert_eq!(folders.changed(), Some(&*at("conf.d")));
        fs::rename(at("other"), at("conf.d")).unwrap();
        assert_eq!(folders.changed(), Some(&*at("conf.d")));
    }

    #[test]
    fn only_a_new_time_in_whole_seconds_is_waited_for_longer() {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let tick = |changed| Stamp { id: (0, 0), modified: (0, 0), changed }.tick();
        assert_eq!([tick((now, 1)), tick((now - 60, 0)), tick((0, 0))], [TICK; 3]);
        assert_eq!([tick((now, 0)), tick((now + 60, 0))], [COARSE_TICK; 2]);
    }
}
