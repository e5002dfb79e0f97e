//! Reads public keys from PEM (RFC 7468). OpenSSL, which the gateway has anyway, takes the structures apart, and the
//! numbers in them are judged as those of a JWK are.

use openssl::{
    bn::BigNumContext,
    ec::{EcKeyRef, PointConversionForm},
    error::ErrorStack,
    nid::Nid,
    pkey::{Id, PKey, Public},
    rsa::Rsa,
    x509::X509,
};
use pem::Pem;

use super::{
    error::{KeyError, KeySetError},
    key::{Curve, Key, Material},
};

/// The largest file that is looked at, in bytes.
const MAX_PEM_BYTES: usize = 256 << 10;

/// The keys in a file, in its order.
pub(super) fn read(file: &[u8], kid: Option<&str>) -> Result<Vec<Key>, KeySetError> {
    let blocks = blocks(file)?;
    if kid.is_some() && blocks.len() != 1 {
        return Err(wrong("has several keys, and one `kid` for all of them"));
    }
    let keys = blocks.iter().enumerate().map(|(index, block)| {
        let key = material(block)?.and_then(|material| Key::new(&material, kid, None));
        key.map_err(|problem| KeySetError::Key { which: format!("key {} of the file", index + 1), problem })
    });
    keys.collect()
}

fn wrong(text: impl Into<String>) -> KeySetError {
    KeySetError::Pem(text.into())
}

/// Returns the blocks between `BEGIN` and `END`. A block that has no end is an error and not the end of the list.
fn blocks(file: &[u8]) -> Result<Vec<Pem>, KeySetError> {
    if file.len() > MAX_PEM_BYTES {
        return Err(wrong(format!("has more than {MAX_PEM_BYTES} bytes")));
    }
    let blocks = pem::parse_many(file).map_err(|_| wrong("is not PEM"))?;
    let begun = file.windows(BEGIN.len()).filter(|window| *window == BEGIN).count();
    if begun != blocks.len() {
        return Err(wrong("is not PEM: a block in it does not end"));
    }
    if blocks.is_empty() {
        return Err(wrong("is not PEM: it has no `-----BEGIN PUBLIC KEY-----`"));
    }
    // The certificates after the first are of those who issued it. Their keys sign certificates, and no tokens.
    if blocks.len() > 1 && blocks.iter().any(|block| block.tag() == "CERTIFICATE") {
        return Err(wrong("has a certificate beside something else: the key of one certificate, not of a chain"));
    }
    Ok(blocks)
}

const BEGIN: &[u8] = b"-----BEGIN ";

/// Reads the key in a block. The outer error is about the file, the inner one about the key.
fn material(block: &Pem) -> Result<Result<Material, KeyError>, KeySetError> {
    let key = match block.tag() {
        "PUBLIC KEY" => PKey::public_key_from_der(block.contents()),
        "RSA PUBLIC KEY" => Rsa::public_key_from_der_pkcs1(block.contents()).and_then(PKey::from_rsa),
        "CERTIFICATE" => X509::from_der(block.contents()).and_then(|certificate| certificate.public_key()),
        tag if tag.contains("PRIVATE") => return Err(wrong("has a private key: the gateway needs the public one")),
        _ => return Err(wrong("has something else than `PUBLIC KEY`, `RSA PUBLIC KEY` or `CERTIFICATE`")),
    };
    Ok(key.map_err(|_| KeyError::Invalid).and_then(|key| taken_apart(&key)))
}

fn taken_apart(key: &PKey<Public>) -> Result<Material, KeyError> {
    let material = match key.id() {
        Id::RSA => key.rsa().map(|rsa| Some(Material::Rsa { n: rsa.n().to_vec(), e: rsa.e().to_vec() })),
        Id::EC => key.ec_key().and_then(|key| point(&key)),
        Id::ED25519 => key.raw_public_key().map(|point| Some(Material::Ed25519(point))),
        _ => Ok(None),
    };
    material.map_err(|_| KeyError::Invalid)?.ok_or(KeyError::Unsupported)
}

fn point(key: &EcKeyRef<Public>) -> Result<Option<Material>, ErrorStack> {
    let curve = match key.group().curve_name() {
        Some(Nid::X9_62_PRIME256V1) => Curve::P256,
        Some(Nid::SECP384R1) => Curve::P384,
        Some(Nid::SECP521R1) => Curve::P521,
        _ => return Ok(None),
    };
    let mut context = BigNumContext::new()?;
    let point = key.public_key().to_bytes(key.group(), PointConversionForm::UNCOMPRESSED, &mut context)?;
    Ok(Some(Material::Ec(curve, point)))
}
