//! The private socket over which `portcullis reload` and `portcullis revoke` ask a running gateway, and are told what
//! came of it.
//!
//! One line each way: `reload` and the file that the caller means, and a JSON object ([`Asked`]); `revoke` and a JSON
//! object ([`Revoke`]), and another ([`Revoked`]). Only root and the gateway's own user are listened to.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering::AcqRel},
        mpsc,
    },
    thread,
    time::Duration,
};

mod revoke;

use serde::{Deserialize, Serialize};

pub use revoke::{Revoke, Revoked, Revoker};

use crate::reload::{Of, Reloaded, Wish};

/// The longest request.
const MAX_REQUEST_BYTES: u64 = 16 << 10;
/// How long a caller may take to say what it wants, or to take the answer.
const CALLER_TIMEOUT: Duration = Duration::from_secs(5);
/// How many callers are served at once.
const CALLERS_MAX: usize = 16;
/// How long a caller waits for a reload.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// What a gateway says that was asked to reload.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Asked {
    /// What came of it.
    Reloaded(Reloaded),
    /// Nothing: another file was meant.
    ServesAnother {
        /// The file that this gateway serves.
        serves: PathBuf,
    },
}

/// The gateway's end.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

/// Where the socket is when the configuration does not say: in the runtime directory that systemd made, in root's, or
/// in the user's. Never in a directory that everybody can write to.
pub fn default_path() -> Option<PathBuf> {
    // SAFETY: `geteuid` only reads.
    let is_root = unsafe { libc::geteuid() } == 0;
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
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        // Between binding and this others could connect, and be turned away by their user id.
        let listener = bind(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves callers until the process ends, each in a thread of its own: who revokes must not wait for who reloads.
    /// `serves` is the configuration's file.
    pub fn serve(self, wishes: &mpsc::Sender<Wish>, revoker: &Revoker, serves: &Path) {
        let callers = AtomicUsize::new(0);
        thread::scope(|scope| {
            for caller in self.listener.incoming() {
                if callers.fetch_add(1, AcqRel) >= CALLERS_MAX {
                    callers.fetch_sub(1, AcqRel);
                    log::warn!("control socket: {CALLERS_MAX} callers are served already");
                    continue;
                }
                let callers = &callers;
                let served = move || {
                    let served = caller.and_then(|caller| serve(&caller, wishes, revoker, serves));
                    if let Err(error) = served {
                        log::warn!("control socket: {error}");
                    }
                    callers.fetch_sub(1, AcqRel);
                };
                if let Err(error) = thread::Builder::new().name("caller".into()).spawn_scoped(scope, served) {
                    callers.fetch_sub(1, AcqRel);
                    log::warn!("control socket: {error}");
                }
            }
        });
    }

    /// Where it is, to be removed at the end.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Binds a Unix socket. One that a dead process left behind is replaced; one of a living process is not, and nothing that
/// is no socket is ever removed.
///
/// # Errors
/// The place is taken, or cannot be written to.
pub fn bind(path: &Path, permissions: fs::Permissions) -> io::Result<UnixListener> {
    if let Ok(there) = fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something lies there that is no socket"));
        }
        // Any other error means that somebody is there, who does not let us in.
        match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            _ => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another gateway listens there")),
        }
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, permissions)?;
    Ok(listener)
}

fn serve(caller: &UnixStream, wishes: &mpsc::Sender<Wish>, revoker: &Revoker, serves: &Path) -> io::Result<()> {
    caller.set_read_timeout(Some(CALLER_TIMEOUT))?;
    caller.set_write_timeout(Some(CALLER_TIMEOUT))?;
    let theirs = user_of(caller)?;
    // SAFETY: `geteuid` only reads.
    if theirs != 0 && theirs != unsafe { libc::geteuid() } {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {theirs} may not ask for anything")));
    }
    let mut line = String::new();
    BufReader::new(caller.take(MAX_REQUEST_BYTES)).read_line(&mut line)?;
    let line = line.trim_end();
    let mut answer = match line.strip_prefix("revoke ") {
        Some(wanted) => serde_json::to_vec(&revoker.revoke(&serde_json::from_str(wanted)?, serves, theirs))?,
        None => serde_json::to_vec(&asked_to_reload(line, wishes, serves)?)?,
    };
    answer.push(b'\n');
    let mut caller = caller;
    caller.write_all(&answer)
}

fn asked_to_reload(line: &str, wishes: &mpsc::Sender<Wish>, serves: &Path) -> io::Result<Asked> {
    match line.strip_prefix("reload") {
        Some("") => reload(wishes),
        Some(named) if named.starts_with(" /") => match is_one_file(Path::new(&named[1..]), serves) {
            true => reload(wishes),
            false => Ok(Asked::ServesAnother { serves: serves.to_owned() }),
        },
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "a caller wanted neither `reload` nor `revoke`")),
    }
}

fn reload(wishes: &mpsc::Sender<Wish>) -> io::Result<Asked> {
    let (answer, waits) = mpsc::channel();
    wishes.send(Wish { of: Of::File, waits: Some(answer) }).map_err(io::Error::other)?;
    waits.recv_timeout(RELOAD_TIMEOUT).map(Asked::Reloaded).map_err(io::Error::other)
}

/// A file by the name that was given for it, from the root on. Links are not followed: one of them may lead to another
/// file by the time of the next reload, as those of a Kubernetes ConfigMap do with each version of it.
pub fn absolute(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}

/// Whether both names mean one file: they are the same, or they lead to the same now.
fn is_one_file(named: &Path, serves: &Path) -> bool {
    named == serves || fs::canonicalize(named).is_ok_and(|file| fs::canonicalize(serves).is_ok_and(|own| own == file))
}

/// What to do where the gateway that answers serves another file than was meant.
pub fn serves_another(serves: &Path) -> String {
    let serves = serves.display();
    format!(
        "the gateway serves `{serves}`: name that file with --config, or the control socket of the gateway that is meant \
         with --socket"
    )
}

/// The user at the other end (`SO_PEERCRED`, unix(7)).
fn user_of(caller: &UnixStream) -> io::Result<libc::uid_t> {
    use std::os::fd::AsRawFd;
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or_default();
    // SAFETY: the kernel writes at most `length` bytes into `credentials`, which has as many.
    let result = unsafe {
        libc::getsockopt(
            caller.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(credentials.uid) } else { Err(io::Error::last_os_error()) }
}

/// Asks the gateway behind this socket to reload this file, which has to be the one it serves, and waits for what comes of it.
///
/// # Errors
/// Nobody listens there, or no answer came.
pub fn ask(path: &Path, file: &Path) -> io::Result<Asked> {
    told(path, &format!("reload {}\n", absolute(file).display()))
}

/// Asks the gateway behind this socket to remember what is revoked.
///
/// # Errors
/// Nobody listens there, or no answer came.
pub fn ask_to_revoke(path: &Path, revoke: &Revoke) -> io::Result<Revoked> {
    let line = format!("revoke {}\n", serde_json::to_string(revoke)?);
    if line.len() as u64 > MAX_REQUEST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "what is to be revoked is too long"));
    }
    told(path, &line)
}

/// What the gateway behind this socket says to a line.
fn told<T: serde::de::DeserializeOwned>(path: &Path, line: &str) -> io::Result<T> {
    let mut gateway = UnixStream::connect(path)?;
    gateway.set_read_timeout(Some(RELOAD_TIMEOUT))?;
    gateway.write_all(line.as_bytes())?;
    let mut answer = String::new();
    gateway.read_to_string(&mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the gateway gave no answer; its log says why"));
    }
    Ok(serde_json::from_str(&answer)?)
}
