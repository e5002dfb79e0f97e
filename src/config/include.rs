//! `include`: the files that belong to a configuration.
//!
//! A file that is left out is left out silently: its routes are gone, and a wider route may take their paths. So
//! everything that could leave one out by accident is an error: a folder that is not there, a pattern that matches
//! nothing, a dangling link, a name that is not UTF-8.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use glob::Pattern;

use super::{file::Accepted, folders::Folders, node::Node, problem::Problems};

/// The most files that one configuration includes.
pub(super) const MAX_INCLUDED_FILES: usize = 10_000;

/// The settings of the main file about including others.
#[derive(Default)]
pub(super) struct Include<'i> {
    list: Option<Node<'i>>,
    is_empty_accepted: bool,
}

/// A file, and the item of the list that names it.
pub(super) struct Included<'i> {
    pub(super) file: PathBuf,
    pub(super) item: Node<'i>,
}

impl<'i> Include<'i> {
    /// Looks for `include` and `include_empty` in the text of the main file. Syntax errors and wrong values are not
    /// reported here, but when the file is parsed in full.
    pub(super) fn find(text: &'i str) -> Self {
        if !text.contains("include") {
            return Self::default();
        }
        let mut ignored = Problems::default();
        // Both must come before the first table, and only that part is parsed: in a large file it is a small one. Where
        // it has errors of its own because it ends within a list or a string, the whole file is parsed.
        let root = Node::parse(0, head(text), &mut ignored).or_else(|| Node::parse(0, text, &mut ignored));
        let Some(mut root) = root else { return Self::default() };
        let empty = root.take("include_empty").and_then(|empty| empty.decode::<Accepted>(&mut ignored));
        Self { list: root.take("include"), is_empty_accepted: empty.is_some() }
    }

    /// Returns the files that `include = ["conf.d/*.toml"]` names, in the order of the list and then of their names.
    /// Every folder that is listed for it is noted in `folders`.
    pub(super) fn files(&self, main: &Path, folders: &mut Folders, problems: &mut Problems) -> Vec<Included<'i>> {
        let mut found: Vec<(Included<'i>, Option<FileId>)> = Vec::new();
        let own = FileId::of(main);
        for item in self.list.clone().map(|list| list.items(problems)).unwrap_or_default() {
            for file in self.matches(&item, main, folders, problems) {
                let id = FileId::of(&file);
                let twin = found.iter().find(|(first, known)| first.file == file || (id.is_some() && *known == id));
                if file == main || (id.is_some() && id == own) {
                    item.problem(problems, format!("`{}` includes itself", file.display()));
                } else if let Some((first, _)) = twin {
                    let alias = match first.file == file {
                        true => String::new(),
                        false => format!(" as `{}`", first.file.display()),
                    };
                    let text = format!("`{}` is included by {} already{alias}", file.display(), first.item.path);
                    item.problem(problems, text);
                } else {
                    found.push((Included { file, item: item.clone() }, id));
                }
            }
        }
        if found.len() > MAX_INCLUDED_FILES {
            let text = format!("these are {} files, and at most {MAX_INCLUDED_FILES} are read", found.len());
            self.list.iter().for_each(|list| list.problem(problems, text.clone()));
            return Vec::new();
        }
        found.into_iter().map(|(included, _)| included).collect()
    }

    /// Returns the files of one item of the list.
    fn matches(&self, item: &Node<'_>, main: &Path, folders: &mut Folders, problems: &mut Problems) -> Vec<PathBuf> {
        let Some(pattern) = item.as_str() else {
            item.problem(problems, "this must be the path of a file, in which `*` matches a part of a name");
            return Vec::new();
        };
        let files = match Search::new(pattern).and_then(|search| search.files(main, folders)) {
            Ok(files) => files,
            Err(why) => {
                item.problem(problems, why);
                return Vec::new();
            }
        };
        match is_wildcard(pattern) {
            _ if !files.is_empty() => {}
            false => item.problem(problems, format!("there is no file `{pattern}`")),
            true if self.is_empty_accepted => {}
            true => {
                let text =
                    format!("no file matches `{pattern}`; if that is meant, write `include_empty = \"accepted\"`");
                item.problem(problems, text);
            }
        }
        files
    }
}

/// Returns the text in front of the first line that begins a table.
fn head(text: &str) -> &str {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            break;
        }
        start += line.len();
    }
    &text[..start]
}

/// The identity of a file, whatever names lead to it.
#[derive(PartialEq, Eq)]
struct FileId(u64, u64);

impl FileId {
    fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|like| Self(like.dev(), like.ino()))
    }
}

fn is_wildcard(part: &str) -> bool {
    part.contains(['*', '?', '['])
}

/// A path with wildcards in its names, compiled for a search.
struct Search {
    is_absolute: bool,
    /// The part in front of the first name with a wildcard: it must exist.
    fixed: PathBuf,
    /// The remaining names.
    patterns: Vec<Pattern>,
}

impl Search {
    fn new(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = text.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
        if names.contains(&"**") {
            return Err("`**` is not supported; write a pattern for each level, as in `conf.d/*/*.toml`".to_owned());
        }
        let wild = names.iter().position(|name| is_wildcard(name)).unwrap_or(names.len());
        let pattern = |name: &&str| Pattern::new(name).map_err(|error| format!("not a pattern: {}", error.msg));
        Ok(Self {
            is_absolute: text.starts_with('/'),
            fixed: names[..wild].iter().collect(),
            patterns: names[wild..].iter().map(pattern).collect::<Result<_, _>>()?,
        })
    }

    /// Returns the matching files, in the order of their names.
    fn files(&self, main: &Path, folders: &mut Folders) -> Result<Vec<PathBuf>, String> {
        let folder = if self.is_absolute { Path::new("/") } else { main.parent().unwrap_or(Path::new("")) };
        let fixed = folder.join(&self.fixed);
        if self.patterns.is_empty() {
            return Ok(if fs::symlink_metadata(&fixed).is_ok() { vec![fixed] } else { Vec::new() });
        }
        let mut found = vec![fixed];
        for (level, pattern) in self.patterns.iter().enumerate() {
            let mut below = Vec::new();
            for folder in found {
                // In the middle of a path, a name that matches a wildcard may be a file's; the fixed part must be a
                // folder.
                if level == 0 || folder.is_dir() {
                    below.extend(entries(&folder, pattern, folders)?);
                }
            }
            found = below;
        }
        Ok(found)
    }
}

/// Returns the entries of a folder that match, by name. Names that begin with a dot are hidden, as in a shell: editors
/// keep backups and locks there, and Kubernetes its versions. Only a pattern that begins with a dot matches them.
fn entries(folder: &Path, pattern: &Pattern, folders: &mut Folders) -> Result<Vec<PathBuf>, String> {
    // The path is empty if the configuration was given as a bare file name.
    let opened = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let fails = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no folder `{}`", folder.display()),
        io::ErrorKind::NotADirectory => format!("`{}` is not a folder", folder.display()),
        _ => format!("`{}`: {error}", folder.display()),
    };
    folders.note(opened).map_err(fails)?;
    let mut found = Vec::new();
    for entry in fs::read_dir(opened).map_err(fails)? {
        let name = entry.map_err(fails)?.file_name();
        let shown = name.to_string_lossy();
        let is_hidden = shown.starts_with('.') && !pattern.as_str().starts_with('.');
        if is_hidden || !pattern.matches(&shown) {
            continue;
        }
        if name.to_str().is_none() {
            return Err(format!("`{}`: the name is not UTF-8", folder.join(&name).display()));
        }
        found.push(folder.join(&name));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
