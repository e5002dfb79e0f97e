//! The real binary as a process: started from a configuration, watched line by line, signalled, ended.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, sync::watch};

use super::{LIMIT, within};

const BINARY: &str = env!("CARGO_BIN_EXE_portcullis");

/// Longer than [`LIMIT`]: a stop may wait for requests that the test left in flight.
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// A gateway that runs. It is killed when dropped; when the test failed, its output is shown first.
pub(crate) struct Gateway {
    child: Child,
    place: Place,
    printed: Arc<Printed>,
}

impl Gateway {
    /// Starts with this configuration and waits until it is ready. `@DIR@` in it is the gateway's own directory.
    pub(crate) async fn start(toml: &str) -> Self {
        Self::builder(toml).start().await
    }

    /// A gateway that needs more than a configuration.
    pub(crate) fn builder(toml: &str) -> GatewayBuilder {
        let dir = TempDir::new().expect("a temporary directory");
        let words = vec![("DIR".into(), dir.path().display().to_string())];
        let place = Place { program: BINARY.into(), words, dir, config: None };
        GatewayBuilder { toml: toml.into(), place, environment: Vec::new(), log: None, umask: None }
    }

    /// The exit code and standard error of a start that must be refused.
    pub(crate) async fn fails(toml: &str) -> (i32, String) {
        Self::builder(toml).fails().await
    }

    /// Waits until it serves.
    pub(crate) async fn ready(&self) {
        self.wait_line(|line| line["event"] == "ready", LIMIT).await;
    }

    /// Where the listener with that index in the file accepts connections.
    pub(crate) fn address(&self, listener: usize) -> SocketAddr {
        self.bound(&listener.to_string())
    }

    /// Where the admin listener accepts connections.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.bound("admin")
    }

    fn bound(&self, listener: &str) -> SocketAddr {
        let lines = self.lines();
        let last = lines.iter().rfind(|line| line["event"] == "listening" && line["listener"] == listener);
        let address = last.and_then(|line| line["address"].as_str()).and_then(|text| text.parse().ok());
        address.unwrap_or_else(|| panic!("no listener {listener:?} in:\n{}", self.output()))
    }

    /// The directory of the configuration: what `@DIR@` stands for.
    pub(crate) fn dir(&self) -> &Path {
        self.place.dir.path()
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `libc::SIGHUP`.
    pub(crate) fn signal(&self, number: i32) {
        let pid = libc::pid_t::try_from(self.pid()).expect("Linux process ids fit in pid_t");
        // SAFETY: kill(2) touches no memory of ours, and our own child has not been waited for: its id is not reused.
        let sent = unsafe { libc::kill(pid, number) };
        assert_eq!(sent, 0, "signal {number}: {}", std::io::Error::last_os_error());
    }

    /// Replaces the configuration in one step (rename), as a careful editor does. It takes effect by a reload.
    pub(crate) fn rewrite(&self, toml: &str) {
        self.place.write_config(toml);
    }

    /// The configuration as it lies there now.
    pub(crate) fn configuration(&self) -> String {
        fs::read_to_string(self.place.config()).expect("a file in our own directory")
    }

    /// Replaces a file beside the configuration in the same way.
    pub(crate) fn replace(&self, path: &str, contents: impl AsRef<[u8]>) {
        self.place.write(path, contents.as_ref());
    }

    /// What `portcullis reload` says about the configuration that lies there now.
    pub(crate) async fn reload(&self) -> Output {
        self.reload_command().await
    }

    /// The same, to be awaited while something else is done with the gateway.
    pub(crate) fn reload_command(&self) -> impl Future<Output = Output> + use<> {
        run(self.place.command("reload"), "")
    }

    /// All JSON lines so far, of both outputs.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.printed.lock().lines.clone()
    }

    /// All output so far as it came, lines that are not JSON included.
    pub(crate) fn output(&self) -> String {
        self.printed.lock().text.clone()
    }

    /// The first line, past or to come, for which this is true.
    pub(crate) async fn wait_line(&self, is_it: impl Fn(&Value) -> bool, limit: Duration) -> Value {
        match tokio::time::timeout(limit, self.printed.find(is_it)).await {
            Ok(Some(line)) => line,
            Ok(None) => panic!("the gateway ended without the awaited line; its output:\n{}", self.output()),
            Err(_) => panic!("the awaited line did not come within {limit:?}; the output:\n{}", self.output()),
        }
    }

    /// The first access line for which this is true. It is written after the answer, hence awaited.
    pub(crate) async fn access(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        self.wait_line(|line| line["event"] == "access" && is_it(line), LIMIT).await
    }

    /// The first audit event, `authentication`, `authorization` or `handshake`, for which this is true.
    pub(crate) async fn audit(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        self.wait_line(|line| is_audit(line) && is_it(line), LIMIT).await
    }

    /// SIGTERM, then waits for the end.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.ended(STOP_LIMIT).await
    }

    /// Waits for the end of the process, which something else brought about.
    pub(crate) async fn ended(&mut self, limit: Duration) -> ExitStatus {
        // Its outputs close when it ends: that can be awaited, where `waitpid` would block.
        if tokio::time::timeout(limit, self.printed.find(|_| false)).await.is_err() {
            panic!("still running after {limit:?}; the output:\n{}", self.output());
        }
        self.child.wait().expect("a child of ours can be waited for")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("output of the gateway, process {}:\n{}", self.pid(), self.output());
        }
        // Fails only when it has already ended; `Child` never signals an id it has waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_audit(line: &Value) -> bool {
    let events = ["authentication", "authorization", "handshake", "stream_ended"];
    line["event"].as_str().is_some_and(|event| events.contains(&event))
}

/// What a gateway is started from.
pub(crate) struct GatewayBuilder {
    toml: String,
    place: Place,
    environment: Vec<(String, String)>,
    log: Option<fs::File>,
    umask: Option<String>,
}

impl GatewayBuilder {
    /// Runs this program in the place of `portcullis`.
    pub(crate) fn program(mut self, program: &Path) -> Self {
        self.place.program = program.into();
        self
    }

    /// Is told of a configuration that lies elsewhere, and that the test writes.
    pub(crate) fn configured_by(mut self, file: &Path) -> Self {
        self.place.config = Some(file.into());
        self
    }

    /// Takes another configuration.
    pub(crate) fn toml(mut self, toml: &str) -> Self {
        self.toml = toml.into();
        self
    }

    /// Puts a value in the place of `@NAME@`, in this configuration and in those that replace it.
    pub(crate) fn set(mut self, name: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.place.words.push((name.into(), value.to_string()));
        self
    }

    /// Says one more thing under `[server]`, which the configuration has.
    pub(crate) fn server(mut self, line: &str) -> Self {
        self.toml = self.toml.replacen("[server]\n", &format!("[server]\n{line}\n"), 1);
        self
    }

    /// Says one more thing under the first `[[listeners]]`.
    pub(crate) fn listener(mut self, line: &str) -> Self {
        self.toml = self.toml.replacen("[[listeners]]\n", &format!("[[listeners]]\n{line}\n"), 1);
        self
    }

    /// Sets an environment variable of the gateway, which may have words in it as the configuration has.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts it with another umask, in octal.
    pub(crate) fn umask(mut self, umask: &str) -> Self {
        self.umask = Some(umask.into());
        self
    }

    /// Puts a file beside the configuration.
    pub(crate) fn file(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        self.place.write(path, contents.as_ref());
        self
    }

    /// Has its log written elsewhere: what is said of its lines is said of standard error alone then.
    pub(crate) fn log_to(mut self, file: fs::File) -> Self {
        self.log = Some(file);
        self
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn start(self) -> Gateway {
        let gateway = self.spawn();
        gateway.ready().await;
        gateway
    }

    /// Starts it and waits for nothing.
    pub(crate) fn spawn(mut self) -> Gateway {
        self.place.write_config(&self.toml);
        let mut command = self.command();
        self.log.take().into_iter().for_each(|log| _ = command.stdout(log));
        let mut child = command.stdin(Stdio::null()).spawn().expect("the binary starts");
        let printed = Arc::new(Printed::default());
        child.stdout.take().into_iter().for_each(|stdout| printed.collect(stdout));
        printed.collect(child.stderr.take().expect("stderr is piped"));
        Gateway { child, place: self.place, printed }
    }

    /// The exit code and standard error of a start that must be refused.
    pub(crate) async fn fails(self) -> (i32, String) {
        self.place.write_config(&self.toml);
        let output = run(self.command(), "").await;
        assert_ne!(output.code, 0, "it should have been refused; it said:\n{}{}", output.stdout, output.stderr);
        (output.code, output.stderr)
    }

    /// How `portcullis check` judges it.
    pub(crate) async fn check(self) -> Output {
        self.check_with(&[]).await
    }

    /// The same with more arguments.
    pub(crate) async fn check_with(self, arguments: &[&str]) -> Output {
        self.place.write_config(&self.toml);
        let mut command = self.place.command("check");
        command.args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, self.place.filled(value))));
        run(command, "").await
    }

    fn command(&self) -> Command {
        let mut command = self.place.command("run");
        if let Some(umask) = &self.umask {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg("umask \"$0\" && exec \"$@\"").arg(umask).arg(command.get_program());
            shell.args(command.get_args());
            shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command = shell;
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // Of a systemd that happens to run the tests: readiness is not for it.
        command.env_remove("NOTIFY_SOCKET");
        command.envs(self.environment.iter().map(|(name, value)| (name, self.place.filled(value))));
        command
    }
}

/// How a subcommand ended.
#[derive(Debug)]
pub(crate) struct Output {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

/// Runs any subcommand to its end.
pub(crate) async fn portcullis(arguments: &[impl AsRef<OsStr>], stdin: &str) -> Output {
    program(Path::new(BINARY), arguments, stdin).await
}

/// Runs a subcommand of a gateway of one's own to its end.
pub(crate) async fn program(program: &Path, arguments: &[impl AsRef<OsStr>], stdin: &str) -> Output {
    let mut command = Command::new(program);
    command.args(arguments);
    run(command, stdin).await
}

async fn run(command: Command, stdin: &str) -> Output {
    let what = format!("{command:?} ends by itself");
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("the binary starts");
    let mut input = child.stdin.take().expect("stdin is piped");
    // A command that does not read its input closes it: no matter.
    let _ = input.write_all(stdin.as_bytes()).await;
    drop(input);
    let output = within(&what, child.wait_with_output()).await.expect("a child of ours can be waited for");
    let signal = || panic!("ended by signal {:?}: {}", output.status.signal(), String::from_utf8_lossy(&output.stderr));
    Output {
        code: output.status.code().unwrap_or_else(signal),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A directory of one gateway, and the words that its configurations use.
struct Place {
    program: PathBuf,
    dir: TempDir,
    words: Vec<(String, String)>,
    /// Where the configuration is, if not in the directory.
    config: Option<PathBuf>,
}

impl Place {
    fn config(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| self.dir.path().join("portcullis.toml"))
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(verb).arg("-c").arg(self.config());
        // Where a control socket goes that the file does not place: gateways of other tests run at the same time.
        command.env("RUNTIME_DIRECTORY", self.dir.path());
        command
    }

    /// With a value in the place of every word.
    fn filled(&self, text: &str) -> String {
        self.words.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
    }

    fn write_config(&self, toml: &str) {
        self.write("portcullis.toml", self.filled(toml).as_bytes());
    }

    fn write(&self, path: &str, contents: &[u8]) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("a directory");
        let new = path.with_file_name("new");
        fs::write(&new, contents).expect("a file in our own directory");
        fs::rename(&new, path).expect("a rename in our own directory");
    }
}

/// Everything a process has written so far, and word of what comes.
struct Printed {
    seen: Mutex<Seen>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Seen {
    text: String,
    lines: Vec<Value>,
    /// Outputs that are still open.
    open: usize,
}

impl Default for Printed {
    fn default() -> Self {
        Self { seen: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl Printed {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no holder panics")
    }

    /// Reads an output to its end, on a thread: a gateway whose pipe is full would stand still.
    fn collect(self: &Arc<Self>, output: impl Read + Send + 'static) {
        self.lock().open += 1;
        let printed = Arc::clone(self);
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                printed.add(&String::from_utf8_lossy(&line));
                line.clear();
            }
            printed.lock().open -= 1;
            printed.changed.send_replace(());
        });
    }

    fn add(&self, line: &str) {
        let mut seen = self.lock();
        seen.text.push_str(line);
        seen.lines.extend(serde_json::from_str(line).ok().filter(Value::is_object));
        drop(seen);
        self.changed.send_replace(());
    }

    /// The first line that fits; `None` once both outputs are closed without one.
    async fn find(&self, is_it: impl Fn(&Value) -> bool) -> Option<Value> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            {
                let seen = self.lock();
                let found = seen.lines.iter().find(|line| is_it(line));
                if found.is_some() || seen.open == 0 {
                    return found.cloned();
                }
            }
            changed.changed().await.expect("the sender lives as long as this value");
        }
    }
}
