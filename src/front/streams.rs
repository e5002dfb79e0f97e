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

use pingora::protocols::http::{ServerSession, v2::server::H2Options};

/// The most requests of one HTTP/2 connection that are in flight. Twice the 100 streams that it may have open: a client
/// that cancels some requests and makes others instead is no attacker.
pub(crate) const CONNECTION_REQUESTS_MAX: usize = 200;

/// The smallest gRPC message, and so the smallest DATA frame that an honest peer sends by the thousand.
const SMALLEST_MESSAGE_BYTES: usize = 5;
/// The size that h2 counts for a smaller DATA frame, so that many of them do not take memory beyond every window.
const SMALL_FRAME_BYTES: usize = 256;

/// Returns the budget of h2 for small DATA frames that were received and not read yet, such that a gRPC peer cannot
/// exhaust it within a window of this many bytes. A peer that exhausts it loses the whole connection, with every other
/// stream on it (ENHANCE_YOUR_CALM, `too_many_data_frames`; hyperium/h2#939), and by its own default h2 allows 130 such
/// frames.
pub(crate) const fn small_frames_budget(window_bytes: usize) -> usize {
    window_bytes / SMALLEST_MESSAGE_BYTES * (SMALL_FRAME_BYTES - SMALLEST_MESSAGE_BYTES)
}

/// The window of a stream (RFC 9113 section 6.9.2): the bytes that a client may send on it before they are read.
const STREAM_WINDOW_BYTES: usize = 65_535;
/// The most uploads of a connection which nobody reads that stop none of its others. A proxy in front of the gateway
/// has the requests of many users on one connection.
const UNREAD_UPLOADS_MAX: usize = 8;
/// The memory that is meant for the windows of all connections. The more there are, the smaller each is, down to the
/// window of a stream.
const WINDOWS_BYTES: usize = 64 << 20;

/// Sets the window of a new connection, which is one of so many.
pub(super) fn set_window(options: &mut H2Options, connections: usize) {
    let bytes = window_bytes(connections);
    options
        .initial_connection_window_size(u32::try_from(bytes).unwrap_or(u32::MAX >> 1))
        .data_frame_budget(small_frames_budget(bytes));
}

fn window_bytes(connections: usize) -> usize {
    (WINDOWS_BYTES / connections.max(1)).clamp(STREAM_WINDOW_BYTES, UNREAD_UPLOADS_MAX * STREAM_WINDOW_BYTES)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_large_while_connections_are_few() {
        let windows = [0, 1, 100, 500, 10_000].map(window_bytes);
        assert_eq!(windows, [524_280, 524_280, 524_280, 134_217, 65_535]);
    }
}
