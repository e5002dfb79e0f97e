use openssl::pkey::PKey;

use super::*;
use crate::testing::rsa;

fn pem(signer: &Signer) -> String {
    String::from_utf8(signer.public().public_key_to_pem().unwrap()).unwrap()
}

fn certificate(signer: &Signer) -> String {
    String::from_utf8(signer.certificate().to_pem().unwrap()).unwrap()
}

fn refused(pem: &str) -> String {
    KeySet::from_pem(pem.as_bytes(), None).unwrap_err().to_string()
}

#[test]
fn public_keys_of_every_type_are_read() {
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| algorithm.family() != Family::Hmac) {
        let signer = Signer::new(algorithm);
        let keys = KeySet::from_pem(pem(&signer).as_bytes(), None).unwrap();
        for kid in [None, Some("any")] {
            let token = signer.token_of(kid, CLAIMS);
            assert_eq!(verdict(&keys, &token, &[algorithm]), Ok(()), "{algorithm}");
        }
    }
}

#[test]
fn certificates_and_pkcs1_keys_are_read() {
    let signer = Signer::new(Algorithm::Rs256);
    let pkcs1 = String::from_utf8(signer.pair().rsa().unwrap().public_key_to_pem_pkcs1().unwrap()).unwrap();
    assert!(pkcs1.contains("BEGIN RSA PUBLIC KEY"));
    for pem in [pkcs1, certificate(&signer)] {
        let keys = KeySet::from_pem(pem.as_bytes(), None).unwrap();
        assert_eq!(verdict(&keys, &signer.token_of(None, CLAIMS), &[Algorithm::Rs256]), Ok(()));
    }
}

#[test]
fn a_kid_can_be_given_to_one_key() {
    let signer = Signer::new(Algorithm::Es256);
    let keys = KeySet::from_pem(pem(&signer).as_bytes(), Some("k")).unwrap();
    let of = |kid| verdict(&keys, &signer.token_of(kid, CLAIMS), &[Algorithm::Es256]);
    assert_eq!((of(Some("k")), of(None), of(Some("l"))), (Ok(()), Ok(()), Err(Unverified::KeyUnknown)));
    let two = pem(&signer) + &pem(&Signer::new(Algorithm::Es256));
    assert_eq!(KeySet::from_pem(two.as_bytes(), None).unwrap().keys().len(), 2);
    let error = KeySet::from_pem(two.as_bytes(), Some("k")).unwrap_err();
    assert!(error.to_string().contains("several keys, and one `kid`"), "{error}");
}

#[test]
fn a_block_that_is_no_public_key_is_refused_by_name() {
    let signer = Signer::new(Algorithm::Es256);
    let private = String::from_utf8(signer.pair().private_key_to_pem_pkcs8().unwrap()).unwrap();
    let cut = pem(&signer).replace("-----END PUBLIC KEY-----", "");
    let x25519 = PKey::generate_x25519().unwrap().public_key_to_pem().unwrap();
    for (text, words) in [
        ("", "is not PEM"),
        ("key", "is not PEM"),
        (&*cut, "is not PEM"),
        (&*(pem(&signer) + &cut), "is not PEM"),
        (&*private, "has a private key"),
        (&*(pem(&signer) + &private), "has a private key"),
        ("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "has something else than `PUBLIC KEY`"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "key 1 of the file is not a valid key"),
        (&*(certificate(&signer) + &certificate(&signer)), "not of a chain"),
        (&*String::from_utf8(x25519).unwrap(), "of a type that cannot verify tokens"),
        (&*" ".repeat(300_000), "has more than"),
    ] {
        let error = refused(text);
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn short_rsa_keys_are_refused_in_pem_too() {
    let short = rsa(1024).public_key_to_pem().unwrap();
    assert!(
        refused(std::str::from_utf8(&short).unwrap()).contains("an RSA key of 1024 bits; at least 2048 are required")
    );
}
