//! Counts failed attempts for every key that a request names, where a policy limits them.
//!
//! A request may carry several signatures. Were only the first one's key looked at, a signature by a key that nobody has,
//! put in front, would take guesses at all the others off the record.
//!
//! A body that is waited for takes memory before anything is proven. So it takes a place among the attempts that are under
//! way, and one that breaks off, or proves nothing, is a failure like a wrong signature: who does that again and again is
//! refused before a byte of the next one is read.

use std::{net::IpAddr, time::Duration};

use portcullis_plugin::{Attempts, Begun, Denial, FailedAttempt};

use crate::{refused::Refused, scheme::Claim};

/// The keys that one request names, each once.
pub(crate) struct AttemptedKeys<'a> {
    attempts: &'a Attempts,
    address: IpAddr,
    keys: Vec<AttemptedKey>,
    /// The number of signatures that were tried.
    signatures: usize,
    /// The keys that were tried have failed, whatever the request is refused for.
    has_failed: bool,
}

/// A key, and all signatures that are said to be by it.
struct AttemptedKey {
    /// `None` where the scheme does not say.
    key_id: Option<String>,
    proof: Vec<u8>,
    /// Its place, once a body is waited for. If the client leaves meanwhile, the attempt has failed.
    begun: Option<Begun>,
}

impl AttemptedKey {
    fn principal(&self) -> Option<&[u8]> {
        self.key_id.as_deref().map(str::as_bytes)
    }

    fn failed(self, attempts: &Attempts, address: IpAddr) -> FailedAttempt {
        match self.begun {
            Some(begun) => begun.failed(),
            None => attempts.failed(address, self.principal(), &self.proof),
        }
    }
}

impl<'a> AttemptedKeys<'a> {
    /// Takes claims by keys that have to wait out of `claims`, and returns the longest wait.
    pub(crate) async fn begin(
        attempts: &'a Attempts,
        address: IpAddr,
        claims: &mut Vec<Claim>,
    ) -> (Self, Option<Duration>) {
        let mut attempted = Self { attempts, address, keys: Vec::with_capacity(1), signatures: 0, has_failed: false };
        let (mut waiting, mut longest): (Vec<Option<String>>, _) = (Vec::new(), None);
        for claim in std::mem::take(claims) {
            if waiting.contains(&claim.key_id) {
                continue;
            }
            let wait = match attempted.keys.iter().any(|tried| tried.key_id == claim.key_id) {
                true => Ok(()),
                false => attempts.check(address, claim.key_id.as_deref().map(str::as_bytes)).get().await,
            };
            match wait {
                Ok(()) => {
                    attempted.add(&claim);
                    claims.push(claim);
                }
                Err(wait) => {
                    waiting.push(claim.key_id);
                    longest = longest.max(Some(wait));
                }
            }
        }
        (attempted, longest)
    }

    fn add(&mut self, claim: &Claim) {
        self.signatures += claim.signatures.len();
        let known = self.keys.iter_mut().find(|tried| tried.key_id == claim.key_id);
        match known {
            Some(tried) => tried.proof.extend(claim.signatures.iter().flatten()),
            None => {
                let (key_id, proof) = (claim.key_id.clone(), claim.signatures.concat());
                self.keys.push(AttemptedKey { key_id, proof, begun: None });
            }
        }
    }

    /// The keys, by which failures are counted.
    pub(crate) fn principals(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.keys.iter().map(AttemptedKey::principal)
    }

    /// Takes a place for each key, as a body has to be waited for.
    pub(crate) async fn take_places(&mut self) -> Result<(), Refused> {
        for tried in self.keys.iter_mut().filter(|tried| tried.begun.is_none()) {
            let begun = self.attempts.begin(self.address, tried.principal(), &tried.proof).get().await;
            tried.begun = Some(begun.map_err(Denial::too_many_attempts)?);
        }
        Ok(())
    }

    /// Marks the keys that were tried as failed.
    pub(crate) fn fail(&mut self) {
        self.has_failed = true;
    }

    /// Ends a request that is refused, and returns the attempts that failed. `is_guess` is `true` if it was refused for
    /// its signatures.
    pub(crate) fn refused(self, is_guess: bool) -> Vec<FailedAttempt> {
        let Self { attempts, address, keys, signatures, has_failed } = self;
        if is_guess || has_failed {
            let failed = keys.into_iter().map(|tried| tried.failed(attempts, address));
            // Another policy may find one of several signatures right: that excuses none of the guesses beside it.
            return match signatures {
                0 | 1 => failed.collect(),
                _ => failed.map(FailedAttempt::beyond_excuse).collect(),
            };
        }
        keys.into_iter().filter_map(|tried| tried.begun).for_each(Begun::excuse);
        Vec::new()
    }

    /// Ends a request that is granted for a signature by the key `right`, which resets the count of that key alone. Of
    /// the others those count as failed that are known and did not sign: whoever has a key of their own must not guess
    /// at others beside it. A signature by somebody whom nobody knows here, such as a proxy's, is no guess then.
    pub(crate) fn granted(self, right: Option<&str>, wrong: &[Option<String>]) {
        let Self { attempts, address, keys, .. } = self;
        for tried in keys {
            if tried.key_id.as_deref() == right {
                attempts.succeeded(address, tried.principal());
            } else if wrong.contains(&tried.key_id) {
                tried.failed(attempts, address).count();
                continue;
            }
            if let Some(begun) = tried.begun {
                begun.excuse();
            }
        }
    }
}

#[cfg(test)]
mod tests;
