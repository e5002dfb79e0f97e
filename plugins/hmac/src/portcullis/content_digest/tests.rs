use portcullis_plugin::http::HeaderValue;

use super::*;

fn digests(lines: &[&str]) -> Result<Vec<BodyDigest>, Wrong> {
    let line = |value: &&str| (CONTENT_DIGEST, HeaderValue::from_str(value).unwrap());
    read(&lines.iter().map(line).collect())
}

fn fits(line: &str, body: &str) -> bool {
    digests(&[line]).unwrap().iter().all(|digest| digest.fits(body.as_bytes()))
}

const SHA_256: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
const SHA_512: &str =
    "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:";

#[test]
fn rfc_9530_appendix_d_vectors() {
    let body = "{\"hello\": \"world\"}\n";
    assert!(fits(SHA_256, body));
    assert!(fits(SHA_512, body));
    assert!(!fits(SHA_256, "{\"hello\": \"world\"}"));
    // RFC 9421 appendix B.2: the same without the newline.
    assert!(fits("sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:", "{\"hello\": \"world\"}"));
    // RFC 9530 appendix B.2: no content.
    assert!(fits("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", ""));
}

#[test]
fn every_known_digest_has_to_fit() {
    let body = "{\"hello\": \"world\"}\n";
    let both = format!("{SHA_256}, {SHA_512}");
    assert!(fits(&both, body));
    assert!(!fits(&format!("{SHA_256}, sha-512=:{}==:", "A".repeat(86)), body));
    assert_eq!(digests(&[SHA_256, SHA_512]).unwrap().len(), 2, "on two lines");
    assert!(fits(&format!("md5=:AAAA:, {SHA_256}, unixsum=:AAAA:"), body), "others are passed over");
}

#[test]
fn a_malformed_digest_is_refused() {
    let none = Wrong::incomplete("Content-Digest has neither sha-256 nor sha-512");
    assert_eq!(digests(&["md5=:AAAA:"]), Err(none));
    assert_eq!(digests(&[""]), Err(none));
    assert_eq!(digests(&["SHA-256=:AAAA:"]).unwrap_err().reason, portcullis_plugin::Reason::SignatureMalformed);
    assert_eq!(digests(&[]), Err(Wrong::incomplete("Content-Digest is absent")));
    let twice = format!("{SHA_256}, {SHA_256}");
    for line in ["sha-256", "sha-256=AAAA", "sha-256=:AAAA:", "sha-256=:A", "sha-256=(:AAAA:)", "sha-256=\"x\"", &twice]
    {
        assert!(digests(&[line]).is_err(), "{line}");
    }
    assert!(digests(&[SHA_256, SHA_256]).is_err());
}
