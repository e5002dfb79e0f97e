//! What changes for connections that are open: their certificate was good when they began.

use super::{GATEWAY, OPEN, SECRET, World, configured};
use crate::harness::{Authority, Client, Crl, Leaf, Response};

const REQUIRED: &str = "client_auth = \"required\"\nclient_ca = \"clients.pem\"\nclient_crl = \"clients.crl\"";

fn assert_refused(answer: &Response, what: &str) {
    assert!(matches!(answer.status, 401 | 403 | 421), "{what}: {} {}", answer.status, answer.text());
}

#[tokio::test]
async fn a_certificate_that_a_reload_revokes_stops_working_on_its_next_request() {
    let (servers, root) = (Authority::new("Servers"), Authority::new("Clients"));
    let builder = configured(&servers, &root, REQUIRED).set("MORE", "").file("clients.crl", Crl::of(&root).pem());
    let world = World::of(&servers, &root, builder).await;
    let (alice, bob) = (root.issue(Leaf::client("alice")), root.issue(Leaf::client("bob")));
    let clients = |pair| {
        let (h1, h2) = (world.tls(OPEN).certificate(pair).http1(), world.tls(OPEN).certificate(pair).http2());
        [h1, h2].map(|tls| Client::by_tls(world.gateway.address(0), &tls))
    };
    let (of_alice, of_bob) = (clients(&alice), clients(&bob));
    for client in of_alice.iter().chain(&of_bob) {
        assert_eq!(client.get("/x").send().await.status, 200);
    }
    world.gateway.replace("clients.crl", Crl::of(&root).revoke(&alice).pem());
    assert_eq!(world.gateway.reload().await.code, 0);
    let before = world.upstream.requests();
    for client in &of_alice {
        let answer = client.get("/x").attempt().await;
        // Told so, or the connection is over: nothing of hers goes through.
        assert!(answer.map_or(true, |answer| answer.status() != 200), "a revoked certificate goes on");
    }
    assert_eq!(world.upstream.requests(), before);
    for client in &of_bob {
        assert_eq!((client.get("/x").send().await.status, client.connections().await), (200, 1));
    }
}

#[tokio::test]
async fn a_ca_that_a_reload_takes_away_takes_its_clients_along() {
    let (servers, root) = (Authority::new("Servers"), Authority::new("Clients"));
    let lines = "client_auth = \"required\"\nclient_ca = \"clients.pem\"";
    let builder = configured(&servers, &root, lines).set("MORE", "");
    let world = World::of(&servers, &root, builder).await;
    let tls = world.tls(OPEN).certificate(&root.issue(Leaf::client("alice"))).http1();
    let client = Client::by_tls(world.gateway.address(0), &tls);
    assert_eq!(client.get("/x").send().await.status, 200);
    world.gateway.replace("clients.pem", Authority::new("Others").pem());
    assert_eq!(world.gateway.reload().await.code, 0);
    let before = world.upstream.requests();
    let answer = client.get("/x").attempt().await;
    assert!(answer.map_or(true, |answer| answer.status() != 200), "clients of nobody go on");
    assert_eq!(world.upstream.requests(), before);
}

#[tokio::test]
async fn a_name_that_begins_to_ask_asks_connections_that_are_open_too() {
    let world = World::start("client_auth = \"off\"").await;
    let clients =
        [world.tls(OPEN).http1(), world.tls(OPEN).http2()].map(|tls| Client::by_tls(world.gateway.address(0), &tls));
    for client in &clients {
        assert_eq!(client.get("/x").send().await.status, 200);
    }
    world.gateway.rewrite(&GATEWAY.replace("@CLIENTS@", "client_auth = \"required\"\nclient_ca = \"clients.pem\""));
    assert_eq!(world.gateway.reload().await.code, 0);
    let before = world.upstream.requests();
    for client in &clients {
        assert_refused(&client.get("/x").send().await, "on a connection from before");
    }
    assert_eq!(world.upstream.requests(), before);
}

#[tokio::test]
async fn a_certificate_that_was_shown_to_one_name_is_none_of_another() {
    let lines = "[listeners.tls.names.\"secret.example.com\"]\nclient_auth = \"required\"\nclient_ca = \"clients.pem\"";
    let world = World::start(lines).await;
    let tls = world.tls(SECRET).certificate(&world.clients.issue(Leaf::client("alice"))).http1();
    let client = Client::by_tls(world.gateway.address(0), &tls);
    assert_eq!(client.get("/x").send().await.status, 200);
    // The name is no longer one that asks: what was shown to it before says nothing now.
    world.gateway.rewrite(&GATEWAY.replace("@CLIENTS@", ""));
    assert_eq!(world.gateway.reload().await.code, 0);
    assert_eq!(client.get("/x").send().await.status, 200);
    let saw = world.upstream.last();
    assert!(saw.headers.iter().all(|(name, _)| !name.contains("client-cert")), "{saw:?}");
}
