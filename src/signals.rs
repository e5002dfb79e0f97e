//! Signals, handled from the first moment on: SIGHUP kills a process that does not handle it, and so do SIGUSR1,
//! SIGUSR2 and SIGQUIT, which for other daemons mean "reopen the log" and "drain".
//!
//! They are blocked and waited for, not handled. A mask is one call that cannot fail halfway, is inherited by every
//! thread, and can be taken back for commands that are not the daemon; a handler stays for the life of the process.

use std::{io, sync::OnceLock};

use nix::sys::signal::{SigSet, SigmaskHow, Signal as Number};
use tokio::sync::mpsc;

/// A signal to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGHUP: reload the configuration.
    Reload,
    /// SIGTERM: finish requests in flight, then end.
    Stop,
    /// SIGINT: the same, sooner.
    Interrupt,
}

/// All signals that do not kill the process. SIGUSR1, SIGUSR2 and SIGQUIT have no effect and are only logged.
const HANDLED: [Number; 6] =
    [Number::SIGHUP, Number::SIGTERM, Number::SIGINT, Number::SIGUSR1, Number::SIGUSR2, Number::SIGQUIT];

/// The mask before [`block`].
static BEFORE: OnceLock<SigSet> = OnceLock::new();

/// Blocks the signals, so that they are queued instead of killing the process. Every thread started later inherits
/// this; it must be the first thing that a process does. The previous mask is kept for [`unblock`].
pub(crate) fn block() {
    BEFORE.get_or_init(|| handled().thread_swap_mask(SigmaskHow::SIG_BLOCK).expect("a mask of known signals"));
}

/// Reverts [`block`], for commands that are not the daemon: Ctrl-C ends them.
pub(crate) fn unblock() {
    if let Some(before) = BEFORE.get() {
        before.thread_set_mask().expect("a mask that was there before");
    }
}

/// Waits for the signals on a thread of their own.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn receive() -> io::Result<mpsc::UnboundedReceiver<Signal>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let wait = move || {
        loop {
            let Ok(number) = handled().wait() else { continue };
            let signal = match number {
                Number::SIGHUP => Signal::Reload,
                Number::SIGTERM => Signal::Stop,
                Number::SIGINT => Signal::Interrupt,
                unbound => {
                    log::warn!("ignored {}: nothing is bound to it", unbound.as_str());
                    continue;
                }
            };
            if sender.send(signal).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(receiver)
}

fn handled() -> SigSet {
    HANDLED.into_iter().collect()
}
