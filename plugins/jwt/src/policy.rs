//! Judges requests.
//!
//! A token that was seen before costs a digest and a few look-ups, and is answered at once. One that was not is read,
//! given to its issuer, verified and judged; only then is it remembered.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use portcullis_jose::{
    Binding, CertificateBinding, Key, KeySet, Times, Token, TokenDigest, Unverified, Verified, VerifiedTokens,
    remote::KeysUnavailable,
};
use portcullis_plugin::{
    Answer, Attempt, Attempts, Authenticate, Authentication, Challenge, Claimed, Claims, ClientCert, Denial, Found,
    Identity, OpenStream, Places, PluginError, Reason, RequestCx, Revocation, RevocationKeys, Revocations, StoreError,
    UnixTime, Verifications, http::HeaderName, serde_json::Value,
};

use crate::{
    challenges::Challenges,
    issuer::{Issuer, Verification},
    issuers::Issuers,
    mapping::claimed,
};

/// One policy, ready to judge requests.
pub(crate) struct Policy {
    pub(crate) places: Places,
    pub(crate) hidden: Places,
    pub(crate) challenges: Challenges,
    pub(crate) issuers: Issuers,
    pub(crate) tokens: VerifiedTokens<Known>,
    pub(crate) revocations: Revocations,
    pub(crate) attempts: Attempts,
    pub(crate) verifications: Verifications,
    pub(crate) max_token_bytes: usize,
}

/// A token whose signature was right and whose claims were taken, as it is remembered.
pub(crate) struct Known {
    identity: Arc<Identity>,
    times: Times,
    issuer: Arc<Issuer>,
    revocation: RevocationKeys,
    binding: Binding,
}

impl Known {
    fn refused(&self, reason: Reason) -> Judgement {
        let denial = Denial::unauthorized(reason).claiming(Claimed::once(self.identity.clone()));
        Ok(Authentication::Denied(denial))
    }
}

/// A token's digest, its sender, its time and its connection.
struct Sent<'c> {
    digest: TokenDigest,
    bytes: usize,
    address: IpAddr,
    now: UnixTime,
    certificate: Result<Option<&'c ClientCert>, Reason>,
}

type Judgement = Result<Authentication, PluginError>;

fn denied(reason: Reason, detail: &'static str) -> Judgement {
    Ok(Authentication::Denied(Denial::unauthorized(reason).detailed(detail)))
}

/// A token that can be read, but not taken.
fn refused(reason: Reason, claims: &Claims) -> Denial {
    Denial::unauthorized(reason).claiming(claimed(claims))
}

/// An issuer whose keys cannot be had: the token can be neither taken nor refused.
fn keyless(error: &KeysUnavailable) -> PluginError {
    PluginError::new(error.to_string())
}

impl Authenticate for Policy {
    fn authenticate<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Judgement> {
        let cx = &*cx;
        let token = match self.places.find(cx.head()) {
            Found::Absent => return Answer::Now(Ok(Authentication::Absent)),
            Found::Conflict => return Answer::Now(denied(Reason::TokenConflict, "two tokens")),
            Found::One(token) if token.len() > self.max_token_bytes => {
                return Answer::Now(denied(Reason::TokenMalformed, "longer than `max_token_bytes`"));
            }
            Found::One(token) => token,
        };
        // The cache is this policy's own and ends with it, so that the policy need not be part of the digest.
        let digest = TokenDigest::of(&[0; 32], &token);
        let sent =
            Sent { digest, bytes: token.len(), address: cx.address(), now: cx.now(), certificate: cx.certificate() };
        match self.find(&sent) {
            Ok(Some(known)) => self.recheck(known, &sent),
            Ok(None) => self.begin(token, sent),
            Err(error) => Answer::Now(Err(keyless(&error))),
        }
    }

    fn recheck<'a>(&'a self, stream: &'a OpenStream<'a>) -> Answer<'a, Judgement> {
        Answer::later(self.rejudge(stream))
    }

    fn challenges(&self, _: &RequestCx<'_>, attempt: Attempt) -> Vec<Challenge> {
        vec![self.challenges.of(attempt)]
    }

    fn hidden(&self) -> Places {
        self.hidden.clone()
    }

    fn places(&self) -> Places {
        self.places.clone()
    }

    fn headers(&self) -> Vec<HeaderName> {
        let mut names: Vec<_> = self.issuers.iter().flat_map(|issuer| &issuer.headers).map(|(name, _)| name).collect();
        names.sort_by_key(|name| name.as_str());
        names.dedup();
        names.into_iter().cloned().collect()
    }

    fn heeds(&self, revocation: &Revocation) -> bool {
        let issuer = self.issuers.named(revocation.issuer());
        issuer.is_some_and(|issuer| match revocation {
            Revocation::Version { .. } => issuer.version_claim.is_some(),
            _ => true,
        })
    }

    /// Returns `true` if every token has to be bound. Any other bound token is compared with whatever certificate the
    /// connection has.
    fn needs_certificate(&self) -> bool {
        self.issuers.iter().any(|issuer| issuer.binding == CertificateBinding::Required)
    }
}

impl Policy {
    /// Returns a remembered token, unless its key was withdrawn.
    fn find(&self, sent: &Sent<'_>) -> Result<Option<Arc<Verified<Known>>>, KeysUnavailable> {
        let Some(known) = self.tokens.look(&sent.digest) else { return Ok(None) };
        if known.value.times.check(sent.now).is_err() {
            // It will be refused without another look at its signature.
            return Ok(Some(known));
        }
        let keys = known.value.issuer.keys.current()?;
        Ok(known.counts(&keys, sent.now).then_some(known))
    }

    /// Judges a remembered token again: the clock, the connection and the revocations are asked each time, as a token
    /// that has ended or was revoked must not live on in the cache.
    fn recheck(&self, known: Arc<Verified<Known>>, sent: &Sent<'_>) -> Answer<'_, Judgement> {
        let times = known.value.times.check(sent.now);
        if let Err(reason) = times.and_then(|()| known.value.binding.check(sent.certificate)) {
            return Answer::Now(known.value.refused(reason));
        }
        if let Answer::Now(found) = self.revocations.check(&known.value.revocation) {
            return Answer::Now(settle(found, &known));
        }
        // The store is elsewhere. The future above was not polled, and so has asked nothing; this one owns its keys.
        Answer::later(async move {
            let found = self.revocations.check(&known.value.revocation).get().await;
            settle(found, &known)
        })
    }

    /// Refuses at once a credential that is no token of any issuer here, such as a key that shares the scheme; the rest
    /// takes longer.
    fn begin<'a>(&'a self, token: Cow<'a, [u8]>, sent: Sent<'a>) -> Answer<'a, Judgement> {
        match token {
            Cow::Borrowed(bytes) => match self.open(bytes) {
                Ok((token, issuer)) => Answer::later(self.judge(token, issuer, sent)),
                Err(denial) => Answer::Now(Ok(Authentication::Denied(denial))),
            },
            Cow::Owned(bytes) => Answer::later(async move {
                match self.open(&bytes) {
                    Ok((token, issuer)) => self.judge(token, issuer, sent).await,
                    Err(denial) => Ok(Authentication::Denied(denial)),
                }
            }),
        }
    }

    /// Parses a token and finds its issuer, which takes no key.
    fn open<'t>(&self, bytes: &'t [u8]) -> Result<(Token<'t>, Arc<Issuer>), Denial> {
        let token = Token::parse_within(bytes, self.max_token_bytes)?;
        let issuer = self.issuers.of(token.claims()).and_then(|issuer| {
            let is_allowed = issuer.algorithms.contains(&token.algorithm());
            if is_allowed { Ok(issuer.clone()) } else { Err(Reason::AlgorithmNotAllowed) }
        });
        match issuer {
            Ok(issuer) => Ok((token, issuer)),
            Err(reason) => Err(refused(reason, token.claims())),
        }
    }

    /// Judges a token of an open stream again: everything but its signature, whose key still has to be there.
    async fn rejudge(&self, stream: &OpenStream<'_>) -> Judgement {
        let (Some(claims), Some(verification)) = (&stream.identity.claims, stream.identity.proof.get::<Verification>())
        else {
            return Ok(OpenStream::changed());
        };
        let denied = |reason| Ok(Authentication::Denied(Denial::unauthorized(reason)));
        let issuer = match self.issuers.of(claims) {
            Ok(issuer) if issuer.algorithms.contains(&verification.algorithm) => issuer,
            Ok(_) => return denied(Reason::AlgorithmNotAllowed),
            Err(reason) => return denied(reason),
        };
        if !issuer.keys.current().map_err(|error| keyless(&error))?.has(verification.key) {
            return denied(Reason::SigningKeyUnknown);
        }
        let judged = match issuer.judge_claims(claims.clone(), verification.clone(), stream.now) {
            Ok(judged) => judged,
            Err(denial) => return Ok(Authentication::Denied(denial)),
        };
        if let Err(reason) = judged.binding.check(stream.certificate) {
            return denied(reason);
        }
        match self.revocations.check(&judged.revocation).get().await? {
            Some(reason) => denied(reason),
            None => Ok(Authentication::Granted(Arc::new(judged.identity))),
        }
    }

    /// Judges a token that is not remembered.
    async fn judge(&self, token: Token<'_>, issuer: Arc<Issuer>, sent: Sent<'_>) -> Judgement {
        let principal = principal(&token);
        let principal = principal.as_deref();
        if let Err(wait) = self.attempts.check(sent.address, principal).get().await {
            return Ok(Authentication::Denied(Denial::too_many_attempts(wait).claiming(claimed(token.claims()))));
        }
        let (current, newer) = (issuer.keys.current(), OnceLock::new());
        let asked = Asked { token: &token, issuer: &issuer, address: sent.address, principal };
        let key = match self.verified(&current, &newer, &asked).await? {
            Ok(key) => key,
            Err(unverified) => {
                let denial = refused(unverified.reason(), token.claims());
                // A key that is unknown says nothing of whoever sends the token: it may have been withdrawn.
                return Ok(Authentication::Denied(match unverified {
                    Unverified::SignatureInvalid => {
                        denial.counting(self.attempts.failed(sent.address, principal, token.signature()))
                    }
                    Unverified::KeyUnknown | Unverified::AlgorithmNotAllowed => denial,
                }));
            }
        };
        let keys = newer.get().or(current.as_ref().ok());
        let cost = keys.map(|keys| keys.cost(&token)).unwrap_or_default();
        let judged = match issuer.judge(token, key.id(), sent.now) {
            Ok(judged) => judged,
            Err(denial) => return Ok(Authentication::Denied(denial)),
        };
        // Only now: an old token, though rightly signed, must not undo the failures of whoever guesses.
        self.attempts.succeeded(sent.address, principal);
        self.verifications.succeeded(cost, sent.address, principal);
        let ends = judged.times.ends();
        let identity = Arc::new(judged.identity);
        let known =
            Known { identity, times: judged.times, issuer, revocation: judged.revocation, binding: judged.binding };
        self.recheck(self.tokens.keep(sent.digest, sent.bytes, key, ends, known), &sent).get().await
    }
    /// The key that made the signature. An issuer whose key we do not know is asked for it, as often as its source allows.
    async fn verified<'k>(
        &self,
        current: &'k Result<Arc<KeySet>, KeysUnavailable>,
        newer: &'k OnceLock<Arc<KeySet>>,
        asked: &Asked<'_>,
    ) -> Result<Result<&'k Key, Unverified>, PluginError> {
        let Asked { token, issuer, .. } = asked;
        let verdict = match current {
            Ok(keys) => self.verify(keys, asked).await?,
            Err(_) => Err(Unverified::KeyUnknown),
        };
        match verdict {
            Err(why) if why.may_be_newer(token) => {
                let keys = issuer.keys.refreshed_for(token.kid()).await.map_err(|error| keyless(&error))?;
                self.verify(newer.get_or_init(|| keys), asked).await
            }
            verdict => Ok(verdict),
        }
    }

    /// Verifies with these keys, in its turn where that is expensive.
    async fn verify<'k>(
        &self,
        keys: &'k KeySet,
        asked: &Asked<'_>,
    ) -> Result<Result<&'k Key, Unverified>, PluginError> {
        let Asked { token, issuer, address, principal } = *asked;
        self.verifications.run(keys.cost(token), address, principal, || keys.verify(token, &issuer.algorithms)).await
    }
}

/// A token whose signature has to be verified, and its sender.
struct Asked<'a> {
    token: &'a Token<'a>,
    issuer: &'a Issuer,
    address: IpAddr,
    principal: Option<&'a [u8]>,
}

fn settle(revoked: Result<Option<Reason>, StoreError>, known: &Verified<Known>) -> Judgement {
    match revoked {
        Ok(None) => Ok(Authentication::Granted(known.value.identity.clone())),
        Ok(Some(reason)) => known.value.refused(reason),
        Err(error) => Err(error.into()),
    }
}

/// Returns the principal that failures are counted for: the token's subject, which nothing has proven yet. A token may
/// have none.
fn principal(token: &Token<'_>) -> Option<Vec<u8>> {
    let text = |claim: &str| token.claims().get(claim).and_then(Value::as_str);
    Some([text("iss").unwrap_or_default(), "\0", text("sub")?].concat().into_bytes())
}
