//! The first scenarios: a route that wants a key, its upstream, and a reload. If one of these fails, begin here.

use std::time::Duration;

use crate::harness::{Client, Gateway, LIMIT, Upstream, eventually, key, portcullis, raw};

const GATEWAY: &str = r#"
[server]
control = "@DIR@/control.sock"

[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.keys]
use = "key-auth"
header = "x-api-key"

[consumers.acme]
groups = ["partners"]

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-1"
sha256 = "@SHA256@"

[routes.orders]
paths = ["/orders/{*rest}"]
upstream = "app"
auth = ["keys"]

[routes.echo]
paths = ["/echo"]
respond = { echo = true }
auth = ["keys"]
"#;

/// The gateway of this file, its upstream, and the key that opens it.
async fn start() -> (Gateway, Upstream, String) {
    let (key, sha256) = key("acme");
    let upstream = Upstream::start();
    let gateway = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).set("SHA256", &sha256).start().await;
    (gateway, upstream, key)
}

#[tokio::test]
async fn without_a_key_the_answer_is_401_with_a_challenge_and_the_upstream_hears_nothing() {
    let (gateway, upstream, _) = start().await;
    let answer = Client::http1(gateway.address(0)).get("/orders/1").send().await;
    assert_eq!(answer.status, 401);
    let challenge = answer.header("www-authenticate").expect("RFC 9110 section 11.6.1: a 401 carries a challenge");
    assert!(challenge.starts_with("ApiKey realm=") && challenge.contains("x-api-key"), "{challenge}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.json()["status"], 401);
    assert_eq!(upstream.requests(), 0);
    gateway.access(|line| line["status"] == 401 && line["route"] == "orders").await;
}

#[tokio::test]
async fn a_wrong_key_is_401_and_is_written_nowhere() {
    let (gateway, upstream, _) = start().await;
    let (wrong, _) = key("nobody");
    let answer = Client::http1(gateway.address(0)).get("/orders/1?q=planted").header("x-api-key", &wrong).send().await;
    assert_eq!((answer.status, upstream.requests()), (401, 0));
    assert!(!answer.text().contains("key_unknown"), "the answer says what was wrong: {}", answer.text());
    let event = gateway.audit(|event| event["reason"] == "key_unknown").await;
    assert_eq!((&event["route"], &event["path"]), (&"orders".into(), &"/orders/1".into()));
    gateway.access(|line| line["status"] == 401 && line["request_id"] == event["request_id"]).await;
    assert!(!gateway.output().contains(&wrong) && !gateway.output().contains("planted"), "{}", gateway.output());
}

#[tokio::test]
async fn with_the_key_the_upstream_learns_who_calls_and_not_the_key() {
    let (gateway, upstream, key) = start().await;
    for client in [Client::http1(gateway.address(0)), Client::http1(gateway.address(0))] {
        let answer = client.get("/orders/1?x=1").header("x-api-key", &key).header("x-consumer", "root").send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let saw = upstream.last();
        assert_eq!((saw.target.as_str(), saw.header("x-consumer")), ("/orders/1?x=1", Some("acme")));
        assert_eq!(saw.header("x-api-key"), None);
    }
}

#[tokio::test]
async fn echo_shows_what_an_upstream_would_get() {
    let (gateway, upstream, key) = start().await;
    let answer = Client::http1(gateway.address(0)).get("/echo").header("x-api-key", &key).send().await;
    assert_eq!((answer.status, upstream.requests()), (200, 0));
    assert!(answer.text().contains("acme") && !answer.text().contains(&key), "{}", answer.text());
}

#[tokio::test]
async fn a_request_without_host_is_400() {
    let (gateway, upstream, key) = start().await;
    let request = format!("GET /orders/1 HTTP/1.1\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8(raw(gateway.address(0), request).await).expect("text");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn a_reload_command_waits_until_the_new_route_serves() {
    let (gateway, _upstream, key) = start().await;
    gateway.rewrite(&GATEWAY.replace("/orders/", "/purchases/"));
    let reload = gateway.reload().await;
    assert_eq!(reload.code, 0, "{reload:?}");
    let client = Client::http1(gateway.address(0));
    let (old, new) = (client.get("/orders/1"), client.get("/purchases/1"));
    assert_eq!(old.header("x-api-key", &key).send().await.status, 404);
    assert_eq!(new.header("x-api-key", &key).send().await.status, 200);
}

#[tokio::test]
async fn sighup_changes_a_route() {
    let (gateway, _upstream, key) = start().await;
    let client = Client::http1(gateway.address(0));
    assert_eq!(client.get("/purchases/1").header("x-api-key", &key).send().await.status, 404);
    gateway.rewrite(&GATEWAY.replace("/orders/", "/purchases/"));
    gateway.signal(libc::SIGHUP);
    let serves = async || client.get("/purchases/1").header("x-api-key", &key).send().await.status == 200;
    eventually("the new route serves", serves).await;
}

#[tokio::test]
async fn a_reload_with_a_bad_file_leaves_the_old_one_serving() {
    let (gateway, _upstream, key) = start().await;
    gateway.rewrite(&GATEWAY.replace("auth = [\"keys\"]", "auth = [\"kyes\"]"));
    let reload = gateway.reload().await;
    assert_ne!(reload.code, 0);
    assert!(reload.stderr.contains("kyes"), "{reload:?}");
    let answer = Client::http1(gateway.address(0)).get("/orders/1").header("x-api-key", &key).send().await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_misspelt_policy_refuses_the_start() {
    let (code, errors) = Gateway::fails(&GATEWAY.replace("auth = [\"keys\"]", "auth = [\"kyes\"]")).await;
    assert_ne!(code, 0);
    assert!(errors.contains("kyes"), "{errors}");
}

#[tokio::test]
async fn a_file_beside_the_configuration_is_included() {
    let route = "[routes.more]\npaths = [\"/more\"]\nrespond = { status = 204 }\npublic = true\n";
    let toml = "include = [\"conf.d/*.toml\"]\n\n[admin]\nlisten = \"127.0.0.1:0\"\n\n[[listeners]]\naddress = \"127.0.0.1:0\"\n";
    let gateway = Gateway::builder(toml).file("conf.d/more.toml", route).env("PORTCULLIS_UNUSED", "1").start().await;
    assert!(gateway.dir().join("conf.d/more.toml").is_file());
    assert_eq!(Client::http1(gateway.address(0)).get("/more").send().await.status, 204);
}

#[tokio::test]
async fn an_idle_gateway_stops_at_once() {
    let (gateway, _upstream, _) = start().await;
    assert_ne!(gateway.admin(), gateway.address(0));
    let ready = gateway.wait_line(|line| line["event"] == "ready", LIMIT).await;
    assert!(gateway.lines().contains(&ready));
    let began = std::time::Instant::now();
    let status = gateway.stop().await;
    assert!(status.success() && began.elapsed() < Duration::from_secs(5), "{status} after {:?}", began.elapsed());
}

#[tokio::test]
async fn the_other_subcommands_run_to_their_end() {
    let keys = portcullis(&["key", "new", "--consumer", "acme"], "").await;
    assert_eq!(keys.code, 0, "{keys:?}");
    assert!(keys.stdout.contains("sha256"), "{keys:?}");
    let none = portcullis(&["no-such-command"], "").await;
    assert!(none.code != 0 && !none.stderr.is_empty(), "{none:?}");
}

#[tokio::test]
async fn two_hangups_at_once_do_not_end_it() {
    let gateway = Gateway::start(&GATEWAY.replace("@UPSTREAM@", "127.0.0.1:9").replace("@SHA256@", &key("x").1)).await;
    gateway.signal(libc::SIGHUP);
    gateway.signal(libc::SIGHUP);
    assert!(gateway.stop().await.success());
}
