//! `basic-auth`: a user name and a password in `Authorization: Basic` (RFC 7617) prove which consumer calls.
//!
//! ```toml
//! [policies.partner-passwords]
//! use = "basic-auth"
//!
//! [[consumers.acme.credentials]]
//! use = "basic-auth"
//! id = "acme-ci"
//! username = "ci"
//! password_hash = "<printed by: portcullis password hash>"
//! ```
//!
//! The configuration holds Argon2id and bcrypt hashes and never passwords. They are slow on purpose, which a gateway
//! has to live with: a hash is computed away from the worker threads, few at a time for all policies together
//! ([`HASHES_AT_ONCE_MAX`]), with a short queue before them that is fair between addresses and keeps places for users
//! whose password was right from there before ([`portcullis_plugin::FairQueue`]); and a pair that was right is
//! remembered for `cache_ttl`, by a digest with a random key, so that a client that is known costs a look-up. Wrong
//! pairs are not remembered but counted: see [`portcullis_plugin::Attempts`].
//!
//! # What the time of an answer tells
//! A user name that nobody has is treated as the name of a user picked by a keyed digest of it: as many hashes are
//! computed, with that user's algorithm and cost. Where all hashes have one cost (which is what `portcullis password
//! hash` makes) all failures take the same time. Where they differ, the time tells the cost of a hash, and names that
//! nobody has show the same mixture of times as real ones, always the same for one name. That a pair was verified a
//! moment ago can be told by its time too; only who has the right password can tell.
//!
//! # What is compared
//! User name and password are compared as the bytes that were sent. They have to be UTF-8, as the challenge says
//! (`charset="UTF-8"`), but are not normalised: a client that sends `ü` as two code points needs a hash of that.

#![forbid(unsafe_code)]

use std::{net::IpAddr, sync::Arc, time::Duration};

use portcullis_plugin::{
    Answer, Attempt, AttemptLimits, AttemptTable, Attempts, Authenticate, Authentication, Begun, BuildCx, BuildError,
    Challenge, Claimed, Counter, Denial, Found, Hooks, Identity, KnownCallers, OpenStream, Place, Places, Plugin,
    PluginError, Reason, RequestCx, Span, UnixTime,
};
use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    hashing::{Hashing, Requester},
    login::Login,
    users::Users,
    verified::{Digest, Joined, Verified},
};

mod credential;
mod hash;
mod hashing;
mod login;
mod users;
mod verified;

pub use credential::{PasswordEntry, Username};
pub use hash::{Algorithm, HashError, HashingError, PasswordHash, hash_password};
pub use hashing::{HASH_WAIT_MAX_SECS, HASHES_AT_ONCE_MAX, HASHES_WAITING_MAX};
pub use login::{PASSWORD_MAX_BYTES, USERNAME_MAX_BYTES, is_password, is_username};
pub use users::HASHES_PER_USERNAME_MAX;
pub use verified::VERIFIED_MAX_PAIRS;

/// The plugin `basic-auth`.
pub struct BasicAuth;

impl Plugin for BasicAuth {
    const NAME: &'static str = "basic-auth";
    type Config = Config;
    type Credential = PasswordEntry;

    fn build(config: Config, cx: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        let users = Users::new(config.username_is_subject, cx);
        let attempts = Attempts::new(config.attempts, cx);
        let mut problems = config.problems();
        let attempts = attempts.map_err(|error| problems.extend(error.problems)).ok();
        let Some(attempts) = attempts.filter(|_| problems.is_empty()) else { return Err(BuildError { problems }) };
        let place = Place::header("authorization", Some("Basic")).expect("a header that can carry a credential");
        let places = Places(vec![place]);
        Ok(Hooks::new().authenticate(Passwords {
            verified: Verified::shared(cx).map_err(|why| BuildError::new("", why))?,
            hashing: cx.shared("", Hashing::default),
            counters: Counters::new(cx),
            users: Arc::new(users),
            known: Arc::new(KnownCallers::new(cx)),
            attempts,
            cache_ttl: config.cache_ttl.0,
            hidden: if config.keep_credential { Places::default() } else { places.clone() },
            places,
        }))
    }
}

/// Proves a consumer by a user name and a password (RFC 7617), of which the consumers' credentials have the hash.
#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The time for which a password that was right is not hashed again; five minutes unless said, at most a day.
    /// `"0s"`: every request computes a hash.
    pub cache_ttl: Span,
    /// Makes the user name the subject of the identity (`X-User-ID`), where each user has a name of their own. Else it
    /// names a client, as a key does.
    pub username_is_subject: bool,
    /// The number of attempts that may fail, `{ per_principal = 5, per_address = 100, per_policy = 1000, window = "15m"
    /// }` unless said: by user name and address together, by address, and of all together. `false`: any number.
    pub attempts: AttemptLimits,
    /// Leaves the header in the request that is forwarded.
    pub keep_credential: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cache_ttl: Span(Duration::from_secs(5 * 60)),
            username_is_subject: false,
            attempts: AttemptLimits::On(AttemptTable::default()),
            keep_credential: false,
        }
    }
}

impl Config {
    /// The longest that a password may go unhashed.
    pub const CACHE_TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

    fn problems(&self) -> Vec<(String, String)> {
        let ttl = self.cache_ttl.0;
        let problem = if ttl > Self::CACHE_TTL_MAX {
            format!("`{}` is longer than a day", self.cache_ttl)
        } else if ttl.subsec_nanos() != 0 {
            format!("`{}` is not in whole seconds", self.cache_ttl)
        } else {
            return Vec::new();
        };
        vec![("cache_ttl".to_owned(), problem)]
    }
}

/// One policy, ready to judge requests.
struct Passwords {
    places: Places,
    hidden: Places,
    users: Arc<Users>,
    verified: Arc<Verified>,
    hashing: Arc<Hashing>,
    attempts: Attempts,
    /// The users whose passwords were right: for them places are kept in the queue before the hashes.
    known: Arc<KnownCallers>,
    cache_ttl: Duration,
    counters: Counters,
}

/// Counters for events that are rare or slow.
struct Counters {
    hashes: Counter,
    overloads: Counter,
}

impl Counters {
    fn new(cx: &mut BuildCx<'_>) -> Self {
        let policy = cx.policy().to_owned();
        let mut counter = |name, help| cx.counter(name, help, &[("policy", &policy)]);
        Self {
            hashes: counter("portcullis_password_hashes_total", "Password hashes computed to verify a password"),
            overloads: counter("portcullis_password_overloads_total", "Passwords not verified: too many were waiting"),
        }
    }
}

/// The claim of one request, and its address.
struct Claim {
    login: Login,
    digest: Digest,
    address: IpAddr,
    now: UnixTime,
}

impl Claim {
    fn principal(&self) -> Option<&[u8]> {
        Some(self.login.username().as_bytes())
    }

    fn denied(&self, denial: Denial) -> Authentication {
        Authentication::Denied(denial.claiming(Claimed::by_user(self.login.username())))
    }
}

impl Passwords {
    /// `Ok(None)`: there is none.
    fn claim(&self, cx: &RequestCx<'_>) -> Result<Option<Claim>, Reason> {
        let login = match self.places.find(cx.head()) {
            Found::Absent => return Ok(None),
            Found::Conflict => return Err(Reason::BasicConflict),
            Found::One(token) => Login::parse(&token).ok_or(Reason::BasicMalformed)?,
        };
        let digest = self.verified.digest(&login);
        Ok(Some(Claim { login, digest, address: cx.address(), now: cx.now() }))
    }

    /// Returns the identity of a pair that was verified before, without a hash.
    fn recall(&self, claim: &Claim) -> Option<Arc<Identity>> {
        let fingerprint = self.verified.recall(&claim.digest, claim.now, self.cache_ttl)?;
        self.users.identity(claim.login.username(), &fingerprint)
    }

    /// Records the success of a pair that is known.
    fn note_success(&self, claim: &Claim) {
        self.attempts.succeeded(claim.address, claim.principal());
        self.known.note(claim.address, claim.principal());
    }

    /// Judges a claim from the limit on attempts to the verdict.
    async fn judge(&self, claim: Claim) -> Result<Authentication, PluginError> {
        if let Err(wait) = self.attempts.check(claim.address, claim.principal()).get().await {
            return Ok(claim.denied(Denial::too_many_attempts(wait)));
        }
        // Of several requests with one pair only one computes the hashes, and the others wait for its result. Otherwise
        // a client that sends fifty requests at once would use up its attempts with the right password.
        let is_good = |fingerprint: &_| self.users.identity(claim.login.username(), fingerprint);
        let joined = self.verified.join(&claim.digest, claim.now, self.cache_ttl, is_good).await;
        let turn = match joined {
            Joined::Known(identity) => {
                self.note_success(&claim);
                return Ok(Authentication::Granted(identity));
            }
            Joined::Turn(turn) => turn,
        };
        let begun = self.attempts.begin(claim.address, claim.principal(), claim.digest.as_bytes()).get().await;
        let begun = match begun {
            Ok(begun) => begun,
            Err(wait) => return Ok(claim.denied(Denial::too_many_attempts(wait))),
        };
        let now = claim.now;
        let (identity, fingerprint) = match self.verify(claim.login, claim.address, begun).await? {
            Ok(verified) => verified,
            Err(denial) => return Ok(Authentication::Denied(denial)),
        };
        if !self.cache_ttl.is_zero() {
            turn.note(fingerprint, now);
        }
        Ok(Authentication::Granted(identity))
    }

    /// Computes the hashes, elsewhere. Once that has begun the attempt is judged, whether its client waits for the answer
    /// or has left: else a guess would be free for whoever leaves in time.
    async fn verify(
        &self,
        login: Login,
        address: IpAddr,
        begun: Begun,
    ) -> Result<Result<(Arc<Identity>, hash::Fingerprint), Denial>, PluginError> {
        let (users, known, hashes) = (self.users.clone(), self.known.clone(), self.counters.hashes.clone());
        let queued = Queued(Some(begun));
        let user = login.username().as_bytes().to_vec();
        let requester = Requester { address, known: known.has(address, Some(&user)).then_some(&user[..]) };
        let verify = move || {
            let begun = queued.started();
            match users.verify(&login, || hashes.increment()) {
                Some(verified) => {
                    begun.succeeded();
                    known.note(address, Some(login.username().as_bytes()));
                    Ok(verified)
                }
                None => {
                    let denial = Denial::unauthorized(Reason::PasswordWrong).counting(begun.failed());
                    Err(denial.claiming(Claimed::by_user(login.username())))
                }
            }
        };
        let verified = self.hashing.run(requester, verify).await;
        verified.map_err(|error| {
            self.counters.overloads.increment();
            PluginError::new(error.to_string())
        })
    }
}

/// An attempt that waits for its turn. One that is given up before has not been judged, and does not count: clients that
/// lose patience while others keep the gateway busy have guessed nothing.
struct Queued(Option<Begun>);

impl Queued {
    fn started(mut self) -> Begun {
        self.0.take().expect("it starts once")
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if let Some(begun) = self.0.take() {
            begun.excuse();
        }
    }
}

impl Authenticate for Passwords {
    fn authenticate<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Authentication, PluginError>> {
        let claim = match self.claim(cx) {
            Ok(Some(claim)) => claim,
            Ok(None) => return Answer::Now(Ok(Authentication::Absent)),
            Err(reason) => return Answer::Now(Ok(Authentication::Denied(Denial::unauthorized(reason)))),
        };
        // The limit comes before the pairs that are remembered: otherwise a right guess would be answered while all
        // wrong ones are told to wait, and the wait would hinder nobody.
        if let Answer::Now(Ok(())) = self.attempts.check(claim.address, claim.principal())
            && let Some(identity) = self.recall(&claim)
        {
            self.note_success(&claim);
            return Answer::Now(Ok(Authentication::Granted(identity)));
        }
        Answer::later(self.judge(claim))
    }

    /// A change of the policy's settings makes no right password wrong, and its credential is still there.
    fn recheck<'a>(&'a self, stream: &'a OpenStream<'a>) -> Answer<'a, Result<Authentication, PluginError>> {
        let client = stream.client().filter(|client| client.method == stream.identity.method);
        let subject = || stream.identity.subject.clone();
        let user = client.map(|client| Identity { subject: subject(), ..client });
        Answer::Now(Ok(OpenStream::granted(user)))
    }

    fn challenges(&self, _: &RequestCx<'_>, _: Attempt) -> Vec<Challenge> {
        // RFC 7617 section 2.1.
        vec![Challenge::new("Basic").parameter("charset", "UTF-8")]
    }

    fn hidden(&self) -> Places {
        self.hidden.clone()
    }

    fn places(&self) -> Places {
        self.places.clone()
    }
}

#[cfg(test)]
mod tests;
