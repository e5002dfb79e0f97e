//! The client's stream as Pingora gets it: one request, and not a byte of what follows it.
//!
//! Pingora reads from a connection as much as comes, also while a response is on its way, and takes any byte after the
//! request for a fault: the response became 400 after the upstream had done what was asked. Here the request's end is
//! known from its head, and the bytes after it are kept for the next one (RFC 9112 section 9.3.2). For the same reason
//! Pingora cannot read a longer body than we do: there is nothing more for it to read.
//!
//! # When Pingora is upgraded
//! This rests on Pingora 0.9.1 parsing a head from a prefix that it is given, and reading no byte of a connection but
//! through the stream. The tests of `connections::pipelined` fail when that changes. To be offered upstream: bytes
//! behind a request are kept for the next one. Then a stream need not end with its request.
//!
//! # Closing
//! The stream is lent. When Pingora lets it go it comes back to [`Front`](super::Front) by a [`Home`], because closing
//! a connection is more than dropping it: see [`super::linger`].

use std::{
    io::{Error, ErrorKind, IoSlice, Result},
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use pingora::protocols::{Shutdown, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{delegated::delegated, framing::Framing, life::StreamLife, metered::Meter};

/// The most bytes after a request that are kept while it is served. The rest waits in the client's kernel.
const MAX_BEHIND_BYTES: usize = 4 << 10;

/// The reason why a request's body is not read to its end: the cause of the error that Pingora gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyFault {
    /// Its chunks are malformed; the text says how, for the log only.
    #[error("{0}")]
    Malformed(&'static str),
    /// It came more slowly than [`MinBodyRate`](super::MinBodyRate) allows.
    #[error("the body came too slowly")]
    TooSlow,
}

impl BodyFault {
    /// Returns the fault that caused this error, if one did.
    pub(crate) fn of(error: &pingora::Error) -> Option<Self> {
        error.root_cause().downcast_ref::<Error>()?.get_ref()?.downcast_ref().copied()
    }
}

/// The slot where a stream that Pingora let go comes back, with its state.
pub(super) type Home = Arc<Mutex<Option<Returned>>>;

/// A stream that Pingora will not use again.
pub(super) struct Returned {
    pub(super) stream: Stream,
    /// The response was sent whole, and the write side is closed.
    pub(super) is_shut: bool,
    /// There is more of the request, or another one after it.
    pub(super) is_unread: bool,
}

/// The stream of one request: see the module.
pub(super) struct RequestStream {
    /// `None` only while it is dropped.
    stream: Option<Stream>,
    framing: Framing,
    /// The bytes after the request.
    behind: BytesMut,
    meter: Meter,
    life: Arc<StreamLife>,
    is_shut: bool,
    home: Home,
}

impl RequestStream {
    /// Wraps a stream of which nothing has been read. `life` tells when a request has become an upgraded connection.
    pub(super) fn new(stream: Stream, life: Arc<StreamLife>, home: Home) -> Box<Self> {
        let (framing, behind) = (Framing::Length(0), BytesMut::new());
        let meter = Meter::new(life.backlog().clone());
        Box::new(Self { stream: Some(stream), framing, behind, meter, life, is_shut: false, home })
    }

    /// Returns the stream that Pingora was given, when it has it back for the next request.
    pub(super) fn back(stream: Stream) -> Option<Box<Self>> {
        stream.into_any().downcast().ok()
    }

    /// Returns the inner stream, and the bytes of the next request that have been read; after taking those, call
    /// [`begin`](Self::begin).
    pub(super) fn parts(&mut self) -> (&mut Stream, BytesMut) {
        let behind = std::mem::take(&mut self.behind);
        (self.inner_mut(), behind)
    }

    /// Begins a request of which `framing` is still to come.
    pub(super) fn begin(&mut self, framing: Framing, behind: BytesMut) {
        (self.framing, self.behind) = (framing, behind);
    }

    /// Returns the inner stream alone, for HTTP/2.
    pub(super) fn into_stream(mut self) -> Stream {
        self.stream.take().expect("it is there until it is dropped")
    }

    /// Returns whether the request has been read whole.
    pub(super) fn is_at_end(&self) -> bool {
        self.framing.is_done()
    }

    fn inner(&self) -> &Stream {
        self.stream.as_ref().expect("it is there until it is dropped")
    }

    fn write<T>(
        &mut self,
        bytes: usize,
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<Result<T>>,
    ) -> Poll<Result<T>> {
        let stream = self.stream.as_mut().expect("it is there until it is dropped");
        self.meter.write(stream, bytes, write)
    }

    fn inner_mut(&mut self) -> &mut Stream {
        self.stream.as_mut().expect("it is there until it is dropped")
    }

    fn poll_endless(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.behind.is_empty() {
            return Pin::new(self.inner_mut()).poll_read(cx, into);
        }
        let fits = self.behind.len().min(into.remaining());
        into.put_slice(&self.behind[..fits]);
        self.behind.advance(fits);
        if self.behind.is_empty() {
            // Frees the memory now rather than at the end of a connection that may last for hours.
            self.behind = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_request(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = into.filled().len();
        let Poll::Ready(outcome) = Pin::new(self.inner_mut()).poll_read(cx, into) else {
            self.life.upload().wait_http1();
            return Poll::Pending;
        };
        outcome?;
        let read = &into.filled()[before..];
        if self.life.upload().receive_http1(read.len()) && !self.life.is_answered() {
            return Poll::Ready(Err(Error::new(ErrorKind::TimedOut, BodyFault::TooSlow)));
        }
        match self.framing.advance(read) {
            Ok(ours) => {
                self.behind.extend_from_slice(&read[ours..]);
                into.set_filled(before + ours);
                Poll::Ready(Ok(()))
            }
            Err(why) => {
                into.set_filled(before);
                Poll::Ready(Err(Error::new(ErrorKind::InvalidData, BodyFault::Malformed(why))))
            }
        }
    }

    /// Waits until the client leaves. Bytes that it sends meanwhile belong to the next request. Once they are too many,
    /// the task is no longer woken: they are read when the response has been sent.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while self.behind.len() < MAX_BEHIND_BYTES {
            let mut piece = [MaybeUninit::uninit(); 512];
            let mut piece = ReadBuf::uninit(&mut piece);
            ready!(Pin::new(self.inner_mut()).poll_read(cx, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.behind.extend_from_slice(piece.filled());
        }
        Poll::Pending
    }
}

impl Drop for RequestStream {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            let is_unread = !self.framing.is_done() || !self.behind.is_empty();
            *self.home.lock() = Some(Returned { stream, is_shut: self.is_shut, is_unread });
        }
    }
}

impl AsyncRead for RequestStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.framing == Framing::Endless {
            self.poll_endless(cx, into)
        } else if !self.framing.is_done() {
            self.poll_request(cx, into)
        } else if self.life.is_upgraded() {
            self.framing = Framing::Endless;
            self.poll_endless(cx, into)
        } else {
            self.poll_left(cx)
        }
    }
}

impl AsyncWrite for RequestStream {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.write(bytes.len(), |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        self.write(0, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let shut = Pin::new(self.inner_mut()).poll_shutdown(cx);
        self.is_shut |= shut.is_ready();
        shut
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        self.write(bytes, |stream, cx| stream.poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner().is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for RequestStream {
    async fn shutdown(&mut self) {
        self.inner_mut().shutdown().await;
        self.is_shut = true;
    }
}

impl std::fmt::Debug for RequestStream {
    /// Omits the data that was read: Pingora logs streams.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestStream").field("stream", &self.stream).finish_non_exhaustive()
    }
}

delegated!(RequestStream);
