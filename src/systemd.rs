//! What systemd is told (sd_notify(3)). Without `NOTIFY_SOCKET` in the environment all of it does nothing.

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

use crate::{config::problem::counted, reload::Reloaded, telemetry::json::cut};

/// How long systemd may take to make room for a message. It is always read at once; whoever does not read must not hold
/// up a reload, or the end.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest status: systemd ignores messages above 4096 bytes, and would never learn that the reload is over.
const MAX_STATUS_BYTES: usize = 1024;

/// A reload has begun. `MONOTONIC_USEC` tells systemd that this is about its own `ExecReload`, not about an older one.
pub fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now());
    notify(&states);
}

/// The gateway serves: after its start, and after each reload, whatever came of it.
pub fn ready(reloaded: &Reloaded) {
    notify(&[NotifyState::Ready, NotifyState::Status(&status(reloaded))]);
}

/// The gateway is on its way out.
pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("finishing what is in flight")]);
}

fn status(reloaded: &Reloaded) -> String {
    let serving = format!("generation {}, {}", reloaded.generation, counted(reloaded.routes, "route", "routes"));
    let problems = counted(reloaded.errors.len(), "problem", "problems");
    let status = match reloaded.errors.as_slice() {
        [] => serving,
        [first, ..] => format!("{serving}; the last reload was refused ({problems}): {first}"),
    };
    // One line: the next one would be another field of the message.
    cut(&status.replace(char::is_control, " "), MAX_STATUS_BYTES).to_owned()
}

fn notify(states: &[NotifyState<'_>]) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let message: String = states.iter().map(|state| format!("{state}\n")).collect();
    if let Err(error) = send(&address, message.as_bytes()) {
        log::warn!("systemd was not told: {error}");
    }
}

/// Not by `sd_notify::notify`: that waits for ever, and knows no abstract addresses.
fn send(address: &OsStr, message: &[u8]) -> io::Result<()> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    socket.send_to_addr(message, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Located;

    #[test]
    fn the_status_has_the_generation_the_routes_and_what_was_refused() {
        let mut reloaded = Reloaded { generation: 3, routes: 12, ..Reloaded::default() };
        assert_eq!(status(&reloaded), "generation 3, 12 routes");
        let wrong = Located { file: "p.toml".into(), line: 4, column: 1, path: "routes.a".into(), text: "no".into() };
        reloaded.errors.push(wrong);
        let expected = "generation 3, 12 routes; the last reload was refused (1 problem): p.toml:4:1: routes.a: no";
        assert_eq!(status(&reloaded), expected);
    }

    #[test]
    fn a_status_is_one_line_that_systemd_takes() {
        let text = format!("no\nREADY=1\n{}", "x".repeat(8192));
        let wrong = Located { file: "p.toml".into(), line: 4, column: 1, path: "routes.a".into(), text };
        let status = status(&Reloaded { generation: 3, routes: 12, errors: vec![wrong], ..Reloaded::default() });
        assert!(!status.contains('\n') && status.len() <= MAX_STATUS_BYTES, "{} bytes: {status}", status.len());
    }
}
