//! A server that does to its clients what a script says, over plain TCP or TLS.

use std::{
    collections::HashMap,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use openssl::ssl::{Ssl, SslAcceptor, SslMethod, SslVerifyMode};
use portcullis_x509::testing::Ca;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_openssl::SslStream;
use url::Url;

/// One step of an answer.
#[derive(Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    /// Sends it for as long as the client reads.
    Endless(Vec<u8>),
    /// Sends it so often, with a pause before each time.
    Drip(Vec<u8>, usize, Duration),
    /// Waits until the client is gone.
    Hang,
    Close,
}

pub(super) fn text(text: &str) -> Vec<Step> {
    vec![Step::Send(text.as_bytes().to_vec())]
}

/// An answer with a length, over a connection that is kept.
pub(super) fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<Step> {
    let mut bytes = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    vec![Step::Send(bytes)]
}

#[derive(Default)]
struct Shared {
    scripts: Mutex<HashMap<String, Vec<Step>>>,
    saw: Mutex<Vec<(usize, String)>>,
    subjects: Mutex<Vec<String>>,
    connections: AtomicUsize,
    ended: AtomicUsize,
}

/// Serves until it is dropped.
pub(super) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::listen(None).await
    }

    pub(super) async fn tls(own: &Ca) -> Self {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
        acceptor.set_private_key(&own.key).unwrap();
        acceptor.set_certificate(&own.certificate).unwrap();
        acceptor.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
        Self::listen(Some(acceptor.build())).await
    }

    async fn listen(tls: Option<SslAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shared) = (listener.local_addr().unwrap(), Arc::new(Shared::default()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let task = tokio::spawn(accept(listener, tls, shared.clone()));
        Self { address, scheme, shared, task }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn url(&self, path: &str) -> Url {
        self.url_of("127.0.0.1", path)
    }

    pub(super) fn url_of(&self, host: &str, path: &str) -> Url {
        format!("{}://{host}:{}{path}", self.scheme, self.address.port()).parse().unwrap()
    }

    pub(super) fn serves(&self, path: &str, script: Vec<Step>) {
        self.shared.scripts.lock().unwrap().insert(path.to_owned(), script);
    }

    /// All requests, each with the number of its connection.
    pub(super) fn saw(&self) -> Vec<(usize, String)> {
        self.shared.saw.lock().unwrap().clone()
    }

    /// The subjects of the clients' certificates.
    pub(super) fn subjects(&self) -> Vec<String> {
        self.shared.subjects.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// Waits until every connection but so many has ended.
    pub(super) async fn all_but(&self, open: usize) {
        for _ in 0..1000 {
            if self.connections() - self.shared.ended.load(SeqCst) <= open {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("connections stay open");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<SslAcceptor>, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let number = shared.connections.fetch_add(1, SeqCst);
        let (tls, shared) = (tls.clone(), shared.clone());
        tokio::spawn(async move {
            match tls {
                None => drop(serve(stream, number, &shared).await),
                Some(tls) => {
                    let mut stream = SslStream::new(Ssl::new(tls.context()).unwrap(), stream).unwrap();
                    if Pin::new(&mut stream).accept().await.is_ok() {
                        let subject = stream.ssl().peer_certificate();
                        let subject = subject.map_or("none".to_owned(), |own| format!("{:?}", own.subject_name()));
                        shared.subjects.lock().unwrap().push(subject);
                        drop(serve(stream, number, &shared).await);
                    }
                }
            }
            shared.ended.fetch_add(1, SeqCst);
        });
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    number: usize,
    shared: &Shared,
) -> std::io::Result<()> {
    loop {
        let request = request(&mut stream).await?;
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        shared.saw.lock().unwrap().push((number, request));
        let script = shared.scripts.lock().unwrap().get(&path).cloned();
        for step in script.unwrap_or_else(|| answer(404, "", b"")) {
            match step {
                Step::Send(bytes) => stream.write_all(&bytes).await?,
                Step::Endless(bytes) => loop {
                    stream.write_all(&bytes).await?;
                },
                Step::Drip(bytes, times, pause) => {
                    for _ in 0..times {
                        tokio::time::sleep(pause).await;
                        stream.write_all(&bytes).await?;
                        stream.flush().await?;
                    }
                }
                Step::Hang => {
                    stream.flush().await?;
                    while stream.read(&mut [0; 64]).await? > 0 {}
                    return Ok(());
                }
                Step::Close => return stream.shutdown().await,
            }
            stream.flush().await?;
        }
    }
}

/// A head, and a body with a length.
async fn request<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    bytes.extend_from_slice(&body);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A proxy that opens tunnels, if it is asked with this authorization, and its requests.
pub(super) async fn proxy(authorization: Option<&'static str>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, saw) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let seen = saw.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = request(&mut stream).await.unwrap_or_default();
            let to = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let may = authorization.is_none_or(|said| request.contains(said));
            seen.lock().unwrap().push(request);
            if !may {
                let _ = stream.write_all(b"HTTP/1.1 407 No\r\n\r\n").await;
                continue;
            }
            tokio::spawn(async move {
                let mut upstream = TcpStream::connect(to).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 Yes\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
            });
        }
    });
    (address, saw)
}
