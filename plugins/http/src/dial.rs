//! Opening a connection: looking the name up, TCP, the proxy's CONNECT, and TLS.

use std::{
    error::Error,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
    vec,
};

use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector, dns::Name, proxy::Tunnel},
    rt::TokioIo,
};
use openssl::ssl::SslConnector;
use portcullis_plugin::{
    AddressRules,
    http::{HeaderValue, Uri, uri::Authority},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tower_service::Service;

use crate::{
    HttpError,
    error::{causes, words},
    tls,
};

/// The longest that a server has to take a connection, with the proxy's and TLS's part of it.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The settings by which connections are opened.
#[derive(Clone)]
pub(crate) struct Dial {
    pub tls: SslConnector,
    pub proxy: Option<(Uri, Option<HeaderValue>)>,
    /// Another host for connections to this origin (scheme, host and port).
    pub elsewhere: Option<(Uri, Authority)>,
    /// `None`: any address may be asked.
    pub rules: Option<AddressRules>,
}

impl Dial {
    async fn open(self, to: Uri) -> Result<Socket, HttpError> {
        let host = to.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_tls = to.scheme_str() == Some("https");
        let opening = async {
            let stream = self.tcp(&to, &host).await?;
            Ok(match is_tls {
                true => Socket::new(tls::handshake(&self.tls, &host, stream).await?),
                false => Socket::new(stream),
            })
        };
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, opening).await;
        opened.unwrap_or_else(|_| Err(unreachable(&host, "it took too long")))
    }

    async fn tcp(&self, to: &Uri, host: &str) -> Result<TcpStream, HttpError> {
        let target = self.target(to);
        let mut http = HttpConnector::new_with_resolver(Resolver { rules: self.rules.clone(), port: port(&target) });
        http.enforce_http(false);
        http.set_nodelay(true);
        // Where a name has several addresses, they share it: one that does not answer leaves time for the next.
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // The connector looks up no name that is an address, and so its resolver cannot judge it.
        self.judge(&target)?;
        let stream = match &self.proxy {
            None => http.call(target).await.map_err(|error| failure(host, &error))?,
            Some((proxy, authorization)) => {
                // Where the proxy is, the file says.
                let mut http = HttpConnector::new();
                http.set_nodelay(true);
                let mut tunnel = Tunnel::new(proxy.clone(), http);
                if let Some(authorization) = authorization {
                    tunnel = tunnel.with_auth(authorization.clone());
                }
                tunnel.call(target).await.map_err(|error| proxy_failure(proxy, host, &error))?
            }
        };
        Ok(stream.into_inner())
    }

    /// The host and port to connect to; the port is always there.
    fn target(&self, to: &Uri) -> Uri {
        let authority = match &self.elsewhere {
            Some((origin, elsewhere)) if is_same_origin(origin, to) => elsewhere.to_string(),
            _ => format!("{}:{}", to.host().unwrap_or_default(), port(to)),
        };
        let parts = Uri::builder().scheme("http").authority(authority).path_and_query("/").build();
        parts.expect("a scheme, an authority and a path are a URI")
    }

    fn judge(&self, target: &Uri) -> Result<(), HttpError> {
        let host = target.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        match (&self.rules, host.parse::<IpAddr>()) {
            (Some(rules), Ok(ip)) => rules.judge(SocketAddr::new(ip, port(target))).map_err(|why| forbidden(host, why)),
            _ => Ok(()),
        }
    }
}

fn is_same_origin(one: &Uri, other: &Uri) -> bool {
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    one.scheme() == other.scheme() && host(one) == host(other) && port(one) == port(other)
}

fn port(of: &Uri) -> u16 {
    of.port_u16().unwrap_or(if of.scheme_str() == Some("https") { 443 } else { 80 })
}

fn forbidden(host: &str, why: &str) -> HttpError {
    HttpError::Forbidden(format!("{host} must not be asked: it is {why}, and the configuration does not name it"))
}

fn unreachable(host: &str, why: &str) -> HttpError {
    HttpError::Unreachable(format!("no connection to {host}: {why}"))
}

fn failure(host: &str, error: &(dyn Error + 'static)) -> HttpError {
    let refused = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref());
    match refused {
        Some(Refused(why)) => forbidden(host, why),
        None => unreachable(host, &words(error)),
    }
}

/// Where the proxy wants to know who asks, the error says that it requires an authorization.
fn proxy_failure(proxy: &Uri, host: &str, error: &(dyn Error + 'static)) -> HttpError {
    let proxy = proxy.authority().map_or("", Authority::as_str);
    HttpError::Unreachable(format!("no connection to {host} through the proxy {proxy}: {}", words(error)))
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Socket>;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, HttpError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move { dial.open(to).await.map(TokioIo::new) })
    }
}

/// Looks names up as the system does, and leaves out the addresses that must not be asked.
#[derive(Clone)]
struct Resolver {
    rules: Option<AddressRules>,
    /// The port that is asked, for the rules.
    port: u16,
}

/// All addresses of a name must not be asked, the last one for this reason.
#[derive(Debug, thiserror::Error)]
#[error("its address is {0}")]
struct Refused(&'static str);

async fn lookup(name: Name, port: u16, rules: Option<AddressRules>) -> io::Result<vec::IntoIter<SocketAddr>> {
    let found = tokio::net::lookup_host((name.as_str(), port)).await?;
    let Some(rules) = rules else { return Ok(found.collect::<Vec<_>>().into_iter()) };
    let (mut allowed, mut refused) = (Vec::new(), None);
    for address in found {
        match rules.judge(address) {
            Ok(()) => allowed.push(address),
            Err(why) => refused = Some(Refused(why)),
        }
    }
    match refused {
        Some(refused) if allowed.is_empty() => Err(io::Error::other(refused)),
        _ => Ok(allowed.into_iter()),
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let rules = self.rules.clone();
        Box::pin(lookup(name, self.port, rules))
    }
}

/// A connection, with or without TLS.
pub(crate) struct Socket {
    inner: Box<dyn Io>,
    /// A request was sent over it before.
    used: Used,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The mark of a connection that has carried a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used(Arc<AtomicBool>);

impl Used {
    /// Marks it; returns `true` if it was marked already.
    pub(crate) fn mark(&self) -> bool {
        self.0.swap(true, Relaxed)
    }
}

impl Socket {
    fn new(inner: impl Io + 'static) -> Self {
        Self { inner: Box::new(inner), used: Used::default() }
    }
}

impl Connection for Socket {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.used.clone())
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
