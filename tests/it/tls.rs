//! TLS between clients and the gateway, through the real binary. Witnesses that are none of ours: Python's `ssl`,
//! `openssl s_client`, gRPC in Python.
//!
//! - `negotiation`: versions, ciphers, groups, protocols: what is agreed on, what is refused, and what the log says.
//! - `certificates`: which certificate a name gets, and what is wrong with one.
//! - `reload`: certificates that change while connections are made.
//! - `handshakes`: those that are slow, never end, or are none.
//! - `proxy_protocol`: who a load balancer says that it speaks for.
//! - `redirect`: from plain HTTP to TLS.
//! - `told`: what the operator learns of it.
//! - `flows`: gRPC, WebSockets, large bodies, events.

mod certificates;
mod flows;
mod handshakes;
mod negotiation;
mod proxy_protocol;
mod redirect;
mod reload;
mod told;

use serde_json::{Value, json};

use crate::harness::{Authority, Gateway, GatewayBuilder, Leaf, Peer, Tls, TlsBuilder, Upstream};

/// The name that clients ask for, unless a test says otherwise.
const NAME: &str = "api.example.com";

const GATEWAY: &str = r#"
[server]
control = "@DIR@/control.sock"

[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[listeners.tls]
@TLS@

[upstreams.app]
targets = ["@UPSTREAM@"]

[routes.app]
paths = ["/{*rest}"]
upstream = "app"
public = true
"#;

/// The certificate that [`configured`] lays beside the configuration.
const CERTIFICATE: &str = r#"certificates = [{ cert = "api.pem", key = "api.key" }]"#;

/// A gateway with these lines under `[listeners.tls]`, a certificate of this authority for [`NAME`], and `ca.pem`.
fn configured(ca: &Authority, tls: &str) -> GatewayBuilder {
    let api = ca.issue(Leaf::server(NAME));
    Gateway::builder(GATEWAY)
        .file("ca.pem", ca.pem())
        .file("api.pem", api.chain_pem())
        .file("api.key", api.key_pem())
        .set("TLS", tls)
}

/// A gateway of this file with its upstream, the authority that signed its certificate, and somebody who asks.
struct World {
    ca: Authority,
    gateway: Gateway,
    upstream: Upstream,
    python: Peer,
}

impl World {
    /// With these lines beside the certificate.
    async fn start(tls: &str) -> Self {
        let ca = Authority::new("Root");
        let builder = configured(&ca, &format!("{CERTIFICATE}\n{tls}"));
        Self::with(ca, builder).await
    }

    async fn with(ca: Authority, builder: GatewayBuilder) -> Self {
        let upstream = Upstream::start();
        let gateway = builder.set("UPSTREAM", &upstream.address()).start().await;
        Self { ca, gateway, upstream, python: Peer::start("tls_client.py") }
    }

    /// A client that trusts the authority and asks for [`NAME`].
    fn tls(&self) -> TlsBuilder {
        Tls::trusting(&self.ca).name(NAME)
    }

    /// What becomes of a connection with Python's `ssl` that is as `change` says: a member that is `null` is left out.
    fn connect(&mut self, change: &Value) -> Value {
        let mut asked = json!({
            "address": self.gateway.address(0).to_string(), "name": NAME, "ca": self.gateway.dir().join("ca.pem"),
        });
        let all = asked.as_object_mut().expect("an object");
        all.extend(change.as_object().expect("an object").clone());
        all.retain(|_, value| !value.is_null());
        self.python.ask(&asked)
    }
}

/// A whole request that leaves no doubt about its end.
fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

/// Whether an answer has every member that is expected; of an error it is enough to hold the words.
fn assert_like(answer: &Value, expected: &Value, what: &str) {
    for (member, expected) in expected.as_object().expect("an object") {
        let found = &answer[member];
        let is_like = match (member.as_str(), expected.as_str(), found.as_str()) {
            ("error" | "answer", Some(words), Some(found)) => found.contains(words),
            _ => found == expected,
        };
        assert!(is_like, "{what}: {member} should be {expected}: {answer:#}");
    }
}
