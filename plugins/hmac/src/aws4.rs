//! The scheme `aws4`: AWS Signature Version 4, in the header and in the query (a presigned URL).
//!
//! ```toml
//! [policies.s3-clients]
//! use = "hmac"
//! scheme = "aws4"
//! aws4 = { region = "eu-central-1", service = "s3", presigned = "15m" }
//!
//! [[consumers.acme.credentials]]
//! use = "hmac"
//! id = "AKIDACME"
//! secret = { env = "ACME_AWS4_SECRET" }
//! ```
//!
//! The scheme is stricter than AWS: `host` and every `x-amz-*` header have to be signed, and the payload's hash is that
//! of the body, whichever header says otherwise. `UNSIGNED-PAYLOAD` is taken without a body, and with one only where
//! the policy says `body = "unsigned"`. Bodies that are signed chunk by chunk (`STREAMING-...`) are refused: their
//! first signature says nothing about the chunks. So are temporary credentials (`X-Amz-Security-Token`): their key is
//! one that only AWS knows.

use std::borrow::Cow;

use aws_lc_rs::{digest, hmac};
use portcullis_plugin::{
    Challenge, Place, Places, Reason, Secret, Span,
    http::{HeaderMap, HeaderName},
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    body::{BodyDigest, Hash},
    key::{Algorithm, SigningKey, is_tag},
    parameters::credentials,
    problems::Problems,
    scheme::{BodyUse, Claim, Message, Piece, Reading, Scheme, SignedRequest, Wrong},
    signed_headers::header_names,
};

mod canonical;
mod claimed;

use canonical::{PathEncoding, Query};
use claimed::Claimed;

/// The longest validity of a presigned URL that AWS itself allows.
const PRESIGNED_MAX: std::time::Duration = std::time::Duration::from_secs(7 * 86_400);

/// The settings of the scheme `aws4`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aws4Config {
    /// The region that signatures are made for, such as `eu-central-1`. Required; any other is refused.
    pub region: Option<String>,
    /// The service that signatures are made for, such as `execute-api`. Required; any other is refused. With `s3` paths
    /// are encoded once rather than twice, and a presigned URL does not cover the body, as S3 has it.
    pub service: Option<String>,
    /// Takes presigned URLs, for at most so long after they were made (7 days at most); left out, they are refused.
    /// Whoever sees such a URL can use it.
    pub presigned: Option<Span>,
    /// Headers that have to be signed beside `host` and all `x-amz-*`, such as `content-type`.
    #[serde(default)]
    pub signed_headers: Vec<String>,
}

impl Aws4Config {
    /// Builds the scheme; `None` if something is wrong, which is then in `problems`, each with its field relative to
    /// this table.
    pub(crate) fn build(self, problems: &mut Problems) -> Option<Box<dyn Scheme>> {
        let before = problems.len();
        let region = scope_part("region", self.region, problems);
        let service = scope_part("service", self.service, problems);
        if self.presigned.is_some_and(|span| span.0 > PRESIGNED_MAX || span.0.as_secs() == 0) {
            problems.push(("presigned".to_owned(), "is not between 1s and 7d".to_owned()));
        }
        let signed_headers = header_names("signed_headers", &self.signed_headers, problems);
        if problems.len() > before {
            return None;
        }
        Some(Box::new(Aws4 {
            path_encoding: if service == "s3" { PathEncoding::Single } else { PathEncoding::Double },
            region,
            service,
            presigned: self.presigned,
            signed_headers,
        }))
    }
}

/// A part of the scope. Its parts are joined by slashes, and none may hold one.
fn scope_part(field: &str, value: Option<String>, problems: &mut Problems) -> String {
    let value = value.unwrap_or_default();
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if value.is_empty() {
        problems.push((field.to_owned(), "is missing: a signature is made for one region and one service".to_owned()));
    } else if !value.bytes().all(is_part) {
        problems.push((field.to_owned(), "has other characters than a-z, 0-9, `-` and `_`".to_owned()));
    }
    value
}

/// One policy's settings.
struct Aws4 {
    region: String,
    service: String,
    presigned: Option<Span>,
    signed_headers: Vec<HeaderName>,
    path_encoding: PathEncoding,
}

impl Scheme for Aws4 {
    fn read(&self, request: &SignedRequest<'_>) -> Reading {
        self.claim(request).into()
    }

    /// Derives the key for the claim's scope, which signs not the canonical request but a hash of it.
    fn verify(&self, key: &SigningKey, claim: &Claim, message: &[Cow<'_, [u8]>]) -> bool {
        let (Some(secret), Some((head, request))) = (key.secret(), message.split_first()) else { return false };
        let mut hash = digest::Context::new(&digest::SHA256);
        request.iter().for_each(|piece| hash.update(piece));
        let string_to_sign = [head.clone(), Cow::Owned(hex::encode(hash.finish()).into_bytes())];
        is_tag(&derived_key(secret, &claim.scope), &string_to_sign, &claim.signatures)
    }

    fn algorithms(&self) -> &[Algorithm] {
        &[Algorithm::HmacSha256]
    }

    fn places(&self) -> Places {
        let header = Place::header("authorization", Some(claimed::ALGORITHM));
        let query = claimed::PARAMETERS.map(|name| Place::query(name.to_owned()));
        Places([header].into_iter().chain(query).flatten().collect())
    }

    fn challenge(&self) -> Challenge {
        Challenge::new(claimed::ALGORITHM)
    }
}

/// Derives a key by one HMAC for each part of the scope, each with the result of the last as its key. The key is not
/// cached: the four HMACs take a microsecond together, as long as a look-up in a cache that all cores share.
fn derived_key(secret: &Secret, scope: &str) -> hmac::Key {
    let first = Secret::new([b"AWS4", secret.expose()].concat());
    let first = hmac::Key::new(hmac::HMAC_SHA256, first.expose());
    scope.split('/').fold(first, |key, part| {
        let derived = hmac::sign(&key, part.as_bytes());
        hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
    })
}

impl Aws4 {
    fn claim(&self, request: &SignedRequest<'_>) -> Result<Option<Claim>, Wrong> {
        let header = credentials(request.headers, claimed::ALGORITHM)?;
        let is_presigned = claimed::is_presigned(request.query());
        if header.is_none() && !is_presigned {
            return Ok(None);
        }
        let query = Query::read(request.query())?;
        let claimed = match header {
            Some(_) if is_presigned => return Err(Wrong::malformed("signed in the header and in the query")),
            Some(header) => Claimed::in_header(header, request.headers)?,
            None => Claimed::in_query(&query)?,
        };
        self.check_scope(&claimed)?;
        self.check_presigned(&claimed)?;
        self.check_covered(&claimed, request.headers, &query)?;
        let payload = Payload::read(&claimed, request.headers, &query, &self.service)?;
        Ok(Some(Claim {
            key_id: Some(claimed.access_key.to_owned()),
            signatures: vec![claimed.signature.to_vec()],
            algorithm: Some(Algorithm::HmacSha256),
            created: Some(claimed.created),
            expires: claimed.lifetime.map(|lifetime| claimed.created.after(lifetime)),
            is_presigned,
            nonce: None,
            message: self.message(&claimed, request, &query, &payload)?,
            body: payload.into_use(),
            scope: claimed.scope.to_owned(),
        }))
    }

    fn check_scope(&self, claimed: &Claimed<'_>) -> Result<(), Wrong> {
        if claimed.region != self.region || claimed.service != self.service {
            return Err(Wrong { reason: Reason::AudienceMismatch, why: "signed for another region or service" });
        }
        Ok(())
    }

    fn check_presigned(&self, claimed: &Claimed<'_>) -> Result<(), Wrong> {
        let Some(lifetime) = claimed.lifetime else { return Ok(()) };
        match self.presigned {
            None => Err(Wrong::malformed("a presigned URL, which the policy does not take")),
            Some(longest) if lifetime > longest.0 => Err(Wrong {
                reason: Reason::SignatureStale,
                why: "a presigned URL that holds for longer than the policy takes",
            }),
            Some(_) => Ok(()),
        }
    }

    /// Checks that the signature covers `host`, the date and all that AWS reads: any of these that is not signed could
    /// be changed on the way.
    fn check_covered(&self, claimed: &Claimed<'_>, headers: &HeaderMap, query: &Query) -> Result<(), Wrong> {
        let is_signed = |name: &str| claimed.signed_headers.contains(&name);
        if !is_signed("host") || !self.signed_headers.iter().all(|name| is_signed(name.as_str())) {
            return Err(Wrong::incomplete("a header that has to be signed is not"));
        }
        let mut of_aws = headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with("x-amz-"));
        if !of_aws.all(is_signed) {
            return Err(Wrong::incomplete("an x-amz-* header that is not signed"));
        }
        if headers.contains_key("x-amz-security-token") || query.has(claimed::SECURITY_TOKEN) {
            return Err(Wrong {
                reason: Reason::SigningKeyUnknown,
                why: "temporary credentials (X-Amz-Security-Token)",
            });
        }
        Ok(())
    }

    /// The start of the string to sign, followed by the canonical request: [`Aws4::verify`] puts the hash of it at the
    /// end.
    fn message(
        &self,
        claimed: &Claimed<'_>,
        request: &SignedRequest<'_>,
        query: &Query,
        payload: &Payload,
    ) -> Result<Message, Wrong> {
        let head = format!("{}\n{}\n{}\n", claimed::ALGORITHM, claimed.date, claimed.scope);
        let path = canonical::path(request.path(), self.path_encoding)?;
        let query = query.canonical(claimed::SIGNATURE);
        let mut canonical = format!("{}\n{path}\n{query}\n", request.method).into_bytes();
        canonical::headers(&claimed.signed_headers, request.headers, &mut canonical)?;
        canonical.push(b'\n');
        canonical.extend_from_slice(claimed.signed_headers.join(";").as_bytes());
        canonical.push(b'\n');
        Ok(Message(vec![Piece::Bytes(head.into_bytes()), Piece::Bytes(canonical), payload.piece()]))
    }
}

/// The part of the canonical request that stands for the body.
enum Payload {
    /// The hash that the client declares for the body: as it is written, and decoded.
    Declared(String, BodyDigest),
    /// `UNSIGNED-PAYLOAD`: the signature does not cover the body.
    Unsigned,
    /// The hash of the body itself, which no header declares.
    OfBody,
}

impl Payload {
    const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

    fn read(claimed: &Claimed<'_>, headers: &HeaderMap, query: &Query, service: &str) -> Result<Self, Wrong> {
        let header = claimed::single(headers, "x-amz-content-sha256")?;
        let parameter = if claimed.lifetime.is_some() { query.value("X-Amz-Content-Sha256")? } else { None };
        let written = match (header, parameter) {
            (Some(_), Some(_)) => return Err(Wrong::malformed("the payload's hash in the header and in the query")),
            (Some(written), None) | (None, Some(written)) => written,
            // AWS: "You don't include a payload hash in the canonical request" of a presigned URL of S3.
            (None, None) if claimed.lifetime.is_some() && service == "s3" => Self::UNSIGNED,
            (None, None) => return Ok(Self::OfBody),
        };
        if written == Self::UNSIGNED {
            return Ok(Self::Unsigned);
        }
        if written.starts_with("STREAMING-") {
            return Err(Wrong::incomplete("a body signed chunk by chunk (STREAMING-...), which is not supported"));
        }
        let digest = hex::decode(written).ok().and_then(|value| BodyDigest::new(Hash::Sha256, value));
        let digest = digest.ok_or(Wrong::malformed("the payload's hash is no SHA-256"))?;
        Ok(Self::Declared(written.to_owned(), digest))
    }

    fn piece(&self) -> Piece {
        match self {
            Self::Declared(written, _) => Piece::Bytes(written.clone().into_bytes()),
            Self::Unsigned => Piece::Bytes(Self::UNSIGNED.into()),
            Self::OfBody => Piece::BodyHash(Hash::Sha256),
        }
    }

    fn into_use(self) -> BodyUse {
        match self {
            Self::Declared(_, digest) => BodyUse::Declared(vec![digest]),
            Self::Unsigned => BodyUse::NotCovered,
            Self::OfBody => BodyUse::InMessage,
        }
    }
}

#[cfg(test)]
mod tests;
