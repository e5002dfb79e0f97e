use std::time::Duration;

use super::body_rate::MinBodyRate;

/// The limits of a listener's connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest head of an HTTP/1 request, request line and all.
    pub head_bytes: usize,
    /// The most header lines of an HTTP/1 request.
    pub head_lines: usize,
    /// From the first byte of an HTTP/1 head, or of an HTTP/2 connection, to its last.
    pub head_timeout: Duration,
    /// How long a connection stays open without a request.
    pub idle_timeout: Duration,
    /// How long to wait for the next piece of an HTTP/1 request's body.
    pub body_timeout: Duration,
    /// How slowly it may come on the whole.
    pub min_body_rate: MinBodyRate,
    /// How long a client may take nothing of a response that waits for it.
    pub write_timeout: Duration,
    /// The longest that a request, an upgraded connection or an HTTP/2 stream may last.
    pub max_stream_age: Duration,
    /// How many connections may be open at once, over all listeners that share an [`Open`](super::Open).
    pub max_connections: usize,
    /// How many of them one address may have.
    pub max_connections_per_address: usize,
}
