//! Bytes that were read from one side and that the other side has not taken yet: counted, bounded, and kept few.
//!
//! Pingora reads ahead of a client: pieces of up to 64 KiB wait in a pipe of four between the upstream and the client,
//! as many behind the pipe, and more in HTTP/2's buffers, about a megabyte for each response that nobody reads. It has
//! no setting for that. But a request cannot read on while it is not polled, so [`paced`] stands between the runtime
//! and each request:
//!
//! - A response of which more than [`READ_AHEAD_BYTES`] wait to be sent goes on when its client has taken something,
//!   and for no other reason.
//! - A response of which nothing waits begins to be read only while its connection has a share left of the
//!   [`UnsentBudget`]. The share is a part of what is free, so that a few connections never take all of it and a
//!   newcomer always finds some. While the connection's socket takes nothing there is no share.
//!
//! Nothing is copied to be counted. Over HTTP/2 a piece counts until its last byte is written to the connection and its
//! memory freed; over HTTP/1 the write that the socket did not take counts.
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
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::clock::now_ms;
use crate::unsent_budget::UnsentBudget;

/// The size of a response that may wait to be sent while more of it is read.
pub(super) const READ_AHEAD_BYTES: usize = 32 << 10;
/// The memory of a piece of a body beside its bytes.
const PIECE_OVERHEAD_BYTES: usize = 256;
/// The time that a client may take nothing of what waits for it while memory is tight.
const TIGHT_TIMEOUT: Duration = Duration::from_secs(2);
/// The interval at which an upload that waits for memory checks again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The unsent responses of one connection.
#[derive(Debug, Default)]
pub(super) struct ConnectionBacklog {
    bytes: AtomicUsize,
    is_blocked: AtomicBool,
    has_waiting: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
    budget: Arc<UnsentBudget>,
    write_timeout: Duration,
}

impl ConnectionBacklog {
    /// Returns the backlog of a connection whose client may take nothing for `write_timeout`.
    pub(super) fn new(budget: Arc<UnsentBudget>, write_timeout: Duration) -> Self {
        Self { budget, write_timeout, ..Self::default() }
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

    /// Returns whether another response may be read. If not, the task is woken once it may, or at the latest when its
    /// lifetime is checked: memory that other connections free is not watched.
    fn has_room_for(&self, task: &Waker) -> bool {
        if self.has_room() {
            return true;
        }
        let mut waiting = self.waiting.lock();
        if !waiting.iter().any(|known| known.will_wake(task)) {
            waiting.push(task.clone());
        }
        self.has_waiting.store(true, SeqCst);
        drop(waiting);
        // Memory that was freed in between woke nobody.
        self.has_room()
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
            woken.into_iter().for_each(Waker::wake);
        }
    }
}

/// The unsent data of one response, and of the request's body, which only counts.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: AtomicUsize,
    moved_ms: AtomicU64,
    has_moved: AtomicBool,
    /// Set once the request was let through: from here on it reads data that its client has to take.
    is_forwarded: AtomicBool,
    task: Mutex<Option<Waker>>,
    upload_bytes: AtomicUsize,
    upload_sent: Notify,
    connection: Arc<ConnectionBacklog>,
}

impl Backlog {
    pub(super) fn new(connection: Arc<ConnectionBacklog>) -> Self {
        Self { connection, ..Self::default() }
    }

    /// Waits until the response of a request that was let through may be read. A refused request waits for nothing: a
    /// client that takes nothing could otherwise keep it in memory, head and all. Returns `false` after
    /// `write_timeout`.
    pub async fn forward(&self) -> bool {
        let has_room = poll_fn(|cx| match self.connection.has_room_for(cx.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        let has_room = self.connection.has_room() || {
            let limit = self.connection.write_timeout;
            pingora_timeout::timeout(limit, has_room).await.is_ok()
        };
        self.is_forwarded.store(true, Relaxed);
        has_room
    }

    /// Resets the state for the next request on the same connection.
    pub(super) fn reset(&self) {
        self.is_forwarded.store(false, Relaxed);
    }

    /// Counts a piece of an HTTP/2 response until its memory is freed.
    pub fn response(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        self.add(bytes.len() + PIECE_OVERHEAD_BYTES);
        Bytes::from_owner(Piece { bytes, backlog: self.clone(), is_upload: false })
    }

    /// Counts a piece of a request's body until its memory is freed. While memory is tight it waits until earlier
    /// pieces are sent; `None` if none of them was for `write_timeout`.
    pub async fn upload(self: &Arc<Self>, bytes: Bytes) -> Option<Bytes> {
        let mut since = Instant::now();
        loop {
            let sent = self.upload_sent.notified();
            if !self.connection.budget.is_tight() || self.upload_bytes.load(SeqCst) == 0 {
                break;
            }
            // Memory that others free is not watched.
            if pingora_timeout::timeout(LOOK_EVERY, sent).await.is_ok() {
                since = Instant::now();
            } else if since.elapsed() >= self.connection.write_timeout {
                return None;
            }
        }
        let counted = bytes.len() + PIECE_OVERHEAD_BYTES;
        self.upload_bytes.fetch_add(counted, SeqCst);
        self.connection.budget.add_upload(counted);
        Some(Bytes::from_owner(Piece { bytes, backlog: self.clone(), is_upload: true }))
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
                !self.is_forwarded.load(Relaxed)
                    || self.upload_bytes.load(SeqCst) > 0
                    || self.connection.has_room_for(cx.waker())
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
    is_upload: bool,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let counted = self.bytes.len() + PIECE_OVERHEAD_BYTES;
        if self.is_upload {
            self.backlog.upload_bytes.fetch_sub(counted, SeqCst);
            self.backlog.connection.budget.remove_upload(counted);
            self.backlog.upload_sent.notify_waiters();
        } else {
            self.backlog.remove(counted);
        }
    }
}

/// Serves a request so that it reads no more than its client takes.
pub(super) async fn paced<F: Future>(backlog: &Arc<Backlog>, is_http2: bool, request: F) -> F::Output {
    // Locals are dropped last to first: if the request is dropped before its end, this runs once more.
    let _other = OnDrop(|| ACTING.set(Acting::Other));
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
