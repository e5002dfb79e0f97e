//! What every scenario stands on: a gateway that runs, an upstream that remembers, clients that ask.
//!
//! ```ignore
//! #[tokio::test]
//! async fn the_upstream_learns_who_calls() {
//!     let upstream = Upstream::start();
//!     let gateway = Gateway::builder(CONFIG).set("UPSTREAM", &upstream.address()).start().await;
//!     let answer = Client::http1(gateway.address(0)).get("/orders").header("x-api-key", "...").send().await;
//!     assert_eq!(answer.status, 200);
//!     assert_eq!(upstream.last().header("x-consumer"), Some("acme"));
//! }
//! ```
//!
//! # How it behaves
//! - A plain `#[tokio::test]` is enough: gateways are processes, and every upstream has a thread and a runtime of its own,
//!   so that a test which blocks stops nobody but itself.
//! - Nothing here sleeps where a condition can be awaited, and everything that is awaited has a limit: [`LIMIT`].
//!   A test that hits it fails with words, and with the gateway's whole output.
//! - What is started is ended when its value is dropped, by process id.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

mod authority;
mod client;
mod dns;
mod gateway;
mod inspect;
mod peer;
mod revocation;
mod systemd;
#[cfg(test)]
mod tests;
mod tls;
mod upstream;

pub(crate) use authority::{Authority, KeyType, Leaf, Pair, Purpose};
pub(crate) use client::{Asking, Client, Opened, Raw, Response, WebSocket, raw};
pub(crate) use dns::{Dns, DnsAnswer};
pub(crate) use gateway::{Gateway, GatewayBuilder, Output, portcullis, program};
pub(crate) use peer::Peer;
pub(crate) use revocation::{Crl, ocsp};
pub(crate) use systemd::Systemd;
pub(crate) use tls::{Tls, TlsBuilder, s_client};
pub(crate) use upstream::{FrameUpstream, RawUpstream, Recorded, Reply, TlsServer, Upstream, frames};

/// Returns the names of the gateway's plugins.
pub(crate) fn plugins() -> Vec<String> {
    let listed = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis")).arg("plugins").output();
    let listed = String::from_utf8(listed.expect("the binary starts").stdout).expect("names are text");
    let names: Vec<_> = listed.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(names.iter().any(|name| name == "key-auth"), "{listed}");
    names
}

/// The longest that anything is waited for. Far above what a loaded machine with two cores needs.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// An API key for the tests and its SHA-256 in hex, as a credential's entry wants it. The same name gives the same key.
pub(crate) fn key(name: &str) -> (String, String) {
    let key = format!("test_{name}_{}", hex::encode(Sha256::digest(format!("a key of the tests: {name}"))));
    let sha256 = hex::encode(Sha256::digest(&key));
    (key, sha256)
}

/// What the future gives, or a failed test that says what did not happen within [`LIMIT`].
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {LIMIT:?}: {what}"),
    }
}

/// Asks again and again until it is so. Only for what announces itself nowhere; where a line is written or a request
/// arrives, `wait_line` and `wait_for` are exact.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(what, asking).await;
}

/// The body of a message that a client or an upstream sends.
type AnyBody = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// A body that is sent while it is being made: it ends when its [`Feed`] is dropped.
struct Chunks(mpsc::UnboundedReceiver<Frame<Bytes>>);

/// The sending end of a streamed body. Dropping it ends the body.
pub(crate) struct Feed(mpsc::UnboundedSender<Frame<Bytes>>);

fn chunks() -> (Feed, Chunks) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Feed(sender), Chunks(receiver))
}

impl Feed {
    /// Sends one chunk. False when nobody reads any more.
    pub(crate) fn send(&self, chunk: impl Into<Bytes>) -> bool {
        self.0.send(Frame::data(chunk.into())).is_ok()
    }

    /// Ends the body with trailers (RFC 9110 section 6.5).
    pub(crate) fn end_with(self, trailers: HeaderMap) {
        // Nobody reads any more: then nobody misses them.
        let _ = self.0.send(Frame::trailers(trailers));
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}
