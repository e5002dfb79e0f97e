//! A set of keys, and the choice of the one that a token is verified with.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use portcullis_plugin::{Cost, Reason, Secret};

use super::{
    error::{KeySetError, shown},
    jwk,
    key::{Key, KeyId, Material},
    limits::{MAX_KEYS, MAX_KEYS_TRIED},
    pem,
};
use crate::{Algorithm, Family, Token};

/// Why a token was not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// The policy does not take this algorithm, or the key that the token names does not.
    AlgorithmNotAllowed,
    /// No key of this `kid`, or none whose type fits. A newer key set may have one.
    KeyUnknown,
    /// No key that could have made the signature did.
    SignatureInvalid,
}

impl Unverified {
    /// Returns `true` if a newer key set than the one at hand could verify the token: its key is not known, or it names
    /// none and the keys at hand did not make it.
    pub fn may_be_newer(self, token: &Token<'_>) -> bool {
        match self {
            Self::AlgorithmNotAllowed => false,
            Self::KeyUnknown => true,
            Self::SignatureInvalid => token.kid().is_none(),
        }
    }

    /// For log and metric.
    pub fn reason(self) -> Reason {
        match self {
            Self::AlgorithmNotAllowed => Reason::AlgorithmNotAllowed,
            Self::KeyUnknown => Reason::SigningKeyUnknown,
            Self::SignatureInvalid => Reason::SignatureInvalid,
        }
    }
}

/// The keys of one issuer. It never changes: a newer one takes its place.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    generation: u64,
}

impl KeySet {
    /// Reads a JWKS file (RFC 7517 section 5): public keys, or secrets (`oct`) alone, each with its `alg`.
    ///
    /// # Errors
    /// Anything is wrong with the set or one of its keys, or none of them can verify a token.
    pub fn from_jwks(jwks: &[u8]) -> Result<Self, KeySetError> {
        Self::new(jwk::read(jwks)?).and_then(Self::filled)
    }

    /// Reads PEM: public keys (`PUBLIC KEY`, `RSA PUBLIC KEY`), or one certificate, of which only the key counts. They
    /// verify tokens of any `kid`, or a single one of them those that name `kid`.
    ///
    /// # Errors
    /// Something in it is none of these, or not fit to verify tokens.
    pub fn from_pem(pem: &[u8], kid: Option<&str>) -> Result<Self, KeySetError> {
        Self::new(pem::read(pem, kid)?)
    }

    /// A secret for HMAC with this one algorithm.
    ///
    /// # Errors
    /// The algorithm takes no secret, or the secret is shorter than its hash.
    pub fn from_secret(secret: &Secret, algorithm: Algorithm) -> Result<Self, KeySetError> {
        let key = Key::new(&Material::Secret(secret.clone()), None, Some(algorithm));
        Self::new(vec![key.map_err(KeySetError::Secret)?])
    }

    /// One set of the keys of several: files, or secrets that are valid at the same time.
    ///
    /// # Errors
    /// Together they are no set: two keys for one algorithm and `kid`, secrets beside public keys, too many.
    pub fn merge(sets: impl IntoIterator<Item = Self>) -> Result<Self, KeySetError> {
        Self::new(sets.into_iter().flat_map(|set| set.keys).collect()).and_then(Self::filled)
    }

    /// Keys whose owner can mend what is wrong with them.
    fn new(keys: Vec<Key>) -> Result<Self, KeySetError> {
        check_set(&keys)?;
        Ok(Self::of(keys))
    }

    /// A set of keys that have been checked together.
    pub(super) fn of(keys: Vec<Key>) -> Self {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        Self { keys, generation: GENERATIONS.fetch_add(1, Relaxed) }
    }

    fn filled(self) -> Result<Self, KeySetError> {
        if self.keys.is_empty() { Err(KeySetError::Empty) } else { Ok(self) }
    }

    /// Finds the key that made the signature. `allowed` comes from the configuration: the token's own `alg` only says
    /// which of those it means (RFC 8725 section 3.1).
    ///
    /// A token with a `kid` is verified by the keys of that `kid`; where there are none, by the keys that have no `kid`
    /// at all, such as those from PEM. A token without `kid` is verified by any key whose type fits.
    ///
    /// # Errors
    /// See [`Unverified`].
    pub fn verify(&self, token: &Token<'_>, allowed: &[Algorithm]) -> Result<&Key, Unverified> {
        let algorithm = token.algorithm();
        if !allowed.contains(&algorithm) {
            return Err(Unverified::AlgorithmNotAllowed);
        }
        let fitting = || self.fitting(token);
        match fitting().take(MAX_KEYS_TRIED + 1).count() {
            0 if token.kid().is_some_and(|kid| self.knows(kid))
                || self.is_symmetric() != (algorithm.family() == Family::Hmac) =>
            {
                Err(Unverified::AlgorithmNotAllowed)
            }
            1..=MAX_KEYS_TRIED => {
                fitting().find(|key| key.verifies(algorithm, token)).ok_or(Unverified::SignatureInvalid)
            }
            _ => Err(Unverified::KeyUnknown),
        }
    }

    /// The most time that [`verify`](Self::verify) takes.
    pub fn cost(&self, token: &Token<'_>) -> Cost {
        self.fitting(token).take(MAX_KEYS_TRIED).map(Key::cost).sum()
    }

    /// The keys that may have made the signature.
    fn fitting<'k>(&'k self, token: &Token<'_>) -> impl Iterator<Item = &'k Key> {
        let (algorithm, kid) = (token.algorithm(), token.kid());
        let is_named = kid.is_some_and(|kid| self.knows(kid));
        let is_candidate = move |key: &&Key| match (kid, is_named) {
            (None, _) => true,
            (Some(_), false) => key.kid().is_none(),
            (named, true) => key.kid() == named,
        };
        self.keys.iter().filter(is_candidate).filter(move |key| key.takes(algorithm))
    }

    /// Returns `true` if a key has this `kid`.
    pub fn knows(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid() == Some(kid))
    }

    /// A number that no other set of this process has, and never zero.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns `true` if this very key is in the set, for the same algorithms and under the same `kid`.
    pub fn has(&self, id: KeyId) -> bool {
        self.keys.iter().any(|key| key.id() == id)
    }

    /// The keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Returns `true` if its keys are secrets.
    pub fn is_symmetric(&self) -> bool {
        self.keys.first().is_some_and(|key| key.family() == Family::Hmac)
    }
}

/// Checks that the keys can stand in one set.
fn check_set(keys: &[Key]) -> Result<(), KeySetError> {
    if keys.len() > MAX_KEYS {
        return Err(KeySetError::TooManyKeys);
    }
    if keys.iter().filter(|key| key.kid().is_none()).count() > MAX_KEYS_TRIED {
        return Err(KeySetError::TooManyWithoutKid);
    }
    // A secret that stands beside public keys was published with them, or will be.
    let secrets = keys.iter().filter(|key| key.family() == Family::Hmac).count();
    if secrets != 0 && secrets != keys.len() {
        return Err(KeySetError::Mixed);
    }
    let is_double = |(index, key): &(usize, &Key)| {
        keys[..*index].iter().any(|other| key.id() == other.id() || key.is_confused_with(other))
    };
    match keys.iter().enumerate().find(is_double) {
        None => Ok(()),
        Some((_, key)) => Err(KeySetError::Double(shown(key.kid()))),
    }
}
