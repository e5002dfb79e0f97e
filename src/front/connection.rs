//! Reads the first bytes of a request, until the peer leaves or a limit of time or size or a shutdown ends the wait.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Instant,
};

use bytes::BytesMut;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use pingora::{
    protocols::{GetSocketDigest, Stream},
    server::ShutdownWatch,
};
use tokio::io::AsyncReadExt;

use super::{
    admission::Place,
    fault::Fault,
    head::{self, Request},
    life::Timer,
    limits::Limits,
};

/// The preface of every HTTP/2 connection (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The size of the first read of a head. Nearly all heads fit; Pingora would use the same.
const FIRST_READ_BYTES: usize = 4096;
/// The protocols that a connection may begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Http1,
    Http2,
    Either,
}

/// The protocol that it begins with.
pub(super) enum Opening {
    /// A checked HTTP/1 head, with the bytes that came along with it.
    Head(Request),
    /// The HTTP/2 preface, with the bytes that came along with it.
    Preface(BytesMut),
}

/// The end of a connection instead.
pub(super) enum End {
    /// Close without an answer.
    Quiet,
    /// Answer with this fault, and close.
    Refuse(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Refuse(fault)
    }
}

/// The events that end a connection's wait for its peer: made once, polled again for each request.
pub(super) struct Waits {
    /// A set of one: it polls what it holds only when that has been woken, and so costs an idle wait next to nothing.
    over: FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
    idle: Timer,
}

impl Waits {
    /// Returns those of a connection in this place.
    pub(super) fn new(closing: &ShutdownWatch, place: Arc<Place>) -> Self {
        let closed = closed(closing);
        let over = Box::pin(async move {
            tokio::select! {
                () = closed => {}
                () = place.displaced() => {}
            }
        });
        Self { over: FuturesUnordered::from_iter([over as _]), idle: Timer::default() }
    }

    /// Waits until the gateway stops, or the connection has to close for another one. Must not be called again then.
    pub(super) async fn over(&mut self) {
        self.over.next().await;
    }
}

/// Reads and checks the beginning of a request: under the idle timeout before the first byte, from then on under that
/// of the head. Both end when the gateway stops or the connection is displaced. After an [`End`] the waits must not be
/// used again.
///
/// `read` holds the bytes that came after the previous request.
pub(super) async fn read_head(
    stream: &mut Stream,
    read: BytesMut,
    waits: &mut Waits,
    limits: &Limits,
    expected: Expected,
) -> Result<Opening, End> {
    let mut buf = read;
    let idle_end = Instant::now() + limits.idle_timeout;
    // Some clients end a body with an empty line that is not part of it (RFC 9112 section 2.2): no request has begun by
    // it.
    while b"\r\n".starts_with(&buf) {
        buf.reserve(FIRST_READ_BYTES);
        let read = tokio::select! {
            biased;
            read = stream.read_buf(&mut buf) => read,
            _ = waits.over.next() => return Err(End::Quiet),
            () = waits.idle.wait_until(idle_end) => return Err(End::Quiet),
        };
        if !matches!(read, Ok(1..)) {
            return Err(End::Quiet);
        }
    }
    let mut reading = Reading { buf, looked_at: 0, limits, expected };
    // Nearly always the head came whole: no timer is made for it.
    if let Some(opening) = reading.look()? {
        return Ok(opening);
    }
    tokio::select! {
        biased;
        opening = reading.rest(stream) => opening,
        _ = waits.over.next() => Err(End::Quiet),
        () = pingora::time::sleep(limits.head_timeout) => Err(Fault::HeadTimeout.into()),
    }
}

/// A head that comes in pieces.
struct Reading<'a> {
    buf: BytesMut,
    /// The length of the buffer's prefix that cannot contain the end of the head; zero before the first check.
    looked_at: usize,
    limits: &'a Limits,
    expected: Expected,
}

impl Reading<'_> {
    async fn rest(&mut self, stream: &mut Stream) -> Result<Opening, End> {
        loop {
            self.buf.reserve(FIRST_READ_BYTES);
            match stream.read_buf(&mut self.buf).await {
                Ok(1..) => {}
                _ => return Err(End::Quiet),
            }
            if let Some(opening) = self.look()? {
                return Ok(opening);
            }
        }
    }

    /// Returns the opening, if it is complete.
    fn look(&mut self) -> Result<Option<Opening>, End> {
        if self.expected != Expected::Http1 {
            let common = self.buf.len().min(PREFACE.len());
            // At the first byte that differs it is HTTP/1, and must not wait for the other 23: a short request would
            // hang.
            if self.buf[..common] == PREFACE[..common] {
                let is_whole = common == PREFACE.len();
                return Ok(is_whole.then(|| Opening::Preface(std::mem::take(&mut self.buf))));
            }
            if self.expected == Expected::Http2 {
                return Err(End::Quiet);
            }
            self.expected = Expected::Http1;
        }
        // Checked from the start when first seen and once its end is there, so that a head that comes byte by byte is
        // not checked once for each byte.
        if self.looked_at == 0 || head::has_end(&self.buf, self.looked_at) {
            if let Some(head) = head::check(&self.buf, self.limits.head_bytes, self.limits.head_lines)? {
                let request = head.hand_over(std::mem::take(&mut self.buf)).map_err(Fault::BadRequest)?;
                return Ok(Some(Opening::Head(request)));
            }
        } else if self.buf.len() > self.limits.head_bytes {
            return Err(Fault::HeadTooLarge(head::TOO_MANY_BYTES).into());
        }
        self.looked_at = self.buf.len();
        Ok(None)
    }
}

/// Returns the peer's address, for the log.
pub(super) fn peer(stream: &(impl GetSocketDigest + ?Sized)) -> SocketAddr {
    let digest = stream.get_socket_digest();
    let inet = digest.as_ref().and_then(|digest| digest.peer_addr()).and_then(|address| address.as_inet().copied());
    inet.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
}

/// Waits until the gateway stops. Works on a copy: if the caller's watch noted the change, Pingora's HTTP/2 loop would
/// miss it.
pub(super) fn closed(closing: &ShutdownWatch) -> impl Future<Output = ()> + Send + use<> {
    let mut closing = closing.clone();
    async move {
        // An error means that the sender is gone, which is as good as the signal.
        let _ = closing.wait_for(|closing| *closing).await;
    }
}
