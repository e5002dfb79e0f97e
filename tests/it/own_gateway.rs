//! A gateway of one's own: the crate in `tests/own-gateway`, built by cargo as a user would, with an authenticator and a
//! plugin that takes part in every other hook. What the hooks are promised is witnessed here from end to end.
//!
//! - `answers`: plugins that answer by themselves, or add to whatever response ends the request.
//! - `commands`: every subcommand of it.
//! - `deadlines`: hooks that take too long, whose client leaves, or that panic.
//! - `held_bodies`: bodies that hooks read.
//! - `hooks`: what holds for each hook.
//! - `lent`: what plugins are lent beside the request.
//! - `own_paths`: paths that belong to a policy.
//! - `prepare`: hooks that wait once before a request is forwarded.
//! - `revoke`: tokens that count no longer.

mod answers;
mod commands;
mod deadlines;
mod held_bodies;
mod hooks;
mod lent;
mod own_paths;
mod prepare;
mod revoke;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::harness::{Asking, Client, Gateway, Upstream, key};

/// The folder of what is built for these tests.
fn ours() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_portcullis")).parent().expect("a binary lies in a folder")
}

/// Runs cargo on it. It shares the target directory, the profile and the lock file of the workspace, so that only what
/// differs is compiled.
fn cargo(subcommand: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("tests/own-gateway");
    std::fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).expect("a copy of the lock file");
    let profile = match ours().file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(profile) => profile,
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([subcommand, "--offline", "--quiet", "--profile", profile, "--target-dir"]);
    cargo.arg(ours().parent().expect("a profile's folder lies in the target directory")).current_dir(&folder);
    // What the workspace says about its dependencies; a crate outside it has to be told. The engine itself is not worth
    // the time of an optimiser here.
    for setting in ["'*'.opt-level=1", "'*'.debug=false", "portcullis.opt-level=0"] {
        cargo.arg("--config").arg(format!("profile.dev.package.{setting}"));
    }
    let done = cargo.output().expect("cargo starts");
    let said = [&done.stdout, &done.stderr].map(|said| String::from_utf8_lossy(said));
    assert!(done.status.success(), "{}{}", said[0], said[1]);
}

/// Builds it, once for all scenarios.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        cargo("build");
        ours().join("own-gateway")
    })
}

#[test]
fn its_plugins_do_what_every_plugin_does() {
    program();
    cargo("test");
}

/// Policies of all three kinds, and a consumer with a credential for each authenticator. Routes come from a scenario.
const GATEWAY: &str = r#"
[server]
control = "@DIR@/control.sock"

[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.tickets]
use = "ticket"

[policies.keys]
use = "key-auth"

[policies.first]
use = "porter"
sign = "first"
book = "hall"
banned = "banned.txt"

[policies.second]
use = "porter"
sign = "second"
book = "hall"
banned = "banned.txt"

[consumers.acme]
groups = ["partners"]
tenant = "north"

[[consumers.acme.credentials]]
use = "ticket"
id = "acme-ticket"
secret = { file = "acme.secret" }

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-key"
sha256 = "@SHA256@"

[[consumers.other.credentials]]
use = "key-auth"
id = "other-key"
sha256 = "@OTHER@"

[consumers.guest]

"#;

/// What acme shows.
const TICKET: &str = "acme-ticket.open sesame";

/// A gateway of our own with these routes, and its upstream.
async fn start(routes: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let builder =
        Gateway::builder(&format!("{GATEWAY}{routes}")).program(program()).set("UPSTREAM", &upstream.address());
    let builder = builder.set("SHA256", &key("acme").1).set("OTHER", &key("other").1);
    let builder = builder.file("acme.secret", "open sesame\n").file("banned.txt", "Bad/1.0\nWorse/2.0\n");
    (builder.file("token.secret", "by the front door\n").start().await, upstream)
}

/// A route to the upstream that asks for a ticket, with these plugins.
fn route(plugins: &str) -> String {
    format!(
        "[routes.app]\npaths = [\"/app/{{*rest}}\"]\nupstream = \"app\"\nauth = [\"tickets\"]\nplugins = [{plugins}]\n"
    )
}

/// A porter with this beside its name and book.
fn porter(id: &str, more: &str) -> String {
    format!("{{ use = \"porter\", id = \"{id}\", sign = \"{id}\", book = \"{id}\", {more} }}")
}

/// A request with acme's ticket.
fn ticketed(asking: Asking<'_>) -> Asking<'_> {
    asking.header("x-ticket", TICKET)
}

/// What the porters' book says on an answer.
fn page(gateway: &Gateway) -> impl AsyncFn() -> String {
    let client = Client::http1(gateway.address(0));
    async move || {
        let answer = ticketed(client.get("/app/page")).send().await;
        answer.header("x-book").map_or_else(|| panic!("no book: {answer:?}"), str::to_owned)
    }
}
