//! Limits the lifetime of a request: to `max_stream_age`, and to that of the credential it was authenticated with.
//!
//! Authentication happens once, at the beginning of a request. A download, a WebSocket or a stream of events goes on
//! for hours after it, and would outlast the end of a token or the revocation of a key. The engine tells the
//! [`StreamLife`] of a request what its permission is based on; a long request is judged again by [`crate::streams`],
//! and ends as soon as it is found to have lost that basis.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use parking_lot::Mutex;
use portcullis_plugin::UnixTime;

use super::{
    admission::Busy,
    unsent::{Backlog, ConnectionBacklog},
    upload::Upload,
};
use crate::streams::{self, Basis, NEVER, OpenStreams, Withdrawn};

/// The interval at which a long request is checked. Short ones are over before the first time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

tokio::task_local! {
    static LIFE: Arc<StreamLife>;
}

/// Returns the life of the request that the current task serves: for `ProxyHttp::new_ctx`, which has no argument to
/// find it by.
pub(crate) fn current_life() -> Option<Arc<StreamLife>> {
    LIFE.try_with(Arc::clone).ok()
}

/// Serves a request so that [`current_life`] finds `life` in it.
pub(super) fn within<F: Future>(life: &Arc<StreamLife>, request: F) -> impl Future<Output = F::Output> {
    LIFE.scope(life.clone(), request)
}

/// The deadlines and the state of one request.
pub(crate) struct StreamLife {
    deadline: AtomicI64,
    is_answered: AtomicBool,
    is_upgraded: AtomicBool,
    backlog: Arc<Backlog>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The basis of the request's permission, until the request has lasted long enough to be judged again.
    basis: Option<Basis>,
    ended: Option<StreamEnd>,
    /// Set over HTTP/2; over HTTP/1 the reader of the connection's heads keeps it.
    busy: Option<Busy>,
}

impl Default for StreamLife {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

/// The reason why a request was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// It lasted longer than `max_stream_age`.
    TooOld,
    /// Its credential or token expired.
    Expired,
    /// It would be refused if it came now.
    Withdrawn(Withdrawn),
    /// The request's body made no progress for longer than `body_timeout`.
    BodyStalled,
    /// The client took nothing of the response for `write_timeout`.
    ClientStalled,
}

impl StreamLife {
    /// Returns the life of a request, or of consecutive requests, on this connection.
    pub(super) fn new(connection: Arc<ConnectionBacklog>) -> Self {
        Self {
            deadline: AtomicI64::new(NEVER),
            is_answered: AtomicBool::new(false),
            is_upgraded: AtomicBool::new(false),
            backlog: Arc::new(Backlog::new(connection)),
            state: Mutex::default(),
        }
    }

    /// Returns the response data that waits for the client.
    pub(crate) fn backlog(&self) -> &Arc<Backlog> {
        &self.backlog
    }

    /// Ends the request at this moment. The earliest of several deadlines counts.
    pub(crate) fn set_deadline(&self, deadline: UnixTime) {
        self.deadline.fetch_min(deadline.0, Relaxed);
    }

    /// Sets the basis by which the request is judged again; it ends when it would be refused.
    pub(crate) fn rest_on(&self, basis: Basis) {
        self.state.lock().basis = Some(basis);
    }

    /// Returns the body of the request.
    pub(crate) fn upload(&self) -> &Arc<Upload> {
        self.backlog.upload()
    }

    /// Notes that the response has begun: from here on the rest of the body may come at any pace.
    pub(crate) fn answered(&self) {
        self.upload().end();
        self.is_answered.store(true, Relaxed);
    }

    pub(super) fn is_answered(&self) -> bool {
        self.is_answered.load(Relaxed)
    }

    /// Notes that the upstream has accepted the upgrade: from here on the client's bytes are not a request.
    pub(crate) fn upgraded(&self) {
        self.is_upgraded.store(true, Relaxed);
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.is_upgraded.load(Relaxed)
    }

    /// Marks the connection as in use until the request ends, or [`vacate`](Self::vacate) is called.
    pub(super) fn occupy(&self, busy: Busy) {
        self.state.lock().busy = Some(busy);
    }

    /// Notes that the request has been refused and only waits for its client: the connection may be closed for another
    /// one.
    pub(crate) fn vacate(&self) {
        self.state.lock().busy = None;
    }

    /// Returns why the request was ended, if it was ended by this: for the log line, which is written while it is
    /// dropped.
    pub(crate) fn ended(&self) -> Option<StreamEnd> {
        self.state.lock().ended.clone()
    }

    /// Resets the state for the next request on this connection.
    pub(super) fn reset(&self) {
        self.deadline.store(NEVER, Relaxed);
        self.is_answered.store(false, Relaxed);
        self.is_upgraded.store(false, Relaxed);
        self.backlog.reset();
        *self.state.lock() = State::default();
    }

    /// Waits until the request has to end, and returns the reason.
    pub(super) async fn over(&self, max_age: Duration, body_timeout: Duration, pulse: &mut Timer) {
        let started = Instant::now();
        let (mut now, mut left) = (started, max_age);
        let mut stream: Option<streams::Entered> = None;
        loop {
            let next = pulse.wait_until(now + LOOK_EVERY.min(left));
            match &stream {
                None => next.await,
                Some(stream) => tokio::select! {
                    () = next => {}
                    () = stream.ended() => {}
                },
            }
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
        // Over HTTP/1 Pingora watches the time itself.
        if self.upload().waits() >= body_timeout {
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
/// A wait that is abandoned leaves the timer running; it goes off too early for a later wait, which then makes a new
/// one for the rest. So a busy connection makes one timer per period and not one per request, which cost 9 % of a
/// request. This requires that later waits of one timer do not end earlier than the one that made it.
///
/// It is a set of at most one, which is polled only when it has been woken: every request polls a timer several times.
#[derive(Default)]
pub(super) struct Timer(FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>);

impl Timer {
    /// Waits until this moment. Abandoning the wait loses nothing.
    pub(super) async fn wait_until(&mut self, moment: Instant) {
        loop {
            // The clock is read only once the timer has gone off: reading it costs as much as a poll.
            self.0.next().await;
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.0.push(Box::pin(pingora::time::sleep(left)));
        }
    }
}
