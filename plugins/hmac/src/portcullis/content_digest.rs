//! `Content-Digest` (RFC 9530 section 2).

use portcullis_plugin::http::{HeaderMap, HeaderName};
use sfv::BareItemFromInput;

use super::dictionary::{self, Member, Value};
use crate::{
    body::{BodyDigest, Hash},
    scheme::Wrong,
};

/// The header.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// The digests in a request's `Content-Digest` that are known here: at least one, and the body has to fit all of them.
/// Those of other algorithms are passed over, as section 2 has it; MD5 and SHA-1 are among these.
pub(super) fn read(headers: &HeaderMap) -> Result<Vec<BodyDigest>, Wrong> {
    let field = dictionary::field(headers, &CONTENT_DIGEST)?;
    let members = dictionary::parse(&field.ok_or(Wrong::incomplete("Content-Digest is absent"))?)?
        .iter()
        .filter_map(known)
        .collect::<Result<Vec<_>, _>>()?;
    if members.is_empty() {
        Err(Wrong::incomplete("Content-Digest has neither sha-256 nor sha-512"))
    } else {
        Ok(members)
    }
}

fn known(member: &Member<'_>) -> Option<Result<BodyDigest, Wrong>> {
    let hash = match member.key {
        "sha-256" => Hash::Sha256,
        "sha-512" => Hash::Sha512,
        _ => return None,
    };
    let digest = match &member.value {
        Value::Item(item) => match &item.value {
            BareItemFromInput::ByteSequence(value) => BodyDigest::new(hash, value.clone()),
            _ => None,
        },
        Value::List(_) => None,
    };
    Some(digest.ok_or(Wrong::malformed("a digest is no bytes, or too long or too short")))
}

#[cfg(test)]
mod tests;
