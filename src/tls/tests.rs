//! Tests of the settings for each server name. Handshakes are tested from outside, in `tests/it`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use portcullis_plugin::UnixTime;
use portcullis_x509::{
    CrlPolicy, Trust,
    testing::{AFTER, Ca, NOW},
};

use super::{
    certificate::Certified,
    clients::Clients,
    compiled::Tls,
    entry::{self, server_name},
    ffi::TicketKeys,
    names::{self, Names},
};
use crate::config::file;

fn certified(ca: &Ca, names: &[&str]) -> Arc<Certified> {
    let made = ca.client(names[0], |sketch| sketch.dns(names));
    Arc::new(Certified {
        chain: vec![made.certificate],
        key: made.key,
        ocsp: None,
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        until: UnixTime(AFTER),
        sha256: [0; 32],
        span: 0..0,
        index: 0,
    })
}

fn nobody() -> Arc<Clients> {
    Arc::new(Clients { auth: file::ClientAuth::Off, trust: None, fingerprint: [0; 32] })
}

fn asked(ca: &Ca, mark: u8) -> Arc<Clients> {
    let trust = Trust::new(vec![ca.certificate.clone()], Vec::new(), CrlPolicy::IfPresent, 1).expect("a CA");
    Arc::new(Clients { auth: file::ClientAuth::Required, trust: Some(trust), fingerprint: [mark; 32] })
}

fn names(more: &str, certificates: &[Arc<Certified>], of_names: &[(&str, Arc<Clients>)]) -> Names {
    let file = format!("certificates = [{{ cert = \"a.pem\", key = \"a.key\" }}]\n{more}");
    let file: file::Tls = toml::from_str(&file).expect("a listener's TLS");
    Names::build(&file, 0, certificates, &nobody(), of_names).expect("OpenSSL takes it")
}

/// Returns the subject of the certificate that a name gets.
fn shown(names: &Names, name: Option<&str>) -> Option<String> {
    let context = &names.requested(name)?.context;
    let certificate = context.certificate().expect("every context has one");
    Some(portcullis_x509::Facts::of(certificate).expect("it can be read").cn.expect("it has a common name"))
}

#[test]
fn an_exact_name_goes_before_a_wildcard_and_a_wildcard_stands_for_one_label() {
    let ca = Ca::root("Root");
    let certificates = [
        certified(&ca, &["first.example"]),
        certified(&ca, &["*.shop.example", "shop.example"]),
        certified(&ca, &["api.shop.example"]),
    ];
    let names = names("", &certificates, &[]);
    for (name, expected) in [
        (Some("first.example"), "first.example"),
        (Some("shop.example"), "*.shop.example"),
        (Some("www.shop.example"), "*.shop.example"),
        (Some("api.shop.example"), "api.shop.example"),
        (Some("a.b.shop.example"), "first.example"),
        (Some("*.shop.example"), "*.shop.example"),
        (Some("example"), "first.example"),
        (Some("unknown.example"), "first.example"),
        (None, "first.example"),
    ] {
        assert_eq!(shown(&names, name).as_deref(), Some(expected), "{name:?}");
    }
}

#[test]
fn unknown_names_are_refused_where_the_file_says_so() {
    let ca = Ca::root("Root");
    let names = names("unknown_name = \"refuse\"", &[certified(&ca, &["*.shop.example"])], &[]);
    assert_eq!(shown(&names, Some("www.shop.example")).as_deref(), Some("*.shop.example"));
    for name in [None, Some("shop.example"), Some("a.b.shop.example"), Some("other.example")] {
        assert_eq!(shown(&names, name), None, "{name:?}");
    }
}

#[test]
fn deep_names_below_a_wildcard_of_the_file_are_asked_or_refused() {
    let ca = Ca::root("Root");
    let certificates = [certified(&ca, &["first.example"]), certified(&ca, &["*.x.corp.example"])];
    let of_names = [("*.corp.example", asked(&ca, 1)), ("*.deep.x.corp.example", asked(&ca, 2))];
    for (more, is_refused) in [("", false), ("unknown_name = \"refuse\"", true)] {
        let names = names(more, &certificates, &of_names);
        let mark = |name: &str| names.requested(Some(name)).map(|name| name.clients.fingerprint[0]);
        assert_eq!(mark("a.x.corp.example"), Some(1));
        assert_eq!(shown(&names, Some("a.x.corp.example")).as_deref(), Some("*.x.corp.example"));
        assert_eq!(mark("a.b.corp.example"), (!is_refused).then_some(1));
        assert_eq!(mark("a.b.deep.x.corp.example"), (!is_refused).then_some(2));
        assert_eq!(names.of_host("a.b.c.d.corp.example").clients.fingerprint, [1; 32]);
    }
}

#[test]
fn who_is_asked_follows_the_name_whichever_certificate_it_has() {
    let ca = Ca::root("Root");
    let certificates = [certified(&ca, &["open.example"]), certified(&ca, &["*.corp.example", "hr.corp.example"])];
    let of_names =
        [("*.corp.example", asked(&ca, 1)), ("hr.corp.example", asked(&ca, 2)), ("bare.example", asked(&ca, 3))];
    let names = names("", &certificates, &of_names);
    assert!(names.ask_anywhere);
    for (host, mark) in [
        ("open.example", 0),
        ("any.corp.example", 1),
        ("hr.corp.example", 2),
        ("bare.example", 3),
        // A route's wildcard covers this, though no certificate's wildcard goes so deep.
        ("a.b.corp.example", 1),
        ("below.hr.corp.example", 1),
        ("corp.example", 0),
        ("evilcorp.example", 0),
        ("nobody.example", 0),
    ] {
        assert_eq!(names.of_host(host).clients.fingerprint, [mark; 32], "{host}");
    }
    // Names with equal settings share an OpenSSL context, others do not.
    assert!(Arc::ptr_eq(names.of_host("open.example"), names.of_host("nobody.example")));
    assert!(!Arc::ptr_eq(names.of_host("any.corp.example"), names.of_host("hr.corp.example")));
}

fn extension(name: &[u8]) -> Vec<u8> {
    let length = u16::try_from(name.len()).expect("short");
    let mut bytes = (length + 3).to_be_bytes().to_vec();
    bytes.push(0);
    bytes.extend(length.to_be_bytes());
    bytes.extend(name);
    bytes
}

#[test]
fn a_server_name_is_one_host() {
    for (name, expected) in [
        (&b"a.example"[..], Some("a.example")),
        (b"A.Example", Some("a.example")),
        (b"a.example.", Some("a.example")),
        (b"127.0.0.1", Some("127.0.0.1")),
        (b"", None),
        (b"a b", None),
        (b"a\0.example", None),
        (b"\xff\xfe", None),
        (b"a/../b", None),
    ] {
        assert_eq!(server_name(&extension(name)).as_deref(), expected, "{name:?}");
    }
    let whole = extension(b"a.example");
    for wrong in [
        &whole[..whole.len() - 1],
        &[&whole[..], b"x"].concat(),
        &[0, 1, 2],
        &[],
        &[0, 4, 1, 0, 1, b'a'],
        // Two names (RFC 6066 section 3: one of a type).
        &[0, 8, 0, 0, 1, b'a', 0, 0, 1, b'b'],
    ] {
        assert_eq!(server_name(wrong), None, "{wrong:?}");
    }
}

#[test]
fn no_extension_makes_it_panic() {
    bolero::check!().with_iterations(20_000).for_each(|bytes: &[u8]| {
        if let Some(name) = server_name(bytes) {
            assert!(!name.is_empty() && *name == name.to_ascii_lowercase());
        }
        let _ = server_name(&extension(&bytes[..bytes.len().min(300)]));
    });
}

#[test]
fn the_key_of_sessions_is_replaced_and_connections_begin_with_the_new_one() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let ca = Ca::root("Root");
    let certificates = [certified(&ca, &["a.example"])];
    let names = Arc::new(names("", &certificates, &[]));
    let file: file::Tls = toml::from_str("certificates = [{ cert = \"a\", key = \"a\" }]").expect("a listener's TLS");
    let tickets = Arc::new(TicketKeys::random().expect("random numbers"));
    let tls = Tls {
        entry: ArcSwap::from_pointee(entry::entry(&file, &names, &tickets).expect("OpenSSL takes it")),
        file,
        tickets: tickets.clone(),
        names,
        handshake_timeout: HOUR,
        watch: None,
        files: Vec::new(),
        expiries: Vec::new(),
        lists: Vec::new(),
    };
    let now = Instant::now();
    let first = tls.entry();
    assert!(Arc::ptr_eq(&first, &tls.entry()), "it is made once");
    assert_eq!(tickets.number(now + 11 * HOUR), 0);
    assert_eq!(tickets.number(now + 13 * HOUR), 1);
    assert_eq!(tickets.number(now + 14 * HOUR), 1, "as long again");
    let second = tls.entry();
    assert_eq!((first.0, second.0), (0, 1));
    assert!(Arc::ptr_eq(&second, &tls.entry()));
}

#[test]
fn a_certificate_is_for_its_names_and_for_one_label_in_place_of_a_wildcard() {
    let known = ["a.example", "*.b.example"];
    for (name, is_covered) in [
        ("a.example", true),
        ("x.a.example", false),
        ("x.b.example", true),
        ("*.b.example", true),
        ("x.y.b.example", false),
        ("*.a.example", false),
        ("b.example", false),
    ] {
        assert_eq!(names::covers(known.into_iter(), name), is_covered, "{name}");
    }
}

#[test]
fn a_key_beside_its_certificate_is_left_to_whoever_reads_keys() {
    let ca = Ca::root("Root");
    let made = ca.client("a.example", |_| {});
    let certificate = made.certificate.to_pem().expect("PEM");
    let key = made.key.private_key_to_pem_pkcs8().expect("PEM");
    let parameters = b"-----BEGIN EC PARAMETERS-----\r\nBggqhkjOPQMBBw==\r\n-----END EC PARAMETERS-----\r\n".to_vec();
    let crlf = String::from_utf8(certificate.clone()).expect("ASCII").replace('\n', "\r\n").into_bytes();
    let file = [parameters, key.clone(), crlf, certificate].concat();
    assert_eq!(portcullis_x509::certificates_beside_key(&file).map(|chain| chain.len()), Ok(2));
    assert!(portcullis_x509::certificates(&file).is_err());
    assert_eq!(
        portcullis_x509::certificates_beside_key(&key).map(drop),
        Err(portcullis_x509::CertificatesError::Empty)
    );
}

#[test]
fn a_comparison_with_the_wrong_ca_leaves_no_error_for_the_next_connection() {
    use openssl::error::ErrorStack;
    // A CA with a new key and its old name.
    let (old, new) = (Ca::root("Root"), Ca::root("Root"));
    let cas = vec![old.certificate.clone(), new.certificate.clone()];
    let trust = Trust::new(cas, Vec::new(), CrlPolicy::IfPresent, 1).expect("CAs");
    let alice = new.client("alice", |_| {});
    let leaves_none = || ErrorStack::get().errors().is_empty();
    assert!(leaves_none());
    // Without key identifiers OpenSSL chooses one of the two, and tries no other.
    let _ = trust.verify(&alice.certificate, &[], NOW);
    assert!(leaves_none());
    assert!(trust.revocation(&[&alice.certificate], NOW).is_ok());
    assert!(leaves_none());
    let other = Trust::new(vec![old.certificate], Vec::new(), CrlPolicy::IfPresent, 1).expect("a CA");
    assert!(other.verify(&alice.certificate, &[], NOW).is_err());
    assert!(leaves_none());
}
