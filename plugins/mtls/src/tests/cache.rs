//! Tests of the certificates that are remembered, and of what is checked each time.

use super::*;

fn at(certificate: &Ca, now: i64) -> Request {
    Request { now: UnixTime(now), ..over(sent(certificate, &[])) }
}

#[test]
fn a_remembered_certificate_still_ends() {
    let certificate = client(|sketch| sketch.not_after = NOW.0 + 100);
    let scene = Scene::new("");
    assert_eq!(scene.outcome(at(&certificate, NOW.0 + 99)), "alice");
    assert_eq!(scene.outcome(at(&certificate, NOW.0 + 100)), "certificate_expired");
    assert_eq!(scene.outcome(at(&certificate, NOW.0 + 99)), "alice");
    assert_eq!(scene.outcome(at(&certificate, 0)), "certificate_not_yet_valid");
}

#[test]
fn a_crl_that_goes_out_of_date_ends_what_is_remembered() {
    let root = Ca::root("Root");
    let certificate = root.client("alice", |_| {});
    let ca = file(root.pem());
    let crl = file(root.crl_pem(&[], |sketch| sketch.next_update = Some(NOW.0 + 100)));
    let scene = Scene::new(&format!("ca = \"{}\"\ncrl = \"{}\"", ca.path().display(), crl.path().display()));
    assert_eq!(scene.outcome(at(&certificate, NOW.0 + 99)), "alice");
    assert_eq!(scene.outcome(at(&certificate, NOW.0 + 100)), "certificate_revocation_unknown");
}

#[test]
fn an_intermediate_ca_that_ends_takes_its_clients_along() {
    let root = Ca::root("Root");
    let sub = root.below("Sub", |sketch| sketch.not_after = NOW.0 + 100);
    let certificate = sub.client("alice", |_| {});
    let ca = file(root.pem());
    let scene = Scene::new(&format!("ca = \"{}\"", ca.path().display()));
    let at = |now| Request { now: UnixTime(now), ..over(sent(&certificate, &[&sub])) };
    assert_eq!(scene.outcome(at(NOW.0 + 99)), "alice");
    assert_eq!(scene.outcome(at(NOW.0 + 100)), "certificate_expired");
}

#[test]
fn a_remembered_certificate_does_not_outlive_what_the_connection_says_of_it() {
    let certificate = client(|_| {});
    let scene = Scene::new("");
    assert_eq!(scene.over(&certificate), "alice");
    let revoked = Request { certificate: Err(Reason::CertificateRevoked), ..Request::get("/") };
    assert_eq!(scene.outcome(revoked), "certificate_revoked");
}

#[test]
fn the_chain_that_is_handed_on_is_the_connections_own() {
    let (certificate, one, two) = (client(|_| {}), Ca::root("One"), Ca::root("Two"));
    let scene = Scene::new("headers = [\"client-cert-chain\"]");
    for chain in [&[&one][..], &[&two], &[&one, &two], &[]] {
        let Authentication::Granted(identity) = scene.answer(over(sent(&certificate, chain))) else { panic!() };
        let wanted: Vec<_> = chain.iter().map(|ca| format!(":{}:", STANDARD.encode(ca.der()))).collect();
        let value = identity.headers.first().map(|(_, value)| value.to_str().unwrap()).unwrap_or_default();
        assert_eq!(value, wanted.join(", "));
    }
}

#[test]
fn a_known_certificate_costs_no_allocation() {
    let certificate = sent(&client(|_| {}), &[]);
    let scene = Scene::new("headers = [\"client-cert\", \"x-forwarded-client-cert\"]");
    let mut request = over(certificate);
    let mut ask = || now(scene.0.authenticate(&mut request.cx())).unwrap();
    assert!(matches!(ask(), Authentication::Granted(_)));
    let spent = allocation_counter::measure(|| {
        for _ in 0..100 {
            std::hint::black_box(ask());
        }
    });
    assert_eq!(spent.count_total, 0);
}

#[test]
fn a_full_cache_still_takes_certificates() {
    let scene = Scene::new("max_cached_certificates = 1");
    let certificates: Vec<_> = (0..20).map(|_| client(|_| {})).collect();
    for certificate in certificates.iter().chain(&certificates) {
        assert_eq!(scene.over(certificate), "alice");
    }
}
