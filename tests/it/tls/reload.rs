//! Certificates, CAs and CRLs that change under a gateway that goes on serving.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::json;
use tokio::net::TcpStream;

use super::{CERTIFICATE, NAME, World, configured};
use crate::harness::{Authority, Client, Crl, Gateway, LIMIT, Leaf, Pair, Tls, WebSocket, eventually};

/// Lays another certificate in the place of the gateway's.
fn renew(gateway: &Gateway, pair: &Pair) {
    gateway.replace("api.pem", pair.chain_pem());
    gateway.replace("api.key", pair.key_pem());
}

/// The serial number of the certificate that a new connection sees.
async fn seen(gateway: &Gateway, tls: &Tls) -> String {
    let stream = TcpStream::connect(gateway.address(0)).await.expect("a connection");
    let stream = tls.connect(stream).await.expect("a handshake");
    let certificate = stream.ssl().peer_certificate().expect("a server has one");
    let number = certificate.serial_number().to_bn().expect("a number");
    number.to_hex_str().expect("a number").to_string()
}

const RELOADS: usize = 200;
/// After so many everything has been allocated once.
const WARM: usize = 40;
/// What 160 reloads may add. OpenSSL's contexts of as many snapshots would be ten times that.
const GROWTH_KIB: u64 = 3 * 1024;

/// Certificates under numbers, for a client to tell by the name which of them it has met.
fn numbered(ca: &Authority, number: usize) -> Pair {
    ca.issue(Leaf::server(NAME).dns(&format!("number-{number}.example.com")))
}

fn number_of(certificate: &openssl::x509::X509Ref) -> usize {
    let names = certificate.subject_alt_names().expect("names");
    let number = |name: &str| name.strip_prefix("number-")?.strip_suffix(".example.com")?.parse().ok();
    names.iter().filter_map(|name| name.dnsname()).find_map(number).expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_reloads_under_new_handshakes_fail_none_and_leak_nothing() {
    let world = {
        let ca = Authority::new("Root");
        let first = numbered(&ca, 0);
        let lines =
            format!("{CERTIFICATE}\nclient_auth = \"optional\"\nclient_ca = \"ca.pem\"\nclient_crl = \"ca.crl\"");
        let builder = configured(&ca, &lines).file("ca.crl", Crl::of(&ca).pem());
        let builder = builder.file("api.pem", first.chain_pem()).file("api.key", first.key_pem());
        World::with(ca, builder).await
    };
    let (is_over, shaken, published) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let with_certificate = world.tls().certificate(&world.ca.issue(Leaf::client("alice"))).http1();
    let load: Vec<_> = [world.tls().http1(), world.tls().http2(), with_certificate]
        .into_iter()
        .map(|tls| {
            let (address, is_over, shaken, published) =
                (world.gateway.address(0), is_over.clone(), shaken.clone(), published.clone());
            tokio::spawn(async move {
                while !is_over.load(SeqCst) {
                    let oldest = published.load(SeqCst);
                    let stream = TcpStream::connect(address).await.expect("a connection");
                    let stream = tls.connect(stream).await.expect("no handshake fails");
                    let number = number_of(&stream.ssl().peer_certificate().expect("a server has one"));
                    assert!(number >= oldest, "certificate {number} after {oldest} was published");
                    drop(stream);
                    let answer = Client::by_tls(address, &tls).get("/x").send().await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    shaken.fetch_add(2, SeqCst);
                }
            })
        })
        .collect();

    let mut warm = None;
    for number in 1..=RELOADS {
        renew(&world.gateway, &numbered(&world.ca, number));
        world.gateway.replace("ca.crl", Crl::of(&world.ca).pem());
        let reload = world.gateway.reload().await;
        assert_eq!(reload.code, 0, "{reload:?}");
        published.store(number, SeqCst);
        if number == WARM {
            warm = Some(world.gateway.process("VmRSS"));
        }
    }
    is_over.store(true, SeqCst);
    for client in load {
        client.await.expect("no handshake and no request fails");
    }
    let (warm, end, shaken) = (warm.expect("more than that"), world.gateway.process("VmRSS"), shaken.load(SeqCst));
    println!("{shaken} handshakes; {warm} KiB after {WARM} reloads, {end} KiB after {RELOADS}");
    assert!(shaken > RELOADS, "that was no load: {shaken} handshakes");
    assert!(end <= warm + GROWTH_KIB, "{warm} KiB, then {end} KiB");
    assert!(!world.gateway.lines().iter().any(|line| line["event"] == "handshake"), "a handshake failed");
}

#[tokio::test]
async fn a_bad_file_refuses_the_reload_and_the_old_one_serves() {
    let ca = Authority::new("Root");
    let (pair, other) = (ca.issue(Leaf::server(NAME)), ca.issue(Leaf::server(NAME)));
    let foreign = Authority::new("Foreign");
    let expired = ca.issue(Leaf::server(NAME).valid(-30, -1));
    let lines =
        format!("{CERTIFICATE}\nclient_auth = \"optional\"\nclient_ca = \"clients.pem\"\nclient_crl = \"clients.crl\"");
    let good = [
        ("api.pem", pair.chain_pem().into_bytes()),
        ("api.key", pair.key_pem().into_bytes()),
        ("clients.pem", ca.pem().into_bytes()),
        ("clients.crl", Crl::of(&ca).der()),
    ];
    let builder = good.iter().fold(configured(&ca, &lines), |builder, (path, contents)| builder.file(path, contents));
    let world = World::with(ca.clone(), builder).await;
    let half = pair.chain_pem()[..300].to_owned();
    let bad: Vec<(&str, &str, Vec<u8>)> = vec![
        ("garbage for a certificate", "api.pem", b"hello".to_vec()),
        ("half a certificate", "api.pem", half.into_bytes()),
        ("another certificate", "api.pem", other.chain_pem().into_bytes()),
        ("an expired certificate", "api.pem", expired.chain_pem().into_bytes()),
        ("another key", "api.key", other.key_pem().into_bytes()),
        ("an empty key", "api.key", Vec::new()),
        ("an empty CA", "clients.pem", Vec::new()),
        ("garbage for a CA", "clients.pem", b"hello".to_vec()),
        ("a leaf for a CA", "clients.pem", other.pem().into_bytes()),
        ("garbage for a CRL", "clients.crl", b"hello".to_vec()),
        ("an empty CRL", "clients.crl", Vec::new()),
        ("a CRL of somebody else", "clients.crl", Crl::of(&foreign).der()),
        ("a CRL that has expired", "clients.crl", Crl::of(&ca).valid_seconds(-7200, -60).der()),
        ("a CRL that is not valid yet", "clients.crl", Crl::of(&ca).valid_seconds(3600, 7200).der()),
        (
            "a CRL with a critical extension that nobody knows",
            "clients.crl",
            Crl::of(&ca).extension("1.2.3.4.5 = critical,ASN1:NULL").der(),
        ),
        (
            "a CRL for a part of the certificates",
            "clients.crl",
            Crl::of(&ca).extension("2.5.29.28 = critical,DER:30:03:81:01:FF").der(),
        ),
        ("a delta CRL", "clients.crl", Crl::of(&ca).extension("deltaCRL = critical,ASN1:INTEGER:1").der()),
    ];
    let client = Client::by_tls(world.gateway.address(0), &world.tls().http1());
    for (what, file, contents) in &bad {
        world.gateway.replace(file, contents);
        let reload = world.gateway.reload().await;
        assert_ne!(reload.code, 0, "{what} is taken");
        let field =
            if file.starts_with("api") { "certificates" } else { file.split_once('.').map_or("", |(_, it)| it) };
        assert!(reload.stderr.contains(if field == "pem" { "client_ca" } else { field }), "{what}: {reload:?}");
        assert_eq!(seen(&world.gateway, &world.tls().http1()).await, pair.serial(), "{what}");
        assert_eq!(client.get("/x").send().await.status, 200, "{what}");
        let (path, contents) = good.iter().find(|(path, _)| path == file).expect("one of them");
        world.gateway.replace(path, contents);
    }
    assert_eq!(client.connections().await, 1, "live connections live on");
    let failures = world.gateway.metric("portcullis_reloads_total{result=\"failure\"}").await;
    assert_eq!(failures, bad.len() as f64);
    let reload = world.gateway.reload().await;
    assert_eq!(reload.code, 0, "{reload:?}");
}

#[tokio::test]
async fn new_handshakes_see_the_new_certificate_and_live_connections_live_on() {
    let world = World::start("").await;
    let kept = [
        Client::by_tls(world.gateway.address(0), &world.tls().http1()),
        Client::by_tls(world.gateway.address(0), &world.tls().http2()),
    ];
    let socket = WebSocket::open_by_tls(world.gateway.address(0), &world.tls().http1(), "/chat", &[]).await;
    let mut socket = socket.unwrap_or_else(|refused| panic!("{}", refused.status));
    let mut held = kept[1].get("/held").open().await;
    for round in 0..3 {
        let renewed = world.ca.issue(Leaf::server(NAME));
        renew(&world.gateway, &renewed);
        assert_ne!(seen(&world.gateway, &world.tls().http1()).await, renewed.serial(), "before the reload");
        if round == 0 {
            world.gateway.signal(libc::SIGHUP);
            let is_new = async || seen(&world.gateway, &world.tls().http1()).await == renewed.serial();
            eventually("the renewed certificate", is_new).await;
        } else {
            assert_eq!(world.gateway.reload().await.code, 0);
            assert_eq!(seen(&world.gateway, &world.tls().http1()).await, renewed.serial());
        }
        for client in &kept {
            assert_eq!((client.get("/x").send().await.status, client.connections().await), (200, 1));
        }
        socket.send("still there").await;
        assert_eq!(socket.next().await.as_deref(), Some("still there"));
        world.upstream.send("a piece");
        assert_eq!(held.next().await.expect("a piece").expect("not cut off"), "a piece");
    }
}

#[tokio::test]
async fn files_that_change_are_noticed_where_the_listener_watches_them() {
    let world = World::start("watch = \"1s\"").await;
    let renewed = world.ca.issue(Leaf::server(NAME));
    // In two steps, as ACME clients do: between them the pair does not fit, and nothing may come of that.
    world.gateway.replace("api.pem", renewed.chain_pem());
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_ne!(seen(&world.gateway, &world.tls().http1()).await, renewed.serial());
    world.gateway.replace("api.key", renewed.key_pem());
    let is_new = async || seen(&world.gateway, &world.tls().http1()).await == renewed.serial();
    eventually("the renewed certificate, without a signal", is_new).await;
    world.gateway.wait_line(|line| line["event"] == "reload" && line["level"] == "info", LIMIT).await;
}

#[tokio::test]
async fn a_renewed_certificate_that_was_refused_for_something_else_is_taken_later() {
    let ca = Authority::new("Root");
    let toml = super::GATEWAY.replace("[routes.app]", "tls = { ca = \"upstream.pem\" }\n\n[routes.app]");
    let builder = configured(&ca, &format!("{CERTIFICATE}\nwatch = \"1s\"")).toml(&toml);
    let world = World::with(ca.clone(), builder.file("upstream.pem", ca.pem())).await;
    world.gateway.replace("upstream.pem", "broken");
    let renewed = world.ca.issue(Leaf::server(NAME));
    world.gateway.replace("api.pem", renewed.chain_pem());
    world.gateway.replace("api.key", renewed.key_pem());
    world.gateway.wait_line(|line| line["event"] == "reload" && line["level"] == "error", LIMIT).await;
    assert_ne!(seen(&world.gateway, &world.tls().http1()).await, renewed.serial());
    // Nobody writes the certificate again.
    world.gateway.replace("upstream.pem", ca.pem());
    let is_new = async || seen(&world.gateway, &world.tls().http1()).await == renewed.serial();
    eventually("the renewed certificate, once nothing stands against it", is_new).await;
}

#[tokio::test]
async fn clients_of_a_new_ca_are_let_in_and_those_of_the_old_one_no_longer() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let ca = Authority::new("Root");
    let lines = format!("{CERTIFICATE}\nclient_auth = \"required\"\nclient_ca = [\"clients.pem\"]");
    let mut world = World::with(ca.clone(), configured(&ca, &lines).file("clients.pem", old.pem())).await;
    let dir = world.gateway.dir().to_owned();
    let mut asked = Vec::new();
    for (name, authority) in [("old", &old), ("new", &new)] {
        let pair = authority.issue(Leaf::client(&format!("of the {name} one")));
        world.gateway.replace(&format!("{name}.pem"), pair.chain_pem());
        world.gateway.replace(&format!("{name}.key"), pair.key_pem());
        let (cert, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        asked.push(json!({ "cert": cert, "key": key, "send": super::get(NAME, "/x") }));
    }
    let let_in = |world: &mut World| {
        let answers: Vec<_> = asked.iter().map(|change| world.connect(change)).collect();
        answers.iter().map(|answer| answer["error"].is_null()).collect::<Vec<_>>()
    };
    assert_eq!(let_in(&mut world), [true, false]);
    for (cas, expected) in [(format!("{}{}", old.pem(), new.pem()), [true, true]), (new.pem(), [false, true])] {
        world.gateway.replace("clients.pem", cas);
        assert_eq!(world.gateway.reload().await.code, 0);
        assert_eq!(let_in(&mut world), expected);
    }
}
