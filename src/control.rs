//! The private socket over which `portcullis reload`, `revoke` and `policy` ask a running gateway, and are told what came
//! of it.
//!
//! One line each way: `reload` and the file that the caller means, and a JSON object ([`Asked`]); `revoke` and a JSON
//! object ([`Revoke`]), and another ([`Revoked`]); `policy` likewise ([`Order`] and [`Carried`]). Only root and the
//! gateway's own user are listened to.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicUsize, mpsc},
    thread,
    time::Duration,
};

mod policy;
mod revoke;
mod served_file;
mod slot;
mod socket;

use parking_lot::Mutex;
use rustix::{net::sockopt::socket_peercred, process::geteuid};
use serde::{Deserialize, Serialize};

pub(crate) use policy::{Carried, Order, Orders, Outcome};
pub(crate) use revoke::{Revoke, Revoked, Revoker};
use served_file::is_one_file;
pub(crate) use served_file::serves_another;
use slot::Slot;
pub(crate) use socket::{SocketFile, bind};

use crate::reload::{ReloadRequest, Reloaded, Scope};

/// The size limit of a request.
const MAX_REQUEST_BYTES: u64 = 16 << 10;
/// The time that a caller may take to send its request, or to read the answer.
const CALLER_TIMEOUT: Duration = Duration::from_secs(5);
/// The most callers that are served at once.
const CALLERS_MAX: usize = 16;
/// The time that a caller waits for a reload.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(120);
/// The pause after a failure to accept a caller, as happens when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The time that a gateway which gave no answer has to end, before it is checked whether it still listens.
const END_PAUSE: Duration = Duration::from_millis(200);

/// The answer of a gateway to a request to reload.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Asked {
    /// The result.
    Reloaded(Box<Reloaded>),
    /// Nothing was done, because another file was meant.
    ServesAnother {
        /// The file that this gateway serves.
        serves: PathBuf,
    },
}

/// The gateway's end of the socket, bound.
pub(crate) struct Control {
    listener: UnixListener,
    file: SocketFile,
}

/// Returns the path of the socket if the configuration names none: in the runtime directory that systemd made, in
/// root's, or in the user's. Never in a directory that everybody can write to.
pub(crate) fn default_path() -> Option<PathBuf> {
    let is_root = geteuid().is_root();
    let systemd = std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
    let root = is_root.then(|| PathBuf::from("/run/portcullis"));
    let user = std::env::var_os("XDG_RUNTIME_DIR").map(|folder| PathBuf::from(folder).join("portcullis"));
    systemd.or(root).or(user).map(|folder| folder.join("control.sock"))
}

impl Control {
    /// Binds the socket; one that a dead gateway left behind is replaced, one of a living gateway is not.
    ///
    /// # Errors
    /// Another gateway has it, or its folder cannot be written to.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let (listener, file) = bind(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, file })
    }

    /// Returns its file.
    pub(crate) fn file(&self) -> &SocketFile {
        &self.file
    }
}

/// Serves callers until the process ends, each in a thread of its own: who revokes must not wait for who reloads.
pub(crate) struct Service {
    socket: Mutex<Control>,
    callers: Arc<AtomicUsize>,
    requests: mpsc::Sender<ReloadRequest>,
    revoker: Revoker,
    orders: Orders,
    /// The configuration's file.
    serves: PathBuf,
}

impl Service {
    /// Starts to serve the callers of a socket.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(
        control: Control,
        requests: mpsc::Sender<ReloadRequest>,
        revoker: Revoker,
        orders: Orders,
        serves: PathBuf,
    ) -> io::Result<Arc<Self>> {
        let socket = Mutex::new(control);
        let service = Arc::new(Self { socket, callers: Arc::default(), requests, revoker, orders, serves });
        service.accept_on_a_thread(&service.socket.lock())?;
        Ok(service)
    }

    /// Makes the socket again if somebody has deleted it.
    pub(crate) fn renew(self: &Arc<Self>) {
        let mut socket = self.socket.lock();
        let renewed = socket.file.renew("the control socket", |path| {
            let renewed = Control::bind(path)?;
            // Ends the thread that accepts on the one that is gone.
            socket2::SockRef::from(&socket.listener).shutdown(std::net::Shutdown::Both)?;
            self.accept_on_a_thread(&renewed)?;
            Ok(renewed)
        });
        if let Some(renewed) = renewed {
            *socket = renewed;
        }
    }

    /// Removes the socket, unless its path belongs to somebody else by now.
    pub(crate) fn remove(&self) {
        self.socket.lock().file.remove();
    }

    fn accept_on_a_thread(self: &Arc<Self>, socket: &Control) -> io::Result<()> {
        let (service, listener) = (self.clone(), socket.listener.try_clone()?);
        thread::Builder::new().name("control".into()).spawn(move || service.accept(&listener)).map(drop)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the control socket's own thread")]
    fn accept(self: &Arc<Self>, listener: &UnixListener) {
        for caller in listener.incoming() {
            let caller = match caller {
                Ok(caller) => caller,
                // Another socket has taken the place of this one.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return,
                Err(error) => {
                    log::warn!("control socket: {error}");
                    thread::sleep(ACCEPT_PAUSE);
                    continue;
                }
            };
            let Some(slot) = Slot::take(&self.callers, CALLERS_MAX) else {
                log::warn!("control socket: {CALLERS_MAX} callers are served already");
                continue;
            };
            let service = self.clone();
            let served = move || {
                let _slot = slot;
                service.serve_or_log(&caller);
            };
            if let Err(error) = thread::Builder::new().name("caller".into()).spawn(served) {
                log::warn!("control socket: {error}");
            }
        }
    }

    /// Serves a caller. A panic is a bug, of the gateway or of a plugin; the caller gets no answer.
    fn serve_or_log(&self, caller: &UnixStream) {
        match catch_unwind(AssertUnwindSafe(|| self.serve(caller))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::warn!("control socket: {error}"),
            Err(_) => log::error!("control socket: the gateway panicked while it served a caller: a bug in it"),
        }
    }

    fn serve(&self, mut caller: &UnixStream) -> io::Result<()> {
        caller.set_read_timeout(Some(CALLER_TIMEOUT))?;
        caller.set_write_timeout(Some(CALLER_TIMEOUT))?;
        // By `SO_PEERCRED` (unix(7)).
        let user = socket_peercred(caller)?.uid.as_raw();
        if user != 0 && user != geteuid().as_raw() {
            let why = format!("user {user} may not ask for anything");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let mut line = String::new();
        BufReader::new(caller.take(MAX_REQUEST_BYTES)).read_line(&mut line)?;
        let mut answer = self.answer(line.trim_end(), user)?;
        answer.push(b'\n');
        caller.write_all(&answer)
    }

    fn answer(&self, line: &str, user: libc::uid_t) -> io::Result<Vec<u8>> {
        Ok(match line.split_once(' ') {
            Some(("revoke", wanted)) => {
                serde_json::to_vec(&self.revoker.revoke(&serde_json::from_str(wanted)?, &self.serves, user))?
            }
            Some(("policy", order)) => {
                serde_json::to_vec(&self.orders.carry_out(&serde_json::from_str(order)?, &self.serves, user))?
            }
            _ => serde_json::to_vec(&asked_to_reload(line, &self.requests, &self.serves)?)?,
        })
    }
}

fn asked_to_reload(line: &str, requests: &mpsc::Sender<ReloadRequest>, serves: &Path) -> io::Result<Asked> {
    match line.strip_prefix("reload") {
        Some("") => reload(requests),
        Some(named) if named.starts_with(" /") => match is_one_file(Path::new(&named[1..]), serves) {
            true => reload(requests),
            false => Ok(Asked::ServesAnother { serves: serves.to_owned() }),
        },
        _ => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "a caller wanted none of `reload`, `revoke` and `policy`"))
        }
    }
}

fn reload(requests: &mpsc::Sender<ReloadRequest>) -> io::Result<Asked> {
    let (answer, waits) = mpsc::channel();
    requests.send(ReloadRequest { scope: Scope::Configuration, answer: Some(answer) }).map_err(io::Error::other)?;
    waits.recv_timeout(RELOAD_TIMEOUT).map(|reloaded| Asked::Reloaded(Box::new(reloaded))).map_err(io::Error::other)
}

/// Returns the absolute path of a file, by the name that was given for it. Links are not followed: one of them may lead
/// to another file by the time of the next reload, as those of a Kubernetes ConfigMap do with each version of it.
pub(crate) fn absolute(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}

/// The reason why a gateway gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// Nobody listens there, or no answer came.
    #[error("{0}")]
    Silent(#[from] io::Error),
    /// The gateway ended before it answered: whether it did anything is not known.
    #[error("the gateway ended before it answered")]
    Ended,
}

/// Asks the gateway behind this socket to reload this file, which has to be the one it serves, and waits for the
/// result.
///
/// # Errors
/// Nobody listens there, or no answer came.
pub(crate) fn ask(path: &Path, file: &Path) -> Result<Asked, NoAnswer> {
    told(path, &format!("reload {}\n", absolute(file).display()))
}

/// Asks the gateway behind this socket to remember what is revoked.
///
/// # Errors
/// Nobody listens there, or no answer came.
pub(crate) fn ask_to_revoke(path: &Path, revoke: &Revoke) -> Result<Revoked, NoAnswer> {
    let line = format!("revoke {}\n", serde_json::to_string(revoke).map_err(io::Error::from)?);
    if line.len() as u64 > MAX_REQUEST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "what is to be revoked is too long").into());
    }
    told(path, &line)
}

/// Asks the gateway behind this socket to have a policy carry out a command.
///
/// # Errors
/// Nobody listens there, or no answer came.
pub(crate) fn ask_policy(path: &Path, order: &Order) -> Result<Carried, NoAnswer> {
    let line = format!("policy {}\n", serde_json::to_string(order).map_err(io::Error::from)?);
    if line.len() as u64 > MAX_REQUEST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is too long").into());
    }
    told(path, &line)
}

/// Sends a line to the gateway behind this socket, and returns its answer.
fn told<T: serde::de::DeserializeOwned>(path: &Path, line: &str) -> Result<T, NoAnswer> {
    let mut gateway = UnixStream::connect(path)?;
    gateway.set_read_timeout(Some(RELOAD_TIMEOUT))?;
    let mut answer = String::new();
    let asked = gateway.write_all(line.as_bytes()).and_then(|()| gateway.read_to_string(&mut answer));
    match asked {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let why = format!("the gateway did not answer within {} s", RELOAD_TIMEOUT.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, why).into());
        }
        Err(error) if !matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            return Err(error.into());
        }
        _ => {}
    }
    match serde_json::from_str(&answer) {
        Ok(answer) => Ok(answer),
        // Whoever ends while it answers leaves half a line.
        Err(error) if error.is_eof() && has_ended(path) => Err(NoAnswer::Ended),
        Err(error) if error.is_eof() => {
            let why = "the gateway gave no answer; its log says why";
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, why).into())
        }
        Err(error) => Err(io::Error::from(error).into()),
    }
}

/// Returns whether the gateway behind this socket listens no longer. One that ends closes its sockets one after the
/// other.
#[expect(clippy::disallowed_methods, reason = "this is a subcommand, which has nothing else to do")]
fn has_ended(path: &Path) -> bool {
    thread::sleep(END_PAUSE);
    let refused = UnixStream::connect(path).err().map(|error| error.kind());
    matches!(refused, Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_ends_is_told_from_one_that_gives_no_answer() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control.sock");
        let asked = |ends: bool, says: &'static str| {
            let _ = fs::remove_file(&path);
            let listener = UnixListener::bind(&path).expect("a socket");
            let gateway = thread::spawn(move || {
                let (mut caller, _) = listener.accept().expect("a caller");
                caller.write_all(says.as_bytes()).expect("it reads");
                drop(caller);
                (!ends).then_some(listener)
            });
            let answer = ask(&path, Path::new("/portcullis.toml"));
            drop(gateway.join());
            answer.expect_err("no answer")
        };
        assert!(matches!(asked(true, ""), NoAnswer::Ended));
        assert!(matches!(asked(true, "{\"generation\":"), NoAnswer::Ended));
        assert!(matches!(asked(false, ""), NoAnswer::Silent(_)));
        fs::remove_file(&path).expect("our own file");
        assert!(matches!(ask(&path, Path::new("/portcullis.toml")), Err(NoAnswer::Silent(_))));
    }
}
