//! The admin listener: what it tells, and whom.

use std::{
    collections::BTreeSet,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    time::{SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::harness::{Client, Gateway, GatewayBuilder, LIMIT, Upstream, eventually, key, raw};

const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[upstreams.app]
targets = ["@UPSTREAM@"]

[upstreams.gone]
targets = ["127.0.0.1:9"]

[policies.keys]
use = "key-auth"

[consumers.acme]

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-1"
sha256 = "@SHA256@"

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-2"
sha256 = "@OTHER@"
enabled = false

[routes.app]
paths = ["/app/{*rest}"]
upstream = "app"
auth = ["keys"]

[routes.gone]
paths = ["/gone"]
upstream = "gone"
public = true
"#;

const TOKEN: &str = "a-token-of-the-operator-0123456789abcdef";

fn builder(toml: &str, upstream: &Upstream) -> GatewayBuilder {
    let (ours, other) = (key("acme").1, key("other").1);
    let builder = Gateway::builder(toml).set("UPSTREAM", &upstream.address()).set("SHA256", &ours).set("OTHER", &other);
    builder.env("ADMIN_TOKEN", TOKEN)
}

#[tokio::test]
async fn it_tells_health_and_readiness_also_while_it_stops() {
    let upstream = Upstream::start();
    let gateway = builder(GATEWAY, &upstream).start().await;
    for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let answer = gateway.ask_admin(path).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, text));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let client = Client::http1(gateway.address(0));
    let mut held = client.get("/app/held").header("x-api-key", &key("acme").0).open().await;
    upstream.send("a");
    held.next().await.expect("a piece").expect("a piece");
    gateway.signal(libc::SIGTERM);
    gateway.wait_line(|line| line["event"] == "stopping", LIMIT).await;
    eventually("it says that it stops", async || gateway.ask_admin("/readyz").await.status == 503).await;
    assert_eq!(gateway.ask_admin("/readyz").await.text(), "stopping\n");
    assert_eq!(gateway.ask_admin("/healthz").await.status, 200);
    let status = gateway.status().await;
    assert_eq!((&status["stopping"], &status["requests_in_flight"]), (&true.into(), &1.into()), "{status:#}");
    upstream.finish();
    assert!(held.next().await.is_none());
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn status_tells_what_serves_and_how_credentials_are_used() {
    let upstream = Upstream::start();
    let gateway = builder(GATEWAY, &upstream).start().await;
    let status = gateway.status().await;
    assert_eq!((&status["generation"], &status["stopping"]), (&1.into(), &false.into()), "{status:#}");
    assert_eq!(status["routes"], serde_json::json!(["app", "gone"]));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["started"].as_str().is_some_and(|at| at.parse::<Timestamp>().is_ok()), "{status:#}");
    let unused = gateway.credential("acme-1").await;
    assert_eq!(
        (&unused["uses"], &unused["last_used"], &unused["last_address"]),
        (&0.into(), &None::<u8>.into(), &None::<u8>.into())
    );

    let client = Client::http1(gateway.address(0));
    let before = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().cast_signed();
    for _ in 0..3 {
        assert_eq!(client.get("/app/a").header("x-api-key", &key("acme").0).send().await.status, 200);
        assert_eq!(client.get("/app/a").header("x-api-key", &key("other").0).send().await.status, 401);
        assert_eq!(client.get("/app/a").header("x-api-key", &key("wrong").0).send().await.status, 401);
    }
    let used = gateway.credential("acme-1").await;
    let names = ["kind", "consumer", "last_address"].map(|name| used[name].as_str().expect("text"));
    assert_eq!(names, ["key-auth", "acme", "127.0.0.1"]);
    assert_eq!((&used["uses"], &used["enabled"]), (&3.into(), &true.into()));
    let last: Timestamp = used["last_used"].as_str().expect("text").parse().expect("RFC 3339");
    assert!((before..before + 30).contains(&last.as_second()), "{last}");
    let refused = gateway.credential("acme-2").await;
    assert_eq!((&refused["uses"], &refused["enabled"]), (&0.into(), &false.into()), "a refused use counts as one");
    // The last one has its answer before it has ended.
    eventually("none is in flight", async || gateway.status().await["requests_in_flight"] == 0).await;
    let status = gateway.status().await;
    assert_eq!(status["connections"], 1, "the client's; the admin listener's own are not counted");
    assert_eq!(status["log_lines_dropped"], 0);
}

#[tokio::test]
async fn metrics_have_the_names_and_labels_that_are_promised() {
    let upstream = Upstream::start();
    let gateway = builder(GATEWAY, &upstream).start().await;
    let client = Client::http1(gateway.address(0));
    assert_eq!(client.get("/app/a").header("x-api-key", &key("acme").0).send().await.status, 200);
    assert_eq!(client.get("/app/a").header("x-api-key", &key("wrong").0).send().await.status, 401);
    assert_eq!(client.get("/app/a").send().await.status, 401);
    assert_eq!(client.get("/gone").send().await.status, 502);
    assert_eq!(client.get("/nowhere").send().await.status, 404);
    raw(gateway.address(0), "nonsense\r\n\r\n").await;

    for (series, value) in [
        ("portcullis_requests_total{route=\"app\",status_class=\"2xx\"}", 1.0),
        ("portcullis_requests_total{route=\"app\",status_class=\"4xx\"}", 2.0),
        ("portcullis_requests_total{route=\"gone\",status_class=\"5xx\"}", 1.0),
        ("portcullis_requests_total{route=\"(none)\",status_class=\"4xx\"}", 1.0),
        ("portcullis_requests_refused_before_routing_total{code=\"bad_request\"}", 1.0),
        ("portcullis_request_duration_seconds_count{phase=\"total\"}", 5.0),
        ("portcullis_authentications_total{policy=\"keys\",result=\"granted\",reason=\"none\"}", 1.0),
        ("portcullis_authentications_total{policy=\"keys\",result=\"denied\",reason=\"key_unknown\"}", 1.0),
        ("portcullis_authentications_total{policy=\"keys\",result=\"absent\",reason=\"none\"}", 1.0),
        ("portcullis_reloads_total{result=\"success\"}", 1.0),
        ("portcullis_reloads_total{result=\"failure\"}", 0.0),
        ("portcullis_upstream_errors_total{upstream=\"gone\",kind=\"connect\"}", 1.0),
        ("portcullis_connections", 1.0),
        ("portcullis_config_generation", 1.0),
        ("portcullis_log_lines_dropped_total", 0.0),
    ] {
        eventually(&format!("{series} {value}"), async || gateway.metric(series).await == value).await;
    }
    let loaded = gateway.metric("portcullis_config_last_reload_success_timestamp_seconds").await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!((now - 60.0..=now).contains(&loaded), "{loaded}");

    let answer = gateway.ask_admin("/metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4"));
    let text = answer.text();
    // Whoever builds a dashboard on them relies on this list: it grows, but nothing in it changes.
    let described = |kind: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(&format!("# {kind} ")));
        lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    let names = [
        "portcullis_authentications_total",
        "portcullis_build_info",
        "portcullis_config_generation",
        "portcullis_config_generations",
        "portcullis_config_last_reload_success_timestamp_seconds",
        "portcullis_connections",
        "portcullis_held_body_bytes",
        "portcullis_unsent_bytes",
        "portcullis_log_lines_dropped_total",
        "portcullis_open_streams",
        "portcullis_reloads_total",
        "portcullis_request_duration_seconds",
        "portcullis_requests_refused_before_routing_total",
        "portcullis_requests_total",
        "portcullis_upstream_addresses",
        "portcullis_upstream_errors_total",
        "portcullis_upstream_retries_refused_total",
        "portcullis_upstream_retries_total",
        "portcullis_upstream_unresolved_targets",
    ];
    let names: BTreeSet<String> = names.map(str::to_owned).into();
    assert_eq!((described("TYPE"), described("HELP")), (names.clone(), names));
    for phase in ["policy", "upstream", "total"] {
        let bucket = format!("portcullis_request_duration_seconds_bucket{{phase=\"{phase}\",le=\"+Inf\"}}");
        assert!(text.contains(&bucket), "{bucket} is not in:\n{text}");
    }
}

#[tokio::test]
async fn a_token_is_asked_for_on_every_path_and_says_nothing_about_itself() {
    let upstream = Upstream::start();
    let toml = GATEWAY.replace("[admin]", "[admin]\ntoken = { env = \"ADMIN_TOKEN\" }");
    let gateway = builder(&toml, &upstream).start().await;
    let client = Client::http1(gateway.admin());
    let refusals = [
        None,
        Some(String::new()),
        Some(TOKEN.to_owned()),
        Some(format!("Basic {TOKEN}")),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Bearer {}", &TOKEN[..TOKEN.len() - 1])),
        Some(format!("Bearer {TOKEN}x")),
        Some(format!("Bearer {}", TOKEN.to_uppercase())),
    ];
    for path in ["/healthz", "/readyz", "/metrics", "/status", "/nothing"] {
        let mut bodies = BTreeSet::new();
        for wrong in &refusals {
            let asking = client.get(path);
            let asking = wrong.iter().fold(asking, |asking, wrong| asking.header("authorization", wrong));
            let answer = asking.send().await;
            assert_eq!(answer.status, 401, "{path} {wrong:?}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"portcullis admin\""));
            let mut body = answer.json();
            body["request_id"].take();
            bodies.insert(body.to_string());
        }
        assert_eq!(bodies.len(), 1, "answers differ by what was wrong: {bodies:?}");
        for right in [format!("Bearer {TOKEN}"), format!("bearer {TOKEN}")] {
            let answer = client.get(path).header("authorization", &right).send().await;
            assert_eq!(answer.status, if path == "/nothing" { 404 } else { 200 }, "{path}");
        }
    }
    assert!(!gateway.output().contains(TOKEN));
}

#[tokio::test]
async fn a_token_can_be_changed_by_a_reload() {
    let upstream = Upstream::start();
    let gateway = builder(GATEWAY, &upstream).start().await;
    assert_eq!(gateway.ask_admin("/healthz").await.status, 200);
    gateway.rewrite(&GATEWAY.replace("[admin]", "[admin]\ntoken = { env = \"ADMIN_TOKEN\" }"));
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!(gateway.ask_admin("/healthz").await.status, 401);
}

#[tokio::test]
async fn a_listener_that_others_can_reach_needs_a_token() {
    let upstream = Upstream::start();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9180"] {
        let (code, errors) = builder(&GATEWAY.replacen("127.0.0.1:0", address, 1), &upstream).fails().await;
        assert!(code == 2 && errors.contains("admin.listen") && errors.contains("token"), "{address}: {code} {errors}");
    }
    let absent = GATEWAY.replace("[admin]", "[admin]\ntoken = { env = \"NO_SUCH_TOKEN\" }");
    let (code, errors) = builder(&absent, &upstream).fails().await;
    assert!(code == 2 && errors.contains("admin.token") && errors.contains("NO_SUCH_TOKEN"), "{code} {errors}");
}

#[tokio::test]
async fn a_name_that_was_rebound_to_loopback_is_refused() {
    let upstream = Upstream::start();
    let gateway = builder(GATEWAY, &upstream).start().await;
    let port = gateway.admin().port();
    let client = Client::http1(gateway.admin());
    for (host, status) in [
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("192.0.2.1", 403),
        ("localhost", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1", 200),
        ("[::1]", 200),
    ] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            assert_eq!(client.get("/status").host(&host).send().await.status, status, "{host}");
        }
    }
    // The absolute form has a host of its own, which counts in the place of the header's.
    let request = "GET http://evil.example/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = String::from_utf8_lossy(&raw(gateway.admin(), request).await).into_owned();
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn it_changes_nothing_and_takes_no_other_method() {
    let upstream = Upstream::start();
    let gateway = builder(GATEWAY, &upstream).start().await;
    let client = Client::http1(gateway.admin());
    for path in ["/healthz", "/readyz", "/metrics", "/status"] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer = client.request(method, path).send().await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
        let (get, head) = (client.get(path).send().await, client.request("HEAD", path).send().await);
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    for path in ["/", "/reload", "/stop", "/statusx", "/status/", "/metrics/../status"] {
        assert!(matches!(client.get(path).send().await.status, 400 | 404), "{path}");
    }
    // It is no way to the routes either, nor they to it.
    assert_eq!(client.get("/gone").send().await.status, 404);
    assert_eq!(Client::http1(gateway.address(0)).get("/status").send().await.status, 404);
}

#[tokio::test]
async fn it_listens_on_a_unix_socket() {
    let upstream = Upstream::start();
    let toml = GATEWAY.replacen("127.0.0.1:0", "unix:@DIR@/admin.sock", 1);
    let gateway = builder(&toml, &upstream).start().await;
    let path = gateway.dir().join("admin.sock");
    let of = std::fs::metadata(&path).expect("it is there");
    assert!(of.file_type().is_socket());
    assert_eq!(of.permissions().mode() & 0o777, 0o660, "others on the machine can ask");
    let mut socket = UnixStream::connect(&path).await.expect("it listens");
    socket.write_all(b"GET /readyz HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n").await.expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("it answers and closes");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ready\n"), "{answer}");
    assert!(gateway.stop().await.success());
    assert!(!path.exists(), "the socket is left behind");
}

#[tokio::test]
async fn credentials_are_told_in_pages_that_fit_together() {
    let upstream = Upstream::start();
    let more: String = (0..25).map(|number| {
        let digest = key(&format!("more-{number}")).1;
        format!("\n[[consumers.acme.credentials]]\nuse = \"key-auth\"\nid = \"more/{number:02}\"\nsha256 = \"{digest}\"\n")
    }).collect();
    let gateway = builder(&format!("{GATEWAY}{more}"), &upstream).start().await;
    let status = gateway.status().await;
    assert_eq!(status["credentials"], 27, "{status:#}");
    let (mut at, mut ids, mut pages) = (Some("/status/credentials?limit=10".to_owned()), Vec::new(), 0);
    while let Some(target) = at {
        let page = gateway.ask_admin(&target).await.json();
        let list = page["credentials"].as_array().expect("a list").clone();
        ids.extend(list.iter().map(|one| one["id"].as_str().expect("an id").to_owned()));
        at = page["next"].as_str().map(str::to_owned);
        pages += 1;
    }
    assert!(pages == 3 && ids.len() == 27 && ids.is_sorted() && ids[0] == "acme-1", "{ids:?}");
    for wrong in ["?limit=0", "?limit=1001", "?after=x", "?id=acme-1", "?limit=1&limit=1"] {
        assert_eq!(gateway.ask_admin(&format!("/status/credentials{wrong}")).await.status, 400, "{wrong}");
    }
    // Old clients get the same, up to the end of the connection.
    let answer = raw(gateway.admin(), "GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
    let answer = String::from_utf8(answer).expect("text");
    assert!(
        answer.starts_with("HTTP/1.") && answer.trim_end().ends_with('}') && !answer.contains("chunked"),
        "{answer}"
    );
    let head = raw(gateway.admin(), "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    let head = String::from_utf8(head).expect("text");
    assert!(head.contains(" 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}
