//! A stream with bytes put back in front: the bytes that were read to tell HTTP/2 from HTTP/1 are read again by
//! Pingora.
//!
//! Pingora's own TCP stream can put bytes back, its TLS stream cannot, and the preface is read from both under our time
//! limits.
//!
//! The data that passes is watched, and a flood of control frames ends here: see [`super::frames`].

use std::{
    io::{IoSlice, Result},
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::{Shutdown, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    connection,
    delegated::delegated,
    frames::{CALM_DOWN, CONTROL_FRAMES_PER_SECOND, FrameWatch},
    open::Open,
    unsent::ConnectionBacklog,
};

/// A stream that begins with bytes already read from it.
#[derive(Debug)]
pub(super) struct Replayed {
    read: BytesMut,
    stream: Stream,
    watch: FrameWatch,
    /// The rest to be read once a flood has ended the connection.
    end: Option<&'static [u8]>,
    open: Arc<Open>,
    backlog: Arc<ConnectionBacklog>,
}

impl Replayed {
    pub(super) fn new(read: BytesMut, stream: Stream, open: Arc<Open>, backlog: Arc<ConnectionBacklog>) -> Self {
        Self { read, stream, watch: FrameWatch::new(), end: None, open, backlog }
    }

    fn inner(&self) -> &Stream {
        &self.stream
    }

    fn inner_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    fn read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let fits = self.read.len().min(into.remaining());
        into.put_slice(&self.read[..fits]);
        self.read.advance(fits);
        if self.read.is_empty() {
            // Frees the memory now rather than at the end of a connection that may last for hours.
            self.read = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    fn end_flood(&mut self) {
        self.open.end_flood();
        let address = connection::peer(&*self.stream).ip().to_canonical().to_string();
        let address = address.as_str();
        log::warn!(address; "closed an HTTP/2 connection: more than {CONTROL_FRAMES_PER_SECOND} control frames a second");
        self.end = Some(&CALM_DOWN);
    }

    /// Discards the bytes after the flood: a socket that is closed with unread bytes is reset, and the reset may
    /// overtake the GOAWAY.
    fn drain(&mut self, cx: &mut Context<'_>) {
        let mut scratch = [MaybeUninit::uninit(); 4096];
        for _ in 0..DRAINED_READS {
            let mut into = ReadBuf::uninit(&mut scratch);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut into);
            if !matches!(read, Poll::Ready(Ok(()))) || into.filled().is_empty() {
                return;
            }
        }
    }
}

/// The most reads after a flood, so that the client receives the GOAWAY.
const DRAINED_READS: usize = 256;

impl AsyncRead for Replayed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let begin = into.filled().len();
        if self.end.is_none() {
            ready!(self.read(cx, into))?;
            let Some(flood) = self.watch.received(&into.filled()[begin..]) else { return Poll::Ready(Ok(())) };
            into.set_filled(begin + flood);
            self.end_flood();
        }
        if let Some(end) = self.end {
            let (now, later) = end.split_at(end.len().min(into.remaining()));
            into.put_slice(now);
            self.end = Some(later);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replayed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.backlog.set_blocked(written.is_pending());
        let written = ready!(written)?;
        self.watch.sent(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.end.is_some() {
            self.drain(cx);
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.backlog.set_blocked(written.is_pending());
        let written = ready!(written)?;
        let mut left = written;
        for piece in pieces {
            let sent = left.min(piece.len());
            self.watch.sent(&piece[..sent]);
            left -= sent;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Replayed {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

delegated!(Replayed);
