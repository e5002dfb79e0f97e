mod pem;
mod set;
mod vectors;

use portcullis_plugin::Secret;
use serde_json::{Value, json};

use super::*;
use crate::{
    Algorithm, Family, Token,
    testing::{SECRET, Signer, base64url, jwks},
};
use vectors::VECTORS;

const CLAIMS: &str = r#"{"sub":"ann"}"#;

fn verdict(keys: &KeySet, token: &str, allowed: &[Algorithm]) -> Result<(), Unverified> {
    keys.verify(&Token::parse(token.as_bytes()).unwrap(), allowed).map(|_| ())
}

fn secrets(algorithm: Algorithm) -> KeySet {
    KeySet::from_secret(&Secret::new(SECRET.to_vec()), algorithm).unwrap()
}

#[test]
fn published_signatures_verify() {
    for vector in &VECTORS {
        let keys = KeySet::from_jwks(format!(r#"{{"keys":[{}]}}"#, vector.jwk).as_bytes()).unwrap();
        let (signed, signature) = vector.token.rsplit_once('.').unwrap();
        let mut signature = base64url_decoded(signature);
        let has_signed = |signature: &[u8]| keys.keys()[0].has_signed(vector.algorithm, signed.as_bytes(), signature);
        assert!(has_signed(&signature), "{}", vector.name);
        signature[0] ^= 1;
        assert!(!has_signed(&signature), "{}", vector.name);
        if vector.has_claims {
            assert_eq!(verdict(&keys, vector.token, &[vector.algorithm]), Ok(()), "{}", vector.name);
        }
    }
}

fn base64url_decoded(text: &str) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

#[test]
fn signatures_of_others_verify_with_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(algorithm);
        let keys = KeySet::from_jwks(&jwks(&[signer.jwk("k")])).unwrap();
        let token = signer.token_of(Some("k"), CLAIMS);
        assert_eq!(verdict(&keys, &token, &[algorithm]), Ok(()), "{algorithm}");
        assert_eq!(verdict(&keys, &token, &[]), Err(Unverified::AlgorithmNotAllowed), "{algorithm}");
    }
}

#[test]
fn a_signature_of_another_key_does_not_verify() {
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| algorithm.family() != Family::Hmac) {
        let keys = KeySet::from_jwks(&jwks(&[Signer::new(algorithm).jwk("k")])).unwrap();
        let token = Signer::other(algorithm).token_of(Some("k"), CLAIMS);
        assert_eq!(verdict(&keys, &token, &[algorithm]), Err(Unverified::SignatureInvalid), "{algorithm}");
    }
}

#[test]
fn a_changed_token_is_refused() {
    let signer = Signer::new(Algorithm::Es256);
    let keys = KeySet::from_jwks(&jwks(&[signer.jwk("k")])).unwrap();
    let token = signer.token_of(Some("k"), CLAIMS);
    let [header, _, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    for changed in [
        format!("{header}.{}.{signature}", base64url(r#"{"sub":"bob"}"#)),
        format!("{}.{}.{signature}", base64url(r#"{"alg":"ES256","kid":"k","a":1}"#), base64url(CLAIMS)),
        format!("{header}.{}.", base64url(CLAIMS)),
        format!("{header}.{}.{}", base64url(CLAIMS), base64url([0; 64])),
        format!("{header}.{}.{}", base64url(CLAIMS), base64url([0; 8192])),
    ] {
        assert_eq!(verdict(&keys, &changed, &[Algorithm::Es256]), Err(Unverified::SignatureInvalid), "{changed}");
    }
}

#[test]
fn eddsa_verifies_under_both_its_names() {
    let signer = Signer::new(Algorithm::EdDsa);
    let keys = KeySet::from_jwks(&jwks(&[signer.jwk("k")])).unwrap();
    for name in ["EdDSA", "Ed25519"] {
        let token = signer.token(format!(r#"{{"alg":"{name}","kid":"k"}}"#), CLAIMS);
        assert_eq!(verdict(&keys, &token, &[Algorithm::EdDsa]), Ok(()), "{name}");
        let mut jwk = signer.jwk("k");
        jwk["alg"] = name.into();
        let keys = KeySet::from_jwks(&jwks(&[jwk])).unwrap();
        assert_eq!(verdict(&keys, &token, &[Algorithm::EdDsa]), Ok(()), "{name}");
    }
}

#[test]
fn an_hmac_of_the_public_key_is_refused() {
    let signer = Signer::new(Algorithm::Rs256);
    let pem = signer.public().public_key_to_pem().unwrap();
    let keys = KeySet::from_pem(&pem, None).unwrap();
    let signed = format!("{}.{}", base64url(r#"{"alg":"HS256"}"#), base64url(CLAIMS));
    let key = jsonwebtoken::EncodingKey::from_secret(&pem).unwrap();
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    let token = format!("{signed}.{signature}");
    for allowed in [&[Algorithm::Rs256][..], &[Algorithm::Rs256, Algorithm::Hs256]] {
        assert_eq!(verdict(&keys, &token, allowed), Err(Unverified::AlgorithmNotAllowed));
    }
}

#[test]
fn the_algorithm_has_to_fit_the_key_that_the_token_names() {
    let (rsa, ec) = (Signer::new(Algorithm::Rs256), Signer::new(Algorithm::Es256));
    let keys = KeySet::from_jwks(&jwks(&[rsa.jwk("rsa"), ec.jwk("ec")])).unwrap();
    let all = Algorithm::ALL;
    assert_eq!(verdict(&keys, &ec.token_of(Some("rsa"), CLAIMS), &all), Err(Unverified::AlgorithmNotAllowed));
    assert_eq!(verdict(&keys, &rsa.token_of(Some("ec"), CLAIMS), &all), Err(Unverified::AlgorithmNotAllowed));
    assert_eq!(verdict(&keys, &rsa.token_of(Some("rsa"), CLAIMS), &all), Ok(()));

    let mut jwk = rsa.jwk("rsa");
    jwk["alg"] = "PS256".into();
    let keys = KeySet::from_jwks(&jwks(&[jwk])).unwrap();
    assert_eq!(verdict(&keys, &rsa.token_of(Some("rsa"), CLAIMS), &all), Err(Unverified::AlgorithmNotAllowed));
    assert_eq!(verdict(&keys, &rsa.with(Algorithm::Ps256).token_of(Some("rsa"), CLAIMS), &all), Ok(()));
}

#[test]
fn a_secret_is_as_long_as_its_hash() {
    for (algorithm, least) in [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)] {
        let of = |bytes: usize| KeySet::from_secret(&Secret::new(SECRET[..bytes].to_vec()), algorithm);
        assert!(of(least).is_ok());
        for bytes in [0, 1, least - 1] {
            let problem = KeyError::SecretShort { algorithm, bytes, least };
            assert_eq!(of(bytes).unwrap_err(), KeySetError::Secret(problem));
        }
    }
    let error = KeySet::from_secret(&Secret::new(SECRET.to_vec()), Algorithm::Rs256).unwrap_err();
    assert_eq!(error.to_string(), "RS256 takes no secret: HS256, HS384 or HS512");
}

#[test]
fn a_secret_is_for_one_algorithm() {
    let token = Signer::new(Algorithm::Hs256).token_of(None, CLAIMS);
    assert_eq!(verdict(&secrets(Algorithm::Hs256), &token, &Algorithm::ALL), Ok(()));
    let error = verdict(&secrets(Algorithm::Hs512), &token, &Algorithm::ALL);
    assert_eq!(error, Err(Unverified::KeyUnknown));
}

#[test]
fn keys_do_not_print() {
    let printed = format!("{:?}", secrets(Algorithm::Hs256));
    assert!(printed.contains("Hmac") && !printed.contains("secret for"), "{printed}");
    assert!(!printed.contains("115, 101"), "{printed}");
}

#[test]
fn a_kid_chooses_and_is_nothing_else_and_keys_without_one_fit_every_token() {
    let [one, two, bare] = [0; 3].map(|_| Signer::new(Algorithm::Es256));
    let keys = KeySet::from_jwks(&jwks(&[one.jwk("1"), two.jwk("2"), bare.bare_jwk()])).unwrap();
    let of = |signer: &Signer, kid| verdict(&keys, &signer.token_of(kid, CLAIMS), &[Algorithm::Es256]);
    assert_eq!(of(&one, Some("1")), Ok(()));
    assert_eq!(of(&two, Some("2")), Ok(()));
    assert_eq!(of(&two, Some("1")), Err(Unverified::SignatureInvalid), "the key it names, and no other");
    assert_eq!(of(&bare, Some("1")), Err(Unverified::SignatureInvalid));
    assert_eq!(of(&bare, Some("3")), Ok(()), "a key without a name");
    assert_eq!(of(&one, Some("3")), Err(Unverified::SignatureInvalid), "not the keys of other names");
    for signer in [&one, &two, &bare] {
        assert_eq!(of(signer, None), Ok(()));
    }
    let keys = KeySet::from_jwks(&jwks(&[one.jwk("1")])).unwrap();
    let unknown = verdict(&keys, &one.token_of(Some("2"), CLAIMS), &[Algorithm::Es256]);
    assert_eq!(unknown, Err(Unverified::KeyUnknown));
    for kid in ["", "../../dev/null", "1' OR '1'='1", "1\0", "1 "] {
        let unknown = verdict(&keys, &one.token_of(Some(kid), CLAIMS), &[Algorithm::Es256]);
        assert_eq!(unknown, Err(Unverified::KeyUnknown), "{kid}");
    }
}

#[test]
fn only_a_few_keys_are_tried() {
    let signers: Vec<_> = (0..=MAX_KEYS_TRIED).map(|_| Signer::new(Algorithm::EdDsa)).collect();
    let named: Vec<_> = signers.iter().enumerate().map(|(index, signer)| signer.jwk(&index.to_string())).collect();
    let few = KeySet::from_jwks(&jwks(&named[1..])).unwrap();
    let many = KeySet::from_jwks(&jwks(&named)).unwrap();
    let token = signers[MAX_KEYS_TRIED].token_of(None, CLAIMS);
    assert_eq!(verdict(&few, &token, &[Algorithm::EdDsa]), Ok(()));
    assert_eq!(verdict(&many, &token, &[Algorithm::EdDsa]), Err(Unverified::KeyUnknown));
    let token = signers[MAX_KEYS_TRIED].token_of(Some("8"), CLAIMS);
    assert_eq!(verdict(&many, &token, &[Algorithm::EdDsa]), Ok(()));
    let bare: Vec<_> = signers.iter().map(Signer::bare_jwk).collect();
    assert_eq!(KeySet::from_jwks(&jwks(&bare)).unwrap_err(), KeySetError::TooManyWithoutKid);
}

#[test]
fn verifying_parses_no_key() {
    let signer = Signer::new(Algorithm::Rs256);
    let keys = KeySet::from_jwks(&jwks(&[signer.jwk("k")])).unwrap();
    let token = signer.token_of(Some("k"), CLAIMS);
    let token = Token::parse(token.as_bytes()).unwrap();
    let verify = || assert!(keys.verify(&token, &[Algorithm::Rs256]).is_ok());
    verify();
    assert_eq!(allocation_counter::measure(verify).count_total, 0, "nothing is made for each token");
}

#[test]
fn the_same_key_is_found_in_another_set() {
    let [one, two] = [0; 2].map(|_| Signer::new(Algorithm::Es256));
    let old = KeySet::from_jwks(&jwks(&[one.jwk("1")])).unwrap();
    let new = KeySet::from_jwks(&jwks(&[two.jwk("2"), one.jwk("1")])).unwrap();
    assert_ne!(old.generation(), new.generation());
    let id = old.keys()[0].id();
    assert!(new.has(id));
    let changed = |change: fn(&mut Value)| {
        let mut jwk = one.jwk("1");
        change(&mut jwk);
        KeySet::from_jwks(&jwks(&[jwk])).unwrap()
    };
    assert!(!changed(|jwk| jwk["kid"] = "2".into()).has(id), "another name");
    assert!(!KeySet::from_jwks(&jwks(&[two.jwk("1")])).unwrap().has(id), "another key");
    assert!(changed(|jwk| jwk["alg"] = "ES256".into()).has(id), "the same algorithms");
    let rsa = |alg: &str| {
        let mut jwk = Signer::new(Algorithm::Rs256).jwk("1");
        jwk["alg"] = json!(alg);
        KeySet::from_jwks(&jwks(&[jwk])).unwrap()
    };
    assert!(!rsa("RS256").has(rsa("RS384").keys()[0].id()), "other algorithms");
}
