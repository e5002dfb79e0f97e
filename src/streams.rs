//! Requests that last, judged again whenever what they rest on may have changed.
//!
//! Who calls is found out once, when a request comes. A WebSocket, a stream of events or a call of gRPC goes on for hours
//! after it, and would go on past a revoked token, a withdrawn certificate, a consumer that was taken out. A request that
//! is still there after a second is entered here, with the little that is needed to judge it again ([`Basis`]). After
//! each reload, each revocation and each change that a policy learns of by itself (an issuer's key set), and once a minute
//! for what changes unseen (a CRL that ends), a thread of its own judges all of them by the configuration that serves, and
//! those that would be refused now end. What has to wait for an answer holds up no other: see [`Rounds`].
//!
//! Short requests are never entered, and pay a few reference counts. What is entered holds no configuration.

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
use pingora_core::protocols::raw_connect::ProxyDigest;
use portcullis_plugin::{Identity, Reason, UnixTime};
use tokio::sync::Notify;

pub use self::rounds::{JudgeBy, Judged, Judgement, Rounds, WAITING_MAX};
use crate::{router::KeptHeaders, snapshot::RouteRecord};

/// For how long a request goes on that cannot be judged, because a store or an OCSP responder does not answer.
const UNDECIDED_MAX: Duration = Duration::from_secs(60);
/// A deadline that never comes.
pub const NEVER: i64 = i64::MAX;

/// What a request rests on, from the moment it is let through.
pub struct Basis {
    /// The round of judging that the request itself stands for: see [`OpenStreams::round`].
    pub round: u64,
    /// Where it is entered if it lasts.
    pub streams: Arc<OpenStreams>,
    /// Its route.
    pub record: Arc<RouteRecord>,
    /// Who is calling; absent on public routes.
    pub identity: Option<Arc<Identity>>,
    /// The alternative of the route's `auth` that found it out; absent for the anonymous consumer.
    pub granted_by: Option<usize>,
    /// The request's method.
    pub method: Method,
    /// Its canonical target.
    pub uri: Uri,
    /// Its `Host`.
    pub host: Option<HeaderValue>,
    /// Those of its headers that routes had conditions on when it came; absent where no route had one.
    pub headers: Option<Box<KeptHeaders>>,
    /// The client's address, after trusted hops.
    pub address: IpAddr,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Whether the client spoke TLS.
    pub is_https: bool,
    /// What is known of the connection since it was made.
    pub connection: Option<Arc<ProxyDigest>>,
}

/// Why a request that goes on would be refused if it came now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// For log and metric.
    pub reason: Reason,
    /// The policy that says so, if one does.
    pub policy: Option<Arc<str>>,
    /// More exactly, for the audit log.
    pub detail: Option<Arc<str>>,
}

/// What came of judging a request again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It would be let in now, and may go on until this moment.
    Good(Option<UnixTime>),
    /// It would be refused now.
    Over(Withdrawn),
    /// It cannot be told now.
    Undecided(String),
}

/// The requests that last.
pub struct OpenStreams {
    round: AtomicU64,
    due: Notify,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Stream>>>,
    /// How many there are, for the metrics.
    count: Arc<AtomicUsize>,
}

/// One of them.
pub struct Stream {
    basis: Basis,
    judged: AtomicU64,
    deadline: AtomicI64,
    over: OnceLock<Withdrawn>,
    undecided_since: Mutex<Option<Instant>>,
    /// A judgement waits for an answer, or for room to be made.
    is_waiting: AtomicBool,
}

/// An entry that is taken out again when it is dropped.
pub struct Entered {
    stream: Arc<Stream>,
    number: u64,
}

impl OpenStreams {
    /// None yet. `count` is kept up to date.
    pub fn new(count: Arc<AtomicUsize>) -> Self {
        Self { round: AtomicU64::new(0), due: Notify::new(), next: AtomicU64::new(0), open: Mutex::default(), count }
    }

    /// The number of the last round that was called for. A request asks for it before it looks at anything by which it is
    /// judged: whatever changed before that, it has seen.
    pub fn round(&self) -> u64 {
        self.round.load(SeqCst)
    }

    /// Something changed by which requests are judged: those that are under way are judged again. To be called when the
    /// change can be seen.
    pub fn judge_again(&self) {
        self.round.fetch_add(1, SeqCst);
        self.due.notify_one();
    }

    /// Enters a request, which ends at `deadline` unless it is judged otherwise.
    pub fn enter(basis: Basis, deadline: i64) -> Entered {
        let streams = basis.streams.clone();
        let stream = Arc::new(Stream {
            judged: AtomicU64::new(basis.round),
            deadline: AtomicI64::new(deadline),
            over: OnceLock::new(),
            undecided_since: Mutex::default(),
            is_waiting: AtomicBool::new(false),
            basis,
        });
        let number = streams.next.fetch_add(1, Relaxed);
        streams.open.lock().insert(number, stream.clone());
        streams.count.fetch_add(1, Relaxed);
        // A round that was called for since the request came has passed it by.
        if stream.basis.round < streams.round() {
            streams.due.notify_one();
        }
        Entered { stream, number }
    }

    /// Returns once a round has been called for.
    pub async fn called(&self) {
        self.due.notified().await;
    }

    /// Begins a round that nobody has called for.
    pub fn begin_round(&self) {
        self.round.fetch_add(1, SeqCst);
    }

    /// Those that were not judged in this round or a later one.
    fn due(&self, round: u64) -> Vec<Arc<Stream>> {
        self.open.lock().values().filter(|stream| stream.is_due(round)).cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for OpenStreams {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Withdrawn {
    /// For a reason that needs no more words.
    pub fn by(reason: Reason) -> Self {
        Self { reason, policy: None, detail: None }
    }
}

impl Stream {
    /// By what it is judged.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Whether it has to be judged in this round.
    fn is_due(&self, round: u64) -> bool {
        self.judged.load(Relaxed) < round && self.over.get().is_none()
    }

    /// Takes the outcome of a judgement that was begun in this round, unless a later one has decided since; a request that
    /// cannot be judged for too long is over. One thread judges.
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
            // It is over once and for all, by the first reason.
            Standing::Over(why) => _ = self.over.set(why.clone()),
        }
        *self.undecided_since.lock() = None;
        self.judged.fetch_max(round, Relaxed);
        standing
    }

    /// Why it has to end, if it was judged so.
    pub fn over(&self) -> Option<&Withdrawn> {
        self.over.get()
    }

    /// When it has to end, by who is calling.
    pub fn deadline(&self) -> i64 {
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
