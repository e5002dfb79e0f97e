//! Messages of gRPC by the thousand, each a frame of its own, some of them to somebody who does not read.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use super::{
    GATEWAY,
    peers::{Connection, MESSAGE, Server, send},
};
use crate::harness::{Gateway, within};

/// How many messages of five bytes fit into a window of the size that HTTP/2 begins with.
const WINDOW_MESSAGES: usize = 65_535 / MESSAGE.len();

async fn start() -> (Gateway, Server) {
    let server = Server::start().await;
    (Gateway::builder(GATEWAY).set("UPSTREAM", &server.address).start().await, server)
}

#[tokio::test]
async fn a_window_full_of_small_frames_that_nobody_reads_ends_no_other_stream() {
    // Whoever connects waits: what the client sends is read by nobody.
    let (listener, _queued) = crate::streams::full().await;
    let address = listener.local_addr().expect("a bound socket");
    let gateway = Gateway::builder(GATEWAY).set("UPSTREAM", &address).start().await;
    let client = Connection::open(gateway.address(0)).await;
    let (_answer, mut body) = client.post("/files/upload").await.expect("a stream");
    for _ in 0..WINDOW_MESSAGES {
        within("the window has room", send(&mut body, Bytes::from_static(MESSAGE), false)).await.expect("it is sent");
    }
    // Sent on the same connection, and so read after all of them.
    assert!(client.is_alive().await);
}

#[tokio::test]
async fn a_client_that_reads_no_small_frames_breaks_nobody_else_s_streams() {
    let (gateway, server) = start().await;
    let idle = Connection::with_windows(gateway.address(0), 0, 65_535).await;
    let pours = async || idle.get(&format!("/calls/pour/{}", 2 * WINDOW_MESSAGES)).await.expect("an answer");
    let mut unread = Vec::new();
    for _ in 0..6 {
        unread.push(within("the answer has begun", pours()).await);
    }
    // The next one goes over the connection that they stall.
    let connections = server.connections();
    let client = Connection::open(gateway.address(0)).await;
    assert_eq!(within("a call", client.call("/calls/echo", 200)).await, Ok(()));
    assert_eq!(server.connections(), connections);
    let others = async |_| {
        let client = Connection::open(gateway.address(0)).await;
        for _ in 0..3 {
            client.call("/calls/echo", 200).await?;
        }
        Ok::<_, String>(())
    };
    let answers = within("others are served", join_all((0..6).map(others))).await;
    assert_eq!(answers, vec![Ok(()); 6]);
}

#[tokio::test]
async fn calls_of_thousands_of_small_messages_arrive_whole() {
    const CALLS: usize = 20;
    const AT_ONCE: usize = 5;
    let (gateway, _server) = start().await;
    let address = gateway.address(0);
    let workers = (0..AT_ONCE).map(|_| async move {
        let client = Connection::open(address).await;
        let mut failed = Vec::new();
        for _ in 0..CALLS / AT_ONCE {
            failed.extend(client.call("/calls/echo", 2000).await.err());
        }
        failed
    });
    let failed = tokio::time::timeout(Duration::from_secs(60), join_all(workers)).await.expect("they end");
    assert_eq!(failed.concat(), Vec::<String>::new());
}
