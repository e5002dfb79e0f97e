//! Notifications to systemd (sd_notify(3)). Without `NOTIFY_SOCKET` in the environment none are sent.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use sd_notify::NotifyState;

use crate::telemetry::json::cut;

/// The time that systemd may take to make room for a message. It normally reads at once; if it does not, that must not
/// hold up a reload, or the end.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest status: systemd ignores messages above 4096 bytes, and would never learn that the reload is over.
const MAX_STATUS_BYTES: usize = 1024;

/// Notifies that a reload has begun. `MONOTONIC_USEC` tells systemd that this is about its own `ExecReload`, not about
/// an older one.
pub(crate) fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now());
    notify(&states);
}

/// Notifies that the gateway serves: after its start, and after each reload, successful or not. The first kilobyte of
/// the status is shown, in one line.
pub(crate) fn ready(status: &str) {
    // One line: the next one would be another field of the message.
    let status = status.replace(char::is_control, " ");
    notify(&[NotifyState::Ready, NotifyState::Status(cut(&status, MAX_STATUS_BYTES))]);
}

/// Notifies that the gateway is stopping.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("finishing what is in flight")]);
}

fn notify(states: &[NotifyState<'_>]) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let message: String = states.iter().map(|state| format!("{state}\n")).collect();
    if let Err(error) = send(&address, message.as_bytes()) {
        log::warn!("systemd was not told: {error}");
    }
}

/// Not by `sd_notify::notify`: that may wait for ever, and does not support abstract addresses.
fn send(address: &OsStr, message: &[u8]) -> io::Result<()> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    socket.send_to_addr(message, &address).map(drop)
}
