//! Reads the file of a configuration and those that it includes, within limits.

use std::{fs, path::Path, thread, time::Duration};

use super::{
    folders::Folders,
    include::{Include, Included},
    problem::Problems,
    report::Report,
    sources::{Source, Sources},
};
use crate::files;

/// The largest file that is read as configuration.
pub(super) const MAX_FILE_BYTES: usize = 256 << 20;

/// The largest size of all files of a configuration together.
pub(super) const MAX_TOTAL_BYTES: usize = MAX_FILE_BYTES;

/// The first pause between attempts to read files that keep changing; it grows with each.
const PAUSE: Duration = Duration::from_millis(50);

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// Returns why it cannot be read: absent, too large, not UTF-8.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text =
            String::from_utf8(files::contents(path, MAX_FILE_BYTES).map_err(|why| dangling(path).unwrap_or(why))?)
                .map_err(|error| format!("byte {} is not UTF-8", error.utf8_error().valid_up_to()))?;
        Ok(Self { path: path.to_owned(), text })
    }
}

/// Returns a message about a dangling link, which "no such file" would not explain: the name does exist.
fn dangling(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok().filter(|_| !path.exists())?;
    Some(format!("this is a link to `{}`, which is not there", target.display()))
}

impl Sources {
    /// Reads the file and those it includes, until two reads in a row agree and no folder changed meanwhile. So files
    /// behind one link that is swapped, as in Kubernetes, are all of one version, and a file that is renamed is not
    /// missed.
    ///
    /// # Errors
    /// Reports every file that cannot be read, every pattern that matches none, and files that do not stop changing.
    #[expect(clippy::disallowed_methods, reason = "a configuration is read on a thread of its own")]
    pub(crate) fn read(main: &Path) -> Result<Self, Report> {
        const ATTEMPTS: u32 = 4;
        let mut why = String::new();
        for attempt in 0..ATTEMPTS {
            thread::sleep(PAUSE * attempt);
            let mut folders = Folders::default();
            match Self::read_once(main, &mut folders) {
                Ok(sources) if sources.are_current(main, &folders) => return Ok(sources),
                // A file that is gone may just have been renamed after the listing.
                Err(report) if folders.changed().is_none() => return Err(report),
                _ => {}
            }
            why = match folders.changed() {
                Some(folder) => format!("the folder `{}` changes while it is read", folder.display()),
                None => "the files change while they are read".to_owned(),
            };
        }
        Err(Report::of_file(main, why))
    }

    fn read_once(main: &Path, folders: &mut Folders) -> Result<Self, Report> {
        let first = Source::read(main).map_err(|why| Report::of_file(main, why))?;
        let mut problems = Problems::default();
        let mut others = Vec::new();
        let mut room = MAX_TOTAL_BYTES.saturating_sub(first.text.len());
        for Included { file, item } in Include::find(&first.text).files(main, folders, &mut problems) {
            match Source::read(&file) {
                Ok(source) if source.text.len() > room => {
                    item.problem(&mut problems, format!("the files together are larger than {MAX_TOTAL_BYTES} bytes"));
                    break;
                }
                Ok(source) => {
                    room -= source.text.len();
                    others.push(source);
                }
                Err(why) => item.problem(&mut problems, format!("`{}`: {why}", file.display())),
            }
        }
        let sources = Self(std::iter::once(first).chain(others).collect());
        if problems.is_empty() { Ok(sources) } else { Err(problems.locate(&sources)) }
    }

    /// Returns whether the same files exist with the same content, in folders that have not changed since `before` the
    /// first listing. They are compared piece by piece, so that a large configuration is not in memory twice.
    fn are_current(&self, main: &Path, before: &Folders) -> bool {
        // From here on every change is visible, so that this second listing misses nothing.
        before.settle();
        let (mut folders, mut problems) = (Folders::default(), Problems::default());
        let included = Include::find(&self.0[0].text).files(main, &mut folders, &mut problems);
        let is_same_list =
            included.iter().map(|included| &included.file).eq(self.0[1..].iter().map(|source| &source.path));
        let is_same = |source: &Source| files::holds(&source.path, source.text.as_bytes());
        problems.is_empty()
            && is_same_list
            && folders == *before
            && self.0.iter().all(is_same)
            && before.changed().is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::symlink,
        sync::atomic::{AtomicBool, Ordering::Relaxed},
        time::Instant,
    };

    use super::*;

    /// Simulates a Kubernetes ConfigMap: one link is swapped, and every file is that of another version.
    #[test]
    fn files_that_are_swapped_together_are_read_together() {
        let dir = tempfile::TempDir::new().unwrap();
        let at = |name: &str| dir.path().join(name);
        for version in ["1", "2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("main.toml"), format!("include = [\"more.toml\"]\n# {version}")).unwrap();
            fs::write(at(version).join("more.toml"), format!("# {version}")).unwrap();
        }
        let point_to = |version: &str| {
            symlink(version, at("next")).unwrap();
            fs::rename(at("next"), at("data")).unwrap();
        };
        point_to("1");
        for name in ["main.toml", "more.toml"] {
            symlink(Path::new("data").join(name), at(name)).unwrap();
        }
        for round in 0..300 {
            let read = thread::scope(|scope| {
                scope.spawn(|| point_to(["2", "1"][round % 2]));
                Sources::read(&at("main.toml")).unwrap()
            });
            let versions: Vec<_> = read.0.iter().map(|source| &source.text[source.text.len() - 1..]).collect();
            assert!(versions.len() == 2 && versions[0] == versions[1], "{versions:?}");
        }
    }
    /// Creates a folder that takes several system calls to list.
    fn large_folder() -> tempfile::TempDir {
        let dir = tempfile::TempDir::new().unwrap();
        fs::create_dir(dir.path().join("conf.d")).unwrap();
        fs::write(dir.path().join("main.toml"), "include = [\"conf.d/*.toml\"]").unwrap();
        for number in 0..3000 {
            fs::write(dir.path().join(format!("conf.d/route-{number:04}.toml")), "# public").unwrap();
        }
        fs::write(dir.path().join("conf.d/route-x.toml"), "# protected").unwrap();
        dir
    }

    /// Both listings miss the file, each because it is renamed at that moment.
    #[test]
    fn a_file_that_two_listings_miss_is_not_left_out() {
        let dir = tempfile::TempDir::new().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("conf.d")).unwrap();
        fs::write(at("main.toml"), "include = [\"conf.d/*.toml\"]").unwrap();
        for name in ["conf.d/a.toml", "away"] {
            fs::write(at(name), "# a route").unwrap();
        }
        let mut folders = Folders::default();
        let read = Sources::read_once(&at("main.toml"), &mut folders).unwrap();
        assert!(read.0.len() == 2 && read.are_current(&at("main.toml"), &folders));
        fs::rename(at("away"), at("conf.d/b.toml")).unwrap();
        fs::rename(at("conf.d/b.toml"), at("away")).unwrap();
        assert!(!read.are_current(&at("main.toml"), &folders));
        assert_eq!(Sources::read(&at("main.toml")).unwrap(), read, "when it is quiet again");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the folder is quiet for a moment")]
    fn what_is_taken_of_a_folder_with_renames_has_every_file() {
        let dir = large_folder();
        let (main, conf) = (dir.path().join("main.toml"), dir.path().join("conf.d"));
        let is_done = AtomicBool::new(false);
        let (taken, refused) = thread::scope(|scope| {
            scope.spawn(|| {
                // Renames it back and forth, to places that a listing comes to early and late, with a pause now and
                // then.
                for round in 0_u32.. {
                    let names = ["route-x.toml".to_owned(), format!("{round:08}-{}.toml", "x".repeat(99))];
                    fs::rename(conf.join(&names[0]), conf.join(&names[1])).unwrap();
                    fs::rename(conf.join(&names[1]), conf.join(&names[0])).unwrap();
                    if is_done.load(Relaxed) {
                        break;
                    }
                    if round % 5000 == 0 {
                        thread::sleep(Duration::from_millis(100));
                    }
                }
            });
            let until = Instant::now() + Duration::from_secs(5);
            let (mut taken, mut refused) = (Vec::new(), Vec::new());
            while Instant::now() < until && taken.len() + refused.len() < 100 {
                match Sources::read(&main) {
                    Ok(sources) => taken.push(sources.0.iter().filter(|source| source.text == "# protected").count()),
                    Err(report) => refused.push(report.to_string()),
                }
            }
            is_done.store(true, Relaxed);
            (taken, refused)
        });
        assert!(taken.iter().all(|protected| *protected == 1), "{taken:?}");
        let unlike = refused.iter().find(|why| !why.contains("conf.d` changes while it is read"));
        assert_eq!(unlike, None);
        assert_eq!(Sources::read(&main).unwrap().0.len(), 3002, "when it is quiet again");
    }
}
