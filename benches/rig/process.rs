//! The proxies as processes, on the core that is theirs, and the CPU time that they took.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::certificate::Certificate;

/// The gateway, built with the bench's own profile.
pub(crate) const GATEWAY: &str = env!("CARGO_BIN_EXE_portcullis");

/// Debian's, as it is found.
const NGINX: &str = "nginx";

/// Far above what a start takes.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Which of the machine's cores does what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    /// What is measured, alone.
    pub proxy: usize,
    /// Everything else.
    pub rest: usize,
}

impl Cores {
    /// The first two that this process may use; `None` where there is one only. From here on this process and what it
    /// starts stay on the second.
    pub(crate) fn claim() -> Option<Self> {
        let mut allowed = empty_set();
        // SAFETY: the set is as large as its size says, and outlives the call.
        unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut allowed) };
        // SAFETY: the macros' functions only look at the set.
        let mut cores = (0..libc::CPU_SETSIZE as usize).filter(|core| unsafe { libc::CPU_ISSET(*core, &allowed) });
        let cores = Self { proxy: cores.next()?, rest: cores.next()? };
        stay_on(cores.rest).ok()?;
        Some(cores)
    }
}

fn empty_set() -> libc::cpu_set_t {
    // SAFETY: a set is an array of numbers, and all zero is the empty one.
    unsafe { std::mem::zeroed() }
}

/// Binds this thread, and the threads and processes it starts, to a core.
fn stay_on(core: usize) -> io::Result<()> {
    let mut set = empty_set();
    // SAFETY: `core` is one that the kernel named; the set is as large as its size says.
    let outcome = unsafe {
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A process of the bench. It is killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// Where it accepts connections.
    pub address: SocketAddr,
    /// From its start until it served.
    pub took_to_serve: Duration,
    _dir: Option<TempDir>,
}

impl Process {
    /// A bare Pingora proxy in front of the upstream.
    pub(crate) fn bare(cores: Cores, upstream: SocketAddr) -> Self {
        let address = free_address();
        let mut command = itself();
        command.args(["part", "bare", &address.to_string(), &upstream.to_string()]);
        Self::listening(cores, &mut command, address, None)
    }

    /// The same by TLS.
    pub(crate) fn bare_by_tls(cores: Cores, upstream: SocketAddr, certificate: &Certificate) -> Self {
        let address = free_address();
        let mut command = itself();
        command.args(["part", "bare", &address.to_string(), &upstream.to_string()]);
        command.args([&certificate.cert, &certificate.key]);
        Self::listening(cores, &mut command, address, None)
    }

    /// nginx with this configuration, in one process; `@DIR@` in it is a directory of its own, `@ADDRESS@` where it
    /// shall listen.
    pub(crate) fn nginx(cores: Cores, configuration: &str) -> Self {
        let (dir, address) = (TempDir::new().expect("a temporary directory"), free_address());
        let file = dir.path().join("nginx.conf");
        let configuration = configuration.replace("@DIR@", &dir.path().display().to_string());
        fs::write(&file, configuration.replace("@ADDRESS@", &address.to_string())).expect("a file in our directory");
        // One process, so that its CPU time is all there is; the loop is that of a worker.
        let mut command = Command::new(NGINX);
        command.args(["-e", "stderr", "-g", "daemon off; master_process off;", "-p"]).arg(dir.path());
        Self::listening(cores, command.arg("-c").arg(file), address, Some(dir))
    }

    /// One that does not say which port it was given, and was told.
    #[expect(clippy::disallowed_methods, reason = "nothing else runs here while it waits")]
    fn listening(cores: Cores, command: &mut Command, address: SocketAddr, dir: Option<TempDir>) -> Self {
        let begun = Instant::now();
        let (child, _) = started(command, cores.proxy);
        let mut process = Self { child, address, took_to_serve: Duration::ZERO, _dir: dir };
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < START_LIMIT, "{command:?} does not listen");
            assert!(process.child.try_wait().is_ok_and(|ended| ended.is_none()), "{command:?} ended");
            thread::sleep(Duration::from_millis(5));
        }
        process.took_to_serve = begun.elapsed();
        process
    }

    /// The gateway with this configuration; `@DIR@` in it is a directory of its own. Its log is read and thrown away.
    pub(crate) fn gateway(cores: Cores, toml: &str) -> Self {
        let (dir, file) = configuration(toml);
        let begun = Instant::now();
        let (child, mut out) = started(Command::new(GATEWAY).args(["run", "-c"]).arg(file), cores.proxy);
        let mut address = None;
        let mut printed = String::new();
        loop {
            let start = printed.len();
            assert!(out.read_line(&mut printed).expect("text") > 0, "the gateway did not start:\n{printed}");
            let line: Value = serde_json::from_str(&printed[start..]).unwrap_or_default();
            if line["event"] == "listening" && line["listener"] == "0" {
                address = line["address"].as_str().and_then(|text| text.parse().ok());
            }
            if line["event"] == "ready" {
                break;
            }
        }
        let took_to_serve = begun.elapsed();
        thread::spawn(move || swallow(out));
        Self { child, address: address.expect("a listener"), took_to_serve, _dir: Some(dir) }
    }

    /// The CPU time of the process so far: all its threads, in user and system mode.
    pub(crate) fn cpu_time(&self) -> Duration {
        let mut clock = 0;
        let pid = self.child.id().cast_signed();
        // SAFETY: both calls write to what they are given, which outlives them.
        let time = unsafe {
            assert_eq!(libc::clock_getcpuclockid(pid, &raw mut clock), 0, "the process is gone");
            let mut time: libc::timespec = std::mem::zeroed();
            assert_eq!(libc::clock_gettime(clock, &raw mut time), 0, "the process is gone");
            time
        };
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A configuration in a directory of its own.
pub(crate) fn configuration(toml: &str) -> (TempDir, std::path::PathBuf) {
    let dir = TempDir::new().expect("a temporary directory");
    let file = dir.path().join("portcullis.toml");
    let path: &Path = dir.path();
    fs::write(&file, toml.replace("@DIR@", &path.display().to_string())).expect("the directory can be written to");
    (dir, file)
}

/// The version of OpenSSL that nginx runs with, as OpenSSL writes it; `None` where there is no nginx.
pub(crate) fn openssl_of_nginx() -> Option<String> {
    let said = Command::new(NGINX).arg("-V").output().ok()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let line = said.lines().find_map(|line| line.strip_prefix("built with "))?;
    // The second where both are named: it was built with one and found the other.
    let found = line.split_once("(running with ").map_or(line, |(_, found)| found.trim_end_matches(')'));
    Some(found.to_owned())
}

/// A port that is free now.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port")
}

fn itself() -> Command {
    Command::new(std::env::current_exe().expect("the bench is a file"))
}

fn started(command: &mut Command, core: usize) -> (Child, BufReader<ChildStdout>) {
    let prepare = move || {
        // A bench that is cut off leaves nothing behind.
        // SAFETY: the call takes numbers and gives one.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        stay_on(core)
    };
    // SAFETY: between fork and exec nothing but system calls are made.
    unsafe { command.pre_exec(prepare) };
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the process can be started");
    let out = child.stdout.take().expect("standard output is a pipe");
    (child, BufReader::new(out))
}

fn swallow(mut out: impl Read) {
    let mut scratch = vec![0; 64 << 10];
    while matches!(out.read(&mut scratch), Ok(1..)) {}
}
