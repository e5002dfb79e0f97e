use openssl::hash::MessageDigest;
use portcullis_plugin::UnixTime;

use super::*;
use crate::testing::{AFTER, BEFORE, Ca, CrlSketch, NOW, der, new_key};

/// The length of a good certificate's chain, or the certificate's fault.
fn verdict(trust: &Trust, leaf: &Ca, sent: &[&Ca]) -> Result<usize, Fault> {
    let sent: Vec<_> = sent.iter().map(|ca| ca.certificate.clone()).collect();
    trust.verify(&leaf.certificate, &sent, NOW).map(|chain| chain.len())
}

fn made_of(cas: &[&Ca], crls: Vec<Crl>, policy: CrlPolicy) -> Result<Trust, TrustError> {
    Trust::new(cas.iter().map(|ca| ca.certificate.clone()).collect(), crls, policy, 4)
}

fn trusting(cas: &[&Ca], crls: Vec<Crl>, policy: CrlPolicy) -> Trust {
    made_of(cas, crls, policy).unwrap()
}

fn without_crls(cas: &[&Ca]) -> Trust {
    trusting(cas, Vec::new(), CrlPolicy::IfPresent)
}

fn same(_: &mut CrlSketch) {}

#[test]
fn a_certificate_of_a_trusted_ca_is_good() {
    let root = Ca::root("Root");
    let trust = without_crls(&[&root]);
    let alice = root.client("alice", |_| {});
    assert_eq!(verdict(&trust, &alice, &[]), Ok(2));
    let sub = root.below("Sub", |_| {});
    let bob = sub.client("bob", |_| {});
    assert_eq!(verdict(&trust, &bob, &[&sub]), Ok(3));
    assert_eq!(verdict(&trust, &bob, &[]), Err(Fault::UnknownCa));
    assert_eq!(verdict(&without_crls(&[&root, &sub]), &bob, &[]), Ok(3), "the file may help out");
    assert_eq!(verdict(&without_crls(&[&sub]), &bob, &[]), Ok(2), "a CA alone is trusted for itself");
}

#[test]
fn a_certificate_outside_its_time_is_refused() {
    let root = Ca::root("Root");
    let trust = without_crls(&[&root]);
    let ended = root.client("ended", |sketch| sketch.not_after = NOW.0);
    assert_eq!(verdict(&trust, &ended, &[]), Err(Fault::Expired));
    let early = root.client("early", |sketch| sketch.not_before = NOW.0 + 1);
    assert_eq!(verdict(&trust, &early, &[]), Err(Fault::NotYetValid));
    let sub = root.below("Sub", |sketch| sketch.not_after = NOW.0);
    let below_ended = sub.client("below", |_| {});
    assert_eq!(verdict(&trust, &below_ended, &[&sub]), Err(Fault::Expired));
    let last = root.client("last", |sketch| sketch.not_after = NOW.0 + 1);
    assert_eq!(verdict(&trust, &last, &[]), Ok(2));
    assert_eq!(trust.verify(&last.certificate, &[], UnixTime(NOW.0 + 1)).err(), Some(Fault::Expired));
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    let (root, other) = (Ca::root("Root"), Ca::root("Other"));
    let trust = without_crls(&[&root]);
    let stranger = other.client("alice", |_| {});
    assert_eq!(verdict(&trust, &stranger, &[]), Err(Fault::UnknownCa));
    assert_eq!(verdict(&trust, &stranger, &[&other]), Err(Fault::UnknownCa), "what the client sends is not trusted");
    // The right name, and another's key.
    let namesake = Ca::root("Root").client("alice", |_| {});
    assert_eq!(verdict(&trust, &namesake, &[]), Err(Fault::UnknownCa));
    let alone = Ca::root_with("alone", |sketch| sketch.ca = None);
    assert_eq!(verdict(&trust, &alone, &[]), Err(Fault::UnknownCa));
}

#[test]
fn a_certificate_for_servers_is_refused() {
    let root = Ca::root("Root");
    let trust = without_crls(&[&root]);
    let purposes = |purposes: &[&'static str]| {
        let purposes = purposes.to_vec();
        root.issue("leaf", |sketch| sketch.purposes = purposes)
    };
    assert_eq!(verdict(&trust, &purposes(&["serverAuth"]), &[]), Err(Fault::WrongPurpose));
    assert_eq!(verdict(&trust, &purposes(&["codeSigning", "emailProtection"]), &[]), Err(Fault::WrongPurpose));
    assert_eq!(verdict(&trust, &purposes(&["serverAuth", "clientAuth"]), &[]), Ok(2));
    // A CA that may only make servers' certificates.
    let servers = root.below("Servers", |sketch| sketch.purposes = vec!["serverAuth"]);
    assert_eq!(verdict(&trust, &servers.client("leaf", |_| {}), &[&servers]), Err(Fault::WrongPurpose));
}

#[test]
fn a_certificate_that_says_nothing_of_its_purpose_is_refused_where_that_is_asked_for() {
    let root = Ca::root("Root");
    let unsaid = root.issue("leaf", |_| {});
    assert_eq!(verdict(&without_crls(&[&root]), &unsaid, &[]), Ok(2));
    let strict = without_crls(&[&root]).requiring_purpose(true);
    assert_eq!(verdict(&strict, &unsaid, &[]), Err(Fault::WrongPurpose));
    assert_eq!(verdict(&strict, &root.client("leaf", |_| {}), &[]), Ok(2));
}

#[test]
fn a_chain_has_a_limit() {
    let root = Ca::root("Root");
    let one = root.below("One", |_| {});
    let two = one.below("Two", |_| {});
    let leaf = two.client("leaf", |_| {});
    let within = |depth| Trust::new(vec![root.certificate.clone()], Vec::new(), CrlPolicy::IfPresent, depth).unwrap();
    assert_eq!(verdict(&within(2), &leaf, &[&two, &one]), Ok(4));
    assert_eq!(verdict(&within(1), &leaf, &[&two, &one]), Err(Fault::ChainTooLong));
    assert_eq!(verdict(&within(0), &root.client("leaf", |_| {}), &[]), Ok(2));
    let crowd = vec![&one; MAX_SENT_CERTIFICATES + 1];
    assert_eq!(verdict(&within(2), &leaf, &crowd), Err(Fault::ChainTooLong));
    let short = root.below("Short", |sketch| sketch.path_length = Some(0));
    let below = short.below("Below", |_| {});
    assert_eq!(verdict(&within(4), &below.client("leaf", |_| {}), &[&below, &short]), Err(Fault::ChainTooLong));
}

#[test]
fn a_certificate_that_is_no_ca_makes_no_certificates() {
    let root = Ca::root("Root");
    let trust = without_crls(&[&root]);
    for (name, ca, version) in [("CA:FALSE", Some(false), 2), ("unsaid", None, 2), ("version 1", None, 0)] {
        let alice = root.issue("alice", |sketch| (sketch.ca, sketch.version) = (ca, version));
        let made = alice.client("mallory", |_| {});
        assert_eq!(verdict(&trust, &made, &[&alice]), Err(Fault::UnknownCa), "{name}");
        let refused = made_of(&[&root, &alice], Vec::new(), CrlPolicy::IfPresent).unwrap_err();
        assert!(matches!(refused, TrustError::NotACa(2, _)), "{name}: {refused}");
    }
}

#[test]
fn a_certificate_of_version_1_is_a_client_that_says_little() {
    let root = Ca::root("Root");
    let old = root.issue("old", |sketch| sketch.version = 0);
    assert_eq!(verdict(&without_crls(&[&root]), &old, &[]), Ok(2));
    assert_eq!(verdict(&without_crls(&[&root]).requiring_purpose(true), &old, &[]), Err(Fault::WrongPurpose));
}

#[test]
fn a_weak_signature_proves_nothing() {
    let root = Ca::root("Root");
    let weak = root.client("weak", |sketch| sketch.digest = MessageDigest::sha1());
    assert_eq!(verdict(&without_crls(&[&root]), &weak, &[]), Err(Fault::UnknownCa));
}

#[test]
fn no_ca_is_an_error() {
    assert_eq!(made_of(&[], Vec::new(), CrlPolicy::IfPresent).unwrap_err(), TrustError::NoCa);
}

#[test]
fn a_revoked_certificate_is_refused() {
    let root = Ca::root("Root");
    let (good, bad) = (root.client("good", |_| {}), root.client("bad", |_| {}));
    for policy in [CrlPolicy::Required, CrlPolicy::IfPresent] {
        let trust = trusting(&[&root], vec![root.crl(&[&bad.certificate], same)], policy);
        assert_eq!(verdict(&trust, &bad, &[]), Err(Fault::Revoked));
        assert_eq!(verdict(&trust, &good, &[]), Ok(2));
        let chain = [bad.certificate.as_ref(), root.certificate.as_ref()];
        assert_eq!(trust.revocation(&chain, NOW), Err(Fault::Revoked), "as the handshake asks");
    }
}

#[test]
fn a_certificate_below_a_revoked_ca_is_refused() {
    let root = Ca::root("Root");
    let sub = root.below("Sub", |_| {});
    let leaf = sub.client("leaf", |_| {});
    let crls = || vec![root.crl(&[&sub.certificate], same), sub.crl(&[], same)];
    for cas in [&[&root, &sub][..], &[&sub, &root]] {
        let trust = trusting(cas, crls(), CrlPolicy::Required);
        assert_eq!(verdict(&trust, &leaf, &[]), Err(Fault::Revoked));
        assert_eq!(verdict(&trust, &leaf, &[&sub]), Err(Fault::Revoked));
        // A handshake that ended below the root because the file has the intermediate CA as well.
        let short = [leaf.certificate.as_ref(), sub.certificate.as_ref()];
        assert_eq!(trust.revocation(&short, NOW), Err(Fault::Revoked));
    }
}

#[test]
fn a_ca_that_expired_is_not_passed_by() {
    // A third CA whose own is unknown makes chains end early; not below what the set says itself.
    let root = Ca::root_with("Root", |sketch| sketch.not_after = NOW.0);
    let sub = root.below("Sub", |_| {});
    let partial = Ca::root("Elsewhere").below("Partial", |_| {});
    let trust = without_crls(&[&root, &sub, &partial]);
    assert_eq!(verdict(&trust, &sub.client("leaf", |_| {}), &[]), Err(Fault::Expired));
    assert_eq!(verdict(&trust, &partial.client("leaf", |_| {}), &[]), Ok(2));
}

#[test]
fn a_crl_that_expired_fails_closed() {
    let root = Ca::root("Root");
    let leaf = root.client("leaf", |_| {});
    for policy in [CrlPolicy::Required, CrlPolicy::IfPresent] {
        let ended = root.crl(&[], |sketch| sketch.next_update = Some(NOW.0));
        let trust = trusting(&[&root], vec![ended], policy);
        assert_eq!(verdict(&trust, &leaf, &[]), Err(Fault::RevocationUnknown));
        assert_eq!(trust.check(NOW), Err(TrustError::StaleCrl("CN=Root".to_owned(), OutOfTime::Expired(NOW))));
        let early = root.crl(&[], |sketch| sketch.this_update = NOW.0 + 3600);
        let trust = trusting(&[&root], vec![early], policy);
        assert_eq!(verdict(&trust, &leaf, &[]), Err(Fault::RevocationUnknown));
        let later = OutOfTime::NotYet(UnixTime(NOW.0 + 3600));
        assert_eq!(trust.check(NOW), Err(TrustError::StaleCrl("CN=Root".to_owned(), later)));
        // It expires while it is in use.
        let ending = root.crl(&[], |sketch| sketch.next_update = Some(NOW.0 + 1));
        let trust = trusting(&[&root], vec![ending], policy);
        assert_eq!(verdict(&trust, &leaf, &[]), Ok(2));
        let later = trust.verify(&leaf.certificate, &[], UnixTime(NOW.0 + 1));
        assert_eq!(later.err(), Some(Fault::RevocationUnknown));
    }
}

#[test]
fn a_revoked_certificate_stays_so_when_its_crl_expires() {
    let root = Ca::root("Root");
    let bad = root.client("bad", |_| {});
    let ended = root.crl(&[&bad.certificate], |sketch| sketch.next_update = Some(NOW.0));
    assert_eq!(verdict(&trusting(&[&root], vec![ended], CrlPolicy::IfPresent), &bad, &[]), Err(Fault::Revoked));
}

#[test]
fn a_ca_without_a_crl_is_a_refusal_where_they_are_required() {
    let root = Ca::root("Root");
    let sub = root.below("Sub", |_| {});
    let leaf = sub.client("leaf", |_| {});
    let roots_alone = |policy| trusting(&[&root, &sub], vec![root.crl(&[], same)], policy);
    assert_eq!(verdict(&roots_alone(CrlPolicy::Required), &leaf, &[]), Err(Fault::RevocationUnknown));
    assert_eq!(verdict(&roots_alone(CrlPolicy::IfPresent), &leaf, &[]), Ok(3));
    let both = vec![root.crl(&[], same), sub.crl(&[], same)];
    assert_eq!(verdict(&trusting(&[&root, &sub], both, CrlPolicy::Required), &leaf, &[]), Ok(3));
    let pinned = Ca::root_with("pinned", |sketch| {
        sketch.ca = None;
        sketch.raw.push(("2.5.29.19", true, der(0x30, &[&[1, 1, 0xFF]])));
    });
    assert_eq!(verdict(&without_crls(&[&pinned]), &pinned, &[]), Ok(1), "trusted for itself");
    assert_eq!(
        verdict(&trusting(&[&pinned], vec![], CrlPolicy::Required), &pinned, &[]),
        Err(Fault::RevocationUnknown)
    );
}

#[test]
fn a_crl_of_somebody_else_is_an_error() {
    let (root, other) = (Ca::root("Root"), Ca::root("Other"));
    let foreign = |crl| made_of(&[&root], vec![root.crl(&[], same), crl], CrlPolicy::IfPresent).unwrap_err();
    assert_eq!(foreign(other.crl(&[], same)), TrustError::ForeignCrl(2));
    assert_eq!(foreign(root.crl(&[], |sketch| sketch.key = Some(new_key()))), TrustError::ForeignCrl(2));
    assert_eq!(foreign(Ca::root("Root").crl(&[], same)), TrustError::ForeignCrl(2), "the name is not enough");
}

#[test]
fn a_namesakes_crl_says_nothing_good() {
    // Two CAs of one name: the list of one does not vouch for the other's certificates.
    let (old, new) = (Ca::root("Root"), Ca::root("Root"));
    let leaf = old.client("leaf", |_| {});
    let trust = trusting(&[&old, &new], vec![new.crl(&[], same)], CrlPolicy::Required);
    assert_eq!(verdict(&trust, &leaf, &[]), Err(Fault::RevocationUnknown));
    let trust = trusting(&[&old, &new], vec![new.crl(&[&leaf.certificate], same)], CrlPolicy::IfPresent);
    assert_eq!(verdict(&trust, &leaf, &[]), Err(Fault::Revoked), "but it can say something bad");
}

#[test]
fn of_several_crls_the_newest_counts() {
    let root = Ca::root("Root");
    let leaf = root.client("leaf", |_| {});
    let on_hold = || root.crl(&[&leaf.certificate], |sketch| sketch.next_update = Some(NOW.0));
    let newer = || root.crl(&[], |sketch| sketch.this_update = BEFORE + 1);
    for crls in [vec![on_hold(), newer()], vec![newer(), on_hold()]] {
        let trust = trusting(&[&root], crls, CrlPolicy::Required);
        assert_eq!(verdict(&trust, &leaf, &[]), Ok(2));
        assert_eq!(trust.check(NOW), Ok(()));
    }
}

#[test]
fn it_says_until_when_a_verdict_holds() {
    let root = Ca::root("Root");
    let leaf = root.client("leaf", |sketch| sketch.not_after = NOW.0 + 500);
    let chain = [leaf.certificate.as_ref(), root.certificate.as_ref()];
    assert_eq!(without_crls(&[&root]).holds_until(&chain), UnixTime(NOW.0 + 500));
    let crl = root.crl(&[], |sketch| sketch.next_update = Some(NOW.0 + 100));
    assert_eq!(trusting(&[&root], vec![crl], CrlPolicy::IfPresent).holds_until(&chain), UnixTime(NOW.0 + 100));
    assert!(without_crls(&[&root]).holds_until(&[root.certificate.as_ref()]) <= UnixTime(AFTER));
}

#[test]
fn a_ca_outside_its_time_is_said_when_it_is_loaded() {
    let root = Ca::root_with("Root", |sketch| sketch.not_after = NOW.0);
    let ended = TrustError::CaNotValid("CN=Root".to_owned(), OutOfTime::Expired(NOW));
    assert_eq!(without_crls(&[&root]).check(NOW), Err(ended));
    let early = Ca::root_with("Early", |sketch| sketch.not_before = NOW.0 + 1);
    let early_error = TrustError::CaNotValid("CN=Early".to_owned(), OutOfTime::NotYet(UnixTime(NOW.0 + 1)));
    assert_eq!(without_crls(&[&early]).check(NOW), Err(early_error));
    let trust = without_crls(&[&root, &Ca::root("Next")]);
    assert_eq!(trust.check(NOW), Ok(()), "the old one beside the new");
    assert_eq!(verdict(&trust, &root.client("leaf", |_| {}), &[]), Err(Fault::Expired));
}

#[test]
fn an_error_of_time_says_which_way_and_when() {
    let of = |time| TrustError::StaleCrl("CN=Root".to_owned(), time).to_string();
    let moment = UnixTime(1_700_000_000);
    assert_eq!(of(OutOfTime::Expired(moment)), "the CRL of CN=Root has expired: Nov 14 22:13:20 2023 GMT");
    assert_eq!(of(OutOfTime::NotYet(moment)), "the CRL of CN=Root does not hold before Nov 14 22:13:20 2023 GMT");
    let ca = TrustError::CaNotValid("CN=Root".to_owned(), OutOfTime::Expired(moment)).to_string();
    assert!(ca.ends_with("the certificate of CN=Root has expired: Nov 14 22:13:20 2023 GMT"), "{ca}");
    assert!(of(OutOfTime::Expired(UnixTime(i64::MAX))).starts_with("the CRL of CN=Root has expired: "));
}

#[test]
fn it_tells_when_its_cas_and_their_crls_end() {
    let root = Ca::root_with("Root", |sketch| sketch.not_after = NOW.0 + 900);
    let next = Ca::root_with("Next", |sketch| sketch.not_after = NOW.0 + 700);
    let ends = |ca: &Ca, seconds| ca.crl(&[], |sketch| sketch.next_update = Some(NOW.0 + seconds));
    let older = next.crl(&[], |sketch| {
        (sketch.this_update, sketch.next_update) = (BEFORE, Some(NOW.0 + 5));
    });
    let newer = next.crl(&[], |sketch| {
        (sketch.this_update, sketch.next_update) = (BEFORE + 1, Some(NOW.0 + 50));
    });
    let trust = trusting(&[&root, &next], vec![older, ends(&root, 90), newer], CrlPolicy::IfPresent);
    let expected = [("CN=Root", UnixTime(NOW.0 + 900)), ("CN=Next", UnixTime(NOW.0 + 700))];
    assert_eq!(trust.ca_expiries().collect::<Vec<_>>(), expected);
    let expected = [("CN=Next", UnixTime(NOW.0 + 50)), ("CN=Root", UnixTime(NOW.0 + 90))];
    assert_eq!(trust.crls().collect::<Vec<_>>(), expected, "of two the one that counts");
}

#[test]
fn its_fingerprint_has_everything_in_it() {
    let (root, other) = (Ca::root("Root"), Ca::root("Other"));
    let crl = || vec![root.crl(&[], |sketch| sketch.this_update = BEFORE)];
    let all = [
        without_crls(&[&root]),
        without_crls(&[&root, &other]),
        without_crls(&[&root]).requiring_purpose(true),
        trusting(&[&root], Vec::new(), CrlPolicy::Required),
        trusting(&[&root], crl(), CrlPolicy::Required),
        Trust::new(vec![root.certificate.clone()], Vec::new(), CrlPolicy::IfPresent, 3).unwrap(),
    ];
    let prints: Vec<_> = all.iter().map(Trust::fingerprint).collect();
    assert!((1..prints.len()).all(|at| !prints[..at].contains(&prints[at])));
    assert_eq!(without_crls(&[&root]).fingerprint(), prints[0]);
}
