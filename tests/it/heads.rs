//! Heads that have more than one reading, or none: each is answered by the gateway itself, its connection is closed, its
//! log line says why, and not a byte of it reaches the upstream.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Client, Gateway, LIMIT, Raw, RawUpstream, Upstream, key, raw};

const GATEWAY: &str = r#"
[server]
head_timeout = "@HEAD_TIMEOUT@"

[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.keys]
use = "key-auth"

[routes.all]
paths = ["/{*rest}"]
upstream = "app"
public = true
overlap = "accepted"

[routes.locked]
paths = ["/locked"]
respond = { body = "open\n" }
auth = ["keys"]

[routes.health]
paths = ["/health"]
respond = { body = "ok\n" }
public = true
"#;

/// Above what any head here takes to be sent, and below what a test may take.
const HEAD_TIMEOUT: Duration = Duration::from_millis(400);

/// A gateway that lets everything through, and an upstream that keeps every byte.
struct Site {
    gateway: Gateway,
    upstream: RawUpstream,
}

impl Site {
    async fn start() -> Self {
        let upstream = RawUpstream::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let timeout = format!("{}ms", HEAD_TIMEOUT.as_millis());
        let builder = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).set("HEAD_TIMEOUT", &timeout);
        Self { gateway: builder.start().await, upstream }
    }

    /// This is refused with this status, and for this reason in the log.
    async fn refuses(&self, request: impl AsRef<[u8]>, status: u16, why: &str) {
        let mut connection = Raw::open(self.gateway.address(0)).await;
        connection.send(&request).await;
        self.is_refused(connection, request.as_ref(), status, why).await;
    }

    async fn is_refused(&self, mut connection: Raw, request: &[u8], status: u16, why: &str) {
        let what = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
        let head = connection.until("\r\n\r\n").await;
        let problem = connection.until("}\n").await;
        assert!(connection.is_closed_within(LIMIT).await, "left open after {what:?}");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{what:?} got {head}");
        assert!(head.to_ascii_lowercase().contains("\r\ncontent-type: application/problem+json\r\n"), "{head}");
        let problem: Value = serde_json::from_str(&problem).expect("problem JSON");
        assert_eq!((&problem["status"], problem["code"].is_string()), (&status.into(), true), "{what:?}: {problem}");
        assert!(!problem.to_string().contains(why), "the answer says more than it should: {problem}");
        let line = self.gateway.access(|line| line["request_id"] == problem["request_id"]).await;
        assert_eq!((&line["status"], &line["error"]), (&status.into(), &why.into()), "{what:?}");
        assert_eq!(self.upstream.saw(), Vec::<String>::new(), "{what:?} reached the upstream");
    }

    /// What the upstream gets of a request that passes, as the first one.
    async fn passes(&self, request: impl AsRef<[u8]>) -> String {
        let answer = String::from_utf8(raw(self.gateway.address(0), request).await).expect("text");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
        let [saw] = self.upstream.saw().try_into().expect("one request");
        saw
    }

    /// What was refused before was not refused by chance: the same way is open to a good request.
    async fn is_open(&self) {
        let saw = self.passes("GET /good HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").await;
        assert!(saw.starts_with("GET /good HTTP/1.1\r\n"), "{saw}");
    }
}

#[tokio::test]
async fn two_names_for_one_host_are_400() {
    let site = Site::start().await;
    for (lines, why) in [
        ("GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n", "two Host lines"),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nhost: a.example\r\n", "two Host lines"),
        ("GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n", "target's authority is not the Host"),
        ("GET http://a.example:81/ HTTP/1.1\r\nHost: a.example\r\n", "target's authority is not the Host"),
    ] {
        site.refuses(format!("{lines}\r\n"), 400, why).await;
    }
    site.is_open().await;
}

#[tokio::test]
async fn an_authority_of_http2_that_is_not_its_host_is_400() {
    let upstream = Upstream::start();
    let builder = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).set("HEAD_TIMEOUT", "1s");
    let gateway = builder.start().await;
    let client = Client::http2(gateway.address(1));
    // Pingora refuses these by itself, before any hook: there is no problem body and no log line to look at.
    let different = client.get("/").host("a.example").header("host", "b.example").send().await;
    assert_eq!((different.status, upstream.requests()), (400, 0));
    let twice = client.get("/").host("a.example").header("host", "a.example").header("host", "b.example").send().await;
    assert_eq!((twice.status, upstream.requests()), (400, 0));

    let same = client.get("/").host("a.example").header("host", "a.example").send().await;
    assert_eq!((same.status, upstream.last().header("host")), (200, Some("a.example")));
}

#[tokio::test]
async fn a_request_names_its_host() {
    let site = Site::start().await;
    site.refuses("GET / HTTP/1.1\r\nX-Host: a.example\r\n\r\n", 400, "no Host").await;
    for host in ["", "a.example/x", "a example", "user@a.example", "a.example:80:80", "a.example:port", "a..example"] {
        site.refuses(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400, "Host").await;
    }
    for host in ["[::1", "[::1]x", "a.example,b.example", "a.example:99999", ".a.example", "a%2eexample", "é.example"]
    {
        site.refuses(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400, "Host").await;
    }
    site.is_open().await;
}

#[tokio::test]
async fn a_body_has_one_length() {
    let site = Site::start().await;
    for (lines, why) in [
        ("Content-Length: 3\r\nContent-Length: 3\r\n", "two Content-Length lines"),
        ("Content-Length: 3\r\ncontent-length: 4\r\n", "two Content-Length lines"),
        ("Content-Length: 3, 3\r\n", "Content-Length"),
        ("Content-Length: +3\r\n", "Content-Length"),
        ("Content-Length: -3\r\n", "Content-Length"),
        ("Content-Length: 0x3\r\n", "Content-Length"),
        ("Content-Length: 3 3\r\n", "Content-Length"),
        ("Content-Length:\r\n", "Content-Length"),
        ("Content-Length: 18446744073709551619\r\n", "Content-Length"),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "Content-Length with Transfer-Encoding"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "Content-Length with Transfer-Encoding"),
        ("Transfer-Encoding: identity, chunked\r\n", "Transfer-Encoding other than chunked"),
        ("Transfer-Encoding: chunked, chunked\r\n", "Transfer-Encoding other than chunked"),
        ("Transfer-Encoding: xchunked\r\n", "Transfer-Encoding other than chunked"),
        ("Transfer-Encoding: chunked;q=1\r\n", "Transfer-Encoding other than chunked"),
        ("Transfer-Encoding: gzip\r\n", "Transfer-Encoding other than chunked"),
        ("Transfer-Encoding:\r\n", "Transfer-Encoding other than chunked"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "two Transfer-Encoding lines"),
        ("Transfer-Encoding : chunked\r\n", "header name"),
        ("Transfer-Encoding: \x0bchunked\r\n", "byte in a header value"),
    ] {
        let body = "0\r\n\r\nabc";
        site.refuses(format!("POST / HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n{body}"), 400, why).await;
    }
    let old = "POST / HTTP/1.0\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    site.refuses(old, 400, "Transfer-Encoding in HTTP/1.0").await;

    let chunked = "POST /good HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n\
                   3\r\nabc\r\n0\r\n\r\n";
    assert!(site.passes(chunked).await.ends_with("3\r\nabc\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn methods_and_lines_have_one_spelling() {
    let site = Site::start().await;
    for method in ["get", "Get", "GET\t", "G(T", "GÉT", ""] {
        site.refuses(format!("{method} / HTTP/1.1\r\nHost: a.example\r\n\r\n"), 400, "method").await;
    }
    for method in ["TRACE", "CONNECT"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        site.refuses(request.clone(), 405, "method TRACE or CONNECT").await;
        let answer = String::from_utf8(raw(site.gateway.address(0), request).await).expect("text").to_ascii_lowercase();
        assert!(answer.contains("\r\nallow: get, head, post, put, patch, delete, options\r\n"), "{answer}");
    }
    for lines in [
        "GET / HTTP/1.1\nHost: a.example\n\n",
        "GET / HTTP/1.1\r\nHost: a.example\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nX-A: 1\nX-B: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\n\n",
    ] {
        site.refuses(lines, 400, "bare line feed").await;
    }
    for (line, why) in [
        (" X-Folded: 1", "folded header line"),
        ("\tX-Folded: 1", "folded header line"),
        ("X-Space : 1", "header name"),
        (": nameless", "header name"),
        ("no colon", "header name"),
        ("X-[A]: 1", "header name"),
        ("X-Return: a\rX-User-ID: root", "byte in a header value"),
        ("X-Nul: a\0b", "byte in a header value"),
        ("X-Delete: a\x7fb", "byte in a header value"),
        ("Authorization: Bearer a\r\nauthorization: Bearer b", "two Authorization lines"),
    ] {
        site.refuses(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{line}\r\n\r\n"), 400, why).await;
    }
    site.is_open().await;
}

#[tokio::test]
async fn an_unknown_method_is_the_routes_to_allow_and_405_otherwise() {
    let site = Site::start().await;
    let request = "PURGE / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let answer = String::from_utf8(raw(site.gateway.address(0), request).await).expect("text").to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 405 "), "{answer}");
    assert!(answer.contains("\r\nallow: get, head, post, put, patch, delete, options\r\n"), "{answer}");
    assert_eq!(site.upstream.saw(), Vec::<String>::new());
}

#[tokio::test]
async fn a_head_has_a_limit_of_bytes_and_of_lines() {
    let site = Site::start().await;
    let head = |before: &str, size: usize, after: &str| format!("{before}{}{after}", "a".repeat(size));
    let huge = head("GET / HTTP/1.1\r\nHost: a.example\r\nX-Big: ", 70_000, "\r\n\r\n");
    site.refuses(huge, 431, "head of too many bytes").await;
    // Without an end it is refused as soon as it is too long, and not once its time is up.
    let endless = head("GET / HTTP/1.1\r\nHost: a.example\r\nX-Big: ", 40_000, "");
    site.refuses(endless, 431, "head of too many bytes").await;
    site.refuses(head("GET /", 40_000, " HTTP/1.1\r\nHost: a.example\r\n\r\n"), 431, "head of too many bytes").await;
    let lines = |count: usize| {
        let more: String = (0..count - 2).map(|number| format!("X-{number}: {number}\r\n")).collect();
        format!("GET /good HTTP/1.1\r\nHost: a.example\r\n{more}Connection: close\r\n\r\n")
    };
    site.refuses(lines(101), 431, "head of too many lines").await;
    let saw = site.passes(lines(100)).await;
    assert!(saw.contains("97: 97\r\n"), "{saw}");
}

#[tokio::test]
async fn a_head_of_32_kib_passes_and_one_byte_more_is_431() {
    let site = Site::start().await;
    let sized = |size: usize| {
        let (start, end) = ("GET /good HTTP/1.1\r\nHost: a.example\r\nX-Big: ", "\r\nConnection: close\r\n\r\n");
        format!("{start}{}{end}", "a".repeat(size - start.len() - end.len()))
    };
    site.refuses(sized(32 * 1024 + 1), 431, "head of too many bytes").await;
    let saw = site.passes(sized(32 * 1024)).await;
    assert!(saw.contains(&"a".repeat(32_000)), "{}", saw.len());
}

#[tokio::test]
async fn a_head_that_drips_is_408_though_it_never_stands_still() {
    let site = Site::start().await;
    let mut connection = Raw::open(site.gateway.address(0)).await;
    let began = Instant::now();
    connection.send("GET / HTTP/1.1\r\nHost: a.example\r\n").await;
    while !connection.is_closed_within(Duration::from_millis(20)).await {
        connection.send("X-Drip: 1\r\n").await;
        assert!(began.elapsed() < LIMIT, "it drips for ever");
    }
    // Half of what is waited for elsewhere, and of the timeout that holds where the file says nothing.
    assert!((HEAD_TIMEOUT..LIMIT / 2).contains(&began.elapsed()), "after {:?}", began.elapsed());
    let line = site.gateway.access(|line| line["status"] == 408).await;
    assert_eq!(line["error"], "head took too long");
    assert_eq!(site.upstream.saw(), Vec::<String>::new());
}

#[tokio::test]
async fn a_head_that_stands_still_is_told_so_by_408() {
    let site = Site::start().await;
    for start in ["G", "GET / HTTP/1.1\r\nHost: a.example\r\n", "\r\nG"] {
        let began = Instant::now();
        site.refuses(start, 408, "head took too long").await;
        assert!((HEAD_TIMEOUT..LIMIT / 2).contains(&began.elapsed()), "{start:?} after {:?}", began.elapsed());
    }
    site.is_open().await;
}

#[tokio::test]
async fn a_target_is_a_path() {
    let site = Site::start().await;
    for (target, why) in [
        ("admin", "target in neither origin nor absolute form"),
        ("*", "target in neither origin nor absolute form"),
        ("a.example:443", "target in neither origin nor absolute form"),
        ("?a=1", "target in neither origin nor absolute form"),
        (" /admin", "byte in the target"),
        ("/admin ", "byte in the target"),
        ("/admin HTTP/1.1", "byte in the target"),
        ("/a b", "byte in the target"),
        ("ftp://a.example/", "target in neither origin nor absolute form"),
        ("http:/a.example/", "target in neither origin nor absolute form"),
        ("http:///admin", "target's authority is not the Host"),
        ("http://user@a.example/", "target's authority is not the Host"),
        ("/public#fragment", "byte in the target"),
        ("/public?a#fragment", "byte in the target"),
        ("/public\t", "byte in the target"),
        ("/caf\u{e9}", "byte in the target"),
        ("", "target in neither origin nor absolute form"),
    ] {
        site.refuses(format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n"), 400, why).await;
    }
    for target in ["*", "admin"] {
        let request = format!("OPTIONS {target} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        site.refuses(request, 400, "target in neither origin nor absolute form").await;
    }
    let server_wide = "OPTIONS http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n";
    site.refuses(server_wide, 400, "OPTIONS without a path").await;
    let absolute = "GET http://a.example/good?x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    assert!(site.passes(absolute).await.starts_with("GET /good?x HTTP/1.1\r\n"));
}

#[tokio::test]
async fn garbage_on_the_wire_is_refused_in_bounded_time() {
    let site = Site::start().await;
    let no_http = "request line without HTTP/1.1 or HTTP/1.0";
    // A generator of its own, so that every run sends the same bytes; the line end makes it a first line.
    let noise = (0..4096u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8);
    let noise: Vec<u8> = noise.filter(|byte| *byte != b'\n').chain(*b"\r\n\r\n").collect();
    for (garbage, why) in [
        (&b"GET /\r\n\r\n"[..], no_http),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", no_http),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", no_http),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", no_http),
        (b"HTTP/1.1 200 OK\r\n\r\n", no_http),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", no_http),
        (b"\0\0\0\0\r\n\r\n", no_http),
        (b"\xff\xfe\xfd\r\n\r\n", no_http),
        (b"{\"json\":true}\n", "bare line feed"),
        (b"\r\n\r\n\r\n", no_http),
        (&noise, no_http),
        // A TLS handshake record as a client begins it, with no line in it: only time ends the wait for one.
        (b"\x16\x03\x01\x00\xf0\x01\x00\x00\xec\x03\x03", "head took too long"),
    ] {
        let status = if why == "head took too long" { 408 } else { 400 };
        site.refuses(garbage, status, why).await;
    }
    site.is_open().await;
}

#[tokio::test]
async fn a_short_request_on_an_h2c_listener_is_answered_at_once() {
    let site = Site::start().await;
    let mut connection = Raw::open(site.gateway.address(1)).await;
    // Not even as long as the 24 bytes that HTTP/2 begins with.
    connection.send("GET / HTTP/1.0\r\n\r\n").await;
    assert!(connection.until("\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
    for client in [Client::http1(site.gateway.address(1)), Client::http2(site.gateway.address(1))] {
        assert_eq!(client.get("/health").send().await.text(), "ok\n");
    }
    let mut refused = Raw::open(site.gateway.address(0)).await;
    refused.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(refused.until("\r\n\r\n").await.starts_with("HTTP/1.1 400 "), "h2c where nobody asked for it");
}

#[tokio::test]
async fn the_body_of_a_refused_request_never_becomes_the_next_one() {
    let site = Site::start().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let plain = format!("Content-Length: {}\r\n\r\n{smuggled}", smuggled.len());
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
    for (line, status) in [("POST /locked", 401), ("POST /health", 200), ("PURGE /", 405), ("POST /a;b", 400)] {
        for body in [&plain, &chunked] {
            let request = format!("{line} HTTP/1.1\r\nHost: a.example\r\n{body}");
            let (head, rest) = request.split_once("\r\n\r\n").expect("a head");
            // Once with the body behind the head, and once with the body after the answer.
            for pieces in [vec![request.as_str()], vec![head, "\r\n\r\n", rest]] {
                let mut connection = Raw::open(site.gateway.address(0)).await;
                for piece in pieces {
                    connection.send(piece).await;
                }
                let answer = connection.until("\r\n\r\n").await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line} got {answer}");
                connection.send("GET /health HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").await;
                let rest = String::from_utf8(connection.rest().await).expect("text");
                assert!(!rest.contains("HTTP/1.1 200") || rest.ends_with("\r\n\r\nok\n"), "{line}: {rest}");
                assert_eq!(site.upstream.saw(), Vec::<String>::new(), "{line} {body}");
            }
        }
    }
}

#[tokio::test]
async fn no_value_of_an_identity_breaks_out_of_its_line() {
    let (key, sha256) = key("odd");
    let toml = format!(
        "{GATEWAY}\n[routes.who]\npaths = [\"/who\"]\nupstream = \"app\"\nauth = [\"keys\"]\n\n\
         [consumers.\"jörg & co\"]\ngroups = [\"a\\r\\nX-Evil: 1\", \"b,c\", \"d e\", \"100%\"]\ntenant = \"\\u0000\\u007f\"\n\n\
         [[consumers.\"jörg & co\".credentials]]\nuse = \"key-auth\"\nid = \"odd-1\"\nsha256 = \"{sha256}\"\n\
         scopes = [\"orders:read\", \"a b\"]\n"
    );
    let upstream = RawUpstream::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = Gateway::builder(&toml).set("UPSTREAM", &upstream.address()).set("HEAD_TIMEOUT", "1s").start().await;
    let request = format!("GET /who HTTP/1.1\r\nHost: a.example\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8(raw(gateway.address(0), request).await).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let saw = upstream.saw().concat();
    for line in [
        "x-consumer: j%C3%B6rg%20&%20co",
        "x-consumer-groups: a%0D%0AX-Evil:%201,b%2Cc,d%20e,100%25",
        "x-tenant-id: %00%7F",
        "x-scopes: orders:read a%20b",
    ] {
        assert!(saw.lines().any(|have| have.eq_ignore_ascii_case(line)), "{line:?} is not in {saw}");
    }
    assert!(!saw.to_ascii_lowercase().contains("\r\nx-evil"), "{saw}");
}
