//! Hooks that take too long, whose client leaves, or that panic.

use std::time::{Duration, Instant};

use http::Request;
use serde_json::Value;
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::{porter, program};
use crate::harness::{Client, Gateway, LIMIT, Raw, Response, Upstream, eventually, key, program as run, raw};

const GATEWAY: &str = r#"
[server]
control = "@DIR@/control.sock"

[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.keys]
use = "key-auth"

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-key"
sha256 = "@SHA256@"

[routes.app]
paths = ["/app/{*rest}"]
"#;

/// A gateway with a route that goes wrong in this hook.
async fn start(server: &str, hook: &str, more: &str) -> (Gateway, Upstream) {
    let faulty = format!("{{ use = \"faulty\", id = \"odd\", hook = \"{hook}\"{more} }}");
    let is_authenticator = matches!(hook, "authenticate" | "heeds");
    let (auth, plugins) = if is_authenticator { (faulty, String::new()) } else { ("\"keys\"".to_owned(), faulty) };
    with(server, &format!("auth = [{auth}]\nplugins = [{plugins}]\n")).await
}

async fn with(server: &str, route: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let ending = if route.contains("respond") { "" } else { "upstream = \"app\"\n" };
    let toml = format!("{GATEWAY}{ending}{route}").replacen("[server]\n", &format!("[server]\n{server}\n"), 1);
    let builder = Gateway::builder(&toml).program(program()).set("SHA256", &key("acme").1);
    (builder.set("UPSTREAM", &upstream.address()).start().await, upstream)
}

fn clients(gateway: &Gateway) -> [Client; 2] {
    [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))]
}

async fn ask(client: &Client) -> Response {
    client.post("/app/1", "hello 1").header("x-api-key", &key("acme").0).send().await
}

/// How many sleeps ended like this.
async fn sleeps(gateway: &Gateway, event: &str) -> f64 {
    gateway.metric(&format!("portcullis_faulty_sleeps_total{{policy=\"app/odd\",event=\"{event}\"}}")).await
}

#[tokio::test]
async fn a_hook_that_takes_too_long_ends_in_503() {
    let own = ", sleeps = \"120s\", hook_timeout = \"200ms\"";
    let cases =
        [("guard", own), ("authenticate", own), ("admit", own), ("prepare", own), ("guard", ", sleeps = \"120s\"")];
    for (hook, more) in cases {
        // What the policy says comes before what holds for all.
        let server = if more == own { "hook_timeout = \"100s\"" } else { "hook_timeout = \"200ms\"" };
        let (gateway, upstream) = start(server, hook, more).await;
        for client in clients(&gateway) {
            let started = Instant::now();
            let refused = ask(&client).await;
            assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("unavailable")), "{hook}");
            assert!(started.elapsed() < Duration::from_secs(5), "{hook}: {:?}", started.elapsed());
            let id = refused.header("x-request-id").expect("an id").to_owned();
            let is_it = |event: &Value| event["request_id"] == id.as_str() && event["reason"] == "plugin_timed_out";
            let event = gateway.audit(is_it).await;
            assert_eq!(event["policy"], "app/odd", "{event}");
            let line = gateway.access(|line| line["request_id"] == id.as_str()).await;
            assert_eq!((&line["status"], &line["reason"]), (&503.into(), &"plugin_timed_out".into()), "{line}");
            assert!(
                line["error"].as_str().is_some_and(|error| error.contains("app/odd: it took longer than 200ms")),
                "{line}"
            );
        }
        assert_eq!((upstream.requests(), sleeps(&gateway, "cut").await), (0, 2.0), "{hook}");
        let failures = format!("policy=\"app/odd\",hook=\"{hook}\",reason=\"plugin_timed_out\"");
        assert_eq!(gateway.metric(&format!("portcullis_hook_failures_total{{{failures}}}")).await, 2.0);
    }
}

#[tokio::test]
async fn waiting_for_the_body_is_not_the_hooks_time() {
    let word = porter("p", "word = \"please\", hook_timeout = \"300ms\"");
    let (gateway, upstream) = with("", &format!("auth = [\"keys\"]\nplugins = [{word}]\n")).await;
    for client in clients(&gateway) {
        let (asking, feed) = client.request("POST", "/app/1").header("x-api-key", &key("acme").0).streamed();
        let answer = async { asking.send().await };
        let body = async {
            for piece in ["if ", "you ", "please"] {
                tokio::time::sleep(Duration::from_millis(250)).await;
                feed.send(piece);
            }
            drop(feed);
        };
        let (answer, ()) = tokio::join!(answer, body);
        assert_eq!((answer.status, upstream.last().body.as_slice()), (200, &b"if you please"[..]), "{answer:?}");
    }
}

/// The line about the request that was given up.
async fn given_up(gateway: &Gateway) -> Value {
    gateway.access(|line| line["reason"] == "client_gone").await
}

async fn cut(gateway: &Gateway, count: f64) {
    eventually("the hook is ended", async || sleeps(gateway, "cut").await == count).await;
}

#[tokio::test]
async fn a_hook_ends_with_its_http1_client() {
    for hook in ["guard", "authenticate", "admit", "prepare"] {
        let (gateway, upstream) = start("", hook, ", sleeps = \"120s\", hook_timeout = \"100s\"").await;
        let mut client = Raw::open(gateway.address(0)).await;
        client.send(request("")).await;
        eventually("it sleeps", async || sleeps(&gateway, "begun").await == 1.0).await;
        drop(client);
        cut(&gateway, 1.0).await;
        let line = given_up(&gateway).await;
        assert!(line["error"].as_str().is_some_and(|error| error.starts_with("app/odd: ")), "{line}");
        let event = gateway.audit(|event| event["reason"] == "client_gone").await;
        assert_eq!(event["policy"], "app/odd", "{event}");
        let in_flight = async || gateway.ask_admin("/status").await.json()["requests_in_flight"].as_u64();
        eventually("nothing is in flight", async || in_flight().await == Some(0)).await;
        assert_eq!(upstream.requests(), 0);
    }
}

/// A request of acme's.
fn request(more: &str) -> String {
    format!("GET /app/1 HTTP/1.1\r\nHost: a\r\nX-API-Key: {}\r\n{more}\r\n", key("acme").0)
}

#[tokio::test]
async fn a_client_that_has_only_stopped_to_speak_gets_its_answer() {
    let sleepy = "{ use = \"faulty\", id = \"odd\", hook = \"guard\", sleeps = \"700ms\" }";
    let route = format!("respond = {{ body = \"here\" }}\nauth = [\"keys\"]\nplugins = [{sleepy}]\n");
    let (gateway, _upstream) = with("", &route).await;
    let answer = half_closed(&gateway).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("here"), "{answer}");
    // What takes longer for it ends, and it is told.
    let (gateway, upstream) = start("", "guard", ", sleeps = \"120s\", hook_timeout = \"100s\"").await;
    let answer = half_closed(&gateway).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"unavailable\""), "{answer}");
    cut(&gateway, 1.0).await;
    assert_eq!((upstream.requests(), &given_up(&gateway).await["status"]), (0, &503.into()));
}

/// What a client hears that sends a request and the end of its side.
async fn half_closed(gateway: &Gateway) -> String {
    use tokio::io::AsyncWriteExt as _;
    let mut client = TcpStream::connect(gateway.address(0)).await.expect("it listens");
    client.write_all(request("").as_bytes()).await.expect("it reads");
    client.shutdown().await.expect("it is open");
    let mut answer = String::new();
    let read = tokio::time::timeout(LIMIT, client.read_to_string(&mut answer)).await;
    read.expect("an answer in time").expect("text");
    answer
}

#[tokio::test]
async fn what_a_client_sends_ahead_does_not_end_a_hook() {
    let (gateway, _upstream) = start("", "guard", ", sleeps = \"600ms\"").await;
    let two = format!("{}{}", request(""), request("Connection: close\r\n"));
    let answers = raw(gateway.address(0), two).await;
    assert!(answers.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answers));
    assert_eq!(sleeps(&gateway, "cut").await, 0.0);
}

#[tokio::test]
async fn a_hook_ends_with_its_http2_stream_or_connection() {
    for hook in ["guard", "authenticate", "admit", "prepare"] {
        let (gateway, upstream) = start("", hook, ", sleeps = \"120s\", hook_timeout = \"100s\"").await;
        let socket = TcpStream::connect(gateway.address(0)).await.expect("it listens");
        let (client, connection) = h2::client::handshake(socket).await.expect("it speaks HTTP/2");
        let connection = tokio::spawn(connection);
        let mut client = client.ready().await.expect("a connection");
        let request = Request::get("http://a/app/1").header("x-api-key", key("acme").0);
        let request = request.body(()).expect("a request");
        let (_first, mut first_stream) = client.send_request(request.clone(), true).expect("a stream");
        let (_second, _second_stream) = client.send_request(request, true).expect("a stream");
        eventually("both sleep", async || sleeps(&gateway, "begun").await == 2.0).await;
        first_stream.send_reset(h2::Reason::CANCEL);
        cut(&gateway, 1.0).await;
        assert_eq!(given_up(&gateway).await["status"], 0, "nobody to answer");
        connection.abort();
        cut(&gateway, 2.0).await;
        assert_eq!(upstream.requests(), 0);
    }
}

#[tokio::test]
async fn a_panic_is_a_500_with_its_event_and_its_request_id() {
    let before = ["guard", "authenticate", "admit", "prepare", "hold_body", "edit_request", "begin_body"];
    let after = ["request_body", "edit_response"];
    for hook in before.iter().chain(&after) {
        let (gateway, upstream) = start("", hook, "").await;
        for client in clients(&gateway) {
            let refused = ask(&client).await;
            assert_eq!((refused.status, refused.json()["code"].as_str()), (500, Some("internal_error")), "{hook}");
            assert!(!refused.text().contains("fault"), "{hook}: {}", refused.text());
            let id = refused.header("x-request-id").expect("an id").to_owned();
            assert_eq!(refused.json()["request_id"], id.as_str());
            let of_this = |line: &Value| line["request_id"] == id.as_str();
            let event = gateway.audit(|event| of_this(event) && event["result"] != "granted").await;
            assert_eq!(event["reason"], "plugin_panicked", "{hook}: {event}");
            let line = gateway.access(of_this).await;
            assert_eq!((&line["status"], &line["reason"]), (&500.into(), &"plugin_panicked".into()), "{hook}: {line}");
            let said = |line: &Value| {
                let message = line["message"].as_str().unwrap_or_default();
                of_this(line) && line["level"] == "error" && message.ends_with(": a fault")
            };
            let said = gateway.wait_line(said, LIMIT).await;
            assert_eq!(said["route"], "app", "{hook}: {said}");
            assert_eq!((&said["policy"], &event["policy"]), (&"app/odd".into(), &"app/odd".into()), "{hook}");
        }
        if before.contains(hook) {
            assert_eq!(upstream.requests(), 0, "{hook}");
        }
        assert!(gateway.stop().await.success(), "{hook}");
    }
}

#[tokio::test]
async fn a_panic_after_the_response_has_begun_or_ended_is_the_end_of_one_request() {
    let (gateway, _upstream) = start("", "response_body", "").await;
    for client in clients(&gateway) {
        let asking = client.get("/app/1").header("x-api-key", &key("acme").0);
        // It may be seen before the head or after it, and never as a whole response.
        if let Ok(mut opened) = asking.attempt().await {
            let mut is_cut = opened.status() == 500;
            while let Some(piece) = opened.next().await {
                is_cut |= piece.is_err();
            }
            assert!(is_cut, "it was given out as whole");
        }
    }
    gateway.audit(|event| event["reason"] == "plugin_panicked").await;

    let (gateway, upstream) = start("", "observe", "").await;
    for client in clients(&gateway) {
        assert_eq!(ask(&client).await.status, 200);
    }
    let said = |line: &Value| line["message"] == "a plugin panicked in `observe`: a fault";
    gateway.wait_line(said, LIMIT).await;
    assert_eq!(
        (upstream.requests(), gateway.access(|line| line["status"] == 200).await["route"].as_str()),
        (2, Some("app"))
    );
}

#[tokio::test]
async fn callers_of_the_control_socket_that_panic_give_their_slots_back() {
    let (gateway, _upstream) = start("", "heeds", "").await;
    let config = gateway.dir().join("portcullis.toml").display().to_string();
    let revoke = ["revoke", "--issuer", "https://id.example", "--token-id", "1", "-c", &config];
    for _ in 0..17 {
        let failed = run(program(), &revoke, "").await;
        assert!(failed.code == 1 && failed.stderr.contains("no answer"), "{failed:?}");
    }
    assert_eq!(gateway.reload().await.code, 0);
}
