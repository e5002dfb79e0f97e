//! An upstream that keeps the very bytes: the witness of what the gateway puts on the wire.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::serving::Serving;

/// An HTTP/1.1 server that records raw requests and answers the same bytes to each.
pub(crate) struct RawUpstream {
    serving: Serving,
    saw: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl RawUpstream {
    /// Answers these bytes to every request, and closes after each answer that says `Connection: close`.
    pub(crate) fn start(answer: &'static str) -> Self {
        Self::closing_after(usize::MAX, answer)
    }

    /// The same, but on each connection it reads one request more than it answers, and closes.
    pub(crate) fn closing_after(answers: usize, answer: &'static str) -> Self {
        let saw = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&saw);
        let serving = Serving::start(move |stream, _| serve(Arc::clone(&record), stream, answers, answer));
        Self { serving, saw }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.serving.address
    }

    /// The bytes of what came last, as [`RawUpstream::saw`] counts it.
    pub(crate) fn last(&self) -> Vec<u8> {
        self.saw.lock().expect("no holder panics").last().cloned().expect("nothing has reached the upstream")
    }

    /// Every whole request so far, head and body as they came, a `char` for each byte. What a connection ended with
    /// short of a whole request is there too: the rest of a request that nobody meant to send is seen.
    pub(crate) fn saw(&self) -> Vec<String> {
        let saw = self.saw.lock().expect("no holder panics");
        saw.iter().map(|request| request.iter().map(|&byte| char::from(byte)).collect()).collect()
    }
}

async fn serve(record: Arc<Mutex<Vec<Vec<u8>>>>, mut stream: TcpStream, answers: usize, answer: &str) {
    let mut left = answers;
    let keep = |request: Vec<u8>| record.lock().expect("no holder panics").push(request);
    let mut unread = Vec::new();
    loop {
        while let Some(length) = request_length(&unread) {
            let rest = unread.split_off(length);
            keep(std::mem::replace(&mut unread, rest));
            if left == 0 {
                return;
            }
            left -= 1;
            let sent = stream.write_all(answer.as_bytes()).await;
            if sent.is_err() || answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n") {
                return;
            }
        }
        if !stream.read_buf(&mut unread).await.is_ok_and(|length| length > 0) {
            break;
        }
    }
    if !unread.is_empty() {
        keep(unread);
    }
}

/// How long the request is that these bytes begin with; `None` while it is not all there. Chunks are not decoded: a
/// chunked body ends with the first empty chunk, which is enough for bodies that do not spell one.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let body = find(bytes, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..body]).to_ascii_lowercase();
    if head.contains("\r\ntransfer-encoding:") {
        return find(&bytes[body - 2..], b"\r\n0\r\n\r\n").map(|end| body - 2 + end + 7);
    }
    let length = head.split("\r\ncontent-length:").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
    let end = body + length.unwrap_or(0);
    (bytes.len() >= end).then_some(end)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
