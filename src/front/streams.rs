//! Limits the requests of one HTTP/2 connection in flight, and the small frames that wait on it.
//!
//! The limit on open streams is not enough. A client that opens streams and resets them has none open, while the
//! requests it began may still wait: for an upstream, a key set, a password's hash. That is the "rapid reset" of 2023
//! (CVE-2023-44487) in its slow form. So requests in flight are counted here, and a stream beyond the limit is refused
//! before anything is done for it (REFUSED_STREAM, RFC 9113 section 8.7: the client may safely try again).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use pingora_core::protocols::http::ServerSession;

/// The most requests of one HTTP/2 connection that are in flight. Twice the 100 streams that it may have open: a client
/// that cancels some requests and makes others instead is no attacker.
pub const CONNECTION_REQUESTS_MAX: usize = 200;

/// The smallest gRPC message, and so the smallest DATA frame that an honest peer sends by the thousand.
const SMALLEST_MESSAGE_BYTES: usize = 5;
/// The size that h2 counts for a smaller DATA frame, so that many of them do not take memory beyond every window.
const SMALL_FRAME_BYTES: usize = 256;

/// Returns the budget of h2 for small DATA frames that were received and not read yet, such that a gRPC peer cannot
/// exhaust it within a window of this many bytes. A peer that exhausts it loses the whole connection, with every other
/// stream on it (ENHANCE_YOUR_CALM, `too_many_data_frames`; hyperium/h2#939), and by its own default h2 allows 130 such
/// frames.
pub const fn small_frames_budget(window_bytes: usize) -> usize {
    window_bytes / SMALLEST_MESSAGE_BYTES * (SMALL_FRAME_BYTES - SMALLEST_MESSAGE_BYTES)
}

/// Counts the requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Streams(AtomicUsize);

impl Streams {
    /// Counts a request until the guard is dropped, unless there are too many.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Stream> {
        let stream = Stream(self.clone());
        (self.0.fetch_add(1, SeqCst) < CONNECTION_REQUESTS_MAX).then_some(stream)
    }
}

/// A guard for a request in flight.
pub(super) struct Stream(Arc<Streams>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, SeqCst);
    }
}

/// Refuses a stream for which nothing was done.
pub(super) fn refuse(mut session: ServerSession) {
    if let ServerSession::H2(stream) = &mut session {
        stream.shutdown_with_reason(h2::Reason::REFUSED_STREAM);
    }
}
