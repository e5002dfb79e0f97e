//! An HTTP server that answers what it is told to, well or badly.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// An answer of the server.
#[derive(Clone)]
pub(crate) struct Answer {
    head: String,
    body: Vec<u8>,
    /// Before anything is sent.
    delay: Duration,
    is_endless: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, body: &str) -> Self {
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
        Self { head, body: body.into(), delay: Duration::ZERO, is_endless: false }
    }

    pub(crate) fn ok(body: &str) -> Self {
        Self::new(200, body)
    }

    /// Promises more than it sends.
    pub(crate) fn cut(body: &str) -> Self {
        Self { head: "HTTP/1.1 200 x\r\ncontent-length: 1000\r\n".to_owned(), ..Self::ok(body) }
    }

    /// Never stops.
    pub(crate) fn endless() -> Self {
        let head = "HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n".to_owned();
        Self { head, is_endless: true, ..Self::ok(&format!("2000\r\n{}\r\n", " ".repeat(0x2000))) }
    }

    pub(crate) fn header(mut self, line: &str) -> Self {
        self.head += line;
        self.head += "\r\n";
        self
    }

    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    async fn send(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        tokio::time::sleep(self.delay).await;
        stream.write_all(format!("{}\r\n", self.head).as_bytes()).await?;
        stream.write_all(&self.body).await?;
        if !self.is_endless {
            return stream.shutdown().await;
        }
        loop {
            stream.write_all(&self.body).await?;
        }
    }
}

#[derive(Default)]
struct Shared {
    answers: HashMap<String, Answer>,
    saw: Vec<String>,
}

/// Serves until it is dropped.
pub(crate) struct Server {
    address: std::net::SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let task = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn serves(&self, target: &str, answer: Answer) {
        self.shared.lock().answers.insert(target.to_owned(), answer);
    }

    /// The heads of all requests.
    pub(crate) fn saw(&self) -> Vec<String> {
        self.shared.lock().saw.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, shared.clone()));
    }
}

async fn answer(mut stream: TcpStream, shared: Arc<Mutex<Shared>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let answer = {
        let mut shared = shared.lock();
        shared.saw.push(head);
        shared.answers.get(&target).cloned().unwrap_or_else(|| Answer::new(404, ""))
    };
    answer.send(&mut stream).await
}
