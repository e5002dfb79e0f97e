//! The tests that every plugin passes, in one line of its own tests:
//!
//! ```
//! use portcullis_plugin::{testing::conformance, *};
//!
//! /// Lets nobody in.
//! struct Closed;
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Config {}
//!
//! impl Plugin for Closed {
//!     const NAME: &'static str = "closed";
//!     type Config = Config;
//!     type Credential = NoCredential;
//!
//!     fn build(_: Config, _: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
//!         Ok(Hooks::new().guard(Self))
//!     }
//! }
//!
//! impl Guard for Closed {
//!     fn guard<'a>(&'a self, _: &'a mut RequestCx<'_>) -> Answer<'a, Result<Verdict, PluginError>> {
//!         Answer::Now(Ok(Verdict::Refuse(Refusal::forbidden(Reason::Plugin("closed")))))
//!     }
//! }
//!
//! conformance::<Closed>(|| Config {});
//! ```
//!
//! A plugin that grants says by which request, so that more can be tried: see [`Conformance`].

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use super::{Build, Forwarded, Request, open_stream, store::DistantStore};
use crate::{
    Answer, Attempt, Authenticate, Authentication, Hooks, Identity, LocalStore, OpenStream, Outcome, Places, Plugin,
    Reason, Revocation, StoreError, UnixTime, store::Space,
};

mod bodies;
mod requests;

use bodies::MAX_POLL;
use requests::MARK;

/// The longest that a hook may take, with everything that it waits for.
const MAX_ANSWER: Duration = Duration::from_secs(10);

/// Tries a plugin with these settings: see [`Conformance::check`].
///
/// # Panics
/// The plugin does something that no plugin may do.
pub fn conformance<P: Plugin>(config: impl Fn() -> P::Config) {
    Conformance::<P>::new(config).check();
}

/// The tests that every plugin passes, with what is known of this one.
///
/// ```no_run
/// # use portcullis_plugin::{testing::{Build, Conformance, Request}, Plugin};
/// # fn key_auth<KeyAuth: Plugin>(config: fn() -> KeyAuth::Config, key_hash: KeyAuth::Credential) {
/// Conformance::<KeyAuth>::new(config)
///     .build(Build::new().credential::<KeyAuth>("acme", "acme-1", key_hash, |_| {}))
///     .granting(|| Request::get("/").header("x-api-key", "sk_live_4fKq0aVn1YcT7mGx2"))
///     .secret("sk_live_4fKq0aVn1YcT7mGx2")
///     .check();
/// # }
/// ```
pub struct Conformance<'c, P: Plugin> {
    config: Box<dyn Fn() -> P::Config + 'c>,
    build: Build,
    granting: Option<Box<dyn Fn() -> Request + 'c>>,
    identities: Vec<Arc<Identity>>,
    secrets: Vec<String>,
}

impl<'c, P: Plugin> Conformance<'c, P> {
    /// A plugin with these settings.
    pub fn new(config: impl Fn() -> P::Config + 'c) -> Self {
        let (build, secrets) = (Build::new(), vec![MARK.to_owned()]);
        Self { config: Box::new(config), build, granting: None, identities: vec![Arc::default()], secrets }
    }

    /// Adds the engine's side, with credentials.
    #[must_use]
    pub fn build(self, build: Build) -> Self {
        Self { build, ..self }
    }

    /// Adds a request that an authenticator grants, made anew each time: a signature may count once.
    #[must_use]
    pub fn granting(self, request: impl Fn() -> Request + 'c) -> Self {
        Self { granting: Some(Box::new(request)), ..self }
    }

    /// Adds an identity to ask a restriction about, beside one that says nothing.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identities.push(Arc::new(identity));
        self
    }

    /// Adds a text that must be seen nowhere: a key, a password, a token.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// Calls every hook that the plugin has, with some hundred odd requests: credentials, queries and cookies that are
    /// absent, empty, sent twice, malformed, oversized or not UTF-8, odd methods, paths, bodies and clocks, futures
    /// that are dropped where they wait, and stores that are unavailable, full or silent.
    ///
    /// # Panics
    /// A hook panics, or does not answer in time, or what it says repeats a secret; it grants although the store that it
    /// asked has failed; the request that it should grant is refused, also after others were abandoned; or an identity
    /// is refused after a reload without changes, or granted by other settings although its credentials are gone.
    pub fn check(mut self) {
        let store = Arc::new(DistantStore::new(Arc::new(LocalStore::default())));
        self.build.replace_store(store.clone());
        let hooks = self.hooks();
        let subject = Subject { hooks, store, secrets: self.secrets, identities: self.identities };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            subject.meets_odd_requests(&self.build.cookies).await;
            if let Some(request) = &self.granting {
                let identity = subject.grants(request).await;
                subject.grants_nothing_by_a_store_that_fails(request).await;
                subject.bears_any_clock(request).await;
                let again = self.build.plugin::<P>((self.config)()).ok().and_then(|hooks| hooks.authenticate);
                subject.judges_again(&*again.expect("it is built again"), &identity, &request()).await;
                let mut without = Build::new();
                without.replace_store(subject.store.clone());
                if let Some(hook) = without.plugin::<P>((self.config)()).ok().and_then(|hooks| hooks.authenticate) {
                    subject.forgets(&*hook, &identity).await;
                }
            }
        });
    }

    /// Builds the plugin, and looks at what it said meanwhile.
    fn hooks(&mut self) -> Hooks {
        let built = self.build.plugin::<P>((self.config)());
        let hooks = built.unwrap_or_else(|error| panic!("{}: it is not built: {:?}", P::NAME, error.problems));
        assert!(self.build.problems.is_empty(), "{}: problems of credentials: {:?}", P::NAME, self.build.problems);
        let said = format!("{:?}", self.build.warnings);
        assert!(!self.secrets.iter().any(|secret| said.contains(secret)), "{}: a warning has a secret", P::NAME);
        hooks
    }
}

/// A plugin that is being tried.
struct Subject {
    hooks: Hooks,
    store: Arc<DistantStore>,
    secrets: Vec<String>,
    identities: Vec<Arc<Identity>>,
}

impl Subject {
    async fn meets_odd_requests(&self, cookies: &Places) {
        let mut places = self.hooks.authenticate.as_ref().map(|hook| hook.places()).unwrap_or_default();
        places.merge(cookies.clone());
        for (name, make) in requests::odd(&places) {
            let _case = Case(&name);
            for polls in 0..3 {
                self.abandons(make(), polls);
            }
            self.answers(make()).await;
            self.store.fail(Some(StoreError::unavailable("the test says so")));
            self.answers(make()).await;
            self.store.fail(None);
        }
    }

    /// Begins a request, and leaves it after so many polls.
    fn abandons(&self, mut request: Request, polls: usize) {
        let Hooks { guard, authenticate, admit, prepare, serve, .. } = &self.hooks;
        guard.iter().for_each(|hook| abandon(hook.guard(&mut request.cx()), polls));
        authenticate.iter().for_each(|hook| abandon(hook.authenticate(&mut request.cx()), polls));
        for identity in &self.identities {
            admit.iter().for_each(|hook| abandon(hook.admit(&mut request.cx(), identity), polls));
        }
        prepare.iter().for_each(|hook| abandon(hook.prepare(&mut request.cx()), polls));
        serve.iter().for_each(|hook| abandon(hook.serve(&mut request.cx()), polls));
    }

    /// Takes a request through all hooks.
    async fn answers(&self, mut request: Request) {
        if let Some(hook) = &self.hooks.guard {
            let began = Instant::now();
            self.said(&bounded(began, hook.guard(&mut request.cx())).await);
        }
        if let Some(hook) = &self.hooks.authenticate {
            let attempt = match self.judged(&**hook, &mut request).await {
                Some(Authentication::Denied(denial)) => Attempt::Denied(denial.reason),
                _ => Attempt::Absent,
            };
            self.said(&hook.challenges(&request.cx(), attempt));
            self.said(&hook.challenges(&request.cx(), Attempt::Denied(Reason::Plugin("test"))));
            hook.heeds(&Revocation::Token { issuer: String::new(), jti: MARK.to_owned() });
        }
        for identity in &self.identities {
            request.identity = Some(identity.clone());
            if let Some(hook) = &self.hooks.admit {
                let began = Instant::now();
                self.said(&bounded(began, hook.admit(&mut request.cx(), identity)).await);
                for stream in streams(identity) {
                    let began = Instant::now();
                    self.said(&bounded(began, hook.recheck(&stream, identity)).await);
                }
            }
        }
        if let Some(hook) = &self.hooks.prepare {
            let began = Instant::now();
            self.said(&bounded(began, hook.prepare(&mut request.cx())).await);
        }
        if let Some(hook) = &self.hooks.serve {
            let began = Instant::now();
            self.said(&bounded(began, hook.serve(&mut request.cx())).await);
        }
        self.forwards(&mut request);
    }

    /// Calls the hooks that answer at once.
    fn forwards(&self, request: &mut Request) {
        let began = Instant::now();
        if let Some(hook) = &self.hooks.edit_request {
            let mut head = Forwarded::of(request);
            // On another target it runs again.
            self.said(&hook.edit_request(&request.cx(), &mut head));
            self.said(&hook.edit_request(&request.cx(), &mut head));
        }
        if let Some(hook) = &self.hooks.body {
            bodies::pass(&**hook, request, |said| self.said(&said));
        }
        if let Some(hook) = &self.hooks.edit_response {
            for mut response in requests::responses() {
                self.said(&hook.edit_response(&request.cx(), &mut response));
            }
        }
        if let Some(hook) = &self.hooks.observe {
            for (status, reason) in [(200, None), (0, None), (401, Some(Reason::Plugin("test")))] {
                let identity = request.identity.as_ref();
                hook.observe(&Outcome::new("test-request", "test", status, identity, reason, Duration::ZERO));
            }
        }
        assert!(began.elapsed() <= MAX_POLL, "it took {:?}", began.elapsed());
    }

    /// Returns the answer of an authenticator, or `None` where it failed.
    async fn judged(&self, hook: &dyn Authenticate, request: &mut Request) -> Option<Authentication> {
        let (began, asked) = (Instant::now(), self.store.round_trips());
        let answer = bounded(began, hook.authenticate(&mut request.cx())).await;
        self.said(&answer);
        let has_relied = self.store.is_failing() && self.store.round_trips() > asked;
        assert!(!(is_granted(&answer) && has_relied), "it asked the store, which failed, and it grants");
        answer.ok()
    }

    /// Returns the identity that the request proves.
    async fn grants(&self, request: &dyn Fn() -> Request) -> Arc<Identity> {
        let _case = Case("the request that is granted");
        let hook = self.hooks.authenticate.as_ref().expect("what grants authenticates");
        for polls in 0..3 {
            self.abandons(request(), polls);
        }
        let answer = self.judged(&**hook, &mut request()).await;
        self.answers(request()).await;
        match answer {
            Some(Authentication::Granted(identity) | Authentication::GrantedWith(identity, _)) => identity,
            other => panic!("it should be granted: {other:?}"),
        }
    }

    async fn grants_nothing_by_a_store_that_fails(&self, request: &dyn Fn() -> Request) {
        let full = StoreError::Full(Space::shared("conformance").name());
        for error in [StoreError::unavailable("the test says so"), StoreError::Timeout, full] {
            let name = format!("a store that fails: {error}");
            let _case = Case(&name);
            self.store.fail(Some(error));
            self.answers(request()).await;
        }
        self.store.fail(None);
        self.store.hang(true);
        for polls in 0..4 {
            let _case = Case("a store that does not answer");
            self.abandons(request(), polls);
        }
        self.store.hang(false);
        self.grants(request).await;
    }

    async fn bears_any_clock(&self, request: &dyn Fn() -> Request) {
        for now in requests::CLOCKS {
            let name = format!("the clock at {now}");
            let _case = Case(&name);
            self.answers(Request { now: UnixTime(now), ..request() }).await;
        }
    }

    /// Has a policy that was built anew judge an identity that was granted before.
    async fn judges_again(&self, hook: &dyn Authenticate, identity: &Arc<Identity>, request: &Request) {
        let _case = Case("a request that lasts");
        for stream in streams(identity) {
            let began = Instant::now();
            self.said(&bounded(began, hook.recheck(&stream)).await);
        }
        let certificate = request.certificate.as_ref().map(Option::as_ref).map_err(|reason| *reason);
        let stream = OpenStream { certificate, address: request.address, ..open_stream(identity) };
        let answer = bounded(Instant::now(), hook.recheck(&stream)).await;
        assert!(is_granted(&answer), "nothing has changed, and the request ends: {answer:?}");
    }

    /// Has a policy judge an identity whose credentials are gone. The engine ends such requests by itself; where the
    /// settings are others the policy has to.
    async fn forgets(&self, hook: &dyn Authenticate, identity: &Arc<Identity>) {
        let _case = Case("a request that lasts, of a credential that is gone");
        let stream = OpenStream { credentials: &[], has_same_settings: false, ..open_stream(identity) };
        let answer = bounded(Instant::now(), hook.recheck(&stream)).await;
        self.said(&answer);
        assert!(identity.credentials.is_empty() || !is_granted(&answer), "it grants: {answer:?}");
    }

    /// Looks for secrets in what a hook has said.
    fn said(&self, said: &dyn std::fmt::Debug) {
        let said = format!("{said:?}");
        let told = self.secrets.iter().find(|secret| said.contains(secret.as_str()));
        assert!(told.is_none(), "it tells the secret {told:?}: {said}");
    }
}

/// Streams of this identity at different times, before and after changes.
fn streams(identity: &Arc<Identity>) -> Vec<OpenStream<'_>> {
    let usual = open_stream(identity);
    let changed = [(true, true), (true, false), (false, true), (false, false)];
    let changed =
        changed.map(|(has_same_settings, has_same_files)| OpenStream { has_same_settings, has_same_files, ..usual });
    let other = requests::CLOCKS.map(|now| OpenStream { now: UnixTime(now), path: "/\u{e9}", route: "", ..usual });
    changed.into_iter().chain(other).collect()
}

fn is_granted<E>(answer: &Result<Authentication, E>) -> bool {
    matches!(answer, Ok(Authentication::Granted(_) | Authentication::GrantedWith(..)))
}

/// Waits for an answer, and not for long.
async fn bounded<T>(began: Instant, answer: Answer<'_, T>) -> T {
    assert!(began.elapsed() <= MAX_POLL, "it kept its thread for {:?}", began.elapsed());
    let mut answer = pin!(answer.get());
    let polled = std::future::poll_fn(|context| {
        let began = Instant::now();
        let polled = answer.as_mut().poll(context);
        assert!(began.elapsed() <= MAX_POLL, "it kept its thread for {:?}", began.elapsed());
        polled
    });
    tokio::time::timeout(MAX_ANSWER, polled).await.unwrap_or_else(|_| panic!("no answer within {MAX_ANSWER:?}"))
}

/// Leaves after so many polls.
fn abandon<T>(answer: Answer<'_, T>, polls: usize) {
    let mut answer = pin!(answer.get());
    let mut poll = || answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    for _ in 0..polls {
        if poll().is_ready() {
            return;
        }
    }
}

/// Says in which case a test has panicked.
struct Case<'c>(&'c str);

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("conformance: this happened with {}", self.0);
        }
    }
}

#[cfg(test)]
mod tests;
