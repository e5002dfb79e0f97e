//! The certificate as a load balancer hands it on.

use super::*;

/// A policy that believes load balancers in 10.0.0.0/8, and its CA.
fn scene(more: &str) -> (Scene, Ca) {
    let root = Ca::root("Root");
    let ca = file(root.pem());
    let from = "from_header = { header = \"Client-Cert\", chain = \"client-cert-chain\", networks = [\"10.0.0.0/8\"] }";
    (Scene::new(&format!("ca = \"{}\"\n{from}\n{more}", ca.path().display())), root)
}

fn from(peer: &str, certificate: &Ca) -> Request {
    let request = Request::get("/").header("client-cert", format!(":{}:", STANDARD.encode(certificate.der())));
    Request { peer: Some(SocketAddr::new(peer.parse().unwrap(), 1)), ..request }
}

#[test]
fn pitfall_14_a_certificate_header_counts_from_a_load_balancer_alone() {
    let (scene, root) = scene("");
    let alice = root.client("alice", |_| {});
    assert_eq!(scene.outcome(from("10.1.2.3", &alice)), "alice");
    assert_eq!(scene.outcome(from("::ffff:10.1.2.3", &alice)), "alice");
    for peer in ["192.0.2.1", "11.0.0.1", "127.0.0.1", "::1", "2001:db8::1"] {
        assert_eq!(scene.outcome(from(peer, &alice)), "absent", "{peer}");
    }
    // The address that a header names is not the connection's.
    let forged = Request { address: "10.1.2.3".parse().unwrap(), ..from("192.0.2.1", &alice) };
    assert_eq!(scene.outcome(forged), "absent");
    // A policy that goes by connections never reads it.
    assert_eq!(Scene::new("").outcome(from("10.1.2.3", &alice)), "absent");
}

#[test]
fn pitfall_14_what_a_load_balancer_says_is_verified() {
    let (scene, root) = scene("");
    assert_eq!(scene.outcome(from("10.1.2.3", &Ca::root("Root").client("alice", |_| {}))), "certificate_unknown_ca");
    let ended = root.client("alice", |sketch| sketch.not_after = NOW.0 - 1);
    assert_eq!(scene.outcome(from("10.1.2.3", &ended)), "certificate_expired");
    let server = root.client("alice", |sketch| sketch.purposes = vec!["serverAuth"]);
    assert_eq!(scene.outcome(from("10.1.2.3", &server)), "certificate_wrong_purpose");
    let alice = root.client("alice", |_| {});
    assert_eq!(scene.outcome(from("10.1.2.3", &alice).header("client-cert", "x")), "certificate_malformed");
    let junk = Request { peer: from("10.1.2.3", &alice).peer, ..Request::get("/").header("client-cert", "junk") };
    assert_eq!(scene.outcome(junk), "certificate_malformed");
}

#[test]
fn a_load_balancers_own_certificate_is_not_its_clients() {
    let (scene, root) = scene("");
    let balancer = root.client("balancer", |_| {});
    let request = Request { peer: "10.1.2.3:1".parse().ok(), ..over(sent(&balancer, &[])) };
    assert_eq!(scene.outcome(request), "absent");
    assert!(!scene.0.needs_certificate(), "its connection is made for whatever name it likes");
}

#[test]
fn a_chain_comes_in_a_header_of_its_own() {
    let (scene, root) = scene("");
    let sub = root.below("Sub", |_| {});
    let alice = sub.client("alice", |_| {});
    assert_eq!(scene.outcome(from("10.1.2.3", &alice)), "certificate_unknown_ca");
    let chain = format!(":{}:", STANDARD.encode(sub.der()));
    assert_eq!(scene.outcome(from("10.1.2.3", &alice).header("client-cert-chain", chain)), "alice");
}

#[test]
fn pitfall_14_its_headers_are_removed_from_every_request() {
    let (scene, _) = scene("headers = [\"client-cert\", \"x-forwarded-client-cert\"]");
    assert_eq!(scene.0.headers(), ["client-cert", "client-cert-chain", "x-forwarded-client-cert"]);
}
