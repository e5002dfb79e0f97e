//! The process among others: systemd, its sockets, its neighbours.

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::harness::{Client, Gateway, GatewayBuilder, LIMIT, Systemd, within};

const GATEWAY: &str = r#"
[server]
control = "@DIR@/control.sock"

[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[routes.here]
paths = ["/here"]
public = true
respond = { body = "@NAME@" }
"#;

fn builder(name: &str) -> GatewayBuilder {
    Gateway::builder(GATEWAY).set("NAME", name)
}

/// The configuration with its control socket elsewhere.
fn controlled_at(path: impl std::fmt::Display) -> String {
    GATEWAY.replace("@DIR@/control.sock", &path.to_string())
}

async fn answers(gateway: &Gateway, name: &str) {
    assert_eq!(Client::http1(gateway.address(0)).get("/here").send().await.text(), name);
}

#[tokio::test]
async fn systemd_is_told_of_the_start_of_reloads_and_of_the_stop() {
    let systemd = Systemd::listen();
    let gateway = builder("a").env("NOTIFY_SOCKET", systemd.address()).start().await;
    let ready = systemd.next().await;
    assert!(ready.says("READY"));
    assert_eq!(ready.value("STATUS"), Some("generation 1, 1 route"));
    // By the time it says so it serves.
    answers(&gateway, "a").await;

    let before = monotonic_usec();
    gateway.signal(libc::SIGHUP);
    let reloading = systemd.next().await;
    assert!(reloading.says("RELOADING") && !reloading.says("READY"));
    let at: u64 = reloading.value("MONOTONIC_USEC").expect("a time").parse().expect("a number");
    assert!((before..=monotonic_usec()).contains(&at), "{at} is not of this reload, which began at {before}");
    let ready = systemd.next().await;
    assert!(ready.says("READY"));
    assert_eq!(ready.value("STATUS"), Some("generation 2, 1 route"));

    assert!(gateway.stop().await.success());
    assert!(systemd.next().await.says("STOPPING"));
}

/// CLOCK_MONOTONIC, by which systemd knows its own `ExecReload` from an older one.
fn monotonic_usec() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes to a value that is there.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) }, 0);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1000).expect("after the start of the machine")
}

#[tokio::test]
async fn a_start_that_is_refused_is_never_ready() {
    let systemd = Systemd::listen();
    let wrong = Gateway::builder("colour = 1").env("NOTIFY_SOCKET", systemd.address());
    assert_eq!(wrong.fails().await.0, 2);
    let gateway = builder("a").env("NOTIFY_SOCKET", systemd.address()).start().await;
    // The first that systemd hears is of the one that did start.
    assert!(systemd.next().await.says("READY"));
    answers(&gateway, "a").await;
}

#[tokio::test]
async fn who_does_not_read_its_notifications_holds_up_neither_reload_nor_stop() {
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let path = dir.path().join("notify");
    // A queue that nobody empties; the kernel lets a few datagrams in.
    let _deaf = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket in our own directory");
    let gateway = builder("a").env("NOTIFY_SOCKET", &path.display().to_string()).start().await;
    let told = async || {
        gateway
            .lines()
            .iter()
            .any(|line| line["message"].as_str().is_some_and(|it| it.contains("systemd was not told")))
    };
    let mut reloads = 0;
    let began = Instant::now();
    while !told().await {
        assert_eq!(gateway.reload().await.code, 0);
        reloads += 1;
        assert!(began.elapsed() < LIMIT, "{reloads} reloads, and no word of systemd");
    }
    answers(&gateway, "a").await;
    let stopping = Instant::now();
    assert!(gateway.stop().await.success());
    assert!(stopping.elapsed() < Duration::from_secs(4), "{:?}", stopping.elapsed());
}

#[tokio::test]
async fn systemd_may_listen_in_the_abstract_namespace() {
    use std::os::linux::net::SocketAddrExt as _;
    let name = format!("portcullis-test-{}-{:?}", std::process::id(), std::thread::current().id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a short name");
    let socket = std::os::unix::net::UnixDatagram::bind_addr(&address).expect("a free name");
    socket.set_read_timeout(Some(LIMIT)).expect("a time");
    let _gateway = builder("a").env("NOTIFY_SOCKET", &format!("@{name}")).start().await;
    let mut message = [0; 512];
    let length = socket.recv(&mut message).expect("a message");
    assert!(message[..length].starts_with(b"READY=1\n"), "{}", String::from_utf8_lossy(&message[..length]));
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_end_with_words_and_nothing_is_left_listening() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let other = free.local_addr().expect("it is bound");
    drop(free);
    let listener = "[[listeners]]\naddress = \"127.0.0.1:0\"";
    let first = format!("[[listeners]]\naddress = \"{other}\"\n\n");
    for toml in [
        GATEWAY.replace(listener, &format!("{first}[[listeners]]\naddress = \"{address}\"")),
        GATEWAY
            .replace(listener, &format!("{first}{listener}"))
            .replace("listen = \"127.0.0.1:0\"", &format!("listen = \"{address}\"")),
    ] {
        let systemd = Systemd::listen();
        let builder = Gateway::builder(&toml).set("NAME", "a");
        let (code, errors) = builder.env("NOTIFY_SOCKET", systemd.address()).fails().await;
        assert_eq!(code, 1, "{errors}");
        assert!(errors.starts_with("error: ") && errors.contains(&address) && errors.contains("in use"), "{errors}");
        assert!(!errors.contains("panicked"), "{errors}");
        assert!(TcpStream::connect(other).await.is_err(), "the other listener was left behind");
    }
}

#[tokio::test]
async fn a_control_socket_that_cannot_be_had_is_an_end_with_words() {
    let nowhere = Gateway::builder(&controlled_at("/proc/none/control.sock")).set("NAME", "a");
    let (code, errors) = nowhere.fails().await;
    assert!(code == 1 && errors.contains("server.control") && errors.contains("/proc/none"), "{code}: {errors}");
    // `portcullis reload` would look for it in another folder.
    let (code, errors) = Gateway::fails(&controlled_at("run/control.sock")).await;
    assert!(code == 2 && errors.contains("server.control") && errors.contains("absolute"), "{code}: {errors}");
}

#[tokio::test]
async fn the_control_socket_is_private_and_its_folder_too() {
    let deep = Gateway::builder(&controlled_at("@DIR@/run/gateway/control.sock")).set("NAME", "a");
    let gateway = deep.start().await;
    let folder = gateway.dir().join("run/gateway");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join("control.sock"))), (0o700, 0o600));
    assert!(fs::metadata(folder.join("control.sock")).expect("it is there").file_type().is_socket());
    assert_eq!(gateway.reload().await.code, 0);
}

#[tokio::test]
async fn a_control_socket_that_a_dead_gateway_left_is_replaced() {
    let gateway = builder("first").start().await;
    let path = gateway.dir().join("control.sock");
    gateway.signal(libc::SIGKILL);
    let mut gateway = gateway;
    assert!(!gateway.ended(LIMIT).await.success());
    assert!(path.exists(), "it had no chance to remove it");
    let second = Gateway::builder(&controlled_at(path.display())).set("NAME", "second").start().await;
    assert_eq!(second.reload().await.code, 0);
    answers(&second, "second").await;
}

#[tokio::test]
async fn a_second_gateway_on_the_same_control_socket_is_told_so_and_the_first_goes_on() {
    let first = builder("first").start().await;
    let path = first.dir().join("control.sock");
    let second = Gateway::builder(&controlled_at(path.display())).set("NAME", "second");
    let (code, errors) = second.fails().await;
    assert_eq!(code, 1);
    assert!(errors.contains("another gateway") && errors.contains(&path.display().to_string()), "{errors}");
    assert_eq!(first.reload().await.code, 0, "its socket was taken away");
    answers(&first, "first").await;
}

#[tokio::test]
async fn what_is_no_socket_is_not_removed_to_make_room_for_one() {
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let letter = dir.path().join("letter");
    fs::write(&letter, "somebody keeps this").expect("a file in our own directory");
    let admin = GATEWAY.replace("127.0.0.1:0\"\n\n[[", &format!("unix:{}\"\n\n[[", letter.display()));
    for toml in [controlled_at(letter.display()), admin] {
        let (code, errors) = Gateway::fails(&toml).await;
        assert!(code == 1 && errors.contains("no socket"), "{code}: {errors}");
        assert_eq!(fs::read_to_string(&letter).expect("it is there"), "somebody keeps this");
    }
}

#[tokio::test]
async fn the_control_socket_takes_one_wish_and_no_other() {
    use std::io::{Read as _, Write as _};
    let gateway = builder("a").start().await;
    let path = gateway.dir().join("control.sock");
    for request in ["stop\n", "reload now\n", "\n", "RELOAD\n", &"x".repeat(4096), "{\"reload\":true}\n"] {
        let mut socket = UnixStream::connect(&path).expect("it listens");
        socket.set_read_timeout(Some(LIMIT)).expect("a time");
        // It may have closed already.
        let _ = socket.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{request:?}: {}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(gateway.metric("portcullis_config_generation").await, 1.0);
    // One who says nothing does not keep others out for long.
    let _silent = UnixStream::connect(&path).expect("it listens");
    assert_eq!(gateway.reload().await.code, 0);
}

#[tokio::test]
async fn two_gateways_live_side_by_side() {
    let (first, second) = (builder("first").start().await, builder("second").start().await);
    first.rewrite(&GATEWAY.replace("@NAME@", "first, changed"));
    assert_eq!(first.reload().await.code, 0);
    answers(&first, "first, changed").await;
    answers(&second, "second").await;
    assert_eq!(second.metric("portcullis_config_generation").await, 1.0);
    assert!(first.stop().await.success());
    answers(&second, "second").await;
    assert_eq!(second.reload().await.code, 0);
}

/// A user who has logged in by `su` or runs in a container: no directory for sockets, and `/run` is not theirs.
#[tokio::test]
async fn without_a_place_for_its_control_socket_it_says_that_no_reload_will_find_it() {
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("our own directory");
    let config = dir.path().join("portcullis.toml");
    fs::write(&config, "[[listeners]]\naddress = \"127.0.0.1:0\"\n").expect("a file in our own directory");
    // Where the tests run as root, the binary may lie where nobody else may look.
    let program = dir.path().join("portcullis");
    fs::copy(env!("CARGO_BIN_EXE_portcullis"), &program).expect("room for the binary");
    let mut command = tokio::process::Command::new(&program);
    command.arg("run").arg("-c").arg(&config).env_remove("RUNTIME_DIRECTORY").env_remove("XDG_RUNTIME_DIR");
    // SAFETY: `geteuid` only reads.
    if unsafe { libc::geteuid() } == 0 {
        command.uid(65_534);
    }
    let mut gateway = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the binary starts");
    let mut lines = BufReader::new(gateway.stdout.take().expect("it is piped")).lines();
    let warned = within("the gateway says so", async {
        while let Some(line) = lines.next_line().await.expect("text") {
            if line.contains("`portcullis reload` and `portcullis revoke` will not work, SIGHUP will") {
                return line;
            }
        }
        panic!("it ended without a word of it");
    });
    let line = warned.await;
    assert!(line.contains("\"level\":\"warn\"") && line.contains("$XDG_RUNTIME_DIR"), "{line}");
}

#[tokio::test]
async fn it_writes_no_file_but_its_sockets() {
    let of_ours = || -> Vec<_> {
        let names = fs::read_dir(std::env::temp_dir()).expect("a readable directory");
        let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| name.contains("pingora")).collect()
    };
    let before = of_ours();
    let gateway = builder("a").file("tmp/.keep", "").env("TMPDIR", "/nonexistent").start().await;
    assert_eq!(gateway.reload().await.code, 0);
    answers(&gateway, "a").await;
    let entries = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).expect("our own directory");
        let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    };
    assert_eq!(entries(gateway.dir()), ["control.sock", "portcullis.toml", "tmp"]);
    let open = fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("a process of ours");
    let files: Vec<_> =
        open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).filter(|path| path.is_file()).collect();
    assert!(files.is_empty(), "files that stay open: {files:?}");
    assert_eq!(of_ours(), before);
}
