//! What requests keep of configurations that serve no longer.

use super::{GATEWAY, started};
use crate::harness::{Client, Gateway, Upstream, WebSocket, eventually, key};

/// The gateway of these scenarios with an admin listener.
pub(super) async fn watched(upstream: &Upstream) -> Gateway {
    let toml = format!("[admin]\nlisten = \"127.0.0.1:0\"\n{GATEWAY}");
    started(Gateway::builder(&toml).set("UPSTREAM", &upstream.address())).await
}

#[tokio::test]
async fn requests_in_flight_hold_no_configuration_that_serves_no_longer() {
    let upstream = Upstream::start();
    let gateway = watched(&upstream).await;
    let (key, _) = key("acme");
    let keyed = [("x-api-key", key.as_str())];
    let (http1, http2) = (Client::http1(gateway.address(0)), Client::http2(gateway.address(1)));
    let mut socket = WebSocket::open(gateway.address(0), "/app/chat", &keyed).await.expect("it opens");
    let mut streams = Vec::new();
    for client in [&http1, &http2] {
        streams.push(client.get("/app/sse?chunks=2&ms=3600000").header("x-api-key", &key).open().await);
    }
    // An upstream that takes its time has not answered these: they still know what is done with its answer.
    let waiting = [Client::http1(gateway.address(0)), http2].map(|client| {
        let key = key.clone();
        tokio::spawn(async move { client.get("/app/slow?ms=3600000").header("x-api-key", &key).attempt().await })
    });
    upstream.wait_for(5).await;
    for reload in 0..5 {
        let (new, digest) = crate::harness::key(&format!("added-{reload}"));
        let added = format!(
            "\n[[consumers.other.credentials]]\nuse = \"key-auth\"\nid = \"added-{reload}\"\nsha256 = \"{digest}\"\n"
        );
        gateway.rewrite(&format!("{}{added}", gateway.configuration()));
        assert_eq!(gateway.reload().await.code, 0);
        let answer = Client::http1(gateway.address(0)).get("/app/1").header("x-api-key", &new).send().await;
        assert_eq!(answer.status, 403, "it is known, and not let in");
    }
    eventually("one configuration is left", async || gateway.metric("portcullis_config_generations").await == 1.0)
        .await;
    assert_eq!(gateway.metric("portcullis_config_generation").await, 6.0);
    socket.send("still there").await;
    assert_eq!(socket.next().await.as_deref(), Some("still there"));
    for stream in &mut streams {
        assert_eq!(stream.next().await.expect("an event").expect("not cut off"), "data: 0\n\n");
    }
    assert!(waiting.iter().all(|request| !request.is_finished()));
}
