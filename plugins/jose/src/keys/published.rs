//! Reads the set that an issuer publishes (RFC 7517 section 5): a key that cannot be used is skipped and told of, and all
//! others count. Refusing the set for one odd key would keep withdrawn keys alive, and new ones away.

use super::{
    error::{KeyError, KeySetError, SkippedKey, shown},
    jwk::{self, Origin},
    key::{Key, Thumbprint},
    set::KeySet,
};
use crate::json;

/// A published set: the keys that can be used, and those that should have been usable and are not.
#[derive(Debug)]
pub struct PublishedKeys {
    /// Keys that can verify tokens. There may be none: then their issuer has withdrawn all of them.
    pub keys: KeySet,
    /// Keys that something is wrong with, each with the reason. Keys for something else are not among them.
    pub skipped: Vec<SkippedKey>,
}

impl PublishedKeys {
    /// Reads a JWKS of public keys.
    ///
    /// # Errors
    /// It is no key set: not JSON, without a list of keys, or with more than [`MAX_KEYS`](super::MAX_KEYS).
    pub fn from_jwks(jwks: &[u8]) -> Result<Self, KeySetError> {
        let entries = jwk::entries(json::object_of_entries(jwks))?;
        let (mut keys, mut skipped, mut exposed) = (Vec::new(), Vec::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            let entry = entry.as_ref();
            match entry.ok_or(KeyError::NotAnObject).and_then(|jwk| jwk::read_key(jwk, Origin::Published)) {
                Ok(key) => keys.extend(key),
                Err(why) => {
                    let is_private = matches!(why, KeyError::Private(_));
                    exposed.extend(entry.filter(|_| is_private).and_then(jwk::public_half));
                    skipped.push(SkippedKey { which: jwk::which(entry, index), why });
                }
            }
        }
        drop_exposed(&mut keys, &exposed, &mut skipped);
        drop_ambiguous(&mut keys, &mut skipped);
        drop_twins(&mut keys);
        Ok(Self { keys: KeySet::of(keys), skipped })
    }
}

fn skip(key: &Key, why: KeyError) -> SkippedKey {
    SkippedKey { which: shown(key.kid()), why }
}

/// Whoever has read a private key can sign for its public half, under whatever `kid` that stands.
fn drop_exposed(keys: &mut Vec<Key>, exposed: &[Thumbprint], skipped: &mut Vec<SkippedKey>) {
    skipped.extend(
        keys.extract_if(.., |key| exposed.contains(&key.thumbprint())).map(|key| skip(&key, KeyError::Exposed)),
    );
}

/// Two different keys that a `kid` can mean for one algorithm: which of them the issuer means is a guess.
fn drop_ambiguous(keys: &mut Vec<Key>, skipped: &mut Vec<SkippedKey>) {
    let is_confused = |key: &Key| keys.iter().any(|other| key.is_confused_with(other));
    let confused: Vec<bool> = keys.iter().map(is_confused).collect();
    let mut confused = confused.into_iter();
    let dropped = keys.extract_if(.., |_| confused.next().unwrap_or(false));
    skipped.extend(dropped.map(|key| skip(&key, KeyError::Ambiguous)));
}

/// The same key twice is one.
fn drop_twins(keys: &mut Vec<Key>) {
    let mut seen = Vec::with_capacity(keys.len());
    keys.retain(|key| {
        let is_new = !seen.contains(&key.id());
        seen.push(key.id());
        is_new
    });
}
