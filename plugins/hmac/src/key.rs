//! Keys, prepared once when a policy is built.

use std::borrow::Cow;

use aws_lc_rs::{constant_time, digest, hmac, signature::ParsedPublicKey};
use portcullis_plugin::{Cost, Secret};

/// A signature algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Algorithm {
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SHA-384.
    HmacSha384,
    /// HMAC with SHA-512.
    HmacSha512,
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA on P-256 with SHA-256, the signature as `r || s`.
    EcdsaP256Sha256,
    /// RSASSA-PSS with SHA-512 and a salt of 64 bytes.
    RsaPssSha512,
}

impl Algorithm {
    /// Its name, as RFC 9421 section 6.2.2 registers it where it does.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::RsaPssSha512 => "rsa-pss-sha512",
        }
    }

    /// The hash of an HMAC; `None` for signatures with a public key.
    pub(crate) fn hmac(self) -> Option<hmac::Algorithm> {
        match self {
            Self::HmacSha256 => Some(hmac::HMAC_SHA256),
            Self::HmacSha384 => Some(hmac::HMAC_SHA384),
            Self::HmacSha512 => Some(hmac::HMAC_SHA512),
            Self::Ed25519 | Self::EcdsaP256Sha256 | Self::RsaPssSha512 => None,
        }
    }
}

/// A key that signatures are verified with.
pub(crate) enum SigningKey {
    /// A secret that client and gateway share.
    Shared {
        /// The prepared key for each algorithm of the policy.
        keys: Vec<(Algorithm, hmac::Key)>,
        /// The secret itself, for schemes that derive keys from it.
        secret: Secret,
    },
    /// A public key; only the client has the other half.
    Public {
        /// The one algorithm that it is for.
        algorithm: Algorithm,
        /// Parsed.
        key: ParsedPublicKey,
    },
}

impl SigningKey {
    /// Prepares a shared secret for those of the algorithms that take one.
    pub(crate) fn shared(secret: Secret, algorithms: &[Algorithm]) -> Self {
        let prepared = |algorithm: &Algorithm| Some((*algorithm, hmac::Key::new(algorithm.hmac()?, secret.expose())));
        Self::Shared { keys: algorithms.iter().filter_map(prepared).collect(), secret }
    }

    /// The shared secret, if it is one.
    pub(crate) fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Shared { secret, .. } => Some(secret),
            Self::Public { .. } => None,
        }
    }

    /// The SHA-256 of the secret, or of the public key.
    pub(crate) fn digest(&self) -> Vec<u8> {
        let bytes = match self {
            Self::Shared { secret, .. } => secret.expose(),
            Self::Public { key, .. } => key.as_ref(),
        };
        digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
    }

    /// The most time that it takes to verify so many signatures of one message.
    pub(crate) fn cost(&self, signatures: usize) -> Cost {
        match self {
            // Computed once and compared with each.
            Self::Shared { .. } => Cost::MAC,
            Self::Public { algorithm, key } => {
                let one = match algorithm {
                    Algorithm::Ed25519 => Cost::ED25519,
                    // The modulus and some 30 bytes around it.
                    Algorithm::RsaPssSha512 => Cost::rsa(key.as_ref().len().saturating_sub(32) * 8),
                    _ => Cost::P256,
                };
                one.times(signatures)
            }
        }
    }

    /// Returns `true` if one of the signatures is valid for this message. The claim's `algorithm` has to be one that
    /// the key is for and decides nothing by itself: a public key must never be used as an HMAC secret (the attack on
    /// JWT libraries of CVE-2015-9235).
    pub(crate) fn verify(
        &self,
        algorithm: Option<Algorithm>,
        message: &[Cow<'_, [u8]>],
        signatures: &[Vec<u8>],
    ) -> bool {
        match self {
            Self::Shared { keys, .. } => {
                let mut fitting = keys.iter().filter(|(of, _)| algorithm.is_none_or(|algorithm| algorithm == *of));
                fitting.next().is_some_and(|(_, key)| is_tag(key, message, signatures))
            }
            Self::Public { algorithm: of, key } => {
                algorithm.is_none_or(|algorithm| algorithm == *of) && {
                    let message = message.concat();
                    signatures.iter().any(|signature| key.verify_sig(&message, signature).is_ok())
                }
            }
        }
    }
}

/// Returns `true` if one of the signatures is the message's HMAC. The HMAC is computed once, and compared in constant
/// time with each.
pub(crate) fn is_tag(key: &hmac::Key, message: &[Cow<'_, [u8]>], signatures: &[Vec<u8>]) -> bool {
    let mut context = hmac::Context::with_key(key);
    message.iter().for_each(|piece| context.update(piece));
    let tag = context.sign();
    let is_same = |signature: &Vec<u8>| constant_time::verify_slices_are_equal(tag.as_ref(), signature).is_ok();
    signatures.iter().any(is_same)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair};

    use super::*;

    #[test]
    fn several_signatures_cost_as_many_verifications_where_the_key_is_public() {
        let shared = SigningKey::shared(Secret::new(vec![7; 32]), &[Algorithm::HmacSha256]);
        assert_eq!([shared.cost(1), shared.cost(8)], [Cost::MAC; 2]);
        let pair = Ed25519KeyPair::generate().unwrap();
        let key = ParsedPublicKey::new(&ED25519, pair.public_key().as_ref()).unwrap();
        let public = SigningKey::Public { algorithm: Algorithm::Ed25519, key };
        assert_eq!(public.cost(1), Cost::ED25519);
        assert!(public.cost(1) <= Cost::FREE && public.cost(8) > Cost::FREE);
    }
}
