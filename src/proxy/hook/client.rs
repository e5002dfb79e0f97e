//! The client of a request while hooks run: whether it is still there, and the session that both sides share.
//!
//! # Unsafe
//! To ask the kernel about a connection takes its descriptor, and Pingora's streams tell only the number of it.

use std::{
    future::{Future, poll_fn},
    os::fd::BorrowedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use pingora::http::RequestHeader;
use pingora::protocols::{http::ServerSession, raw_connect::ProxyDigest};
use pingora::proxy::Session;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::undecided::Undecided;
use crate::proxy::heads::empty;

/// The interval at which a connection is checked for whether its client is still there, while a hook waits.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The time that a hook goes on for a client that has closed its side of an HTTP/1 connection. That may be a client
/// which has nothing more to say and waits for its answer (RFC 9112 section 9.6), or one that has left: there is no
/// telling which until something is written to it. So it gets this long, and then an answer.
pub(super) const HALF_CLOSED_WAIT: Duration = Duration::from_secs(1);

/// The client of a request while hooks run.
///
/// A hook holds on to the request's head for as long as it waits, and meanwhile the session has to be asked whether its
/// client is there. So the head is taken out of the session ([`Lent`]), and whoever reads the body takes the session
/// itself. Nobody ever waits for the lock: all of it happens in one task.
#[derive(Default)]
pub(crate) struct Client<'s>(Mutex<Side<'s>>);

#[derive(Default)]
struct Side<'s> {
    /// `None` while the body is read. A client that leaves meanwhile is noticed there.
    session: Option<&'s mut Session>,
    /// The time that hooks have waited for the body.
    waited: Duration,
    /// The beginning of the current wait for it.
    waits_since: Option<Instant>,
}

impl<'s> Client<'s> {
    /// The one at the other end of this session.
    pub(crate) fn of(session: &'s mut Session) -> Self {
        Self(Mutex::new(Side { session: Some(session), ..Side::default() }))
    }

    /// Returns the facts about its connection.
    pub(crate) fn connection_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.0.lock().session.as_ref()?.digest()?.proxy_digest.clone()
    }

    /// Waits until a hook that has begun to wait is to be ended: after this time of its own, or because the client has
    /// left.
    pub(super) async fn ends_after(&self, timeout: Duration) -> Undecided {
        let (started, waited_before) = (Instant::now(), self.waited());
        let mut half_closed: Option<Instant> = None;
        loop {
            let own = started.elapsed().saturating_sub(self.waited().saturating_sub(waited_before));
            let left = timeout.saturating_sub(own);
            if left.is_zero() {
                return Undecided::TimedOut(timeout);
            }
            tokio::select! {
                () = poll_fn(|cx| self.poll_reset(cx)) => return Undecided::ClientGone,
                () = pingora::time::sleep(left.min(LOOK_EVERY)) => {}
            }
            match self.connection() {
                Connection::Open => {}
                Connection::Gone => return Undecided::ClientGone,
                Connection::HalfClosed => {
                    let since = *half_closed.get_or_insert_with(Instant::now);
                    if since.elapsed() >= HALF_CLOSED_WAIT {
                        return Undecided::ClientHalfClosed;
                    }
                }
            }
        }
    }

    /// Returns the time that hooks have waited for the body so far.
    fn waited(&self) -> Duration {
        let side = self.0.lock();
        side.waited + side.waits_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Waits until an HTTP/2 client has reset the stream, or its connection is lost.
    fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut side = self.0.lock();
        match side.session.as_mut().map(|session| &mut *session.downstream_session) {
            Some(ServerSession::H2(stream)) => Pin::new(&mut stream.idle()).poll(cx).map(drop),
            _ => Poll::Pending,
        }
    }

    fn connection(&self) -> Connection {
        let side = self.0.lock();
        match side.session.as_ref().map(|session| &*session.downstream_session) {
            Some(ServerSession::H1(session)) => {
                // SAFETY: the session owns the connection, and neither is closed while it is borrowed here.
                Connection::of(unsafe { BorrowedFd::borrow_raw(session.stream().id()) })
            }
            _ => Connection::Open,
        }
    }
}

/// The state of the client of an HTTP/1 connection. Nothing is read of what it has sent: that may be its next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Open,
    HalfClosed,
    Gone,
}

impl Connection {
    /// Asks the kernel about a connection, and waits for nothing.
    fn of(descriptor: BorrowedFd<'_>) -> Self {
        let mut asked = [PollFd::from_borrowed_fd(descriptor, PollFlags::RDHUP)];
        if poll(&mut asked, Some(&Timespec::default())).unwrap_or(0) == 0 {
            Self::Open
        } else if asked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
            Self::Gone
        } else {
            Self::HalfClosed
        }
    }
}

/// The head of a request, taken out of its session while hooks may look at it, and put back when this is dropped.
pub(crate) struct Lent<'c, 's> {
    client: &'c Client<'s>,
    head: RequestHeader,
}

impl<'c, 's> Lent<'c, 's> {
    /// Takes the head out.
    pub(crate) fn take(client: &'c Client<'s>) -> Self {
        let mut lent = Self { client, head: empty() };
        lent.swap();
        lent
    }

    /// Returns the client whose request it is.
    pub(crate) fn client(&self) -> &Client<'s> {
        self.client
    }

    /// The head.
    pub(crate) fn head(&self) -> &RequestHeader {
        &self.head
    }

    /// The whole session, to read the body from.
    pub(crate) fn session(&mut self) -> Taken<'_, 'c, 's> {
        self.swap();
        let mut side = self.client.0.lock();
        side.waits_since = Some(Instant::now());
        let session = side.session.take();
        drop(side);
        Taken { lent: self, session }
    }

    fn swap(&mut self) {
        if let Some(session) = &mut self.client.0.lock().session {
            std::mem::swap(session.req_header_mut(), &mut self.head);
        }
    }
}

impl Drop for Lent<'_, '_> {
    fn drop(&mut self) {
        self.swap();
    }
}

/// The session, whole, until this is dropped.
pub(crate) struct Taken<'l, 'c, 's> {
    lent: &'l mut Lent<'c, 's>,
    session: Option<&'s mut Session>,
}

impl Taken<'_, '_, '_> {
    /// The session; there is none where there is no engine.
    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        self.session.as_deref_mut()
    }
}

impl Drop for Taken<'_, '_, '_> {
    fn drop(&mut self) {
        let mut side = self.lent.client.0.lock();
        side.session = self.session.take();
        if let Some(since) = side.waits_since.take() {
            side.waited += since.elapsed();
        }
        drop(side);
        self.lent.swap();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{Shutdown, TcpListener, TcpStream},
        os::fd::AsFd,
    };

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
        (client, listener.accept().expect("a client").0)
    }

    fn becomes(server: &TcpStream, expected: Connection) {
        let started = Instant::now();
        while Connection::of(server.as_fd()) != expected {
            assert!(started.elapsed() < Duration::from_secs(5), "{:?}", Connection::of(server.as_fd()));
        }
    }

    #[test]
    fn a_client_that_leaves_is_told_from_one_that_has_only_stopped_to_speak() {
        let (mut client, mut server) = pair();
        becomes(&server, Connection::Open);
        client.write_all(b"GET /next").expect("room");
        becomes(&server, Connection::Open);
        client.shutdown(Shutdown::Write).expect("it is open");
        becomes(&server, Connection::HalfClosed);
        let mut sent = String::new();
        server.read_to_string(&mut sent).expect("all of it is still there");
        assert_eq!(sent, "GET /next");
        becomes(&server, Connection::HalfClosed);
        // What is written to one that has left is answered by a reset.
        drop(client);
        server.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").expect("the first write is taken");
        becomes(&server, Connection::Gone);
    }
}
