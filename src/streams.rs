//! Long requests, judged again whenever the basis of their permission may have changed.
//!
//! A caller is authenticated once, when a request comes. A WebSocket, a stream of events or a gRPC call goes on for
//! hours after it, and would outlast a revoked token, a withdrawn certificate, a removed consumer. A request that still
//! runs after a second is registered here, with the little that is needed to judge it again ([`Basis`]). After each
//! reload, each revocation and each change that a policy notices by itself (an issuer's key set), and once a minute for
//! changes without notice (a CRL that ends), a thread of its own, and others if there are many, judge all of them by
//! the current configuration, and those that would be refused now end. A judgement that has to wait for an answer
//! delays no other: see [`Rounds`].
//!
//! Short requests are never registered, and pay a few reference counts. A registered request holds no configuration.

mod rounds;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicBool, AtomicI64, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};

use http::{HeaderValue, Method, Uri};
use parking_lot::Mutex;
use pingora::protocols::raw_connect::ProxyDigest;
use portcullis_plugin::{Identity, Reason, UnixTime};
use tokio::sync::Notify;

pub(crate) use self::rounds::{Judged, Rounds};
use crate::{router::KeptHeaders, snapshot::RouteRecord};

/// The time that a request goes on although it cannot be judged, because a store or an OCSP responder does not answer.
const UNDECIDED_MAX: Duration = Duration::from_secs(60);
/// The time that a request goes on while nobody was asked about it, because too many others wait for their answers.
const QUEUED_MAX: Duration = Duration::from_secs(5 * 60);
/// A deadline that never comes.
pub(crate) const NEVER: i64 = i64::MAX;

/// The basis of a request's permission, from the moment it is let through.
pub(crate) struct Basis {
    /// The round of judging that the request's own admission counts as: see [`OpenStreams::round`].
    pub round: u64,
    /// The registry for long requests.
    pub streams: Arc<OpenStreams>,
    /// Its route.
    pub record: Arc<RouteRecord>,
    /// The caller's identity; `None` on public routes.
    pub identity: Option<Arc<Identity>>,
    /// The alternative of the route's `auth` that granted; `None` for the anonymous consumer.
    pub granted_by: Option<usize>,
    /// The request's method.
    pub method: Method,
    /// Its canonical target.
    pub uri: Uri,
    /// Its `Host`.
    pub host: Option<HeaderValue>,
    /// The headers of the request that routes had conditions on when it came; `None` if no route had one.
    pub headers: Option<Box<KeptHeaders>>,
    /// The client's address, after trusted hops.
    pub address: IpAddr,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Set if the client spoke TLS.
    pub is_https: bool,
    /// The facts known about the connection since it was made.
    pub connection: Option<Arc<ProxyDigest>>,
}

/// The reason why a request that goes on would be refused if it came now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Withdrawn {
    /// The reason for log and metric.
    pub reason: Reason,
    /// The policy that refuses it, if one does.
    pub policy: Option<Arc<str>>,
    /// Details for the audit log.
    pub detail: Option<Arc<str>>,
}

/// The result of judging a request again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It would be let in now, and may go on until this moment.
    Good(Option<UnixTime>),
    /// It would be refused now.
    Over(Withdrawn),
    /// It cannot be judged now.
    Undecided(String),
}

/// The registry of long requests.
pub(crate) struct OpenStreams {
    round: AtomicU64,
    due: Notify,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Stream>>>,
    /// Their number, for the metrics.
    count: Arc<AtomicUsize>,
}

/// A registered request.
pub(crate) struct Stream {
    basis: Basis,
    judged: AtomicU64,
    deadline: AtomicI64,
    over: OnceLock<Withdrawn>,
    ended: Notify,
    undecided_since: Mutex<Option<Instant>>,
    queued_since: Mutex<Option<Instant>>,
    /// Set while a judgement waits for an answer, or for a free place.
    is_waiting: AtomicBool,
}

/// A registration, which is removed when it is dropped.
pub(crate) struct Entered {
    stream: Arc<Stream>,
    number: u64,
}

impl OpenStreams {
    /// Returns an empty registry. `count` is kept up to date.
    pub(crate) fn new(count: Arc<AtomicUsize>) -> Self {
        Self { round: AtomicU64::new(0), due: Notify::new(), next: AtomicU64::new(0), open: Mutex::default(), count }
    }

    /// Returns the number of the last round that was requested. A request reads it before it looks at anything that it
    /// is judged by: it has seen every change before that.
    pub(crate) fn round(&self) -> u64 {
        self.round.load(SeqCst)
    }

    /// Requests a round, after a change of something that requests are judged by. To be called when the change is
    /// visible.
    pub(crate) fn judge_again(&self) {
        self.round.fetch_add(1, SeqCst);
        self.due.notify_one();
    }

    /// Registers a request, which ends at `deadline` unless it is judged otherwise.
    pub(crate) fn enter(basis: Basis, deadline: i64) -> Entered {
        let streams = basis.streams.clone();
        let stream = Arc::new(Stream {
            judged: AtomicU64::new(basis.round),
            deadline: AtomicI64::new(deadline),
            over: OnceLock::new(),
            ended: Notify::new(),
            undecided_since: Mutex::default(),
            queued_since: Mutex::default(),
            is_waiting: AtomicBool::new(false),
            basis,
        });
        let number = streams.next.fetch_add(1, Relaxed);
        streams.open.lock().insert(number, stream.clone());
        streams.count.fetch_add(1, Relaxed);
        // A round that was requested since the request came has missed it.
        if stream.basis.round < streams.round() {
            streams.due.notify_one();
        }
        Entered { stream, number }
    }

    /// Waits until a round has been requested.
    pub(crate) async fn called(&self) {
        self.due.notified().await;
    }

    /// Begins a round that was not requested.
    pub(crate) fn begin_round(&self) {
        self.round.fetch_add(1, SeqCst);
    }

    /// Returns the requests that were not judged in this round or a later one.
    fn due(&self, round: u64) -> Vec<Arc<Stream>> {
        self.open.lock().values().filter(|stream| stream.is_due(round)).cloned().collect()
    }

    /// Returns their number.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Returns whether there are none.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for OpenStreams {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Withdrawn {
    /// Returns the result for a reason without details.
    pub(crate) fn by(reason: Reason) -> Self {
        Self { reason, policy: None, detail: None }
    }
}

impl Stream {
    /// Returns the basis that it is judged by.
    pub(crate) fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Returns whether it has to be judged in this round.
    fn is_due(&self, round: u64) -> bool {
        self.judged.load(Relaxed) < round && self.over.get().is_none()
    }

    /// Notes that its judgement waits for an answer from elsewhere: from now on it may take so long and no longer.
    fn asked(&self) {
        self.undecided_since.lock().get_or_insert_with(Instant::now);
        *self.queued_since.lock() = None;
    }

    /// Notes that it cannot be judged at once in this round. Nobody may have been asked about it yet: it is not ended
    /// for that, but for having waited too long for its turn.
    fn take_waiting(&self, round: u64) -> Standing {
        if self.undecided_since.lock().is_some() {
            return self.take(round, Standing::Undecided("it waits for an answer".to_owned()));
        }
        let since = *self.queued_since.lock().get_or_insert_with(Instant::now);
        if since.elapsed() < QUEUED_MAX {
            return Standing::Undecided("it waits for its turn".to_owned());
        }
        let detail = Some("too many others were judged before it".into());
        self.take(round, Standing::Over(Withdrawn { detail, ..Withdrawn::by(Reason::PluginFailed) }))
    }

    /// Stores the result of a judgement that was begun in this round, unless a later one has decided since; a request
    /// that cannot be judged for too long is ended. Only one thread judges a request.
    fn take(&self, round: u64, standing: Standing) -> Standing {
        if !self.is_due(round) {
            return standing;
        }
        let standing = match standing {
            Standing::Undecided(why) => {
                let since = *self.undecided_since.lock().get_or_insert_with(Instant::now);
                let is_up = since.elapsed() >= UNDECIDED_MAX;
                let over = || Withdrawn { detail: Some(why.as_str().into()), ..Withdrawn::by(Reason::PluginFailed) };
                if is_up { Standing::Over(over()) } else { Standing::Undecided(why) }
            }
            decided => decided,
        };
        match &standing {
            Standing::Undecided(_) => return standing,
            Standing::Good(deadline) => self.deadline.store(deadline.map_or(NEVER, |deadline| deadline.0), Relaxed),
            // The first reason ends it, and is final.
            Standing::Over(why) => {
                _ = self.over.set(why.clone());
                self.ended.notify_one();
            }
        }
        *self.undecided_since.lock() = None;
        *self.queued_since.lock() = None;
        self.judged.fetch_max(round, Relaxed);
        standing
    }

    /// Returns the reason why it has to end, if it was judged so.
    pub(crate) fn over(&self) -> Option<&Withdrawn> {
        self.over.get()
    }

    /// Waits until it was judged so. Only one task waits for that.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Returns the time when it has to end, by its identity.
    pub(crate) fn deadline(&self) -> i64 {
        self.deadline.load(Relaxed)
    }
}

impl std::ops::Deref for Entered {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.stream
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let streams = &self.stream.basis.streams;
        streams.open.lock().remove(&self.number);
        streams.count.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
pub(crate) mod tests;
