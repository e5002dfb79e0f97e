//! What plugins see of a request, over Pingora's session.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::{request::Parts, uri::PathAndQuery};
use pingora::{ErrorType, protocols::raw_connect::ProxyDigest};
use portcullis_plugin::{
    BodyCheck, BodyError, BoxFuture, ClientCert, Exchange, Identity, PolicyData, Reason, UnixTime,
};

use super::{
    deferred_checks::DeferredCheck,
    held_body::Held,
    hook::{Client, Lent},
    state::RequestState,
};
use crate::{
    front::Entered,
    snapshot::{Route, route::Settings},
};

/// A request as plugins see it: it borrows the session and the state, and copies nothing.
pub(crate) struct SessionExchange<'c, 's> {
    lent: Lent<'c, 's>,
    /// The facts about the connection, once somebody has asked for them.
    connection: OnceLock<Option<Arc<ProxyDigest>>>,
    state: &'c RequestState,
    identity: Option<Arc<Identity>>,
    route: &'c Route,
    /// The settings by which the connection's certificate is judged.
    settings: &'c Settings,
    held: &'c mut Held,
}

impl<'c, 's> SessionExchange<'c, 's> {
    /// Returns this client's request, which was matched to this route. `held` is what hooks have read of the body.
    pub(crate) fn new(
        client: &'c Client<'s>,
        state: &'c RequestState,
        route: &'c Route,
        settings: &'c Settings,
        held: &'c mut Held,
    ) -> Self {
        let identity = state.identity.clone();
        Self { lent: Lent::take(client), connection: OnceLock::new(), state, identity, route, settings, held }
    }

    /// Sets the identity of the caller, once it is known.
    pub(crate) fn knows(&mut self, identity: Option<&Arc<Identity>>) {
        self.identity = identity.cloned();
    }
}

impl Exchange for SessionExchange<'_, '_> {
    fn head(&self) -> &Parts {
        self.lent.head()
    }

    fn address(&self) -> IpAddr {
        self.state.client
    }

    fn peer(&self) -> SocketAddr {
        self.state.peer
    }

    fn certificate(&self) -> Result<Option<&ClientCert>, Reason> {
        let connection = self.connection.get_or_init(|| self.lent.client().connection_digest());
        let Some(Entered { listener, secured: Some(secured) }) = connection.as_deref().and_then(Entered::in_digest)
        else {
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
        self.identity.as_ref()
    }

    fn received_target(&self) -> &str {
        let canonical = self.head().uri.path_and_query().map_or("/", PathAndQuery::as_str);
        self.state.received_target.as_deref().unwrap_or(canonical)
    }

    fn is_https(&self) -> bool {
        self.state.is_https
    }

    fn path_parameter(&self, name: &str) -> Option<&str> {
        self.route.path_parameter(self.head().uri.path(), name)
    }

    fn now(&self) -> UnixTime {
        self.state.now
    }

    fn body(&mut self, limit: usize) -> BoxFuture<'_, Result<Bytes, BodyError>> {
        Box::pin(async move {
            let mut taken = self.lent.session();
            match taken.session() {
                Some(session) => self.held.read(session, self.state, limit).await,
                None => Err(BodyError::Broken(ErrorType::ReadError.as_str().to_owned())),
            }
        })
    }

    fn vouch(&mut self) {
        self.held.vouch();
    }

    fn hold_body(&mut self, policy: usize, limit: usize, check: BodyCheck) {
        self.state.deferred_checks.add(DeferredCheck { policy, limit, check });
    }

    fn data(&self) -> &PolicyData {
        &self.state.data
    }
}
