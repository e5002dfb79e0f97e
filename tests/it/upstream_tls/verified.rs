use std::net::TcpListener;

use openssl::ssl::SslVersion;
use tokio::io::AsyncReadExt as _;

use super::{BY_CA, GATEWAY, assert_refused, at_loopback, before, errors, get, served_by};
use crate::harness::{Authority, Client, Gateway, KeyType, LIMIT, Leaf, Purpose, TlsServer, Upstream, within};

/// As most upstreams here are asked for.
const BY_NAME: &str = "tls = { ca = \"ca.pem\", server_name = \"orders.shop.internal\" }";

#[tokio::test]
async fn a_server_that_proves_its_name_is_asked() {
    let authority = Authority::new("ours");
    let below = authority.intermediate("below ours");
    let good = [
        ("a name", authority.issue(Leaf::server("orders.shop.internal"))),
        ("one of several names", authority.issue(Leaf::server("other.shop.internal").dns("orders.shop.internal"))),
        ("a wildcard", authority.issue(Leaf::server("*.shop.internal"))),
        ("an intermediate that is sent along", below.issue(Leaf::server("orders.shop.internal"))),
        ("no word of a purpose", authority.issue(Leaf::new("orders").dns("orders.shop.internal"))),
        ("both purposes", authority.issue(Leaf::server("orders.shop.internal").purpose(Purpose::Both))),
        ("P-384", authority.issue(Leaf::server("orders.shop.internal").key(KeyType::P384))),
        ("RSA", authority.issue(Leaf::server("orders.shop.internal").key(KeyType::Rsa2048))),
    ];
    for (what, pair) in good {
        let (gateway, upstream) = served_by(&pair, &authority, BY_NAME).await;
        assert_eq!(get(&gateway).await.status, 200, "{what}: {}", gateway.output());
        assert_eq!(upstream.first_shaking().await.sni.as_deref(), Some("orders.shop.internal"), "{what}");
    }
}

#[tokio::test]
async fn any_other_certificate_is_refused_and_called_by_its_fault() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    // The same name and another key: it is told apart by its signature alone.
    let forged = Authority::new("ours");
    let leaf = || Leaf::server("orders.shop.internal");
    let mut alone = ours.intermediate("below ours").issue(leaf());
    alone.intermediates.clear();
    let bad = [
        ("certificate_unknown_ca", "another authority", theirs.issue(leaf())),
        ("certificate_unknown_ca", "its own signature", leaf().self_signed()),
        ("certificate_unknown_ca", "an intermediate that is not sent", alone),
        ("certificate_expired", "a time that is over", ours.issue(leaf().valid(-30, -1))),
        ("certificate_not_yet_valid", "a time to come", ours.issue(leaf().valid(1, 30))),
        ("certificate_name_mismatch", "another name", ours.issue(Leaf::server("other.shop.internal"))),
        (
            "certificate_name_mismatch",
            "a wildcard of too few labels",
            ours.issue(Leaf::server("*.orders.shop.internal")),
        ),
        ("certificate_name_mismatch", "a wildcard of too many labels", ours.issue(Leaf::server("*.internal"))),
        ("certificate_name_mismatch", "a wildcard within a label", ours.issue(Leaf::server("o*.shop.internal"))),
        ("certificate_name_mismatch", "a common name alone", ours.issue(Leaf::new("orders.shop.internal"))),
        (
            "certificate_name_mismatch",
            "an address alone",
            ours.issue(Leaf::new("orders.shop.internal").ip("127.0.0.1")),
        ),
        ("certificate_invalid", "a client's", ours.issue(leaf().purpose(Purpose::Client))),
        ("certificate_invalid", "for code", ours.issue(leaf().purpose(Purpose::CodeSigning))),
        ("certificate_invalid", "a key of 1024 bits", ours.issue(leaf().key(KeyType::Rsa1024))),
        ("certificate_invalid", "a forged signature", forged.issue(leaf())),
    ];
    for protocol in ["", "protocol = \"h2\"\n", "protocol = \"http1\"\n"] {
        for (kind, what, pair) in &bad {
            let (gateway, upstream) = served_by(pair, &ours, &format!("{protocol}{BY_NAME}")).await;
            let before = upstream.shakings().len();
            let refused = within(what, assert_refused(&gateway, &upstream, kind, kind)).await;
            assert_eq!(upstream.shakings().len(), before + 1, "{what}: {refused}");
        }
    }
}

/// By Pingora's own measure the common name `127.0.0.1` would do, and the address would not.
#[tokio::test]
async fn a_target_that_is_an_address_proves_that_address() {
    let authority = Authority::new("ours");
    let (gateway, upstream) = served_by(&at_loopback(&authority), &authority, BY_CA).await;
    assert_eq!(get(&gateway).await.status, 200, "{}", gateway.output());
    assert_eq!(upstream.first_shaking().await.sni, None, "SNI has names only (RFC 6066 section 3)");

    for (what, leaf) in [
        ("another address", Leaf::new("127.0.0.1").ip("127.0.0.2")),
        ("a common name", Leaf::new("127.0.0.1")),
        ("a DNS name", Leaf::server("127.0.0.1")),
        ("a name", Leaf::server("localhost")),
    ] {
        let (gateway, upstream) = served_by(&authority.issue(leaf), &authority, BY_CA).await;
        assert_refused(&gateway, &upstream, "certificate_name_mismatch", "mismatch").await;
        assert_eq!(upstream.first_shaking().await.sni, None, "{what}");
    }
}

#[tokio::test]
async fn a_target_that_is_a_name_proves_that_name() {
    let authority = Authority::new("ours");
    for (name, status) in [("localhost", 200), ("other.shop.internal", 502)] {
        let upstream = Upstream::tls(&TlsServer::new(&authority.issue(Leaf::server(name))));
        let target = format!("\"LocalHost:{}\"", upstream.address().port());
        let builder = Gateway::builder(GATEWAY).set("TARGETS", &target).set("UPSTREAM", BY_CA);
        let gateway = builder.file("ca.pem", authority.pem()).start().await;
        assert_eq!(get(&gateway).await.status, status, "{name}: {}", gateway.output());
        assert_eq!(upstream.first_shaking().await.sni.as_deref(), Some("localhost"));
    }
}

#[tokio::test]
async fn a_server_name_that_is_an_address_is_verified_as_one() {
    let authority = Authority::new("ours");
    let pair = authority.issue(Leaf::new("app").ip("10.0.0.1"));
    let (gateway, upstream) =
        served_by(&pair, &authority, "tls = { ca = \"ca.pem\", server_name = \"10.0.0.1\" }").await;
    assert_eq!(get(&gateway).await.status, 200, "{}", gateway.output());
    assert_eq!(upstream.first_shaking().await.sni, None);
}

/// `SSL_CERT_FILE` is what OpenSSL knows as the system's authorities.
#[tokio::test]
async fn without_a_ca_the_system_decides() {
    let (system, ours) = (Authority::new("the system's"), Authority::new("ours"));
    for (signer, says, status) in
        [(&system, "tls = true", 200), (&ours, "tls = true", 502), (&system, BY_CA, 502), (&ours, BY_CA, 200)]
    {
        let upstream = Upstream::tls(&TlsServer::new(&at_loopback(signer)));
        let builder = before(&[&upstream], &ours, says).file("system.pem", system.pem());
        let gateway = builder.env("SSL_CERT_FILE", "@DIR@/system.pem");
        let gateway = gateway.start().await;
        assert_eq!(get(&gateway).await.status, status, "{says}: {}", gateway.output());
    }
}

#[tokio::test]
async fn an_authority_that_is_no_root_and_a_server_by_itself_can_be_named() {
    let root = Authority::new("root");
    let below = root.intermediate("below");
    let (gateway, _upstream) = served_by(&at_loopback(&below), &below, BY_CA).await;
    assert_eq!(get(&gateway).await.status, 200, "{}", gateway.output());
    let pair = at_loopback(&root);
    let (gateway, _upstream) = served_by(&at_loopback(&root), &below, BY_CA).await;
    assert_eq!(get(&gateway).await.status, 502, "what the root signed is not what the one below signed");

    let upstream = Upstream::tls(&TlsServer::new(&pair));
    let gateway = before(&[&upstream], &root, BY_CA).file("ca.pem", pair.pem()).start().await;
    assert_eq!(get(&gateway).await.status, 200, "{}", gateway.output());
}

/// The warning is there at the start and at each reload; nothing else brings such a server in.
#[tokio::test]
async fn unverified_is_accepted_in_words_and_loudly() {
    let says = "tls = { unverified = \"accepted\", server_name = \"orders.shop.internal\" }";
    let ours = Authority::new("ours");
    for pair in [
        Leaf::server("other.shop.internal").valid(-9, -1).self_signed(),
        ours.issue(Leaf::server("orders.shop.internal")),
    ] {
        let (gateway, upstream) = served_by(&pair, &ours, says).await;
        assert_eq!(get(&gateway).await.status, 200, "{}", gateway.output());
        assert_eq!(upstream.first_shaking().await.sni.as_deref(), Some("orders.shop.internal"));
        let is_warning = |line: &&serde_json::Value| {
            let message = line["message"].as_str().unwrap_or_default();
            message.contains("upstreams.app.tls.unverified: anybody can pass for this upstream")
        };
        assert_eq!(gateway.lines().iter().filter(is_warning).count(), 1, "{}", gateway.output());
        assert_eq!(gateway.reload().await.code, 0);
        gateway.wait_line(|line| line["event"] == "reload", LIMIT).await;
        let lines = gateway.lines();
        let warnings: Vec<_> = lines.iter().filter(is_warning).collect();
        assert!(warnings.len() == 2 && warnings.iter().all(|line| line["level"] == "warn"), "{}", gateway.output());
    }
}

/// HTTP/2 begins with a preface, which a client sends by itself.
#[tokio::test]
async fn not_a_byte_goes_to_a_server_that_is_not_believed() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for protocol in ["http1", "h2"] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let acceptor = TlsServer::new(&at_loopback(&theirs)).acceptor();
        let reading = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a connection");
            let mut stream = acceptor.accept(stream).expect("a handshake that is complete");
            let mut bytes = Vec::new();
            // Whether it ends well or not: what counts is what came.
            let _ = std::io::Read::read_to_end(&mut stream, &mut bytes);
            bytes
        });
        let builder = Gateway::builder(GATEWAY).set("TARGETS", &format!("\"{address}\""));
        let builder = builder.set("UPSTREAM", &format!("protocol = \"{protocol}\"\n{BY_CA}"));
        let gateway = builder.file("ca.pem", ours.pem()).start().await;
        let answer = Client::http1(gateway.address(0)).post("/secret", "a secret").send().await;
        assert_eq!(answer.status, 502);
        let bytes = tokio::task::spawn_blocking(|| reading.join().expect("it reads")).await.expect("it reads");
        assert_eq!(String::from_utf8_lossy(&bytes), "", "{protocol}");
        assert_eq!(errors(&gateway, "certificate_unknown_ca").await, 1.0);
    }
}

#[tokio::test]
async fn old_versions_and_servers_that_speak_no_tls_are_refused() {
    let authority = Authority::new("ours");
    let pair = at_loopback(&authority);
    let upstream = Upstream::tls(&TlsServer::new(&pair).at_most(SslVersion::TLS1_1));
    let gateway = before(&[&upstream], &authority, BY_CA).start().await;
    assert_refused(&gateway, &upstream, "tls", "tls: there is no version of TLS that both speak (").await;

    let upstream = Upstream::tls(&TlsServer::new(&pair).at_most(SslVersion::TLS1_2));
    let gateway = before(&[&upstream], &authority, BY_CA).start().await;
    assert_eq!(get(&gateway).await.status, 200, "{}", gateway.output());

    let plain = Upstream::start();
    let gateway = before(&[&plain], &authority, BY_CA).start().await;
    assert_refused(&gateway, &plain, "tls", "tls: the upstream speaks no TLS (wrong version number)").await;
}

#[tokio::test]
async fn a_plain_request_does_not_reach_a_server_with_tls() {
    let authority = Authority::new("ours");
    let (gateway, upstream) = served_by(&at_loopback(&authority), &authority, "tls = false").await;
    assert_eq!((get(&gateway).await.status, upstream.requests()), (502, 0));
}

/// What is wrong with one target is no reason to give up a request, whatever its method: nothing of it was sent.
#[tokio::test]
async fn a_target_that_is_not_believed_is_passed_over() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for protocol in ["http1", "h2"] {
        let bad = Upstream::tls(&TlsServer::new(&at_loopback(&theirs)));
        let good = Upstream::tls(&TlsServer::new(&at_loopback(&ours)));
        let says = format!("protocol = \"{protocol}\"\n{BY_CA}");
        let gateway = before(&[&bad, &good], &ours, &says).start().await;
        for number in 0..4 {
            let body = format!("order {number}");
            let answer = Client::http1(gateway.address(0)).post("/orders", body.clone()).send().await;
            assert_eq!((answer.status, good.last().body), (200, body.into_bytes()), "{}", gateway.output());
        }
        assert_eq!((bad.requests(), good.requests()), (0, 4));
        assert_eq!(errors(&gateway, "certificate_unknown_ca").await, 1.0, "it is left alone for a while");
        let all_bad = before(&[&bad, &bad], &ours, &says).start().await;
        assert_eq!(get(&all_bad).await.status, 502);
        assert_eq!(errors(&all_bad, "certificate_unknown_ca").await, 2.0, "each was tried once");
    }
}

#[tokio::test]
async fn a_handshake_that_stands_still_ends_with_connect_timeout() {
    let authority = Authority::new("ours");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let hello = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        bytes
    });
    let says = format!("{BY_CA}\n").replace("tls =", "read_timeout = \"1m\"\ntls =");
    let toml = GATEWAY.replace("\"2s\"", "\"300ms\"");
    let builder = Gateway::builder(&toml).set("TARGETS", &format!("\"{address}\"")).set("UPSTREAM", &says);
    let gateway = builder.file("ca.pem", authority.pem()).start().await;
    let answer = within("an answer", get(&gateway)).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (504, Some("upstream_timeout")));
    assert_eq!(errors(&gateway, "connect").await, 1.0);
    let hello = within("the end of the connection", hello).await.expect("it reads");
    assert_eq!(hello.first(), Some(&22), "a handshake record (RFC 8446 section 5.1) had begun");
}
