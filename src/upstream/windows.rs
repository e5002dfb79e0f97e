//! The HTTP/2 windows of connections to upstreams: the amount that an upstream may send before it was read.
//!
//! A window bounds the throughput of a stream: one window per round trip. It also is memory: a response that its client
//! does not take fills its stream's window, beside the bytes that count as unsent.
//!
//! The window of a connection is far larger than its streams need together, for two reasons. Streams whose clients do
//! not read never use it up, so that they do not block other streams. And h2 allows small DATA frames that wait to be
//! read half of it in memory, which has to be more than all streams together can take, or one client that does not read
//! gRPC messages ends the connection for everybody on it. Pingora has no setting for that budget. A window has 31 bits,
//! so that a connection whose streams have large windows carries fewer of them.
//!
//! # When Pingora is upgraded
//! Pingora 0.9.1 leaves the budget of small frames to h2, which takes half of the connection's window. The test
//! `http2::small_frames::a_client_that_reads_no_small_frames_breaks_nobody_else_s_streams` fails when either changes.
//! To be offered upstream: `data_frame_budget` in `PeerOptions`, as `H2Options` has it for clients.

use pingora::upstreams::peer::PeerOptions;

use crate::front::small_frames_budget;

/// The window of a stream unless the file sets one: that of RFC 9113 section 6.9.2.
pub(crate) const DEFAULT_STREAM_BYTES: u32 = 65_535;
/// The largest window that the file may set.
pub(crate) const MAX_STREAM_BYTES: u32 = 1 << 20;

/// The most streams that a connection carries at once.
const MAX_STREAMS: usize = 100;
/// The largest window (RFC 9113 section 6.9.1).
const MAX_WINDOW_BYTES: usize = (1 << 31) - 1;

/// The windows of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    stream_bytes: u32,
    connection_bytes: u32,
    streams: usize,
}

impl Windows {
    /// Returns those of a connection with such a window for each stream.
    pub(crate) fn of(stream_bytes: u32) -> Self {
        let of_stream = 2 * small_frames_budget(stream_bytes as usize);
        let streams = (MAX_WINDOW_BYTES / of_stream).clamp(1, MAX_STREAMS);
        let connection_bytes = u32::try_from((streams * of_stream).min(MAX_WINDOW_BYTES)).unwrap_or(u32::MAX >> 1);
        Self { stream_bytes, connection_bytes, streams }
    }

    /// Sets them for connections to a peer.
    pub(crate) fn set(self, options: &mut PeerOptions) {
        options.max_h2_streams = self.streams;
        options.h2_stream_window_size = Some(self.stream_bytes);
        options.h2_connection_window_size = Some(self.connection_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_frames_that_fill_every_window_fit_into_half_of_the_connection_s() {
        for (stream_bytes, streams) in
            [(DEFAULT_STREAM_BYTES, 100), (200_000, 100), (512 << 10, 40), (MAX_STREAM_BYTES, 20)]
        {
            let windows = Windows::of(stream_bytes);
            assert_eq!(windows.streams, streams, "{stream_bytes}");
            let all = windows.streams * small_frames_budget(stream_bytes as usize);
            assert!(windows.connection_bytes as usize >= 2 * all, "{windows:?}");
            assert!(windows.connection_bytes as usize <= MAX_WINDOW_BYTES, "{windows:?}");
        }
    }
}
