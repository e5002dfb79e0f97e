//! An upstream that is spoken to by HTTP/2 and is far away: its windows bound how fast a stream comes.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};

use super::{
    GATEWAY,
    peers::{Connection, Server, read},
};
use crate::harness::{Gateway, within};

/// To the upstream and back.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// Passes on what comes, later; as much of it as comes is under way at once. Returns where it listens.
async fn far_from(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(server).await else { return };
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            delayed(from_near, to_far);
            delayed(from_far, to_near);
        }
    });
    address
}

fn delayed(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let (put, mut taken) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        let mut piece = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut piece).await {
            let _ = put.send((Instant::now() + ROUND_TRIP / 2, piece[..read].to_vec()));
        }
    });
    tokio::spawn(async move {
        while let Some((due, piece)) = taken.recv().await {
            tokio::time::sleep_until(due.into()).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
}

/// A gateway whose upstream `calls` says this.
async fn start(upstream: SocketAddr, says: &str) -> Gateway {
    let config = GATEWAY.replace("protocol = \"h2c\"", &format!("protocol = \"h2c\"\n{says}"));
    Gateway::builder(&config).set("UPSTREAM", &upstream).start().await
}

/// How long so many bytes take on a stream.
async fn takes(gateway: &Gateway, bytes: usize) -> Duration {
    let client = Connection::open(gateway.address(0)).await;
    let began = Instant::now();
    let mut answer = within("an answer", client.get(&format!("/calls/bytes/{bytes}"))).await.expect("an answer");
    let received = tokio::time::timeout(Duration::from_secs(60), read(answer.body_mut())).await.expect("it ends");
    assert_eq!(received.ok(), Some(bytes));
    let took = began.elapsed();
    println!("{bytes} bytes in {took:?}: {:.1} MB/s", bytes as f64 / 1e6 / took.as_secs_f64());
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_from_afar_is_as_fast_as_its_window_says() {
    let server = Server::start().await;
    let far = far_from(server.address).await;
    let by_default = start(far, "").await;
    // No more than a window in a round trip: twelve of them, and their head.
    let bytes = 12 * 65_535;
    assert!(takes(&by_default, bytes).await >= ROUND_TRIP * 11);
    let widened = start(far, "http2_window_bytes = 1048576").await;
    // By the default it would take 12.8 seconds.
    let took = takes(&widened, 16 << 20).await;
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn small_frames_that_nobody_reads_fit_into_large_windows() {
    let server = Server::start().await;
    let gateway = start(server.address, "http2_window_bytes = 1048576").await;
    let idle = Connection::with_windows(gateway.address(0), 0, 65_535).await;
    let mut unread = Vec::new();
    for _ in 0..3 {
        let pours = idle.get("/calls/pour/60000");
        unread.push(within("the answer has begun", pours).await.expect("an answer"));
    }
    let connections = server.connections();
    let others = join_all((0..3).map(async |_| {
        let client = Connection::open(gateway.address(0)).await;
        client.call("/calls/echo", 2000).await
    }));
    assert_eq!(within("others are served", others).await, vec![Ok(()); 3]);
    assert_eq!(server.connections(), connections, "over the connection that they stall");
}
