//! For whom failed attempts are counted: for every key that a request names (pitfall 34).
//!
//! A request may carry several signatures. Were only the first one's key looked at, a signature by a key that nobody has,
//! put in front, would take guesses at all the others off the record.
//!
//! A body that is waited for takes memory of everybody's before anything is proven. So it takes a place among the attempts
//! that are under way, and one that breaks off, or proves nothing, is a failure like a wrong signature: who does that again
//! and again is refused before a byte of the next one is read.

use std::{net::IpAddr, time::Duration};

use portcullis_plugin::{Attempts, Begun, Denial, PluginError};

use crate::{scheme::Claim, signatures::Refused};

/// The keys that one request names, each once.
pub(crate) struct Tries<'a> {
    attempts: &'a Attempts,
    address: IpAddr,
    keys: Vec<Tried>,
    /// Given back when the request is judged, after its failures are on record.
    places: Vec<Begun<'a>>,
}

/// A key, and all signatures that are said to be by it.
struct Tried {
    key_id: String,
    proof: Vec<u8>,
}

/// The name of a key; empty where the scheme does not say.
fn key_id(claim: &Claim) -> &str {
    claim.key_id.as_deref().unwrap_or_default()
}

impl<'a> Tries<'a> {
    /// Takes claims by keys that have to wait out of `claims`, and says how long the longest wait is.
    pub async fn begin(
        attempts: &'a Attempts,
        address: IpAddr,
        claims: &mut Vec<Claim>,
    ) -> Result<(Self, Option<Duration>), PluginError> {
        let mut tries = Self { attempts, address, keys: Vec::with_capacity(1), places: Vec::new() };
        let (mut waiting, mut longest): (Vec<String>, _) = (Vec::new(), None);
        for claim in std::mem::take(claims) {
            let key_id = key_id(&claim);
            if waiting.iter().any(|waiting| waiting == key_id) {
                continue;
            }
            let wait = match tries.keys.iter().any(|tried| tried.key_id == key_id) {
                true => Ok(()),
                false => attempts.check(address, key_id.as_bytes()).get().await?,
            };
            match wait {
                Ok(()) => {
                    tries.add(&claim);
                    claims.push(claim);
                }
                Err(wait) => {
                    waiting.push(key_id.to_owned());
                    longest = longest.max(Some(wait));
                }
            }
        }
        Ok((tries, longest))
    }

    fn add(&mut self, claim: &Claim) {
        let key_id = key_id(claim);
        let known = self.keys.iter_mut().find(|tried| tried.key_id == key_id);
        match known {
            Some(tried) => tried.proof.extend(claim.signatures.iter().flatten()),
            None => self.keys.push(Tried { key_id: key_id.to_owned(), proof: claim.signatures.concat() }),
        }
    }

    /// A body has to be waited for.
    pub async fn take_places(&mut self) -> Result<(), Refused> {
        if !self.places.is_empty() {
            return Ok(());
        }
        for tried in &self.keys {
            let begun = self.attempts.begin(self.address, tried.key_id.as_bytes()).get().await;
            let begun = begun.map_err(PluginError::from)?;
            self.places.push(begun.map_err(Denial::too_many_attempts)?);
        }
        Ok(())
    }

    /// Nothing of it was right. Further failures of the same request are none.
    pub async fn failed(&mut self) {
        for Tried { key_id, proof } in self.keys.drain(..) {
            self.attempts.failed(self.address, key_id.as_bytes(), &proof).get().await;
        }
    }

    /// A signature by the key `right` was, which resets what was counted for that key alone. Of the others those count as
    /// failed that are known and did not sign: whoever has a key of their own must not guess at others beside it. A
    /// signature by somebody whom nobody knows here, such as a proxy's, is no guess then.
    pub async fn succeeded(self, right: &str, wrong: &[String]) {
        for Tried { key_id, proof } in &self.keys {
            if key_id == right {
                self.attempts.succeeded(self.address, key_id.as_bytes()).get().await;
            } else if wrong.contains(key_id) {
                self.attempts.failed(self.address, key_id.as_bytes(), proof).get().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
