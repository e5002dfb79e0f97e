//! Uploads side by side, each of which comes back while it is sent.

use bytes::Bytes;
use futures_util::future::join_all;

use super::{
    GATEWAY,
    peers::{Connection, Server, read, send},
};
use crate::harness::{Client, Gateway, Upstream, within};

const PIECE: &[u8] = &[b'x'; 16 << 10];

/// Sends so many pieces, and reads what comes back meanwhile.
async fn echoed(client: &Connection, path: &str, pieces: usize) -> Result<usize, h2::Error> {
    let (answer, mut body) = client.post(path).await?;
    let sending = async {
        for _ in 0..pieces {
            send(&mut body, Bytes::from_static(PIECE), false).await?;
        }
        body.send_data(Bytes::new(), true)
    };
    let receiving = async { read(answer.await?.body_mut()).await };
    Ok(tokio::try_join!(sending, receiving)?.1)
}

/// Windows of a connection that its streams have to share: what one leaves another goes on with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_share_small_windows_come_back_whole() {
    const CONNECTIONS: usize = 4;
    const STREAMS: usize = 15;
    const PIECES: usize = 30;
    let (calls, files) = (Server::start().await, Upstream::start());
    for (path, upstream) in [("/calls/echo", calls.address), ("/files/echo", files.address())] {
        let gateway = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream).start().await;
        let clients = join_all((0..CONNECTIONS).map(async |_| {
            let client = Connection::with_windows(gateway.address(0), 65_535, 65_535).await;
            let streams = join_all((0..STREAMS).map(async |number| {
                if number % 5 == 4 {
                    // One that is taken back while the others go on.
                    let (answer, mut body) = client.post(path).await.expect("a stream");
                    let _ = send(&mut body, Bytes::from_static(PIECE), false).await;
                    drop((answer, body));
                    return PIECES * PIECE.len();
                }
                echoed(&client, path, PIECES).await.expect("it is whole")
            }));
            streams.await
        }));
        let received = within("all of them", clients).await;
        assert!(received.iter().flatten().all(|bytes| *bytes == PIECES * PIECE.len()), "{path}: {received:?}");
        assert_eq!(within("an answer", Client::http1(gateway.address(0)).get("/quick").send()).await.status, 200);
    }
}

/// It is refused while both directions are under way.
#[tokio::test]
async fn a_body_that_is_too_large_is_refused_also_where_the_upstream_speaks_http2() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).start().await;
    let client = Connection::open(gateway.address(0)).await;
    let (answer, mut body) = client.post("/small/body").await.expect("a stream");
    send(&mut body, Bytes::from_static(PIECE), false).await.expect("a window");
    upstream.wait_for(1).await;
    send(&mut body, Bytes::from_static(PIECE), false).await.expect("a window");
    let answer = within("an answer", answer).await.expect("a head");
    assert_eq!(answer.headers()["grpc-message"], "body_too_large");
    assert!(!upstream.last().is_complete, "what was sent of it does not pass for the whole");
}
