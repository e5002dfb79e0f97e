//! Server names that ask differently, and requests for a host that is not the connection's: HTTP/2 clients put several
//! hosts on one connection where a certificate has them all (RFC 9113 section 9.1.1), others do what they like.

use super::{OPEN, SECRET, World, get};
use crate::harness::{Authority, Client, Leaf, Raw, Response, Tls, WebSocket};

const NAMES: &str = "[listeners.tls.names.\"secret.example.com\"]\nclient_auth = \"required\"\n\
                     client_ca = \"clients.pem\"\n\n[listeners.tls.names.\"twin.example.com\"]\n\
                     client_auth = \"required\"\nclient_ca = \"clients.pem\"\n\n\
                     [listeners.tls.names.\"*.partners.example.com\"]\nclient_auth = \"required\"\n\
                     client_ca = \"partners.pem\"\n\n[listeners.tls.names.\"open.partners.example.com\"]\n\
                     client_auth = \"off\"";

const PARTNER: &str = "acme.partners.example.com";

async fn start() -> (World, Authority) {
    let partners = Authority::new("Partners");
    let change = |builder: crate::harness::GatewayBuilder| builder.file("partners.pem", partners.pem());
    (World::with(NAMES, "", change).await, partners)
}

fn assert_misdirected(answer: &Response, what: &str) {
    assert_eq!(answer.status, 421, "{what}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
}

#[tokio::test]
async fn each_name_asks_for_its_own() {
    let (mut world, partners) = start().await;
    let (own, partner) = (world.clients.issue(Leaf::client("alice")), partners.issue(Leaf::client("bob")));
    let anyone = serde_json::json!({ "ca": world.gateway.dir().join("ca.pem") });
    for (name, let_in) in [
        (OPEN, [true, true, true]),
        (SECRET, [false, true, false]),
        ("SECRET.example.com", [false, true, false]),
        ("twin.example.com", [false, true, false]),
    ] {
        for (pair, is_let_in) in [None, Some(&own), Some(&partner)].into_iter().zip(let_in) {
            let answer = world.ask(name, pair, &anyone);
            assert_eq!(super::status(&answer).is_some(), is_let_in, "{name}: {answer:#}");
        }
    }
    // Names of two labels more, which the server's certificate does not have.
    for (name, let_in) in [
        (PARTNER, [false, false, true]),
        ("open.partners.example.com", [true, true, true]),
        ("deep.acme.partners.example.com", [false, false, true]),
    ] {
        for (pair, is_let_in) in [None, Some(&own), Some(&partner)].into_iter().zip(let_in) {
            let builder = Tls::trusting_anyone().name_unverified(name);
            let builder = if let Some(pair) = pair { builder.certificate(pair) } else { builder };
            let Ok(mut raw) = Raw::open_by_tls(world.gateway.address(0), &builder.http1()).await else {
                assert!(!is_let_in, "{name}");
                continue;
            };
            raw.send(get(name, "/x")).await;
            assert_eq!(raw.rest().await.starts_with(b"HTTP/1.1 200"), is_let_in, "{name}");
        }
    }
}

/// The name that the connection asks for, `Host`, and whether the request belongs there.
const HOSTS: &[(&str, &str, bool)] = &[
    (OPEN, OPEN, true),
    (OPEN, "OPEN.example.com:8443", true),
    (OPEN, "another.example.com", true),
    (OPEN, "127.0.0.1", true),
    (OPEN, SECRET, false),
    (OPEN, "secret.example.com:443", false),
    (OPEN, "SECRET.EXAMPLE.COM", false),
    (OPEN, "secret.example.com.", false),
    (OPEN, PARTNER, false),
    (OPEN, "open.partners.example.com", true),
    (SECRET, SECRET, true),
    (SECRET, "Secret.example.com.:443", true),
    (SECRET, "twin.example.com", true),
    (SECRET, OPEN, false),
    (SECRET, PARTNER, false),
    (SECRET, "127.0.0.1", false),
];

#[tokio::test]
async fn a_host_that_is_asked_differently_than_the_connections_name_is_421() {
    let (world, _) = start().await;
    let own = world.clients.issue(Leaf::client("alice"));
    for (name, host, belongs) in HOSTS {
        for is_http2 in [false, true] {
            let builder = world.tls(name);
            let builder = if *name == SECRET { builder.certificate(&own) } else { builder };
            let tls = if is_http2 { builder.http2() } else { builder.http1() };
            let (client, before) = (Client::by_tls(world.gateway.address(0), &tls), world.upstream.requests());
            let answer = client.get("/x").host(host).send().await;
            let what = format!("{host} on a connection for {name}, HTTP/2: {is_http2}");
            if *belongs {
                assert_eq!(answer.status, 200, "{what}: {}", answer.text());
            } else {
                assert_misdirected(&answer, &what);
            }
            assert_eq!(world.upstream.requests() - before, usize::from(*belongs), "{what}");
        }
    }
}

#[tokio::test]
async fn hosts_that_are_put_on_one_connection_are_judged_each_by_itself() {
    let (world, _) = start().await;
    for (tls, connections) in [(world.tls(OPEN).http1(), 3), (world.tls(OPEN).http2(), 1)] {
        let client = Client::by_tls(world.gateway.address(0), &tls);
        for (host, status) in [(OPEN, 200), (SECRET, 421), (OPEN, 200), (PARTNER, 421), ("b.example.com", 200)] {
            assert_eq!(client.get("/x").host(host).send().await.status, status, "{host}");
        }
        // 421 says that another connection is wanted: HTTP/1 has this one ended by it, in HTTP/2 others share it.
        assert_eq!(client.connections().await, connections);
    }
}

#[tokio::test]
async fn no_server_name_at_all_is_no_way_around() {
    let (world, _) = start().await;
    for tls in [Tls::trusting(&world.servers).http1(), Tls::trusting(&world.servers).http2()] {
        let client = Client::by_tls(world.gateway.address(0), &tls);
        assert_eq!(client.get("/x").host(OPEN).send().await.status, 200);
        assert_misdirected(&client.get("/x").host(SECRET).send().await, "without a server name");
    }
}

/// Requests on a connection for the open name that mean the secret one in other ways.
fn other_ways() -> Vec<(&'static str, String)> {
    let close = "Connection: close\r\n\r\n";
    vec![
        ("absolute form", format!("GET https://{SECRET}/x HTTP/1.1\r\nHost: {OPEN}\r\n{close}")),
        ("absolute form, the other way round", format!("GET https://{OPEN}/x HTTP/1.1\r\nHost: {SECRET}\r\n{close}")),
        ("absolute form alone", format!("GET https://{SECRET}/x HTTP/1.1\r\n{close}")),
        ("Host twice", format!("GET /x HTTP/1.1\r\nHost: {OPEN}\r\nHost: {SECRET}\r\n{close}")),
        ("Host twice, the other way round", format!("GET /x HTTP/1.1\r\nHost: {SECRET}\r\nHost: {OPEN}\r\n{close}")),
        ("HTTP/1.0", format!("GET /x HTTP/1.0\r\nHost: {SECRET}\r\n{close}")),
        ("a user before it", format!("GET /x HTTP/1.1\r\nHost: {OPEN}@{SECRET}\r\n{close}")),
    ]
}

#[tokio::test]
async fn no_other_way_of_naming_a_host_gets_there() {
    let (world, _) = start().await;
    for (what, request) in other_ways() {
        let tls = world.tls(OPEN).http1();
        let mut connection = Raw::open_by_tls(world.gateway.address(0), &tls).await.expect("a handshake");
        connection.send(request).await;
        let answer = String::from_utf8_lossy(&connection.rest().await).into_owned();
        assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 421 "), "{what}: {answer}");
    }
    let client = Client::by_tls(world.gateway.address(0), &world.tls(OPEN).http2());
    let both = client.get("/x").host(OPEN).header("host", SECRET).send().await;
    assert_eq!(both.status, 400, "{}", both.text());
    let refused = WebSocket::open_on_host(world.gateway.address(0), &world.tls(OPEN).http1(), SECRET, "/chat").await;
    assert_misdirected(&refused.err().expect("no WebSocket"), "a WebSocket");
    // What names the host otherwise is nobody's to believe.
    let forwarded = client.get("/x").host(OPEN).header("x-forwarded-host", SECRET).send().await;
    assert_eq!((forwarded.status, world.upstream.last().header("x-forwarded-host")), (200, Some(OPEN)));
    assert_eq!(world.upstream.requests(), 1);
}
