//! The limits of connections.

use std::time::Duration;

use super::body_rate::MinBodyRate;

/// The limits of a listener's connections.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The longest head of an HTTP/1 request, including the request line.
    pub head_bytes: usize,
    /// The most header lines of an HTTP/1 request.
    pub head_lines: usize,
    /// The time from the first byte of an HTTP/1 head, or of an HTTP/2 connection's preface, to its last.
    pub head_timeout: Duration,
    /// The time that a connection stays open without a request.
    pub idle_timeout: Duration,
    /// The longest wait for the next piece of an HTTP/1 request's body.
    pub body_timeout: Duration,
    /// The minimum rate of that body.
    pub min_body_rate: MinBodyRate,
    /// The time that a client may take nothing of a response that waits for it.
    pub write_timeout: Duration,
    /// The longest that a request, an upgraded connection or an HTTP/2 stream may last.
    pub max_stream_age: Duration,
    /// The most connections open at once, over all listeners that share an [`Open`](super::Open).
    pub max_connections: usize,
    /// The most of them from one address.
    pub max_connections_per_address: usize,
}
