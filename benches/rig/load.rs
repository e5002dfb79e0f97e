//! The other side of the proxy: the clients and the upstream, on one thread that never sleeps.
//!
//! A thread that sleeps has to be woken, at the cost of whoever sends to it, and sleeps the more the slower that one
//! is: 2 us a request that would be taken for the proxy's own. So this side is never idle. In the field it is another
//! machine.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    task::{LocalSet, spawn_local, yield_now},
};
use tokio_openssl::SslStream;

use super::{certificate::NAME, process::Process};

/// Connections that are kept and always busy.
pub(crate) const CONNECTIONS: usize = 32;

/// The longest that a warm-up may take. A proxy that does not answer is a failed bench and not an endless one.
const LIMIT: Duration = Duration::from_secs(60);

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: upstream\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
    Content-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: 64\r\n\r\n\
    {\"id\":12345,\"customer\":\"c-88\",\"total\":\"19.90\",\"state\":\"shipped\"}";

/// What every answer ends with, so that its end is seen without parsing.
const ANSWER_END: &[u8] = b"\"state\":\"shipped\"}";

/// What is asked.
#[derive(Clone)]
pub(crate) enum Requests {
    /// These, in turn.
    List(Rc<[Rc<[u8]>]>),
    /// One after the other, none of them twice.
    Made(Rc<dyn Fn() -> Rc<[u8]>>),
}

impl Requests {
    /// These, in turn.
    pub(crate) fn list(requests: impl IntoIterator<Item = Rc<[u8]>>) -> Self {
        Self::List(requests.into_iter().collect())
    }

    fn nth(&self, number: usize) -> Rc<[u8]> {
        match self {
            Self::List(requests) => requests[number % requests.len()].clone(),
            Self::Made(make) => make(),
        }
    }

    /// How many there are to be asked once before anything is measured.
    fn warm_up_count(&self) -> usize {
        match self {
            Self::List(requests) => requests.len(),
            Self::Made(_) => 0,
        }
    }
}

/// What so many requests cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// CPU time of the proxy for each request.
    pub cpu: Duration,
    /// Requests in a second.
    pub rate: f64,
    /// The time that 99 of 100 requests did not exceed.
    pub p99: Duration,
}

impl Cost {
    /// Of what took so long each, so much CPU time in all, and so long in all.
    pub(crate) fn of(mut took: Vec<Duration>, cpu: Duration, wall: Duration) -> Self {
        let count = took.len();
        let (_, p99, _) = took.select_nth_unstable(count * 99 / 100);
        Self { cpu: cpu.div_f64(count as f64), rate: count as f64 / wall.as_secs_f64(), p99: *p99 }
    }
}

/// Clients and upstream.
pub(crate) struct OtherSide {
    runtime: Runtime,
    tasks: LocalSet,
    /// How the clients speak TLS, if they do.
    tls: Option<SslConnector>,
    /// Where the upstream accepts connections. It answers while [`measure`](Self::measure) runs.
    pub upstream: SocketAddr,
}

impl OtherSide {
    /// With an upstream that listens.
    pub(crate) fn start() -> Self {
        // Sockets are looked at as often as tasks are run.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(1).build();
        let (runtime, tasks) = (runtime.expect("a runtime"), LocalSet::new());
        let listener = tasks.block_on(&runtime, TcpListener::bind("127.0.0.1:0")).expect("a port");
        let upstream = listener.local_addr().expect("an address");
        tasks.spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn_local(answer(stream));
            }
        });
        Self { runtime, tasks, tls: None, upstream }
    }

    /// With clients that speak TLS, by the version and cipher that the proxy likes best.
    pub(crate) fn start_with_tls() -> Self {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("OpenSSL");
        connector.set_verify(SslVerifyMode::NONE);
        Self { tls: Some(connector.build()), ..Self::start() }
    }

    /// Asks for `span`, after asking for `warm_up` unmeasured and, where the requests are a list, with each of them once.
    pub(crate) fn measure(&self, proxy: &Process, requests: &Requests, warm_up: Duration, span: Duration) -> Cost {
        self.tasks.block_on(&self.runtime, measure(proxy, self.tls.as_ref(), requests, warm_up, span))
    }
}

#[derive(Default)]
struct Shared {
    next: Cell<usize>,
    is_over: Cell<bool>,
    took: RefCell<Vec<Duration>>,
}

async fn measure(
    proxy: &Process,
    tls: Option<&SslConnector>,
    requests: &Requests,
    warm_up: Duration,
    span: Duration,
) -> Cost {
    let shared = Rc::new(Shared::default());
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| spawn_local(connection(proxy.address, tls.cloned(), requests.clone(), shared.clone())))
        .collect();
    let restless = shared.clone();
    let restless = spawn_local(async move {
        while !restless.is_over.get() {
            yield_now().await;
        }
    });
    let begun = Instant::now();
    tokio::time::sleep(warm_up).await;
    while shared.next.get() < requests.warm_up_count() + CONNECTIONS {
        assert!(begun.elapsed() < LIMIT, "the proxy does not answer");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    shared.took.borrow_mut().clear();
    let (begun, cpu_begun) = (Instant::now(), proxy.cpu_time());
    tokio::time::sleep(span).await;
    let (wall, cpu) = (begun.elapsed(), proxy.cpu_time() - cpu_begun);
    let took = shared.took.take();

    shared.is_over.set(true);
    for task in connections.into_iter().chain([restless]) {
        task.await.expect("the connection holds");
    }
    Cost::of(took, cpu, wall)
}

async fn connection(address: SocketAddr, tls: Option<SslConnector>, requests: Requests, shared: Rc<Shared>) {
    let stream = TcpStream::connect(address).await.expect("the proxy accepts");
    stream.set_nodelay(true).expect("a socket");
    let Some(tls) = tls else { return ask(stream, requests, shared).await };
    let ssl = tls.configure().and_then(|it| it.into_ssl(NAME)).expect("a client");
    let mut stream = SslStream::new(ssl, stream).expect("a client");
    std::pin::Pin::new(&mut stream).connect().await.expect("a handshake");
    ask(stream, requests, shared).await;
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, requests: Requests, shared: Rc<Shared>) {
    let mut answer = Vec::with_capacity(8192);
    while !shared.is_over.get() {
        let number = shared.next.get();
        shared.next.set(number + 1);
        let request = requests.nth(number);
        let begun = Instant::now();
        stream.write_all(&request).await.expect("the proxy reads");
        answer.clear();
        while !answer.ends_with(ANSWER_END) {
            let read = stream.read_buf(&mut answer).await.expect("the proxy answers");
            assert!(read > 0, "the proxy closed: {}", String::from_utf8_lossy(&answer));
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        shared.took.borrow_mut().push(begun.elapsed());
    }
}

/// The upstream: gives every request on a connection the same answer.
async fn answer(mut stream: TcpStream) {
    // Without it the answer only comes later.
    let _ = stream.set_nodelay(true);
    let mut read = Vec::with_capacity(8192);
    while matches!(stream.read_buf(&mut read).await, Ok(1..)) {
        // A proxy sends the next request when it has the answer, so what is whole here is one request.
        if is_whole(&read) {
            read.clear();
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}

/// Whether a request has come to its end: its head alone, or so many bytes more as it says.
fn is_whole(read: &[u8]) -> bool {
    if read.ends_with(b"\r\n\r\n") && !read.starts_with(b"POST ") {
        return true;
    }
    let Some(end) = memchr::memmem::find(read, b"\r\n\r\n") else { return false };
    let head = read[..end].to_ascii_lowercase();
    let length = memchr::memmem::find(&head, b"\r\ncontent-length: ").map(|at| &head[at + 18..]);
    let digits = length.map_or(&b""[..], |rest| rest.split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default());
    let length: usize = str::from_utf8(digits).unwrap_or_default().parse().unwrap_or(0);
    read.len() >= end + 4 + length
}
