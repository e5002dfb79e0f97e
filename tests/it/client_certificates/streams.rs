//! What changes for streams that are open: their certificate was good when they began.

use super::{GATEWAY, OPEN, World, configured};
use crate::harness::{Authority, Client, Crl, Leaf, Opened, Tls, WebSocket, eventually};

const REQUIRED: &str = "client_auth = \"required\"\nclient_ca = \"clients.pem\"\nclient_crl = \"clients.crl\"";

/// Events over HTTP/1 and HTTP/2, and a WebSocket.
struct Streams {
    http: Vec<(Client, Opened)>,
    socket: WebSocket,
}

impl Streams {
    async fn open(world: &World, http1: &Tls, http2: &Tls) -> Self {
        let address = world.gateway.address(0);
        let mut http = Vec::new();
        for tls in [http1, http2] {
            let client = Client::by_tls(address, tls);
            let mut answer = client.get("/sse?chunks=2&ms=3600000").open().await;
            assert_eq!((answer.status(), answer.next().await.expect("an event").is_ok()), (200, true));
            http.push((client, answer));
        }
        let opened = WebSocket::open_by_tls(address, http1, "/chat", &[]).await;
        Self { http, socket: opened.unwrap_or_else(|refused| panic!("refused: {refused:?}")) }
    }

    async fn assert_end(mut self, world: &World, reason: &str) {
        for (_, answer) in &mut self.http {
            assert!(answer.next().await.is_some_and(|piece| piece.is_err()), "it is cut off");
        }
        assert_eq!(self.socket.next().await, None);
        let event = world.gateway.audit(|event| event["event"] == "stream_ended").await;
        assert_eq!((&event["reason"], &event["route"]), (&reason.into(), &"app".into()));
    }
}

#[tokio::test]
async fn a_crl_that_now_has_the_certificate_ends_its_streams_and_no_others() {
    let (servers, root) = (Authority::new("Servers"), Authority::new("Clients"));
    let builder = configured(&servers, &root, REQUIRED).set("MORE", "").file("clients.crl", Crl::of(&root).pem());
    let world = World::of(&servers, &root, builder).await;
    let (alice, bob) = (root.issue(Leaf::client("alice")), root.issue(Leaf::client("bob")));
    let tls = |pair| (world.tls(OPEN).certificate(pair).http1(), world.tls(OPEN).certificate(pair).http2());
    let ((alice_1, alice_2), (bob_1, bob_2)) = (tls(&alice), tls(&bob));
    let of_alice = Streams::open(&world, &alice_1, &alice_2).await;
    let mut of_bob = Streams::open(&world, &bob_1, &bob_2).await;
    world.gateway.replace("clients.crl", Crl::of(&root).revoke(&alice).pem());
    assert_eq!(world.gateway.reload().await.code, 0);
    of_alice.assert_end(&world, "certificate_revoked").await;
    of_bob.socket.send("still there").await;
    assert_eq!(of_bob.socket.next().await.as_deref(), Some("still there"));
    eventually("Bob's are left", async || world.gateway.metric("portcullis_open_streams").await == 3.0).await;
}

#[tokio::test]
async fn a_ca_that_is_replaced_ends_the_streams_of_its_clients() {
    let (servers, root) = (Authority::new("Servers"), Authority::new("Clients"));
    let lines = "client_auth = \"required\"\nclient_ca = \"clients.pem\"";
    let world = World::of(&servers, &root, configured(&servers, &root, lines).set("MORE", "")).await;
    let alice = root.issue(Leaf::client("alice"));
    let (http1, http2) = (world.tls(OPEN).certificate(&alice).http1(), world.tls(OPEN).certificate(&alice).http2());
    let streams = Streams::open(&world, &http1, &http2).await;
    world.gateway.replace("clients.pem", Authority::new("Others").pem());
    assert_eq!(world.gateway.reload().await.code, 0);
    streams.assert_end(&world, "certificate_unknown_ca").await;
}

#[tokio::test]
async fn a_name_that_begins_to_ask_ends_streams_without_a_certificate() {
    let world = World::start("client_auth = \"off\"").await;
    let streams = Streams::open(&world, &world.tls(OPEN).http1(), &world.tls(OPEN).http2()).await;
    world.gateway.rewrite(&GATEWAY.replace("@CLIENTS@", "client_auth = \"required\"\nclient_ca = \"clients.pem\""));
    assert_eq!(world.gateway.reload().await.code, 0);
    streams.assert_end(&world, "server_name_mismatch").await;
}
