//! Bodies that are read before the upstream is connected, and handed on from here.
//!
//! What Pingora has read ahead it hands on from its buffer for trying again, and that holds 64 KiB: with one byte more
//! the upstream would get a head and no body, and the request would hang. So a longer body is kept here, and something
//! is left in that buffer to stand for it:
//!
//! | framing | what stands for the body |
//! |---|---|
//! | up to 64 KiB, any | the body itself |
//! | HTTP/1, length known | its end: the buffer is begun when what is left fits into it |
//! | HTTP/1, chunked | one byte of a request that is parsed in its place once the real one has been read |
//! | HTTP/2 | its first piece: those after it are read past the buffer |
//!
//! Pingora then calls `request_body_filter` with what its buffer has, for each target that is tried, and
//! [`Held::hand_on`] puts the body in the place of what stands for it.
//!
//! A body that is longer than a hook wanted, or for which there is no room, is not lost: what was read of it goes to the
//! upstream before the rest, where somebody else lets the request through.
//!
//! # The danger
//! Whoever sends a body that is held takes memory before it is known who that is. All of them together have one
//! [`BodyBudget`](crate::body_budget::BodyBudget), of which one address takes no more than it leaves; what is counted there is what is allocated; and a body
//! keeps a place only as long as it [comes](pace).

pub mod pace;

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};
use http::{Version, header};
use pingora_core::{Error, ErrorType, Result, protocols::http::ServerSession};
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use portcullis_plugin::BodyError;

use pace::Pace;

use super::state::RequestState;
use crate::{body_budget::Part, front::BodyFault};

/// What Pingora's buffer for trying again holds.
const RETRY_BUFFER_BYTES: usize = 64 << 10;

/// What of one request's body has been read.
#[derive(Default)]
pub struct Held {
    content: Content,
    /// How many bytes of what Pingora hands on stand for it.
    stand_in_bytes: usize,
    /// Those of them that the client never sent.
    made_up_bytes: usize,
    failure: Option<Failure>,
    /// Whoever sends it has proven themselves before.
    is_vouched: bool,
    /// There was no room for a piece of it. Whoever asks again is told so, and reads no other piece beyond the limit.
    has_no_room: bool,
    is_handed_on: bool,
}

#[derive(Default)]
enum Content {
    /// Nobody wanted it.
    #[default]
    Untouched,
    /// This much, and there is more.
    Begun(Growing),
    /// All of it.
    Whole(Bytes),
    /// This much was handed on, and more came behind it: no length can be said for another target.
    Part(Bytes),
}

/// Why a body is lost: the request cannot be forwarded any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It did not come in time.
    Stalled,
    /// The client went away, or sent what is not a body.
    Broken,
}

/// Bytes, and their part of the room. What is counted is what is allocated, not what is in use.
struct Growing {
    bytes: Vec<u8>,
    part: Part,
}

impl AsRef<[u8]> for Growing {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Growing {
    /// Adds a piece of a body that will have at most about `expected` bytes; `false`: there is no room.
    fn push(&mut self, piece: &[u8], expected: usize) -> bool {
        let needed = self.bytes.len() + piece.len();
        if needed > self.part.bytes() {
            let generous = (self.part.bytes() * 2).min(expected).max(needed);
            if !self.part.grow_to(generous) && !self.part.grow_to(needed) {
                return false;
            }
            self.bytes.reserve_exact(self.part.bytes() - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        true
    }

    /// Adds a piece for which there is no room. It has left the connection, and would be missing in what is forwarded.
    fn push_beyond(&mut self, piece: &[u8]) {
        let needed = self.bytes.len() + piece.len();
        self.part.overdraw_to(needed);
        self.bytes.reserve_exact(needed - self.bytes.len());
        self.bytes.extend_from_slice(piece);
    }
}

impl Held {
    /// Reads the body whole, at most `limit` bytes. It may be asked for again, also with another limit.
    pub async fn read(
        &mut self,
        session: &mut Session,
        state: &RequestState,
        limit: usize,
    ) -> Result<Bytes, BodyError> {
        let limit = state.max_body_bytes.map_or(limit, |most| limit.min(usize::try_from(most).unwrap_or(limit)));
        if let Some(failure) = self.failure {
            return Err(failure.into());
        }
        if self.has_no_room {
            return Err(BodyError::NoRoom);
        }
        if let Content::Untouched = self.content {
            if declared_bytes(session).is_some_and(|length| length > limit) {
                return Err(BodyError::TooLarge);
            }
            self.begin(session, state).await.map_err(|error| self.failed(&error))?;
        }
        self.fill(session, state, limit).await?;
        match &self.content {
            Content::Whole(body) if body.len() <= limit => Ok(body.clone()),
            _ => Err(BodyError::TooLarge),
        }
    }

    async fn begin(&mut self, session: &mut Session, state: &RequestState) -> Result<()> {
        if session.is_body_empty() {
            self.content = Content::Whole(Bytes::new());
            return Ok(());
        }
        // Pingora sends no `100 Continue` of its own, and a client that waits for one would wait in vain.
        if let Some(expect) = session.req_header_mut().remove_header(&header::EXPECT)
            && expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
        {
            session.write_continue_response().await?;
        }
        self.content = Content::Begun(Growing { bytes: Vec::new(), part: self.part(state) });
        Ok(())
    }

    fn part(&self, state: &RequestState) -> Part {
        let part = state.services.room.part(state.client);
        if self.is_vouched { part.vouched() } else { part }
    }

    /// Whoever sends the body has proven themselves before.
    pub fn vouch(&mut self) {
        self.is_vouched = true;
    }

    /// Reads until the end, or until it is longer than `limit`.
    async fn fill(&mut self, session: &mut Session, state: &RequestState, limit: usize) -> Result<(), BodyError> {
        let expected = declared_bytes(session).unwrap_or(limit);
        let mut pace = Pace::new(state.services.room.patience());
        let mut received = 0;
        while let Content::Begun(growing) = &mut self.content {
            if growing.bytes.len() > limit {
                return self.note_end(session).await;
            }
            let length = growing.bytes.len();
            let piece = pace.next(received, self.next(session, length)).await;
            let piece = piece.ok_or_else(|| self.lost(Failure::Stalled))?.map_err(|error| self.failed(&error))?;
            let Some(piece) = piece else { return self.end(session).await };
            let Content::Begun(growing) = &mut self.content else { break };
            if !growing.push(&piece, expected) {
                growing.push_beyond(&piece);
                if growing.bytes.len() > limit {
                    // There would have been too much of it anyway.
                    return self.note_end(session).await;
                }
                self.has_no_room = true;
                self.note_end(session).await?;
                return Err(BodyError::NoRoom);
            }
            received += piece.len();
        }
        Ok(())
    }

    /// The next piece. Only what stands for the body goes into Pingora's buffer.
    async fn next(&mut self, session: &mut Session, length: usize) -> Result<Option<Bytes>> {
        let left = declared_bytes(session).map_or(0, |declared| declared.saturating_sub(length));
        if let ServerSession::H2(stream) = &mut *session.downstream_session
            && self.stand_in_bytes > 0
        {
            let piece = poll_fn(|cx| stream.poll_read_body_bytes(cx)).await;
            // The same words as Pingora has for the pieces that it puts into its buffer.
            return piece.transpose().map_err(|error| Error::because(ErrorType::ReadError, "reading the body", error));
        }
        let is_http2 = session.req_header().version == Version::HTTP_2;
        let is_buffered = is_http2 || left <= RETRY_BUFFER_BYTES;
        if is_buffered {
            session.enable_retry_buffering();
        }
        let piece = session.read_request_body().await?;
        if is_buffered {
            self.stand_in_bytes += piece.as_ref().map_or(0, Bytes::len);
        }
        Ok(piece)
    }

    /// The body is longer than was asked for, but that may have been all of it: then nothing would be left to read, and
    /// Pingora would hand on nothing.
    async fn note_end(&mut self, session: &mut Session) -> Result<(), BodyError> {
        if session.is_body_done() {
            return self.end(session).await;
        }
        if session.retry_buffer_truncated() {
            self.stand_in_bytes = 0;
        }
        Ok(())
    }

    async fn end(&mut self, session: &mut Session) -> Result<(), BodyError> {
        if session.retry_buffer_truncated() {
            stand_in(session).await.map_err(|error| self.failed(&error))?;
            (self.stand_in_bytes, self.made_up_bytes) = (1, 1);
        }
        if let Content::Begun(growing) = std::mem::take(&mut self.content) {
            self.content = Content::Whole(Bytes::from_owner(growing));
        }
        Ok(())
    }

    fn failed(&mut self, error: &Error) -> BodyError {
        let is_slow = *error.etype() == ErrorType::ReadTimedout || BodyFault::of(error) == Some(BodyFault::TooSlow);
        self.lost(if is_slow { Failure::Stalled } else { Failure::Broken });
        BodyError::Broken(error.etype().as_str().to_owned())
    }

    fn lost(&mut self, failure: Failure) -> BodyError {
        self.failure = Some(failure);
        self.content = Content::Untouched;
        failure.into()
    }

    /// Why the request can no longer be forwarded, if it cannot.
    pub fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// Whether anything of the body has been read.
    pub fn is_empty(&self) -> bool {
        matches!(self.content, Content::Untouched)
    }

    /// Bytes that were counted as read and are not the client's.
    pub fn made_up_bytes(&self) -> usize {
        self.made_up_bytes
    }

    /// Another target is asked: the body is handed on from its beginning, and framed by its length where all of it is
    /// here.
    pub fn frame(&mut self, head: &mut RequestHeader) -> Result<()> {
        self.is_handed_on = false;
        if let Content::Whole(body) = &self.content {
            let was_chunked = head.remove_header(&header::TRANSFER_ENCODING).is_some();
            if was_chunked || !body.is_empty() {
                head.insert_header(header::CONTENT_LENGTH, body.len())?;
            }
        }
        Ok(())
    }

    /// Whether the upstream has it, or gets it from Pingora.
    pub fn is_handed_on(&self) -> bool {
        self.is_handed_on
    }

    /// Puts what is held in the place of what stands for it, in the first piece that Pingora hands on.
    pub fn hand_on(&mut self, piece: &mut Option<Bytes>) {
        if std::mem::replace(&mut self.is_handed_on, true) {
            return;
        }
        let (held, is_whole) = match std::mem::take(&mut self.content) {
            Content::Untouched => return,
            Content::Begun(growing) => (Bytes::from_owner(growing), false),
            Content::Part(part) => (part, false),
            Content::Whole(body) => (body, true),
        };
        let behind = piece.take().map(|piece| piece.slice(self.stand_in_bytes.min(piece.len())..)).unwrap_or_default();
        if !held.is_empty() || !behind.is_empty() {
            *piece = Some(if behind.is_empty() { held.clone() } else { [held.as_ref(), &behind].concat().into() });
        }
        self.content = if is_whole { Content::Whole(held) } else { Content::Part(held) };
    }
}

impl From<Failure> for BodyError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Stalled => Self::Broken(ErrorType::ReadTimedout.as_str().to_owned()),
            Failure::Broken => Self::Broken(ErrorType::ReadError.as_str().to_owned()),
        }
    }
}

/// What the head says of the body's length. Where there is a transfer coding it says nothing (RFC 9112 section 6.3).
fn declared_bytes(session: &Session) -> Option<usize> {
    session.req_header().headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Has a request of one byte parsed in the place of the one that was read to its end, so that Pingora has a body to
/// hand on. What the client sent behind it on this connection is lost, so the connection closes.
async fn stand_in(session: &mut Session) -> Result<()> {
    let ServerSession::H1(h1) = &mut *session.downstream_session else { return Ok(()) };
    let nothing = RequestHeader::from(http::Request::new(()).into_parts().0);
    let head = std::mem::replace(h1.req_header_mut(), nothing);
    h1.set_pipelined_prefix(BytesMut::from(&b"POST / HTTP/1.1\r\nhost: -\r\ncontent-length: 1\r\n\r\n-"[..]));
    h1.read_request().await?;
    h1.enable_retry_buffering();
    h1.read_body_bytes().await?;
    *session.req_header_mut() = head;
    session.set_keepalive(None);
    Ok(())
}

#[cfg(test)]
mod tests;
