use std::fmt;

use aws_lc_rs::{
    hmac,
    signature::{self, ParsedPublicKey, RsaPublicKeyComponents, VerificationAlgorithm},
};
use portcullis_plugin::{Cost, Secret};
use sha2::{Digest, Sha256};

use super::{error::KeyError, weak};
use crate::{Algorithm, Family, Token};

/// One key, ready to verify with each algorithm that it takes.
pub struct Key {
    id: KeyId,
    thumbprint: Thumbprint,
    kid: Option<String>,
    family: Family,
    cost: Cost,
    verifiers: Vec<(Algorithm, Verifier)>,
}

/// Tells keys apart: the same only where key, `kid` and algorithms are. Verified tokens are remembered with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 32]);

/// Digest of the key alone: the same under whatever `kid` and for whatever algorithms it is published.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Thumbprint([u8; 32]);

/// It may be made from a secret.
impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyId(***)")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("family", &self.family).finish_non_exhaustive()
    }
}

/// A key as the library wants it.
enum Verifier {
    Public(ParsedPublicKey),
    Secret(Box<hmac::Key>),
}

/// The numbers or bytes that a key is made of.
pub(super) enum Material {
    /// Modulus and exponent, without zeros before them.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// An uncompressed point (SEC 1 section 2.3.3).
    Ec(Curve, Vec<u8>),
    /// An encoded point (RFC 8032 section 5.1.5).
    Ed25519(Vec<u8>),
    /// A secret that both sides know.
    Secret(Secret),
}

/// A curve of RFC 7518 section 6.2.1.1.
#[derive(Clone, Copy)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(super) fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

impl Key {
    /// Parses a key for every algorithm that it takes, or for the one that its `alg` says.
    pub(super) fn new(material: &Material, kid: Option<&str>, only: Option<Algorithm>) -> Result<Self, KeyError> {
        let fitting = material.algorithms();
        let algorithms = match only {
            None => fitting,
            Some(algorithm) if fitting.contains(&algorithm) => vec![algorithm],
            Some(algorithm) if matches!(material, Material::Secret(_)) => {
                return Err(KeyError::SecretAlgorithm(algorithm));
            }
            Some(algorithm) => return Err(KeyError::Algorithm(algorithm)),
        };
        material.check()?;
        let verifiers = algorithms.iter().map(|algorithm| Ok((*algorithm, material.verifier(*algorithm)?)));
        let thumbprint = material.thumbprint();
        Ok(Self {
            verifiers: verifiers.collect::<Result<_, KeyError>>()?,
            id: thumbprint.id(kid, &algorithms),
            thumbprint,
            kid: kid.map(str::to_owned),
            family: algorithms[0].family(),
            cost: material.cost(),
        })
    }

    /// Tells it apart from all others.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Its name in the set.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Returns its kind.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The time that it takes to verify a signature.
    pub(super) fn cost(&self) -> Cost {
        self.cost
    }

    /// The algorithms that it verifies.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.verifiers.iter().map(|(algorithm, _)| *algorithm)
    }

    pub(super) fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// Returns `true` if a `kid` can mean this key as well as the other one, which is a different key.
    pub(super) fn is_confused_with(&self, other: &Self) -> bool {
        self.kid.is_some()
            && self.kid == other.kid
            && self.thumbprint != other.thumbprint
            && self.algorithms().any(|algorithm| other.takes(algorithm))
    }

    pub(super) fn takes(&self, algorithm: Algorithm) -> bool {
        self.algorithms().any(|taken| taken == algorithm)
    }

    /// Returns `true` if this key made the token's signature.
    pub(super) fn verifies(&self, algorithm: Algorithm, token: &Token<'_>) -> bool {
        self.has_signed(algorithm, token.signing_input(), token.signature())
    }

    pub(super) fn has_signed(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let verifier = self.verifiers.iter().find(|(taken, _)| *taken == algorithm);
        verifier.is_some_and(|(_, verifier)| verifier.verifies(signed, signature))
    }
}

impl Verifier {
    fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Public(key) => key.verify_sig(signed, signature).is_ok(),
            // In constant time, and only a tag of full length.
            Self::Secret(key) => hmac::verify(key, signed, signature).is_ok(),
        }
    }
}

impl Material {
    /// The algorithms whose type of key this is.
    fn algorithms(&self) -> Vec<Algorithm> {
        let of = |family| Algorithm::ALL.into_iter().filter(|algorithm| algorithm.family() == family).collect();
        match self {
            Self::Rsa { .. } => of(Family::Rsa),
            Self::Ec(Curve::P256, _) => vec![Algorithm::Es256],
            Self::Ec(Curve::P384, _) => vec![Algorithm::Es384],
            Self::Ec(Curve::P521, _) => vec![Algorithm::Es512],
            Self::Ed25519(_) => vec![Algorithm::EdDsa],
            Self::Secret(_) => of(Family::Hmac),
        }
    }

    fn cost(&self) -> Cost {
        match self {
            Self::Rsa { n, .. } => Cost::rsa(n.len() * 8),
            Self::Ec(Curve::P256, _) => Cost::P256,
            Self::Ec(Curve::P384, _) => Cost::P384,
            Self::Ec(Curve::P521, _) => Cost::P521,
            Self::Ed25519(_) => Cost::ED25519,
            Self::Secret(_) => Cost::MAC,
        }
    }

    fn verifier(&self, algorithm: Algorithm) -> Result<Verifier, KeyError> {
        match self {
            Self::Rsa { n, e } => rsa(n, e, algorithm),
            Self::Ec(_, point) => parsed(ec_algorithm(algorithm), point),
            Self::Ed25519(point) => parsed(&signature::ED25519, point),
            Self::Secret(secret) => hmac_key(secret, algorithm),
        }
    }

    /// Refuses a key that somebody else may be able to sign with, or that costs too much to verify with.
    fn check(&self) -> Result<(), KeyError> {
        match self {
            Self::Rsa { n, e } => weak::check_rsa(n, e),
            _ => Ok(()),
        }
    }

    pub(super) fn thumbprint(&self) -> Thumbprint {
        let (kind, [one, two]): (_, [&[u8]; 2]) = match self {
            Self::Rsa { n, e } => ("rsa", [n, e]),
            Self::Ec(_, point) => ("ec", [point, &[]]),
            Self::Ed25519(point) => ("ed25519", [point, &[]]),
            Self::Secret(secret) => ("secret", [secret.expose(), &[]]),
        };
        Thumbprint(digest([kind.as_bytes(), one, two].into_iter()))
    }
}

impl Thumbprint {
    fn id(self, kid: Option<&str>, algorithms: &[Algorithm]) -> KeyId {
        let named: [&[u8]; 3] = [&self.0, &[u8::from(kid.is_some())], kid.unwrap_or_default().as_bytes()];
        let names = algorithms.iter().map(|algorithm| algorithm.name().as_bytes());
        KeyId(digest(named.into_iter().chain(names)))
    }
}

/// Each part with its length before it, so that no two lists are one text.
fn digest<'p>(parts: impl Iterator<Item = &'p [u8]>) -> [u8; 32] {
    let digest = parts
        .fold(Sha256::new(), |digest, part| digest.chain_update((part.len() as u64).to_be_bytes()).chain_update(part));
    digest.finalize().into()
}

fn parsed(algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> Result<Verifier, KeyError> {
    ParsedPublicKey::new(algorithm, key).map(Verifier::Public).map_err(|_| KeyError::Invalid)
}

/// Signatures in tokens are `R || S` of fixed length (RFC 7518 section 3.4), not ASN.1.
fn ec_algorithm(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::Es512 => &signature::ECDSA_P521_SHA512_FIXED,
        _ => &signature::ECDSA_P256_SHA256_FIXED,
    }
}

fn rsa(n: &[u8], e: &[u8], algorithm: Algorithm) -> Result<Verifier, KeyError> {
    let parameters = match algorithm {
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => &signature::RSA_PKCS1_2048_8192_SHA256,
    };
    let key = RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters);
    key.map(Verifier::Public).map_err(|_| KeyError::Invalid)
}

fn hmac_key(secret: &Secret, algorithm: Algorithm) -> Result<Verifier, KeyError> {
    let least = algorithm.secret_min_bytes().ok_or(KeyError::SecretAlgorithm(algorithm))?;
    let bytes = secret.expose().len();
    if bytes < least {
        return Err(KeyError::SecretShort { algorithm, bytes, least });
    }
    let hash = match algorithm {
        Algorithm::Hs384 => hmac::HMAC_SHA384,
        Algorithm::Hs512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    Ok(Verifier::Secret(Box::new(hmac::Key::new(hash, secret.expose()))))
}
