//! Clients that show certificates: who is let in, who is not, what the upstream learns, and that there is no way around.
//!
//! - `handshake`: certificates of every kind at a listener that wants one.
//! - `resumption`: sessions that would carry a connection past the question.
//! - `names`: server names that ask differently, and hosts that are not the connection's.
//! - `revoked`: what changes for connections that are open.
//! - `streams`: what changes for streams that are open.
//! - `identity`: who the client is, on the route and at the upstream.

mod handshake;
mod identity;
mod names;
mod resumption;
mod revoked;
mod streams;

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Authority, Gateway, GatewayBuilder, Leaf, Pair, Peer, Tls, TlsBuilder, Upstream};

/// Served to everyone.
const OPEN: &str = "open.example.com";
/// Served to those with a certificate, in the tests that say so.
const SECRET: &str = "secret.example.com";

const GATEWAY: &str = r#"
[server]
control = "@DIR@/control.sock"

[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[listeners.tls]
certificates = [{ cert = "server.pem", key = "server.key" }]
@CLIENTS@

@MORE@

[upstreams.app]
targets = ["@UPSTREAM@"]

[routes.app]
paths = ["/{*rest}"]
upstream = "app"
public = true
"#;

/// A gateway with one certificate for every name below `example.com`, as most have it; `clients.pem` has the authority
/// that vouches for clients, and these lines say who is asked.
fn configured(servers: &Authority, clients: &Authority, lines: &str) -> GatewayBuilder {
    let server = servers.issue(Leaf::server("*.example.com"));
    Gateway::builder(GATEWAY)
        .file("ca.pem", servers.pem())
        .file("server.pem", server.chain_pem())
        .file("server.key", server.key_pem())
        .file("clients.pem", clients.pem())
        .set("CLIENTS", lines)
}

/// A gateway of this file with its upstream, both authorities, and somebody who asks.
struct World {
    servers: Authority,
    clients: Authority,
    gateway: Gateway,
    upstream: Upstream,
    python: Peer,
}

impl World {
    async fn start(lines: &str) -> Self {
        Self::with(lines, "", |builder| builder).await
    }

    /// With more in the configuration and beside it.
    async fn with(lines: &str, more: &str, change: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let (servers, clients) = (Authority::new("Servers"), Authority::new("Clients"));
        Self::of(&servers, &clients, change(configured(&servers, &clients, lines).set("MORE", more))).await
    }

    async fn of(servers: &Authority, clients: &Authority, builder: GatewayBuilder) -> Self {
        let upstream = Upstream::start();
        let gateway = builder.set("UPSTREAM", &upstream.address()).start().await;
        let (servers, clients) = (servers.clone(), clients.clone());
        Self { servers, clients, gateway, upstream, python: Peer::start("tls_client.py") }
    }

    /// A client that asks for this name.
    fn tls(&self, name: &str) -> TlsBuilder {
        Tls::trusting(&self.servers).name(name)
    }

    /// What becomes of a request of Python's `ssl` to this name, on a connection that is as `change` says.
    fn ask(&mut self, name: &str, pair: Option<&Pair>, change: &Value) -> Value {
        let mut asked = json!({
            "address": self.gateway.address(0).to_string(), "name": name, "ca": self.gateway.dir().join("ca.pem"),
            "send": get(name, "/x"),
        });
        let all = asked.as_object_mut().expect("an object");
        if let Some(pair) = pair {
            let (cert, key) = lay(self.gateway.dir(), pair);
            all.extend([("cert".into(), cert.into()), ("key".into(), key.into())]);
        }
        all.extend(change.as_object().expect("an object").clone());
        self.python.ask(&asked)
    }
}

/// Lays a client's certificate and key into the directory, for peers that want files.
fn lay(dir: &Path, pair: &Pair) -> (String, String) {
    let path = |ending: &str| dir.join(format!("{}.{ending}", pair.fingerprint()));
    let (cert, key) = (path("pem"), path("key"));
    std::fs::write(&cert, pair.chain_pem()).and_then(|()| std::fs::write(&key, pair.key_pem())).expect("our own files");
    (cert.display().to_string(), key.display().to_string())
}

/// A whole request that leaves no doubt about its end.
fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

/// The status of an answer; `None` where there is none.
fn status(answer: &Value) -> Option<u16> {
    answer["answer"].as_str()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}
