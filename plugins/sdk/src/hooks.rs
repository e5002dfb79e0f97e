use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderName;

use crate::{
    Answer, Claimed, FailedAttempt, Identity, Mention, OpenStream, Places, Reason, RequestCx, RequestHead,
    ResponseHead, Revocation, StoreError,
};

/// A hook could not decide: a server did not answer, a file is gone. The request is refused with 503.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PluginError(String);

impl PluginError {
    /// Says what failed. The text goes to the log, not to the client; it must not hold a secret.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl From<StoreError> for PluginError {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

/// The answer to a request that a hook refuses. How it looks is the engine's: one table makes every response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which answer the client gets.
    pub status: RefusalStatus,
    /// Why, for log and metric.
    pub reason: Reason,
    /// When it is worth trying again.
    pub retry_after: Option<Duration>,
    /// What the client could have proven, for `WWW-Authenticate`. The engine sends it only where the identity was
    /// proven by an authenticator that challenges with the same scheme: who sent a key is not told about tokens.
    pub challenge: Option<Arc<Challenge>>,
    /// For the audit log alone: what was missing, in the words of the configuration. Never anything of the request,
    /// which may be personal, or secret.
    pub detail: Option<Arc<str>>,
}

/// Which answer a refused client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalStatus {
    /// 400: the request makes no sense.
    BadRequest,
    /// 403: we know who you are, and you may not.
    Forbidden,
    /// 413: the body is too large.
    BodyTooLarge,
    /// 429: too often.
    TooManyRequests,
    /// 503: it cannot be decided now.
    Unavailable,
}

impl Refusal {
    /// 403.
    pub fn forbidden(reason: Reason) -> Self {
        Self::new(RefusalStatus::Forbidden, reason)
    }

    /// 403 for a scope that is missing, with a challenge that names what would be enough: see
    /// [`Challenge::insufficient_scope`].
    pub fn insufficient_scope(challenge: Arc<Challenge>) -> Self {
        Self { challenge: Some(challenge), ..Self::forbidden(Reason::ScopeMissing) }
    }

    /// 400.
    pub fn bad_request(reason: Reason) -> Self {
        Self::new(RefusalStatus::BadRequest, reason)
    }

    /// 413.
    pub fn body_too_large() -> Self {
        Self::new(RefusalStatus::BodyTooLarge, Reason::BodyTooLarge)
    }

    /// 429, with the time after which it is worth trying again.
    pub fn too_many_requests(reason: Reason, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(RefusalStatus::TooManyRequests, reason) }
    }

    fn new(status: RefusalStatus, reason: Reason) -> Self {
        Self { status, reason, retry_after: None, challenge: None, detail: None }
    }

    /// Says what was missing, for the audit log: see [`Refusal::detail`].
    #[must_use]
    pub fn detailed(self, detail: impl Into<Arc<str>>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }
}

/// What a guard or a restriction says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allow,
    /// End here.
    Refuse(Refusal),
}

/// Why a credential was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// For log and metric.
    pub reason: Reason,
    /// What the client is told, if nothing else grants.
    pub status: DenialStatus,
    /// For the log: who was claimed, where something says it.
    pub claimed: Option<Claimed>,
    /// For the audit log alone: what exactly is wrong. Words of the program, so that nothing of the credential gets in.
    pub detail: Option<&'static str>,
    /// Failed attempts, which count unless something else grants: see [`Denial::counting`].
    pub attempts: Vec<FailedAttempt>,
}

/// What a client whose credential was not taken is told. Of several alternatives the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DenialStatus {
    /// 401: this proves nothing.
    Unauthorized,
    /// 411: the signature is over the body, and a body of unknown length cannot be held.
    LengthRequired,
    /// 413: the signature is over the body, and the body is larger than may be held.
    BodyTooLarge,
    /// 429: too many attempts failed; the time after which it is worth trying again.
    TooManyRequests(Duration),
    /// 403: this is known, and may not be used here.
    Forbidden,
}

impl Denial {
    /// 401: this proves nothing.
    pub fn unauthorized(reason: Reason) -> Self {
        Self::new(reason, DenialStatus::Unauthorized)
    }

    /// 403: this is known, and not allowed here.
    pub fn forbidden(reason: Reason) -> Self {
        Self::new(reason, DenialStatus::Forbidden)
    }

    /// 429: too many attempts failed before this one, which was not looked at.
    pub fn too_many_attempts(retry_after: Duration) -> Self {
        Self::new(Reason::TooManyAttempts, DenialStatus::TooManyRequests(retry_after))
    }

    /// 413: the body that the signature is about is too large to be held.
    pub fn body_too_large() -> Self {
        Self::new(Reason::BodyTooLarge, DenialStatus::BodyTooLarge)
    }

    /// 411: the body that the signature is about has no length.
    pub fn length_required() -> Self {
        Self::new(Reason::BodyLengthUnknown, DenialStatus::LengthRequired)
    }

    fn new(reason: Reason, status: DenialStatus) -> Self {
        Self { reason, status, claimed: None, detail: None, attempts: Vec::new() }
    }

    /// Hands over an attempt that failed. It counts if the whole request is refused, and is excused if another policy
    /// grants what stood in the same place of the request ([`Authenticate::places`]).
    #[must_use]
    pub fn counting(mut self, attempt: FailedAttempt) -> Self {
        self.attempts.extend(attempt.is_limited().then_some(attempt));
        self
    }

    /// Says who was claimed.
    #[must_use]
    pub fn claiming(self, claimed: Claimed) -> Self {
        let says_something = claimed.fields().next().is_some();
        Self { claimed: says_something.then_some(claimed), ..self }
    }

    /// Says what exactly is wrong, for the audit log: see [`Denial::detail`].
    #[must_use]
    pub fn detailed(self, detail: &'static str) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// Whether the credential is known, and not allowed here.
    pub fn is_forbidden(&self) -> bool {
        self.status == DenialStatus::Forbidden
    }
}

/// What an authenticator found.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// The request proves this identity.
    Granted(Arc<Identity>),
    /// Nothing in any of the places this authenticator looks at.
    Absent,
    /// Something is there, and it is wrong.
    Denied(Denial),
}

/// What the client sent, when it is told what it could have sent.
#[derive(Clone, Copy, Debug)]
pub enum Attempt {
    /// Nothing for this authenticator.
    Absent,
    /// Something that was not taken.
    Denied(Reason),
}

/// A challenge for `WWW-Authenticate` (RFC 9110 section 11.3), without its realm: the engine adds the route's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The authentication scheme, such as `Bearer`.
    pub scheme: Cow<'static, str>,
    /// Its parameters; values are quoted by the engine.
    pub parameters: Vec<(&'static str, String)>,
}

impl Challenge {
    /// `Bearer error="insufficient_scope"` with the scopes that would be enough (RFC 6750 section 3.1); without them
    /// where none would be.
    pub fn insufficient_scope<'s>(scopes: impl IntoIterator<Item = &'s str>) -> Self {
        let scopes = scopes.into_iter().collect::<Vec<_>>().join(" ");
        let error = ("error", "insufficient_scope".to_owned());
        let scope = (!scopes.is_empty()).then_some(("scope", scopes));
        Self { scheme: "Bearer".into(), parameters: [error].into_iter().chain(scope).collect() }
    }
}

/// Runs before anyone is known. It may wait: see [Deadlines and departure](crate#deadlines-and-departure).
pub trait Guard: Send + Sync {
    /// Whether the request may go on.
    fn guard<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Verdict, PluginError>>;
}

/// Finds out who is calling. It may wait: see [Deadlines and departure](crate#deadlines-and-departure).
pub trait Authenticate: Send + Sync {
    /// Looks for a credential and judges it.
    fn authenticate<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Authentication, PluginError>>;

    /// Judges an identity that this policy, or one in whose place it stands since a reload, granted to a request that has
    /// not ended. It is asked after each reload and revocation, and once a minute, away from the workers, of thousands of
    /// requests one after the other: it should be quick. One that waits holds up no other. It may be dropped where it waits,
    /// and asked again: what takes long belongs in a task of its own, which those who ask wait for.
    ///
    /// The answer is what the request would get if it came now, as far as that can be told without it: `Granted` has the
    /// identity as it is now, and anything else ends the request with the reason that it gives. After a failure it is
    /// asked again, and the request ends if there is no answer for a minute.
    ///
    /// Unless implemented, the identity is good as long as nothing changes that the policy says or reads, and nothing that
    /// the configuration says of its credentials. What can be revoked by other means needs an implementation.
    fn recheck<'a>(&'a self, stream: &'a OpenStream<'a>) -> Answer<'a, Result<Authentication, PluginError>> {
        Answer::Now(Ok(stream.unless_changed()))
    }

    /// What a client that failed could have sent.
    fn challenge(&self, attempt: Attempt) -> Option<Challenge>;

    /// The places whose content must not reach the upstream. Empty where the configuration says to keep it.
    fn hidden(&self) -> Places {
        Places::default()
    }

    /// The places where it looks for its credential, whether they are hidden or not. An attempt that failed here is
    /// excused where a policy that looks at the same places grants, for that has judged the same credential.
    fn places(&self) -> Places {
        self.hidden()
    }

    /// The headers, beside those that every identity has, that its identities fill ([`Identity::headers`]). The engine
    /// removes them from every request on every route, as it does with its own.
    fn headers(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    /// Whether a token that it takes could fall under this revocation as it is meant: it knows the issuer, and looks at
    /// what the revocation goes by. Whoever revokes what nobody heeds is warned; it is written down all the same. A
    /// [`Revocation::Version`] of an issuer of which others are heeded is refused: it would hit tokens without a version.
    fn heeds(&self, revocation: &Revocation) -> bool {
        let _ = revocation;
        false
    }

    /// Whether it goes by the certificate of the connection. A request of a route that does gets 421 where its `Host` is
    /// another than the name that the connection was made for: the certificate was asked for, and verified, by the rules
    /// of that name (RFC 9110 section 7.4, pitfall 18).
    fn needs_certificate(&self) -> bool {
        false
    }

    /// Whether it takes that certificate by the word of whatever CA the listener believes. Where listeners believe
    /// different ones, whoever checks the configuration is warned.
    fn believes_listeners(&self) -> bool {
        false
    }
}

/// Runs when it is known who is calling, and decides whether they may. It may wait: see [Deadlines and
/// departure](crate#deadlines-and-departure).
pub trait Admit: Send + Sync {
    /// Whether this identity may make this request.
    fn admit<'a>(
        &'a self,
        cx: &'a mut RequestCx<'_>,
        identity: &'a Arc<Identity>,
    ) -> Answer<'a, Result<Verdict, PluginError>>;

    /// Judges a request that was let in and has not ended, as [`Authenticate::recheck`] does. `identity` is who is calling
    /// by what the configuration says now, [`OpenStream::identity`] by what it said then.
    ///
    /// Unless implemented, the request goes on as long as nothing changes that the policy says or reads, and nothing that
    /// is known of who is calling.
    fn recheck<'a>(
        &'a self,
        stream: &'a OpenStream<'a>,
        identity: &'a Arc<Identity>,
    ) -> Answer<'a, Result<Verdict, PluginError>> {
        let is_unchanged = stream.has_same_settings && stream.has_same_files && stream.identity.says_the_same(identity);
        let changed = || Verdict::Refuse(Refusal::forbidden(Reason::PolicyChanged));
        Answer::Now(Ok(if is_unchanged { Verdict::Allow } else { changed() }))
    }

    /// What of the rest of the configuration it names: the engine refuses a configuration in which that is not there.
    fn mentions(&self) -> Vec<Mention> {
        Vec::new()
    }
}

/// Changes the request before it is forwarded.
pub trait EditRequest: Send + Sync {
    /// Changes the head that goes to the upstream. It may run again when a request is tried on another target.
    fn edit_request(&self, cx: &RequestCx<'_>, head: &mut dyn RequestHead) -> Result<(), PluginError>;
}

/// Changes the response before the client gets it. The last plugin of a route comes first.
pub trait EditResponse: Send + Sync {
    /// Changes the head that goes to the client.
    fn edit_response(&self, cx: &RequestCx<'_>, head: &mut dyn ResponseHead) -> Result<(), PluginError>;
}

/// Looks at bodies as they pass.
pub trait Body: Send + Sync {
    /// A filter for this request's bodies, or `None` where they are of no interest.
    fn begin(&self, cx: &RequestCx<'_>) -> Option<Box<dyn BodyFilter>>;
}

/// One request's bodies, piece by piece.
pub trait BodyFilter: Send + Sync {
    /// A piece on its way to the upstream; it may be changed. `end` is true for the last one.
    fn request(&mut self, piece: &mut Option<Bytes>, end: bool) -> Result<(), Refusal> {
        let _ = (piece, end);
        Ok(())
    }

    /// A piece on its way to the client; it may be changed. `end` is true for the last one.
    fn response(&mut self, piece: &mut Option<Bytes>, end: bool) -> Result<(), PluginError> {
        let _ = (piece, end);
        Ok(())
    }
}

/// Sees how a request ended.
pub trait Observe: Send + Sync {
    /// Called once, when the response was written or the connection is gone.
    fn observe(&self, outcome: &Outcome<'_>);
}

/// How a request ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome<'a> {
    /// The request's id.
    pub request_id: &'a str,
    /// The matched route.
    pub route: &'a str,
    /// The status that was sent; 0 where none was.
    pub status: u16,
    /// Who called.
    pub identity: Option<&'a Arc<Identity>>,
    /// Why it was refused, if it was.
    pub reason: Option<Reason>,
    /// From the first byte of the request to the last of the response.
    pub duration: Duration,
}

impl<'a> Outcome<'a> {
    /// Only the engine, and tests, make one.
    pub fn new(
        request_id: &'a str,
        route: &'a str,
        status: u16,
        identity: Option<&'a Arc<Identity>>,
        reason: Option<Reason>,
        duration: Duration,
    ) -> Self {
        Self { request_id, route, status, identity, reason, duration }
    }
}

/// The hooks a plugin takes part in: a phase not used costs nothing.
#[derive(Clone, Default)]
pub struct Hooks {
    /// See [`Guard`].
    pub guard: Option<Arc<dyn Guard>>,
    /// See [`Authenticate`].
    pub authenticate: Option<Arc<dyn Authenticate>>,
    /// See [`Admit`].
    pub admit: Option<Arc<dyn Admit>>,
    /// See [`EditRequest`].
    pub edit_request: Option<Arc<dyn EditRequest>>,
    /// See [`EditResponse`].
    pub edit_response: Option<Arc<dyn EditResponse>>,
    /// See [`Body`].
    pub body: Option<Arc<dyn Body>>,
    /// See [`Observe`].
    pub observe: Option<Arc<dyn Observe>>,
}

/// One setter a hook, each taking the implementor by value.
macro_rules! setters {
    ($($name:ident: $hook:ident),+) => {
        impl Hooks {
            /// No hooks yet.
            pub fn new() -> Self {
                Self::default()
            }
            $(
                #[doc = concat!("Takes part in [`", stringify!($hook), "`].")]
                #[must_use]
                pub fn $name(mut self, hook: impl $hook + 'static) -> Self {
                    self.$name = Some(Arc::new(hook));
                    self
                }
            )+
        }
    };
}

setters!(guard: Guard, authenticate: Authenticate, admit: Admit, edit_request: EditRequest, edit_response: EditResponse, body: Body, observe: Observe);
