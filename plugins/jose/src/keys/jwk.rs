//! Reads keys and the lists of them (RFC 7517). jsonwebtoken's types for them look at none of `use`, `key_ops`, `alg` and
//! `crv`, and take members that come twice, so they are not used.
//!
//! A key for something else is passed over: for encryption, of an unknown type, on a curve that we do not have. In a file,
//! anything wrong with another key refuses the file, because its owner can mend it.
//!
//! Members that are `null` are absent ones. Numbers may have zeros before them and base64url may be padded: libraries that
//! write a sign byte before `n` are common, and the key is the same.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_plugin::Secret;
use serde_json::{Map, Value};

use super::{
    error::{KeyError, KeySetError, shown},
    key::{Curve, Key, Material, Thumbprint},
    limits::MAX_KEYS,
};
use crate::{Algorithm, Family, json};

/// Where a set comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// From whoever runs the gateway.
    File,
    /// From an issuer, for all to read.
    Published,
}

/// One key as it is written, without members that are `null`.
pub(super) type Jwk = Map<String, Value>;

/// The keys in a file that can verify tokens.
pub(super) fn read(jwks: &[u8]) -> Result<Vec<Key>, KeySetError> {
    let entries = entries(json::object(jwks))?;
    let mut keys = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let jwk = entry.as_ref().ok_or(KeySetError::NoList)?;
        let key = read_key(jwk, Origin::File);
        keys.extend(key.map_err(|problem| KeySetError::Key { which: which(Some(jwk), index), problem })?);
    }
    Ok(keys)
}

/// The entries of `keys`; `None` for one that is no object.
pub(super) fn entries(set: serde_json::Result<Map<String, Value>>) -> Result<Vec<Option<Jwk>>, KeySetError> {
    let mut set = set.map_err(|error| KeySetError::NotJson(error.to_string()))?;
    let Some(Value::Array(entries)) = set.remove("keys") else { return Err(KeySetError::NoList) };
    if entries.len() > MAX_KEYS {
        return Err(KeySetError::TooManyKeys);
    }
    let entry = |entry| match entry {
        Value::Object(members) => Some(members.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        _ => None,
    };
    Ok(entries.into_iter().map(entry).collect())
}

/// The name of an entry in messages.
pub(super) fn which(jwk: Option<&Jwk>, index: usize) -> String {
    match jwk.and_then(|jwk| jwk.get("kid")?.as_str()) {
        Some(kid) => shown(Some(kid)),
        None => format!("keys[{index}]"),
    }
}

/// `None`: a key for something else.
pub(super) fn read_key(jwk: &Jwk, origin: Origin) -> Result<Option<Key>, KeyError> {
    let Some(family) = family(jwk)? else { return Ok(None) };
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

fn family(jwk: &Jwk) -> Result<Option<Family>, KeyError> {
    Ok(Some(match text(jwk, "kty")?.ok_or(KeyError::Member("kty"))? {
        "RSA" => Family::Rsa,
        "EC" => Family::Ec,
        "OKP" => Family::Ed,
        "oct" => Family::Hmac,
        _ => return Ok(None),
    }))
}

/// The thumbprint of the public half of a private key, as far as it can be read.
pub(super) fn public_half(jwk: &Jwk) -> Option<Thumbprint> {
    let family = family(jwk).ok()??;
    material(jwk, family).ok()?.map(|material| material.thumbprint())
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

/// The first byte of a point that has both coordinates (SEC 1 section 2.3.3).
const UNCOMPRESSED: u8 = 4;
/// The length of an encoded point of edwards25519 (RFC 8032 section 5.1.5).
const ED25519_BYTES: usize = 32;

/// A coordinate in the full length of its field (RFC 7518 section 6.2.1.2).
fn coordinate(jwk: &Jwk, member: &'static str, curve: Curve) -> Result<Vec<u8>, KeyError> {
    let (number, length) = (number(jwk, member)?, curve.coordinate_bytes());
    let zeros = length.checked_sub(number.len()).ok_or(KeyError::Member(member))?;
    Ok([vec![0; zeros], number].concat())
}

fn sized(jwk: &Jwk, member: &'static str, length: usize) -> Result<Vec<u8>, KeyError> {
    let bytes = bytes(jwk, member)?;
    if bytes.len() == length { Ok(bytes) } else { Err(KeyError::Member(member)) }
}

/// A number above zero in as few octets as it needs (RFC 7518 section 2, Base64urlUInt), with whatever number of zeros it
/// was written.
fn number(jwk: &Jwk, member: &'static str) -> Result<Vec<u8>, KeyError> {
    let bytes = bytes(jwk, member)?;
    let start = bytes.iter().position(|byte| *byte != 0).ok_or(KeyError::Member(member))?;
    Ok(bytes[start..].to_vec())
}

fn bytes(jwk: &Jwk, member: &'static str) -> Result<Vec<u8>, KeyError> {
    let text = text(jwk, member)?.ok_or(KeyError::Member(member))?;
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| KeyError::Member(member))
}

fn text<'j>(jwk: &'j Jwk, member: &'static str) -> Result<Option<&'j str>, KeyError> {
    match jwk.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(KeyError::Member(member)),
    }
}
