//! The record of signatures that were taken: a captured request cannot be sent again.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use portcullis_plugin::{
    Identity, PluginError, Store,
    store::{Put, Space},
};

use crate::scheme::{Claim, MessagePieces};

/// Of no policy: a request that one of them has taken is not new to the next.
/// How far the wall clock may be set back without a captured request being taken again. The store keeps time by another
/// clock, and a claim is judged by this one.
const CLOCK_STEP_MAX: Duration = Duration::from_secs(60);

static SIGNATURES: Space = Space::replay("signature");

/// Remembers signatures that were taken, for as long as they are valid.
pub(crate) struct Seen(pub Arc<dyn Store>);

impl Seen {
    /// Puts this claim on record, and returns `true` if it was not there yet. Of several requests with one signature,
    /// at the same time or one after the other, exactly one gets `true`.
    ///
    /// # Errors
    /// The store could not be asked, or is full.
    pub(crate) async fn is_first(&self, name: &str, left: Duration) -> Result<bool, PluginError> {
        let keep = left.saturating_add(CLOCK_STEP_MAX);
        Ok(self.0.put(Put::mark(SIGNATURES.key(name.as_bytes()), keep)).get().await?)
    }
}

/// Returns the name of a claim in the store. It is a digest, so that the store shows no nonce.
///
/// It is made of who signed, by which key, and of the nonce; or of who signed and of the whole message where there is no
/// nonce. The key's name is no part of it then: in `timestamp` it stands in a header that is not signed, and a captured
/// request without that header would be new.
///
/// It is *not* made of the signature. Of an ECDSA signature there is a second form that anybody can compute; and where a
/// client sends one signature by its old secret and one by its new, either could be sent again without the other. Nor is
/// the policy part of it: a route may try several, and a request that one of them has taken is not new to the next.
pub(crate) fn name(claim: &Claim, identity: &Identity, message: &MessagePieces<'_>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let consumer = identity.consumer.as_ref().map_or("", |consumer| &consumer.name);
    part(&mut context, consumer.as_bytes());
    match &claim.nonce {
        Some(nonce) => {
            part(&mut context, b"nonce");
            part(&mut context, claim.key_id.as_deref().unwrap_or_default().as_bytes());
            part(&mut context, nonce.as_bytes());
        }
        None => {
            part(&mut context, b"message");
            message.iter().for_each(|piece| context.update(piece));
        }
    }
    BASE64_URL_SAFE_NO_PAD.encode(context.finish())
}

/// Adds a part with its length before it, so that no two sequences of parts are the same bytes.
fn part(context: &mut digest::Context, bytes: &[u8]) {
    context.update(&bytes.len().to_be_bytes());
    context.update(bytes);
}

#[cfg(test)]
mod tests;
