//! Which route owns a request, and that nothing else in it has a say.

use std::sync::LazyLock;

use http::Version;

use crate::harness::{Client, Gateway, Raw, Upstream, WebSocket, key, raw};

/// Routes that answer with their own name, so that the answer tells which one it was.
static NAMES: LazyLock<String> = LazyLock::new(|| {
    let routes = [
        ("exact", r#"hosts = ["api.example.com", "[2001:db8::1]"], paths = ["/a"]"#),
        ("wild", r#"hosts = ["*.example.com"], paths = ["/a", "/b"]"#),
        ("deep", r#"hosts = ["*.eu.example.com"], paths = ["/a"]"#),
        ("any", r#"paths = ["/a", "/b", "/c"]"#),
        ("literal", r#"paths = ["/p/new"]"#),
        ("parameter", r#"paths = ["/p/{id}", "/q/{id}/x"]"#),
        ("rest", r#"paths = ["/p/{*rest}"]"#),
        ("other", r#"paths = ["/q/new/y"]"#),
        ("root", r#"paths = ["/"]"#),
        ("reading", r#"paths = ["/m"], methods = ["GET"]"#),
        ("writing", r#"paths = ["/m"], methods = ["PUT", "PURGE"]"#),
        ("fallback", r#"paths = ["/m/{*rest}", "/{one}"]"#),
        ("version-2", r#"paths = ["/v"], headers = { "x-version" = "2" }"#),
        ("version-2-beta", r#"paths = ["/v"], headers = { "x-version" = "2", "x-beta" = true }"#),
        ("version-any", r#"paths = ["/v"]"#),
        ("asked", r#"paths = ["/w"], headers = { "x-needed" = true }, methods = ["GET"]"#),
    ];
    let inline =
        |(name, fields)| format!("{name} = {{ public = true, respond = {{ body = \"{name}\" }}, {fields} }}\n");
    let routes: String = routes.map(inline).concat();
    format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n\n[[listeners]]\naddress = \"127.0.0.1:0\"\nh2c = true\n\n[routes]\n{routes}"
    )
});

/// A gateway whose answers are the names of its routes.
async fn names() -> Gateway {
    Gateway::start(&NAMES).await
}

/// The name of the route that answered, or the status of a refusal.
async fn who(client: &Client, host: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let asking = client.request(method, path).host(host);
    let answer = headers.iter().fold(asking, |asking, (name, value)| asking.header(name, value)).send().await;
    if answer.status == 200 { answer.text() } else { answer.status.to_string() }
}

#[tokio::test]
async fn a_host_is_matched_exactly_then_by_the_longest_wildcard_then_by_none() {
    let gateway = names().await;
    for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))] {
        for (host, path, name) in [
            ("api.example.com", "/a", "exact"),
            ("API.Example.COM", "/a", "exact"),
            ("api.example.com:8080", "/a", "exact"),
            ("api.example.com.", "/a", "exact"),
            ("[2001:DB8:0::1]:443", "/a", "exact"),
            ("www.example.com", "/a", "wild"),
            ("a.b.example.com", "/a", "wild"),
            ("x.eu.example.com", "/a", "deep"),
            ("example.com", "/a", "any"),
            ("badexample.com", "/a", "any"),
            ("api.example.com.evil.org", "/a", "any"),
            // No path of the stronger host fits: the next one is asked.
            ("api.example.com", "/b", "wild"),
            ("x.eu.example.com", "/b", "wild"),
            ("api.example.com", "/c", "any"),
            ("x.eu.example.com", "/c", "any"),
        ] {
            assert_eq!(who(&client, host, "GET", path, &[]).await, name, "{host} {path}");
        }
    }
}

#[tokio::test]
async fn a_path_is_matched_by_literal_then_parameter_then_rest() {
    let gateway = names().await;
    let client = Client::http1(gateway.address(0));
    for (path, name) in [
        ("/p/new", "literal"),
        ("/p/new/", "literal"),
        ("/p/7", "parameter"),
        ("/p/%6Eew", "literal"),
        ("/p/New", "parameter"),
        ("/p/new/more", "rest"),
        ("/p/7/8/9", "rest"),
        ("/p/", "rest"),
        ("/q/new/y", "other"),
        // A way that leads nowhere is walked back.
        ("/q/new/x", "parameter"),
        ("/q/new/z", "404"),
        ("/q/7", "404"),
        ("/", "root"),
        ("/?a=/p/new", "root"),
        ("/p", "fallback"),
        ("/none/at/all", "404"),
    ] {
        assert_eq!(who(&client, "x.org", "GET", path, &[]).await, name, "{path}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_with_allow_and_never_a_weaker_route() {
    let gateway = names().await;
    for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))] {
        for (method, name) in [("GET", "reading"), ("PUT", "writing"), ("PURGE", "writing"), ("POST", "405")] {
            assert_eq!(who(&client, "x.org", method, "/m", &[]).await, name, "{method}");
        }
        assert_eq!(who(&client, "x.org", "POST", "/m/n", &[]).await, "fallback");
        let refused = client.request("DELETE", "/m").send().await;
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, PUT, PURGE")));
        assert_eq!(refused.json()["code"], "method_not_allowed");
        assert_eq!(who(&client, "x.org", "PURGE", "/a", &[]).await, "405", "a method outside the usual ones");
        assert_eq!(who(&client, "x.org", "TRACE", "/a", &[]).await, "405");
        // A route whose header is missing is not there for this request; one whose method is wrong is.
        assert_eq!(who(&client, "x.org", "POST", "/w", &[]).await, "fallback");
        assert_eq!(who(&client, "x.org", "POST", "/w", &[("x-needed", "1")]).await, "405");
    }
}

#[tokio::test]
async fn get_includes_head() {
    let gateway = names().await;
    let client = Client::http1(gateway.address(0));
    let answer = client.request("HEAD", "/m").send().await;
    assert_eq!((answer.status, answer.header("content-length"), answer.text()), (200, Some("7"), String::new()));
    assert_eq!((client.get("/m").send().await.text(), client.connections().await), ("reading".into(), 1));
    let refused = client.request("HEAD", "/none/at/all").send().await;
    assert_eq!((refused.status, refused.text()), (404, String::new()));
}

#[tokio::test]
async fn more_header_conditions_win() {
    let gateway = names().await;
    let client = Client::http1(gateway.address(0));
    for (headers, name) in [
        (&[][..], "version-any"),
        (&[("x-version", "1")], "version-any"),
        (&[("x-version", "2")], "version-2"),
        (&[("X-Version", "2"), ("x-beta", "")], "version-2-beta"),
        (&[("x-beta", "1")], "version-any"),
        (&[("x-version", "2"), ("x-version", "1")], "version-any"),
        (&[("x-version", "2, 1")], "version-any"),
    ] {
        assert_eq!(who(&client, "x.org", "GET", "/v", headers).await, name, "{headers:?}");
    }
    assert_eq!(who(&client, "x.org", "GET", "/w", &[]).await, "fallback");
    assert_eq!(who(&client, "x.org", "GET", "/w", &[("x-needed", "anything")]).await, "asked");
}

#[tokio::test]
async fn nothing_matched_is_404_and_says_nothing_about_what_is_there() {
    let gateway = names().await;
    let client = Client::http1(gateway.address(0));
    let answer = client.get("/none/at/all?secret=planted").send().await;
    assert_eq!((answer.status, answer.header("content-type")), (404, Some("application/problem+json")));
    assert_eq!((&answer.json()["code"], &answer.json()["status"]), (&"route_not_found".into(), &404.into()));
    let line = gateway.access(|line| line["request_id"] == answer.json()["request_id"]).await;
    assert_eq!((&line["status"], &line["path"], line.get("route")), (&404.into(), &"/none/at/all".into(), None));
    assert!(!gateway.output().contains("planted"));
    assert_eq!((client.get("/a").send().await.text(), client.connections().await), ("any".into(), 1), "it is kept");
}

/// Routes to an upstream, for what a request says beside its host, path, method and headers of the route.
const GUARDED: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[upstreams.app]
targets = ["@UPSTREAM@"]

[upstreams.named]
targets = ["@UPSTREAM@"]
host = "orders.internal"

[policies.keys]
use = "key-auth"

[routes.guarded]
paths = ["/guarded/{*rest}"]
methods = ["GET", "POST"]
upstream = "app"
auth = ["keys"]
plugins = [{ use = "consumer-restriction", allow = [{ groups = ["partners"] }] }]

[routes.open]
paths = ["/open/{*rest}"]
methods = ["GET", "POST"]
upstream = "app"
public = true

[routes.named]
paths = ["/named"]
upstream = "named"
public = true

[consumers.acme]
groups = ["partners"]

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-1"
sha256 = "@SHA256@"

[consumers.stranger]

[[consumers.stranger.credentials]]
use = "key-auth"
id = "stranger-1"
sha256 = "@STRANGER@"
"#;

async fn guarded() -> (Gateway, Upstream, String, String) {
    let ((key, sha256), (stranger, stranger_sha256)) = (key("acme"), key("stranger"));
    let upstream = Upstream::start();
    let builder = Gateway::builder(GUARDED).set("UPSTREAM", &upstream.address()).set("SHA256", &sha256);
    (builder.set("STRANGER", &stranger_sha256).start().await, upstream, key, stranger)
}

#[tokio::test]
async fn an_upgrade_switches_no_phase_off() {
    let (gateway, upstream, key, stranger) = guarded().await;
    let websocket = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for upgrade in ["x", "h2c", "websocket", "WebSocket", "websocket, x", "", "TLS/1.0\r\nUpgrade: websocket"] {
        for connection in ["Upgrade", "close", "keep-alive, upgrade", "X-API-Key, Upgrade"] {
            for (credential, status) in [("", 401), ("X-API-Key: wrong\r\n", 401), (&stranger, 403)] {
                let credential = if status == 403 { format!("X-API-Key: {credential}\r\n") } else { credential.into() };
                let request = format!(
                    "GET /guarded/a HTTP/1.1\r\nHost: x.org\r\nConnection: {connection}\r\nUpgrade: {upgrade}\r\n\
                     {websocket}{credential}\r\n"
                );
                let mut peer = Raw::open(gateway.address(0)).await;
                peer.send(request).await;
                let head = peer.until("\r\n\r\n").await;
                assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{upgrade} {connection}: {head}");
                assert_eq!(upstream.requests(), 0, "{upgrade} {connection}");
            }
        }
    }
    assert_eq!(WebSocket::open(gateway.address(0), "/none", &[]).await.err().expect("a refusal").status, 404);
    assert_eq!(WebSocket::open(gateway.address(0), "/guarded/a", &[]).await.err().expect("a refusal").status, 401);
    let mut socket = WebSocket::open(gateway.address(0), "/guarded/a", &[("x-api-key", &key)]).await.expect("it opens");
    socket.send("hello").await;
    assert_eq!((socket.next().await.as_deref(), upstream.requests()), (Some("hello"), 1));
    assert_eq!(upstream.last().header("x-consumer"), Some("acme"));
    gateway.audit(|event| event["result"] == "granted" && event["path"] == "/guarded/a").await;
}

#[tokio::test]
async fn an_upgrade_to_anything_but_websocket_is_an_ordinary_request() {
    let (gateway, upstream, key, _) = guarded().await;
    for (line, lines) in [
        ("GET", "Connection: Upgrade, close\r\nUpgrade: x\r\n"),
        ("GET", "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
        ("GET", "Connection: close\r\nUpgrade: websocket\r\n"),
        ("GET", "Connection: Upgrade, close\r\nUpgrade: websocket\r\nUpgrade: x\r\n"),
        ("POST", "Connection: Upgrade, close\r\nUpgrade: websocket\r\nContent-Length: 0\r\n"),
    ] {
        let request = format!("{line} /guarded/a HTTP/1.1\r\nHost: x.org\r\nX-API-Key: {key}\r\n{lines}\r\n");
        let answer = String::from_utf8(raw(gateway.address(0), request).await).expect("text");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{lines}: {answer}");
        let saw = upstream.last();
        assert_eq!((saw.header("upgrade"), saw.header("http2-settings")), (None, None), "{saw:?}");
        assert_eq!(saw.header("x-consumer"), Some("acme"));
        let connection = saw.all("connection").join(",").to_ascii_lowercase();
        assert!(!connection.contains("upgrade"), "{connection}");
    }
}

#[tokio::test]
async fn a_method_override_changes_nothing() {
    let (gateway, upstream, key, _) = guarded().await;
    let client = Client::http1(gateway.address(0));
    let overrides = ["x-http-method-override", "x-http-method", "x-method-override", "X_HTTP_Method_Override"];
    for name in overrides {
        // A method that the route does not take stays refused, and one that it takes stays what it is.
        let refused = client.request("DELETE", "/open/a").header(name, "GET").send().await;
        assert_eq!(refused.status, 405, "{name}");
        for (path, credential) in [("/open/a?_method=DELETE", ""), ("/guarded/a?_method=DELETE", key.as_str())] {
            let asking = client.post(path, "_method=DELETE").header(name, "DELETE").header("x-api-key", credential);
            assert_eq!(asking.send().await.status, 200, "{name}");
            let saw = upstream.last();
            assert_eq!((saw.method.as_str(), saw.target.as_str()), ("POST", path));
            assert!(!saw.headers.iter().any(|(_, value)| value == "DELETE"), "{saw:?}");
        }
        assert_eq!(client.get("/guarded/a").header(name, "OPTIONS").send().await.status, 401, "{name}");
    }
    for name in ["x-original-url", "x-rewrite-url", "x-original-uri"] {
        assert_eq!(client.get("/guarded/a").header(name, "/open/a").send().await.status, 401, "{name}");
        assert_eq!(client.get("/open/a").header(name, "/guarded/a").send().await.status, 200, "{name}");
        assert_eq!((upstream.last().target.as_str(), upstream.last().header(name)), ("/open/a", None));
    }
}

#[tokio::test]
async fn the_upstream_gets_method_path_and_host_as_they_came() {
    let (gateway, upstream, _, _) = guarded().await;
    for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))] {
        assert_eq!(client.request("HEAD", "/open/").host("API.Example.com:81").send().await.status, 200);
        let saw = upstream.last();
        assert_eq!((saw.method.as_str(), saw.target.as_str()), ("HEAD", "/open/"));
        assert_eq!(saw.header("host"), Some("API.Example.com:81"));
        assert_eq!(client.get("/named/").host("api.example.com").send().await.status, 200);
        let saw = upstream.last();
        assert_eq!((saw.target.as_str(), saw.header("host")), ("/named/", Some("orders.internal")));
        assert_eq!(saw.header("x-forwarded-host"), Some("api.example.com"));
    }
}

#[tokio::test]
async fn http_1_0_may_leave_the_host_out_and_the_upstream_gets_one_all_the_same() {
    let (gateway, upstream, _, _) = guarded().await;
    let answer = String::from_utf8(raw(gateway.address(0), "GET /open/a HTTP/1.0\r\n\r\n").await).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let saw = upstream.last();
    assert_eq!((saw.version, saw.header("host")), (Version::HTTP_11, Some(upstream.address().to_string().as_str())));
    // Nobody asked for a host, so nobody is told that somebody did.
    assert_eq!(saw.header("x-forwarded-host"), None);
}
