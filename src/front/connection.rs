//! The first bytes of a request, and all that can end the wait for them: the peer, time, size, shutdown.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use pingora_core::{
    protocols::{GetSocketDigest, Stream},
    server::ShutdownWatch,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Fault, Limits, head, life::Timer};

/// What every HTTP/2 connection begins with (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The first read of a head. Nearly all heads fit; it is what Pingora would take.
const FIRST_READ_BYTES: usize = 4096;
/// How long a refused client may take to read its answer.
const LINGER: Duration = Duration::from_secs(1);
/// How much a refused client may still send while it does.
const LINGER_BYTES: usize = 256 * 1024;

/// What the first bytes of a connection can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Http1,
    Http2,
    Either,
}

/// What they turned out to be.
pub(super) enum Opening {
    /// A checked HTTP/1 head, and what came with it.
    Head(BytesMut),
    /// The HTTP/2 preface, and what came with it.
    Preface(BytesMut),
}

/// How it ended instead.
pub(super) enum End {
    /// There is nobody to answer, or nothing.
    Quiet,
    /// The client is told.
    Refuse(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Refuse(fault)
    }
}

/// What a connection waits for beside its peer: made once, polled again for each request.
pub(super) struct Waits {
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
    idle: Timer,
}

impl Waits {
    pub(super) fn new(closing: &ShutdownWatch) -> Self {
        Self { closing: Box::pin(closed(closing)), idle: Timer::default() }
    }
}

/// Reads and checks what a request begins with: before the first byte under the idle time, from then on under the
/// head's. Both end when the gateway stops. After an [`End`] the waits must not be used again.
pub(super) async fn read_head(
    stream: &mut Stream,
    waits: &mut Waits,
    limits: &Limits,
    expected: Expected,
) -> Result<Opening, End> {
    let mut buf = BytesMut::with_capacity(FIRST_READ_BYTES);
    let idle_end = Instant::now() + limits.idle_timeout;
    let first = tokio::select! {
        biased;
        first = stream.read_buf(&mut buf) => first,
        () = &mut waits.closing => return Err(End::Quiet),
        () = waits.idle.wait_until(idle_end) => return Err(End::Quiet),
    };
    if !matches!(first, Ok(1..)) {
        return Err(End::Quiet);
    }
    let mut reading = Reading { buf, looked_at: 0, limits, expected };
    // Nearly always the head came whole: no timer is made for it.
    if let Some(opening) = reading.look()? {
        return Ok(opening);
    }
    tokio::select! {
        biased;
        opening = reading.rest(stream) => opening,
        () = &mut waits.closing => Err(End::Quiet),
        () = pingora_timeout::sleep(limits.head_timeout) => Err(Fault::HeadTimeout.into()),
    }
}

/// A head that comes in pieces.
struct Reading<'a> {
    buf: BytesMut,
    /// How much of the buffer cannot hold the end of the head; zero before the first check.
    looked_at: usize,
    limits: &'a Limits,
    expected: Expected,
}

impl Reading<'_> {
    async fn rest(&mut self, stream: &mut Stream) -> Result<Opening, End> {
        loop {
            match stream.read_buf(&mut self.buf).await {
                Ok(1..) => {}
                _ => return Err(End::Quiet),
            }
            if let Some(opening) = self.look()? {
                return Ok(opening);
            }
        }
    }

    /// Whether the opening is whole.
    fn look(&mut self) -> Result<Option<Opening>, End> {
        if self.expected != Expected::Http1 {
            let common = self.buf.len().min(PREFACE.len());
            // At the first byte that differs it is HTTP/1, and does not wait for the other 23 (pitfall 66).
            if self.buf[..common] == PREFACE[..common] {
                let is_whole = common == PREFACE.len();
                return Ok(is_whole.then(|| Opening::Preface(std::mem::take(&mut self.buf))));
            }
            if self.expected == Expected::Http2 {
                return Err(End::Quiet);
            }
            self.expected = Expected::Http1;
        }
        // Checked from the start when first seen and when its end is there, so that a head that comes byte by byte is
        // not checked once for each.
        if self.looked_at == 0 || head::has_end(&self.buf, self.looked_at) {
            if let Some(head) = head::check(&self.buf, self.limits.head_bytes, self.limits.head_lines)? {
                return Ok(Some(Opening::Head(head.hand_over(std::mem::take(&mut self.buf)))));
            }
        } else if self.buf.len() > self.limits.head_bytes {
            return Err(Fault::HeadTooLarge(head::TOO_MANY_BYTES).into());
        }
        self.looked_at = self.buf.len();
        Ok(None)
    }
}

/// The peer's address, for the log.
pub(super) fn peer(stream: &(impl GetSocketDigest + ?Sized)) -> SocketAddr {
    let digest = stream.get_socket_digest();
    let inet = digest.as_ref().and_then(|digest| digest.peer_addr()).and_then(|address| address.as_inet().copied());
    inet.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
}

/// Answers and closes.
pub(super) async fn refuse(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &[u8]) {
    let told = async {
        stream.write_all(answer).await?;
        stream.flush().await
    };
    // However it goes, the connection is over.
    if matches!(pingora_timeout::timeout(LINGER, told).await, Ok(Ok(()))) {
        linger(stream).await;
    }
}

/// Closes a connection on which nothing is under way. Over TLS that is said (RFC 8446 section 6.1): who reads an end that
/// nobody said cannot tell it from one that somebody in between made.
pub(super) async fn farewell(stream: &mut (impl AsyncWrite + Unpin)) {
    let _ = pingora_timeout::timeout(LINGER, stream.shutdown()).await;
}

/// Closes, so that what was written is read. A socket that is closed with bytes unread is reset, and the reset
/// overtakes the answer in the client's kernel (RFC 9112 section 9.6): so the write side first, and the rest once the
/// client has read.
pub(super) async fn linger(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let farewell = async {
        stream.shutdown().await.ok()?;
        let mut scratch = [0; 1024];
        let mut left = LINGER_BYTES;
        while left > 0 {
            let read = stream.read(&mut scratch).await.ok().filter(|read| *read > 0)?;
            left = left.saturating_sub(read);
        }
        Some(())
    };
    let _ = pingora_timeout::timeout(LINGER, farewell).await;
}

/// Ends when the gateway stops. It takes a copy: the caller's must not take note of the change, or Pingora's HTTP/2
/// loop would miss it.
pub(super) fn closed(closing: &ShutdownWatch) -> impl Future<Output = ()> + Send + use<> {
    let mut closing = closing.clone();
    async move {
        // An error means that whoever could say it is gone, which is as good as said.
        let _ = closing.wait_for(|closing| *closing).await;
    }
}
