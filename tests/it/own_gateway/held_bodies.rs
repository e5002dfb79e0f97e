//! Bodies that are read before the upstream is connected: what arrives there is what was sent, for every framing and
//! size, and of what is refused nothing arrives.

use std::{net::TcpListener, time::Duration};

use super::{GATEWAY, porter, program, route, ticketed};
use crate::harness::{Asking, Client, Gateway, GatewayBuilder, LIMIT, Raw, RawUpstream, Upstream, eventually, key};

mod framings;
mod limits;

const MEBIBYTE: usize = 1 << 20;
const WORD: &str = "open sesame";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A body of this length that looks like no other and ends with the word, where it is long enough.
fn body(length: usize) -> Vec<u8> {
    let mut state = length as u64 + 1;
    let mut bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    })
    .take(length)
    .collect();
    if let Some(end) = length.checked_sub(WORD.len()) {
        bytes[end..].copy_from_slice(WORD.as_bytes());
    }
    bytes
}

/// A way to send a body.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Http1Length,
    Http1Chunked,
    Http2Length,
    Http2Unknown,
}

impl Framing {
    const ALL: [Self; 4] = [Self::Http1Length, Self::Http1Chunked, Self::Http2Length, Self::Http2Unknown];

    fn client(self, gateway: &Gateway) -> Client {
        match self {
            Self::Http1Length | Self::Http1Chunked => Client::http1(gateway.address(0)),
            Self::Http2Length | Self::Http2Unknown => Client::http2(gateway.address(0)),
        }
    }

    /// Puts the body on a request.
    fn put<'a>(self, asking: Asking<'a>, body: &[u8]) -> Asking<'a> {
        match self {
            Self::Http1Length | Self::Http2Length => asking.body(body.to_vec()),
            Self::Http1Chunked | Self::Http2Unknown => {
                let (asking, feed) = asking.streamed();
                // Uneven pieces: chunks and frames end anywhere.
                for piece in body.chunks(10_007) {
                    assert!(feed.send(piece.to_vec()));
                }
                asking
            }
        }
    }

    /// A request with this body and acme's ticket.
    fn post<'c>(self, client: &'c Client, path: &str, body: &[u8]) -> Asking<'c> {
        self.put(ticketed(client.request("POST", path)), body)
    }
}

/// A gateway of our own for both versions of HTTP, with these routes, before an upstream.
fn builder(upstream: &impl ToString, routes: &str) -> GatewayBuilder {
    let builder = Gateway::builder(&format!("{GATEWAY}{routes}")).program(program()).listener("h2c = true");
    let builder = builder.set("UPSTREAM", upstream);
    let builder = builder.set("SHA256", &key("acme").1).set("OTHER", &key("other").1);
    builder.file("acme.secret", "open sesame\n").file("banned.txt", "Bad/1.0\n")
}

/// The head in lower case, and the body, of the request that came last.
fn last(upstream: &RawUpstream) -> (String, Vec<u8>) {
    let mut head = upstream.last();
    let end = head.windows(4).position(|end| end == b"\r\n\r\n").expect("a whole head");
    let body = head.split_off(end + 4);
    (String::from_utf8(head).expect("a head is text").to_ascii_lowercase(), body)
}

/// An upstream that must not be connected.
struct Nobody(TcpListener);

impl Nobody {
    fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        Self(listener)
    }

    fn address(&self) -> String {
        self.0.local_addr().expect("a bound socket").to_string()
    }

    fn was_left_alone(&self) -> bool {
        self.0.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

/// A route whose porter reads bodies of up to 8 MiB and looks for the word; `more` is said beside.
fn reading(more: &str) -> String {
    route(&porter("p", &format!("word = \"{WORD}\", reads = 8388608, {more}")))
}
