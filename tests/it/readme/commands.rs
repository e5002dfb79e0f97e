//! Blocks for a shell. They run as they stand, in a shell in which every command that they may use is a function:
//! `portcullis` has its arguments read by the real binary (with `--help` behind them, so that it does nothing), files that
//! are copied have to be in the tree, and what would change the machine does nothing. A command that has no function is a
//! failure.

use std::process::Command;

use tempfile::TempDir;

use super::root;

/// `PORTCULLIS` is the binary under test and `TREE` the tree.
const STANDINS: &str = r#"
set -euo pipefail
fail() { echo "$*" >&2; exit 1; }
command_not_found_handle() { fail "nothing tries the command \`$1\`"; }

portcullis() { "$PORTCULLIS" "$@" --help >/dev/null || fail "portcullis does not take: $*"; }
sudo() { "$@"; }
openssl() { command -p openssl "$@" 2>/dev/null; }
curl() { :; }
journalctl() { :; }
grep() { command -p cat >/dev/null; }
systemctl() { :; }
systemd-sysusers() { :; }
systemd-tmpfiles() { :; }

# Every package that a page asks for is one that `.ci/test` installs.
apt-get() {
    [ "$1 $2" = "install -y" ] || fail "apt-get $*"
    for package in "${@:3}"; do
        command -p grep -q -- "$package" "$TREE/.ci/test" || fail "the tests do without $package"
    done
}

# install -m MODE [-g GROUP] FILE PLACE
install() {
    local from=${*: -2:1}
    case $from in
        target/release/portcullis) ;;
        *) [ -f "$TREE/$from" ] || fail "there is no $from" ;;
    esac
}

cargo() {
    case $1 in
        run)
            [ "$2" = --profile ] && command -p grep -q "^\[profile.$3\]" "$TREE/Cargo.toml" || fail "cargo $*"
            [ "$4" = -- ] || fail "cargo $*"
            portcullis "${@:5}"
            ;;
        bench)
            command -p grep -qx "name = \"$3\"" "$TREE/Cargo.toml" || fail "there is no bench $3"
            if [ "${4:-}" = -- ]; then
                command -p grep -q "\"$5\"" "$TREE/benches/$3.rs" || fail "$3 measures no $5"
            fi
            ;;
        *) fail "cargo $*" ;;
    esac
}
PATH=
"#;

/// The commands of a session: what stands after the prompts.
pub(super) fn typed(session: &str) -> String {
    session.lines().filter_map(|line| line.strip_prefix("$ ")).map(|line| format!("{line}\n")).collect()
}

pub(super) fn run(commands: &str) -> Result<(), String> {
    if commands.trim().is_empty() {
        return Err("there is no command".into());
    }
    let dir = TempDir::new().expect("a temporary directory");
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(format!("{STANDINS}\n{commands}")).current_dir(dir.path());
    shell.env("PORTCULLIS", env!("CARGO_BIN_EXE_portcullis")).env("TREE", root());
    let output = shell.output().expect("bash is there");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn commands_with_a_mistake_are_seen() {
    let good = "portcullis check -c portcullis.toml   # a remark\nportcullis key new --consumer acme --expires 90d\n";
    assert_eq!(run(good), Ok(()));
    for wrong in [
        "portcullis chek\n",
        "portcullis check --no-secret\n",
        "portcullis key new --owner acme\n",
        "rm -r .\n",
        "cargo bench --bench under\n",
        "cargo bench --bench overhead -- shrinkage\n",
        "cargo run --profile quick -- run\n",
        "install -m 0644 systemd/portcullis.socket x\n",
        "",
    ] {
        assert!(run(wrong).is_err(), "{wrong}");
    }
}
