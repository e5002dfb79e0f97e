//! File descriptors that run out: told beforehand, named when it happens, and over when they are free again.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};

use crate::harness::{Client, Gateway, LIMIT, Upstream, eventually};

const GATEWAY: &str = r#"
[server]
max_connections = @CONNECTIONS@
max_connections_per_address = @CONNECTIONS@

[[listeners]]
address = "127.0.0.1:0"

[upstreams.app]
targets = ["@UPSTREAM@"]

[routes.own]
paths = ["/own"]
respond = { body = "in" }
public = true

[routes.app]
paths = ["/app"]
upstream = "app"
public = true
"#;

/// A program that runs the gateway under a limit, in the words of the shell's `ulimit`.
fn limited(dir: &TempDir, limit: &str) -> PathBuf {
    let path = dir.path().join("limited");
    let script = format!("#!/bin/sh\nulimit {limit}\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_portcullis"));
    fs::write(&path, script).expect("a file in our own directory");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("our own file");
    path
}

#[tokio::test]
async fn descriptors_that_run_out_are_503_and_named_and_nobody_elses_fault() {
    let (dir, upstream) = (TempDir::new().expect("a temporary directory"), Upstream::start());
    let builder = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).set("CONNECTIONS", &1000);
    let gateway = builder.program(&limited(&dir, "-n 80")).start().await;
    let is_warning = |line: &Value| {
        line["level"] == "warn" && line["message"].as_str().is_some_and(|text| text.contains("2128 file descriptors"))
    };
    gateway.wait_line(is_warning, LIMIT).await;

    let client = Client::http1(gateway.address(0));
    assert_eq!(client.get("/own").send().await.status, 200);
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(gateway.address(0)).await.expect("the system takes it"));
    }
    let is_refused = |line: &Value| line["message"].as_str().is_some_and(|text| text.contains("Too many open files"));
    gateway.wait_line(is_refused, LIMIT).await;
    // The next one for the control socket cannot be accepted.
    let caller = UnixStream::connect(gateway.dir().join("control.sock")).await.expect("the system takes it");
    let is_of_control = |line: &Value| {
        line["message"].as_str().is_some_and(|text| text.starts_with("control socket: Too many open files"))
    };
    gateway.wait_line(is_of_control, LIMIT).await;
    let answer = client.get("/app").send().await;
    assert_eq!((answer.status, client.connections().await), (503, 1), "{}", gateway.output());
    assert!(answer.text().contains("\"code\":\"unavailable\""), "{}", answer.text());
    let line = gateway.access(|line| line["status"] == 503).await;
    assert_eq!((&line["error"], &line["unreached"]), (&"gateway: too many open files".into(), &Value::Null));
    assert_eq!(upstream.requests(), 0);

    let told = gateway.lines().iter().filter(|line| is_of_control(line)).count();
    assert!(told < 300, "it tries again all the time: {told}");
    drop((idle, caller));
    eventually("descriptors are free again", async || client.get("/app").send().await.status == 200).await;
}

#[tokio::test]
async fn the_soft_limit_is_raised_to_the_hard_one() {
    let (dir, upstream) = (TempDir::new().expect("a temporary directory"), Upstream::start());
    let builder = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).set("CONNECTIONS", &500);
    let gateway = builder.program(&limited(&dir, "-S -n 80")).start().await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(gateway.address(0)).await.expect("the system takes it"));
    }
    assert_eq!(Client::http1(gateway.address(0)).get("/app").send().await.status, 200);
    assert!(!gateway.output().contains("file descriptors"), "{}", gateway.output());
}

#[tokio::test]
async fn check_warns_of_more_connections_than_descriptors() {
    let dir = TempDir::new().expect("a temporary directory");
    for (limit, is_short) in [("-n 1127", true), ("-n 1128", false), ("-S -n 80", false)] {
        let builder = Gateway::builder(GATEWAY).set("UPSTREAM", "127.0.0.1:9").set("CONNECTIONS", &500);
        let output = builder.program(&limited(&dir, limit)).check().await;
        let warning = "warning: `server.max_connections` is 500";
        assert_eq!((output.code, output.stderr.contains(warning)), (0, is_short), "{limit}: {}", output.stderr);
    }
}
