//! A small application behind a [`Front`] on a loopback port, and a client that sends bytes.

use std::{
    future::pending,
    net::SocketAddr,
    os::fd::AsRawFd,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use pingora::http::ResponseHeader;
use pingora::protocols::{GetSocketDigest, SocketDigest, l4};
use portcullis_plugin::{Reason, UnixTime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    front::*,
    streams::{
        OpenStreams, Standing, Withdrawn,
        tests::{basis, round},
    },
};

pub(super) const GET: &str = "GET /hello HTTP/1.1\r\nHost: a.example\r\n\r\n";
pub(super) const SOON: Duration = Duration::from_secs(10);

/// Answers with the target it was asked for; `/stuck` never answers, `/body` reads the body first.
#[derive(Default)]
pub(super) struct Echo {
    pub(super) lives: Mutex<Vec<Arc<StreamLife>>>,
    pub(super) streams: Arc<OpenStreams>,
    pub(super) deadline: Option<UnixTime>,
    pub(super) dropped: AtomicUsize,
    pub(super) cleaned: AtomicUsize,
}

struct Dropped<'a>(&'a Echo);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, SeqCst);
    }
}

#[async_trait]
impl HttpServerApp for Echo {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        session.read_request().await.ok().filter(|whole| *whole)?;
        let life = current_life().expect("every request has a life");
        self.lives.lock().expect("no panics").push(life.clone());
        let _dropped = Dropped(self);
        let target = String::from_utf8_lossy(session.req_header().raw_path()).into_owned();
        if target == "/stuck" {
            life.rest_on(basis(&self.streams));
            if let Some(deadline) = self.deadline {
                life.set_deadline(deadline);
            }
            pending::<()>().await;
        }
        if target == "/slow" {
            sleep(Duration::from_millis(300)).await;
        }
        if target == "/body" {
            while session.read_request_body().await.ok()?.is_some() {}
        }
        let mut head = ResponseHeader::build(200, None).expect("a status");
        head.insert_header("content-length", target.len()).expect("a header");
        session.write_response_header(Box::new(head)).await.ok()?;
        session.write_response_body(target.into(), true).await.ok()?;
        let settings = HttpPersistentSettings::for_session(&session);
        let stream = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }

    async fn http_cleanup(&self) {
        self.cleaned.fetch_add(1, SeqCst);
    }
}

pub(super) fn limits() -> Limits {
    Limits {
        head_bytes: 4096,
        head_lines: 20,
        head_timeout: SOON,
        idle_timeout: SOON,
        body_timeout: SOON,
        write_timeout: SOON,
        max_stream_age: SOON,
        min_body_rate: MinBodyRate { bytes_per_second: 1024, patience: SOON },
        max_connections: 10,
        max_connections_per_address: 10,
    }
}

/// A listener with a [`Front`] on a loopback port of its own.
pub(super) struct Gateway {
    pub(super) address: SocketAddr,
    pub(super) app: Arc<Echo>,
    pub(super) open: Arc<Open>,
    pub(super) close: watch::Sender<bool>,
}

impl Gateway {
    pub(super) async fn start(limits: Limits) -> Self {
        Self::start_with(limits, Echo::default(), false).await
    }

    pub(super) async fn start_with(limits: Limits, app: Echo, h2c: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (close, closing) = watch::channel(false);
        let (app, open) = (Arc::new(app), Arc::new(Open::default()));
        let refuse: Refuse = Arc::new(|fault, peer, _| {
            assert!(peer.ip().is_loopback() && peer.port() != 0);
            format!("HTTP/1.1 {} {}\r\nConnection: close\r\n\r\n", fault.status(), fault.why()).into()
        });
        let front = Arc::new(Front::new(app.clone(), limits, open.clone(), refuse, Acceptor::plain(h2c)));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.expect("accepts");
                let digest = SocketDigest::from_raw_fd(socket.as_raw_fd());
                let mut stream = l4::stream::Stream::from(socket);
                stream.set_socket_digest(digest);
                let (front, closing) = (front.clone(), closing.clone());
                tokio::spawn(async move { front.process_new(Box::new(stream), &closing).await });
            }
        });
        Self { address, app, open, close }
    }

    /// Makes every long request be judged again, and refused.
    pub(super) fn withdraw(&self) {
        let streams = &self.app.streams;
        streams.judge_again();
        round(streams, &Standing::Over(Withdrawn::by(Reason::TokenRevoked)));
    }

    pub(super) async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.expect("connects"))
    }

    /// Returns everything that a fresh connection answers to these bytes until it is closed.
    pub(super) async fn ask(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client.rest().await
    }

    /// Waits until this many requests are in flight.
    pub(super) async fn serves(&self, requests: u64) {
        let served = async {
            while self.open.in_flight() != requests {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, served).await.expect("requests in flight");
    }
}

pub(super) struct Client(pub(super) TcpStream);

impl Client {
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.expect("sends");
    }

    /// Returns what comes, up to and including `end`.
    pub(super) async fn until(&mut self, end: &str) -> String {
        let mut answer = Vec::new();
        let read = async {
            while !answer.ends_with(end.as_bytes()) {
                answer.push(self.0.read_u8().await.expect("more to read"));
            }
        };
        timeout(SOON, read).await.expect("an answer");
        String::from_utf8(answer).expect("text")
    }

    /// Returns what comes until the connection is closed. A reset is an error: it may destroy the response.
    pub(super) async fn rest(&mut self) -> String {
        let mut answer = String::new();
        timeout(SOON, self.0.read_to_string(&mut answer)).await.expect("closed").expect("no reset");
        answer
    }
}
