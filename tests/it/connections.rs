//! What a connection carries beside one request: requests behind it, bodies in chunks, uploads
//! that nobody reads; and how many there may be.

mod chunks;
mod limits;
mod pipelined;
mod refused_uploads;
mod trickling;

use std::time::Duration;

use crate::harness::{Gateway, GatewayBuilder, Reply, Upstream, key};

const GATEWAY: &str = r#"
[server]

[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.keys]
use = "key-auth"

[routes.app]
paths = ["/app/{*rest}"]
upstream = "app"
public = true

[routes.small]
paths = ["/small/{*rest}"]
upstream = "app"
public = true
max_body_bytes = 1000

[routes.fixed]
paths = ["/fixed/{*rest}"]
methods = ["GET", "POST"]
respond = { body = "fixed" }
public = true

[routes.locked]
paths = ["/locked/{*rest}"]
upstream = "app"
auth = ["keys"]
plugins = [{ use = "consumer-restriction", allow = [{ consumers = ["somebody-else"] }] }]

[consumers.somebody-else]

[consumers.acme]
[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-1"
sha256 = "@SHA256@"
"#;

/// A gateway, and an upstream that answers after a while with the target and the length of the body.
fn site(delay: Duration) -> (GatewayBuilder, Upstream) {
    let upstream = Upstream::with(move |request| {
        Reply::new(200).body(format!("{} {}", request.target, request.body.len())).after(delay)
    });
    let builder = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).set("SHA256", &key("acme").1);
    (builder, upstream)
}

/// One answer of a connection.
struct Answer {
    status: u16,
    /// In lower case.
    head: String,
    body: String,
}

/// The answers that these bytes are, each with the length that it says.
fn answers(bytes: &[u8]) -> Vec<Answer> {
    let mut rest = str::from_utf8(bytes).expect("text");
    let mut answers = Vec::new();
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let head = head.to_ascii_lowercase();
        let length = head.split("\r\ncontent-length: ").nth(1).and_then(|value| value.lines().next());
        let length = length.expect("a length").parse::<usize>().expect("a number");
        let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        assert!(head.starts_with("http/1.1 ") && after.len() >= length, "cut off: {rest}");
        answers.push(Answer { status, head, body: after[..length].to_owned() });
        rest = &after[length..];
    }
    assert_eq!(rest, "", "behind the last answer");
    answers
}
