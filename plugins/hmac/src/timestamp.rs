//! The scheme `timestamp`: a few fields of the request joined into one message, and an HMAC of it in a header. Most
//! services sign their webhooks this way, although there is no standard for it.
//!
//! ```toml
//! [policies.partners]
//! use = "hmac"
//! scheme = "timestamp"
//!
//! [policies.billing-events]
//! use = "hmac"
//! scheme = "timestamp"
//! timestamp = { preset = "stripe" }
//! ```
//!
//! Without settings the message is method, target, time and the SHA-256 of the body in hexadecimal, joined by newlines:
//!
//! ```text
//! POST\n/orders?dry_run=1\n1800000000\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
//! ```
//!
//! and the request carries `X-Key-Id`, `X-Timestamp` (Unix time in seconds, or RFC 3339; signed as it is written) and
//! `X-Signature: hmac-sha256=<Base64 or hexadecimal>`. The target is the path with its query, as it is sent.
//!
//! A message has one reading only. A value that holds the separator is refused, for it could be two; so a signed
//! `1` and `23` never become `12` and `3`.

use portcullis_plugin::{
    Challenge, Place, Places, Reason,
    http::{HeaderMap, HeaderName},
};

use crate::{
    instant,
    key::Algorithm,
    scheme::{BodyUse, Claim, KEY_ID_MAX_BYTES, Piece, Reading, Scheme, SignedRequest, Wrong},
    tag,
};

mod build;
mod config;
mod field;
mod layout;
mod preset;
mod signature;

pub use config::{Preset, TimestampConfig};
pub use field::{Component, Field, Literal, Part};

use layout::{Layout, Values};
use signature::SignatureHeader;

/// One policy's settings.
struct Timestamp {
    signature: SignatureHeader,
    time: Option<TimeHeader>,
    key_id: Option<HeaderName>,
    id: Option<HeaderName>,
    layout: Layout,
    secret_prefix: Option<String>,
}

/// The place of the time.
enum TimeHeader {
    /// In a header of its own.
    Own(HeaderName),
    /// Among the items of the signature's header, after this.
    BesideSignature(String),
}

impl Scheme for Timestamp {
    fn read(&self, request: &SignedRequest<'_>) -> Reading {
        self.claim(request).into()
    }

    fn algorithms(&self) -> &[Algorithm] {
        std::slice::from_ref(&self.signature.algorithm)
    }

    fn names_key(&self) -> bool {
        self.key_id.is_some()
    }

    fn has_time(&self) -> bool {
        self.time.is_some()
    }

    fn secret_min_bytes(&self) -> usize {
        // Standard Webhooks hands out 24 to 64 random bytes ("Symmetric signatures"), and nobody else has the prefix.
        if self.secret_prefix.is_some() { 24 } else { 32 }
    }

    fn decode_secret(&self, written: &[u8]) -> Result<Vec<u8>, &'static str> {
        let Some(prefix) = &self.secret_prefix else { return Ok(written.to_vec()) };
        let encoded = written.strip_prefix(prefix.as_bytes()).unwrap_or(written);
        tag::base64(encoded).ok_or("is not Base64, with or without the `secret_prefix` of the policy before it")
    }

    fn places(&self) -> Places {
        Places(Place::header(self.signature.name.as_str(), None).into_iter().collect())
    }

    fn challenge(&self) -> Challenge {
        Challenge::new("Signature").parameter("header", self.signature.name.as_str())
    }
}

impl Timestamp {
    fn claim(&self, request: &SignedRequest<'_>) -> Result<Option<Claim>, Wrong> {
        let Some(line) = single(request.headers, &self.signature.name)? else { return Ok(None) };
        let values = Values {
            time: self.time(line, request.headers)?,
            id: required(self.id.as_ref(), request.headers)?,
            key_id: self.key_id.as_ref().map_or(Ok(None), |name| single(request.headers, name))?,
        };
        if values.key_id.is_some_and(|key_id| key_id.is_empty() || key_id.len() > KEY_ID_MAX_BYTES) {
            return Err(Wrong::malformed("the key id is empty or too long"));
        }
        let created = values.time.map(|time| instant::unix_or_rfc3339(time).ok_or(NO_TIME)).transpose()?;
        let message = self.layout.message(request, &values)?;
        let is_over_body = message.0.iter().any(|piece| !matches!(piece, Piece::Bytes(_)));
        Ok(Some(Claim {
            key_id: values.key_id.map(str::to_owned),
            signatures: self.signature.read(line)?,
            algorithm: Some(self.signature.algorithm),
            created,
            expires: None,
            is_presigned: false,
            // Not the id: a webhook that is delivered again keeps its id and has a new time. A request that is sent
            // twice unchanged has the same message, and the message is remembered.
            nonce: None,
            body: if is_over_body { BodyUse::InMessage } else { BodyUse::NotCovered },
            message,
            scope: String::new(),
        }))
    }

    fn time<'r>(&self, line: &'r str, headers: &'r HeaderMap) -> Result<Option<&'r str>, Wrong> {
        match &self.time {
            None => Ok(None),
            Some(TimeHeader::Own(name)) => required(Some(name), headers),
            Some(TimeHeader::BesideSignature(prefix)) => self.signature.beside(line, prefix).map(Some),
        }
    }
}

const NO_TIME: Wrong =
    Wrong { reason: Reason::SignatureMalformed, why: "the time is neither Unix time in seconds nor RFC 3339" };

/// The value of a header that may be there once, in visible ASCII, white space around it dropped.
fn single<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Result<Option<&'r str>, Wrong> {
    let mut lines = headers.get_all(name).into_iter();
    let first = lines.next().map(|line| line.to_str().map(str::trim_ascii));
    if lines.next().is_some() {
        return Err(Wrong::malformed("a header of the signature twice"));
    }
    first.transpose().map_err(|_| Wrong::malformed("a header of the signature is not ASCII"))
}

/// The value of a header that has to be there.
fn required<'r>(name: Option<&HeaderName>, headers: &'r HeaderMap) -> Result<Option<&'r str>, Wrong> {
    let Some(name) = name else { return Ok(None) };
    match single(headers, name)? {
        None => Err(Wrong::incomplete("a header that is part of what is signed is not there")),
        Some("") => Err(Wrong::malformed("a header that is part of what is signed is empty")),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests;
