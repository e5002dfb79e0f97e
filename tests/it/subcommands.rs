//! The command line: what people and scripts see of it.

use std::{
    fs,
    io::Read as _,
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    path::Path,
    process::{Command, Stdio},
};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::harness::{Client, Gateway, LIMIT, Upstream, key, portcullis};

const BINARY: &str = env!("CARGO_BIN_EXE_portcullis");

const SUBCOMMANDS: [&str; 6] = ["run", "check", "reload", "key", "plugins", "completions"];

const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.keys]
use = "key-auth"

[routes.app]
paths = ["/{*rest}"]
upstream = "app"
auth = ["keys"]

[consumers.acme]

[[consumers.acme.credentials]]
use = "key-auth"
id = "first"
sha256 = "1111111111111111111111111111111111111111111111111111111111111111"
"#;

/// What a start would take.
fn sample() -> (TempDir, String) {
    let dir = TempDir::new().expect("a temporary directory");
    let file = dir.path().join("portcullis.toml");
    fs::write(&file, GATEWAY.replace("@UPSTREAM@", "127.0.0.1:9")).expect("a file in our own directory");
    let file = file.display().to_string();
    (dir, file)
}

#[tokio::test]
async fn help_names_every_subcommand_and_exit_code() {
    for arguments in [vec!["--help"], vec!["-h"], vec!["help"]] {
        let help = portcullis(&arguments, "").await;
        assert_eq!((help.code, help.stderr.as_str()), (0, ""));
        for word in SUBCOMMANDS.into_iter().chain(["Exit codes: 0 done; 1 it failed; 2 the configuration"]) {
            assert!(help.stdout.contains(word), "no {word:?} in:\n{}", help.stdout);
        }
    }
    for subcommand in SUBCOMMANDS {
        let help = portcullis(&[subcommand, "--help"], "").await;
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{subcommand}");
        assert!(help.stdout.contains(&format!("Usage: portcullis {subcommand}")), "{}", help.stdout);
    }
    for subcommand in ["run", "check", "reload"] {
        let help = portcullis(&[subcommand, "--help"], "").await.stdout;
        assert!(help.contains("-c, --config <FILE>") && help.contains("/etc/portcullis/portcullis.toml"), "{help}");
    }
    let version = portcullis(&["--version"], "").await;
    assert_eq!((version.code, version.stdout), (0, format!("portcullis {}\n", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn a_wrong_command_line_is_2_and_told_on_standard_error() {
    let (_dir, file) = sample();
    for arguments in [
        vec![],
        vec!["rum"],
        vec!["run", "--no-such-option"],
        vec!["check", "-c", &file, "more"],
        vec!["check", "-c"],
        vec!["key"],
        vec!["key", "hash", "a-key-does-not-belong-on-a-command-line"],
        vec!["key", "new", "--expires", "soon"],
        vec!["key", "new", "--prefix", "with space"],
        vec!["plugins", "show"],
        vec!["completions", "no-such-shell"],
    ] {
        let output = portcullis(&arguments, "").await;
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{arguments:?}: {output:?}");
        assert!(output.stderr.contains("Usage: ") || output.stderr.contains("--help"), "{arguments:?}: {output:?}");
    }
    assert!(portcullis(&["rum"], "").await.stderr.contains("run"), "no suggestion");
}

#[tokio::test]
async fn check_says_what_there_is_or_everything_that_is_wrong() {
    let (dir, file) = sample();
    let good = portcullis(&["check", "--config", &file], "").await;
    assert_eq!((good.code, good.stdout), (0, format!("{file}: 1 route, 1 policy, 1 credential\n")));
    // Of the machine, and not of the file: how many descriptors a process may open there.
    let is_of_machine = |line: &str| line.starts_with("warning: `server.max_connections` is");
    assert!(good.stderr.lines().all(is_of_machine), "{}", good.stderr);
    assert_eq!(fs::read_dir(dir.path()).expect("our own directory").count(), 1, "it left something");

    fs::write(&file, GATEWAY.replace("auth =", "outh =")).expect("our own file");
    let bad = portcullis(&["check", "-c", &file], "").await;
    assert_eq!((bad.code, bad.stdout.as_str()), (2, ""), "{bad:?}");
    for wrong in ["outh", "@UPSTREAM@"] {
        assert!(bad.stderr.contains(wrong), "nothing about {wrong}: {}", bad.stderr);
    }
    let missing = portcullis(&["check", "-c", "/nonexistent/portcullis.toml"], "").await;
    assert!(missing.code == 2 && missing.stderr.contains("/nonexistent/portcullis.toml"), "{missing:?}");
}

#[tokio::test]
async fn check_binds_nothing() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).start().await;
    let (dir, file) = sample();
    let fixed = [gateway.address(0), gateway.admin()]
        .into_iter()
        .fold(GATEWAY.to_owned(), |toml, address| toml.replacen("127.0.0.1:0", &address.to_string(), 1));
    let control = format!("[server]\ncontrol = \"{}\"\n", gateway.dir().join("control.sock").display());
    fs::write(&file, control + &fixed.replace("@UPSTREAM@", "127.0.0.1:9")).expect("our own file");
    assert_eq!(portcullis(&["check", "-c", &file], "").await.code, 0);
    assert_eq!(gateway.reload().await.code, 0, "the control socket was taken away");
    drop(dir);
}

#[tokio::test]
async fn check_without_secrets_is_for_machines_that_have_none() {
    let (_dir, file) = sample();
    let secret = GATEWAY.replace("listen =", "token = { credential = \"admin-token\" }\nlisten =");
    fs::write(&file, secret.replace("@UPSTREAM@", "no-such-name.invalid:9")).expect("our own file");
    let with = portcullis(&["check", "-c", &file], "").await;
    assert!(with.code == 2 && with.stderr.contains("admin.token"), "{with:?}");
    let without = portcullis(&["check", "--no-secrets", "-c", &file], "").await;
    assert_eq!(without.code, 0, "{without:?}");
}

#[tokio::test]
async fn what_the_repository_shows_is_taken() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/portcullis.toml");
    let check = portcullis(&["check".as_ref(), "-c".as_ref(), file.as_os_str()], "").await;
    assert_eq!(check.code, 0, "{check:?}");
}

#[tokio::test]
async fn a_reload_without_a_gateway_is_1_and_says_where_it_looked() {
    let (dir, file) = sample();
    let socket = dir.path().join("nobody.sock").display().to_string();
    let reload = portcullis(&["reload", "-c", &file, "--socket", &socket], "").await;
    assert_eq!((reload.code, reload.stdout.as_str()), (1, ""));
    assert!(reload.stderr.starts_with("error: ") && reload.stderr.contains(&socket), "{reload:?}");
    // As the file has it.
    fs::write(&file, format!("[server]\ncontrol = \"{socket}\"\n")).expect("our own file");
    let reload = portcullis(&["reload", "-c", &file], "").await;
    assert!(reload.code == 1 && reload.stderr.contains(&socket), "{reload:?}");
    assert!(reload.stderr.contains("as the file has it now") && reload.stderr.contains("--socket"), "{reload:?}");
}

#[tokio::test]
async fn what_is_wrong_with_the_file_is_said_before_the_place_that_was_guessed() {
    let (dir, file) = sample();
    let broken = |toml: &str| fs::write(&file, toml).expect("our own file");
    let run = async |file: &str| {
        let mut command = tokio::process::Command::new(BINARY);
        command.args(["reload", "-c", file]).env("RUNTIME_DIRECTORY", dir.path());
        let output = command.output().await.expect("the binary starts");
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let guessed = format!("no gateway answers at {}", dir.path().join("control.sock").display());
    for (toml, why) in [
        (None, "No such file or directory"),
        (Some("[server]\ncontrol = 5\n"), "`server.control` is no text"),
        (Some("x = [\n"), ""),
    ] {
        match toml {
            Some(toml) => broken(toml),
            None => fs::remove_file(&file).expect("our own file"),
        }
        let (code, said) = run(&file).await;
        assert_eq!(code, Some(2), "{said}");
        let rest = said.strip_prefix(&format!("error: {file}: {why}")).unwrap_or_else(|| panic!("{said}"));
        assert!(rest.contains(&guessed) && rest.contains("a guess; say --socket"), "{said}");
    }
    // The file is right, and names no place.
    broken("");
    let (code, said) = run(&file).await;
    assert!(code == Some(1) && said.starts_with(&format!("error: {guessed} (the usual place")), "{said}");
    let folder = dir.path().display().to_string();
    let (code, said) = run(&folder).await;
    assert!(code == Some(2) && said.starts_with(&format!("error: {folder}: this is not a file")), "{said}");
}

#[tokio::test]
async fn plugins_are_listed_and_shown() {
    let list = portcullis(&["plugins", "list"], "").await;
    assert_eq!(list.code, 0);
    assert_eq!(portcullis(&["plugins"], "").await.stdout, list.stdout);
    for name in ["key-auth", "consumer-restriction"] {
        let line = list.stdout.lines().find(|line| line.starts_with(name)).expect("it is listed");
        assert!(line.len() > 30, "it is not said what it does: {line}");
        let show = portcullis(&["plugins", "show", name], "").await;
        assert_eq!((show.code, show.stderr.as_str()), (0, ""));
        assert!(show.stdout.starts_with(&format!("use = \"{name}\"\n")), "{}", show.stdout);
    }
    let about = list.stdout.lines().map(|line| line.split_once(' ').expect("a name and what it does").1.trim());
    let distinct: std::collections::HashSet<_> = about.clone().collect();
    assert_eq!(distinct.len(), about.count(), "two plugins that do the same:\n{}", list.stdout);
    let show = portcullis(&["plugins", "show", "key-auth"], "").await.stdout;
    for field in ["header", "scheme", "from", "keep_credential", "prefixes", "require_expiry", "max_age", "sha256"] {
        assert!(show.lines().any(|line| line.starts_with(&format!("  {field}: "))), "no {field} in:\n{show}");
    }
    let scopes = portcullis(&["plugins", "show", "scopes"], "").await.stdout;
    assert!(scopes.lines().any(|line| line.starts_with("  per_method: ")), "{scopes}");
    let json = portcullis(&["plugins", "show", "key-auth", "--json"], "").await;
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(json["name"], "key-auth");
    assert!(json["config"]["properties"]["header"].is_object(), "{json:#}");
    assert!(json["credential"]["properties"]["sha256"].is_object(), "{json:#}");

    let unknown = portcullis(&["plugins", "show", "key-atuh"], "").await;
    assert_eq!((unknown.code, unknown.stdout.as_str()), (1, ""));
    assert!(unknown.stderr.contains("`key-atuh`") && unknown.stderr.contains("`key-auth`"), "{unknown:?}");
}

/// The reference of a plugin is what this prints: a value that one may write stands there, and every field.
#[tokio::test]
async fn plugins_show_the_values_of_choices_and_the_fields_of_inner_tables() {
    for (name, lines) in [
        (
            "hmac",
            [
                "  body: \"signed\" or \"unsigned\"",
                "  scheme: \"portcullis\" or \"timestamp\" or \"cavage\" or \"aws4\"",
                "  attempts: boolean or table",
                "  replay: \"refuse\" or \"allow\"",
                "      dialects: list of \"draft\" or \"kong\" or \"apisix\"",
                "      env: string",
            ],
        ),
        (
            "jwt",
            [
                "  certificate_binding: \"required\" or \"when-present\"",
                "  consumer: table",
                "      by: \"subject\" or \"client\" or \"claim\"",
                "  headers: table of string",
                "          by: \"subject\" or \"client\" or \"claim\"",
                "      path: string, required",
            ],
        ),
        (
            "mtls",
            [
                "  consumer: \"required\" or \"optional\"",
                "  crl_policy: \"required\" or \"if-present\"",
                "  ocsp: table",
                "      on_failure: \"refuse\" or \"allow\"",
                "      trust_domains: list of string, required",
                "      networks: list of string, required",
            ],
        ),
    ] {
        let show = portcullis(&["plugins", "show", name], "").await.stdout;
        for line in lines {
            assert!(show.lines().any(|shown| shown == line), "no {line:?} in:\n{show}");
        }
        assert!(!show.contains("string or string"), "{show}");
        let told = |line: &str| line.split_once(": ").is_some_and(|(_, of)| of.ends_with("table"));
        let lines: Vec<_> = show.lines().collect();
        let indent = |line: &str| line.len() - line.trim_start().len();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| told(line)) {
            // Beside the description, which stands as far in, the fields of the table do.
            let below = lines[at + 1..].iter().take_while(|below| indent(below) > indent(line));
            let is_field = |below: &&str| indent(below) == indent(line) + 4 && below.contains(": ");
            assert!(below.clone().any(is_field), "{line:?} has no fields in:\n{show}");
        }
    }
}

#[tokio::test]
async fn a_new_key_opens_a_running_gateway_by_what_was_printed_with_it() {
    let made = portcullis(&["key", "new", "--prefix", "sk_live_", "--consumer", "acme", "--expires", "90d"], "").await;
    assert_eq!((made.code, made.stderr.as_str()), (0, ""));
    let (new, entry) = made.stdout.split_once("\n\n").expect("the key, an empty line, and the entry");
    assert!(new.starts_with("sk_live_") && new.len() == "sk_live_".len() + 49, "{new}");
    assert_eq!(made.stdout.matches(new).count(), 1, "the key is shown more than once");
    assert!(entry.contains("[[consumers.acme.credentials]]") && entry.contains("expires = "), "{entry}");

    let upstream = Upstream::start();
    let gateway = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).start().await;
    let client = Client::http1(gateway.address(0));
    assert_eq!(client.get("/a").header("x-api-key", new).send().await.status, 401);
    gateway.rewrite(&format!("{GATEWAY}\n{entry}"));
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!(client.get("/a").header("x-api-key", new).send().await.status, 200);
    assert_eq!(upstream.last().header("x-consumer"), Some("acme"));

    let other = portcullis(&["key", "new"], "").await.stdout;
    assert_ne!(other.lines().next(), Some(new));
}

#[tokio::test]
async fn a_hash_of_an_own_key_opens_a_running_gateway() {
    let own = key("brought-along").0;
    for input in [own.clone(), format!("{own}\n")] {
        let hash = portcullis(&["key", "hash"], &input).await;
        assert_eq!((hash.code, hash.stderr.as_str()), (0, ""));
        assert_eq!(hash.stdout.trim_end(), format!("sha256 = \"{}\"", hex::encode(Sha256::digest(&own))));
        let entry = format!("\n[[consumers.acme.credentials]]\nuse = \"key-auth\"\nid = \"own\"\n{}", hash.stdout);
        let upstream = Upstream::start();
        let gateway =
            Gateway::builder(&(GATEWAY.to_owned() + &entry)).set("UPSTREAM", &upstream.address()).start().await;
        let answer = Client::http1(gateway.address(0)).get("/a").header("x-api-key", &own).send().await;
        assert_eq!(answer.status, 200);
    }
    for short in ["", "\n", "too-short-to-be-a-key", &"x".repeat(31), &format!("{own} {own}")] {
        let refused = portcullis(&["key", "hash"], short).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{short:?}");
        assert!(short.len() < 2 || !refused.stderr.contains(short), "the key is shown: {}", refused.stderr);
    }
}

#[tokio::test]
async fn completions_are_what_the_shells_take() {
    let script = async |shell: &str| {
        let output = portcullis(&["completions", shell], "").await;
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{shell}");
        for word in SUBCOMMANDS {
            assert!(output.stdout.contains(word), "{shell} is not told of {word}");
        }
        output.stdout
    };
    let bash = script("bash").await;
    let complete =
        "\nCOMP_WORDS=(portcullis rel); COMP_CWORD=1; _portcullis portcullis rel portcullis; echo \"${COMPREPLY[*]}\"";
    let done = Command::new("bash").args(["--norc", "-c", &(bash + complete)]).output().expect("bash is everywhere");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "reload\n", "{}", String::from_utf8_lossy(&done.stderr));
    assert!(script("zsh").await.starts_with("#compdef portcullis\n"));
    assert!(script("fish").await.contains("complete -c portcullis "));
}

#[tokio::test]
async fn colours_are_for_terminals_alone() {
    const ESCAPE: char = '\u{1b}';
    for arguments in [&["--help"][..], &["rum"], &["plugins", "show", "none"], &["check", "-c", "/nonexistent"]] {
        let plain = portcullis(arguments, "").await;
        assert!(!plain.stdout.contains(ESCAPE) && !plain.stderr.contains(ESCAPE), "{arguments:?}: {plain:?}");
    }
    for arguments in [&["--help"][..], &["rum"], &["plugins", "show", "none"], &["check", "-c", "/nonexistent"]] {
        let shown = on_a_terminal(arguments, &[]);
        assert!(shown.contains(ESCAPE), "{arguments:?}: {shown:?}");
        let shown = on_a_terminal(arguments, &[("NO_COLOR", "1")]);
        assert!(!shown.contains(ESCAPE), "{arguments:?} in spite of NO_COLOR: {shown:?}");
    }
}

/// What a terminal shows of a command.
fn on_a_terminal(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let (mut ours, mut theirs) = (0, 0);
    let (name, size) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: both numbers are valid for the length of the call; the name and the settings may be absent.
    let opened = unsafe { libc::openpty(&raw mut ours, &raw mut theirs, name, std::ptr::null_mut(), size) };
    assert_eq!(opened, 0, "no terminal: {}", std::io::Error::last_os_error());
    // SAFETY: the call has succeeded, and nobody else owns them.
    let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    let mut command = Command::new(BINARY);
    command.args(arguments).stdin(Stdio::null());
    command.stdout(theirs.try_clone().expect("an open file")).stderr(theirs);
    command.env("TERM", "xterm").env_remove("NO_COLOR").envs(environment.iter().copied());
    let mut child = command.spawn().expect("the binary starts");
    // Its ends of the terminal are closed with it; reading then ends with an error (EIO).
    drop(command);
    let mut shown = Vec::new();
    let _ = fs::File::from(ours).read_to_end(&mut shown);
    child.wait().expect("a child of ours");
    String::from_utf8_lossy(&shown).into_owned()
}

#[tokio::test]
async fn a_reader_that_leaves_is_no_panic() {
    for arguments in
        [&["completions", "zsh"][..], &["plugins", "show", "key-auth", "--json"], &["key", "new"], &["--help"]]
    {
        let mut command = Command::new(BINARY);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = command.args(arguments).stdout(writer).stderr(Stdio::piped()).output().expect("the binary runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!told.contains("panicked"), "{arguments:?}: {told}");
    }
}

#[tokio::test]
async fn what_is_not_the_daemon_ends_by_a_signal_like_any_command() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let mut command = tokio::process::Command::new(BINARY);
        // It waits for a key that does not come.
        let child = command.args(["key", "hash"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.kill_on_drop(true).spawn().expect("the binary starts");
        let pid = child.id().and_then(|id| libc::pid_t::try_from(id).ok()).expect("it runs");
        // SAFETY: kill(2) touches no memory of ours, and our own child has not been waited for: its id is not reused.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
        let status = tokio::time::timeout(LIMIT, child.wait()).await.expect("it ends").expect("a child of ours");
        assert_eq!(status.signal(), Some(signal), "{status}");
    }
}

/// Only where nobody has a configuration in the usual place, as on the machines that run the tests.
#[tokio::test]
async fn without_a_configuration_in_the_usual_place_it_is_told_how_to_name_one() {
    if Path::new("/etc/portcullis/portcullis.toml").exists() {
        return;
    }
    let revoke = ["revoke", "--issuer", "https://id.example", "--all-tokens"];
    for arguments in [&["run"][..], &["check"], &["reload"], &["reload", "--socket", "/nonexistent.sock"], &revoke] {
        let output = portcullis(arguments, "").await;
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{arguments:?}: {output:?}");
        assert!(
            output.stderr.contains("/etc/portcullis/portcullis.toml") && output.stderr.contains("-c FILE"),
            "{output:?}"
        );
    }
}

#[tokio::test]
async fn no_password_is_not_a_short_one() {
    let output = portcullis(&["password", "hash"], "").await;
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output:?}");
    assert!(output.stderr.contains("no password came on standard input"), "{output:?}");
}
