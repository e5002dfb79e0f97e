use openssl::{
    asn1::Asn1Time,
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::PKey,
    x509::{X509, X509VerifyResult},
};

use super::*;
use crate::telemetry::metrics::UpstreamError;

fn certificate() -> (X509, PKey<openssl::pkey::Private>) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a known curve");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
    let mut builder = X509::builder().expect("a builder");
    builder.set_not_before(&Asn1Time::days_from_now(0).expect("a time")).expect("a time");
    builder.set_not_after(&Asn1Time::days_from_now(1).expect("a time")).expect("a time");
    builder.set_pubkey(&key).expect("a key");
    builder.sign(&key, MessageDigest::sha256()).expect("a key that signs");
    (builder.build(), key)
}

/// Settings that are not part of the key would share connections.
#[test]
fn every_setting_tells_connections_apart() {
    let [(first, key), (second, _)] = [(); 2].map(|()| certificate());
    let list = |certificates: &[&X509]| certificates.iter().map(|one| (*one).clone()).collect::<Arc<[X509]>>();
    let own = |chain: &[&X509]| Some(CertKey::new(list(chain).to_vec(), key.clone()));
    let all = [
        (Trust::Anybody, None, ALPN::H1),
        (Trust::Anybody, None, ALPN::H2),
        (Trust::Anybody, None, ALPN::H2H1),
        (Trust::Anybody, own(&[&first]), ALPN::H1),
        (Trust::Anybody, own(&[&first, &second]), ALPN::H1),
        (Trust::Anybody, own(&[&second]), ALPN::H1),
        (Trust::Named(list(&[])), None, ALPN::H1),
        (Trust::Named(list(&[&first])), None, ALPN::H1),
        (Trust::Named(list(&[&first, &second])), None, ALPN::H1),
        (Trust::Named(list(&[&first])), own(&[&second]), ALPN::H1),
        (Trust::Named(list(&[&second])), None, ALPN::H1),
        (Trust::Authorities(list(&[&first])), None, ALPN::H1),
    ];
    let digests = all.iter().map(|(trust, own, alpn)| settings(trust, own.as_ref(), alpn));
    let different: std::collections::HashSet<[u8; 32]> = digests.collect();
    assert_eq!(different.len(), all.len());
}

/// The name is part of it too: Pingora separates connections by SNI, but not by an address that is verified.
#[test]
fn peers_are_told_apart_by_the_name_that_is_verified() {
    let tls = |server_name: Option<&str>| Tls {
        trust: Trust::Named(Arc::default()),
        server_name: server_name.map(|name| name.parse().expect("a name")),
        own: None,
        alpn: ALPN::H1,
        settings: [7; 32],
    };
    let address = SocketAddr::from(([127, 0, 0, 1], 443));
    let key = |server_name| tls(server_name).peer(address, "orders.internal").expect("a peer").0.group_key;
    assert_eq!(key(None), key(Some("orders.internal")));
    assert_eq!(std::collections::HashSet::from([key(None), key(Some("10.0.0.1")), key(Some("10.0.0.2"))]).len(), 3);
    for (host, sni) in [("10.0.0.1", "10.0.0.1"), ("[::1]", "::1"), ("Orders.Internal", "orders.internal")] {
        let (peer, _) = tls(None).peer(address, host).expect("a peer");
        assert_eq!(peer.sni, sni);
        assert!(peer.options.upstream_tls_handshake_complete_hook.is_none(), "it is set for each request");
    }
}

/// A request must not use a connection that was not verified.
#[test]
fn what_was_not_verified_is_not_admitted() {
    let name = ServerName::Dns("orders.internal".to_owned());
    let verifier = Arc::new(Verifier::new(&Trust::Anybody, &name, false, [1; 32]).expect("a verifier"));
    let mut peer = HttpPeer::new(("127.0.0.1", 443), true, "orders.internal".to_owned());
    let handshake = Handshake::watch(&verifier, None, &mut peer);
    assert!(peer.options.upstream_tls_handshake_complete_hook.is_some());
    let kind =
        |connection: Option<&pingora::protocols::Digest>| handshake.admit(connection).map_err(|fault| fault.kind);
    assert_eq!(kind(None), Err(UpstreamError::Tls));
    assert_eq!(kind(Some(&pingora::protocols::Digest::default())), Err(UpstreamError::Tls));
}

#[test]
fn server_names_are_names_or_addresses() {
    let parse = |text: &str| text.parse::<ServerName>();
    for (text, name) in
        [("orders.internal", "orders.internal"), ("Orders.INTERNAL.", "orders.internal"), ("a_b", "a_b")]
    {
        assert_eq!(parse(text), Ok(ServerName::Dns(name.to_owned())), "{text}");
    }
    for text in ["10.0.0.1", "::1", "2001:db8::1"] {
        assert_eq!(parse(text), Ok(ServerName::Ip(text.parse().expect("an address"))), "{text}");
    }
    let long = format!("{}.internal", "a.".repeat(130));
    for text in
        ["", ".", "*.internal", "a..b", "a:443", "[::1]", "https://a", "a b", "ä.internal", "a\0", long.as_str()]
    {
        assert!(parse(text).is_err(), "{text:?}");
    }
}

/// Codes are OpenSSL's numbers; an unknown one is still a certificate that is not accepted.
#[test]
fn every_fault_has_a_kind() {
    for (code, kind) in [
        (openssl_sys::X509_V_ERR_CERT_HAS_EXPIRED, UpstreamError::CertificateExpired),
        (openssl_sys::X509_V_ERR_CERT_NOT_YET_VALID, UpstreamError::CertificateNotYetValid),
        (openssl_sys::X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, UpstreamError::CertificateUnknownCa),
        (openssl_sys::X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, UpstreamError::CertificateUnknownCa),
        (openssl_sys::X509_V_ERR_HOSTNAME_MISMATCH, UpstreamError::CertificateNameMismatch),
        (openssl_sys::X509_V_ERR_IP_ADDRESS_MISMATCH, UpstreamError::CertificateNameMismatch),
        (openssl_sys::X509_V_ERR_INVALID_PURPOSE, UpstreamError::CertificateInvalid),
        (openssl_sys::X509_V_ERR_CERT_REVOKED, UpstreamError::CertificateInvalid),
        (i32::MAX, UpstreamError::CertificateInvalid),
    ] {
        // SAFETY: the number is only compared, and looked up in a table that has a text for unknown ones.
        let result = unsafe { X509VerifyResult::from_raw(code) };
        assert_eq!(Fault::of(result).kind, kind, "{code}");
    }
}
