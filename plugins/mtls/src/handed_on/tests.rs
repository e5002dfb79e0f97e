use portcullis_x509::testing::{Ca, Sketch};

use super::*;

fn xfcc_of(cn: &str, change: impl FnOnce(&mut Sketch)) -> String {
    let facts = Facts::of(&Ca::root("Root").client(cn, change).certificate).unwrap();
    let element = xfcc(&facts);
    let hash = format!("Hash={};", hex::encode(facts.sha256));
    element.strip_prefix(&hash).expect("the hash comes first").to_owned()
}

#[test]
fn xfcc_is_written_as_envoy_does() {
    let element = xfcc_of("alice", |sketch| {
        sketch.part("O", "ACME");
        sketch.uris(&["spiffe://example.org/a", "https://example.org/?a=b;c,d"]);
        sketch.dns(&["a.example.com"]);
    });
    let uris = "URI=spiffe://example.org/a;URI=\"https://example.org/?a=b;c,d\"";
    assert_eq!(element, format!("Subject=\"O=ACME,CN=alice\";{uris};DNS=a.example.com"));
}

#[test]
fn no_name_can_add_a_field_to_xfcc() {
    let cases = [
        ("x\";URI=spiffe://evil/a", "CN=x\\22\\;URI=spiffe://evil/a"),
        ("x\\\";URI=evil", "CN=x\\5C\\22\\;URI=evil"),
        ("x\\", "CN=x\\5C"),
        ("x, By=y", "CN=x\\, By=y"),
    ];
    for (cn, subject) in cases {
        assert_eq!(xfcc_of(cn, |_| {}), format!("Subject=\"{subject}\""), "{cn}");
    }
    let element = xfcc_of("x", |sketch| sketch.uris(&["a:\";Hash=0\\"]));
    assert_eq!(element, "Subject=\"CN=x\";URI=\"a:%22;Hash=0%5C\"");
}

#[test]
fn each_header_has_its_form() {
    let root = Ca::root("Root");
    let leaf = root.client("Jörg, \u{540d}", |sketch| sketch.serial = Some(vec![0x0A, 0xBC]));
    let facts = Facts::of(&leaf.certificate).unwrap();
    let value =
        |header: HandedOn, chain: &[Vec<u8>]| header.value(&ClientCert::new(leaf.der(), chain.to_vec()), &facts);
    assert_eq!(value(HandedOn::ClientCert, &[]), Some(format!(":{}:", STANDARD.encode(leaf.der()))));
    assert_eq!(value(HandedOn::ClientCertChain, &[]), None);
    let root = format!(":{}:", STANDARD.encode(root.der()));
    assert_eq!(
        value(HandedOn::ClientCertChain, &[Ca::root("x").der(), vec![1]]).map(|chain| chain.split(", ").count()),
        Some(2)
    );
    assert!(root.is_ascii());
    assert_eq!(value(HandedOn::XClientCertCn, &[]).as_deref(), Some("J%C3%B6rg%2C%20%E5%90%8D"));
    assert_eq!(value(HandedOn::XClientCertSerial, &[]).as_deref(), Some("0ABC"));
    assert_eq!(value(HandedOn::XClientCertFingerprint, &[]), Some(hex::encode(facts.sha256)));
    assert_eq!(value(HandedOn::XClientCertVerify, &[]).as_deref(), Some("SUCCESS"));
}
