//! The frame: the steps that are the same for every scheme.
//!
//! The order matters. Checks that cost nothing come first (limits on attempts, the clock, whether the key is known),
//! then the signature, then the body, and last the record of what was seen: only a request that was right in everything
//! else is remembered, so that nobody can use up a signature that they could not have made.
//!
//! A body that has to be read before the proof takes memory that all requests share: strangers leave some of it to
//! those who have signed rightly before. Where the policy limits attempts, a request holds a place among the
//! [attempts](crate::attempted_keys) that are under way while its body is waited for, and where it proves nothing it
//! has failed.
//!
//! A body is read whole and verified before the upstream is connected, however it is framed: chunked bodies must not
//! get around the digest. There is no other way out of [`Signatures::check_body`] but a refusal.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use portcullis_plugin::{
    Answer, Attempt, Attempts, Authenticate, Authentication, BodyError, BuildCx, Challenge, Claimed, Cost, Denial,
    Identity, KnownCallers, OpenStream, Places, PluginError, Reason, RequestCx, UnixTime, Verifications, bytes::Bytes,
    http::header,
};

use crate::{
    attempted_keys::AttemptedKeys,
    body::BodyDigest,
    clock::Clock,
    config::{BodyRule, Config, Replay},
    keyring::{Keyring, KnownKey},
    refused::Refused,
    replay::{self, Seen},
    scheme::{BodyUse, Claim, Reading, Scheme, SignedRequest, Wrong},
};

/// One policy, ready to judge requests.
pub(crate) struct Signatures {
    scheme: Box<dyn Scheme>,
    keyring: Keyring,
    clock: Clock,
    seen: Option<Seen>,
    body: BodyRule,
    max_body_bytes: usize,
    attempts: Attempts,
    known: KnownCallers,
    verifications: Verifications,
    challenge: Challenge,
    hidden: Places,
}

/// A claim that is within its time, and the keys that may have made it.
struct Candidate<'k> {
    claim: Claim,
    /// The time for which it will still be taken; `None` where signatures have no time.
    left: Option<Duration>,
    keys: &'k [KnownKey],
}

impl Candidate<'_> {
    /// The most time that it takes to verify it.
    fn cost(&self) -> Cost {
        self.keys.iter().map(|known| known.key.cost(self.claim.signatures.len())).sum()
    }
}

/// A claim whose signature is right.
struct VerifiedClaim<'k> {
    claim: Claim,
    identity: &'k Arc<Identity>,
    /// Its name in the store, and for how long.
    seen: Option<(String, Duration)>,
}

impl Signatures {
    /// Makes a policy with the credentials that open it.
    pub(crate) fn new(config: &Config, scheme: Box<dyn Scheme>, attempts: Attempts, cx: &mut BuildCx<'_>) -> Self {
        let is_kept = scheme.has_time() && config.replay != Some(Replay::Allow);
        Self {
            keyring: Keyring::new(&*scheme, cx),
            clock: config.clock(),
            seen: is_kept.then(|| Seen(cx.store())),
            body: config.body,
            max_body_bytes: config.max_body_bytes(cx.max_held_body_bytes()),
            attempts: attempts.for_bodies(),
            known: KnownCallers::new(cx),
            verifications: Verifications::new(cx),
            challenge: scheme.challenge(),
            hidden: if config.keep_credential { Places::default() } else { scheme.places() },
            scheme,
        }
    }

    /// Judges the claims. A refusal names the keys that were claimed.
    async fn judge(&self, cx: &mut RequestCx<'_>, claims: Vec<Claim>) -> Result<Arc<Identity>, Refused> {
        let claimed = Claimed::by_key_ids(claims.iter().filter_map(|claim| claim.key_id.as_deref()));
        self.judge_claims(cx, claims).await.map_err(|refused| refused.claiming(claimed))
    }

    async fn judge_claims(&self, cx: &mut RequestCx<'_>, mut claims: Vec<Claim>) -> Result<Arc<Identity>, Refused> {
        let (mut attempted, wait) = AttemptedKeys::begin(&self.attempts, cx.address(), &mut claims).await;
        if let Some(wait) = wait.filter(|_| claims.is_empty()) {
            return Err(Denial::too_many_attempts(wait).into());
        }
        match self.grant(cx, claims, &mut attempted).await {
            Ok(Granted { identity, right, wrong }) => {
                self.known.note(cx.address(), right.as_deref().map(str::as_bytes));
                attempted.granted(right.as_deref(), &wrong);
                Ok(identity)
            }
            Err(refused) => {
                let failed = attempted.refused(is_guess(&refused));
                // One of the claims that were not looked at might have been right.
                let refused = match (refused, wait.map(Denial::too_many_attempts)) {
                    (Refused::Denied(denial), Some(must_wait)) if denial.status < must_wait.status => must_wait.into(),
                    (refused, _) => refused,
                };
                Err(refused.counting(failed))
            }
        }
    }

    async fn grant(
        &self,
        cx: &mut RequestCx<'_>,
        claims: Vec<Claim>,
        attempted: &mut AttemptedKeys<'_>,
    ) -> Result<Granted, Refused> {
        let verified = self.verify(cx, claims, attempted).await?;
        self.accept(cx, verified, attempted).await
    }

    /// Returns the claims whose signatures are right, those of credentials that can be used here and now first; at
    /// least one.
    async fn verify(
        &self,
        cx: &mut RequestCx<'_>,
        claims: Vec<Claim>,
        attempted: &mut AttemptedKeys<'_>,
    ) -> Result<VerifiedClaims<'_>, Refused> {
        let candidates = self.candidates(cx, claims)?;
        let is_in_message = candidates.iter().any(|candidate| candidate.claim.body == BodyUse::InMessage);
        let held = if is_in_message { Some(self.read_body(cx, attempted).await?) } else { None };
        let body = held.as_deref().unwrap_or_default();
        let cost = candidates.iter().map(Candidate::cost).sum();
        let key_id = || Some(candidates.first()?.claim.key_id.as_ref()?.clone().into_bytes());
        let principal = (cost > Cost::FREE).then(key_id).flatten();
        let verify = || self.rights(cx, candidates, body);
        let (mut claims, wrong) = self.verifications.run(cost, cx.address(), principal.as_deref(), verify).await?;
        if claims.is_empty() {
            return Err(Denial::unauthorized(Reason::SignatureInvalid).into());
        }
        claims.sort_by_key(|verified| !is_usable(cx, verified.identity));
        Ok(VerifiedClaims { claims, wrong, held })
    }

    /// Splits the candidates into those that one of their keys made, and the names of the keys of all others.
    fn rights<'k>(
        &self,
        cx: &RequestCx<'_>,
        candidates: Vec<Candidate<'k>>,
        body: &[u8],
    ) -> (Vec<VerifiedClaim<'k>>, Vec<Option<String>>) {
        let (mut right, mut wrong) = (Vec::with_capacity(candidates.len()), Vec::new());
        for candidate in candidates {
            match self.right(cx, candidate, body) {
                Ok(verified) => right.push(verified),
                Err(key_id) => wrong.push(key_id),
            }
        }
        (right, wrong)
    }

    /// Returns the claims that are within their time and whose key is known; if there are none, the reason for the
    /// first.
    fn candidates(&self, cx: &RequestCx<'_>, claims: Vec<Claim>) -> Result<Vec<Candidate<'_>>, Refused> {
        let (mut candidates, mut denial) = (Vec::with_capacity(claims.len()), None);
        for claim in claims {
            match self.candidate(claim, cx.now()) {
                Ok(candidate) => candidates.push(candidate),
                Err(wrong) => _ = denial.get_or_insert_with(|| Denial::from(wrong)),
            }
        }
        match denial {
            Some(denial) if candidates.is_empty() => Err(denial.into()),
            _ => Ok(candidates),
        }
    }

    fn candidate(&self, claim: Claim, now: UnixTime) -> Result<Candidate<'_>, Wrong> {
        let left = if self.scheme.has_time() { Some(self.clock.left(&claim, now)?) } else { None };
        let keys = self.keyring.find(claim.key_id.as_deref());
        if keys.is_empty() {
            return Err(Wrong { reason: Reason::SigningKeyUnknown, why: "nobody has this key" });
        }
        Ok(Candidate { claim, left, keys })
    }

    /// Verifies a candidate with its keys. Where several of them made it, one whose credential can be used is chosen.
    /// The error has the name of the key.
    fn right<'k>(
        &self,
        cx: &RequestCx<'_>,
        candidate: Candidate<'k>,
        body: &[u8],
    ) -> Result<VerifiedClaim<'k>, Option<String>> {
        let Candidate { claim, left, keys } = candidate;
        let (known, seen) = {
            let message = claim.message.with_body(body);
            let mut made = keys.iter().filter(|known| self.scheme.verify(&known.key, &claim, &message));
            let first = made.next();
            let usable = |known: &&KnownKey| is_usable(cx, &known.identity);
            let known = first.filter(usable).or_else(|| first.and_then(|_| made.find(usable))).or(first);
            // Where nothing is remembered, the message is not hashed for it.
            let left = left.filter(|_| self.seen.is_some());
            let name = |known: &KnownKey| left.map(|left| (replay::name(&claim, &known.identity, &message), left));
            (known, known.and_then(name))
        };
        let Some(KnownKey { identity, .. }) = known else {
            return Err(claim.key_id);
        };
        Ok(VerifiedClaim { claim, identity, seen })
    }

    /// Returns the identity of the first claim that fits the body, unless one of the claims was seen before.
    async fn accept(
        &self,
        cx: &mut RequestCx<'_>,
        verified: VerifiedClaims<'_>,
        attempted: &mut AttemptedKeys<'_>,
    ) -> Result<Granted, Refused> {
        let VerifiedClaims { mut claims, wrong, mut held } = verified;
        let mut refused = None;
        for at in 0..claims.len() {
            match self.check_body(cx, &claims[at].claim.body, &mut held, attempted).await {
                Ok(()) => {
                    self.remember(&mut claims).await?;
                    let VerifiedClaim { claim, identity, .. } = claims.swap_remove(at);
                    return Ok(Granted { identity: Arc::clone(identity), right: claim.key_id, wrong });
                }
                Err(why) => _ = refused.get_or_insert(why),
            }
        }
        Err(refused.unwrap_or_else(|| Denial::unauthorized(Reason::SignatureInvalid).into()))
    }

    /// Puts all claims on record: each could be sent again without the others. Equal claims are put there once.
    async fn remember(&self, claims: &mut [VerifiedClaim<'_>]) -> Result<(), Refused> {
        let Some(record) = &self.seen else { return Ok(()) };
        let mut seen: Vec<_> = claims.iter_mut().filter_map(|verified| verified.seen.take()).collect();
        seen.sort();
        seen.dedup_by(|a, b| a.0 == b.0);
        for (name, left) in &seen {
            if !record.is_first(name, *left).await? {
                return Err(Denial::unauthorized(Reason::SignatureReplayed).into());
            }
        }
        Ok(())
    }

    /// Checks that the body is the one that was signed. Absent and empty are the same.
    async fn check_body(
        &self,
        cx: &mut RequestCx<'_>,
        used: &BodyUse,
        held: &mut Option<Bytes>,
        attempted: &mut AttemptedKeys<'_>,
    ) -> Result<(), Refused> {
        let not_covered = || Wrong::incomplete("there is a body, and the signature does not cover it");
        match used {
            BodyUse::InMessage => return Ok(()),
            BodyUse::NotCovered if self.body == BodyRule::Unsigned => return Ok(()),
            BodyUse::NotCovered if is_surely_there(cx) => return Err(not_covered().into()),
            BodyUse::NotCovered | BodyUse::Declared(_) => {}
        }
        let body = match held {
            Some(body) => body,
            None => held.insert(self.read_body(cx, attempted).await?),
        };
        match used {
            BodyUse::Declared(digests) => fits(digests, body).map_err(|reason| Denial::unauthorized(reason).into()),
            BodyUse::NotCovered if !body.is_empty() => Err(not_covered().into()),
            BodyUse::NotCovered | BodyUse::InMessage => Ok(()),
        }
    }

    /// Reads the body. A body that is here already takes no place.
    async fn read_body(&self, cx: &mut RequestCx<'_>, attempted: &mut AttemptedKeys<'_>) -> Result<Bytes, Refused> {
        if attempted.principals().any(|principal| self.known.has(cx.address(), principal)) {
            cx.vouch();
        }
        let (body, was_awaited) = {
            let mut reading = pin!(cx.body(self.max_body_bytes));
            match poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await {
                Poll::Ready(body) => (body, false),
                Poll::Pending => {
                    attempted.take_places().await?;
                    (reading.await, true)
                }
            }
        };
        match body {
            Ok(body) => Ok(body),
            Err(BodyError::TooLarge) => {
                // The head did not announce it, and as much as the limit was held for nothing.
                if was_awaited {
                    attempted.fail();
                }
                Err(Denial::body_too_large().into())
            }
            Err(error @ BodyError::NoRoom) => Err(PluginError::new(error.to_string()).into()),
            Err(BodyError::Broken(_)) => {
                attempted.fail();
                Err(Wrong::malformed("the body could not be read").into())
            }
        }
    }
}

/// The result of [`Signatures::verify`].
struct VerifiedClaims<'k> {
    claims: Vec<VerifiedClaim<'k>>,
    /// The names of known keys that did not make the signatures in their name.
    wrong: Vec<Option<String>>,
    /// The body, if it had to be read for it.
    held: Option<Bytes>,
}

/// A request that is granted.
struct Granted {
    identity: Arc<Identity>,
    /// The name of the key that signed.
    right: Option<String>,
    /// The names of known keys that did not make the signatures in their name.
    wrong: Vec<Option<String>>,
}

/// Returns `true` for a failed attempt to prove an identity, and `false` for a request that nobody could have signed
/// right.
fn is_guess(refused: &Refused) -> bool {
    let is = |reason| matches!(reason, Reason::SignatureInvalid | Reason::SigningKeyUnknown | Reason::DigestMismatch);
    matches!(refused, Refused::Denied(denial) if is(denial.reason))
}

/// Returns `true` if the engine will have nothing against the credential.
fn is_usable(cx: &RequestCx<'_>, identity: &Identity) -> bool {
    let objection = |credential: &Arc<portcullis_plugin::Credential>| {
        credential.objection(cx.now(), cx.route(), cx.address()).is_some()
    };
    !identity.credentials.iter().any(objection)
}

/// Returns `true` if the head says that there is a body. Where it says nothing there may be one all the same.
fn is_surely_there(cx: &RequestCx<'_>) -> bool {
    cx.headers().get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes().iter().any(|digit| *digit != b'0'))
}

/// Checks that every one of these is a digest of the body.
fn fits(digests: &[BodyDigest], body: &[u8]) -> Result<(), Reason> {
    // A list without digests would fit every body.
    let is_right = !digests.is_empty() && digests.iter().all(|digest| digest.fits(body));
    if is_right { Ok(()) } else { Err(Reason::DigestMismatch) }
}

impl Authenticate for Signatures {
    fn authenticate<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Authentication, PluginError>> {
        let request = SignedRequest {
            method: cx.method(),
            target: cx.received_target(),
            headers: cx.headers(),
            is_https: cx.is_https(),
        };
        let claims = match self.scheme.read(&request) {
            Reading::Absent => return Answer::Now(Ok(Authentication::Absent)),
            Reading::Wrong(wrong) => return Answer::Now(Ok(Authentication::Denied(wrong.into()))),
            Reading::Presented(claims) => claims,
        };
        Answer::later(async move {
            match self.judge(cx, claims).await {
                Ok(identity) => Ok(Authentication::Granted(identity)),
                Err(Refused::Denied(denial)) => Ok(Authentication::Denied(denial)),
                Err(Refused::Failed(error)) => Err(error),
            }
        })
    }

    /// The signature cannot be made again, but its key can be looked for.
    fn recheck<'a>(&'a self, stream: &'a OpenStream<'a>) -> Answer<'a, Result<Authentication, PluginError>> {
        Answer::Now(Ok(match self.keyring.find_again(stream.identity) {
            _ if !stream.has_same_settings => OpenStream::changed(),
            Some(identity) => Authentication::Granted(identity.clone()),
            // The credential is there, and its secret is another one.
            None => Authentication::Denied(Denial::unauthorized(Reason::CredentialWithdrawn)),
        }))
    }

    fn challenges(&self, _: &RequestCx<'_>, _: Attempt) -> Vec<Challenge> {
        vec![self.challenge.clone()]
    }

    fn hidden(&self) -> Places {
        self.hidden.clone()
    }

    fn places(&self) -> Places {
        self.scheme.places()
    }
}

#[cfg(test)]
mod tests;
