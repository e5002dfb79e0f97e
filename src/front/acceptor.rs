//! Accepts a connection before its first request: the PROXY protocol header of a load balancer, then the TLS handshake.
//!
//! Both follow the configuration that serves when the connection comes. The result is stored with the connection, in
//! the field where Pingora keeps the answer of a proxy in between, because requests of every version of HTTP find it
//! there.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    sync::Arc,
};

use pingora::http::ResponseHeader;
use pingora::protocols::{
    Digest, GetProxyDigest, GetSocketDigest, SocketDigest, Stream, l4::stream::Stream as L4Stream,
    raw_connect::ProxyDigest,
};

use super::{
    admission::Rejection,
    connection,
    fault::{Fault, Refuse},
    limits::Limits,
    linger,
    open::Connection,
    proxy_protocol::{self, ProxiedPeer},
};
use crate::{
    snapshot::Listener,
    tls::{self, Failure, Handshake, Secured},
};

/// A callback for the result of each TLS handshake; the address is the client's.
pub(crate) type HandshakeListener = Box<dyn Fn(usize, &Handshake, SocketAddr) + Send + Sync>;

/// A callback for each connection that was closed before its first request; the address is that of its peer, if known.
pub(crate) type RejectionListener = Box<dyn Fn(usize, Rejection, Option<IpAddr>) + Send + Sync>;

/// Accepts the connections of one listener.
pub(crate) struct Acceptor {
    number: usize,
    listener: Box<dyn Fn() -> Arc<Listener> + Send + Sync>,
    is_exempt: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    on_handshake: HandshakeListener,
    on_rejection: RejectionListener,
}

/// The facts known about an accepted connection.
pub(crate) struct Entered {
    /// The number of its listener, as in the file.
    pub listener: usize,
    /// The result of the handshake, if it speaks TLS.
    pub secured: Option<Secured>,
}

impl Entered {
    /// Returns the facts about the connection of this digest.
    pub(crate) fn of(digest: Option<&Digest>) -> Option<&Self> {
        Self::in_digest(digest?.proxy_digest.as_ref()?)
    }

    /// Returns the facts that are stored in a proxy digest.
    pub(crate) fn in_digest(digest: &ProxyDigest) -> Option<&Self> {
        digest.user_data.as_ref()?.downcast_ref()
    }

    /// Stores it on the TCP connection, below TLS if there is TLS: Pingora looks for it there, and offers no way to
    /// store it on the TLS stream.
    fn onto(self, stream: &mut L4Stream) {
        let answer = ResponseHeader::build(200, Some(0)).expect("a status without headers");
        stream.set_proxy_digest(ProxyDigest::new(Box::new(answer), Some(Box::new(self))));
    }
}

impl Acceptor {
    /// Returns the acceptor of the listener with this number. `listener` returns its current configuration, and
    /// `is_exempt` whether an address may have any number of connections.
    pub(crate) fn new(
        number: usize,
        listener: impl Fn() -> Arc<Listener> + Send + Sync + 'static,
        is_exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static,
        on_handshake: HandshakeListener,
        on_rejection: RejectionListener,
    ) -> Self {
        Self { number, listener: Box::new(listener), is_exempt: Box::new(is_exempt), on_handshake, on_rejection }
    }

    /// Returns an acceptor without TLS and without limits per address.
    pub(crate) fn plain(h2c: bool) -> Self {
        let listener = Arc::new(Listener { h2c, ..Listener::default() });
        Self::new(0, move || listener.clone(), |_| true, Box::new(|_, _, _| {}), Box::new(|_, _, _| {}))
    }

    /// Returns the listener's current configuration.
    pub(super) fn listener(&self) -> Arc<Listener> {
        (self.listener)()
    }

    /// Reports a connection that is closed.
    pub(super) fn reject(&self, rejection: Rejection, address: Option<IpAddr>) {
        (self.on_rejection)(self.number, rejection, address);
    }

    /// Admits a connection, or closes it. A load balancer has `head_timeout` to send its PROXY protocol header.
    pub(super) async fn enter(
        &self,
        listener: &Listener,
        stream: Stream,
        connection: &mut Connection,
        limits: &Limits,
        refuse: &Refuse,
    ) -> Option<Stream> {
        let mut plain = *stream.into_any().downcast::<L4Stream>().ok()?;
        let address = connection::peer(&plain).ip().to_canonical();
        let client = if listener.proxy_protocol.iter().any(|network| network.contains(&address)) {
            let heard = pingora::time::timeout(limits.head_timeout, proxy_protocol::read(&mut plain)).await;
            match heard.unwrap_or(Err("the load balancer took too long to send it")) {
                Ok(None) => return None,
                // The load balancer's own health check counts as the trusted peer that it is.
                Ok(Some(ProxiedPeer::Itself)) => None,
                Ok(Some(ProxiedPeer::Client(client))) => {
                    be_peer(&mut plain, client);
                    Some(client.ip().to_canonical())
                }
                Err(why) => {
                    self.reject(Rejection::ProxyProtocol(why), Some(address));
                    return None;
                }
            }
        } else {
            Some(address)
        };
        if let Some(client) = client.filter(|client| !(self.is_exempt)(*client))
            && let Err(rejection) = connection.count_for(client, limits.max_connections_per_address)
        {
            self.reject(rejection, Some(client));
            return None;
        }
        self.secure(listener, plain, refuse).await
    }

    /// Performs the handshake, if the listener speaks TLS.
    async fn secure(&self, listener: &Listener, mut plain: L4Stream, refuse: &Refuse) -> Option<Stream> {
        let Some(tls) = &listener.tls else {
            Entered { listener: self.number, secured: None }.onto(&mut plain);
            return Some(Box::new(plain));
        };
        let peer = connection::peer(&plain);
        let mut result = tls::accept(tls, plain).await;
        if result.handshake.outcome == Err(Failure::Malformed)
            && let Some(stream) = &mut result.stream
            && proxy_protocol::is_unexpected(stream.get_mut()).await
        {
            result.handshake.outcome = Err(Failure::UnexpectedProxyProtocol);
        }
        (self.on_handshake)(self.number, &result.handshake, peer);
        let mut stream = result.stream?;
        if let Some(secured) = result.secured {
            Entered { listener: self.number, secured: Some(secured) }.onto(stream.get_mut());
            return Some(Box::new(stream));
        }
        // The connection below TLS: from here on the client can only be answered in plain text, or not at all.
        let plain = stream.get_mut();
        if result.handshake.outcome == Err(Failure::PlainHttp) {
            let answer = refuse(Fault::BadRequest("plain HTTP where TLS is spoken"), peer, None);
            linger::refuse(plain, &answer).await;
        } else {
            // A reset, because of unread data, would overtake the alert that gives the reason.
            linger::linger(plain).await;
        }
        None
    }
}

/// Makes this client the peer of a connection from a load balancer.
fn be_peer(plain: &mut L4Stream, client: SocketAddr) {
    let digest = SocketDigest::from_raw_fd(plain.as_raw_fd());
    let _ = digest.peer_addr.set(Some(client.into()));
    plain.set_socket_digest(digest);
}
