//! The load: so many connections, each of which asks again as soon as it has its answer.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::LocalSet,
};

use super::{process::Process, upstream::ANSWER_END};

/// Connections that are kept and always busy.
pub const CONNECTIONS: usize = 32;

/// The longest that a warm-up may take. A proxy that does not answer is a failed bench and not an endless one.
const LIMIT: Duration = Duration::from_secs(30);

/// What so many requests cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// CPU time of the proxy for each request.
    pub cpu: Duration,
    /// Requests in a second.
    pub rate: f64,
    /// The time that 99 of 100 requests did not exceed.
    pub p99: Duration,
}

#[derive(Default)]
struct Shared {
    next: Cell<usize>,
    is_over: Cell<bool>,
    took: RefCell<Vec<Duration>>,
}

/// Asks for `span`, with all of `requests` in turn, after asking for `warm_up` unmeasured and with each of them once.
pub fn measure(proxy: &Process, requests: &[Vec<u8>], warm_up: Duration, span: Duration) -> Cost {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let requests: Rc<[Rc<[u8]>]> = requests.iter().map(|request| Rc::from(request.as_slice())).collect();
    LocalSet::new().block_on(&runtime, async {
        let shared = Rc::new(Shared::default());
        let connections: Vec<_> = (0..CONNECTIONS)
            .map(|_| tokio::task::spawn_local(ask(proxy.address, requests.clone(), shared.clone())))
            .collect();
        let begun = Instant::now();
        tokio::time::sleep(warm_up).await;
        while shared.next.get() < requests.len() + CONNECTIONS {
            assert!(begun.elapsed() < LIMIT, "the proxy does not answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        shared.took.borrow_mut().clear();
        let (begun, cpu_begun) = (Instant::now(), proxy.cpu_time());
        tokio::time::sleep(span).await;
        let (wall, cpu) = (begun.elapsed(), proxy.cpu_time() - cpu_begun);
        let mut took = shared.took.take();
        shared.is_over.set(true);
        for connection in connections {
            connection.await.expect("the connection holds");
        }
        let p99 = took.len() * 99 / 100;
        let (_, p99, _) = took.select_nth_unstable(p99);
        let p99 = *p99;
        Cost {
            cpu: cpu / u32::try_from(took.len()).expect("fewer requests"),
            rate: took.len() as f64 / wall.as_secs_f64(),
            p99,
        }
    })
}

async fn ask(address: SocketAddr, requests: Rc<[Rc<[u8]>]>, shared: Rc<Shared>) {
    let mut stream = TcpStream::connect(address).await.expect("the proxy accepts");
    stream.set_nodelay(true).expect("a socket");
    let mut answer = Vec::with_capacity(8192);
    while !shared.is_over.get() {
        let number = shared.next.get();
        shared.next.set(number + 1);
        let begun = Instant::now();
        stream.write_all(&requests[number % requests.len()]).await.expect("the proxy reads");
        answer.clear();
        while !answer.ends_with(ANSWER_END) {
            let read = stream.read_buf(&mut answer).await.expect("the proxy answers");
            assert!(read > 0, "the proxy closed: {}", String::from_utf8_lossy(&answer));
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        shared.took.borrow_mut().push(begun.elapsed());
    }
}
