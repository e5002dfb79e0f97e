//! Reads key sets (RFC 7517). jsonwebtoken's types for them look at none of `use`, `key_ops`, `alg` and `crv`, and take
//! members that come twice, so they are not used (pitfall 72).
//!
//! What is of no use to us is passed over: a key for encryption, of an unknown type, on a curve that we do not have. What
//! is wrong refuses the whole set, and the one before goes on serving: half of a broken set is a guess at the other half.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_plugin::Secret;
use serde_json::{Map, Value};

use super::{
    Key, KeyError, KeySetError,
    error::shown,
    key::{Curve, Material},
};
use crate::{Algorithm, Family, json};

/// Where a set comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From whoever runs the gateway.
    File,
    /// From an issuer, for all to read.
    Published,
}

type Jwk = Map<String, Value>;

/// The keys of a set that can verify tokens.
pub fn read(jwks: &[u8], origin: Origin) -> Result<Vec<Key>, KeySetError> {
    let set = json::object(jwks).map_err(|error| KeySetError::NotJson(error.to_string()))?;
    let Some(Value::Array(entries)) = set.get("keys") else { return Err(KeySetError::NoList) };
    let mut keys = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let jwk = entry.as_object().ok_or(KeySetError::NoList)?;
        keys.extend(read_key(jwk, origin).map_err(|problem| KeySetError::Key { which: which(jwk, index), problem })?);
        if keys.len() > super::MAX_KEYS {
            return Err(KeySetError::TooManyKeys);
        }
    }
    Ok(keys)
}

fn which(jwk: &Jwk, index: usize) -> String {
    match jwk.get("kid").and_then(Value::as_str) {
        Some(kid) => shown(Some(kid)),
        None => format!("keys[{index}]"),
    }
}

/// `None`: a key for something else.
fn read_key(jwk: &Jwk, origin: Origin) -> Result<Option<Key>, KeyError> {
    let family = match text(jwk, "kty")?.ok_or(KeyError::Member("kty"))? {
        "RSA" => Family::Rsa,
        "EC" => Family::Ec,
        "OKP" => Family::Ed,
        "oct" => Family::Hmac,
        _ => return Ok(None),
    };
    check_secrecy(jwk, family, origin)?;
    let kid = text(jwk, "kid")?;
    if !is_for_verifying(jwk, family)? {
        return Ok(None);
    }
    let algorithm = match text(jwk, "alg")? {
        None if family == Family::Hmac => return Err(KeyError::SecretWithoutAlgorithm),
        None => None,
        Some(name) => match Algorithm::by_name(name) {
            Some(algorithm) => Some(algorithm),
            None => return Ok(None),
        },
    };
    let Some(material) = material(jwk, family)? else { return Ok(None) };
    Key::new(&material, kid, algorithm).map(Some)
}

/// A private key that stands in a set for verifying was given to people who should not have it.
fn check_secrecy(jwk: &Jwk, family: Family, origin: Origin) -> Result<(), KeyError> {
    if family == Family::Hmac {
        return if origin == Origin::Published { Err(KeyError::Published) } else { Ok(()) };
    }
    let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    match private.into_iter().find(|member| jwk.contains_key(*member)) {
        Some(member) => Err(KeyError::Private(member)),
        None => Ok(()),
    }
}

/// `use` and `key_ops` (RFC 7517 sections 4.2 and 4.3). With both, both have to allow it and to agree.
fn is_for_verifying(jwk: &Jwk, family: Family) -> Result<bool, KeyError> {
    let purpose = text(jwk, "use")?;
    let Some(operations) = operations(jwk)? else { return Ok(matches!(purpose, None | Some("sig"))) };
    // Who writes down a secret may list both of its operations; of a public key there is only one.
    let is_signing = |operation: &&str| *operation == "verify" || *operation == "sign" && family == Family::Hmac;
    let verifies = operations.contains(&"verify");
    match purpose {
        Some("sig") if !operations.iter().all(is_signing) => Err(KeyError::Operations),
        Some("sig") | None => Ok(verifies),
        Some(_) if verifies => Err(KeyError::Operations),
        Some(_) => Ok(false),
    }
}

fn operations(jwk: &Jwk) -> Result<Option<Vec<&str>>, KeyError> {
    let Some(value) = jwk.get("key_ops") else { return Ok(None) };
    let list = value.as_array().ok_or(KeyError::Member("key_ops"))?;
    let names: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
    let mut names = names.ok_or(KeyError::Member("key_ops"))?;
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    if names.len() == count { Ok(Some(names)) } else { Err(KeyError::Operations) }
}

/// `None`: on a curve that we do not have.
fn material(jwk: &Jwk, family: Family) -> Result<Option<Material>, KeyError> {
    Ok(Some(match family {
        Family::Rsa => Material::Rsa { n: number(jwk, "n")?, e: number(jwk, "e")? },
        Family::Ec => {
            let curve = match text(jwk, "crv")?.ok_or(KeyError::Member("crv"))? {
                "P-256" => Curve::P256,
                "P-384" => Curve::P384,
                "P-521" => Curve::P521,
                _ => return Ok(None),
            };
            let (x, y) = (coordinate(jwk, "x", curve)?, coordinate(jwk, "y", curve)?);
            Material::Ec(curve, [&[UNCOMPRESSED], &*x, &*y].concat())
        }
        Family::Ed => match text(jwk, "crv")?.ok_or(KeyError::Member("crv"))? {
            "Ed25519" => Material::Ed25519(sized(jwk, "x", ED25519_BYTES)?),
            _ => return Ok(None),
        },
        Family::Hmac => Material::Secret(Secret::new(bytes(jwk, "k")?)),
    }))
}

/// What a point in both coordinates begins with (SEC 1 section 2.3.3).
const UNCOMPRESSED: u8 = 4;
/// The length of an encoded point of edwards25519 (RFC 8032 section 5.1.5).
const ED25519_BYTES: usize = 32;

/// A coordinate has the full length of its field (RFC 7518 section 6.2.1.2).
fn coordinate(jwk: &Jwk, member: &'static str, curve: Curve) -> Result<Vec<u8>, KeyError> {
    sized(jwk, member, curve.coordinate_bytes())
}

fn sized(jwk: &Jwk, member: &'static str, length: usize) -> Result<Vec<u8>, KeyError> {
    let bytes = bytes(jwk, member)?;
    if bytes.len() == length { Ok(bytes) } else { Err(KeyError::Member(member)) }
}

/// A number in as few octets as it needs (RFC 7518 section 2, Base64urlUInt).
fn number(jwk: &Jwk, member: &'static str) -> Result<Vec<u8>, KeyError> {
    let bytes = bytes(jwk, member)?;
    if matches!(bytes.first(), None | Some(0)) { Err(KeyError::Member(member)) } else { Ok(bytes) }
}

fn bytes(jwk: &Jwk, member: &'static str) -> Result<Vec<u8>, KeyError> {
    let text = text(jwk, member)?.ok_or(KeyError::Member(member))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Member(member))
}

fn text<'j>(jwk: &'j Jwk, member: &'static str) -> Result<Option<&'j str>, KeyError> {
    match jwk.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(KeyError::Member(member)),
    }
}
