//! What a connection passes before its first request: the load balancer's word and the TLS handshake.
//!
//! Both go by the configuration that serves when the connection comes. What was found out goes with the connection, in
//! the place that Pingora keeps for what a proxy in between has to tell, where requests of every version of HTTP find
//! it again.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    sync::Arc,
};

use pingora_core::protocols::{
    Digest, GetProxyDigest, GetSocketDigest, SocketDigest, Stream, l4::stream::Stream as L4Stream,
    raw_connect::ProxyDigest,
};
use pingora_http::ResponseHeader;

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

/// HandshakeListener how each TLS handshake went; the address is the client's.
pub type HandshakeListener = Box<dyn Fn(usize, &Handshake, SocketAddr) + Send + Sync>;

/// HandshakeListener of each connection that was closed before it came to anything; the address is that of its peer, where it is known.
pub type Rejected = Box<dyn Fn(usize, Rejection, Option<IpAddr>) + Send + Sync>;

/// The door of one listener.
pub struct Acceptor {
    number: usize,
    listener: Box<dyn Fn() -> Arc<Listener> + Send + Sync>,
    is_exempt: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    told: HandshakeListener,
    rejected: Rejected,
}

/// What is known of a connection that came in.
pub struct Entered {
    /// The number of its listener, as in the file.
    pub listener: usize,
    /// What the handshake found out, where it speaks TLS.
    pub secured: Option<Secured>,
}

impl Entered {
    /// Of the connection that this tells of.
    pub fn of(digest: Option<&Digest>) -> Option<&Self> {
        Self::in_digest(digest?.proxy_digest.as_ref()?)
    }

    /// As it is kept with a connection.
    pub fn in_digest(digest: &ProxyDigest) -> Option<&Self> {
        digest.user_data.as_ref()?.downcast_ref()
    }

    /// Onto the connection under TLS, if there is TLS: Pingora looks there for it, and lets nobody put it on TLS itself.
    fn onto(self, stream: &mut L4Stream) {
        let answer = ResponseHeader::build(200, Some(0)).expect("a status without headers");
        stream.set_proxy_digest(ProxyDigest::new(Box::new(answer), Some(Box::new(self))));
    }
}

impl Acceptor {
    /// Of the listener with this number; `listener` is what the configuration says of it now, and `is_exempt` whether an
    /// address may have any number of connections.
    pub fn new(
        number: usize,
        listener: impl Fn() -> Arc<Listener> + Send + Sync + 'static,
        is_exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static,
        told: HandshakeListener,
        rejected: Rejected,
    ) -> Self {
        Self { number, listener: Box::new(listener), is_exempt: Box::new(is_exempt), told, rejected }
    }

    /// An open door: neither TLS nor anything else.
    pub fn plain(h2c: bool) -> Self {
        let listener = Arc::new(Listener { h2c, ..Listener::default() });
        Self::new(0, move || listener.clone(), |_| true, Box::new(|_, _, _| {}), Box::new(|_, _, _| {}))
    }

    /// What the configuration says of the listener now.
    pub(super) fn listener(&self) -> Arc<Listener> {
        (self.listener)()
    }

    /// Tells of a connection that is closed.
    pub(super) fn reject(&self, rejection: Rejection, address: Option<IpAddr>) {
        (self.rejected)(self.number, rejection, address);
    }

    /// Lets a connection in, or ends it. A load balancer may take the time of a head to say whom it speaks for.
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
            let heard = pingora_timeout::timeout(limits.head_timeout, proxy_protocol::read(&mut plain)).await;
            match heard.unwrap_or(Err("the load balancer took too long to say whom it speaks for")) {
                Ok(None) => return None,
                // It is as well known as a peer that is trusted.
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

    /// Shakes hands, where the listener speaks TLS.
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
        (self.told)(self.number, &result.handshake, peer);
        let mut stream = result.stream?;
        if let Some(secured) = result.secured {
            Entered { listener: self.number, secured: Some(secured) }.onto(stream.get_mut());
            return Some(Box::new(stream));
        }
        // The connection under TLS: what is said from here on is said in plain, or not at all.
        let plain = stream.get_mut();
        if result.handshake.outcome == Err(Failure::PlainHttp) {
            let answer = refuse(Fault::BadRequest("plain HTTP where TLS is spoken"), peer, None);
            linger::refuse(plain, &answer).await;
        } else {
            // A reset, for what was not read, would overtake the alert that says why.
            linger::linger(plain).await;
        }
        None
    }
}

/// Makes this client the peer of a connection that a load balancer brought.
fn be_peer(plain: &mut L4Stream, client: SocketAddr) {
    let digest = SocketDigest::from_raw_fd(plain.as_raw_fd());
    let _ = digest.peer_addr.set(Some(client.into()));
    plain.set_socket_digest(digest);
}
