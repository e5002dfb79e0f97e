//! What plugins see of a request, over Pingora's session.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http::{request::Parts, uri::PathAndQuery};
use pingora_proxy::Session;
use portcullis_plugin::{BodyCheck, BodyError, BoxFuture, ClientCert, Exchange, Identity, Reason, UnixTime};

use super::{held_body::Held, state::RequestState};
use crate::{
    front::Entered,
    snapshot::{Route, route::Settings},
};

/// Borrows the session and the state; nothing is copied.
pub struct SessionExchange<'s> {
    /// Pingora's side.
    pub session: &'s mut Session,
    /// Ours.
    pub state: &'s RequestState,
    /// The matched route.
    pub route: &'s Route,
    /// By these the connection's certificate is judged.
    pub settings: &'s Settings,
    /// What of the body hooks have read.
    pub held: &'s mut Held,
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

    fn certificate(&self) -> Result<Option<&ClientCert>, Reason> {
        let Some(Entered { listener, secured: Some(secured) }) = Entered::of(self.session.digest()) else {
            return Ok(None);
        };
        secured.certificate(self.settings.tls(*listener), self.state.now)
    }

    fn route(&self) -> &str {
        &self.route.record.name
    }

    fn request_id(&self) -> &str {
        self.state.id.as_str()
    }

    fn identity(&self) -> Option<&Arc<Identity>> {
        self.state.identity.as_ref()
    }

    fn received_target(&self) -> &str {
        let canonical = self.session.req_header().uri.path_and_query().map_or("/", PathAndQuery::as_str);
        self.state.received_target.as_deref().unwrap_or(canonical)
    }

    fn is_https(&self) -> bool {
        self.state.is_https
    }

    fn path_parameter(&self, name: &str) -> Option<&str> {
        self.route.path_parameter(self.session.req_header().uri.path(), name)
    }

    fn now(&self) -> UnixTime {
        self.state.now
    }

    fn body(&mut self, limit: usize) -> BoxFuture<'_, Result<Bytes, BodyError>> {
        Box::pin(self.held.read(self.session, self.state, limit))
    }

    fn hold_body(&mut self, limit: usize, check: BodyCheck) {
        self.state.holds.add(limit, check);
    }
}
