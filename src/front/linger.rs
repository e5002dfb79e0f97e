//! Closes a connection so that the client receives the last response (RFC 9112 section 9.6).
//!
//! A socket that is closed with unread bytes is reset, and the reset overtakes the response: in the client's kernel, or
//! in a client that is still writing its upload and sees only a broken pipe. So the write side is closed first, and the
//! client's data is read and discarded until it has seen the response and leaves.
//!
//! The danger: a client that goes on sending keeps a connection and a little of the processor. The connection counts
//! until it is over, and each limit here has an end.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Instant, timeout_at},
};

/// The time that a client may go on sending to a request that was answered.
const LINGER_TIME: Duration = Duration::from_secs(10);
/// The time that it may be silent meanwhile: nearly all have left by then, or are not going to.
const LINGER_SILENCE: Duration = Duration::from_secs(1);
/// The number of bytes that it may send.
const LINGER_BYTES: usize = 64 << 20;
/// The size of one read.
const PIECE_BYTES: usize = 16 << 10;
/// The time to send a TLS close, or an answer that the gateway writes by itself.
const WRITE_TIME: Duration = Duration::from_secs(1);

/// Sends an answer and closes.
pub(super) async fn refuse(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &[u8]) {
    let sent = async {
        stream.write_all(answer).await?;
        stream.flush().await
    };
    // Whether or not that worked, the connection is over.
    if matches!(pingora::time::timeout(WRITE_TIME, sent).await, Ok(Ok(()))) {
        linger(stream).await;
    }
}

/// Closes the write side of an idle connection. Over TLS it sends a close alert (RFC 8446 section 6.1): without one the
/// peer cannot tell the end from a truncation by an attacker.
pub(super) async fn farewell(stream: &mut (impl AsyncWrite + Unpin)) {
    let _ = pingora::time::timeout(WRITE_TIME, stream.shutdown()).await;
}

/// Closes the write side, then does the same as [`until_gone`].
pub(super) async fn linger(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    farewell(stream).await;
    until_gone(stream).await;
}

/// Discards what the client still sends, until it leaves or a limit is reached. The write side must have been closed.
pub(super) async fn until_gone(stream: &mut (impl AsyncRead + Unpin)) {
    let end = Instant::now() + LINGER_TIME;
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = LINGER_BYTES;
    while left > 0 {
        let deadline = end.min(Instant::now() + LINGER_SILENCE);
        match timeout_at(deadline, stream.read(&mut piece)).await {
            Ok(Ok(read @ 1..)) => left = left.saturating_sub(read),
            _ => return,
        }
    }
}

/// Returns whether unread data has come. Consumes some of it, and does not wait.
pub(super) async fn has_unread(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut byte = [0];
    let mut byte = ReadBuf::new(&mut byte);
    let read = poll_fn(|cx| match Pin::new(&mut *stream).poll_read(cx, &mut byte) {
        Poll::Pending => Poll::Ready(Ok(())),
        read => read,
    });
    read.await.is_ok() && !byte.filled().is_empty()
}
