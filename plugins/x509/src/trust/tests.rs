use super::*;
use crate::testing::{Ca, NOW};

/// The verdict on a certificate from a CA without CRLs.
fn verdict(trust: &Trust, leaf: &Ca, sent: &[&Ca]) -> Result<usize, Fault> {
    let sent: Vec<_> = sent.iter().map(|ca| ca.certificate.clone()).collect();
    trust.verify(&leaf.certificate, &sent, NOW).map(|chain| chain.len())
}

fn trusting(cas: &[&Ca], crls: Vec<Crl>, policy: CrlPolicy) -> Trust {
    let cas = cas.iter().map(|ca| ca.certificate.clone()).collect();
    Trust::new(cas, crls, policy, 4).unwrap()
}

#[test]
fn a_certificate_of_a_trusted_ca_is_good() {
    let root = Ca::root("Root");
    let trust = trusting(&[&root], Vec::new(), CrlPolicy::IfPresent);
    let alice = root.client("alice", |_| {});
    assert_eq!(verdict(&trust, &alice, &[]), Ok(2));
    let sub = root.below("Sub", |_| {});
    let bob = sub.client("bob", |_| {});
    assert_eq!(verdict(&trust, &bob, &[&sub]), Ok(3));
    assert_eq!(verdict(&trust, &bob, &[]), Err(Fault::UnknownCa));
}
