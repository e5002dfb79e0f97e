//! TLS to the upstream: who is believed, what the upstream gets to know, and that nothing is said to one that is not
//! believed.
//!
//! - `verified`: which certificates are taken, and as what the others are refused.
//! - `own_certificate`: the gateway proves who it is.
//! - `broken_http2`: answers by HTTP/2 that are none.
//! - `protocols`: HTTP/1.1, HTTP/2, trailers, WebSocket, streams and large bodies.
//! - `reloaded`: files that change.

mod broken_http2;
mod own_certificate;
mod protocols;
mod reloaded;
mod verified;

use serde_json::Value;

use crate::harness::{
    Authority, Client, Gateway, GatewayBuilder, Leaf, Pair, Response, TlsServer, Upstream, eventually,
};

pub(crate) const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[upstreams.app]
targets = [@TARGETS@]
connect_timeout = "2s"
@UPSTREAM@

[routes.app]
paths = ["/{*rest}"]
upstream = "app"
public = true
"#;

/// What most upstreams of these tests say.
pub(crate) const BY_CA: &str = "tls = { ca = \"ca.pem\" }";

/// A gateway, not started, with this authority as `ca.pem` beside its configuration.
pub(crate) fn before(upstreams: &[&Upstream], authority: &Authority, says: &str) -> GatewayBuilder {
    let targets: Vec<String> = upstreams.iter().map(|upstream| format!("\"{}\"", upstream.address())).collect();
    let builder = Gateway::builder(GATEWAY).set("TARGETS", &targets.join(", ")).set("UPSTREAM", says);
    builder.file("ca.pem", authority.pem())
}

/// A server whose certificate is good for its address.
pub(crate) fn at_loopback(authority: &Authority) -> Pair {
    authority.issue(Leaf::new("app").ip("127.0.0.1"))
}

/// A gateway in front of a server with this certificate.
pub(crate) async fn served_by(pair: &Pair, authority: &Authority, says: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::tls(&TlsServer::new(pair));
    let gateway = before(&[&upstream], authority, says).start().await;
    (gateway, upstream)
}

pub(crate) async fn get(gateway: &Gateway) -> Response {
    Client::http1(gateway.address(0)).get("/hello").send().await
}

/// Waits for a request that goes over a connection which another has used. An answer may be there a moment before the
/// connection that it came on is free again.
pub(crate) async fn is_kept(gateway: &Gateway, upstream: &Upstream) {
    let again = async || {
        assert_eq!(get(gateway).await.status, 200, "{}", gateway.output());
        let saw = upstream.saw();
        saw[..saw.len() - 1].iter().any(|before| before.connection == saw[saw.len() - 1].connection)
    };
    eventually("a connection that is used again", again).await;
}

/// How many errors of this kind the upstream has had.
pub(crate) async fn errors(gateway: &Gateway, kind: &str) -> f64 {
    gateway.metric(&format!("portcullis_upstream_errors_total{{upstream=\"app\",kind=\"{kind}\"}}")).await
}

/// Holds that a request is a 502 which tells the client nothing, that log and metric tell why, and that the upstream got
/// no request. The access line.
pub(crate) async fn assert_refused(gateway: &Gateway, upstream: &Upstream, kind: &str, why: &str) -> Value {
    let before = upstream.requests();
    let answer = get(gateway).await;
    let problem = answer.json();
    assert_eq!((answer.status, problem["code"].as_str()), (502, Some("upstream_broken")), "{kind}");
    assert!(!answer.text().contains("certificate"), "{}", answer.text());
    assert_eq!(upstream.requests(), before, "{kind}: a request went to a server that is not believed");
    let line = gateway.access(|line| line["request_id"] == problem["request_id"]).await;
    assert!(
        line["error"].as_str().is_some_and(|error| error.starts_with("upstream: ") && error.contains(why)),
        "{line}"
    );
    assert_eq!(errors(gateway, kind).await, 1.0, "{kind}: {line}");
    line
}
