//! What plugins see of a request, over Pingora's session.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use http::{header, request::Parts};
use pingora_proxy::Session;
use portcullis_plugin::{BodyError, BoxFuture, ClientCert, Exchange, Identity, UnixTime};

use super::state::RequestState;

/// The largest body that can be read before the upstream is connected: Pingora's buffer for trying again holds as much
/// and hands it on; with one byte more the upstream would get a head and no body.
pub const MAX_READ_AHEAD_BYTES: usize = 64 << 10;

/// Borrows the session and the state; nothing is copied.
pub struct SessionExchange<'s> {
    /// Pingora's side.
    pub session: &'s mut Session,
    /// Ours.
    pub state: &'s RequestState,
    /// The name of the matched route.
    pub route: &'s str,
    /// The body, once a hook has read it.
    pub body: &'s mut Option<Bytes>,
}

impl Exchange for SessionExchange<'_> {
    fn head(&self) -> &Parts {
        self.session.req_header()
    }

    fn address(&self) -> IpAddr {
        self.state.client
    }

    fn peer(&self) -> SocketAddr {
        self.state.peer
    }

    fn certificate(&self) -> Option<&ClientCert> {
        self.session.digest()?.ssl_digest.as_ref()?.extension.get::<ClientCert>()
    }

    fn route(&self) -> &str {
        self.route
    }

    fn request_id(&self) -> &str {
        self.state.id.as_str()
    }

    fn identity(&self) -> Option<&Arc<Identity>> {
        self.state.identity.as_ref()
    }

    fn now(&self) -> UnixTime {
        self.state.now
    }

    fn body(&mut self, limit: usize) -> BoxFuture<'_, Result<Bytes, BodyError>> {
        Box::pin(async move {
            if let Some(body) = &*self.body {
                return if body.len() > limit { Err(BodyError::TooLarge) } else { Ok(body.clone()) };
            }
            let body = read(self.session, limit.min(MAX_READ_AHEAD_BYTES)).await?;
            *self.body = Some(body.clone());
            Ok(body)
        })
    }
}

async fn read(session: &mut Session, limit: usize) -> Result<Bytes, BodyError> {
    let broken = |error: Box<pingora_core::Error>| BodyError::Broken(error.etype().as_str().to_owned());
    let length = session.req_header().headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length.and_then(|value| value.parse::<usize>().ok()).is_some_and(|length| length > limit) {
        return Err(BodyError::TooLarge);
    }
    if session.is_body_empty() {
        return Ok(Bytes::new());
    }
    // Pingora sends no `100 Continue` of its own, and a client that waits for one would wait in vain.
    if let Some(expect) = session.req_header_mut().remove_header(&header::EXPECT)
        && expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        session.write_continue_response().await.map_err(broken)?;
    }
    session.enable_retry_buffering();
    let mut body = BytesMut::new();
    while let Some(piece) = session.read_request_body().await.map_err(broken)? {
        if body.len() + piece.len() > limit {
            return Err(BodyError::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}
