use base64::engine::general_purpose::URL_SAFE;
use serde_json::json;

use super::*;

fn certificate(der: &[u8]) -> ClientCert {
    ClientCert::new(der.to_vec(), Vec::new())
}

#[expect(clippy::needless_pass_by_value, reason = "it is a literal wherever this is called")]
fn read(claims: Value) -> Result<Binding, Reason> {
    Binding::of(claims.as_object().unwrap(), CertificateBinding::WhenPresent).map_err(|wrong| wrong.reason)
}

#[test]
fn a_bound_token_goes_with_its_certificate_alone() {
    let ours = certificate(b"ours");
    let binding = read(json!({ "cnf": { "x5t#S256": URL_SAFE_NO_PAD.encode(ours.sha256) } })).unwrap();
    assert_eq!(binding.check(Ok(Some(&ours))), Ok(()));
    assert_eq!(binding.check(Ok(Some(&certificate(b"other")))), Err(Reason::TokenBindingMismatch));
    assert_eq!(binding.check(Ok(None)), Err(Reason::TokenBindingMismatch));
    assert_eq!(binding.check(Err(Reason::CertificateRevoked)), Err(Reason::CertificateRevoked));
}

#[test]
fn a_token_that_is_not_bound_needs_no_certificate_unless_it_has_to() {
    for claims in [json!({}), json!({ "cnf": {} }), json!({ "cnf": { "kid": "1" } })] {
        let binding = read(claims.clone()).unwrap();
        assert_eq!(binding.check(Ok(None)), Ok(()));
        assert_eq!(binding.check(Err(Reason::CertificateExpired)), Ok(()));
        let required = Binding::of(claims.as_object().unwrap(), CertificateBinding::Required).unwrap();
        assert_eq!(required.check(Ok(Some(&certificate(b"ours")))), Err(Reason::TokenBindingMismatch));
    }
}

#[test]
fn a_confirmation_that_cannot_be_read_is_not_an_absent_one() {
    let good = URL_SAFE_NO_PAD.encode([0xFB; 32]);
    assert!(read(json!({ "cnf": { "x5t#S256": good } })).is_ok());
    let odd = [
        json!(null),
        json!("text"),
        json!([]),
        json!(1),
        json!({ "x5t#S256": null }),
        json!({ "x5t#S256": "" }),
        json!({ "x5t#S256": 1 }),
        json!({ "x5t#S256": [good] }),
        json!({ "x5t#S256": "not base64url!" }),
        json!({ "x5t#S256": good.replace('-', "+") }),
        json!({ "x5t#S256": URL_SAFE.encode([0xFB; 32]) }),
        json!({ "x5t#S256": URL_SAFE_NO_PAD.encode([0xFB; 31]) }),
        json!({ "x5t#S256": URL_SAFE_NO_PAD.encode([0xFB; 33]) }),
        json!({ "x5t#S256": "fb".repeat(32) }),
        json!({ "x5t#S256": format!(" {good}") }),
    ];
    for cnf in odd {
        assert_eq!(read(json!({ "cnf": cnf })), Err(Reason::TokenMalformed), "{cnf}");
    }
}
