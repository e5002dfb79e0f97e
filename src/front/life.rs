//! How long a request may last: no longer than the limit, nor than what it proved its identity with.
//!
//! Authentication happens once, at the beginning of a request. A download, a WebSocket or a stream of events goes on
//! for hours after it, and would go on past the end of a token or the day a key is revoked. The engine tells the
//! [`StreamLife`] of a request what it rests on; one that lasts is judged again by [`crate::streams`], and ends within
//! about a second of losing what it rests on.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use portcullis_plugin::UnixTime;

use super::{
    admission::Busy,
    clock::now_ms,
    unsent::{Backlog, ConnectionBacklog},
};
use crate::streams::{self, Basis, NEVER, OpenStreams, Withdrawn};

/// How often a request that lasts is looked at. Short ones are over before the first time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

tokio::task_local! {
    static LIFE: Arc<StreamLife>;
}

/// The life of the request that the current task serves: for `ProxyHttp::new_ctx`, which is given nothing to find it by.
pub fn current_life() -> Option<Arc<StreamLife>> {
    LIFE.try_with(Arc::clone).ok()
}

/// Serves a request so that [`current_life`] finds `life` in it.
pub(super) fn within<F: Future>(life: &Arc<StreamLife>, request: F) -> impl Future<Output = F::Output> {
    LIFE.scope(life.clone(), request)
}

/// What a request rests on.
pub struct StreamLife {
    deadline: AtomicI64,
    /// When the last piece of the body came, where one is still to come; in milliseconds of [`now_ms`], never zero.
    body_moved: AtomicU64,
    is_answered: AtomicBool,
    is_upgraded: AtomicBool,
    backlog: Arc<Backlog>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Until the request has lasted long enough to be judged again.
    basis: Option<Basis>,
    ended: Option<StreamEnd>,
    /// Over HTTP/2; over HTTP/1 whoever reads the connection's heads keeps it.
    busy: Option<Busy>,
}

impl Default for StreamLife {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

/// Why a request was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// It lasted longer than `max_stream_age`.
    TooOld,
    /// Its credential or token expired.
    Expired,
    /// It would be refused if it came now.
    Withdrawn(Withdrawn),
    /// The request's body stood still for longer than `body_timeout`.
    BodyStalled,
    /// The client took nothing of the response for `write_timeout`.
    ClientStalled,
}

impl StreamLife {
    /// Of a request, or of one after the other, on this connection.
    pub(super) fn new(connection: Arc<ConnectionBacklog>) -> Self {
        Self {
            deadline: AtomicI64::new(NEVER),
            body_moved: AtomicU64::new(0),
            is_answered: AtomicBool::new(false),
            is_upgraded: AtomicBool::new(false),
            backlog: Arc::new(Backlog::new(connection)),
            state: Mutex::default(),
        }
    }

    /// What of the response waits for the client.
    pub fn backlog(&self) -> &Arc<Backlog> {
        &self.backlog
    }

    /// The request ends at this moment. Of several deadlines the first counts.
    pub fn set_deadline(&self, deadline: UnixTime) {
        self.deadline.fetch_min(deadline.0, Relaxed);
    }

    /// The request is judged again by this, and ends when it would be refused.
    pub fn rest_on(&self, basis: Basis) {
        self.state.lock().basis = Some(basis);
    }

    /// More of the body is to come, and has just come. For HTTP/2 alone: over HTTP/1 Pingora keeps this time itself.
    pub fn body_moves(&self) {
        self.body_moved.store(now_ms(), Relaxed);
    }

    /// Nothing more of the body is waited for.
    pub fn body_ended(&self) {
        self.body_moved.store(0, Relaxed);
    }

    /// The response has begun: nothing more of the body is waited for, and what comes of it comes when it comes.
    pub fn answered(&self) {
        self.body_ended();
        self.is_answered.store(true, Relaxed);
    }

    pub(super) fn is_answered(&self) -> bool {
        self.is_answered.load(Relaxed)
    }

    /// The upstream has agreed to the upgrade that the request asked for: from here on the client's bytes are no request.
    pub fn upgraded(&self) {
        self.is_upgraded.store(true, Relaxed);
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.is_upgraded.load(Relaxed)
    }

    /// The connection is in use until the request ends, or [`vacate`](Self::vacate) is called.
    pub(super) fn occupy(&self, busy: Busy) {
        self.state.lock().busy = Some(busy);
    }

    /// The request has been refused, and waits for its client alone: the connection may be closed for another one.
    pub fn vacate(&self) {
        self.state.lock().busy = None;
    }

    /// Why the request was ended, if it was ended from here: for the log line, which is written while it is dropped.
    pub fn ended(&self) -> Option<StreamEnd> {
        self.state.lock().ended.clone()
    }

    /// Fit for the next request on a connection.
    pub(super) fn reset(&self) {
        self.deadline.store(NEVER, Relaxed);
        self.body_moved.store(0, Relaxed);
        self.is_answered.store(false, Relaxed);
        self.is_upgraded.store(false, Relaxed);
        self.backlog.reset();
        *self.state.lock() = State::default();
    }

    /// Ends when the request has to.
    pub(super) async fn over(&self, max_age: Duration, body_timeout: Duration, pulse: &mut Timer) {
        let started = Instant::now();
        let (mut now, mut left) = (started, max_age);
        let mut stream = None;
        loop {
            pulse.wait_until(now + LOOK_EVERY.min(left)).await;
            now = Instant::now();
            left = max_age.saturating_sub(now - started);
            if stream.is_none() {
                let basis = self.state.lock().basis.take();
                stream = basis.map(|basis| OpenStreams::enter(basis, self.deadline.load(Relaxed)));
            }
            if let Some(end) = self.verdict(left, body_timeout, stream.as_deref()) {
                self.state.lock().ended = Some(end);
                return;
            }
        }
    }

    fn verdict(&self, left: Duration, body_timeout: Duration, stream: Option<&streams::Stream>) -> Option<StreamEnd> {
        if left.is_zero() {
            return Some(StreamEnd::TooOld);
        }
        let body_moved = self.body_moved.load(Relaxed);
        if body_moved > 0 && u128::from(now_ms().saturating_sub(body_moved)) >= body_timeout.as_millis() {
            return Some(StreamEnd::BodyStalled);
        }
        if self.backlog.is_stalled() {
            return Some(StreamEnd::ClientStalled);
        }
        if let Some(why) = stream.and_then(streams::Stream::over) {
            return Some(StreamEnd::Withdrawn(why.clone()));
        }
        let deadline = stream.map_or_else(|| self.deadline.load(Relaxed), streams::Stream::deadline);
        (UnixTime::now().0 >= deadline).then_some(StreamEnd::Expired)
    }
}

/// A timer that is made when it is first waited for and kept from one wait to the next.
///
/// A wait that is given up leaves the timer running; it goes off too early for a later wait, which then makes a new one
/// for what is left. So a busy connection makes one timer per period and not one per request, which cost 9 % of a
/// request. It holds as long as later waits of one timer do not end earlier than the one that made it.
#[derive(Default)]
pub(super) struct Timer(Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>);

impl Timer {
    /// Ends at this moment. Giving it up loses nothing.
    pub(super) async fn wait_until(&mut self, moment: Instant) {
        loop {
            // The time is looked at only when the timer has gone off: a look costs as much as a poll.
            if let Some(timer) = &mut self.0 {
                timer.await;
                self.0 = None;
            }
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.0 = Some(Box::pin(pingora_timeout::sleep(left)));
        }
    }
}
