//! Who the upstream believes is calling: what the gateway says, and nothing that a client says of itself.

use crate::harness::{Client, Gateway, Raw, RawUpstream, Upstream, WebSocket, key, raw};

const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

@MORE@

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.keys]
use = "key-auth"

[routes.public]
paths = ["/public/{*rest}"]
upstream = "app"
public = true

[routes.keyed]
paths = ["/keyed/{*rest}"]
upstream = "app"
auth = ["keys"]

[routes.guests]
paths = ["/guests/{*rest}"]
upstream = "app"
auth = ["keys"]
anonymous = "guest"

[consumers.guest]
groups = ["guests"]

[consumers.acme]
groups = ["partners", "gold"]
tenant = "acme-corp"
roles = ["reader"]
client_id = "acme-app"

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-1"
sha256 = "@SHA256@"
scopes = ["orders:read", "orders:write"]

# Without tenant, roles, groups and scopes: none of these may come from the client either.
[consumers.bare]

[[consumers.bare.credentials]]
use = "key-auth"
id = "bare-1"
sha256 = "@BARE_SHA256@"
"#;

/// What the identity of `acme` looks like to the upstream.
const ACME: [(&str, &str); 8] = [
    ("x-consumer", "acme"),
    ("x-consumer-groups", "partners,gold"),
    ("x-credential-id", "acme-1"),
    ("x-client-id", "acme-app"),
    ("x-tenant-id", "acme-corp"),
    ("x-user-roles", "reader"),
    ("x-scopes", "orders:read orders:write"),
    ("x-auth-method", "key-auth"),
];

/// Headers that some application trusts, by family.
const TRUSTED: &[&str] = &[
    "X-User-ID",
    "X-Consumer",
    "X-Consumer-Groups",
    "X-Consumer-Username",
    "X-Consumer-Custom-ID",
    "X-Credential-ID",
    "X-Credential-Identifier",
    "X-Client-ID",
    "X-Tenant-ID",
    "X-User-Email",
    "X-User-Roles",
    "X-Scopes",
    "X-Auth-Method",
    "X-Authenticated-Userid",
    "X-Authenticated-Scope",
    "X-Anonymous-Consumer",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "Remote-User",
    "X-Remote-User",
    "X-Userinfo",
    "X-Access-Token",
    "X-ID-Token",
    "Client-Cert",
    "Client-Cert-Chain",
    "X-Client-Cert",
    "X-Client-Cert-Chain",
    "X-Client-Verify",
    "X-Client-DN",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-Client-Cert-Chain",
    "SSL-Client-Cert",
    "SSL-Client-Verify",
    "SSL-Client-S-DN",
    "X-SSL-Client-Cert",
    "X-Amzn-Mtls-Clientcert",
];

/// Headers that say what is asked for, or by whom, to some frameworks.
const STEERING: &[&str] = &[
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Real-IP",
    "True-Client-IP",
    "X-Client-IP",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Request-ID",
];

/// The ways in which one name reaches one variable of an application.
fn spellings(name: &str) -> [String; 6] {
    [
        name.into(),
        name.to_ascii_lowercase(),
        name.to_ascii_uppercase(),
        name.replace('-', "_"),
        name.replace('-', "."),
        name.replacen('-', "_", 1),
    ]
}

struct Site {
    gateway: Gateway,
    upstream: RawUpstream,
    key: String,
}

/// A gateway with these further tables, in front of that address; the key of `acme`.
async fn gateway(upstream: &impl ToString, more: &str) -> (Gateway, String) {
    let ((key, sha256), (_, bare)) = (key("acme"), key("bare"));
    let builder = Gateway::builder(GATEWAY).set("MORE", more).set("UPSTREAM", upstream);
    (builder.set("SHA256", &sha256).set("BARE_SHA256", &bare).start().await, key)
}

impl Site {
    async fn start() -> Self {
        Self::with("").await
    }

    /// With these tables more in the file.
    async fn with(more: &str) -> Self {
        let upstream = RawUpstream::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let (gateway, key) = gateway(&upstream.address(), more).await;
        Self { gateway, upstream, key }
    }

    /// The head that the upstream got of a request with these header lines.
    async fn saw(&self, path: &str, lines: &str) -> Seen {
        let request = format!("GET {path} HTTP/1.1\r\nHost: api.example\r\n{lines}\r\n");
        let mut connection = Raw::open(self.gateway.address(0)).await;
        connection.send(request).await;
        let head = connection.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{lines} got {head}");
        Seen(self.upstream.saw().pop().expect("a request"))
    }

    fn with_key(&self, lines: &str) -> String {
        format!("X-API-Key: {}\r\n{lines}", self.key)
    }
}

/// A request as the upstream got it.
struct Seen(String);

impl Seen {
    /// The values of all lines that a name has in any spelling.
    fn all(&self, name: &str) -> Vec<&str> {
        let folded = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-");
        let lines = self.0.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| folded(known) == folded(name)).map(|(_, value)| value).collect()
    }

    fn is_acme(&self) {
        for (name, value) in ACME {
            assert_eq!(self.all(name), [value], "{name} in {}", self.0);
        }
        // A key names a client and no user.
        assert_eq!((self.all("x-user-id"), self.all("x-user-email")), (vec![], vec![]), "{}", self.0);
    }

    fn has_nothing(&self, forged: &str) {
        assert!(!self.0.contains(forged), "{forged:?} reached the upstream: {}", self.0);
    }
}

#[tokio::test]
async fn no_spelling_of_a_trusted_header_comes_from_a_client() {
    let site = Site::start().await;
    let names: Vec<String> = TRUSTED.iter().chain(STEERING).flat_map(|name| spellings(name)).collect();
    // A head has at most a hundred lines.
    for some in names.chunks(80) {
        let forged: String = some.iter().map(|name| format!("{name}: forged\r\n")).collect();
        for (path, lines) in [
            ("/public/a", forged.clone()),
            ("/guests/a", forged.clone()),
            ("/keyed/a", site.with_key(&forged)),
            ("/guests/a", site.with_key(&forged)),
        ] {
            let saw = site.saw(path, &format!("{lines}X-Innocent: kept\r\nX-User-Idle: kept\r\n")).await;
            saw.has_nothing("forged");
            assert_eq!((saw.all("x-innocent"), saw.all("x-user-idle")), (vec!["kept"], vec!["kept"]));
            match (path, lines.contains(&site.key)) {
                ("/public/a", _) => ACME.iter().for_each(|(name, _)| assert!(saw.all(name).is_empty(), "{}", saw.0)),
                (_, true) => saw.is_acme(),
                (_, false) => {
                    assert_eq!((saw.all("x-consumer"), saw.all("x-auth-method")), (vec!["guest"], vec!["anonymous"]));
                    assert_eq!((saw.all("x-consumer-groups"), saw.all("x-credential-id")), (vec!["guests"], vec![]));
                }
            }
        }
    }
}

#[tokio::test]
async fn several_lines_of_one_name_are_all_removed() {
    let site = Site::start().await;
    let lines =
        "X-Consumer: forged\r\nx-consumer: forged, acme\r\nX_Consumer: forged\r\nX-CONSUMER: acme\r\n".repeat(5);
    site.saw("/keyed/a", &site.with_key(&lines)).await.is_acme();
    assert!(site.saw("/public/a", &lines).await.all("x-consumer").is_empty());
}

#[tokio::test]
async fn what_an_identity_lacks_is_not_filled_in_by_the_client() {
    let site = Site::start().await;
    let (bare, _) = key("bare");
    let forged: String = ACME.iter().map(|(name, _)| format!("{name}: forged\r\n")).collect();
    let saw = site.saw("/keyed/a", &format!("X-API-Key: {bare}\r\n{forged}X-User-ID: forged\r\n")).await;
    saw.has_nothing("forged");
    assert_eq!((saw.all("x-consumer"), saw.all("x-client-id")), (vec!["bare"], vec!["bare"]));
    for name in ["x-tenant-id", "x-user-roles", "x-consumer-groups", "x-scopes", "x-user-id"] {
        assert!(saw.all(name).is_empty(), "{name} in {}", saw.0);
    }
}

#[tokio::test]
async fn a_connection_header_removes_nothing() {
    let site = Site::start().await;
    let options = ["close", "keep-alive", "Upgrade"];
    for option in options {
        let lines = format!(
            "Connection: {option}, X-User-ID, X-Consumer, X-Consumer-Groups, X-Tenant-ID, X-Request-ID\r\n\
             Connection: X-Scopes, X-Credential-ID, X-Client-ID, X-User-Roles, X-Auth-Method, X-Forwarded-For\r\n\
             Connection: Authorization, Cookie, X-Innocent, Host\r\nAuthorization: Basic dTpw\r\nCookie: a=1\r\n\
             X-Innocent: kept\r\nKeep-Alive: timeout=5\r\nProxy-Authorization: Basic dTpw\r\nProxy-Connection: close\r\n"
        );
        let saw = site.saw("/keyed/a", &site.with_key(&lines)).await;
        saw.is_acme();
        assert_eq!((saw.all("authorization"), saw.all("cookie")), (vec!["Basic dTpw"], vec!["a=1"]), "{}", saw.0);
        assert_eq!((saw.all("x-innocent"), saw.all("host")), (vec!["kept"], vec!["api.example"]), "{}", saw.0);
        assert_eq!((saw.all("x-request-id").len(), saw.all("x-forwarded-for").len()), (1, 1), "{}", saw.0);
        for name in ["keep-alive", "proxy-authorization", "proxy-connection", "upgrade"] {
            assert!(saw.all(name).is_empty(), "{name} in {}", saw.0);
        }
        let connection = saw.all("connection").join(",").to_ascii_lowercase();
        assert!(!connection.contains("x-") && !connection.contains("auth"), "{connection}");
    }
}

#[tokio::test]
async fn the_identity_arrives_over_http1_http2_and_websocket() {
    let upstream = Upstream::start();
    let (gateway, key) = gateway(&upstream.address(), "").await;
    let is_acme = || {
        let saw = upstream.last();
        for (name, value) in ACME {
            assert_eq!(saw.header(name), Some(value), "{saw:?}");
        }
        assert_eq!((saw.header("x-user-id"), saw.header("x-api-key")), (None, None));
    };
    for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))] {
        let asking = client.post("/keyed/a", "body").header("x-api-key", &key).header("x-user-id", "forged");
        let answer = asking.header("x-consumer", "forged").header("x_consumer", "forged").send().await;
        assert_eq!((answer.status, upstream.last().body.as_slice()), (200, &b"body"[..]));
        is_acme();
    }
    let headers = [("x-api-key", key.as_str()), ("x-user-id", "forged"), ("x-consumer", "forged")];
    let mut socket = WebSocket::open(gateway.address(0), "/keyed/a", &headers).await.expect("a handshake");
    is_acme();
    socket.send("hello").await;
    assert_eq!(socket.next().await.as_deref(), Some("hello"));

    // With the identity among the hop-by-hop names of the handshake itself.
    let handshake = format!(
        "GET /keyed/a HTTP/1.1\r\nHost: api.example\r\nConnection: X-Consumer, Upgrade, X-Tenant-ID\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         X-API-Key: {key}\r\n\r\n"
    );
    let mut connection = Raw::open(gateway.address(0)).await;
    connection.send(handshake).await;
    assert!(connection.until("\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
    is_acme();
}

#[tokio::test]
async fn a_renamed_header_is_sent_under_its_name_and_removed_under_both() {
    let site = Site::with(
        "[identity]\nstrip = [\"X-Internal-Token\"]\n\n[identity.headers]\nconsumer = \"X-Caller\"\nmethod = false\n\
         groups = false\nuser = \"X-Auth-User\"\nrequest_id = \"X-Correlation-ID\"\n",
    )
    .await;
    let names = ["X-Caller", "X-Consumer", "X-Auth-Method", "X-Consumer-Groups", "X-Auth-User", "X-User-ID"];
    let more = ["X-Correlation-ID", "X-Request-ID", "X-Internal-Token"];
    let spelt = names.iter().chain(&more).flat_map(|name| spellings(name));
    let forged: String = spelt.map(|name| format!("{name}: forged\r\n")).collect();
    let saw = site.saw("/keyed/a", &site.with_key(&forged)).await;
    saw.has_nothing("forged");
    assert_eq!((saw.all("x-caller"), saw.all("x-tenant-id")), (vec!["acme"], vec!["acme-corp"]));
    assert_eq!((saw.all("x-correlation-id").len(), saw.all("x-request-id").len()), (1, 0));
    for name in ["x-consumer", "x-auth-method", "x-consumer-groups", "x-auth-user", "x-user-id"] {
        assert!(saw.all(name).is_empty(), "{name} in {}", saw.0);
    }
    site.saw("/public/a", &forged).await.has_nothing("forged");
}

#[tokio::test]
async fn a_request_id_is_the_gateways_own_unless_a_trusted_peer_gave_it() {
    let site = Site::start().await;
    let saw = site.saw("/public/a", "X-Request-ID: chosen-by-the-client\r\n").await;
    let id = saw.all("x-request-id").concat();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    site.gateway.access(|line| line["request_id"] == id && line["route"] == "public").await;
    let other = site.saw("/public/a", "").await;
    assert_ne!(other.all("x-request-id"), [id]);

    let site = Site::with("[client_address]\ntrust = [\"127.0.0.0/8\"]\n").await;
    let saw = site.saw("/public/a", "X-Request-ID: from.the_edge-1\r\n").await;
    assert_eq!(saw.all("x-request-id"), ["from.the_edge-1"]);
    site.gateway.access(|line| line["request_id"] == "from.the_edge-1").await;
    let long = "a".repeat(65);
    for wrong in ["a b", "a\"}", "a/b", "é", "", &long] {
        let saw = site.saw("/public/a", &format!("X-Request-ID: {wrong}\r\n")).await;
        let id = saw.all("x-request-id").concat();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{wrong:?} became {id}");
    }
}

#[tokio::test]
async fn cookie_crumbs_of_http2_become_one_line() {
    let site = Site::start().await;
    let client = Client::http2(site.gateway.address(0));
    for path in ["/public/a", "/keyed/a"] {
        let asking = client.get(path).header("x-api-key", &site.key).header("cookie", "a=1");
        let answer = asking.header("cookie", "b=2; c=3").header("cookie", "d=4").send().await;
        assert_eq!(answer.status, 200);
        let saw = Seen(site.upstream.saw().pop().expect("a request"));
        assert_eq!(saw.all("cookie"), ["a=1; b=2; c=3; d=4"]);
    }
}

#[tokio::test]
async fn what_a_gateway_answers_itself_shows_no_forged_header_either() {
    let upstream = Upstream::start();
    let more = "[routes.echo]\npaths = [\"/echo\"]\nrespond = { echo = true }\nauth = [\"keys\"]\n";
    let (gateway, key) = gateway(&upstream.address(), more).await;
    let request = format!(
        "GET /echo HTTP/1.1\r\nHost: api.example\r\nX-API-Key: {key}\r\nX-User-ID: forged\r\nX_Consumer: forged\r\n\
         Connection: close, X-Consumer\r\n\r\n"
    );
    let answer = String::from_utf8(raw(gateway.address(0), request).await).expect("text");
    assert!(answer.contains("\"x-consumer\": \"acme\"") && !answer.contains("forged"), "{answer}");
    assert!(!answer.contains(&key) && upstream.requests() == 0, "{answer}");
}
