//! Responses that were read from an upstream and that their clients have not taken yet: counted, bounded, and kept few.
//! The other direction, the bodies of requests, is counted by [`super::upload`] within the same budget.
//!
//! Pingora reads ahead of a client: pieces of up to 64 KiB wait in a pipe of four between the upstream and the client,
//! as many behind the pipe, and more in HTTP/2's buffers, about a megabyte for each response that nobody reads. It has
//! no setting for that. But a request cannot read on while it is not polled, so [`paced`] stands between the runtime
//! and each request:
//!
//! - A response of which more than [`READ_AHEAD_BYTES`] wait to be sent goes on when its client has taken something,
//!   and for no other reason. One of which less waits goes on.
//! - A response of which nothing waits is read only while its connection has a share left of the [`UnsentBudget`], or
//!   while a part of the request's body waits for the upstream. The share is a part of what is free, so that a few
//!   connections never take all of it and a newcomer always finds some. While the connection's socket takes nothing
//!   there is no share.
//!
//! Nothing is copied to be counted. Over HTTP/2 a piece counts until its last byte is written to the connection and its
//! memory freed; over HTTP/1 the write that the socket did not take counts.
//!
//! # When Pingora is upgraded
//! This rests on Pingora 0.9.1 reading from an upstream in the task of the request, in pieces that it drops once they
//! are written, and on a wake-up about the client coming from within the HTTP/2 connection's own task. The tests of
//! `http2::unread` fail when that changes. To be offered upstream: a limit of the bytes that are read ahead of a
//! client, in `HttpServerOptions`. With it [`paced`] can go.
//!
//! # The danger
//! A request that is no longer polled hangs. So it is polled whenever it may have something to do for its client:
//! [`Backlog::moves`] is called by everything that can change that, and [`StreamLife`](super::StreamLife) ends a
//! response whose client has made no progress for `write_timeout`.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{body_rate::MinBodyRate, upload::Upload};
use crate::{
    clock::now_ms,
    unsent_budget::{PIECE_OVERHEAD_BYTES, UnsentBudget},
};

/// The size of a response that may wait to be sent while more of it is read.
pub(super) const READ_AHEAD_BYTES: usize = 32 << 10;
/// The time that a client may take nothing of what waits for it while memory is tight.
const TIGHT_TIMEOUT: Duration = Duration::from_secs(2);

/// The unsent responses of one connection.
#[derive(Debug, Default)]
pub(super) struct ConnectionBacklog {
    bytes: AtomicUsize,
    is_blocked: AtomicBool,
    has_waiting: AtomicBool,
    /// The requests that wait for room, by the address of each, with its task.
    waiting: Mutex<Vec<(usize, Waker)>>,
    budget: Arc<UnsentBudget>,
    write_timeout: Duration,
    min_body_rate: MinBodyRate,
}

impl ConnectionBacklog {
    /// Returns the backlog of a connection whose client may take nothing for `write_timeout`, and sends the bodies of
    /// its requests at `min_body_rate` at least.
    pub(super) fn new(budget: Arc<UnsentBudget>, write_timeout: Duration, min_body_rate: MinBodyRate) -> Self {
        Self { budget, write_timeout, min_body_rate, ..Self::default() }
    }

    /// Notes whether the connection's socket accepts data. If it does not, no response can be sent.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        if self.is_blocked.swap(is_blocked, SeqCst) && !is_blocked {
            self.wake_waiting();
        }
    }

    fn has_room(&self) -> bool {
        !self.is_blocked.load(SeqCst) && self.bytes.load(SeqCst) < self.budget.share()
    }

    /// Returns whether the response of this request may be read. If not, the task is woken once it may, or at the
    /// latest when its lifetime is checked: memory that other connections free is not watched.
    fn has_room_for(&self, request: &Backlog, task: &Waker) -> bool {
        if self.has_room() {
            return true;
        }
        let mut waiting = self.waiting.lock();
        match waiting.iter_mut().find(|(known, _)| *known == address(request)) {
            Some((_, known)) => known.clone_from(task),
            None => waiting.push((address(request), task.clone())),
        }
        self.has_waiting.store(true, SeqCst);
        drop(waiting);
        // Memory that was freed in between woke nobody.
        self.has_room()
    }

    /// Removes a request that waits no longer: a client can begin and reset any number of them.
    fn leave(&self, request: &Backlog) {
        if self.has_waiting.load(SeqCst) {
            self.waiting.lock().retain(|(known, _)| *known != address(request));
        }
    }

    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, SeqCst);
        self.budget.add(bytes);
    }

    fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, SeqCst);
        self.budget.remove(bytes);
        self.wake_waiting();
    }

    fn wake_waiting(&self) {
        if self.has_waiting.load(SeqCst) && self.has_room() {
            self.has_waiting.store(false, SeqCst);
            let woken = std::mem::take(&mut *self.waiting.lock());
            woken.into_iter().for_each(|(_, task)| task.wake());
        }
    }
}

fn address(request: &Backlog) -> usize {
    std::ptr::from_ref(request).addr()
}

/// The unsent data of one response. That of the request's body is counted by itself.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    bytes: AtomicUsize,
    moved_ms: AtomicU64,
    has_moved: AtomicBool,
    /// Set once the request was let through: from here on it reads data that its client has to take.
    is_forwarded: AtomicBool,
    task: Mutex<Option<Waker>>,
    upload: Arc<Upload>,
    connection: Arc<ConnectionBacklog>,
}

impl Backlog {
    pub(super) fn new(connection: Arc<ConnectionBacklog>) -> Self {
        let ConnectionBacklog { budget, write_timeout, min_body_rate, .. } = &*connection;
        let upload = Arc::new(Upload::new(budget.clone(), *write_timeout, *min_body_rate));
        Self { upload, connection, ..Self::default() }
    }

    /// Returns the body of the request.
    pub(super) fn upload(&self) -> &Arc<Upload> {
        &self.upload
    }

    /// Waits until the response of a request that was let through may be read. A refused request waits for nothing: a
    /// client that takes nothing could otherwise keep it in memory, head and all. Returns `false` after
    /// `write_timeout`.
    pub(crate) async fn forward(&self) -> bool {
        let has_room = poll_fn(|cx| match self.connection.has_room_for(self, cx.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        let has_room = self.connection.has_room() || {
            let limit = self.connection.write_timeout;
            pingora::time::timeout(limit, has_room).await.is_ok()
        };
        self.is_forwarded.store(true, Relaxed);
        has_room
    }

    /// Resets the state for the next request on the same connection.
    pub(super) fn reset(&self) {
        self.is_forwarded.store(false, Relaxed);
        self.upload.reset();
    }

    /// Counts a piece of an HTTP/2 response until its memory is freed.
    pub(crate) fn response(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        self.add(bytes.len() + PIECE_OVERHEAD_BYTES);
        Bytes::from_owner(Piece { bytes, backlog: self.clone() })
    }

    /// Returns whether the client has for too long taken nothing of what waits for it.
    pub(super) fn is_stalled(&self) -> bool {
        let limit = self.connection.write_timeout;
        let limit = if self.connection.budget.is_tight_for_responses() { limit.min(TIGHT_TIMEOUT) } else { limit };
        let since = Duration::from_millis(now_ms().saturating_sub(self.moved_ms.load(Relaxed)));
        self.bytes.load(Relaxed) > 0 && since >= limit
    }

    pub(super) fn add(&self, bytes: usize) {
        if self.bytes.fetch_add(bytes, SeqCst) == 0 {
            self.moved_ms.store(now_ms(), Relaxed);
        }
        self.connection.add(bytes);
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, SeqCst);
        self.connection.remove(bytes);
        self.moves();
    }

    /// Notes that the client has taken something, or that there is something else to do for it.
    pub(super) fn moves(&self) {
        self.moved_ms.store(now_ms(), Relaxed);
        self.has_moved.store(true, SeqCst);
        if let Some(task) = &*self.task.lock() {
            task.wake_by_ref();
        }
    }

    /// Polls a request, if it may do something.
    fn poll<F: Future>(
        self: &Arc<Self>,
        request: Pin<&mut F>,
        cx: &mut Context<'_>,
        is_http2: bool,
    ) -> Poll<F::Output> {
        {
            let mut task = self.task.lock();
            if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
                *task = Some(cx.waker().clone());
            }
        }
        let has_moved = self.has_moved.swap(false, SeqCst);
        let may_go_on = match self.bytes.load(SeqCst) {
            // An upload has to go on: this is also the task that sends it to an HTTP/1 upstream.
            0 => {
                let has_room = !self.is_forwarded.load(Relaxed)
                    || self.upload.is_unsent()
                    || self.connection.has_room_for(self, cx.waker());
                self.upload.set_held(!has_room);
                has_room
            }
            waiting => waiting <= READ_AHEAD_BYTES || has_moved,
        };
        if !may_go_on {
            return Poll::Pending;
        }
        if is_http2 {
            let _acting = act(Acting::Request(self.identity()));
            let waker = Waker::from(self.clone());
            return request.poll(&mut Context::from_waker(&waker));
        }
        request.poll(cx)
    }

    fn identity(&self) -> Identity {
        Identity { connection: Arc::as_ptr(&self.connection), request: self }
    }
}

/// Wakes an HTTP/2 request. A wake-up from within its connection is about the client. One from another request of the
/// connection may be: when a request ends, the part of the connection's window that was assigned to it goes to others.
impl Wake for Backlog {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let may_be_about_the_client = match ACTING.get() {
            Acting::Connection => return self.moves(),
            Acting::Request(other) => other.is_beside(self.identity()),
            Acting::Other => false,
        };
        if may_be_about_the_client {
            self.has_moved.store(true, SeqCst);
        }
        if (may_be_about_the_client || self.bytes.load(SeqCst) <= READ_AHEAD_BYTES)
            && let Some(task) = &*self.task.lock()
        {
            task.wake_by_ref();
        }
    }
}

struct Piece {
    bytes: Bytes,
    backlog: Arc<Backlog>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.backlog.remove(self.bytes.len() + PIECE_OVERHEAD_BYTES);
    }
}

/// Serves a request so that it reads no more than its client takes.
pub(super) async fn paced<F: Future>(backlog: &Arc<Backlog>, is_http2: bool, request: F) -> F::Output {
    // Locals are dropped last to first: if the request is dropped before its end, this runs once more.
    let _other = OnDrop(|| {
        ACTING.set(Acting::Other);
        backlog.connection.leave(backlog);
    });
    let mut request = pin!(request);
    let _request = OnDrop(|| ACTING.set(if is_http2 { Acting::Request(backlog.identity()) } else { Acting::Other }));
    poll_fn(|cx| backlog.poll(request.as_mut(), cx, is_http2)).await
}

/// Drives an HTTP/2 connection so that requests can tell when the connection wakes them.
pub(super) async fn driven<F: Future>(connection: F) -> F::Output {
    let mut connection = pin!(connection);
    poll_fn(|cx| {
        let _acting = act(Acting::Connection);
        connection.as_mut().poll(cx)
    })
    .await
}

thread_local! {
    /// The part of an HTTP/2 connection with a client that is being polled, or dropped, on this thread.
    static ACTING: Cell<Acting> = const { Cell::new(Acting::Other) };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acting {
    Connection,
    Request(Identity),
    Other,
}

/// The identity of a request and its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    connection: *const ConnectionBacklog,
    request: *const Backlog,
}

impl Identity {
    /// Returns whether these are two requests of one connection.
    fn is_beside(self, other: Self) -> bool {
        self.connection == other.connection && self.request != other.request
    }
}

/// Marks the thread until the guard is dropped: a panic ends the thread's task, not the thread, and the mark must not
/// outlive it.
fn act(acting: Acting) -> OnDrop<impl Fn()> {
    let before = ACTING.replace(acting);
    OnDrop(move || ACTING.set(before))
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests;
