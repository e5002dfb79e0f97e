//! What a connection passes before its first request: the load balancer's word and the TLS handshake.
//!
//! Both go by the configuration that serves when the connection comes. What was found out goes with the connection, in
//! the place that Pingora keeps for what a proxy in between has to tell, where requests of every version of HTTP find
//! it again.

use std::{net::SocketAddr, os::fd::AsRawFd, sync::Arc, time::Duration};

use pingora_core::protocols::{
    Digest, GetProxyDigest, GetSocketDigest, SocketDigest, Stream, l4::stream::Stream as L4Stream,
    raw_connect::ProxyDigest,
};
use pingora_http::ResponseHeader;

use super::{
    Fault, Refuse, connection,
    proxy_protocol::{self, SpokenFor},
};
use crate::{
    snapshot::Listener,
    tls::{self, Failure, Handshake, Secured},
};

/// Told how each TLS handshake went; the address is the client's.
pub type Told = Box<dyn Fn(usize, &Handshake, SocketAddr) + Send + Sync>;

/// The door of one listener.
pub struct Entrance {
    number: usize,
    listener: Box<dyn Fn() -> Arc<Listener> + Send + Sync>,
    told: Told,
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
        digest?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
    }

    /// Onto the connection under TLS, if there is TLS: Pingora looks there for it, and lets nobody put it on TLS itself.
    fn onto(self, stream: &mut L4Stream) {
        let answer = ResponseHeader::build(200, Some(0)).expect("a status without headers");
        stream.set_proxy_digest(ProxyDigest::new(Box::new(answer), Some(Box::new(self))));
    }
}

impl Entrance {
    /// Of the listener with this number; `listener` is what the configuration says of it now.
    pub fn new(number: usize, listener: impl Fn() -> Arc<Listener> + Send + Sync + 'static, told: Told) -> Self {
        Self { number, listener: Box::new(listener), told }
    }

    /// An open door: neither TLS nor anything else.
    pub fn plain(h2c: bool) -> Self {
        let listener = Arc::new(Listener { h2c, ..Listener::default() });
        Self::new(0, move || listener.clone(), Box::new(|_, _, _| {}))
    }

    /// What the configuration says of the listener now.
    pub(super) fn listener(&self) -> Arc<Listener> {
        (self.listener)()
    }

    /// Lets a connection in, or ends it. `limit`: how long the load balancer may take to say whom it speaks for.
    pub(super) async fn enter(
        &self,
        listener: &Listener,
        stream: Stream,
        limit: Duration,
        refuse: &Refuse,
    ) -> Option<Stream> {
        let mut plain = *stream.into_any().downcast::<L4Stream>().ok()?;
        if !listener.proxy_protocol.is_empty() && !self.introduced(listener, &mut plain, limit).await {
            return None;
        }
        let Some(tls) = &listener.tls else {
            Entered { listener: self.number, secured: None }.onto(&mut plain);
            return Some(Box::new(plain));
        };
        let peer = connection::peer(&plain);
        let mut shaken = tls::accept(tls, plain).await;
        if shaken.handshake.outcome == Err(Failure::Malformed)
            && let Some(stream) = &mut shaken.stream
            && proxy_protocol::is_unexpected(stream.get_mut()).await
        {
            shaken.handshake.outcome = Err(Failure::UnexpectedProxyProtocol);
        }
        (self.told)(self.number, &shaken.handshake, peer);
        let mut stream = shaken.stream?;
        if let Some(secured) = shaken.secured {
            Entered { listener: self.number, secured: Some(secured) }.onto(stream.get_mut());
            return Some(Box::new(stream));
        }
        // The connection under TLS: what is said from here on is said in plain, or not at all.
        let plain = stream.get_mut();
        if shaken.handshake.outcome == Err(Failure::PlainHttp) {
            let answer = refuse(Fault::BadRequest("plain HTTP where TLS is spoken"), peer, None);
            connection::refuse(plain, &answer).await;
        } else {
            // A reset, for what was not read, would overtake the alert that says why.
            connection::linger(plain).await;
        }
        None
    }

    /// Hears whom a load balancer speaks for, and takes that for the peer.
    async fn introduced(&self, listener: &Listener, plain: &mut L4Stream, limit: Duration) -> bool {
        let peer = connection::peer(plain);
        let address = peer.ip().to_canonical();
        if !listener.proxy_protocol.iter().any(|network| network.contains(&address)) {
            return true;
        }
        let heard = pingora_timeout::timeout(limit, proxy_protocol::read(plain)).await;
        match heard.unwrap_or(Err("the load balancer took too long to say whom it speaks for")) {
            Ok(None) => false,
            Ok(Some(SpokenFor::Itself)) => true,
            Ok(Some(SpokenFor::Client(client))) => {
                let digest = SocketDigest::from_raw_fd(plain.as_raw_fd());
                let _ = digest.peer_addr.set(Some(client.into()));
                plain.set_socket_digest(digest);
                true
            }
            Err(why) => {
                let (listener, address) = (self.number.to_string(), address.to_string());
                let (listener, address) = (listener.as_str(), address.as_str());
                log::warn!(listener, address, reason = why; "a load balancer was turned away");
                false
            }
        }
    }
}
