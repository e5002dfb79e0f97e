//! A log that takes nothing: who may be let in only with an event is not let in, and everybody else is.

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    io::Read as _,
    net::{SocketAddr, TcpListener},
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::Path,
};

use tempfile::TempDir;

use crate::harness::{Client, Gateway, eventually, key};

const GATEWAY: &str = r#"
[[listeners]]
address = "@LISTEN@"

[log]
access = @ACCESS@

[audit]
on_full = "@ON_FULL@"
sample_successes = @SAMPLE@

[policies.keys]
use = "key-auth"

[routes.closed]
paths = ["/closed"]
auth = ["keys"]
respond = { body = "in\n" }

[routes.open]
paths = ["/open"]
public = true
respond = { body = "open\n" }

[consumers.acme]
credentials = [{ use = "key-auth", id = "good", sha256 = "@GOOD@" }]
"#;

struct Scene {
    gateway: Gateway,
    client: Client,
}

impl Scene {
    /// A gateway that writes its log to this file. Where it listens stands in no line that can be read.
    async fn start(log: File, on_full: &str, access: bool, sample: u32) -> Self {
        let address = free_address();
        let builder = Gateway::builder(GATEWAY).set("LISTEN", &address).set("GOOD", &key("good").1);
        let gateway = builder.set("ON_FULL", on_full).set("ACCESS", &access).set("SAMPLE", &sample).log_to(log).spawn();
        eventually("the gateway listens", async || tokio::net::TcpStream::connect(address).await.is_ok()).await;
        Self { gateway, client: Client::http1(address) }
    }

    async fn status(&self, path: &str) -> u16 {
        self.client.get(path).header("x-api-key", &key("good").0).send().await.status
    }

    async fn says(&self, what: &str) {
        eventually(what, async || self.gateway.output().contains(what)).await;
    }

    fn count(&self, what: &str) -> usize {
        self.gateway.output().matches(what).count()
    }
}

/// On an address of its own, where no other test takes the port in between.
fn free_address() -> SocketAddr {
    let taken = TcpListener::bind("127.83.70.1:0").expect("a free port");
    taken.local_addr().expect("a bound socket has an address")
}

const BEGINS: &str = "error: the log cannot be written, lines are lost: ";
const ENDS: &str = "warning: the log is written again; ";

#[tokio::test]
async fn on_a_full_disk_nobody_is_let_in_where_the_file_says_so() {
    let full = || OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    for (access, sample) in [(true, 1), (false, 1), (true, 3), (true, 0)] {
        let scene = Scene::start(full(), "refuse", access, sample).await;
        scene.says(&format!("{BEGINS}No space left on device")).await;
        for _ in 0..20 {
            assert_eq!(scene.status("/closed").await, 503);
            assert_eq!(scene.status("/open").await, 200, "no event is due of it");
        }
        let denied = scene.client.get("/closed").send().await;
        assert_eq!(denied.status, 401, "who is not let in anyway is told so");
        assert_eq!((scene.count(BEGINS), scene.count(ENDS)), (1, 0), "{}", scene.gateway.output());
    }
    let scene = Scene::start(full(), "drop", true, 1).await;
    scene.says(BEGINS).await;
    assert_eq!(scene.status("/closed").await, 200);
}

#[tokio::test]
async fn once_the_log_is_read_again_everybody_is_let_in_again() {
    for access in [true, false] {
        let dir = TempDir::new().expect("a temporary directory");
        let path = dir.path().join("log");
        let lines = reader(&path);
        let log = OpenOptions::new().write(true).open(&path).expect("somebody reads it");
        let scene = Scene::start(log, "refuse", access, 1).await;
        assert_eq!(scene.status("/closed").await, 200);
        drop(lines);
        eventually("a reader that is gone is noticed", async || scene.status("/closed").await == 503).await;
        scene.says(&format!("{BEGINS}Broken pipe")).await;
        assert_eq!(scene.status("/closed").await, 503);

        let mut lines = open(&path);
        eventually("the log takes lines again", async || scene.status("/closed").await == 200).await;
        scene.says(ENDS).await;
        assert_eq!((scene.count(BEGINS), scene.count(ENDS)), (1, 1), "{}", scene.gateway.output());
        let mut read = Vec::new();
        let told = async || {
            assert_eq!(scene.status("/closed").await, 200);
            // Ends with what would block, and keeps what there is.
            let _ = lines.read_to_end(&mut read);
            String::from_utf8_lossy(&read).contains("not read fast enough, or could not be written")
        };
        eventually("the log says what it lacks", told).await;
    }
}

/// Makes a pipe with a name, and reads it: who opens it for writing need not wait.
fn reader(path: &Path) -> File {
    let name = CString::new(path.as_os_str().as_bytes()).expect("a path without zeros");
    // SAFETY: mkfifo(3) reads a string that ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0, "{}", std::io::Error::last_os_error());
    open(path)
}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).expect("a pipe of our own")
}

#[tokio::test]
async fn who_throws_the_audit_trail_away_is_told_where_it_has_to_be_kept() {
    let nowhere = || OpenOptions::new().write(true).open("/dev/null").expect("Linux has it");
    const TOLD: &str = "standard output is /dev/null";
    Scene::start(nowhere(), "refuse", true, 1).await.says(TOLD).await;
    let scene = Scene::start(nowhere(), "drop", true, 1).await;
    assert_eq!(scene.status("/closed").await, 200);
    assert_eq!(scene.count(TOLD), 0);
}
