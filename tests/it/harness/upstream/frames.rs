//! An HTTP/2 server that answers with any frames (RFC 9113 section 6), good ones or not.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{
    serving::Serving,
    tls::{self, TlsServer},
};

/// Answers every request over HTTP/2 with the frames that the scenario makes. Over TLS it answers 200 to one that came by
/// HTTP/1.1, if that was agreed on.
pub(crate) struct FrameUpstream {
    serving: Serving,
    requests: Arc<AtomicUsize>,
}

impl FrameUpstream {
    /// Answers without TLS; the function is told which request it is, from 0, and its stream.
    pub(crate) fn start(answer: impl Fn(usize, u32) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::new(None, answer)
    }

    /// The same over TLS.
    pub(crate) fn tls(server: &TlsServer, answer: impl Fn(usize, u32) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::new(Some(server), answer)
    }

    fn new(server: Option<&TlsServer>, answer: impl Fn(usize, u32) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let requests = Arc::<AtomicUsize>::default();
        let (count, answer) = (requests.clone(), Arc::new(answer));
        let acceptor = server.map(TlsServer::acceptor);
        let serving = Serving::start(move |stream, _| {
            let (count, answer, acceptor) = (count.clone(), answer.clone(), acceptor.clone());
            async move {
                let answer = |stream| answer(count.fetch_add(1, SeqCst), stream);
                // A peer that goes away is not the upstream's fault.
                let _ = match acceptor {
                    None => http2(stream, answer).await,
                    Some(acceptor) => {
                        let Some(stream) = tls::accept(&acceptor, stream, &tls::Shakings::default()).await else {
                            return;
                        };
                        match stream.ssl().selected_alpn_protocol() {
                            Some(b"h2") => http2(stream, answer).await,
                            _ => http1(stream).await,
                        }
                    }
                };
            }
        });
        Self { serving, requests }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.serving.address
    }

    /// How many requests have come by HTTP/2.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }
}

async fn http2(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(u32) -> Vec<u8>,
) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&frame(4, 0, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await?;
        let acknowledged = flags & 1 == 1;
        let bytes = match kind {
            1 => answer(u32::from_be_bytes(id)),
            4 if !acknowledged => frame(4, 1, 0, &[]),
            6 if !acknowledged => frame(6, 1, 0, &payload),
            _ => continue,
        };
        stream.write_all(&bytes).await?;
        stream.flush().await?;
    }
}

async fn http1(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    let mut unread = Vec::new();
    while stream.read_buf(&mut unread).await? > 0 {
        if unread.ends_with(b"\r\n\r\n") {
            unread.clear();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?;
            stream.flush().await?;
        }
    }
    Ok(())
}

/// HEADERS of a whole answer, with this block (RFC 7541). `\x88` is `:status: 200`.
pub(crate) fn headers(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(1, 0x5, stream, block)
}

/// RST_STREAM.
pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(3, 0, stream, &code.to_be_bytes())
}

/// GOAWAY.
pub(crate) fn go_away(last_stream: u32, code: u32) -> Vec<u8> {
    frame(7, 0, 0, &[last_stream.to_be_bytes(), code.to_be_bytes()].concat())
}

/// A literal field that no table keeps.
pub(crate) fn field(name: &str, value: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).expect("a short text");
    [&[0, length(name.as_bytes())], name.as_bytes(), &[length(value)], value].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
