//! What the gateway is compared with: a Pingora proxy that does nothing but forward, with Pingora's own server, main
//! loop and defaults.

use std::net::SocketAddr;

use async_trait::async_trait;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::{
    Result,
    server::{Server, configuration::ServerConf},
    upstreams::peer::HttpPeer,
};

struct Bare(SocketAddr);

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}

/// Serves until it is killed: by TLS where a certificate and its key are named.
#[expect(clippy::disallowed_methods, reason = "the bare proxy is one as Pingora's own examples have it")]
pub(crate) fn serve(address: &str, upstream: &str, certificate: Option<(&str, &str)>) {
    let mut server = Server::new_with_opt_and_conf(None, ServerConf { threads: 1, ..ServerConf::default() });
    server.bootstrap();
    let bare = Bare(upstream.parse().expect("an address"));
    let mut service = http_proxy_service(&server.configuration, bare);
    match certificate {
        None => service.add_tcp(address),
        Some((cert, key)) => service.add_tls(address, cert, key).expect("a certificate and its key"),
    }
    server.add_service(service);
    server.run_forever();
}
