use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderName;

use crate::{
    Answer, Attempt, Authentication, Challenge, Identity, Mention, OpenStream, OwnPath, Places, PluginError,
    PolicyData, Reason, Refusal, RequestCx, RequestHead, Respond, ResponseHead, Revocation, Verdict,
};

/// Runs before authentication. It may wait: see [Deadlines and departure](crate#deadlines-and-departure).
pub trait Guard: Send + Sync {
    /// Decides whether the request may go on.
    fn guard<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Verdict, PluginError>>;
}

/// Finds out who is calling. It may wait: see [Deadlines and departure](crate#deadlines-and-departure).
pub trait Authenticate: Send + Sync {
    /// Looks for a credential and judges it.
    fn authenticate<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Authentication, PluginError>>;

    /// Judges an identity that this policy, or one in whose place it stands since a reload, granted to a request that
    /// has not ended. It is asked after each reload and revocation, and once a minute, away from the workers, of
    /// thousands of requests one after the other: it should be quick. One that waits holds up no other. It may be
    /// dropped where it waits, and asked again: work that takes long belongs in a task of its own, which those who ask
    /// wait for.
    ///
    /// The answer is what the request would get if it came now, as far as that can be told without it: `Granted` has the
    /// identity as it is now, and anything else ends the request with the reason that it gives. After a failure it is
    /// asked again, and the request ends if there is no answer for a minute.
    ///
    /// The default implementation grants the identity as long as neither the policy's settings, nor the files that it
    /// reads, nor the identity's credentials change. A proof that can be revoked by other means needs an
    /// implementation.
    fn recheck<'a>(&'a self, stream: &'a OpenStream<'a>) -> Answer<'a, Result<Authentication, PluginError>> {
        Answer::Now(Ok(stream.unless_changed()))
    }

    /// Returns the challenges for a client that failed, with the headers that go with them. The engine sends those of all
    /// authenticators, each once, with `Bearer` before all others: some clients read the first line alone.
    fn challenges(&self, cx: &RequestCx<'_>, attempt: Attempt) -> Vec<Challenge>;

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

    /// Returns `true` if tokens that it takes can be revoked by this revocation: it knows the issuer, and compares the
    /// claims that the revocation names. A revocation that no policy heeds is written down all the same, with a
    /// warning. A [`Revocation::Version`] of an issuer of which others are heeded is refused: it would hit tokens
    /// without a version.
    fn heeds(&self, revocation: &Revocation) -> bool {
        let _ = revocation;
        false
    }

    /// Returns `true` if it uses the certificate of the connection. A request of a route that does gets 421 where its
    /// `Host` is another than the name that the connection was made for: the certificate was asked for, and verified,
    /// by the rules of that name (RFC 9110 section 7.4).
    fn needs_certificate(&self) -> bool {
        false
    }

    /// Returns `true` if it takes that certificate by any CA that the listener trusts. Where listeners trust different
    /// ones, `check` and every reload show a warning.
    fn believes_listeners(&self) -> bool {
        false
    }
}

/// Runs after authentication, and decides whether the caller may make the request. It may wait: see [Deadlines and
/// departure](crate#deadlines-and-departure).
pub trait Admit: Send + Sync {
    /// Decides whether this identity may make this request.
    fn admit<'a>(
        &'a self,
        cx: &'a mut RequestCx<'_>,
        identity: &'a Arc<Identity>,
    ) -> Answer<'a, Result<Verdict, PluginError>>;

    /// Judges a request that was let in and has not ended, as [`Authenticate::recheck`] does. `identity` is the caller
    /// by the configuration that serves now, [`OpenStream::identity`] by the one that served then.
    ///
    /// The default implementation lets the request go on as long as neither the policy's settings, nor the files that
    /// it reads, nor the identity change.
    fn recheck<'a>(
        &'a self,
        stream: &'a OpenStream<'a>,
        identity: &'a Arc<Identity>,
    ) -> Answer<'a, Result<Verdict, PluginError>> {
        let is_unchanged = stream.has_same_settings && stream.has_same_files && stream.identity.says_the_same(identity);
        let changed = || Verdict::Refuse(Refusal::forbidden(Reason::PolicyChanged));
        Answer::Now(Ok(if is_unchanged { Verdict::Allow } else { changed() }))
    }

    /// Returns the parts of the rest of the configuration that it names: the engine refuses a configuration without
    /// them.
    fn mentions(&self) -> Vec<Mention> {
        Vec::new()
    }
}

/// Runs once for each request that is let through, after everything that may refuse it, and before an upstream is
/// connected: to exchange a token, to fetch what the upstream asks for. It may wait: see [Deadlines and
/// departure](crate#deadlines-and-departure).
///
/// It keeps its result by [`RequestCx::set_data`], and [`EditRequest`] of the same policy puts that into the request:
/// that runs again when a request is tried on another target, and this does not.
pub trait Prepare: Send + Sync {
    /// Prepares the request. It runs on public routes and for the anonymous consumer too. Anything but
    /// [`Verdict::Allow`] and [`Verdict::AllowWith`] ends the request, and so does a failure (503): a request never goes
    /// on without what it was to be given.
    ///
    /// It is not asked again for a request that has not ended: such a request ends when the policy's settings or files
    /// change.
    fn prepare<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Verdict, PluginError>>;
}

/// Answers on paths of the policy's own, beside the routes that use it: a callback, a logout, a document about the
/// policy. It may wait: see [Deadlines and departure](crate#deadlines-and-departure).
///
/// The paths are on the hosts of those routes. A path that the file has as well, in the same spelling, is an error of the
/// configuration; a path of the file with a parameter or a rest gives way. Requests pass the guards of those routes and
/// the policies of `[defaults]`, and no authentication: whoever answers finds out what there is to know.
pub trait Serve: Send + Sync {
    /// Returns the paths. It is asked once, when the configuration is compiled.
    fn paths(&self) -> Vec<OwnPath>;

    /// Answers a request for one of them. A failure is 503.
    fn serve<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Respond, PluginError>>;
}

/// Changes the request before it is forwarded.
pub trait EditRequest: Send + Sync {
    /// Changes the head that goes to the upstream. It may run again when a request is tried on another target.
    fn edit_request(&self, cx: &RequestCx<'_>, head: &mut dyn RequestHead) -> Result<(), PluginError>;
}

/// Changes the response before the client gets it. The last plugin of a route comes first.
pub trait EditResponse: Send + Sync {
    /// Changes the head that goes to the client. If it fails, or panics, the client gets 503 or 500 in place of the
    /// upstream's response; an answer of the gateway's own is sent all the same.
    fn edit_response(&self, cx: &RequestCx<'_>, head: &mut dyn ResponseHead) -> Result<(), PluginError>;

    /// Returns `true` if it is called for the gateway's own answers as well: refusals, errors, and what plugins answer on
    /// a route that was matched. They say so by [`ResponseHead::is_own`].
    fn wants_own_answers(&self) -> bool {
        true
    }
}

/// Looks at bodies as they pass.
pub trait Body: Send + Sync {
    /// Returns a filter for this request's bodies, or `None` if it does not look at them.
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

/// The outcome of a request.
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
    data: Option<(&'a PolicyData, usize)>,
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
        Self { request_id, route, status, identity, reason, duration, data: None }
    }

    /// Adds the data that the policy of this number has kept.
    #[must_use]
    pub fn with_data(self, data: &'a PolicyData, policy: usize) -> Self {
        Self { data: Some((data, policy)), ..self }
    }

    /// Returns the value of this type that an earlier hook of the same policy has kept: see [`RequestCx::set_data`].
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.data.and_then(|(data, policy)| data.get(policy))
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
    /// See [`Prepare`].
    pub prepare: Option<Arc<dyn Prepare>>,
    /// See [`Serve`].
    pub serve: Option<Arc<dyn Serve>>,
    /// See [`EditRequest`].
    pub edit_request: Option<Arc<dyn EditRequest>>,
    /// See [`EditResponse`].
    pub edit_response: Option<Arc<dyn EditResponse>>,
    /// See [`Body`].
    pub body: Option<Arc<dyn Body>>,
    /// See [`Observe`].
    pub observe: Option<Arc<dyn Observe>>,
}

/// One setter for each hook, which takes the implementor by value.
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

setters!(guard: Guard, authenticate: Authenticate, admit: Admit, prepare: Prepare, serve: Serve, edit_request: EditRequest, edit_response: EditResponse, body: Body, observe: Observe);
