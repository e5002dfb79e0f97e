//! Keys and tokens for tests. Tokens are signed by jsonwebtoken, and ES512, which it does not have, by OpenSSL: neither is
//! what verifies them.

use std::sync::OnceLock;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use openssl::{
    asn1::Asn1Time,
    bn::{BigNum, BigNumContext},
    ec::{EcGroup, EcKey},
    ecdsa::EcdsaSig,
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    rsa::Rsa,
    sha::sha512,
    x509::{X509, X509Name},
};
use serde_json::{Value, json};

use crate::{Algorithm, Family};

/// Base64url.
pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The secret of the HMAC signers, long enough for all of them.
pub(crate) const SECRET: &[u8; 64] = b"a secret for tests that is as long as the longest hash, 64 bytes";

/// Holds a private key.
pub(crate) struct Signer {
    pub algorithm: Algorithm,
    key: Option<PKey<Private>>,
}

impl Signer {
    /// Always the same key for RSA, which takes long to make, and a new one for all others.
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        static RSA: OnceLock<PKey<Private>> = OnceLock::new();
        let key = match algorithm.family() {
            Family::Rsa => Some(RSA.get_or_init(|| rsa(2048)).clone()),
            _ => new_key(algorithm),
        };
        Self { algorithm, key }
    }

    /// Another key than that of `new`.
    pub(crate) fn other(algorithm: Algorithm) -> Self {
        static RSA: OnceLock<PKey<Private>> = OnceLock::new();
        match algorithm.family() {
            Family::Rsa => Self { algorithm, key: Some(RSA.get_or_init(|| rsa(2048)).clone()) },
            _ => Self::new(algorithm),
        }
    }

    /// With the same key, for another algorithm.
    pub(crate) fn with(&self, algorithm: Algorithm) -> Self {
        Self { algorithm, key: self.key.clone() }
    }

    /// The public key.
    pub(crate) fn public(&self) -> PKey<openssl::pkey::Public> {
        let der = self.key.as_ref().expect("a key pair").public_key_to_der().unwrap();
        PKey::public_key_from_der(&der).unwrap()
    }

    /// The public key as a JWK of this `kid`.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.bare_jwk();
        jwk["kid"] = kid.into();
        jwk
    }

    /// The public key as a JWK without `kid`.
    pub(crate) fn bare_jwk(&self) -> Value {
        let Some(key) = &self.key else {
            return json!({ "kty": "oct", "k": base64url(SECRET), "alg": self.algorithm.name() });
        };
        match self.algorithm {
            Algorithm::Es256 => ec_jwk(key, "P-256", 32),
            Algorithm::Es384 => ec_jwk(key, "P-384", 48),
            Algorithm::Es512 => ec_jwk(key, "P-521", 66),
            Algorithm::EdDsa => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(key.raw_public_key().unwrap()) })
            }
            _ => {
                let rsa = key.rsa().unwrap();
                json!({ "kty": "RSA", "n": base64url(rsa.n().to_vec()), "e": base64url(rsa.e().to_vec()) })
            }
        }
    }

    /// A token of this header and these claims, as they are written here.
    pub(crate) fn token(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        let signed = format!("{}.{}", base64url(header), base64url(claims));
        let signature = self.sign(&signed);
        format!("{signed}.{signature}")
    }

    /// A token of these claims whose header names the algorithm and a key.
    pub(crate) fn token_of(&self, kid: Option<&str>, claims: &str) -> String {
        let mut header = json!({ "alg": self.algorithm.name() });
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        self.token(header.to_string(), claims)
    }

    /// The signature over what is signed.
    pub(crate) fn sign(&self, signed: &str) -> String {
        let key = match self.algorithm.family() {
            Family::Hmac => EncodingKey::from_secret(SECRET).unwrap(),
            Family::Rsa => EncodingKey::from_rsa_der(&self.pair().rsa().unwrap().private_key_to_der().unwrap()),
            Family::Ed => EncodingKey::from_ed_der(&self.pair().private_key_to_pkcs8().unwrap()),
            Family::Ec if self.algorithm == Algorithm::Es512 => return self.sign_es512(signed),
            Family::Ec => EncodingKey::from_ec_der(&self.pair().private_key_to_pkcs8().unwrap()),
        };
        let algorithm = self.algorithm.name().parse().unwrap();
        jsonwebtoken::crypto::sign(signed.as_bytes(), &key, algorithm).unwrap()
    }

    fn sign_es512(&self, signed: &str) -> String {
        let signature = EcdsaSig::sign(&sha512(signed.as_bytes()), &self.pair().ec_key().unwrap()).unwrap();
        let padded = |number: &openssl::bn::BigNumRef| number.to_vec_padded(66).unwrap();
        base64url([padded(signature.r()), padded(signature.s())].concat())
    }

    /// A certificate that the key has made for itself.
    pub(crate) fn certificate(&self) -> X509 {
        let mut name = X509Name::builder().unwrap();
        name.append_entry_by_text("CN", "localhost").unwrap();
        let name = name.build();
        let mut builder = X509::builder().unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(&name).unwrap();
        builder.set_pubkey(&self.public()).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        builder.sign(self.pair(), MessageDigest::sha256()).unwrap();
        builder.build()
    }

    /// The private key.
    pub(crate) fn pair(&self) -> &PKey<Private> {
        self.key.as_ref().expect("a key pair")
    }
}

/// A new RSA key.
pub(crate) fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

fn new_key(algorithm: Algorithm) -> Option<PKey<Private>> {
    let curve = match algorithm {
        Algorithm::Es256 => Nid::X9_62_PRIME256V1,
        Algorithm::Es384 => Nid::SECP384R1,
        Algorithm::Es512 => Nid::SECP521R1,
        Algorithm::EdDsa => return Some(PKey::generate_ed25519().unwrap()),
        _ => return None,
    };
    let group = EcGroup::from_curve_name(curve).unwrap();
    Some(PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap())
}

fn ec_jwk(key: &PKey<Private>, curve: &str, bytes: i32) -> Value {
    let key = key.ec_key().unwrap();
    let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
    let mut context = BigNumContext::new().unwrap();
    key.public_key().affine_coordinates(key.group(), &mut x, &mut y, &mut context).unwrap();
    let coordinate = |number: &BigNum| base64url(number.to_vec_padded(bytes).unwrap());
    json!({ "kty": "EC", "crv": curve, "x": coordinate(&x), "y": coordinate(&y) })
}

/// A key set of these keys.
pub(crate) fn jwks(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}
