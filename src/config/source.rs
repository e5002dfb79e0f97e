use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    include::{Include, Included},
    problem::{Problems, Report},
};
use crate::files;

/// The largest file that is read as configuration.
pub const MAX_FILE_BYTES: usize = 256 << 20;

/// The largest that all files of a configuration may be together.
pub const MAX_TOTAL_BYTES: usize = MAX_FILE_BYTES;

/// One file of a configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// As it is shown in messages.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// Why it cannot be read, in words: absent, too large, not UTF-8.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text =
            String::from_utf8(files::contents(path, MAX_FILE_BYTES).map_err(|why| dangling(path).unwrap_or(why))?)
                .map_err(|error| format!("byte {} is not UTF-8", error.utf8_error().valid_up_to()))?;
        Ok(Self { path: path.to_owned(), text })
    }
}

/// Says where a link leads that leads to nothing: "no such file" would be about a name that is there for all to see.
fn dangling(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok().filter(|_| !path.exists())?;
    Some(format!("this is a link to `{}`, which is not there", target.display()))
}

/// All files of a configuration; the first is the one that was named.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sources(pub Vec<Source>);

impl Sources {
    /// Reads the file and those it includes, until they say the same twice: where a link to all of them is swapped, as
    /// Kubernetes does, they are those of one version.
    ///
    /// # Errors
    /// Every file that cannot be read, and every pattern that names none.
    pub fn read(main: &Path) -> Result<Self, Report> {
        const ATTEMPTS: usize = 4;
        for _ in 0..ATTEMPTS {
            let sources = Self::read_once(main)?;
            if sources.are_current(main)? {
                return Ok(sources);
            }
        }
        Err(Report::of_file(main, "the files change while they are read"))
    }

    fn read_once(main: &Path) -> Result<Self, Report> {
        let first = Source::read(main).map_err(|why| Report::of_file(main, why))?;
        let mut problems = Problems::default();
        let mut others = Vec::new();
        let mut room = MAX_TOTAL_BYTES.saturating_sub(first.text.len());
        for Included { file, item } in Include::find(&first.text).files(main, &mut problems) {
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

    /// Whether the same files are there and say the same. They are compared piece by piece: a large configuration is
    /// not in memory twice.
    fn are_current(&self, main: &Path) -> Result<bool, Report> {
        let mut problems = Problems::default();
        let included = Include::find(&self.0[0].text).files(main, &mut problems);
        if !problems.is_empty() {
            return Err(problems.locate(self));
        }
        let is_same_list =
            included.iter().map(|included| &included.file).eq(self.0[1..].iter().map(|source| &source.path));
        let is_same = |source: &Source| files::holds(&source.path, source.text.as_bytes());
        Ok(is_same_list && self.0.iter().all(is_same))
    }

    /// Line and column, both from 1, the column in characters.
    pub(super) fn position(&self, file: usize, offset: usize) -> (usize, usize) {
        let text = self.0.get(file).map_or("", |source| source.text.as_str());
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.bytes().filter(|byte| *byte == b'\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// As Kubernetes lays out a ConfigMap: one link is swapped, and every file is that of another version.
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
            let read = std::thread::scope(|scope| {
                scope.spawn(|| point_to(["2", "1"][round % 2]));
                Sources::read(&at("main.toml")).unwrap()
            });
            let versions: Vec<_> = read.0.iter().map(|source| &source.text[source.text.len() - 1..]).collect();
            assert!(versions.len() == 2 && versions[0] == versions[1], "{versions:?}");
        }
    }
}
