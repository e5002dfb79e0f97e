//! Detects HTTP/1 writes that the client does not take.
//!
//! Over HTTP/1 one task reads from the upstream and writes to the client, so it cannot tell whether it was woken
//! because the socket is writable again or because the upstream has more. Here writes have a waker of their own: see
//! [`super::unsent`].

use std::{
    io::Result,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use pingora::protocols::Stream;

use super::unsent::{Backlog, READ_AHEAD_BYTES};

/// Counts the bytes to be written to a stream while its socket does not take them.
pub(super) struct Meter {
    backlog: Arc<Backlog>,
    writable: Waker,
    waiting_bytes: usize,
}

/// Woken when the socket takes more.
struct Writable(Arc<Backlog>);

impl Wake for Writable {
    fn wake(self: Arc<Self>) {
        self.0.moves();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.moves();
    }
}

impl Meter {
    pub(super) fn new(backlog: Arc<Backlog>) -> Self {
        let writable = Waker::from(Arc::new(Writable(backlog.clone())));
        Self { backlog, writable, waiting_bytes: 0 }
    }

    /// Writes bytes. Those that the socket does not take count as more than the read-ahead limit, so that nothing more
    /// is read.
    pub(super) fn write<T>(
        &mut self,
        stream: &mut Stream,
        bytes: usize,
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<Result<T>>,
    ) -> Poll<Result<T>> {
        let written = write(Pin::new(stream), &mut Context::from_waker(&self.writable));
        if written.is_pending() {
            self.waits(bytes.max(READ_AHEAD_BYTES + 1));
        } else if self.waiting_bytes > 0 {
            self.waits(0);
        }
        written
    }

    fn waits(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.waiting_bytes, bytes);
        if bytes > before {
            self.backlog.add(bytes - before);
        } else if bytes < before {
            self.backlog.remove(before - bytes);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.waits(0);
    }
}
