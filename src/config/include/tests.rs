use std::os::unix::{ffi::OsStrExt, fs::symlink};

use tempfile::TempDir;

use super::*;
use crate::config::Sources;

/// A folder with a main file and others.
struct Place(TempDir);

impl Place {
    fn new(main: &str, files: &[&str]) -> Self {
        let place = Self(TempDir::new().unwrap());
        place.write("main.toml", main);
        files.iter().for_each(|file| place.write(file, &format!("# {file}")));
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), text).unwrap();
    }

    /// Returns the names of the included files, or the report.
    fn read(&self) -> Result<Vec<String>, String> {
        let folder = format!("{}/", self.0.path().display());
        let sources = Sources::read(&self.at("main.toml")).map_err(|report| report.to_string().replace(&folder, ""))?;
        Ok(sources.0[1..].iter().map(|source| source.path.display().to_string().replace(&folder, "")).collect())
    }

    fn problem(&self) -> String {
        let text = self.read().unwrap_err();
        text.trim_end().strip_prefix("main.toml:").unwrap_or(&text).to_owned()
    }
}

#[test]
fn a_pattern_takes_what_it_says_and_nothing_that_is_hidden() {
    let files =
        ["conf.d/b.toml", "conf.d/a.toml", "conf.d/.old.toml", "conf.d/c.toml~", ".hidden/x.toml", "sites/a/x.toml"];
    let place = Place::new("include = [\"conf.d/*.toml\", \"*/*/x.toml\", \"./*/x.toml\"]", &files);
    // The lock of an editor is a dangling link.
    symlink("somebody@somewhere.1", place.at("conf.d/.#a.toml")).unwrap();
    assert!(place.problem().contains("no file matches `./*/x.toml`"), "{}", place.problem());
    place.write("main.toml", "include = [\"conf.d/*.toml\", \"*/*/x.toml\"]");
    assert_eq!(place.read().unwrap(), ["conf.d/a.toml", "conf.d/b.toml", "sites/a/x.toml"]);
    place.write("main.toml", "include = [\"conf.d/.o*.toml\"]");
    assert_eq!(place.read().unwrap(), ["conf.d/.old.toml"], "where it is asked for by its dot");
}

#[test]
fn what_should_be_there_and_is_not_is_an_error() {
    let place = Place::new("include = [\"conf.d/*.toml\"]", &[]);
    assert_eq!(place.problem(), "1:12: include[0]: there is no folder `conf.d`");
    place.write("conf.d", "");
    assert_eq!(place.problem(), "1:12: include[0]: `conf.d` is not a folder");
    fs::remove_file(place.at("conf.d")).unwrap();
    symlink("away", place.at("conf.d")).unwrap();
    assert_eq!(place.problem(), "1:12: include[0]: there is no folder `conf.d`");
    place.write("away/x.txt", "");
    let nothing =
        "1:12: include[0]: no file matches `conf.d/*.toml`; if that is meant, write `include_empty = \"accepted\"`";
    assert_eq!(place.problem(), nothing);
    symlink("gone.toml", place.at("away/a.toml")).unwrap();
    assert_eq!(place.problem(), "1:12: include[0]: `conf.d/a.toml`: this is a link to `gone.toml`, which is not there");
}

#[test]
fn that_a_pattern_matches_nothing_can_be_accepted_and_that_its_folder_is_gone_cannot() {
    let place = Place::new("include = [\"conf.d/*.toml\"]\ninclude_empty = \"accepted\"", &["conf.d/x.txt"]);
    assert_eq!(place.read().unwrap(), Vec::<String>::new());
    fs::remove_dir_all(place.at("conf.d")).unwrap();
    assert_eq!(place.problem(), "1:12: include[0]: there is no folder `conf.d`");
    place.write("main.toml", "include_empty = \"accepted\"\ninclude = [\"conf.d/a.toml\"]");
    assert_eq!(place.problem(), "2:12: include[0]: there is no file `conf.d/a.toml`");
}

#[test]
fn a_file_is_included_once_by_whatever_name() {
    let place = Place::new("include = [\"conf.d/a.toml\", \"./conf.d/*.toml\"]", &["conf.d/a.toml"]);
    assert_eq!(place.problem(), "1:29: include[1]: `conf.d/a.toml` is included by include[0] already");
    place.write("main.toml", "include = [\"conf.d/*.toml\"]");
    symlink("a.toml", place.at("conf.d/b.toml")).unwrap();
    let text = "1:12: include[0]: `conf.d/b.toml` is included by include[0] already as `conf.d/a.toml`";
    assert_eq!(place.problem(), text);
    fs::remove_file(place.at("conf.d/b.toml")).unwrap();
    fs::hard_link(place.at("main.toml"), place.at("conf.d/b.toml")).unwrap();
    assert_eq!(place.problem(), "1:12: include[0]: `conf.d/b.toml` includes itself");
}

#[test]
fn names_that_cannot_be_meant_are_errors() {
    let place = Place::new("include = [\"conf.d/*\"]", &["conf.d/a.toml", "conf.d/sub/b.toml"]);
    assert_eq!(place.problem(), "1:12: include[0]: `conf.d/sub`: this is not a file");
    fs::remove_dir_all(place.at("conf.d/sub")).unwrap();
    fs::write(place.0.path().join(std::ffi::OsStr::from_bytes(b"conf.d/\xff.toml")), "").unwrap();
    assert_eq!(place.problem(), "1:12: include[0]: `conf.d/\u{fffd}.toml`: the name is not UTF-8");
    place.write("main.toml", "include = [\"conf.d/**/*.toml\"]");
    assert!(place.problem().contains("write a pattern for each level"), "{}", place.problem());
}

/// The folder's name is taken literally, even if it contains wildcards.
#[test]
fn wildcards_in_the_name_of_the_folder_mean_nothing() {
    let place = Place::new("", &["a[1]*/conf.d/x.toml"]);
    place.write("a[1]*/main.toml", "include = [\"conf.d/*.toml\"]");
    assert_eq!(Sources::read(&place.at("a[1]*/main.toml")).unwrap().0.len(), 2);
}

#[test]
fn the_list_is_found_in_front_of_the_first_table_and_nowhere_else() {
    let item = |text: &str| Include::find(text).list.map(|list| list.items(&mut Problems::default()).len());
    assert_eq!(item("include = [\n  \"a\",\n  \"b\"\n]\n[log]\nlevel = \"x\"\n"), Some(2));
    assert_eq!(item("include = [\n[\"a\"],\n[\"b\"],\n[\"c\"]]\n[log]\n"), Some(3), "a list of lists is no table");
    assert_eq!(item("note = \"\"\"\n[log]\n\"\"\"\ninclude = [\"a\"]\n"), Some(1), "a string is no table either");
    assert_eq!(item("[log]\ninclude = [\"a\"]\n"), None);
}
