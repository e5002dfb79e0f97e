//! HMACs as they are written: their hash and their encoding.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use portcullis_plugin::schemars::JsonSchema;
use serde::Deserialize;

use crate::key::Algorithm;

/// The encoding of a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureEncoding {
    /// In hexadecimal or in Base64: a hash has another length in each.
    #[default]
    Any,
    /// In hexadecimal.
    Hex,
    /// In Base64.
    Base64,
}

/// An HMAC. SHA-1 is not supported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum HmacName {
    /// HMAC with SHA-256.
    #[default]
    #[serde(rename = "hmac-sha256")]
    Sha256,
    /// HMAC with SHA-384.
    #[serde(rename = "hmac-sha384")]
    Sha384,
    /// HMAC with SHA-512.
    #[serde(rename = "hmac-sha512")]
    Sha512,
}

impl HmacName {
    /// Every one of them.
    pub(crate) const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];
}

impl From<HmacName> for Algorithm {
    fn from(name: HmacName) -> Self {
        match name {
            HmacName::Sha256 => Self::HmacSha256,
            HmacName::Sha384 => Self::HmacSha384,
            HmacName::Sha512 => Self::HmacSha512,
        }
    }
}

/// Decodes an HMAC; `None` if the text is not one of this algorithm.
pub(crate) fn decode(written: &str, encoding: SignatureEncoding, algorithm: Algorithm) -> Option<Vec<u8>> {
    let length = algorithm.hmac()?.digest_algorithm().output_len();
    let decoded = match encoding {
        SignatureEncoding::Hex => hex::decode(written).ok(),
        SignatureEncoding::Base64 => base64(written.as_bytes()),
        SignatureEncoding::Any if written.len() == 2 * length => hex::decode(written).ok(),
        SignatureEncoding::Any => base64(written.as_bytes()),
    };
    decoded.filter(|tag| tag.len() == length)
}

/// Base64 (RFC 4648 section 4) with or without padding.
pub(crate) fn base64(encoded: &[u8]) -> Option<Vec<u8>> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
    ENGINE.decode(encoded).ok()
}
