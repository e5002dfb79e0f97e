//! A service of systemd: the priority of its lines in the journal, and secrets that it gets when it starts.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, process::Command};

use tempfile::{NamedTempFile, TempDir};

use crate::harness::{Gateway, GatewayBuilder, eventually};

const GATEWAY: &str = r#"
[server]
control = "@DIR@/control.sock"

[[listeners]]
address = "127.0.0.1:0"

[routes.own]
paths = ["/own"]
respond = { body = "in" }
public = true
"#;

/// `JOURNAL_STREAM` as systemd sets it for a service whose output is this file.
fn stream(file: &NamedTempFile) -> String {
    let like = file.as_file().metadata().expect("our own file");
    format!("{}:{}", like.dev(), like.ino())
}

#[tokio::test]
async fn a_refused_reload_is_an_error_to_the_journal_and_plain_json_to_anybody_else() {
    let (log, other) = (NamedTempFile::new().expect("a file"), NamedTempFile::new().expect("a file"));
    for (stream, priority) in [(stream(&log), "<3>"), (stream(&other), "")] {
        log.as_file().set_len(0).expect("our own file");
        let builder = Gateway::builder(GATEWAY).env("JOURNAL_STREAM", &stream);
        let gateway = builder.log_to(log.reopen().expect("our own file")).spawn();
        let line = |words: &str| {
            let text = fs::read_to_string(log.path()).expect("our own file");
            text.lines().find(|line| line.contains(words)).map(str::to_owned)
        };
        eventually("it serves", async || line("\"event\":\"ready\"").is_some()).await;
        assert!(line("\"event\":\"ready\"").is_some_and(|line| line.starts_with('{')));
        gateway.rewrite("[server");
        assert_eq!(gateway.reload().await.code, 2);
        eventually("it is told", async || line("the configuration was refused").is_some()).await;
        let refused = line("the configuration was refused").unwrap_or_default();
        assert!(refused.starts_with(&format!("{priority}{{")), "{refused}");
        gateway.stop().await;
    }
}

#[test]
fn each_line_of_a_refused_configuration_is_an_error_to_the_journal() {
    let (dir, errors) = (TempDir::new().expect("a directory"), NamedTempFile::new().expect("a file"));
    let config = dir.path().join("portcullis.toml");
    fs::write(&config, "[server]\nthreads = -1\ndrain_timeout = 1\n").expect("our own file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("check").arg("-c").arg(&config).env("JOURNAL_STREAM", stream(&errors));
    let status = command.stderr(errors.reopen().expect("our own file")).status().expect("the binary starts");
    let said = fs::read_to_string(errors.path()).expect("our own file");
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.lines().count() >= 2 && said.lines().all(|line| line.starts_with("<3>")), "{said}");
}

const SECRETS: &str = r#"
[admin]
listen = "127.0.0.1:0"
token = { credential = "admin" }

[policies.tokens]
use = "jwt"
issuer = "https://auth.example.com"
audience = ["https://api.example.com"]
algorithms = ["HS256"]
secret = { env = "TOKEN_SECRET" }

[routes.protected]
paths = ["/protected"]
respond = { body = "in" }
auth = ["tokens"]
"#;

const SECRET: &str = "a secret of no less than thirty-two bytes";

/// A machine with a unit, whose service gets a credential and a variable from files of these contents.
struct Machine(TempDir);

impl Machine {
    fn new(settings: &str) -> Self {
        let machine = Self(TempDir::new().expect("a directory"));
        fs::create_dir(machine.path().join("units")).expect("our own directory");
        let settings = settings.replace("@DIR@", &machine.path().display().to_string());
        machine.write("units/portcullis.service", &format!("[Service]\n{settings}"));
        machine.write("source", "the token of the admin listener");
        machine.write("environment", &format!("# secrets\nTOKEN_SECRET=\"{SECRET}\"\n"));
        machine
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path().join(path), text).expect("our own file");
    }

    fn builder(&self) -> GatewayBuilder {
        let units = self.path().join("units").display().to_string();
        Gateway::builder(&(GATEWAY.to_owned() + SECRETS)).env("SYSTEMD_UNIT_PATH", &units)
    }
}

#[tokio::test]
async fn a_reload_tells_of_secrets_that_are_those_of_the_start() {
    let machine = Machine::new("LoadCredential=admin:@DIR@/source\nEnvironmentFile=-@DIR@/environment\n");
    let given = machine.path().join("given");
    fs::create_dir(&given).expect("our own directory");
    fs::copy(machine.path().join("source"), given.join("admin")).expect("our own file");
    let builder = machine.builder().env("CREDENTIALS_DIRECTORY", &given.display().to_string());
    let gateway = builder.env("TOKEN_SECRET", SECRET).start().await;

    let unchanged = gateway.reload().await;
    let names = "the systemd credential `admin`, the environment variable `TOKEN_SECRET`";
    assert!(unchanged.stdout.contains(&format!("until a restart: {names}")), "{}", unchanged.stdout);
    assert_eq!((unchanged.code, unchanged.stderr.as_str()), (0, ""));

    for (file, text, secret) in [
        ("source", "another token of the admin listener", "the systemd credential `admin`"),
        (
            "environment",
            "TOKEN_SECRET=\"another secret of at least thirty-two bytes\"",
            "the environment variable `TOKEN_SECRET`",
        ),
    ] {
        machine.write(file, text);
        let output = gateway.reload().await;
        let path = machine.path().join(file);
        let told = format!("`{}` has changed, but {secret} was read when the service started", path.display());
        assert!(output.code == 0 && output.stderr.contains(&told), "{}", output.stderr);
        assert!(output.stderr.contains("`systemctl restart portcullis.service`"), "{}", output.stderr);
        assert!(!gateway.output().contains("another") && !output.stderr.contains("another"), "a secret is told");
    }
}

#[tokio::test]
async fn check_outside_of_the_service_knows_what_the_unit_gives() {
    let given = "LoadCredential=admin:@DIR@/source\n";
    let variable = "EnvironmentFile=@DIR@/environment\n";
    for (settings, code, words) in [
        (format!("{given}{variable}"), 0, ""),
        (given.to_owned(), 2, "the environment variable `TOKEN_SECRET` is not set, nor in an `EnvironmentFile=`"),
        (variable.to_owned(), 2, "the unit portcullis.service has no `LoadCredential=admin:...`"),
        (format!("LoadCredential=admin:/nowhere\n{variable}"), 2, "`/nowhere`: No such file"),
        (
            format!("LoadCredentialEncrypted=admin:@DIR@/source\n{variable}"),
            2,
            "cannot be judged outside of the service: portcullis.service has `LoadCredentialEncrypted=admin`",
        ),
    ] {
        let output = Machine::new(&settings).builder().check().await;
        assert!(output.code == code && output.stderr.contains(words), "{settings}: {}", output.stderr);
    }
}
