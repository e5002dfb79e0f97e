//! Closing a connection so that its last answer is heard (RFC 9112 section 9.6).
//!
//! A socket that is closed with bytes unread is reset, and the reset overtakes the answer: in the client's kernel, or in
//! a client that still writes its upload and hears of nothing but a broken pipe. So the write side is closed first, and
//! what the client still sends is read and thrown away until it has heard and leaves.
//!
//! The danger: whoever goes on sending keeps a connection and a little of the processor. It counts as a connection until
//! it is over, and each limit here has an end.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Instant, timeout_at},
};

/// How long a client may go on sending to a request that was answered.
const LINGER_TIME: Duration = Duration::from_secs(10);
/// How long it may be silent meanwhile: nearly all have left by then, or are not going to.
const LINGER_SILENCE: Duration = Duration::from_secs(1);
/// How much it may send.
const LINGER_BYTES: usize = 64 << 20;
/// What is read at once.
const PIECE_BYTES: usize = 16 << 10;
/// How long a farewell, or an answer that the gateway writes by itself, may take to be sent.
const WRITE_TIME: Duration = Duration::from_secs(1);

/// Answers and closes.
pub(super) async fn refuse(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &[u8]) {
    let told = async {
        stream.write_all(answer).await?;
        stream.flush().await
    };
    // However it goes, the connection is over.
    if matches!(pingora_timeout::timeout(WRITE_TIME, told).await, Ok(Ok(()))) {
        linger(stream).await;
    }
}

/// Closes a connection on which nothing is under way. Over TLS that is said (RFC 8446 section 6.1): who reads an end that
/// nobody said cannot tell it from one that somebody in between made.
pub(super) async fn farewell(stream: &mut (impl AsyncWrite + Unpin)) {
    let _ = pingora_timeout::timeout(WRITE_TIME, stream.shutdown()).await;
}

/// Closes the write side, and then as [`until_gone`].
pub(super) async fn linger(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    farewell(stream).await;
    until_gone(stream).await;
}

/// Throws away what the client still sends, until it leaves or a limit is reached. The write side has been closed.
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

/// Returns whether something has come that was not read. It takes some of it, and waits for nothing.
pub(super) async fn has_unread(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut byte = [0];
    let mut byte = ReadBuf::new(&mut byte);
    let read = poll_fn(|cx| match Pin::new(&mut *stream).poll_read(cx, &mut byte) {
        Poll::Pending => Poll::Ready(Ok(())),
        read => read,
    });
    read.await.is_ok() && !byte.filled().is_empty()
}
