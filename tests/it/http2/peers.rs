//! A client and a server that speak HTTP/2 by the `h2` library itself: what they send stays the frames that it was.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::SendRequest, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
    task::AbortHandle,
};

/// The smallest message of gRPC: five bytes of its head and nothing behind it.
pub(super) const MESSAGE: &[u8] = &[0; 5];

/// More than any test needs: what is measured is the gateway, not the test's own guard.
const AMPLE: u32 = 1 << 30;

/// A connection to the gateway. Closed when dropped.
pub(super) struct Connection {
    send: SendRequest<Bytes>,
    driver: AbortHandle,
    is_deaf: Arc<AtomicBool>,
}

/// A socket that may stop reading.
struct Socket {
    socket: TcpStream,
    is_deaf: Arc<AtomicBool>,
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.is_deaf.load(SeqCst) {
            return Poll::Pending;
        }
        Pin::new(&mut self.socket).poll_read(cx, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Connection {
    /// One on which the client reads whatever comes.
    pub(super) async fn open(address: SocketAddr) -> Self {
        Self::with_windows(address, AMPLE, AMPLE).await
    }

    /// One on which a stream, and the whole connection, receive no more than this until it was read.
    pub(super) async fn with_windows(address: SocketAddr, stream: u32, connection: u32) -> Self {
        let socket = TcpStream::connect(address).await.expect("a connection");
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(stream).initial_connection_window_size(connection);
        builder.data_frame_budget(AMPLE as usize);
        let is_deaf = Arc::new(AtomicBool::new(false));
        let socket = Socket { socket, is_deaf: is_deaf.clone() };
        let (send, driven) = builder.handshake(socket).await.expect("it speaks HTTP/2");
        let driver = tokio::spawn(async move { drop(driven.await) }).abort_handle();
        Self { send, driver, is_deaf }
    }

    /// Sends the head of a POST.
    pub(super) async fn post(&self, path: &str) -> Result<(h2::client::ResponseFuture, SendStream<Bytes>), h2::Error> {
        let request = Request::post(format!("http://a.example{path}")).header("content-type", "application/grpc");
        let request = request.body(()).expect("a request");
        self.send.clone().ready().await?.send_request(request, false)
    }

    /// Sends a GET and returns what will be its answer.
    pub(super) async fn ask(&self, path: &str) -> Result<h2::client::ResponseFuture, h2::Error> {
        self.ask_with(path, HeaderMap::new()).await
    }

    /// The same with header fields.
    pub(super) async fn ask_with(
        &self,
        path: &str,
        fields: HeaderMap,
    ) -> Result<h2::client::ResponseFuture, h2::Error> {
        let mut request = Request::get(format!("http://a.example{path}")).body(()).expect("a request");
        *request.headers_mut() = fields;
        Ok(self.send.clone().ready().await?.send_request(request, true)?.0)
    }

    /// Sends a GET.
    pub(super) async fn get(&self, path: &str) -> Result<Response<RecvStream>, h2::Error> {
        self.ask(path).await?.await
    }

    /// Reads nothing from now on, not even frames.
    pub(super) fn stop_reading(&self) {
        self.is_deaf.store(true, SeqCst);
    }

    /// Whether a new request is answered.
    pub(super) async fn is_alive(&self) -> bool {
        self.get("/quick").await.is_ok_and(|answer| answer.status() == 200)
    }

    /// A gRPC call whose messages come back one by one: so many messages, all of them, and the trailers.
    pub(super) async fn call(&self, path: &str, messages: usize) -> Result<(), String> {
        let failed = |error: h2::Error| error.to_string();
        let (answer, mut body) = self.post(path).await.map_err(failed)?;
        let sending = async {
            for _ in 0..messages {
                send(&mut body, MESSAGE.into(), false).await?;
            }
            body.send_data(Bytes::new(), true)
        };
        let receiving = async {
            let mut body = answer.await?.into_body();
            let received = read(&mut body).await?;
            Ok((received, body.trailers().await?))
        };
        let (received, trailers) = tokio::try_join!(sending, receiving).map_err(failed)?.1;
        match (received, trailers.is_some()) {
            (received, true) if received == messages * MESSAGE.len() => Ok(()),
            other => Err(format!("the answer is not whole: {other:?}")),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Sends a piece as soon as the windows allow it.
pub(super) async fn send(body: &mut SendStream<Bytes>, piece: Bytes, is_last: bool) -> Result<(), h2::Error> {
    body.reserve_capacity(piece.len());
    while body.capacity() < piece.len() {
        let more = poll_fn(|cx| body.poll_capacity(cx)).await;
        more.ok_or_else(|| h2::Error::from(h2::Reason::STREAM_CLOSED))??;
    }
    body.send_data(piece, is_last)
}

/// Reads a body to its end and returns its length.
pub(super) async fn read(body: &mut RecvStream) -> Result<usize, h2::Error> {
    let mut received = 0;
    while let Some(piece) = body.data().await {
        let piece = piece?;
        received += piece.len();
        body.flow_control().release_capacity(piece.len())?;
    }
    Ok(received)
}

/// A server of gRPC, by prior knowledge. `/.../pour/N` answers with `N` messages, `/.../bytes/N` with so many bytes in large
/// frames, anything else with what was sent,
/// message by message.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, SeqCst);
                tokio::spawn(serve(socket));
            }
        });
        Self { address, connections, accepting: accepting.abort_handle() }
    }

    /// How many connections it was asked for.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(socket: TcpStream) {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(AMPLE).initial_connection_window_size(AMPLE).data_frame_budget(AMPLE as usize);
    let Ok(mut connection) = builder.handshake(socket).await else { return };
    while let Some(Ok((request, answer))) = connection.accept().await {
        tokio::spawn(async move { drop(answer_to(request, answer).await) });
    }
}

async fn answer_to(request: Request<RecvStream>, mut answer: SendResponse<Bytes>) -> Result<(), h2::Error> {
    const PIECE: &[u8] = &[b'x'; 1 << 20];
    let number = |of: &str| request.uri().path().split_once(of).and_then(|(_, number)| number.parse::<usize>().ok());
    let (pours, mut left) = (number("/pour/").unwrap_or(0), number("/bytes/").unwrap_or(0));
    let mut body = answer.send_response(Response::new(()), false)?;
    let mut asked = request.into_body();
    for _ in 0..pours {
        send(&mut body, MESSAGE.into(), false).await?;
    }
    while left > 0 {
        // As much as the windows allow.
        body.reserve_capacity(left.min(PIECE.len()));
        let capacity = poll_fn(|cx| body.poll_capacity(cx)).await;
        let piece = capacity.ok_or_else(|| h2::Error::from(h2::Reason::STREAM_CLOSED))??;
        body.send_data(Bytes::from_static(&PIECE[..piece]), false)?;
        left -= piece;
    }
    while let Some(piece) = asked.data().await {
        let piece = piece?;
        asked.flow_control().release_capacity(piece.len())?;
        if !piece.is_empty() {
            send(&mut body, piece, false).await?;
        }
    }
    body.send_trailers(HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]))
}

/// A server of large answers in HTTP/1.1: `/.../N` is an answer of `N` bytes, as fast as it is taken. It reads no bodies.
pub(super) struct Files {
    pub(super) address: SocketAddr,
    accepting: AbortHandle,
}

impl Files {
    pub(super) async fn start() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // Of what nobody reads the kernel shall not keep much: its memory for TCP has an end, too.
        socket.set_recv_buffer_size(16 << 10).expect("a size");
        socket.set_send_buffer_size(64 << 10).expect("a size");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let listener = socket.listen(1024).expect("it listens");
        let address = listener.local_addr().expect("a bound socket");
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(async move { drop(serve_files(socket).await) });
            }
        });
        Self { address, accepting: accepting.abort_handle() }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve_files(mut socket: TcpStream) -> std::io::Result<()> {
    const PIECE: &[u8] = &[b'x'; 64 << 10];
    let mut read = Vec::new();
    loop {
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
            if socket.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let head = String::from_utf8_lossy(&read[..end]).into_owned();
        let target = head.split(' ').nth(1).unwrap_or_default();
        if !head.starts_with("GET") {
            // What comes behind it is left where it is.
            std::future::pending::<()>().await;
        }
        let mut left: usize = target.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        read.drain(..end + 4);
        socket.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n").as_bytes()).await?;
        while left > 0 {
            let piece = left.min(PIECE.len());
            socket.write_all(&PIECE[..piece]).await?;
            left -= piece;
        }
    }
}
