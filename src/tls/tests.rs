//! Which server name gets what. Handshakes are seen from outside, in `tests/it`.

use portcullis_x509::{
    CrlPolicy, Trust,
    testing::{AFTER, Ca},
};

use super::{context::server_name, *};
use crate::config::file;

fn certified(ca: &Ca, names: &[&str]) -> Arc<Certified> {
    let made = ca.client(names[0], |sketch| sketch.dns(names));
    Arc::new(Certified {
        chain: vec![made.certificate],
        key: made.key,
        ocsp: None,
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        until: UnixTime(AFTER),
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

/// The subject of the certificate that a name gets.
fn shown(names: &Names, name: Option<&str>) -> Option<String> {
    let context = &names.asked(name)?.context;
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
fn pitfall_42_who_is_asked_follows_the_name_whichever_certificate_it_has() {
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
        ("corp.example", 0),
        ("nobody.example", 0),
    ] {
        assert_eq!(names.of_host(host).clients.fingerprint, [mark; 32], "{host}");
    }
    // Names that are served alike share what OpenSSL keeps for them, others do not.
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
