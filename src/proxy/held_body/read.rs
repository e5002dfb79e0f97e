//! Reading a body whole, off the path that Pingora has for it.

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};
use http::{Version, header};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result, protocols::http::ServerSession};
use portcullis_plugin::BodyError;

use super::{Content, Failure, Growing, Held, min_throughput::MinThroughput};
use crate::{
    body_budget::Reservation,
    front::BodyFault,
    proxy::{heads::empty, state::RequestState},
};

/// The size of Pingora's buffer for trying again.
pub(super) const RETRY_BUFFER_BYTES: usize = 64 << 10;

impl Held {
    /// Reads the body whole, at most `limit` bytes. It may be asked for again, also with another limit.
    pub(crate) async fn read(
        &mut self,
        session: &mut Session,
        state: &RequestState,
        limit: usize,
    ) -> Result<Bytes, BodyError> {
        let limit = state.max_body_bytes.map_or(limit, |most| limit.min(usize::try_from(most).unwrap_or(limit)));
        if let Some(failure) = self.failure {
            return Err(failure.into());
        }
        if self.is_over_budget {
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
        self.content = Content::Begun(Growing { bytes: Vec::new(), reservation: self.reservation(state) });
        Ok(())
    }

    fn reservation(&self, state: &RequestState) -> Reservation {
        let reservation = state.services.body_budget.reservation(state.client);
        if self.is_vouched { reservation.vouched() } else { reservation }
    }

    /// Reads until the end, or until it is longer than `limit`.
    async fn fill(&mut self, session: &mut Session, state: &RequestState, limit: usize) -> Result<(), BodyError> {
        let expected = declared_bytes(session).unwrap_or(limit);
        let mut throughput = MinThroughput::new(state.services.body_budget.patience());
        let mut received = 0;
        while let Content::Begun(growing) = &mut self.content {
            if growing.bytes.len() > limit {
                return self.note_end(session).await;
            }
            let length = growing.bytes.len();
            let piece = throughput.next(received, self.next(session, length)).await;
            let piece = piece.ok_or_else(|| self.lost(Failure::Stalled))?.map_err(|error| self.failed(&error))?;
            let Some(piece) = piece else { return self.end(session).await };
            let Content::Begun(growing) = &mut self.content else { break };
            if !growing.push(&piece, expected) {
                growing.push_beyond(&piece);
                if growing.bytes.len() > limit {
                    // There would have been too much of it anyway.
                    return self.note_end(session).await;
                }
                self.is_over_budget = true;
                self.note_end(session).await?;
                return Err(BodyError::NoRoom);
            }
            received += piece.len();
        }
        Ok(())
    }

    /// Reads the next piece. Only what stands for the body goes into Pingora's buffer.
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
}

/// Returns the body's length as the head declares it. Where there is a transfer coding it says nothing (RFC 9112
/// section 6.3).
fn declared_bytes(session: &Session) -> Option<usize> {
    session.req_header().headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Has a request of one byte parsed in the place of the one that was read to its end, so that Pingora has a body to
/// hand on. What the client sent behind it on this connection is lost, so the connection closes.
pub(super) async fn stand_in(session: &mut Session) -> Result<()> {
    let ServerSession::H1(h1) = &mut *session.downstream_session else { return Ok(()) };
    let head = std::mem::replace(h1.req_header_mut(), empty());
    h1.set_pipelined_prefix(BytesMut::from(&b"POST / HTTP/1.1\r\nhost: -\r\ncontent-length: 1\r\n\r\n-"[..]));
    h1.read_request().await?;
    h1.enable_retry_buffering();
    h1.read_body_bytes().await?;
    *session.req_header_mut() = head;
    session.set_keepalive(None);
    Ok(())
}
