//! The lines of the log: one for each request, one for each decision, and nothing that a client can shape.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Client, Gateway, LIMIT, Upstream, eventually, key, raw};

const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[audit]
sample_successes = 1

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.keys]
use = "key-auth"
header = ["x-api-key", "x-other-key"]

[routes.app]
paths = ["/app/{*rest}"]
upstream = "app"
auth = ["keys"]
plugins = [{ use = "consumer-restriction", id = "partners", allow = [{ groups = ["partners"] }] }]

[routes.open]
paths = ["/open"]
public = true
respond = { body = "open\n" }

[consumers.acme]
groups = ["partners"]
tenant = "acme-inc"
credentials = [
    { use = "key-auth", id = "good", sha256 = "@GOOD@" },
    { use = "key-auth", id = "disabled", sha256 = "@DISABLED@", enabled = false },
    { use = "key-auth", id = "early", sha256 = "@EARLY@", not_before = 2100-01-01T00:00:00Z },
    { use = "key-auth", id = "late", sha256 = "@LATE@", expires = 2020-01-01T00:00:00Z },
    { use = "key-auth", id = "elsewhere", sha256 = "@ELSEWHERE@", routes = ["open"] },
    { use = "key-auth", id = "far", sha256 = "@FAR@", addresses = ["192.0.2.0/24"] },
]

[consumers.stranger]
credentials = [{ use = "key-auth", id = "stranger", sha256 = "@STRANGER@" }]
"#;

const CREDENTIALS: [&str; 7] = ["good", "disabled", "early", "late", "elsewhere", "far", "stranger"];

async fn start_with(toml: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let builder = Gateway::builder(toml).set("UPSTREAM", &upstream.address()).env("RUST_LOG", "trace");
    let add = |builder: crate::harness::GatewayBuilder, name: &&str| builder.set(&name.to_uppercase(), &key(name).1);
    (CREDENTIALS.iter().fold(builder, add).start().await, upstream)
}

async fn start() -> (Gateway, Upstream) {
    start_with(GATEWAY).await
}

/// The names of the fields of a line.
fn fields(line: &Value) -> BTreeSet<&str> {
    line.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_request_is_one_access_line_that_has_all_of_it() {
    let (gateway, upstream) = start().await;
    let client = Client::http1(gateway.address(0));
    let asking =
        client.post("/app/%7Ea?token=hidden", "0123456789").host("Shop.Example:81").header("user-agent", "t/1");
    let answer = asking.header("x-api-key", &key("good").0).send().await;
    assert_eq!(answer.status, 200);
    let line = gateway.access(|line| line["method"] == "POST").await;
    let expected = [
        "time",
        "event",
        "request_id",
        "address",
        "method",
        "host",
        "path",
        "protocol",
        "status",
        "bytes_sent",
        "bytes_received",
        "duration_us",
        "route",
        "upstream",
        "target",
        "consumer",
        "user_agent",
    ];
    assert_eq!(fields(&line), BTreeSet::from(expected));
    assert_eq!(line["request_id"], upstream.last().header("x-request-id").expect("it is sent"));
    for (name, value) in [
        ("address", json!("127.0.0.1")),
        ("host", json!("Shop.Example:81")),
        ("path", json!("/app/~a")),
        ("protocol", json!("HTTP/1.1")),
        ("status", json!(200)),
        ("bytes_sent", json!(answer.body.len())),
        ("bytes_received", json!(10)),
        ("route", json!("app")),
        ("upstream", json!("app")),
        ("target", json!(upstream.address().to_string())),
        ("consumer", json!("acme")),
        ("user_agent", json!("t/1")),
    ] {
        assert_eq!(line[name], value, "{name}");
    }
    assert!(line["duration_us"].as_u64().is_some_and(|took| took > 0 && took < 10_000_000), "{line}");
    assert!(line["time"].as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok()), "{line}");
}

#[tokio::test]
async fn every_request_has_one_line_whatever_becomes_of_it() {
    let (gateway, _upstream) = start().await;
    let (one, two) = (Client::http1(gateway.address(0)), Client::http2(gateway.address(0)));
    for client in [&one, &two] {
        assert_eq!(client.get("/open").send().await.status, 200);
        assert_eq!(client.get("/nowhere").send().await.status, 404);
        assert_eq!(client.request("BREW", "/open").send().await.status, 405);
        assert_eq!(client.get("/app/a").send().await.status, 401);
        assert_eq!(client.get("/app/a").header("x-api-key", &key("stranger").0).send().await.status, 403);
    }
    raw(gateway.address(0), "GET /a;b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    raw(gateway.address(0), "nonsense\r\n\r\n").await;
    // A client that leaves in the middle.
    let mut left = one.get("/app/stream?chunks=1000&ms=10").header("x-api-key", &key("good").0).open().await;
    left.next().await.expect("a piece").expect("a piece");
    drop((left, one));
    let lines = async || gateway.lines().into_iter().filter(|line| line["event"] == "access").collect::<Vec<_>>();
    eventually("thirteen access lines", async || lines().await.len() == 13).await;
    let lines = lines().await;
    let count = |name: &str, value: Value| lines.iter().filter(|line| line[name] == value).count();
    let statuses = [200, 404, 405, 401, 403, 400].map(|status| count("status", json!(status)));
    assert_eq!(statuses, [3, 2, 2, 2, 2, 2], "{lines:#?}");
    assert_eq!((count("protocol", json!("HTTP/2")), count("reason", json!("consumer_not_allowed"))), (5, 2));
    let ids: BTreeSet<_> = lines.iter().map(|line| line["request_id"].as_str().expect("text")).collect();
    assert_eq!(ids.len(), lines.len(), "a request id came twice");
}

#[tokio::test]
async fn every_failure_is_one_audit_event_that_says_who_what_where_and_why() {
    let (gateway, upstream) = start().await;
    let wrong = key("nobody").0;
    // Credential in the request, status, reason, what is known of the credential, and whether a restriction decided.
    let cases = [
        (None, 401, "credential_absent", None, None),
        (Some(String::new()), 401, "key_malformed", None, None),
        (Some(wrong), 401, "key_unknown", None, None),
        (Some(key("disabled").0), 401, "credential_disabled", Some("disabled"), None),
        (Some(key("early").0), 401, "credential_not_yet_valid", Some("early"), None),
        (Some(key("late").0), 401, "key_expired", Some("late"), None),
        (Some(key("elsewhere").0), 403, "route_not_allowed", Some("elsewhere"), None),
        (Some(key("far").0), 403, "address_not_allowed", Some("far"), None),
        (Some(key("stranger").0), 403, "consumer_not_allowed", Some("stranger"), Some("app/partners")),
    ];
    let client = Client::http1(gateway.address(0));
    for (number, (sent, status, reason, credential, restriction)) in cases.iter().enumerate() {
        let path = format!("/app/{number}");
        let asking = client.request("PUT", &format!("{path}?token=hidden"));
        let asking = sent.iter().fold(asking, |asking, key| asking.header("x-api-key", key));
        assert_eq!(asking.send().await.status, *status, "{reason}");
        let access = gateway.access(|line| line["path"] == path).await;
        assert_eq!(access["reason"], *reason);
        let of_it = |line: &Value| line["request_id"] == access["request_id"] && line["result"] == "denied";
        let event = gateway.audit(of_it).await;
        let kind = if restriction.is_some() { "authorization" } else { "authentication" };
        let mut expected = json!({
            "event": kind, "result": "denied", "reason": reason, "request_id": access["request_id"], "route": "app",
            "address": "127.0.0.1", "method": "PUT", "path": path, "time": event["time"],
        });
        if *reason != "credential_absent" {
            expected["policy"] = json!(restriction.unwrap_or("keys"));
        }
        if restriction.is_some() {
            expected["detail"] = json!("no entry of allow");
        }
        if let Some(id) = credential {
            expected["credential_id"] = json!(id);
            expected["consumer"] = json!(if *id == "stranger" { "stranger" } else { "acme" });
            if *id != "stranger" {
                expected["tenant"] = json!("acme-inc");
            }
        }
        assert_eq!(event, expected, "{reason}");
        let events = gateway.lines().into_iter().filter(of_it).count();
        assert_eq!(events, 1, "{reason}");
    }
    let both = client.get("/app/both").header("x-api-key", &key("good").0).header("x-other-key", &key("far").0);
    assert_eq!(both.send().await.status, 401);
    gateway.audit(|event| event["path"] == "/app/both" && event["reason"] == "key_conflict").await;
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn successes_are_sampled_as_asked_and_failures_never() {
    for (every, least, most) in [(0, 0, 0), (1, 200, 200), (10, 15, 20)] {
        let toml = GATEWAY.replace("sample_successes = 1", &format!("sample_successes = {every}"));
        let (gateway, _upstream) = start_with(&toml).await;
        let client = Client::http1(gateway.address(0));
        for _ in 0..200 {
            assert_eq!(client.get("/app/a").header("x-api-key", &key("good").0).send().await.status, 200);
        }
        for _ in 0..10 {
            assert_eq!(client.get("/app/a").header("x-api-key", &key("late").0).send().await.status, 401);
        }
        let count = |result: &str| {
            let events = gateway.lines().into_iter().filter(|line| line["event"] == "authentication");
            events.filter(|line| line["result"] == result).count()
        };
        eventually("ten failures", async || count("denied") == 10).await;
        let granted = count("granted");
        assert!((least..=most).contains(&granted), "1 in {every}: {granted}");
        if let Some(event) = gateway.lines().iter().find(|line| line["result"] == "granted") {
            let names = ["policy", "consumer", "credential_id", "tenant"].map(|name| event[name].as_str());
            assert_eq!(names, ["keys", "acme", "good", "acme-inc"].map(Some));
            assert_eq!(event["reason"], Value::Null);
        }
    }
}

#[tokio::test]
async fn without_access_lines_the_audit_goes_on() {
    let (gateway, _upstream) = start_with(&format!("{GATEWAY}\n[log]\naccess = false\n")).await;
    let client = Client::http1(gateway.address(0));
    assert_eq!(client.get("/app/a").header("x-api-key", &key("good").0).send().await.status, 200);
    assert_eq!(client.get("/app/b").send().await.status, 401);
    gateway.audit(|event| event["path"] == "/app/a" && event["result"] == "granted").await;
    gateway.audit(|event| event["path"] == "/app/b" && event["result"] == "denied").await;
    assert!(!gateway.lines().iter().any(|line| line["event"] == "access"), "{}", gateway.output());
}

#[tokio::test]
async fn whatever_a_client_sends_every_line_is_one_line_of_json() {
    let (gateway, _upstream) = start().await;
    let forged = "{\\\"event\\\":\\\"authentication\\\",\\\"result\\\":\\\"granted\\\"}";
    for (name, value) in [
        ("User-Agent", "a\"b\\c\td"),
        ("User-Agent", "\u{1b}[31mred\u{7f}\u{9b}"),
        ("User-Agent", forged),
        ("User-Agent", &"long".repeat(2000)),
        ("User-Agent", "\u{2028}\u{202e}x"),
        ("X-Request-ID", "forged\",\"event\":\"authentication"),
    ] {
        let head = format!("GET /open HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{name}: {value}\r\n\r\n");
        raw(gateway.address(0), head).await;
    }
    let latin = b"GET /open HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUser-Agent: \xff\xfe\xe4\r\n\r\n";
    raw(gateway.address(0), latin).await;
    for path in ["/%22%7d", "/%0a%7b%7d", "/%e2%80%a8", "/%ff", "/\"}"] {
        raw(gateway.address(0), format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
    }
    raw(gateway.address(0), "GET /open HTTP/1.1\r\nHost: \"}\r\nConnection: close\r\n\r\n").await;
    let access = async || gateway.lines().iter().filter(|line| line["event"] == "access").count();
    eventually("all thirteen are logged", async || access().await == 13).await;
    let output = gateway.output();
    for line in output.lines() {
        let parsed: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_ne!(parsed["event"], "authentication", "a client wrote it: {line}");
        assert!(line.len() < 2048, "a line of {} bytes", line.len());
        assert!(!line.chars().any(char::is_control), "a control character in {line:?}");
    }
}

#[tokio::test]
async fn rust_log_says_nothing_here() {
    // Every gateway of this file runs with RUST_LOG=trace.
    let (gateway, _upstream) = start_with(&format!("{GATEWAY}\n[log]\nlevel = \"error\"\n")).await;
    let client = Client::http1(gateway.address(0));
    assert_eq!(client.get("/app/a").header("x-api-key", &key("good").0).send().await.status, 200);
    gateway.access(|line| line["path"] == "/app/a").await;
    assert_eq!(gateway.reload().await.code, 0);
    assert!(!gateway.lines().iter().any(|line| line["event"] == "log"), "{}", gateway.output());
}

#[tokio::test]
async fn no_client_adds_a_label() {
    let (gateway, _upstream) = start().await;
    let series = async || {
        let text = gateway.ask_admin("/metrics").await.text();
        let names = text.lines().filter(|line| !line.starts_with('#'));
        names.filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name.to_owned()).collect::<BTreeSet<_>>()
    };
    let everything = async |round: usize| {
        let client = Client::http1(gateway.address(0));
        let odd = format!("odd{round}");
        for target in [format!("/{odd}"), format!("/app/{odd}?{odd}={odd}"), "/open".to_owned()] {
            for method in ["GET", "POST", &format!("M{odd}").to_uppercase()] {
                let asking = client.request(method, &target).host(&format!("{odd}.example")).header("user-agent", &odd);
                asking.header("x-api-key", &odd).header("x-request-id", &odd).header(&odd, &odd).send().await;
            }
        }
        client.get(&format!("/app/{odd}")).header("x-api-key", &key("good").0).send().await;
        raw(gateway.address(0), format!("{odd} /{odd} HTTP/1.1\r\nHost: {odd}\r\n\r\n")).await;
        raw(gateway.address(0), format!("GET /;{odd} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
    };
    everything(0).await;
    gateway.wait_line(|line| line["path"] == "/;odd0" || line["status"] == 400, LIMIT).await;
    // Counted when the request is over, which is after its answer.
    let total = "portcullis_request_duration_seconds_count{phase=\"total\"}";
    eventually("all are counted", async || gateway.metric(total).await >= 11.0).await;
    let before = series().await;
    for round in 1..30 {
        everything(round).await;
    }
    let after = series().await;
    assert_eq!(after, before);
    let text = gateway.ask_admin("/metrics").await.text();
    for from_outside in ["odd", "127.0.0.1", "acme", "good"] {
        assert!(!text.contains(from_outside), "{from_outside} is in:\n{text}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_on_record_and_what_is_malformed_is_not() {
    let toml = GATEWAY.replace("[routes.app]", "[routes.app]\nmax_body_bytes = 10");
    let (gateway, upstream) = start_with(&toml).await;
    // Known beforehand, and before anybody is asked who they are.
    let client = Client::http1(gateway.address(0));
    let asking = client.post("/app/declared", vec![b'x'; 11]).header("x-api-key", &key("good").0);
    assert_eq!(asking.send().await.status, 413);
    let event = gateway.audit(|event| event["path"] == "/app/declared").await;
    assert_eq!((&event["event"], &event["reason"]), (&"authorization".into(), &"body_too_large".into()));
    assert_eq!((&event["route"], event.get("consumer")), (&"app".into(), None));
    assert_eq!(upstream.requests(), 0);
    // Found out while it passes, when it is known who sends it.
    let (asking, feed) = client.request("POST", "/app/streamed").header("x-api-key", &key("good").0).streamed();
    let sending = asking.send();
    (0..4).for_each(|_| _ = feed.send("12345"));
    drop(feed);
    assert_eq!(sending.await.status, 413);
    let event = gateway.audit(|event| event["path"] == "/app/streamed" && event["result"] == "denied").await;
    assert_eq!((&event["event"], &event["reason"]), (&"authorization".into(), &"body_too_large".into()));
    assert_eq!((&event["consumer"], &event["credential_id"]), (&"acme".into(), &"good".into()));
    // Nothing was decided about whoever sent these.
    raw(gateway.address(0), "GET /a;b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    raw(gateway.address(0), format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000))).await;
    gateway.access(|line| line["status"] == 400).await;
    gateway.access(|line| line["status"] == 431).await;
    let events = gateway.lines().into_iter().filter(|line| line.get("result").is_some()).count();
    assert_eq!(events, 3, "both refusals, and the success before the second: {}", gateway.output());
}
