//! Revoked tokens, which are refused although their signature is right and they have not expired.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use portcullis_plugin::{Claims, LocalStore, Reason, Revocation, RevocationKeys, Revocations};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let store = Arc::new(LocalStore::default());
//! let lost = Revocation::Token { issuer: "https://auth.example.com".to_owned(), jti: "7f3a".to_owned() };
//! lost.write(&*store, Duration::from_secs(3600)).await?;
//!
//! let claims: Claims = serde_json::from_str(r#"{"iss":"https://auth.example.com","jti":"7f3a"}"#)?;
//! let keys = RevocationKeys::of(&claims, None);
//! assert_eq!(Revocations::new(store).check(&keys).get().await?, Some(Reason::TokenRevoked));
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A plugin that remembers verified tokens keeps their [`RevocationKeys`] beside them and asks on every request, so
//! that a revoked token does not live on in its cache: with a store in this process that allocates nothing. A store
//! that cannot be asked is an error, and the request is refused.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::{
    Answer, Claims, Reason, Store, StoreError, UnixTime,
    store::{Key, Put, Space},
};

/// The tokens that an operator revokes. `issuer` has to be the token's `iss` to the letter; it is empty for tokens
/// without one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case", deny_unknown_fields)]
pub enum Revocation {
    /// One token, by its `jti`.
    Token {
        /// Who issued it.
        issuer: String,
        /// Its number.
        jti: String,
    },
    /// Every token of a subject that was issued until a moment, the second itself included, or that does not say when
    /// it was issued.
    Subject {
        /// Who issued them.
        issuer: String,
        /// Whom they speak of.
        subject: String,
        /// Until when.
        issued_until: UnixTime,
    },
    /// Every token of an issuer that was issued until a moment: its key was stolen, or all its users have to log in
    /// again.
    Issuer {
        /// Who issued them.
        issuer: String,
        /// Until when.
        issued_until: UnixTime,
    },
    /// Every token of a subject whose version is below a number, or that has none. Which claim is the version, the
    /// policy says.
    Version {
        /// Who issued them.
        issuer: String,
        /// Whom they speak of.
        subject: String,
        /// The lowest version that counts.
        at_least: u64,
    },
}

impl Revocation {
    /// Writes it down for so long, which has to be longer than the tokens still live. A later moment or a higher
    /// version that is there already stays, and so does a later end: nobody takes back what another has revoked by
    /// revoking it again, also at the same time.
    ///
    /// # Errors
    /// The store does not take it: nothing is revoked. After a timeout it may be.
    pub async fn write(&self, store: &dyn Store, keep: Duration) -> Result<(), StoreError> {
        let (name, new) = (self.name(), self.mark());
        let key = revoked(&name);
        for _ in 0..MAX_TRIES {
            let now = UnixTime::now();
            let there = store.get(key).get().await?;
            let (mark, until) = there.as_deref().map(written).transpose()?.unwrap_or((new, now));
            let keep = keep.max(Duration::from_secs(u64::try_from(until.0.saturating_sub(now.0)).unwrap_or(0)));
            let value = Bytes::from(format!("{} {}", mark.max(new), now.after(keep).0));
            let put = match &there {
                Some(there) => Put::instead_of(there, key, value, keep),
                None => Put::if_absent(key, value, keep),
            };
            if store.put(put).get().await? {
                return Ok(());
            }
        }
        Err(StoreError::unavailable("others write the same revocation all the time"))
    }

    /// Lifts the revocation: the tokens count again.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn lift(&self, store: &dyn Store) -> Result<(), StoreError> {
        store.remove(revoked(&self.name())).get().await.map(|_| ())
    }

    /// Who issued what is revoked.
    pub fn issuer(&self) -> &str {
        match self {
            Self::Token { issuer, .. }
            | Self::Subject { issuer, .. }
            | Self::Issuer { issuer, .. }
            | Self::Version { issuer, .. } => issuer,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Token { issuer, jti } => Kind::Token.name(issuer, jti),
            Self::Subject { issuer, subject, .. } => Kind::Subject.name(issuer, subject),
            Self::Issuer { issuer, .. } => Kind::Issuer.name(issuer, ""),
            Self::Version { issuer, subject, .. } => Kind::Version.name(issuer, subject),
        }
    }

    /// The number that is kept.
    fn mark(&self) -> i64 {
        match self {
            Self::Token { .. } => 1,
            Self::Subject { issued_until, .. } | Self::Issuer { issued_until, .. } => issued_until.0,
            Self::Version { at_least, .. } => i64::try_from(*at_least).unwrap_or(i64::MAX),
        }
    }
}

/// Of no policy: what is revoked is revoked for all.
static REVOKED: Space = Space::revocation("token");

/// So often a revocation is written anew because another was written in between.
const MAX_TRIES: usize = 16;

fn revoked(name: &str) -> Key<'_> {
    REVOKED.key(name.as_bytes())
}

#[derive(Clone, Copy)]
enum Kind {
    Token,
    Subject,
    Issuer,
    Version,
}

impl Kind {
    /// The name in the store. The claims of tokens are digested: they may be long, and personal. Its length goes first,
    /// so that no two pairs of texts are one.
    fn name(self, issuer: &str, of: &str) -> String {
        let kind = match self {
            Self::Token => "jti",
            Self::Subject => "subject",
            Self::Issuer => "issuer",
            Self::Version => "version",
        };
        let digest = Sha256::new().chain_update((issuer.len() as u64).to_be_bytes()).chain_update(issuer);
        format!("{kind}:{}", hex::encode(digest.chain_update(of).finalize()))
    }
}

/// The keys of the store under which a token may have been revoked, computed once.
#[derive(Clone, Debug)]
pub struct RevocationKeys {
    token: Option<String>,
    subject: Option<String>,
    issuer: String,
    versions: Option<String>,
    issued: Option<i64>,
    version: Option<i64>,
}

impl RevocationKeys {
    /// The keys of a token with these claims and this version.
    pub fn of(claims: &Claims, version: Option<u64>) -> Self {
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
        let issuer = text("iss").unwrap_or_default();
        let of_subject = |kind: Kind| text("sub").map(|subject| kind.name(issuer, subject));
        Self {
            token: text("jti").map(|jti| Kind::Token.name(issuer, jti)),
            subject: of_subject(Kind::Subject),
            issuer: Kind::Issuer.name(issuer, ""),
            versions: of_subject(Kind::Version),
            issued: claims.get("iat").and_then(whole_seconds),
            version: version.map(|version| i64::try_from(version).unwrap_or(i64::MAX)),
        }
    }

    /// The entries to read, and how to read each.
    fn questions(&self) -> impl Iterator<Item = Question<'_>> + Clone {
        let question = |name, reads| Question { key: revoked(name), reads };
        let questions: [Option<Question<'_>>; 4] = [
            self.token.as_deref().map(|name| question(name, |_| Counts::Never)),
            self.subject.as_deref().map(|name| question(name, Counts::After)),
            Some(question(&self.issuer, Counts::After)),
            self.versions.as_deref().map(|name| question(name, Counts::FromVersion)),
        ];
        questions.into_iter().flatten()
    }

    fn is_revoked(&self, counts: Counts) -> bool {
        match counts {
            Counts::Never => true,
            Counts::After(until) => self.issued.is_none_or(|issued| issued <= until),
            Counts::FromVersion(least) => self.version.is_none_or(|version| version < least),
        }
    }

    /// The first entry that revokes the token decides, or the first that cannot be read.
    fn judge(&self, found: &[Option<Bytes>]) -> Result<Option<Reason>, StoreError> {
        if found.len() != self.questions().count() {
            return Err(StoreError::unavailable("it answered something else than it was asked"));
        }
        for (question, found) in self.questions().zip(found) {
            if let Some(found) = found
                && self.is_revoked((question.reads)(written(found)?.0))
            {
                return Ok(Some(Reason::TokenRevoked));
            }
        }
        Ok(None)
    }
}

/// One look into the store.
#[derive(Clone, Copy)]
struct Question<'k> {
    key: Key<'k>,
    reads: fn(i64) -> Counts,
}

/// The rule for tokens that still count where a revocation was found.
#[derive(Clone, Copy)]
enum Counts {
    Never,
    After(i64),
    FromVersion(i64),
}

/// The mark, and the end of the entry. An entry that was not written by us is an error, and the request is refused.
fn written(found: &[u8]) -> Result<(i64, UnixTime), StoreError> {
    let numbers = || {
        let (mark, until) = std::str::from_utf8(found).ok()?.split_once(' ')?;
        Some((mark.parse().ok()?, UnixTime(until.parse().ok()?)))
    };
    numbers().ok_or_else(|| StoreError::invalid("a revocation that cannot be read"))
}

/// `iat`, which may have a fraction (RFC 7519 section 2). Without one that can be read a token counts as issued long ago.
fn whole_seconds(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, which revokes more or less what it should")]
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64))
}

/// Asks the store whether tokens were revoked.
#[derive(Clone)]
pub struct Revocations {
    store: Arc<dyn Store>,
}

impl Revocations {
    /// Asks this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Returns the reason if the token was revoked. With a store that answers at once the answer is there at once, and
    /// nothing is allocated.
    pub fn check<'a>(&'a self, keys: &'a RevocationKeys) -> Answer<'a, Result<Option<Reason>, StoreError>> {
        let asked: SmallVec<[Key<'_>; 4]> = keys.questions().map(|question| question.key).collect();
        self.store.get_many(&asked).map(|found| keys.judge(&found?))
    }
}

#[cfg(test)]
mod tests;
