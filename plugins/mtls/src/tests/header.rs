//! The certificate as a load balancer hands it on.

use std::time::Duration;

use portcullis_plugin::{OpenStream, testing::open_stream};

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
fn a_certificate_header_counts_from_a_load_balancer_alone() {
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
fn the_certificate_of_a_load_balancers_header_is_verified() {
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
fn its_headers_are_removed_from_every_request() {
    let (scene, _) = scene("headers = [\"client-cert\", \"x-forwarded-client-cert\"]");
    assert_eq!(scene.0.headers(), ["client-cert", "client-cert-chain", "x-forwarded-client-cert"]);
}

/// The answer of a policy to a stream that this identity opened through `peer`.
fn again(scene: &Scene, identity: &Arc<Identity>, peer: &str, at: UnixTime) -> String {
    let peer = SocketAddr::new(peer.parse().unwrap(), 2);
    let stream = OpenStream { peer, now: at, ..open_stream(identity) };
    match now(scene.0.recheck(&stream)).unwrap() {
        Authentication::Granted(identity) => identity.client.clone().unwrap(),
        Authentication::Absent => "absent".to_owned(),
        other @ (Authentication::GrantedWith(..) | Authentication::AbsentWith(_)) => panic!("{other:?}"),
        Authentication::Denied(denial) => denial.reason.to_string(),
    }
}

#[test]
fn a_stream_lasts_while_the_certificate_that_was_handed_on_would_be_taken() {
    let (policy, root) = scene("");
    let alice = root.client("alice", |sketch| sketch.not_after = NOW.0 + 100);
    let Authentication::Granted(identity) = policy.answer(from("10.1.2.3", &alice)) else { panic!("it is good") };
    assert_eq!(again(&policy, &identity, "10.1.2.3", NOW), "alice");
    assert_eq!(again(&policy, &identity, "10.1.2.3", NOW.after(Duration::from_secs(101))), "certificate_expired");
    // The load balancer is one no longer.
    assert_eq!(again(&policy, &identity, "192.0.2.1", NOW), "policy_changed");
    let ca = file(root.pem());
    let changed = |lines: &str, header: &str| {
        let from = format!("from_header = {{ header = \"{header}\", networks = [\"10.0.0.0/8\"] }}");
        Scene::new(&format!("ca = \"{}\"\n{from}\n{lines}", ca.path().display()))
    };
    // The certificate is what counts, and not where it stood.
    assert_eq!(again(&changed("", "x-certificate"), &identity, "10.1.2.3", NOW), "alice");
    assert_eq!(
        again(&changed("cns = [\"bob\"]", "client-cert"), &identity, "10.1.2.3", NOW),
        "certificate_not_allowed"
    );
    let crl = file(root.crl_pem(&[&alice.certificate], |_| {}));
    let revoking = changed(&format!("crl = \"{}\"", crl.path().display()), "client-cert");
    assert_eq!(again(&revoking, &identity, "10.1.2.3", NOW), "certificate_revoked");
    let strangers = scene("").0;
    assert_eq!(again(&strangers, &identity, "10.1.2.3", NOW), "certificate_unknown_ca");
    // A policy that goes by connections takes no certificate from a header, kept or not.
    assert_eq!(again(&Scene::new(""), &identity, "10.1.2.3", NOW), "policy_changed");
}

#[test]
fn a_stream_whose_connection_has_another_certificate_is_not_its_own() {
    let (scene, root) = (Scene::new(""), Ca::root("Root"));
    let (alice, other) = (root.client("alice", |_| {}), root.client("alice", |_| {}));
    let identity = scene.identity(&alice);
    let again = |certificate: Result<Option<&ClientCert>, Reason>| {
        let stream = OpenStream { certificate, ..open_stream(&identity) };
        match now(scene.0.recheck(&stream)).unwrap() {
            Authentication::Granted(_) => "granted".to_owned(),
            Authentication::Absent => "absent".to_owned(),
            other @ (Authentication::GrantedWith(..) | Authentication::AbsentWith(_)) => panic!("{other:?}"),
            Authentication::Denied(denial) => denial.reason.to_string(),
        }
    };
    assert_eq!(again(Ok(Some(&sent(&alice, &[])))), "granted");
    assert_eq!(again(Ok(Some(&sent(&other, &[])))), "policy_changed");
    assert_eq!(again(Ok(None)), "policy_changed");
    assert_eq!(again(Err(Reason::CertificateRevoked)), "certificate_revoked");
}
