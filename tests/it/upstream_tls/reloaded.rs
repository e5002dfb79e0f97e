use std::fs;

use super::{BY_CA, assert_refused, at_loopback, before, errors, get, is_kept, served_by};
use crate::harness::{Authority, Client, Gateway, Leaf, TlsServer, Upstream};

fn write(gateway: &Gateway, file: &str, contents: &str) {
    fs::write(gateway.dir().join(file), contents).expect("a file beside the configuration");
}

/// Kept connections were opened to a server that is not believed any more: they end with who was believed.
#[tokio::test]
async fn a_ca_that_changed_is_the_one_for_the_next_request() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    for protocol in ["http1", "h2"] {
        let says = format!("protocol = \"{protocol}\"\n{BY_CA}");
        let (gateway, upstream) = served_by(&at_loopback(&ours), &ours, &says).await;
        is_kept(&gateway, &upstream).await;

        write(&gateway, "ca.pem", &others.pem());
        let reloaded = gateway.reload().await;
        assert_eq!(reloaded.code, 0, "{}", reloaded.stderr);
        assert!(reloaded.stdout.contains("~ app"), "the route has changed by a file: {}", reloaded.stdout);
        assert_refused(&gateway, &upstream, "certificate_unknown_ca", "certificate_unknown_ca").await;

        write(&gateway, "ca.pem", &format!("{}{}", others.pem(), ours.pem()));
        assert_eq!(gateway.reload().await.code, 0);
        assert_eq!(get(&gateway).await.status, 200, "{}", gateway.output());
        let last = upstream.last().connection;
        let is_new = upstream.saw().iter().filter(|saw| saw.connection == last).count() == 1;
        assert!(is_new, "each set of authorities has connections of its own");
    }
}

/// The system's authorities are read at each reload as well.
#[tokio::test]
async fn the_authorities_of_the_system_are_read_again() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let upstream = Upstream::tls(&TlsServer::new(&at_loopback(&ours)));
    let builder = before(&[&upstream], &others, "tls = true").file("system.pem", ours.pem());
    let gateway = builder.env("SSL_CERT_FILE", "@DIR@/system.pem").start().await;
    assert_eq!(get(&gateway).await.status, 200, "{}", gateway.output());
    write(&gateway, "system.pem", &others.pem());
    assert_eq!(gateway.reload().await.code, 0);
    assert_refused(&gateway, &upstream, "certificate_unknown_ca", "certificate_unknown_ca").await;
}

#[tokio::test]
async fn a_certificate_of_our_own_that_was_renewed_is_sent_from_then_on() {
    let (authority, clients) = (Authority::new("ours"), Authority::new("clients"));
    let upstream = Upstream::tls(&TlsServer::new(&at_loopback(&authority)).demanding(clients.pair()));
    let old = clients.issue(Leaf::client("gateway"));
    let new = clients.issue_for(Leaf::client("gateway"), old.key.clone());
    let says = "tls = { ca = \"ca.pem\", cert = \"own.pem\", key = \"own.key\" }";
    let builder = before(&[&upstream], &authority, says).file("own.pem", old.pem()).file("own.key", old.key_pem());
    let gateway = builder.start().await;
    assert_eq!(get(&gateway).await.status, 200, "{}", gateway.output());
    write(&gateway, "own.pem", &new.pem());
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!(get(&gateway).await.status, 200, "{}", gateway.output());
    let sent: Vec<_> = upstream.shakings().into_iter().map(|shaken| shaken.certificate).collect();
    assert_eq!(sent, [Some(old.fingerprint()), Some(new.fingerprint())]);
}

#[tokio::test]
async fn a_reload_that_changes_nothing_keeps_the_connections() {
    let authority = Authority::new("ours");
    let (gateway, upstream) = served_by(&at_loopback(&authority), &authority, BY_CA).await;
    is_kept(&gateway, &upstream).await;
    let opened = upstream.shakings().len();
    for _ in 0..3 {
        assert_eq!(gateway.reload().await.code, 0);
        assert_eq!(get(&gateway).await.status, 200);
    }
    assert_eq!(upstream.shakings().len(), opened);
}

#[tokio::test]
async fn a_bad_file_refuses_the_reload_and_the_old_one_serves() {
    let authority = Authority::new("ours");
    let (gateway, upstream) = served_by(&at_loopback(&authority), &authority, BY_CA).await;
    let expired = Authority::valid("ours", -9, -1).pem();
    for bad in ["", "no certificate", &authority.pair().key_pem(), &authority.pem().replace("MII", "???"), &expired] {
        write(&gateway, "ca.pem", bad);
        let reloaded = gateway.reload().await;
        assert!(reloaded.code != 0 && reloaded.stderr.contains("upstreams.app.tls.ca: "), "{bad}: {}", reloaded.stderr);
        assert_eq!(get(&gateway).await.status, 200, "{}", gateway.output());
    }
    fs::remove_file(gateway.dir().join("ca.pem")).expect("our own file");
    assert_ne!(gateway.reload().await.code, 0);
    // Also on a connection of its own: by what was read, and not by what lies there.
    assert_eq!(Client::http1(gateway.address(0)).get("/new").header("connection", "close").send().await.status, 200);
    assert_eq!(errors(&gateway, "certificate_unknown_ca").await, 0.0);
    assert!(upstream.requests() >= 6);
}
