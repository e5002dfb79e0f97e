//! The sockets of the gateway, bound before anything runs.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::{fd::IntoRawFd, unix::fs::PermissionsExt},
    path::Path,
};

use pingora::server::Fds;

use super::error::{StartError, system};
use crate::{
    config::file,
    control::{self, Control, SocketFile},
    snapshot::Fixed,
};

/// Sockets, bound before anything runs: a port that is taken is an error of the start.
pub(super) struct Sockets {
    pub(super) fds: Fds,
    /// Their addresses, in the order of the configuration.
    pub(super) addresses: Vec<String>,
    /// The admin listener's Unix socket, if it has one.
    pub(super) admin_file: Option<SocketFile>,
}

impl Sockets {
    /// Binds those of the configuration: the listeners', and last the admin listener's.
    pub(super) fn bind(fixed: &Fixed) -> Result<Self, StartError> {
        let mut sockets = Self { fds: Fds::new(), addresses: Vec::new(), admin_file: None };
        fixed.listeners.iter().try_for_each(|listener| sockets.bind_tcp(*listener))?;
        match &fixed.admin {
            Some(file::AdminAddress::Tcp(address)) => sockets.bind_tcp(*address)?,
            Some(file::AdminAddress::Unix(path)) => sockets.bind_unix(path)?,
            None => {}
        }
        Ok(sockets)
    }

    fn bind_tcp(&mut self, address: SocketAddr) -> Result<(), StartError> {
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?.to_string(), listener.into_raw_fd()))
        };
        let (bound, fd) = bind().map_err(system(format!("cannot listen on {address}")))?;
        self.fds.add(bound.clone(), fd);
        self.addresses.push(bound);
        Ok(())
    }

    fn bind_unix(&mut self, path: &Path) -> Result<(), StartError> {
        let file = bind_admin(path, &mut self.fds);
        self.admin_file = Some(file.map_err(system(format!("cannot listen on unix:{}", path.display())))?);
        self.addresses.push(path.display().to_string());
        Ok(())
    }
}

/// Binds the admin listener's Unix socket.
pub(super) fn bind_admin(path: &Path, fds: &mut Fds) -> io::Result<SocketFile> {
    let (listener, file) = control::bind(path, admin_permissions())?;
    listener.set_nonblocking(true)?;
    fds.add(path.display().to_string(), listener.into_raw_fd());
    Ok(file)
}

/// Binds the control socket: a failure is an error only if the configuration names one.
pub(super) fn control(server: &file::Server) -> Result<Option<Control>, StartError> {
    if let Some(path) = &server.control {
        return Control::bind(path).map(Some).map_err(system(format!("server.control: {}", path.display())));
    }
    let Some(path) = control::default_path() else {
        log::warn!(
            "`portcullis reload` and `portcullis revoke` will not work, SIGHUP will: there is no runtime directory for \
             the control socket ($RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR), and no `server.control`"
        );
        return Ok(None);
    };
    match Control::bind(&path) {
        Ok(control) => Ok(Some(control)),
        Err(error) => {
            log::warn!(
                "`portcullis reload` and `portcullis revoke` will not work, SIGHUP will: {}: {error}",
                path.display()
            );
            Ok(None)
        }
    }
}

/// Returns the permissions of the admin listener's Unix socket, which asks for no token: the gateway's user and group.
pub(super) fn admin_permissions() -> std::fs::Permissions {
    std::fs::Permissions::from_mode(0o660)
}
