//! State that outlives a reload: metrics, the use of credentials, and the data that plugins share and store.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Arc, Weak, atomic::AtomicBool},
};

use parking_lot::Mutex;
use portcullis_plugin::{Credential, LocalStore, Store, Usage};

use crate::{
    body_budget::BodyBudget,
    config::Fingerprint,
    streams::OpenStreams,
    telemetry::{Output, metrics::Metrics},
    tls::TicketKeys,
    upstream::{Names, RetryBudgets, SharedByUpstreams},
};

/// A credential's kind and id.
pub(crate) type CredentialKey = (&'static str, Arc<str>);

/// The use of each credential, with the fingerprint of its secret.
type Used = HashMap<CredentialKey, (Fingerprint, Arc<Usage>)>;
type Shared = HashMap<(TypeId, String), Weak<dyn Any + Send + Sync>>;

/// State that all snapshots of a process share.
pub(crate) struct Services {
    /// Counters and histograms.
    pub metrics: Arc<Metrics>,
    /// The output of log lines.
    pub output: Output,
    /// The store of plugins.
    pub store: Arc<dyn Store>,
    /// The memory budget of buffered bodies.
    pub body_budget: Arc<BodyBudget>,
    /// The names of upstreams' targets, with their addresses.
    pub names: Arc<Names>,
    /// The retry budgets of upstreams.
    pub retries: RetryBudgets,
    /// Long requests.
    pub streams: Arc<OpenStreams>,
    /// The keys that TLS sessions are sealed with.
    pub tickets: Arc<TicketKeys>,
    /// Set if audit events found no room in spite of waiting, and none has been queued since.
    pub is_audit_stuck: AtomicBool,
    /// Set when the gateway ends, and cuts off the remaining requests.
    pub has_stopped: AtomicBool,
    usage: Mutex<Used>,
    shared: Mutex<Shared>,
}

impl Services {
    /// Returns services with nothing counted yet.
    pub(crate) fn new(metrics: Arc<Metrics>, output: Output) -> Self {
        Self {
            body_budget: Arc::new(BodyBudget::new(metrics.held_body_bytes())),
            streams: Arc::new(OpenStreams::new(metrics.open_streams())),
            metrics,
            names: Arc::new(Names::new(output.clone())),
            retries: RetryBudgets::default(),
            output,
            store: Arc::new(LocalStore::default()),
            tickets: Arc::new(TicketKeys::random().expect("a machine without random numbers keeps no secret")),
            is_audit_stuck: AtomicBool::new(false),
            has_stopped: AtomicBool::new(false),
            usage: Mutex::default(),
            shared: Mutex::default(),
        }
    }

    /// Returns the state that upstreams share.
    pub(crate) fn of_upstreams(&self) -> SharedByUpstreams<'_> {
        SharedByUpstreams { metrics: &self.metrics, names: &self.names, retries: &self.retries }
    }

    /// Returns the use of a credential. With another secret the same id is another credential.
    pub(crate) fn usage(&self, key: &CredentialKey, secret: Fingerprint) -> Arc<Usage> {
        let known = self.usage.lock().get(key).filter(|known| known.0 == secret).cloned();
        // Not stored yet: a configuration that is only checked, or refused, leaves nothing behind.
        known.map(|(_, usage)| usage).unwrap_or_default()
    }

    /// Stores the credentials of a published snapshot, each with the fingerprint of its secret: the use of others is
    /// forgotten.
    pub(crate) fn adopt<'a>(&self, credentials: impl Iterator<Item = (&'a Arc<Credential>, Fingerprint)>) {
        let current = credentials.map(|(credential, secret)| {
            credential.usage.set_revoked(credential.limits.disabled);
            ((credential.kind, credential.id.clone()), (secret, credential.usage.clone()))
        });
        let current: HashMap<_, _> = current.collect();
        let mut usage = self.usage.lock();
        let before = std::mem::replace(&mut *usage, current);
        let is_gone = |key, (secret, _): &(Fingerprint, _)| usage.get(key).is_none_or(|now| now.0 != *secret);
        before.iter().filter(|(key, was)| is_gone(*key, was)).for_each(|(_, (_, gone))| gone.set_revoked(true));
        drop(usage);
        self.shared.lock().retain(|_, value| value.strong_count() > 0);
    }

    /// Returns a value that plugins share, by its type and key; it lives as long as a policy holds it.
    pub(crate) fn shared(
        &self,
        of: TypeId,
        key: &str,
        make: &mut dyn FnMut() -> Arc<dyn Any + Send + Sync>,
    ) -> Arc<dyn Any + Send + Sync> {
        let mut shared = self.shared.lock();
        let kept = shared.get(&(of, key.to_owned())).and_then(Weak::upgrade);
        kept.unwrap_or_else(|| {
            let made = make();
            shared.insert((of, key.to_owned()), Arc::downgrade(&made));
            made
        })
    }
}
