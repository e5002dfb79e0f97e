use std::{
    any::{Any, TypeId},
    future::Future,
    hash::Hash,
    path::Path,
    sync::Arc,
    time::Duration,
};

use crate::{
    AddressRules, BoxFuture, Cache, Command, Counter, Credential, Gauge, Histogram, JudgeAgain, Metric, Place, Secret,
    SecretSource, StatusPart, StatusRows, Store, UnixTime,
    store::{Counters, Space},
};

/// The problems of a policy: one or more messages, each with the field it is about.
#[derive(Debug, Default)]
pub struct BuildError {
    /// The field (`"allow[1].groups"`; empty: the whole policy) and what is wrong with it.
    pub problems: Vec<(String, String)>,
}

impl BuildError {
    /// One problem. `field` is the path inside the policy; empty means the policy as a whole.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { problems: vec![(field.into(), message.into())] }
    }
}

/// A consumer's entry for this policy, decoded.
pub struct CredentialEntry {
    /// The part that every kind has.
    pub common: Arc<Credential>,
    /// The plugin's own part: its `Plugin::Credential`.
    pub own: Arc<dyn Any + Send + Sync>,
}

/// Background work: it is polled by the engine once the configuration is published, and dropped with it.
pub type Background = BoxFuture<'static, ()>;

/// Something that ends, so that a policy refuses requests from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ends {
    /// The certificate of this subject: a CA, mostly.
    Certificate(String),
    /// The list of revoked certificates of this CA.
    RevocationList(String),
}

/// The engine's side of a [`BuildCx`]. Tests have [`testing::Build`](crate::testing::Build).
pub trait BuildEnv {
    /// The policy's name in the file; for an inline one, the route's name with its `id`, or else its plugin's name.
    fn policy(&self) -> &str;
    /// The credentials that open this policy.
    fn credentials(&self) -> &[CredentialEntry];
    /// Reports a problem of one credential.
    fn credential_problem(&mut self, index: usize, field: &str, message: String);
    /// Reports a setting that is valid and probably a mistake.
    fn warn(&mut self, field: &str, message: String);
    /// Reads a file and remembers that the policy depends on it.
    fn read_file(&mut self, path: &Path) -> Result<Vec<u8>, String>;
    /// Reads a secret and remembers that the policy depends on it.
    fn secret(&mut self, source: &SecretSource) -> Result<Secret, String>;
    /// A value that outlives reloads, by its type and key.
    fn shared(
        &mut self,
        of: TypeId,
        key: &str,
        make: &mut dyn FnMut() -> Arc<dyn Any + Send + Sync>,
    ) -> Arc<dyn Any + Send + Sync>;
    /// Work to start after publishing.
    fn background(&mut self, work: Background);
    /// Work to finish between `build` and publishing.
    fn before_publish(&mut self, work: Background);
    /// The store, for data that outlives a request.
    fn store(&self) -> Arc<dyn Store>;
    /// Has open requests judged again.
    fn judge_again(&self) -> JudgeAgain;
    /// The rules for addresses that the configuration does not name.
    fn address_rules(&self) -> AddressRules;
    /// Returns `true` if secrets are read, and not only checked to be named.
    fn has_secrets(&self) -> bool;
    /// The time that a hook of the policy may take.
    fn hook_timeout(&self) -> Duration;
    /// The metric of this name and these labels; `new`, if there is none yet. It is of the same kind as `new`.
    fn metric(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        new: Metric,
    ) -> Metric;
    /// Reports something that the policy depends on and that ends.
    fn ends(&mut self, what: Ends, at: UnixTime);
    /// Registers a command of the control socket.
    fn command(&mut self, command: Command);
    /// Registers a part of `/status`.
    fn status(&mut self, part: StatusPart);
    /// The most of one request's body that can be held.
    fn max_held_body_bytes(&self) -> usize;
    /// Has a cookie of the policy's own removed from every request to every upstream.
    fn cookie(&mut self, place: Place);
}

/// The context in which a plugin is built.
pub struct BuildCx<'b> {
    env: &'b mut dyn BuildEnv,
}

impl<'b> BuildCx<'b> {
    /// Wraps the engine's side.
    pub fn new(env: &'b mut dyn BuildEnv) -> Self {
        Self { env }
    }

    /// The policy's name.
    pub fn policy(&self) -> &str {
        self.env.policy()
    }

    /// The credentials that open this policy, each with its index for [`BuildCx::credential_problem`].
    pub fn credentials<C: Send + Sync + 'static>(&self) -> Vec<(usize, Arc<Credential>, Arc<C>)> {
        let entries = self.env.credentials().iter().enumerate();
        entries
            .filter_map(|(index, entry)| Some((index, entry.common.clone(), entry.own.clone().downcast::<C>().ok()?)))
            .collect()
    }

    /// Reports a problem of the credential at `index`; the configuration is refused.
    pub fn credential_problem(&mut self, index: usize, field: &str, message: impl Into<String>) {
        self.env.credential_problem(index, field, message.into());
    }

    /// Warns of a setting that is valid and probably a mistake, such as one that lets in more than it seems to. `field` is
    /// the path inside the policy; `check` and every reload show the warning.
    pub fn warn(&mut self, field: &str, message: impl Into<String>) {
        self.env.warn(field, message.into());
    }

    /// Reads a file. A path that is not absolute starts at the configuration's folder.
    ///
    /// # Errors
    /// The reason why the file that `field` names cannot be read.
    pub fn read_file(&mut self, field: &str, path: &Path) -> Result<Vec<u8>, BuildError> {
        self.env.read_file(path).map_err(|why| BuildError::new(field, why))
    }

    /// Reads a secret.
    ///
    /// # Errors
    /// The reason why the secret that `field` names cannot be read. An empty one is an error too.
    pub fn secret(&mut self, field: &str, source: &SecretSource) -> Result<Secret, BuildError> {
        self.env.secret(source).map_err(|why| BuildError::new(field, why))
    }

    /// A value that outlives reloads: caches, counters, key sets. `key` says what it is about.
    pub fn shared<T: Send + Sync + 'static>(&mut self, key: &str, make: impl Fn() -> T) -> Arc<T> {
        let any = self.env.shared(TypeId::of::<T>(), key, &mut || Arc::new(make()));
        any.downcast().expect("shared values are kept by their type")
    }

    /// A cache that outlives reloads, for so many values. `key` says what it is about: whatever its answers depend on and
    /// does not stand in the keys of the cache belongs into it, such as the address that is asked and as whom.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use portcullis_plugin::{BuildCx, Cache};
    ///
    /// fn answers(cx: &mut BuildCx<'_>, endpoint: &str, client_id: &str) -> Arc<Cache<[u8; 32], bool>> {
    ///     cx.cache(&format!("introspection {endpoint} {client_id}"), 10_000)
    /// }
    /// ```
    pub fn cache<K, V>(&mut self, key: &str, most: usize) -> Arc<Cache<K, V>>
    where
        K: Eq + Hash + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
    {
        self.shared(&format!("{key} most={most}"), || Cache::new(most))
    }

    /// The store, for data that outlives a request: counters, nonces, revocations. There is one for the whole gateway,
    /// or the fleet.
    pub fn store(&self) -> Arc<dyn Store> {
        self.env.store()
    }

    /// Returns the space of the store for entries of this policy, such as its sessions.
    pub fn space(&self, kind: &'static str) -> Space {
        Space::of_policy(kind, self.policy())
    }

    /// Returns the store's counters of this policy.
    pub fn counters(&self, kind: &'static str) -> Counters {
        Counters::of_policy(kind, self.policy())
    }

    /// Returns a handle for a policy that learns by itself, without a reload, that something it granted by may be good
    /// no longer: requests that were let in and have not ended are judged again within a second, and not only after a
    /// minute, when the handle is called.
    pub fn judge_again(&self) -> JudgeAgain {
        self.env.judge_again()
    }

    /// The rules for addresses that the policy connects to and that a document names, or a server, and not the
    /// configuration.
    pub fn address_rules(&self) -> AddressRules {
        self.env.address_rules()
    }

    /// The time that a hook of this policy may take (`hook_timeout`), so that waits which would outlast it are noticed.
    pub fn hook_timeout(&self) -> Duration {
        self.env.hook_timeout()
    }

    /// Returns `false` in a run that goes without secrets (`check --no-secrets`): those from outside the file are
    /// stand-ins then, which must not be parsed.
    pub fn has_secrets(&self) -> bool {
        self.env.has_secrets()
    }

    /// A counter among the gateway's metrics, kept over reloads. Every combination of label values is a line of its own
    /// for ever: only what the configuration says may be one.
    pub fn counter(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        match self.env.metric(name, help, labels, Metric::Counter(Counter::default())) {
            Metric::Counter(counter) => counter,
            _ => Counter::default(),
        }
    }

    /// A gauge among the gateway's metrics, as with [`BuildCx::counter`].
    pub fn gauge(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        match self.env.metric(name, help, labels, Metric::Gauge(Gauge::default())) {
            Metric::Gauge(gauge) => gauge,
            _ => Gauge::default(),
        }
    }

    /// A histogram among the gateway's metrics, with these upper bounds, such as [`Histogram::ANSWER_SECONDS`]; as with
    /// [`BuildCx::counter`].
    pub fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        bounds: &'static [f64],
    ) -> Histogram {
        match self.env.metric(name, help, labels, Metric::Histogram(Histogram::new(bounds))) {
            Metric::Histogram(histogram) => histogram,
            _ => Histogram::new(bounds),
        }
    }

    /// Reports something that the policy depends on and that ends at this moment: it is a gauge among the metrics.
    pub fn ends(&mut self, what: Ends, at: UnixTime) {
        self.env.ends(what, at);
    }

    /// Declares a cookie of the policy's own, such as a session: it is removed from every request to every upstream, on
    /// routes that do not use the policy and public ones too, whatever `keep` says. The other cookies of a request stay
    /// as they are, byte for byte. Hooks that run before the request is forwarded see it. Nor can an upstream set it: such
    /// a `Set-Cookie` does not reach the client.
    ///
    /// # Errors
    /// The name is no token (RFC 6265 section 4.1.1).
    pub fn cookie(&mut self, name: &str) -> Result<(), BuildError> {
        let place = Place::cookie(name.to_owned()).map_err(|why| BuildError::new("", why))?;
        self.env.cookie(place);
        Ok(())
    }

    /// Registers a command of the control socket: `portcullis policy POLICY COMMAND [ARGUMENTS...]`. Two of one name are
    /// an error of the plugin. It lives as long as the policy: what it changes should belong to the policy as well.
    pub fn command(&mut self, command: Command) {
        self.env.command(command);
    }

    /// Registers a part of `/status`: a few named values, such as the age of what was fetched. `rows` is asked for them
    /// at each look, away from the workers, and answers at once; it tells no secret.
    pub fn status(&mut self, title: impl Into<String>, rows: impl Fn(&mut StatusRows) + Send + Sync + 'static) {
        self.env.status(StatusPart::new(title, rows));
    }

    /// The most that [`RequestCx::body`](crate::RequestCx::body) can give of one request, whatever limit it is called
    /// with: one client may hold half of `server.max_held_body_bytes`.
    pub fn max_held_body_bytes(&self) -> usize {
        self.env.max_held_body_bytes()
    }

    /// Hands over work that is finished, if it takes no longer than 5 s, after everything is built and before the
    /// configuration is published: the first fetch of a key set.
    pub fn before_publish(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.env.before_publish(Box::pin(work));
    }

    /// Hands over work that is done again and again after the configuration is published, with a pause of this length
    /// before each time, and ends with the policy.
    pub fn every<F>(&mut self, pause: Duration, mut work: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.background(async move {
            loop {
                tokio::time::sleep(pause).await;
                work().await;
            }
        });
    }

    /// Hands over work that starts after the configuration is published and ends with the policy.
    pub fn background(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.env.background(Box::pin(work));
    }
}
