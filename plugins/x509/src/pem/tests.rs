use super::*;
use crate::testing::Ca;

#[test]
fn it_reads_certificates_in_their_order() {
    let (one, two) = (Ca::root("One"), Ca::root("Two"));
    let file = format!("# ours\n{}subject=whatever\n{}", one.pem(), two.pem());
    let read = certificates(file.as_bytes()).unwrap();
    assert_eq!(read, [one.certificate, two.certificate]);
}

#[test]
fn nothing_in_a_file_is_passed_over_in_silence() {
    let one = Ca::root("One").pem();
    let read = |file: &str| certificates(file.as_bytes()).unwrap_err();
    assert_eq!(read(""), CertificatesError::Empty);
    assert_eq!(read("-----BEGIN CERTIFICATE-----\n"), CertificatesError::NotPem);
    assert_eq!(read(&format!("{one}{}", &one[..one.len() - 20])), CertificatesError::NotPem);
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(read(&format!("{one}{key}")), CertificatesError::Other("PRIVATE KEY".to_owned()));
    let broken = "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(read(&format!("{one}{broken}")), CertificatesError::Malformed(2));
    assert_eq!(read(&one.repeat(MAX_CERTIFICATES + 1)), CertificatesError::TooMany);
}

#[test]
fn fuzz_no_bytes_are_a_panic() {
    bolero::check!().with_iterations(5_000).with_type::<Vec<u8>>().for_each(|bytes| {
        let _ = certificates(bytes);
        let _ = certificates(&[BEGIN, b"CERTIFICATE-----\n", bytes, b"\n-----END CERTIFICATE-----\n"].concat());
    });
}
