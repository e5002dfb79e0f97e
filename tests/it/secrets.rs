//! Secrets in every place where one can be, through everything that can go wrong, and then a search for them in all that
//! the gateway has written and answered.

use std::sync::Mutex;

use futures_util::future::join_all;

use crate::harness::{
    Client, Gateway, LIMIT, Raw, RawUpstream, Response, Upstream, WebSocket, eventually, key, portcullis, raw,
};

const GATEWAY: &str = r#"
[server]
head_timeout = "300ms"

[admin]
listen = "127.0.0.1:0"
token = { env = "ADMIN_TOKEN" }

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[log]
level = "@LEVEL@"

[upstreams.app]
targets = ["@UPSTREAM@"]
read_timeout = "300ms"

[upstreams.gone]
targets = ["127.0.0.1:9"]

[upstreams.broken]
targets = ["@BROKEN@"]

[policies.keys]
use = "key-auth"
from = [{ header = "x-api-key" }, { header = "authorization", scheme = "Bearer" }, { query = "key" }, { cookie = "key" }]

[routes.app]
paths = ["/app/{*rest}"]
upstream = "app"
auth = ["keys"]
max_body_bytes = 1000

[routes.gone]
paths = ["/gone"]
upstream = "gone"
auth = ["keys"]

[routes.broken]
paths = ["/broken"]
upstream = "broken"
auth = ["keys"]

[routes.echo]
paths = ["/echo"]
respond = { echo = true }
auth = ["keys"]

[routes.narrow]
paths = ["/narrow"]
respond = { body = "in" }
auth = ["keys"]
plugins = [{ use = "consumer-restriction", id = "r", allow = [{ groups = ["nobody"] }] }]

[routes.post]
paths = ["/post"]
methods = ["POST"]
respond = { body = "in" }
auth = ["keys"]

[routes.open]
paths = ["/open"]
respond = { body = "in" }
public = true

[consumers.acme]
credentials = [
    { use = "key-auth", id = "good", sha256 = "@GOOD@" },
    { use = "key-auth", id = "late", sha256 = "@LATE@", expires = 2020-01-01T00:00:00Z },
]
"#;

/// All that must never be seen again.
#[derive(Default)]
struct Planted(Mutex<Vec<String>>);

impl Planted {
    /// The key of this name.
    fn key(&self, name: &str) -> String {
        self.0.lock().expect("no holder panics").push(key(name).0);
        key(name).0
    }

    /// A secret that there has not been before.
    fn one(&self) -> String {
        let number = self.0.lock().expect("no holder panics").len();
        self.key(&format!("{number}"))
    }

    /// No part of a secret long enough to be of use stands in the text.
    fn assert_absent(&self, from: &str, text: &str) {
        for secret in self.0.lock().expect("no holder panics").iter() {
            let (head, tail) = (&secret[..secret.len() / 2], &secret[secret.len() / 2..]);
            for part in [head, tail] {
                let Some(at) = text.find(part) else { continue };
                let around: String = text[..at + part.len()].chars().rev().take(300).collect();
                panic!("{secret} is in {from}: ...{}", around.chars().rev().collect::<String>());
            }
        }
    }
}

/// Ways to send a key.
const PLACES: [&str; 4] = ["header", "bearer", "query", "cookie"];

/// A request with the key in that place, and secrets in every other.
async fn ask(client: &Client, planted: &Planted, method: &str, path: &str, place: &str, key: &str) -> Response {
    let query = if place == "query" {
        format!("key={key}&session={}", planted.one())
    } else {
        format!("access_token={}", planted.one())
    };
    let asking = client.request(method, &format!("{path}?{query}"));
    let asking = match place {
        "header" => asking.header("x-api-key", key),
        "bearer" => asking.header("authorization", &format!("Bearer {key}")),
        "cookie" => asking.header("cookie", &format!("a=b; key={key}; session={}", planted.one())),
        _ => asking,
    };
    let asking = asking.header("x-secret", &planted.one()).header("referer", &format!("http://a/?t={}", planted.one()));
    let asking = asking.header("proxy-authorization", &format!("Basic {}", planted.one()));
    asking.body(format!("password={}", planted.one())).send().await
}

#[tokio::test]
async fn no_secret_is_written_counted_or_answered() {
    for level in ["debug", "error"] {
        let (upstream, broken, planted) =
            (Upstream::start(), RawUpstream::start("nonsense\r\n\r\n"), Planted::default());
        let (good, late, token) = (planted.key("good"), planted.key("late"), planted.one());
        let builder = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).set("BROKEN", &broken.address());
        let builder = builder.set("LEVEL", level).set("GOOD", &key("good").1).set("LATE", &key("late").1);
        let gateway = builder.env("ADMIN_TOKEN", &token).env("RUST_LOG", "trace").start().await;

        let answers = Mutex::new(Vec::new());
        let keep = |answer: Response| {
            let text = format!("{:?}\n{}", answer.headers, answer.text());
            // What the upstream says, or the echo, shows what the client sent; but never the key.
            assert!(!text.contains(&good), "{text}");
            if answer.header("content-type") == Some("application/problem+json") {
                answers.lock().expect("no holder panics").push(text);
            }
            answer.status
        };
        for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))] {
            for place in PLACES {
                let wrong = planted.one();
                for (method, path, key, status) in [
                    ("POST", "/app/a", &good, 200),
                    ("POST", "/app/a", &wrong, 401),
                    ("POST", "/app/a", &late, 401),
                    ("POST", "/echo", &good, 200),
                    ("POST", "/narrow", &good, 403),
                    ("PUT", "/post", &good, 405),
                    ("POST", "/nowhere", &good, 404),
                    ("POST", "/open", &good, 200),
                    ("POST", "/gone", &good, 502),
                    ("POST", "/broken", &good, 502),
                    ("POST", "/app/%2fa", &good, 400),
                    ("DELETE", "/app/status/500", &good, 500),
                ] {
                    let answered = keep(ask(&client, &planted, method, path, place, key).await);
                    assert_eq!(answered, status, "{method} {path} {place}");
                }
            }
            assert_eq!(keep(client.get("/app/slow?ms=600").header("x-api-key", &good).send().await), 504);
            let large = planted.one().repeat(100);
            assert_eq!(keep(client.post("/app/a", large).header("x-api-key", &good).send().await), 413);
            let grpc = client.post("/app/a", planted.one()).header("content-type", "application/grpc");
            keep(grpc.header("x-api-key", &planted.one()).send().await);
        }
        for answer in malformed(&gateway, &planted).await {
            answers.lock().expect("no holder panics").push(answer);
        }
        upgrades(&gateway, &planted, &good).await;
        cut_off(&gateway, &planted, &good).await;
        configurations(&gateway, &planted, &token).await;
        let told = admin(&gateway, &planted, &token).await;

        let mut gateway = gateway;
        gateway.signal(libc::SIGTERM);
        assert!(gateway.ended(LIMIT).await.success());
        planted.assert_absent("the output", &gateway.output());
        planted.assert_absent("the metrics, the status and the answers of the admin listener", &told);
        for answer in answers.into_inner().expect("no holder panics") {
            planted.assert_absent("an answer", &answer);
        }
        assert!(gateway.lines().iter().filter(|line| line["event"] == "access").count() > 100);
        assert!(upstream.requests() > 10, "nothing went through");
    }
}

/// Requests that end before they are one.
async fn malformed(gateway: &Gateway, planted: &Planted) -> Vec<String> {
    let secret = || planted.one();
    let with = |first: String, more: String| {
        let credentials = format!("Authorization: Bearer {}\r\nCookie: key={}\r\n", secret(), secret());
        format!("{first}\r\n{credentials}{more}\r\n\r\n")
    };
    let mut requests = Vec::new();
    for first in [
        format!("GET /app/a;{}?key={} HTTP/1.1", "x", secret()),
        format!("GET /app/a?key={}#fragment HTTP/1.1", secret()),
        format!("GET /app/a?key={} HTTP/9.9", secret()),
        format!("GET /app/a?key={} HTTP/1.1 ", secret()),
        format!("GET app/a?key={} HTTP/1.1", secret()),
        format!("GET http://user:{}@a/app/a HTTP/1.1", secret()),
        format!("TRACE /app/a?key={} HTTP/1.1", secret()),
        format!("CONNECT user:{}@a:80 HTTP/1.1", secret()),
        format!("G E T /app/a?key={} HTTP/1.1", secret()),
        format!("GET /app/%zz?key={} HTTP/1.1", secret()),
    ] {
        requests.push(with(first, "Host: a".to_owned()));
    }
    for more in [
        "Content-Length: 3\r\nContent-Length: 4".to_owned(),
        format!("Host: user:{}@a", secret()),
        format!("Host: a\r\nHost: {}", secret()),
        format!("Host: a\r\nAuthorization: Bearer {}", secret()),
        format!("Host: a\r\nbad header {}: x", secret()),
        format!("Host: a\r\nX-A: {}", secret().repeat(1000)),
        format!("Host: a\r\nTransfer-Encoding: {}", secret()),
        format!("Host: a\r\nExpect: {}", secret()),
        format!("Host: a\r\nUpgrade: {}\r\nConnection: upgrade", secret()),
        format!("Host: a\r\nX-Request-ID: {}", secret()),
        format!("Host: a\r\nX-Forwarded-For: {}", secret()),
        format!("Host: a\r\nContent-Type: application/grpc\r\nContent-Length: x{}", secret()),
    ] {
        requests.push(with(format!("POST /app/a?key={} HTTP/1.1", secret()), more));
    }
    requests.push(format!("{}\r\n\r\n", secret()));
    // These two are never whole: the head's time is up.
    requests.push(format!("GET /app/a?key={} HT", secret()));
    requests.push(format!("GET /app/a HTTP/1.1\r\nAuthorization: Bearer {}", secret()));
    let sent = requests.into_iter().map(|request| async move { raw(gateway.address(0), request).await });
    join_all(sent).await.into_iter().map(|answer| String::from_utf8_lossy(&answer).into_owned()).collect()
}

/// WebSockets, granted and refused.
async fn upgrades(gateway: &Gateway, planted: &Planted, good: &str) {
    let target = format!("/app/ws?key={good}&session={}", planted.one());
    let protocol = format!("bearer.{}", planted.one());
    let mut socket = WebSocket::open(gateway.address(0), &target, &[("x-token", &protocol)]).await.expect("an upgrade");
    socket.send(&planted.one()).await;
    socket.next().await.expect("an echo");
    let wrong = format!("/app/ws?key={}", planted.one());
    let refused = WebSocket::open(gateway.address(0), &wrong, &[]).await.err().expect("a refusal");
    assert_eq!(refused.status, 401);
}

/// Clients that leave, and upstreams that do.
async fn cut_off(gateway: &Gateway, planted: &Planted, good: &str) {
    let path = format!("/app/stream?chunks=1000&ms=10&key={good}&session={}", planted.one());
    let client = Client::http1(gateway.address(0));
    let mut stream = client.get(&path).open().await;
    stream.next().await.expect("a piece").expect("a piece");
    drop((stream, client));
    let mut half = Raw::open(gateway.address(0)).await;
    let head = format!("POST /app/a?key={good} HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n");
    half.send(format!("{head}{}", planted.one())).await;
    gateway.audit(|event| event["path"] == "/app/a" && event["method"] == "POST").await;
    drop(half);
    let left = async || gateway.lines().iter().any(|line| line["event"] == "access" && line["path"] == "/app/stream");
    eventually("the stream that was left is logged", left).await;
}

/// Files in which a secret stands where it does not belong, or on the line of a mistake.
async fn configurations(gateway: &Gateway, planted: &Planted, token: &str) {
    let good_sha = key("good").1;
    for (from, to) in [
        ("sha256 = \"@GOOD@\"", "key = \"SECRET\""),
        ("sha256 = \"@GOOD@\"", "sha256 = \"SECRET\""),
        ("sha256 = \"@GOOD@\"", "sha256 = \"@GOOD@\", key = \"SECRET\""),
        ("sha256 = \"@GOOD@\"", "sha256 = \"SECRET"),
        ("token = { env = \"ADMIN_TOKEN\" }", "token = { value = \"SECRET\" }"),
        ("token = { env = \"ADMIN_TOKEN\" }", "token = [\"SECRET\"]"),
        ("token = { env = \"ADMIN_TOKEN\" }", "token = \"SECRET\"\ntoken = \"SECRET\""),
        ("token = { env = \"ADMIN_TOKEN\" }", "token = { evn = \"SECRET\" }"),
        ("token = { env = \"ADMIN_TOKEN\" }", "token = \"SECRET\" x"),
    ] {
        let secret = planted.one();
        assert!(GATEWAY.contains(from), "{from}");
        gateway.rewrite(&GATEWAY.replacen(from, &to.replace("SECRET", &secret), 1));
        let reload = gateway.reload().await;
        assert_eq!(reload.code, 2, "{to}: {reload:?}");
        planted.assert_absent("what `reload` says", &format!("{}{}", reload.stdout, reload.stderr));
        let file = gateway.dir().join("portcullis.toml");
        let check = portcullis(&["check".as_ref(), "-c".as_ref(), file.as_os_str()], "").await;
        planted.assert_absent("what `check` says", &format!("{}{}", check.stdout, check.stderr));
    }
    gateway.rewrite(GATEWAY);
    assert_eq!(gateway.reload().await.code, 0, "{token} and {good_sha} are as they were");
}

/// All that the admin listener tells, to those who may and to those who may not.
async fn admin(gateway: &Gateway, planted: &Planted, token: &str) -> String {
    let client = Client::http1(gateway.admin());
    let mut told = String::new();
    for path in ["/metrics", "/status", "/healthz", "/readyz", "/nothing"] {
        for given in [token.to_owned(), planted.one()] {
            let target = format!("{path}?token={}", planted.one());
            let answer = client.get(&target).header("authorization", &format!("Bearer {given}")).send().await;
            told += &format!("{:?}\n{}\n", answer.headers, answer.text());
        }
    }
    // One that is asked for nothing else: a query that it does not know is 400.
    let credentials =
        client.get("/status/credentials").header("authorization", &format!("Bearer {token}")).send().await;
    told += &credentials.text();
    let head = format!("GET /status HTTP/1.1\r\nHost: a b\r\nAuthorization: Bearer {}\r\n\r\n", planted.one());
    told += &String::from_utf8_lossy(&raw(gateway.admin(), head).await);
    assert!(told.contains("\"uses\"") && told.contains("portcullis_requests_total"), "{told}");
    told
}
