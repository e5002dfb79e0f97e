use openssl::asn1::Asn1Type;

use super::*;
use crate::testing::{AFTER, BEFORE, Ca, Sketch, der};

fn facts(change: impl FnOnce(&mut Sketch)) -> Result<Facts, Fault> {
    Facts::of(&Ca::root("Root").client("alice", change).certificate)
}

/// With a list of alternative names, as they are encoded: the tag of each and its bytes.
fn named(names: &[(u8, &[u8])]) -> Result<Facts, Fault> {
    let names: Vec<_> = names.iter().map(|(tag, name)| der(*tag, &[name])).collect();
    facts(|sketch| sketch.raw.push(("2.5.29.17", false, der(0x30, &[&names.concat()]))))
}

const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const ADDRESS: u8 = 0x87;

#[test]
fn it_reads_what_a_certificate_says() {
    let facts = facts(|sketch| {
        sketch.part("OU", "Billing");
        sketch.part("O", "ACME, Inc.");
        sketch.serial = Some(vec![0xFE, 0xDC]);
        sketch.dns(&["API.example.com", "*.example.org"]);
        sketch.uris(&["spiffe://example.org/ns/prod/sa/web"]);
        sketch.emails(&["Alice@example.com"]);
        sketch.names.push(("ip", "192.0.2.7".to_owned()));
        sketch.names.push(("ip", "2001:db8::7".to_owned()));
    })
    .unwrap();
    assert_eq!(facts.subject, "O=ACME\\, Inc.,OU=Billing,CN=alice");
    assert_eq!(facts.cn.as_deref(), Some("alice"));
    assert_eq!(facts.issuer, "CN=Root");
    assert_eq!(facts.serial, "FEDC");
    assert_eq!((facts.not_before, facts.not_after), (UnixTime(BEFORE), UnixTime(AFTER)));
    assert_eq!(facts.dns, ["api.example.com", "*.example.org"]);
    assert_eq!(facts.uris, ["spiffe://example.org/ns/prod/sa/web"]);
    assert_eq!(facts.emails, ["Alice@example.com"]);
    assert_eq!(facts.addresses, ["192.0.2.7".parse::<IpAddr>().unwrap(), "2001:db8::7".parse().unwrap()]);
    assert!(!facts.is_ca);
    assert_eq!((facts.is_for_clients, facts.is_for_servers), (Some(true), Some(false)));
}

#[test]
fn it_reads_what_a_certificate_was_made_for() {
    for (purposes, clients, servers) in [
        (&[][..], None, None),
        (&["serverAuth"], Some(false), Some(true)),
        (&["clientAuth", "serverAuth"], Some(true), Some(true)),
        (&["codeSigning"], Some(false), Some(false)),
    ] {
        let facts = facts(|sketch| sketch.purposes = purposes.to_vec()).unwrap();
        assert_eq!((facts.is_for_clients, facts.is_for_servers), (clients, servers), "{purposes:?}");
    }
}

#[test]
fn it_knows_cas() {
    let root = Ca::root("Root");
    assert!(Facts::of(&root.certificate).unwrap().is_ca);
    let unfit = root.issue("x", |sketch| {
        sketch.ca = None;
        sketch.raw.push(("2.5.29.19", true, der(0x30, &[&[1, 1, 0xFF]])));
        // Only `digitalSignature`.
        sketch.raw.push(("2.5.29.15", true, vec![3, 2, 7, 0x80]));
    });
    assert!(!Facts::of(&unfit.certificate).unwrap().is_ca, "its key may not sign certificates");
}

#[test]
fn a_name_with_something_odd_in_it_makes_the_whole_certificate_malformed() {
    let good: &[(u8, &[u8])] = &[(DNS, b"a.example"), (EMAIL, b"a@example"), (URI, b"spiffe://example/a")];
    assert!(named(good).is_ok());
    for tag in [DNS, EMAIL, URI] {
        for odd in [&b"bank.example\0.evil.example"[..], b"", b"a b", b"a\nb", b"a\x7F", "\u{e9}".as_bytes(), b"\xE9"] {
            assert_eq!(named(&[(DNS, b"a.example"), (tag, odd)]).unwrap_err(), Fault::Malformed, "{odd:?}");
        }
    }
    for odd in [&[192, 0, 2][..], &[192, 0, 2, 1, 255, 255, 255, 0], &[0; 15], &[]] {
        assert_eq!(named(&[(ADDRESS, odd)]).unwrap_err(), Fault::Malformed, "{odd:?}");
    }
}

#[test]
fn a_list_of_names_that_cannot_be_read_is_not_an_absent_one() {
    for broken in [&b"\x30\x05\x82\x09a"[..], b"", b"\x04\x00", b"\x30\x80\x00\x00", b"\x30\x03\x82\x01a\0"] {
        let broken = facts(|sketch| sketch.raw.push(("2.5.29.17", false, broken.to_vec())));
        assert_eq!(broken.unwrap_err(), Fault::Malformed);
    }
    let twice = facts(|sketch| {
        for name in [b"a.example", b"b.example"] {
            sketch.raw.push(("2.5.29.17", false, der(0x30, &[&der(DNS, &[name])])));
        }
    });
    assert_eq!(twice.unwrap_err(), Fault::Malformed);
}

#[test]
fn kinds_of_names_that_nothing_goes_by_are_passed_over() {
    let upn = der(0xA0, &[&[0x06, 3, 0x2A, 3, 4], &der(0xA0, &[&der(0x0C, &[b"alice"])])]);
    let registered = der(0x88, &[&[0x2A, 3, 4]]);
    let names = der(0x30, &[&upn, &registered, &der(DNS, &[b"a.example"])]);
    let facts = facts(|sketch| sketch.raw.push(("2.5.29.17", false, names))).unwrap();
    assert_eq!(facts.dns, ["a.example"]);
}

#[test]
fn there_is_an_end_to_names() {
    let many = |count| named(&vec![(DNS, &b"a.example"[..]); count]);
    assert_eq!(many(MAX_ALTERNATIVE_NAMES).unwrap().dns.len(), MAX_ALTERNATIVE_NAMES);
    assert_eq!(many(MAX_ALTERNATIVE_NAMES + 1).unwrap_err(), Fault::Malformed);
    let long = vec![b'a'; CERTIFICATE_MAX_BYTES];
    assert_eq!(named(&[(DNS, &long)]).unwrap_err(), Fault::Malformed);
    let long = vec![b'a'; 20_000];
    assert_eq!(named(&[(DNS, &long)]).unwrap().dns[0].len(), 20_000);
}

#[test]
fn subjects_are_read_in_every_encoding() {
    let subject = |value: &str, of| {
        let facts = facts(|sketch| sketch.subject = vec![("CN", value.to_owned(), of)])?;
        Ok::<_, Fault>((facts.subject, facts.cn.unwrap_or_default()))
    };
    let read = ("CN=J\\C3\\B6rg".to_owned(), "Jörg".to_owned());
    assert_eq!(subject("Jörg", Asn1Type::UTF8STRING), Ok(read));
    // OpenSSL gets the bytes of these: two for each character, and four.
    let wide = ("CN=a\\E4\\85\\82".to_owned(), "a\u{4142}".to_owned());
    assert_eq!(subject("\0aAB", Asn1Type::BMPSTRING), Ok(wide.clone()));
    assert_eq!(subject("\0\0\0a\0\0AB", Asn1Type::UNIVERSALSTRING), Ok(wide));
    assert_eq!(subject("alice", Asn1Type::PRINTABLESTRING), Ok(("CN=alice".to_owned(), "alice".to_owned())));
    assert_eq!(subject("admin\0x", Asn1Type::UTF8STRING), Err(Fault::Malformed));
    assert_eq!(subject("\0a\0\0", Asn1Type::BMPSTRING), Err(Fault::Malformed));
    assert_eq!(subject("admin\nx", Asn1Type::UTF8STRING), Err(Fault::Malformed));
}

#[test]
fn of_several_common_names_none_counts() {
    let facts = facts(|sketch| sketch.part("CN", "bob")).unwrap();
    assert_eq!((facts.cn, facts.subject.as_str()), (None, "CN=bob,CN=alice"));
}

#[test]
fn serial_numbers_are_positive_and_of_some_length() {
    let read = |bytes: &[u8]| facts(|sketch| sketch.serial = Some(bytes.to_vec())).map(|facts| facts.serial);
    assert_eq!(read(&[1]), Ok("01".to_owned()));
    assert_eq!(read(&[0]), Ok("00".to_owned()));
    assert_eq!(read(&[0x80]), Ok("80".to_owned()), "the zero that keeps it positive is dropped");
    assert_eq!(read(&[0xFF; 20]), Ok("FF".repeat(20)));
    assert_eq!(read(&[0x7F; 22]), Err(Fault::Malformed));
    assert_eq!(serial(&[0x80]), Err(Fault::Malformed));
    assert_eq!(serial(&[]), Err(Fault::Malformed));
}

#[test]
fn dates_hold_to_the_second() {
    let facts = facts(|_| {}).unwrap();
    assert_eq!(facts.check_dates(UnixTime(BEFORE - 1)), Err(Fault::NotYetValid));
    assert_eq!(facts.check_dates(UnixTime(BEFORE)), Ok(()));
    assert_eq!(facts.check_dates(UnixTime(AFTER - 1)), Ok(()));
    assert_eq!(facts.check_dates(UnixTime(AFTER)), Err(Fault::Expired));
}

#[test]
fn nothing_may_follow_a_certificate() {
    let der = Ca::root("Root").der();
    assert!(Facts::of_der(&der).is_ok());
    assert_eq!(Facts::of_der(&[&der[..], &[0]].concat()).unwrap_err(), Fault::Malformed);
    assert_eq!(Facts::of_der(&der[..der.len() - 1]).unwrap_err(), Fault::Malformed);
}

#[test]
fn fuzz_no_bytes_are_a_panic_and_no_name_can_split_a_line() {
    let good = Ca::root("Root").client("alice", |sketch| {
        sketch.dns(&["a.example"]);
        sketch.uris(&["spiffe://example/a"]);
        sketch.emails(&["a@example"]);
        sketch.subject.push(("O", "\0aAB".to_owned(), Asn1Type::BMPSTRING));
    });
    let good = good.der();
    bolero::check!().with_iterations(10_000).with_type::<(Vec<u8>, Vec<(u16, u8)>)>().for_each(|(bytes, changes)| {
        let _ = Facts::of_der(bytes);
        let mut changed = good.clone();
        for (at, byte) in changes {
            let at = usize::from(*at) % changed.len();
            changed[at] = *byte;
        }
        if let Ok(facts) = Facts::of_der(&changed) {
            let mut texts =
                [&facts.subject, &facts.issuer, &facts.serial].into_iter().chain(&facts.dns).chain(&facts.uris);
            assert!(texts.all(|text| text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())));
            assert!(!facts.cn.unwrap_or_default().contains(char::is_control));
        }
    });
}
