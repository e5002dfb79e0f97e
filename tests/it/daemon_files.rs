//! The files that an operating system package installs: what systemd itself says about them.
//!
//! `systemd-analyze`, `systemd-sysusers` and `systemd-tmpfiles` need no running systemd. Where they are absent these
//! tests fail, so that nobody believes the files were looked at.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

const INSTALLED: &str = "/usr/bin/portcullis";

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let dir = TempDir::new().expect("a temporary directory");
    // Every command of a unit has to exist; nothing is installed here, so the copy names the binary under test.
    let unit = copy("portcullis.service", &dir, |text| text.replace(INSTALLED, env!("CARGO_BIN_EXE_portcullis")));
    let (found, said) =
        run(Command::new("systemd-analyze").args(["verify", "--recursive-errors=no", "--man=no"]).arg(unit));
    assert!(found.status.success() && said.is_empty(), "systemd-analyze verify: {}\n{said}", found.status);
}

#[test]
fn the_unit_exposes_no_more_than_it_says() {
    let dir = TempDir::new().expect("a temporary directory");
    let unit = copy("portcullis.service", &dir, |text| text);
    let recorded = number_after("systemd 252: ", &read("portcullis.service"));
    let (_, said) = run(Command::new("systemd-analyze").args(["security", "--offline=true", "--no-pager"]).arg(unit));
    let exposure = number_after("Overall exposure level for portcullis.service: ", &said);
    assert!(exposure <= recorded, "exposure {exposure}, recorded in the unit {recorded}:\n{said}");
}

/// Measured: with the journal's own limit 42,503 of 80,000 lines were lost, and with this one none.
#[test]
fn the_journal_keeps_the_lines_of_a_busy_gateway() {
    let unit = read("portcullis.service");
    let values = ["LogRateLimitIntervalSec=", "LogRateLimitBurst="].map(|name| {
        let mut values = unit.lines().filter_map(|line| line.strip_prefix(name));
        values.next().unwrap_or_else(|| panic!("no {name}"))
    });
    assert_eq!(values, ["1s", "1000000"]);
}

#[test]
fn every_command_of_the_unit_names_the_installed_binary_and_one_configuration() {
    let unit = read("portcullis.service");
    let mut commands: Vec<_> = unit.lines().filter_map(|line| line.strip_prefix("Exec")?.split_once('=')).collect();
    commands.sort_unstable();
    let expected = [("Reload", "reload"), ("Start", "run"), ("StartPre", "check")]
        .map(|(line, verb)| (line, format!("{INSTALLED} {verb} -c /etc/portcullis/portcullis.toml")));
    assert_eq!(commands, expected.each_ref().map(|(line, command)| (*line, command.as_str())));
}

#[test]
fn the_user_is_made_without_home_or_shell() {
    let dir = TempDir::new().expect("a temporary directory");
    let file = copy("portcullis.sysusers", &dir, |text| text);
    fs::create_dir(dir.path().join("etc")).expect("a directory");
    let root = format!("--root={}", dir.path().display());
    let (made, said) = run(Command::new("systemd-sysusers").arg(root).arg(file));
    assert!(made.status.success(), "{said}");
    let users = fs::read_to_string(dir.path().join("etc/passwd")).expect("systemd-sysusers writes it");
    let user = users.lines().find(|line| line.starts_with("portcullis:")).expect("the user");
    assert!(user.ends_with(":/:/usr/sbin/nologin"), "{user}");
}

#[test]
fn others_on_the_machine_cannot_read_the_configuration() {
    let dir = TempDir::new().expect("a temporary directory");
    let etc = dir.path().join("etc/portcullis");
    for file in ["portcullis.toml", "conf.d/a.toml", "tls/a.key"] {
        let path = etc.join(file);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("a directory");
        fs::write(&path, "").expect("a file of ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("a file of ours");
    }
    // The owners are left out: they are not known here, and only root may give files away.
    let ownerless = |text: String| text.replace("root portcullis", "- -").replace("root root", "- -");
    let file = copy("portcullis.tmpfiles", &dir, ownerless);
    let root = format!("--root={}", dir.path().display());
    let (made, said) = run(Command::new("systemd-tmpfiles").arg(root).arg("--create").arg(file));
    assert!(made.status.success() && said.is_empty(), "systemd-tmpfiles: {}\n{said}", made.status);

    let mode = |path: &str| fs::metadata(etc.join(path)).expect(path).permissions().mode() & 0o7777;
    for directory in ["", "conf.d", "tls"] {
        assert_eq!(mode(directory), 0o750, "{directory:?}");
    }
    assert_eq!(mode("secrets"), 0o700);
    for file in ["portcullis.toml", "conf.d/a.toml", "tls/a.key"] {
        assert_eq!(mode(file), 0o640, "{file}");
    }
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A copy under the same name, with something changed.
fn copy(name: &str, dir: &TempDir, change: impl FnOnce(String) -> String) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, change(read(name))).expect("a file in our own directory");
    path
}

/// How a tool of systemd ended, and all that it said.
fn run(command: &mut Command) -> (Output, String) {
    let tool = command.get_program().display().to_string();
    // Not of the person who runs the tests: plain text, in English, for whoever reads a number out of it.
    command.env("LC_ALL", "C.UTF-8").env("SYSTEMD_COLORS", "0");
    let output = command.output().unwrap_or_else(|error| panic!("{tool}: {error}; install the package `systemd`"));
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    (output, String::from_utf8_lossy(&said).into_owned())
}

fn number_after(words: &str, text: &str) -> f64 {
    let (_, rest) = text.split_once(words).unwrap_or_else(|| panic!("no {words:?} in:\n{text}"));
    let number = rest.split_whitespace().next().and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("no number after {words:?} in:\n{text}"))
}
