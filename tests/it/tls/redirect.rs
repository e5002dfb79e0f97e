//! From plain HTTP to TLS: the redirect, and the header that makes browsers remember it.

use serde_json::json;

use super::{CERTIFICATE, GATEWAY, NAME, World, configured};
use crate::harness::{Authority, Client, GatewayBuilder, raw};

const HSTS: &str = "max-age=31536000; includeSubDomains";

/// Plain listeners that redirect in front of the one with TLS, and one that does not redirect behind it.
fn listeners(ca: &Authority) -> GatewayBuilder {
    listeners_and(ca, "")
}

/// With more tables at the end of the file.
fn listeners_and(ca: &Authority, more: &str) -> GatewayBuilder {
    let redirecting = "[[listeners]]\naddress = \"127.0.0.1:0\"\nhttps_redirect = 8443\n\n[[listeners]]\n\
                       address = \"127.0.0.1:0\"\nhttps_redirect = true\n\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\n";
    let secure = format!("[[listeners]]\nhsts = \"{HSTS}\"\n");
    let toml = GATEWAY.replace("[[listeners]]\n", &format!("{redirecting}{secure}"));
    let keys = "\n[policies.keys]\nuse = \"key-auth\"\n\n[routes.keyed]\npaths = [\"/keyed\"]\nupstream = \"app\"\n\
                auth = [\"keys\"]\n\n[routes.down]\npaths = [\"/down\"]\nupstream = \"down\"\npublic = true\n\n\
                [upstreams.down]\ntargets = [\"127.0.0.1:9\"]\n\n[routes.fixed]\npaths = [\"/fixed\"]\n\
                respond = { status = 204 }\npublic = true\n";
    let toml = toml.replace("paths = [\"/{*rest}\"]", "paths = [\"/{*rest}\"]\noverlap = \"accepted\"");
    configured(ca, CERTIFICATE).toml(&format!("{toml}{keys}{more}"))
}

async fn start() -> World {
    let ca = Authority::new("Root");
    World::with(ca.clone(), listeners(&ca)).await
}

/// The listener, `Host`, the target, and where it goes.
const REDIRECTED: &[(usize, &str, &str, &str)] = &[
    (0, "api.example.com", "/a?b=c", "https://api.example.com:8443/a?b=c"),
    (0, "api.example.com:8080", "/", "https://api.example.com:8443/"),
    (0, "API.example.com", "/a%20b", "https://API.example.com:8443/a%20b"),
    (0, "127.0.0.1:80", "/x", "https://127.0.0.1:8443/x"),
    (0, "[::1]:80", "/x", "https://[::1]:8443/x"),
    (1, "api.example.com", "/a?b=//evil.example", "https://api.example.com/a?b=//evil.example"),
    (1, "api.example.com:8080", "/keyed", "https://api.example.com/keyed"),
    (1, "unknown.example.com", "/no-such-route", "https://unknown.example.com/no-such-route"),
];

#[tokio::test]
async fn a_plain_listener_sends_everyone_to_tls_whatever_they_ask() {
    let world = start().await;
    for (listener, host, target, location) in REDIRECTED {
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            let client = Client::http1(world.gateway.address(*listener));
            let asking = client.request(method, target).host(host);
            let answer = if method == "POST" { asking.body("a body").send().await } else { asking.send().await };
            assert_eq!(
                (answer.status, answer.header("strict-transport-security")),
                (308, None),
                "{method} {host}{target}"
            );
            let found = answer.header("location").expect("a 308 says where");
            assert!(found.eq_ignore_ascii_case(location), "{method} {host}{target}: {found}");
        }
    }
    assert_eq!(world.upstream.requests(), 0);
}

#[tokio::test]
async fn a_host_that_is_none_is_refused_and_not_sent_anywhere() {
    let world = start().await;
    for host in [
        "a b",
        "evil.example/",
        "api.example.com@evil.example",
        "a\"b",
        "api.example.com:99999",
        "api.example.com:",
        "",
    ] {
        let request = format!("GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8_lossy(&raw(world.gateway.address(0), request).await).into_owned();
        let location = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("location:"));
        // A port that is empty may be left out (RFC 3986 section 3.2.3).
        let is_harmless = location.is_none_or(|location| location.ends_with("https://api.example.com:8443/x"));
        assert!(answer.starts_with("HTTP/1.1 400 ") || is_harmless, "{host:?}: {answer}");
    }
    let answer = raw(world.gateway.address(0), "GET //evil.example/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(!answer.contains("https://evil.example"), "{answer}");
}

#[tokio::test]
async fn an_upgrade_is_redirected_too() {
    let world = start().await;
    let refused = crate::harness::WebSocket::open(world.gateway.address(0), "/chat", &[]).await;
    let refused = refused.err().expect("a redirect");
    assert_eq!(refused.status, 308);
    assert_eq!(world.upstream.requests(), 0);
}

#[tokio::test]
async fn hsts_is_on_every_response_of_its_listener_and_nowhere_else() {
    let world = start().await;
    for tls in [world.tls().http1(), world.tls().http2()] {
        let client = Client::by_tls(world.gateway.address(3), &tls);
        for (target, status) in
            [("/x", 200), ("/keyed", 401), ("/down", 502), ("/fixed", 204), ("/status/500", 500), ("/a/../b", 400)]
        {
            let answer = client.get(target).send().await;
            let header = answer.header("strict-transport-security");
            assert_eq!((answer.status, header), (status, Some(HSTS)), "{target} {:?}", answer.headers);
        }
    }
    let plain = Client::http1(world.gateway.address(2)).get("/x").send().await;
    assert_eq!((plain.status, plain.header("strict-transport-security")), (200, None));
}

#[tokio::test]
async fn an_upstream_does_not_speak_for_the_listener() {
    let ca = Authority::new("Root");
    let upstream = crate::harness::Upstream::with(|_| {
        crate::harness::Reply::new(200).header("strict-transport-security", "max-age=0")
    });
    let gateway = listeners(&ca).set("UPSTREAM", &upstream.address()).start().await;
    let tls = crate::harness::Tls::trusting(&ca).name(NAME).http1();
    let answer = Client::by_tls(gateway.address(3), &tls).get("/x").send().await;
    assert_eq!(answer.header("strict-transport-security"), Some(HSTS));
}

/// What a listener says that is a mistake, and what is said about it.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("https_redirect = 8443", CERTIFICATE, "https_redirect"),
    ("h2c = true", CERTIFICATE, "h2c"),
    ("hsts = \"max-age=1\"", "", "hsts"),
    ("hsts = \"31536000\"", CERTIFICATE, "hsts"),
    ("hsts = \"max-age=1\\r\\nSet-Cookie: a=b\"", CERTIFICATE, "hsts"),
    ("hsts = \"max-age=1; includeSubdomain\"", CERTIFICATE, "hsts"),
    ("https_redirect = 0", "", "https_redirect"),
    ("https_redirect = 65536", "", "https_redirect"),
    ("https_redirect = \"https://elsewhere.example\"", "", "https_redirect"),
    ("proxy_protocol = []", CERTIFICATE, "proxy_protocol"),
    ("proxy_protocol = [\"10.0.0.0/40\"]", CERTIFICATE, "proxy_protocol"),
];

#[tokio::test]
async fn options_that_a_listener_cannot_have_are_said_by_check() {
    let ca = Authority::new("Root");
    for (line, tls, word) in MISTAKES {
        let toml = if tls.is_empty() { GATEWAY.replace("[listeners.tls]\n@TLS@\n", "") } else { GATEWAY.to_owned() };
        let builder = configured(&ca, tls).toml(&toml).listener(line).set("UPSTREAM", "127.0.0.1:9");
        let output = builder.check().await;
        assert!(output.code != 0 && output.stderr.contains(word), "{line}: {output:?}");
    }
}

#[tokio::test]
async fn the_upstream_learns_that_the_client_came_by_tls() {
    let mut world = start().await;
    let client = Client::by_tls(world.gateway.address(3), &world.tls().http2());
    assert_eq!(client.get("/x").header("x-forwarded-proto", "http").send().await.status, 200);
    assert_eq!(world.upstream.last().header("x-forwarded-proto"), Some("https"));
    let plain = Client::http1(world.gateway.address(2));
    assert_eq!(plain.get("/x").header("x-forwarded-proto", "https").send().await.status, 200);
    assert_eq!(world.upstream.last().header("x-forwarded-proto"), Some("http"));
    let address = world.gateway.address(3).to_string();
    assert_eq!(world.connect(&json!({ "address": address }))["error"], json!(null));
}

/// The routes of an ACME client, of a host that is served plain on purpose, and of one that has its own word for browsers.
const OWN_WORDS: &str = r#"
[routes.challenge]
paths = ["/.well-known/acme-challenge/{token}"]
https_redirect = false
public = true
respond = { body = "a token" }

[routes.picky]
paths = ["/picky"]
https_redirect = 9443
hsts = "max-age=60"
public = true
respond = { status = 204 }
"#;

#[tokio::test]
async fn what_a_route_says_counts_before_what_its_listener_says() {
    let ca = Authority::new("Root");
    let trusting = "[client_address]\ntrust = [\"127.0.0.1\"]\n";
    let builder = listeners_and(&ca, &format!("{OWN_WORDS}{trusting}"));
    let world = World::with(ca, builder).await;
    let picky = "https://api.example.com:9443/picky";
    for (listener, path, status, location) in [
        (0, "/.well-known/acme-challenge/abc", 200, None),
        (0, "/picky", 308, Some(picky)),
        (0, "/x", 308, Some("https://api.example.com:8443/x")),
        (2, "/.well-known/acme-challenge/abc", 200, None),
        (2, "/picky", 308, Some(picky)),
        (2, "/x", 200, None),
    ] {
        let answer = Client::http1(world.gateway.address(listener)).get(path).host(NAME).send().await;
        assert_eq!((answer.status, answer.header("location")), (status, location), "{listener} {path}");
        assert_eq!(answer.header("strict-transport-security"), None, "{listener} {path}");
    }
    let secure = Client::by_tls(world.gateway.address(3), &world.tls().http1());
    for (path, hsts) in [("/picky", "max-age=60"), ("/x", HSTS)] {
        assert_eq!(secure.get(path).send().await.header("strict-transport-security"), Some(hsts), "{path}");
    }
    // Behind a load balancer that ends TLS and is believed, the client did come by TLS.
    let plain = Client::http1(world.gateway.address(0));
    for (path, status, hsts) in [("/picky", 204, Some("max-age=60")), ("/x", 200, None)] {
        let answer = plain.get(path).host(NAME).header("x-forwarded-proto", "https").send().await;
        assert_eq!((answer.status, answer.header("strict-transport-security")), (status, hsts), "{path}");
    }
}
