//! Unix sockets in the file system, made with their mode from the first instant on.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use socket2::{Domain, SockAddr, Socket, Type};

/// The most callers that wait until they are accepted.
const BACKLOG: i32 = 128;

/// The file of a Unix socket that this process has bound. Somebody may delete it, and put another in its place.
#[derive(Clone, Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Kept open, so that its inode number is not given to another file.
    file: Arc<File>,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        Ok(Self { path: path.to_owned(), file: Arc::new(file) })
    }

    /// Returns whether the path leads to this very socket.
    pub(crate) fn is_in_place(&self) -> bool {
        let number = |of: io::Result<fs::Metadata>| of.ok().map(|of| (of.dev(), of.ino()));
        let there = number(fs::symlink_metadata(&self.path));
        there.is_some() && there == number(self.file.metadata())
    }

    /// Makes the socket again by `bind` if somebody has deleted it, and logs that. `name` is what the log calls it.
    pub(crate) fn renew<T>(&self, name: &str, bind: impl FnOnce(&Path) -> io::Result<T>) -> Option<T> {
        if self.is_in_place() {
            return None;
        }
        let path = self.path.display();
        match bind(&self.path) {
            Ok(renewed) => {
                log::warn!("{name} {path} was deleted: made it again");
                Some(renewed)
            }
            Err(error) => {
                log::warn!("{name} {path} was deleted, and cannot be made again: {error}");
                None
            }
        }
    }

    /// Removes it, unless the path belongs to somebody else by now.
    pub(crate) fn remove(&self) {
        if self.is_in_place() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds a Unix socket with these permissions, less those that the umask takes away. One that a dead process left
/// behind is replaced; one of a living process is not, and nothing that is no socket is ever removed.
///
/// # Errors
/// The place is taken, or cannot be written to.
pub(crate) fn bind(path: &Path, permissions: Permissions) -> io::Result<(UnixListener, SocketFile)> {
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
    let socket = File::from(OwnedFd::from(Socket::new(Domain::UNIX, Type::STREAM, None)?));
    // The file that `bind` makes takes its mode from the socket (unix(7)). A change of the file after that would leave a
    // moment in which anybody could connect, and the umask cannot be changed for this thread alone.
    socket.set_permissions(permissions)?;
    let socket = Socket::from(OwnedFd::from(socket));
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::of(path)?;
    socket.listen(BACKLOG)?;
    Ok((OwnedFd::from(socket).into(), file))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        os::unix::fs::PermissionsExt,
        sync::atomic::{AtomicBool, Ordering::Relaxed},
    };

    use super::*;

    #[test]
    fn a_socket_file_knows_itself_from_another_in_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.sock");
        let (listener, file) = bind(&path, Permissions::from_mode(0o600)).expect("a socket");
        assert!(file.is_in_place());
        assert_eq!(bind(&path, Permissions::from_mode(0o600)).expect_err("taken").kind(), io::ErrorKind::AddrInUse);
        fs::remove_file(&path).expect("our own file");
        assert!(!file.is_in_place());
        let (_other, others) = bind(&path, Permissions::from_mode(0o600)).expect("a free place");
        assert!(!file.is_in_place() && others.is_in_place());
        file.remove();
        assert!(others.is_in_place(), "somebody else's socket is left alone");
        drop(listener);
        others.remove();
        assert!(!path.exists());
    }

    /// Between `bind` and a change of the mode there would be a moment for others.
    #[test]
    fn a_socket_has_its_mode_from_the_first_instant_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.sock");
        let is_done = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            let watched = scope.spawn(|| {
                let mut seen = BTreeSet::new();
                while !is_done.load(Relaxed) {
                    seen.extend(fs::symlink_metadata(&path).map(|file| file.mode() & 0o777));
                }
                seen
            });
            for _ in 0..2000 {
                let (_listener, file) = bind(&path, Permissions::from_mode(0o600)).expect("a socket");
                file.remove();
            }
            is_done.store(true, Relaxed);
            watched.join().expect("it only looks")
        });
        assert!(seen.iter().all(|mode| *mode == 0o600), "{seen:?}");
    }
}
