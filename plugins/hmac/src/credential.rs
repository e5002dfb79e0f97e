//! A consumer's credential, and the key that is made of it.

use std::path::PathBuf;

use aws_lc_rs::{
    rsa::PublicEncryptingKey,
    signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PSS_2048_8192_SHA512},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use portcullis_plugin::{BuildCx, BuildError, Secret, SecretSource};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    key::{Algorithm, SigningKey},
    scheme::Scheme,
};

/// A consumer's credential: a secret that it shares with the gateway, or its public key. A consumer may have several of
/// these: the new one works before the old one ends.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SigningCredential {
    /// The name of the key in a signature; the credential's `id` unless said.
    pub key_id: Option<String>,
    /// The secret: at least as long as the hash, 32 bytes for SHA-256. `openssl rand -base64 32` makes one.
    pub secret: Option<SecretSource>,
    /// The encoding of the secret; unless said, that of the scheme, or else the text itself.
    pub secret_encoding: Option<SecretEncoding>,
    /// The public key, as PEM (`-----BEGIN PUBLIC KEY-----`): Ed25519, ECDSA on P-256, or RSA with 2048 bits or more.
    pub public_key: Option<String>,
    /// The file with the public key.
    #[schemars(with = "Option<String>")]
    pub public_key_file: Option<PathBuf>,
}

/// The encoding of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretEncoding {
    /// The key is the text itself.
    Text,
    /// The key is written in Base64.
    Base64,
    /// The key is written in hexadecimal digits.
    Hex,
}

/// A key, and the name that signatures have for it.
pub(crate) struct NamedKey {
    pub key_id: String,
    pub key: SigningKey,
}

/// A problem of a credential: the field and the reason. No message repeats what the field holds.
type Problem = (&'static str, String);

fn wrong<T>(field: &'static str, why: impl Into<String>) -> Result<T, Problem> {
    Err((field, why.into()))
}

impl SigningCredential {
    /// Makes the key for the scheme. Reads files and secrets.
    pub(crate) fn key(&self, id: &str, scheme: &dyn Scheme, cx: &mut BuildCx<'_>) -> Result<NamedKey, Problem> {
        let key = match (&self.secret, &self.public_key, &self.public_key_file) {
            (Some(source), None, None) => self.shared(source, scheme, cx)?,
            (None, Some(pem), None) => self.public("public_key", pem.as_bytes(), scheme)?,
            (None, None, Some(path)) => {
                let pem = cx.read_file("public_key_file", path).map_err(|error| ("public_key_file", said(error)))?;
                self.public("public_key_file", &pem, scheme)?
            }
            _ => return wrong("", "needs exactly one of `secret`, `public_key`, `public_key_file`"),
        };
        Ok(NamedKey { key_id: self.key_id(id, scheme)?, key })
    }

    fn key_id(&self, id: &str, scheme: &dyn Scheme) -> Result<String, Problem> {
        match &self.key_id {
            Some(_) if !scheme.names_key() => wrong("key_id", "is not used: signatures of this scheme name no key"),
            Some(key_id) if !is_key_id(key_id) => wrong("key_id", KEY_ID_RULE),
            Some(key_id) => Ok(key_id.clone()),
            None => Ok(id.to_owned()),
        }
    }

    fn shared(&self, source: &SecretSource, scheme: &dyn Scheme, cx: &mut BuildCx<'_>) -> Result<SigningKey, Problem> {
        if !scheme.algorithms().iter().any(|algorithm| algorithm.hmac().is_some()) {
            return wrong("secret", "is for HMAC, which the policy does not take: see its `algorithms`");
        }
        let written = cx.secret("secret", source).map_err(|error| ("secret", said(error)))?;
        let secret = self.decoded(&written, scheme).map_err(|why| ("secret", why.to_owned()))?;
        let min_bytes = scheme.secret_min_bytes();
        if secret.expose().len() < min_bytes {
            return wrong("secret", format!("is too short: at least {min_bytes} bytes, of which nobody can guess one"));
        }
        Ok(SigningKey::shared(secret, scheme.algorithms()))
    }

    fn decoded(&self, written: &Secret, scheme: &dyn Scheme) -> Result<Secret, &'static str> {
        let written = written.expose();
        let bytes = match self.secret_encoding {
            None => scheme.decode_secret(written)?,
            Some(SecretEncoding::Text) => written.to_vec(),
            Some(SecretEncoding::Base64) => BASE64_STANDARD.decode(written).map_err(|_| "is not Base64")?,
            Some(SecretEncoding::Hex) => hex::decode(written).map_err(|_| "is not hexadecimal")?,
        };
        Ok(Secret::new(bytes))
    }

    fn public(&self, field: &'static str, pem: &[u8], scheme: &dyn Scheme) -> Result<SigningKey, Problem> {
        if self.secret_encoding.is_some() {
            return wrong("secret_encoding", "goes with `secret`");
        }
        let der = match pem::parse(pem) {
            Ok(pem) if pem.tag() == "PUBLIC KEY" => pem.into_contents(),
            Ok(pem) if pem.tag().ends_with("PRIVATE KEY") => {
                return wrong(field, "is a private key, which belongs to the client alone");
            }
            _ => return wrong(field, "is not one public key as PEM (`-----BEGIN PUBLIC KEY-----`)"),
        };
        let why = "is neither Ed25519 nor ECDSA on P-256 nor RSA with 2048 to 8192 bits";
        let (algorithm, key) = parsed(&der).ok_or((field, why.to_owned()))?;
        if !scheme.algorithms().contains(&algorithm) {
            return wrong(field, format!("is for {}, which the policy does not take", algorithm.name()));
        }
        Ok(SigningKey::Public { algorithm, key })
    }
}

/// Reads a `SubjectPublicKeyInfo`, which names the algorithm of the key.
fn parsed(der: &[u8]) -> Option<(Algorithm, ParsedPublicKey)> {
    // The library takes raw keys as well, which do not name their algorithm.
    const SEQUENCE: u8 = 0x30;
    if der.first() != Some(&SEQUENCE) {
        return None;
    }
    let ed25519 = || Some((Algorithm::Ed25519, ParsedPublicKey::new(&ED25519, der).ok()?));
    let ecdsa = || Some((Algorithm::EcdsaP256Sha256, ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, der).ok()?));
    let rsa = || {
        // A key of another size would be parsed, and refuse every signature.
        let bits = PublicEncryptingKey::from_der(der).ok()?.key_size_bits();
        let key = ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA512, der).ok()?;
        (2048..=8192).contains(&bits).then_some((Algorithm::RsaPssSha512, key))
    };
    ed25519().or_else(ecdsa).or_else(rsa)
}

fn said(error: BuildError) -> String {
    error.problems.into_iter().map(|(_, why)| why).collect::<Vec<_>>().join("; ")
}

const KEY_ID_RULE: &str = "is no key id: visible ASCII, up to 256 bytes";

fn is_key_id(key_id: &str) -> bool {
    (1..=crate::scheme::KEY_ID_MAX_BYTES).contains(&key_id.len()) && key_id.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
