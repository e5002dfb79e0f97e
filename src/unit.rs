//! The credentials and the environment that a systemd unit gives to its service, read from the unit's files.
//!
//! A service gets them when it starts, and cannot see later where they came from. With the unit's files `check` can
//! judge a configuration outside of the service, and a reload can detect that a secret has changed on disk which only a
//! restart takes over.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::files;

/// The unit that is read if the process belongs to none.
const USUAL_NAME: &str = "portcullis.service";

/// The folders of units, the first before the others (systemd.unit(5)).
const FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// The folders of credentials for which the unit gives no path (systemd.exec(5), "LoadCredential=").
const CREDENTIAL_STORES: [&str; 3] = ["/etc/credstore", "/run/credstore", "/usr/lib/credstore"];

/// The longest unit file or environment file.
const MAX_FILE_BYTES: usize = 1 << 20;

/// The settings of a unit's service.
#[derive(Debug)]
pub(crate) struct Unit {
    /// Its name, such as `portcullis.service`.
    pub name: String,
    /// The settings in `[Service]`, drop-ins included, in the order that they count in.
    settings: Vec<(String, String)>,
}

/// The source of a credential.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file.
    File(PathBuf),
    /// A source that cannot be read outside of the service, in the words of the unit.
    Elsewhere(String),
}

impl Unit {
    /// Returns the unit that this process belongs to, or else the usual one. `SYSTEMD_UNIT_PATH` sets the folders of
    /// units, as it does for systemd's own tools.
    pub(crate) fn find() -> Option<Self> {
        let folders: Vec<PathBuf> = match std::env::var_os("SYSTEMD_UNIT_PATH") {
            Some(path) => std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect(),
            None => FOLDERS.iter().map(PathBuf::from).collect(),
        };
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = groups.lines().find_map(|line| line.rsplit('/').next().filter(|name| name.ends_with(".service")));
        own.into_iter().chain([USUAL_NAME]).find_map(|name| Self::read(name, &folders))
    }

    fn read(name: &str, folders: &[PathBuf]) -> Option<Self> {
        let names: Vec<String> = std::iter::once(name.to_owned()).chain(template(name)).collect();
        let in_folders = |name: &str| folders.iter().map(|folder| folder.join(name)).collect::<Vec<_>>();
        let file = names.iter().flat_map(|name| in_folders(name)).find(|path| path.is_file())?;
        let mut texts = vec![text_of(&file)?];
        let folders = names.iter().flat_map(|name| in_folders(&format!("{name}.d")));
        texts.extend(drop_ins(folders).iter().filter_map(|path| text_of(path)));
        Some(Self { name: name.to_owned(), settings: texts.iter().flat_map(|text| settings(text)).collect() })
    }

    /// Returns the values of a setting that is a list: an empty value resets it.
    fn list(&self, setting: &str) -> impl Iterator<Item = &str> {
        let mut values: Vec<&str> = Vec::new();
        for (_, value) in self.settings.iter().filter(|(name, _)| name == setting) {
            if value.is_empty() { values.clear() } else { values.push(value) }
        }
        values.into_iter()
    }

    /// Returns the source of a credential of this name.
    pub(crate) fn credential(&self, name: &str) -> Option<Source> {
        let of_name = |entry: &'_ str| {
            let (id, source) = entry.split_once(':').unwrap_or((entry, ""));
            (id == name).then(|| source.to_owned())
        };
        for setting in ["LoadCredentialEncrypted", "SetCredential", "SetCredentialEncrypted"] {
            if self.list(setting).any(|entry| of_name(entry).is_some()) {
                return Some(Source::Elsewhere(format!("{setting}={name}")));
            }
        }
        let path = self.list("LoadCredential").filter_map(of_name).last()?;
        if path.is_empty() {
            let mut stores = CREDENTIAL_STORES.iter().map(|store| Path::new(store).join(name));
            return stores.find(|path| path.exists()).map(Source::File);
        }
        // Only systemd can expand a specifier (`%d`), and a relative name is another unit's credential.
        let is_plain = path.starts_with('/') && !path.contains('%');
        Some(if is_plain {
            Source::File(path.into())
        } else {
            Source::Elsewhere(format!("LoadCredential={name}:{path}"))
        })
    }

    /// Returns the files with environment variables.
    fn environment_files(&self) -> impl DoubleEndedIterator<Item = PathBuf> {
        let files: Vec<_> = self.list("EnvironmentFile").collect();
        files.into_iter().map(|file| PathBuf::from(file.strip_prefix('-').unwrap_or(file)))
    }

    /// Returns the value of an environment variable in the unit's files, and the file. `None`: none of those that can
    /// be read has it.
    pub(crate) fn variable(&self, name: &str) -> Option<(String, PathBuf)> {
        let found = |file: PathBuf| Some((variable_in(&text_of(&file)?, name)?, file));
        self.environment_files().rev().find_map(found)
    }
}

/// Returns the name of the template, such as `portcullis@.service` for `portcullis@eu.service`.
fn template(name: &str) -> Option<String> {
    let (name, instance) = name.strip_suffix(".service")?.split_once('@')?;
    (!instance.is_empty()).then(|| format!("{name}@.service"))
}

/// Returns the drop-ins in these folders, in the order of their names. Of several with one name the first folder's
/// counts.
fn drop_ins(folders: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let entries = entries.filter(|path| path.extension().is_some_and(|extension| extension == "conf"));
        let new: Vec<_> =
            entries.filter(|path| found.iter().all(|known| known.file_name() != path.file_name())).collect();
        found.extend(new);
    }
    found.sort_by(|one, two| one.file_name().cmp(&two.file_name()));
    found
}

fn text_of(path: &Path) -> Option<String> {
    String::from_utf8(files::read(path, MAX_FILE_BYTES).ok()?).ok()
}

/// Returns the settings in `[Service]`. A line that ends in `\` continues in the next (systemd.syntax(7)).
fn settings(text: &str) -> Vec<(String, String)> {
    let text = text.replace("\\\n", " ");
    let mut is_service = false;
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let settings = lines.filter_map(|line| {
        if line.starts_with('[') {
            is_service = line == "[Service]";
        }
        let (name, value) = line.split_once('=').filter(|_| is_service)?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    });
    settings.collect()
}

/// Returns the last value of a variable in an environment file (systemd.exec(5), "EnvironmentFile=").
fn variable_in(text: &str, name: &str) -> Option<String> {
    let lines = text.lines().rev().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let mut values = lines.filter_map(|line| {
        let (of, value) = line.split_once('=')?;
        (of.trim() == name).then(|| value.trim())
    });
    let value = values.next()?;
    let quoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    Some(quoted.unwrap_or(value).to_owned())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// Creates units in two folders, of which the first comes before the second.
    fn unit(files: &[(&str, &str)], name: &str) -> Option<Unit> {
        let dir = TempDir::new().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Unit::read(name, &[dir.path().join("etc"), dir.path().join("lib")])
    }

    fn file(path: &str) -> Option<Source> {
        Some(Source::File(path.into()))
    }

    #[test]
    fn credentials_come_from_the_unit_and_its_drop_ins() {
        let unit = unit(
            &[
                (
                    "lib/portcullis.service",
                    "[Unit]\nLoadCredential=x:/unit\n[Service]\n# LoadCredential=y:/comment\nLoadCredential=gone:/gone\n\
                     LoadCredential=\nLoadCredential = a:/of/unit\nLoadCredential=\\\n b:/b\nSetCredential=s:text\n",
                ),
                ("lib/portcullis.service.d/10.conf", "[Service]\nLoadCredential=a:/masked\n"),
                ("etc/portcullis.service.d/10.conf", "[Service]\nLoadCredential=a:/of/drop-in\n"),
                ("etc/portcullis.service.d/20.conf", "[Service]\nLoadCredential=p:%d/p\nLoadCredentialEncrypted=e:/e\n"),
                ("etc/portcullis.service.d/30.txt", "[Service]\nLoadCredential=a:/no/drop-in\n"),
            ],
            "portcullis.service",
        )
        .unwrap();
        assert_eq!(unit.credential("a"), file("/of/drop-in"));
        assert_eq!(unit.credential("b"), file("/b"));
        assert_eq!(unit.credential("p"), Some(Source::Elsewhere("LoadCredential=p:%d/p".into())));
        assert_eq!(unit.credential("e"), Some(Source::Elsewhere("LoadCredentialEncrypted=e".into())));
        assert_eq!(unit.credential("s"), Some(Source::Elsewhere("SetCredential=s".into())));
        for name in ["x", "y", "gone", "none", ""] {
            assert_eq!(unit.credential(name), None, "{name}");
        }
    }

    #[test]
    fn an_instance_has_the_settings_of_its_template() {
        let files = [("etc/gate@.service", "[Service]\nLoadCredential=a:/a\n")];
        assert_eq!(unit(&files, "gate@eu.service").unwrap().credential("a"), file("/a"));
        assert!(unit(&files, "gate.service").is_none());
    }

    #[test]
    fn the_last_value_of_a_variable_counts() {
        let text = "# A=comment\nA=1\n  A = 2  \nB=\"quoted = yes\"\nC='x'\nD=\n AA=3";
        let value = |name| variable_in(text, name);
        assert_eq!((value("A"), value("AA")), (Some("2".into()), Some("3".into())));
        assert_eq!((value("B"), value("C")), (Some("quoted = yes".into()), Some("x".into())));
        assert_eq!((value("D"), value("E")), (Some(String::new()), None));
    }
}
