use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use portcullis_x509::testing::Ca;

use super::*;

const HEADER: HeaderName = HeaderName::from_static("client-cert");
const CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

fn sent(lines: &[(&HeaderName, &str)]) -> Result<Option<ClientCert>, Malformed> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    read(&headers, &HEADER, Some(&CHAIN))
}

fn item(der: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(der))
}

#[test]
fn it_reads_what_load_balancers_send() {
    let root = Ca::root("Root");
    let leaf = root.client("alice", |_| {});
    let alone = ClientCert::new(leaf.der(), Vec::new());
    let with_chain = ClientCert::new(leaf.der(), vec![root.der()]);
    assert_eq!(sent(&[(&HEADER, &item(&leaf.der()))]), Ok(Some(alone.clone())));
    let chained = sent(&[(&HEADER, &item(&leaf.der())), (&CHAIN, &item(&root.der()))]);
    assert_eq!(chained, Ok(Some(with_chain.clone())));
    // nginx escapes everything, the load balancers of AWS leave `+=/` alone.
    let nginx = utf8_percent_encode(&leaf.pem(), NON_ALPHANUMERIC).to_string();
    assert_eq!(sent(&[(&HEADER, &nginx)]), Ok(Some(alone.clone())));
    let aws = (leaf.pem() + &root.pem()).replace('\n', "%0A").replace(' ', "%20");
    assert_eq!(sent(&[(&HEADER, &aws)]), Ok(Some(with_chain)));
    assert_eq!(sent(&[]), Ok(None));
    assert_eq!(sent(&[(&HEADER, "")]), Ok(None));
    assert_eq!(sent(&[(&CHAIN, &item(&root.der()))]), Ok(None), "a chain of nothing");
}

#[test]
fn a_header_that_could_be_read_in_two_ways_is_refused() {
    let root = Ca::root("Root");
    let leaf = item(&root.client("alice", |_| {}).der());
    let twice = sent(&[(&HEADER, &leaf), (&HEADER, &leaf)]);
    assert_eq!(twice, Err(Malformed));
    let chain = item(&root.der());
    assert_eq!(sent(&[(&HEADER, &leaf), (&CHAIN, &chain), (&CHAIN, &chain)]), Err(Malformed));
    let many = vec![chain.as_str(); MAX_SENT_CERTIFICATES + 1].join(", ");
    assert_eq!(sent(&[(&HEADER, &leaf), (&CHAIN, &many)]), Err(Malformed));
    let odd = ["x", ":", "::", ":%%%:", "(null)", "-----BEGIN CERTIFICATE-----", "%2D%2D", "\"a\"", "?1", "MIIB"];
    for odd in odd {
        assert_eq!(sent(&[(&HEADER, odd)]), Err(Malformed), "{odd}");
        assert_eq!(sent(&[(&HEADER, &leaf), (&CHAIN, odd)]), Err(Malformed), "{odd}");
    }
    assert_eq!(sent(&[(&HEADER, &format!("{leaf}, {leaf}"))]), Err(Malformed));
}

#[test]
fn fuzz_no_header_is_a_panic() {
    bolero::check!().with_iterations(10_000).with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(certificate, chain)| {
        let mut headers = HeaderMap::new();
        for (name, value) in [(HEADER, certificate), (CHAIN, chain)] {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(name, value);
            }
        }
        let _ = read(&headers, &HEADER, Some(&CHAIN));
    });
}
