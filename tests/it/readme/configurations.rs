//! Blocks of TOML: each is a configuration, or a piece of one.
//!
//! A piece gets what it leaves out from [`AROUND`]: a listener, a policy that it names but does not show, the paths of a
//! route of which it shows the restrictions. A block that is whole gets nothing. Then `portcullis check` judges it.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;
use toml::{Table, Value};

use crate::{
    harness::{Authority, Crl, KeyType, Leaf},
    own_gateway,
};

const BINARY: &str = env!("CARGO_BIN_EXE_portcullis");

const AROUND: &str = r#"
[[listeners]]
address = "127.0.0.1:8080"

[upstreams.orders]
targets = ["127.0.0.1:9000"]

[policies.partner-keys]
use = "key-auth"

[policies.api]
use = "jwt"
issuer = "https://auth.example.com"
audience = ["https://api.example.com"]
discovery = true

[routes.orders]
paths = ["/orders", "/orders/{*rest}"]
auth = ["partner-keys"]
upstream = "orders"

[consumers.trial]
"#;

/// What `check` says against a block, if anything.
pub(super) fn check(text: &str) -> Result<(), String> {
    let text = fill_in(text);
    let mut table: Table = text.parse().map_err(|error| format!("{error}"))?;
    add_what_is_missing(&mut table);
    judge(program(&text), &table.to_string()).map_err(|said| format!("{said}\nof\n{table}"))
}

/// Plugins that are not built in are those of `tests/own-gateway`.
fn program(text: &str) -> &'static Path {
    if text.contains("use = \"ticket\"") { own_gateway::program() } else { Path::new(BINARY) }
}

/// Puts in what a reader would: `"<printed by: portcullis key new>"` is the value that this command prints.
fn fill_in(text: &str) -> String {
    const OPEN: &str = "\"<printed by: portcullis ";
    let Some((before, rest)) = text.split_once(OPEN) else { return text.to_owned() };
    let (command, after) = rest.split_once(">\"").expect("a command ends");
    let field = before.rsplit('\n').next().unwrap_or_default();
    let mut asked = Command::new(BINARY);
    asked.args(command.split(' ')).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut asked = asked.spawn().expect("the binary starts");
    // Not read by a command that makes the secret itself.
    let _ = asked.stdin.take().expect("a pipe").write_all(b"a password of the tests");
    let printed = asked.wait_with_output().expect("the binary ends").stdout;
    let printed = String::from_utf8(printed).expect("text");
    let value = printed.lines().find_map(|line| line.strip_prefix(field));
    let value = value.unwrap_or_else(|| panic!("`portcullis {command}` prints no `{field}`:\n{printed}"));
    format!("{before}{value}{}", fill_in(after))
}

/// Adds the tables that a piece needs: a listener in any case, and of the others those that it names.
fn add_what_is_missing(table: &mut Table) {
    let around: Table = AROUND.parse().expect("our own TOML");
    if let Some(route) = table.get_mut("routes").and_then(|routes| routes.get_mut("orders")) {
        fill(route, &around["routes"]["orders"]);
    }
    table.entry("listeners").or_insert_with(|| around["listeners"].clone());
    // A route names policies and an upstream.
    for kind in ["routes", "upstreams", "policies", "consumers"] {
        let text = table.to_string();
        for (name, entry) in around[kind].as_table().expect("a table of tables") {
            if text.contains(&format!("\"{name}\"")) {
                let known = table.entry(kind).or_insert_with(|| Table::new().into());
                known.as_table_mut().expect("a table of tables").entry(name).or_insert_with(|| entry.clone());
            }
        }
    }
}

/// Adds the keys of a table that another one lacks.
fn fill(shown: &mut Value, entry: &Value) {
    let (Some(shown), Some(entry)) = (shown.as_table_mut(), entry.as_table()) else { return };
    for (key, value) in entry {
        shown.entry(key).or_insert_with(|| value.clone());
    }
}

/// Runs `check` in a folder that has the files which pages name.
fn judge(program: &Path, toml: &str) -> Result<(), String> {
    let dir = TempDir::new().expect("a temporary directory");
    place_files(dir.path());
    fs::write(dir.path().join("portcullis.toml"), toml).expect("a file of our own");
    let mut command = Command::new(program);
    // Of secrets only the places are known here.
    command.args(["check", "--no-secrets", "-c", "portcullis.toml"]).current_dir(dir.path());
    let output = command.env("SYSTEMD_UNIT_PATH", "/nowhere").output().expect("the binary starts");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn place_files(dir: &Path) {
    let ca = Authority::new("An authority of the tests");
    let api = ca.issue(Leaf::server("api.example.com").key(KeyType::Rsa2048));
    let ecdsa = ca.issue(Leaf::server("api.example.com").key(KeyType::P256));
    let files = [
        ("tls/api.pem", api.chain_pem()),
        ("tls/api.key", api.key_pem()),
        ("tls/api-ecdsa.pem", ecdsa.chain_pem()),
        ("tls/gateway.pem", ca.issue(Leaf::client("gateway")).chain_pem()),
        ("tls/internal-ca.pem", ca.pem()),
        ("tls/partners-ca.pem", ca.pem()),
        ("tls/partners.crl", Crl::of(&ca).pem()),
        ("acme.secret", "s3cret".to_owned()),
    ];
    fs::create_dir(dir.join("tls")).expect("a folder of our own");
    for (name, text) in files {
        fs::write(dir.join(name), text).expect("a file of our own");
    }
}

/// The file that a newcomer copies needs nothing around it, and gives rise to no warning.
#[test]
fn the_file_of_the_main_page_is_whole() {
    let page = super::Page::read("README.md");
    let block = page.blocks.iter().find(|block| block.language == "toml").expect("a configuration");
    let text = fill_in(&block.text);
    let dir = TempDir::new().expect("a temporary directory");
    fs::write(dir.path().join("portcullis.toml"), text).expect("a file of our own");
    let mut command = Command::new(BINARY);
    command.args(["check", "-c", "portcullis.toml"]).current_dir(dir.path());
    let output = command.output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    // Of the machine, and not of the file.
    let said: Vec<&str> = said.lines().filter(|line| !line.contains("`server.max_connections` is")).collect();
    assert!(output.status.success() && said.is_empty(), "{said:?}");
}

#[test]
fn a_piece_with_a_mistake_is_seen() {
    assert_eq!(check("[routes.orders]\nplugins = [{ use = \"roles\", all = [\"staff\"] }]\n"), Ok(()));
    for wrong in [
        "[routes.orders]\nplugins = [{ use = \"roles\", al = [\"staff\"] }]\n",
        "[policies.api]\nuse = \"jwt\"\nissuer = \"https://auth.example.com\"\n",
        "[routes.orders]\nauth = [\"nobody-knows\"]\n",
        "[routes.orders\n",
    ] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
}
