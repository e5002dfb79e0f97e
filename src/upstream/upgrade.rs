//! Connections for requests that ask for an upgrade (WebSocket), whose response must not be read too early.
//!
//! Pingora 0.9.1 serves a request's two directions in turns, and passes the end of a request's body from one to the
//! other, even if there is no body. A 101 response that is there when the upstream's side looks for the first time may
//! be read before that end (`select!` chooses at random). The end of the request then counts as the end of the upgraded
//! connection, and both sides are closed. With an upstream on the same busy machine one WebSocket in a thousand was
//! lost like that. So the first read after the request waits for its next turn: by then the end has passed. Over TLS
//! reads and writes of the handshake come before, and cannot be told from those of the request: there the first read
//! after each of the first few writes waits.
//!
//! # When Pingora is upgraded
//! This rests on how Pingora 0.9.1 polls the two directions, and on its connecting by `custom_l4` for one request. The
//! tests `upgrades::an_answer_that_comes_at_once_does_not_end_the_connection` and
//! `upstream_tls::protocols::a_websocket_of_a_server_that_is_faster_than_the_gateway_lasts` fail when that changes. To
//! be offered upstream: the end of a request that asked for an upgrade is not passed on once the upgrade was accepted.
//! Where both tests pass without this file, it can go.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    Error, ErrorType, OrErr, Result,
    connectors::l4::Connect,
    protocols::l4::{
        socket::SocketAddr,
        stream::Stream,
        virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream},
    },
    upstreams::peer::HttpPeer,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Makes connections to this peer suitable for an upgrade. They are not pooled, nor taken from the pool.
pub(super) fn prepare(peer: &mut HttpPeer) {
    static CONNECTOR: LazyLock<Arc<Connector>> = LazyLock::new(|| Arc::new(Connector));
    peer.options.custom_l4 = Some(CONNECTOR.clone());
    peer.options.idle_timeout = Some(Duration::ZERO);
    peer.group_key = peer.group_key.wrapping_add(1);
}

#[derive(Debug)]
struct Connector;

#[async_trait]
impl Connect for Connector {
    /// Has no time limit of its own: `total_connection_timeout` of the peer applies here too.
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::InternalError, "an upstream without an internet address");
        };
        let socket = TcpStream::connect(address).await;
        let socket = socket.map_err(|error| Error::because(kind(&error), "connecting for an upgrade", error))?;
        socket.set_nodelay(true).or_err(ErrorType::SocketError, "connecting for an upgrade")?;
        Ok(VirtualSocketStream::new(Box::new(Patient { socket, has_written: true, waits_left: MAX_WAITS })).into())
    }
}

fn kind(error: &io::Error) -> ErrorType {
    match error.kind() {
        ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => ErrorType::ConnectNoRoute,
        _ => ErrorType::ConnectError,
    }
}

/// The most reads that wait. A client of TLS 1.2, or of 1.3 whose first choice of a group was declined, reads after two
/// writes of its own before it sends a request. Not many more: a reader that waits again and again gives way to a
/// writer that always has something.
const MAX_WAITS: u8 = 4;

/// A connection on which the first reads after a write wait for their next turn.
#[derive(Debug)]
struct Patient {
    socket: TcpStream,
    has_written: bool,
    waits_left: u8,
}

impl VirtualSocket for Patient {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.socket.set_nodelay(true),
            // No peer asks for any other.
            _ => Ok(()),
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.has_written) && self.waits_left > 0 {
            self.waits_left -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.has_written = true;
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
