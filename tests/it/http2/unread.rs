//! Large answers to clients that do not read them, and large bodies to upstreams that do not: what waits is bounded, of
//! each connection and of all together, and it does not wait for ever.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use h2::RecvStream;
use http::Response;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

use super::{
    GATEWAY,
    peers::{Connection, Files, read, send},
};
use crate::harness::{Gateway, eventually, within};

/// The size of an answer.
const BYTES: usize = 20_000_000;
/// What one connection may hold: a part of the budget, which is 128 MiB, and what was read before that was known.
const SHARE_BYTES: f64 = (3 << 20) as f64;

/// What one connection with a hundred of them may take of the process's memory.
const RESIDENT_KIB: u64 = 20 << 10;

async fn start(settings: &[&str]) -> (Gateway, Files) {
    let files = Files::start().await;
    let builder = Gateway::builder(GATEWAY).set("UPSTREAM", &files.address);
    let builder = settings.iter().fold(builder, |builder, line| builder.server(line));
    (builder.start().await, files)
}

async fn unsent(gateway: &Gateway) -> f64 {
    gateway.metric("portcullis_unsent_bytes").await
}

/// Asks for so many answers on one connection; none of them is read.
async fn asked(client: &Connection, answers: usize) -> Vec<JoinHandle<Result<Response<RecvStream>, h2::Error>>> {
    let mut asked = Vec::new();
    for _ in 0..answers {
        asked.push(tokio::spawn(client.ask(&format!("/files/{BYTES}")).await.expect("a stream")));
    }
    asked
}

/// Waits until nothing more is read ahead.
async fn settled(gateway: &Gateway) -> f64 {
    let mut before = -1.0;
    eventually("no more is read", async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = unsent(gateway).await;
        std::mem::replace(&mut before, now) == now && now > 0.0
    })
    .await;
    before
}

#[tokio::test]
async fn answers_that_nobody_reads_take_little_memory() {
    const CONNECTIONS: usize = 6;
    let large = (16 << 20, 1 << 30);
    for (stream, connection) in [(65_535, 65_535), large, (0x7fff_ffff, 0x7fff_ffff), (0, 65_535)] {
        let (gateway, _files) = start(&[]).await;
        let before = gateway.process("VmRSS");
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let client = Connection::with_windows(gateway.address(0), stream, connection).await;
            // Where windows never end it is the socket that is not read.
            if stream > 65_535 {
                client.stop_reading();
            }
            let answers = asked(&client, 100).await;
            clients.push((client, answers));
        }
        let unsent = settled(&gateway).await;
        assert!(unsent < CONNECTIONS as f64 * SHARE_BYTES, "{unsent} bytes wait");
        let taken = gateway.process("VmRSS") - before;
        println!("{CONNECTIONS} connections, windows {stream}: {unsent} bytes wait, {taken} KiB more in memory");
        // Beside what waits: a hundred requests, each with a connection to the upstream and its buffers.
        assert!(taken < CONNECTIONS as u64 * RESIDENT_KIB, "{taken} KiB more in memory");
        // Nobody else is the worse for it.
        let other = Connection::open(gateway.address(0)).await;
        assert!(other.is_alive().await);
        let mut answer = within("an answer", other.get(&format!("/files/{BYTES}"))).await.expect("an answer");
        assert_eq!(within("all of it", read(answer.body_mut())).await.ok(), Some(BYTES));
        drop(clients);
    }
}

#[tokio::test]
async fn whoever_reads_gets_all_of_it_whatever_its_windows() {
    let (gateway, _files) = start(&[]).await;
    for window in [1 << 10, 65_535, 1 << 20, 0x7fff_ffff] {
        let client = Connection::with_windows(gateway.address(0), window, window.max(65_535)).await;
        let bytes = BYTES.min(window as usize * 500);
        let answers = join_all((0..3).map(async |_| {
            let mut answer = client.get(&format!("/files/{bytes}")).await?;
            read(answer.body_mut()).await
        }));
        let answers = within("whole answers", answers).await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|read| *read == bytes)), "{window}: {answers:?}");
    }
    eventually("nothing waits", async || unsent(&gateway).await == 0.0).await;
}

#[tokio::test]
async fn an_answer_of_which_nothing_is_taken_ends_in_time() {
    let (gateway, _files) = start(&["write_timeout = \"1s\""]).await;
    let client = Connection::with_windows(gateway.address(0), 65_535, 65_535).await;
    let answers = asked(&client, 3).await;
    let mut http1 = connected(gateway.address(0)).await;
    for answer in answers {
        let mut answer = within("a head", answer).await.expect("no panic").expect("a head");
        let data = answer.body_mut();
        // What has come may be read; then the stream is reset.
        let ended = within("an end", async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            read(data).await
        });
        assert!(ended.await.is_err());
    }
    gateway.access(|line| line["protocol"] == "HTTP/2" && line["error"].to_string().contains("write_timeout")).await;
    gateway.access(|line| line["protocol"] == "HTTP/1.1" && line["error"].to_string().contains("write_timeout")).await;
    let received = within("it is closed", http1.read_to_end(&mut Vec::new())).await;
    assert!(received.map_or(true, |bytes| bytes < BYTES));
    eventually("nothing waits", async || unsent(&gateway).await == 0.0).await;
}

/// A connection in HTTP/1 that has asked for an answer and does not read it.
async fn connected(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    let request = format!("GET /files/{BYTES} HTTP/1.1\r\nHost: a.example\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("it is read");
    socket
}

#[tokio::test]
async fn answers_in_http1_that_nobody_reads_take_little_memory() {
    const CONNECTIONS: usize = 100;
    let (gateway, _files) = start(&[]).await;
    let before = gateway.process("VmRSS");
    let mut sockets = join_all((0..CONNECTIONS).map(|_| connected(gateway.address(0)))).await;
    let unsent = settled(&gateway).await;
    let taken = gateway.process("VmRSS") - before;
    println!("{CONNECTIONS} connections in HTTP/1: {unsent} bytes wait, {taken} more in memory");
    // Five pieces of 64 KiB.
    assert!(unsent < CONNECTIONS as f64 * 340_000.0, "{unsent} bytes wait");
    // Whoever reads after all gets all of it.
    let mut received = 0;
    let mut piece = vec![0; 1 << 16];
    while received < BYTES {
        received += within("more", sockets[0].read(&mut piece)).await.expect("it goes on");
    }
}

#[tokio::test]
async fn the_budget_holds_and_whoever_reads_is_served() {
    let (gateway, _files) = start(&["max_unsent_bytes = 8000000"]).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let client = Connection::with_windows(gateway.address(0), 65_535, 65_535).await;
        clients.push((asked(&client, 20).await, client));
    }
    let most = settled(&gateway).await;
    assert!(most < 10_000_000.0, "{most} bytes wait");
    let other = Connection::open(gateway.address(0)).await;
    let mut answer = within("an answer", other.get(&format!("/files/{BYTES}"))).await.expect("an answer");
    assert_eq!(within("all of it", read(answer.body_mut())).await.ok(), Some(BYTES));
}

#[tokio::test]
async fn uploads_that_no_upstream_reads_are_bounded() {
    const UPLOADS: usize = 20;
    const PIECE: &[u8] = &[b'x'; 10_000];
    let (gateway, _files) = start(&["max_unsent_bytes = 200000", "write_timeout = \"2s\""]).await;
    let clients = join_all((0..UPLOADS).map(|_| Connection::open(gateway.address(0)))).await;
    let mut uploads = Vec::new();
    for client in &clients {
        let (answer, mut body) = client.post("/uploads/one").await.expect("a stream");
        uploads.push(tokio::spawn(async move {
            while send(&mut body, Bytes::from_static(PIECE), false).await.is_ok() {}
            drop(answer);
        }));
    }
    let most = settled(&gateway).await;
    // Half of the limit: there is not even a piece for each.
    assert!(most <= 100_000.0, "{most} bytes wait");
    // None of them holds on to it for ever.
    gateway.access(|line| line["status"] == 504 && line["error"].to_string().contains("write_timeout")).await;
    uploads.iter().for_each(JoinHandle::abort);
    drop(clients);
    eventually("nothing waits", async || unsent(&gateway).await == 0.0).await;
}

/// A proxy in front of the gateway has the uploads of many users on one connection.
#[tokio::test]
async fn an_upload_that_its_upstream_does_not_read_stops_no_other_of_its_connection() {
    const PIECE: &[u8] = &[b'x'; 16_000];
    let (gateway, _files) = start(&[]).await;
    let client = Connection::open(gateway.address(0)).await;
    let mut unread = Vec::new();
    for _ in 0..3 {
        let (answer, mut body) = client.post("/files/one").await.expect("a stream");
        unread.push(tokio::spawn(async move {
            while send(&mut body, Bytes::from_static(PIECE), false).await.is_ok() {}
            drop(answer);
        }));
    }
    settled(&gateway).await;
    let (_answer, mut body) = client.post("/files/two").await.expect("a stream");
    for _ in 0..4 {
        within("a window", send(&mut body, Bytes::from_static(PIECE), false)).await.expect("it is taken");
    }
    unread.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn the_time_that_an_upstream_takes_to_read_is_not_the_clients() {
    const PIECE: &[u8] = &[b'x'; 16_000];
    let (gateway, _files) = start(&["body_timeout = \"1s\"", "min_body_bytes_per_second = 1000000"]).await;
    let client = Connection::open(gateway.address(0)).await;
    let (answer, mut body) = client.post("/uploads/one").await.expect("a stream");
    let upload = tokio::spawn(async move {
        while send(&mut body, Bytes::from_static(PIECE), false).await.is_ok() {}
        drop(answer);
    });
    // The upstream has two seconds.
    let line = gateway.access(|line| line["path"] == "/uploads/one").await;
    assert!(line["status"] == 504 && line["error"].to_string().contains("upstream: "), "{line}");
    upload.abort();
}
