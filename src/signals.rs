//! Signals, handled from the first moment on: SIGHUP kills a process that does not handle it, and so do SIGUSR1,
//! SIGUSR2 and SIGQUIT, which for other daemons mean "reopen the log" and "drain".

use std::{io, sync::OnceLock};

use tokio::sync::mpsc;

/// A signal to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: reload the configuration.
    Reload,
    /// SIGTERM: finish requests in flight, then end.
    Stop,
    /// SIGINT: the same, sooner.
    Interrupt,
}

/// Signals without an effect, which are only logged.
const UNBOUND: [(libc::c_int, &str); 3] =
    [(libc::SIGUSR1, "SIGUSR1"), (libc::SIGUSR2, "SIGUSR2"), (libc::SIGQUIT, "SIGQUIT")];
const BOUND: [libc::c_int; 3] = [libc::SIGHUP, libc::SIGTERM, libc::SIGINT];

/// Blocks the signals, so that they are queued instead of killing the process. Every thread started later inherits
/// this; it must be the first thing that a process does. The previous mask is kept for [`unblock`].
pub fn block() {
    BEFORE.get_or_init(|| {
        let mut before = empty();
        // SAFETY: both sets are valid for the length of the call; the call changes only this thread's mask.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const *handled(), &raw mut before) };
        before
    });
}

/// Reverts [`block`], for commands that are not the daemon: Ctrl-C ends them.
pub fn unblock() {
    if let Some(before) = BEFORE.get() {
        // SAFETY: as in `block`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const *before, std::ptr::null_mut()) };
    }
}

/// Waits for the signals on a thread of their own.
///
/// # Errors
/// The thread cannot be started.
pub fn receive() -> io::Result<mpsc::UnboundedReceiver<Signal>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let wait = move || {
        loop {
            let mut number = 0;
            // SAFETY: the set and the number are valid for the length of the call.
            if unsafe { libc::sigwait(&raw const *handled(), &raw mut number) } != 0 {
                continue;
            }
            if let Some((_, name)) = UNBOUND.iter().find(|(unbound, _)| *unbound == number) {
                log::warn!("ignored {name}: nothing is bound to it");
                continue;
            }
            let signal = match number {
                libc::SIGHUP => Signal::Reload,
                libc::SIGTERM => Signal::Stop,
                _ => Signal::Interrupt,
            };
            if sender.send(signal).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(receiver)
}

static BEFORE: OnceLock<libc::sigset_t> = OnceLock::new();

fn handled() -> &'static libc::sigset_t {
    static SET: OnceLock<libc::sigset_t> = OnceLock::new();
    SET.get_or_init(|| {
        let mut set = empty();
        // SAFETY: the set is initialised, and the numbers are signals.
        let mut add = |number| unsafe { _ = libc::sigaddset(&raw mut set, number) };
        BOUND.into_iter().chain(UNBOUND.map(|(number, _)| number)).for_each(&mut add);
        set
    })
}

fn empty() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set it is given.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}
