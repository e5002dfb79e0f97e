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
//! A body that is longer than a hook wanted, or for which there is no memory, is not lost: what was read of it goes to
//! the upstream before the rest, where somebody else lets the request through.
//!
//! # When Pingora is upgraded
//! All of this rests on how Pingora 0.9.1 works inside: the size of its buffer, that reading beyond it empties it, and
//! that a request can be parsed in the place of another one. The tests `pingora_keeps_64_kib_of_a_body_to_hand_on` and
//! `a_stand_in_is_what_pingora_hands_on` fail when that changes; `own_gateway::held_bodies` tries every framing from
//! outside. To be offered upstream: a call that gives a session the body that it is to hand on, or a setting for the
//! size of the buffer. With either, the stand-ins can go.
//!
//! # The danger
//! Whoever sends a body that is held takes memory before it is known who that is. All of them together have one
//! [`BodyBudget`](crate::body_budget::BodyBudget), of which one address takes no more than it leaves; what is counted
//! there is what is allocated; and a body keeps its memory only as long as it comes (`min_throughput`).

mod min_throughput;
mod read;

use bytes::Bytes;
use http::header;
use pingora::http::RequestHeader;
use pingora::{ErrorType, Result};
use portcullis_plugin::BodyError;

use crate::body_budget::Reservation;

/// The part of a request's body that has been read.
#[derive(Default)]
pub(crate) struct Held {
    content: Content,
    /// The number of bytes handed on by Pingora that stand for it.
    stand_in_bytes: usize,
    /// The number of those that the client never sent.
    made_up_bytes: usize,
    failure: Option<Failure>,
    /// Set if its sender has authenticated before.
    is_vouched: bool,
    /// Set if there was no memory for a piece of it. A hook that asks again is told so, and reads no other piece beyond
    /// the limit.
    is_over_budget: bool,
    is_handed_on: bool,
}

#[derive(Default)]
enum Content {
    /// No hook has asked for it.
    #[default]
    Untouched,
    /// A part has been read, and there is more.
    Begun(Growing),
    /// All of it has been read.
    Whole(Bytes),
    /// This part was handed on, and more came behind it: no length can be said for another target.
    Part(Bytes),
}

/// The reason why a body is lost, and the request cannot be forwarded any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It did not come in time.
    Stalled,
    /// The client went away, or sent what is not a body.
    Broken,
}

/// A body that grows, with the reservation of its memory, which covers what is allocated and not only what is in use.
struct Growing {
    bytes: Vec<u8>,
    reservation: Reservation,
}

impl AsRef<[u8]> for Growing {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Growing {
    /// Adds a piece of a body that will have at most about `expected` bytes; `false`: there is no memory for it.
    fn push(&mut self, piece: &[u8], expected: usize) -> bool {
        let needed = self.bytes.len() + piece.len();
        if needed > self.reservation.bytes() {
            let generous = (self.reservation.bytes() * 2).min(expected).max(needed);
            if !self.reservation.grow_to(generous) && !self.reservation.grow_to(needed) {
                return false;
            }
            self.bytes.reserve_exact(self.reservation.bytes() - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        true
    }

    /// Adds a piece for which there is no memory. It has left the connection, and would be missing in what is
    /// forwarded.
    fn push_beyond(&mut self, piece: &[u8]) {
        let needed = self.bytes.len() + piece.len();
        self.reservation.overdraw_to(needed);
        self.bytes.reserve_exact(needed - self.bytes.len());
        self.bytes.extend_from_slice(piece);
    }
}

impl Held {
    /// Notes that the sender of the body has authenticated before.
    pub(crate) fn vouch(&mut self) {
        self.is_vouched = true;
    }

    /// Returns the reason why the request can no longer be forwarded, if there is one.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// Returns whether nothing of the body has been read.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.content, Content::Untouched)
    }

    /// Returns the number of bytes that were counted as read and are not the client's.
    pub(crate) fn made_up_bytes(&self) -> usize {
        self.made_up_bytes
    }

    /// Prepares the body for another target: it is handed on from its beginning, and framed by its length if all of it
    /// is here.
    pub(crate) fn frame(&mut self, head: &mut RequestHeader) -> Result<()> {
        self.is_handed_on = false;
        if let Content::Whole(body) = &self.content {
            let was_chunked = head.remove_header(&header::TRANSFER_ENCODING).is_some();
            if was_chunked || !body.is_empty() {
                head.insert_header(header::CONTENT_LENGTH, body.len())?;
            }
        }
        Ok(())
    }

    /// Returns whether the upstream has it, or gets it from Pingora.
    pub(crate) fn is_handed_on(&self) -> bool {
        self.is_handed_on
    }

    /// Puts what is held in the place of what stands for it, in the first piece that Pingora hands on.
    pub(crate) fn hand_on(&mut self, piece: &mut Option<Bytes>) {
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

#[cfg(test)]
mod tests;
