//! The body of a request on its way to the upstream: the part of it that the upstream has not taken, and the time for
//! which its client was waited for.
//!
//! Over HTTP/2 nobody sees the gateway read: Pingora takes what h2 has received. So the client is waited for while the
//! upstream has everything that came. Over HTTP/1 the connection itself is seen to have nothing, see
//! [`super::request_stream`].
//!
//! # When Pingora is upgraded
//! This rests on Pingora 0.9.1 dropping a piece of a body once it is written to the upstream. The tests
//! `http2::unread::the_time_that_an_upstream_takes_to_read_is_not_the_clients` and `connections::trickling` fail when
//! that changes. To be offered upstream: the time for which a session has waited for its client, over HTTP/2 too.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::body_rate::{MinBodyRate, Throughput};
use crate::unsent_budget::{PIECE_OVERHEAD_BYTES, UnsentBudget};

/// The interval at which an upload that waits for memory checks again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The body of one request.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    progress: Mutex<Progress>,
    is_held: AtomicBool,
    /// The bytes that the upstream has not taken.
    unsent_bytes: AtomicUsize,
    sent: Notify,
    budget: Arc<UnsentBudget>,
    write_timeout: Duration,
    rate: MinBodyRate,
}

#[derive(Debug, Default)]
struct Progress {
    throughput: Throughput,
    stage: Stage,
}

/// The stage of a body over HTTP/2.
#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    /// No upstream waits for it; over HTTP/1 always.
    #[default]
    Unwatched,
    /// More of it is to come.
    Expected,
    /// Nothing more of it is waited for.
    Over,
}

/// The reason why a piece of a body is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotForwarded {
    /// The upstream has taken nothing of the pieces before it for `write_timeout`.
    UpstreamStalled,
    /// The uploads of other requests have left no memory for `write_timeout`.
    NoMemory,
}

impl Upload {
    /// Returns the body of a request: it waits for memory for at most `write_timeout`, and comes at this rate at least.
    pub(super) fn new(budget: Arc<UnsentBudget>, write_timeout: Duration, rate: MinBodyRate) -> Self {
        Self { budget, write_timeout, rate, ..Self::default() }
    }

    /// Resets the state for the next request on the same connection.
    pub(super) fn reset(&self) {
        *self.progress.lock() = Progress::default();
    }

    /// Notes that an upstream is ready for the body of an HTTP/2 request: from here on the client is waited for.
    pub(crate) fn expect(&self) {
        let mut progress = self.progress.lock();
        *progress = Progress { stage: Stage::Expected, ..Progress::default() };
        progress.throughput.wait(Instant::now());
    }

    /// Counts a piece over HTTP/2, for which nobody is waited any more. Returns whether the body is too slow.
    pub(crate) fn receive(&self, bytes: usize) -> bool {
        let mut progress = self.progress.lock();
        progress.stage == Stage::Expected && progress.throughput.receive(bytes, Instant::now(), self.rate)
    }

    /// Notes that the client is waited for again, if anything more is expected of it over HTTP/2.
    pub(crate) fn wait(&self) {
        let mut progress = self.progress.lock();
        if progress.stage == Stage::Expected {
            progress.throughput.wait(Instant::now());
        }
    }

    /// Notes that the client is not waited for until [`expect`](Self::expect), because the gateway is looking for an
    /// upstream. Pieces that another upstream did not take may be dropped meanwhile.
    pub(crate) fn suspend(&self) {
        let mut progress = self.progress.lock();
        progress.throughput.pause();
        progress.stage = Stage::Unwatched;
    }

    /// Notes that nothing more is waited for: the body is whole, or the response has begun, and from there on the rest
    /// of the body may come at any pace.
    pub(crate) fn end(&self) {
        let mut progress = self.progress.lock();
        progress.throughput.pause();
        progress.stage = Stage::Over;
    }

    /// Notes that an HTTP/1 connection has nothing to read.
    pub(super) fn wait_http1(&self) {
        self.progress.lock().throughput.wait(Instant::now());
    }

    /// Counts what was read of an HTTP/1 connection. Returns whether the body is too slow.
    pub(super) fn receive_http1(&self, bytes: usize) -> bool {
        self.progress.lock().throughput.receive(bytes, Instant::now(), self.rate)
    }

    /// Notes whether the gateway does not serve the request, for want of memory for its response.
    pub(super) fn set_held(&self, is_held: bool) {
        // It is hardly ever held, and then it costs no lock.
        if self.is_held.load(Relaxed) != is_held {
            self.is_held.store(is_held, Relaxed);
            let (mut progress, now) = (self.progress.lock(), Instant::now());
            if is_held {
                progress.throughput.hold(now);
            } else {
                progress.throughput.resume(now, self.write_timeout);
            }
        }
    }

    /// Returns how long an HTTP/2 client has been waited for.
    pub(super) fn waits(&self) -> Duration {
        let progress = self.progress.lock();
        match progress.stage {
            Stage::Expected => progress.throughput.waits(Instant::now(), self.write_timeout),
            Stage::Unwatched | Stage::Over => Duration::ZERO,
        }
    }

    /// Returns whether the upstream has not taken all that it was sent.
    pub(super) fn is_unsent(&self) -> bool {
        self.unsent_bytes.load(SeqCst) > 0
    }

    /// Counts a piece until its memory is freed. While memory is tight it waits, for as long as pieces before it are
    /// sent; the time is not the client's.
    ///
    /// # Errors
    /// It has waited for `write_timeout` in vain.
    pub(crate) async fn forward(self: &Arc<Self>, bytes: Bytes) -> Result<Bytes, NotForwarded> {
        let counted = bytes.len() + PIECE_OVERHEAD_BYTES;
        let mut since = Instant::now();
        loop {
            let sent = self.sent.notified();
            let is_first = !self.is_unsent();
            if self.budget.try_add_upload(counted, is_first) {
                break;
            }
            // Pieces before this one may be sent meanwhile.
            self.progress.lock().throughput.pause();
            // Memory that others free is not watched.
            if pingora::time::timeout(LOOK_EVERY, sent).await.is_ok() {
                since = Instant::now();
            } else if since.elapsed() >= self.write_timeout {
                return Err(if is_first { NotForwarded::NoMemory } else { NotForwarded::UpstreamStalled });
            }
        }
        self.unsent_bytes.fetch_add(counted, SeqCst);
        self.progress.lock().throughput.pause();
        Ok(Bytes::from_owner(Piece { bytes, upload: self.clone() }))
    }
}

/// A piece that is counted.
struct Piece {
    bytes: Bytes,
    upload: Arc<Upload>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let (counted, upload) = (self.bytes.len() + PIECE_OVERHEAD_BYTES, &self.upload);
        upload.budget.remove_upload(counted);
        if upload.unsent_bytes.fetch_sub(counted, SeqCst) == counted {
            upload.wait();
        }
        upload.sent.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
