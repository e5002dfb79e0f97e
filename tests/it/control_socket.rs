//! The control socket and the admin listener's: their modes, what becomes of one that is deleted, and of a gateway that ends
//! while it is asked. And signals to which nothing is bound.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::Path,
    time::Instant,
};

use crate::harness::{Client, Gateway, LIMIT, eventually};

const GATEWAY: &str = r#"
[server]
control = "@DIR@/control.sock"

[admin]
listen = "unix:@DIR@/admin.sock"

[[listeners]]
address = "127.0.0.1:0"

[routes.here]
paths = ["/here"]
public = true
respond = { body = "here" }
"#;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn sockets_have_their_mode_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let gateway = Gateway::builder(GATEWAY).umask(umask).start().await;
        let modes = ["control.sock", "admin.sock"].map(|name| mode(&gateway.dir().join(name)));
        assert_eq!(modes, [0o600, 0o660], "umask {umask}");
    }
}

#[tokio::test]
async fn a_control_socket_that_was_deleted_is_made_again_by_sighup() {
    let gateway = Gateway::start(GATEWAY).await;
    let path = gateway.dir().join("control.sock");
    for round in 2..4 {
        fs::remove_file(&path).expect("our own file");
        let lost = gateway.reload().await;
        assert_eq!(lost.code, 1, "{lost:?}");
        gateway.signal(libc::SIGHUP);
        let taken = |line: &serde_json::Value| line["event"] == "reload" && line["generation"] == 2 * round - 2;
        gateway.wait_line(taken, LIMIT).await;
        assert_eq!((mode(&path), gateway.reload().await.code), (0o600, 0));
    }
    let told = gateway.output().matches("was deleted: made it again").count();
    assert_eq!(told, 2, "{}", gateway.output());
    assert!(gateway.stop().await.success());
    assert!(!path.exists(), "the socket is left behind");
}

/// Asks the admin listener over its socket; `None`: nobody listens there.
fn readiness(path: &Path) -> Option<String> {
    let mut socket = UnixStream::connect(path).ok()?;
    socket.write_all(b"GET /readyz HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[tokio::test]
async fn an_admin_socket_that_was_deleted_is_made_again_by_sighup() {
    let gateway = Gateway::start(GATEWAY).await;
    let path = gateway.dir().join("admin.sock");
    for round in 2..4 {
        fs::remove_file(&path).expect("our own file");
        assert_eq!(readiness(&path), None);
        gateway.signal(libc::SIGHUP);
        gateway.wait_line(|line| line["event"] == "reload" && line["generation"] == round, LIMIT).await;
        let answer = readiness(&path).expect("it listens");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(mode(&path), 0o660);
    }
    let told = gateway.output().matches("the admin socket").count();
    assert_eq!(told, 2, "{}", gateway.output());
    assert!(gateway.stop().await.success());
    assert!(!path.exists(), "the socket is left behind");
}

#[tokio::test]
async fn a_socket_of_somebody_else_in_its_place_is_left_alone() {
    let folder = tempfile::TempDir::new().expect("a temporary directory");
    let path = folder.path().join("control.sock");
    let shared = GATEWAY.replace("@DIR@/control.sock", &path.display().to_string());
    let first = Gateway::start(&shared).await;
    fs::remove_file(&path).expect("our own file");
    let second = Gateway::start(&shared).await;
    first.signal(libc::SIGHUP);
    let warned = |line: &serde_json::Value| {
        line["message"].as_str().is_some_and(|text| text.contains("cannot be made again: another gateway"))
    };
    first.wait_line(warned, LIMIT).await;
    assert!(first.stop().await.success());
    assert_eq!(second.reload().await.code, 0, "its socket was taken away");
}

#[tokio::test]
async fn a_gateway_that_ends_during_a_reload_is_told_as_that() {
    let mut gateway = Gateway::start(GATEWAY).await;
    let path = gateway.dir().join("control.sock");
    // It can take a caller and answer nothing.
    gateway.signal(libc::SIGSTOP);
    let reload = tokio::spawn(gateway.reload_command());
    let callers = async || fs::read_to_string("/proc/net/unix").is_ok_and(|all| waiting(&all, &path) > 1);
    eventually("the command has connected", callers).await;
    gateway.signal(libc::SIGKILL);
    let reload = reload.await.expect("the command ends");
    assert_eq!(reload.code, 4, "{reload:?}");
    assert!(reload.stderr.contains("ended before it answered"), "{reload:?}");
    assert!(!gateway.ended(LIMIT).await.success());
    // Nobody there to begin with is another matter.
    assert_eq!(gateway.reload().await.code, 1);
}

/// The sockets of this path, connections that wait to be accepted among them.
fn waiting(all: &str, path: &Path) -> usize {
    all.lines().filter(|line| line.ends_with(path.to_str().expect("text"))).count()
}

#[tokio::test]
async fn signals_to_which_nothing_is_bound_change_nothing() {
    let gateway = Gateway::start(GATEWAY).await;
    for (signal, name) in [(libc::SIGUSR1, "SIGUSR1"), (libc::SIGUSR2, "SIGUSR2"), (libc::SIGQUIT, "SIGQUIT")] {
        gateway.signal(signal);
        let noted = |line: &serde_json::Value| line["message"] == format!("ignored {name}: nothing is bound to it");
        gateway.wait_line(noted, LIMIT).await;
    }
    assert_eq!(Client::http1(gateway.address(0)).get("/here").send().await.text(), "here");
    assert_eq!(gateway.reload().await.code, 0);
    // Nor do they hold up or hasten an end.
    gateway.signal(libc::SIGQUIT);
    let started = Instant::now();
    assert!(gateway.stop().await.success() && started.elapsed() < LIMIT);
}

#[tokio::test]
async fn many_callers_that_say_nothing_keep_nobody_out_for_good() {
    let gateway = Gateway::start(GATEWAY).await;
    let path = gateway.dir().join("control.sock");
    let silent: Vec<_> = (0..40).map(|_| UnixStream::connect(&path).expect("it listens")).collect();
    drop(silent);
    eventually("the slots are free again", async || gateway.reload().await.code == 0).await;
}
