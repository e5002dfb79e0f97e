//! `portcullis reload` and SIGHUP: what is taken, what is refused, and who is told.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixStream},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::{Client, Gateway, LIMIT, Systemd, Upstream, eventually, key};

const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.keys]
use = "key-auth"

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

[routes.steady]
paths = ["/steady"]
public = true
respond = { body = "steady\n" }
"#;

const EXTRA: &str = "\n[routes.extra]\npaths = [\"/extra\"]\npublic = true\nrespond = { status = 204 }\n";

/// The configuration with one thing different.
fn with(from: &str, to: &str) -> String {
    assert!(GATEWAY.contains(from), "{from}");
    GATEWAY.replace(from, to)
}

struct Scene {
    gateway: Gateway,
    upstream: Upstream,
    systemd: Systemd,
    key: String,
}

async fn start() -> Scene {
    start_with(GATEWAY).await
}

async fn start_with(toml: &str) -> Scene {
    let (key, sha256) = key("acme");
    let (upstream, systemd) = (Upstream::start(), Systemd::listen());
    let builder = Gateway::builder(toml).set("UPSTREAM", &upstream.address()).set("SHA256", &sha256);
    let gateway = builder.env("NOTIFY_SOCKET", systemd.address()).start().await;
    Scene { gateway, upstream, systemd, key }
}

impl Scene {
    /// Takes this file, by command, and gives back what the command printed.
    async fn take(&self, toml: &str) -> String {
        self.gateway.rewrite(toml);
        let reload = self.gateway.reload().await;
        assert_eq!((reload.code, reload.stderr.as_str()), (0, ""), "{reload:?}");
        reload.stdout
    }

    async fn status_of(&self, target: &str) -> u16 {
        Client::http1(self.gateway.address(0)).get(target).header("x-api-key", &self.key).send().await.status
    }

    async fn generation(&self) -> u64 {
        self.gateway.status().await["generation"].as_u64().expect("a number")
    }
}

#[tokio::test]
async fn the_command_says_what_was_added_changed_and_removed() {
    let scene = start().await;
    assert_eq!(scene.take(GATEWAY).await, "generation 2 serves, 2 routes\n");
    let without_steady = GATEWAY.split("[routes.steady]").next().expect("there is a first half");
    let changed = without_steady.replace("/orders/", "/purchases/") + EXTRA;
    assert_eq!(scene.take(&changed).await, "generation 3 serves, 2 routes\n+ extra\n~ orders\n- steady\n");
    let statuses = [scene.status_of("/extra").await, scene.status_of("/purchases/1").await];
    assert_eq!((statuses, scene.status_of("/steady").await), ([204, 200], 404));
}

#[tokio::test]
async fn a_route_has_changed_when_something_it_uses_has() {
    let scene = start().await;
    let second = format!("acme-1\"\nsha256 = \"{}\"\n\n[[consumers.acme.credentials]]\nuse = \"key-auth\"", key("b").1);
    let header = "use = \"key-auth\"\nheader = \"x-key\"\n\n[consumers";
    for (beside, different) in [
        ("", with("use = \"key-auth\"\n\n[consumers", header)),
        ("~ upstream app\n", with("[\"@UPSTREAM@\"]", "[{ address = \"@UPSTREAM@\", weight = 2 }]")),
        ("~ consumer acme\n", with("\"partners\"", "\"others\"")),
        ("+ credential acme-2\n~ credential acme-1\n", with("acme-1\"", &format!("{second}\nid = \"acme-2\""))),
    ] {
        let said = scene.take(&different).await;
        assert!(said.ends_with(&format!(" serves, 2 routes\n{beside}~ orders\n")), "{said:?} of {different}");
        assert!(scene.take(GATEWAY).await.ends_with("\n~ orders\n"));
    }
    // White space, comments and the order of tables say nothing.
    let (head, routes) = GATEWAY.split_once("[routes.orders]").expect("it is there");
    let (orders, steady) = routes.split_once("[routes.steady]").expect("it is there");
    let reordered = format!("# a comment\n{head}\n[routes.steady]{steady}\n\n[routes.orders]{orders}");
    assert!(scene.take(&reordered).await.ends_with(" serves, 2 routes\n"));
}

/// A change that no route says may be the one that matters most: who is believed about an address, and what is logged.
#[tokio::test]
async fn what_changed_beside_the_routes_is_named() {
    let scene = start().await;
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\n";
    let listener = "[[listeners]]\naddress = \"127.0.0.1:0\"\n";
    let token = scene.gateway.dir().join("token");
    let write_token = |text: &str| fs::write(&token, text).expect("our own directory");
    write_token("a token of the admin listener");
    let with_token = with(admin, &format!("{admin}token = {{ file = \"token\" }}\n"));
    let told = async |toml: &str| {
        let said = scene.take(toml).await;
        said.split_once('\n').expect("a line").1.to_owned()
    };
    for (different, expected) in [
        (GATEWAY.to_owned() + "[client_address]\ntrust = 1\n", "~ client_address\n"),
        (GATEWAY.to_owned() + "[client_address]\ntrust = 2\n", "~ client_address\n"),
        (GATEWAY.to_owned() + "[identity.headers]\nuser = \"x-user\"\n", "~ client_address\n~ identity\n"),
        (GATEWAY.to_owned() + "[audit]\nsample_successes = 0\n", "~ audit\n~ identity\n"),
        (GATEWAY.to_owned() + "[log]\naccess = false\n", "~ audit\n~ log\n"),
        (GATEWAY.to_owned(), "~ log\n"),
        (with_token.clone(), "~ admin\n"),
        (with_token.clone(), ""),
    ] {
        assert_eq!(told(&different).await, expected, "{different}");
    }
    write_token("another token of the admin listener");
    assert_eq!(told(&with_token).await, "~ admin\n");
    assert_eq!(told(GATEWAY).await, "~ admin\n");
    let behind_balancers = with(listener, &format!("{listener}proxy_protocol = [\"192.0.2.0/24\"]\n"));
    assert_eq!(told(&behind_balancers).await, "~ listeners[0].proxy_protocol\n");
    let with_unused = "\n[upstreams.spare]\ntargets = [\"127.0.0.1:9\"]\n\n[consumers.guest]\ngroups = [\"guests\"]\n";
    let told_of_unused = "~ listeners[0].proxy_protocol\n+ upstream spare\n+ consumer guest\n";
    scene.gateway.rewrite(&(GATEWAY.to_owned() + with_unused));
    let unused = scene.gateway.reload().await;
    assert!(unused.stdout.ends_with(told_of_unused), "{unused:?}");
    assert!(unused.stderr.ends_with("upstreams.spare: no route forwards to this\n"), "{unused:?}");
    assert_eq!(told(GATEWAY).await, "- upstream spare\n- consumer guest\n");
}

#[tokio::test]
async fn a_default_shows_on_the_routes_that_it_changes() {
    let own = with("paths = [\"/steady\"]", "paths = [\"/steady\"]\nmax_body_bytes = 5");
    let scene = start_with(&own).await;
    let said = scene.take(&(own.clone() + "[defaults]\nmax_body_bytes = 10\n")).await;
    assert_eq!(said, "generation 2 serves, 2 routes\n~ orders\n");
    let said = scene.take(&(own.clone() + "[defaults]\nmax_body_bytes = 104857600\n")).await;
    assert_eq!(said, "generation 3 serves, 2 routes\n~ orders\n");
    assert_eq!(scene.take(&own).await, "generation 4 serves, 2 routes\n", "it is what it would be anyway");

    let by_default = own.replace("auth = [\"keys\"]\n", "") + "[policies.others]\nuse = \"key-auth\"\n";
    let scoped = by_default.replace("sha256 =", "policies = \"any\"\nsha256 =");
    let with_defaults = |auth: &str| format!("{scoped}[defaults]\nauth = {auth}\n");
    let either = scene.take(&with_defaults("[\"keys\", \"others\"]")).await;
    assert!(either.ends_with("~ credential acme-1\n~ orders\n"), "{either}");
    let both = scene.take(&with_defaults("[[\"keys\", \"others\"]]")).await;
    assert_eq!(both, "generation 6 serves, 2 routes\n~ orders\n");
}

#[tokio::test]
async fn the_log_names_what_changed_also_after_sighup() {
    let scene = start().await;
    let changed = with("id = \"acme-1\"", "id = \"acme-2\"") + EXTRA + "[client_address]\ntrust = 1\n";
    scene.gateway.rewrite(&changed);
    scene.gateway.signal(libc::SIGHUP);
    let is_it = |line: &Value| line["event"] == "reload" && line["generation"] == 2;
    let line = scene.gateway.wait_line(is_it, LIMIT).await;
    let told = "~ client_address; + credential acme-2; - credential acme-1; + extra; ~ orders";
    assert_eq!(line["changes"], told, "{line}");
    assert_eq!((&line["added"], &line["changed"], &line["removed"]), (&1.into(), &1.into(), &0.into()), "{line}");
}

#[tokio::test]
async fn a_refused_file_changes_nothing_and_is_told_to_everyone() {
    let scene = start().await;
    assert_eq!(scene.systemd.next().await.value("STATUS"), Some("generation 1, 2 routes"));
    let loaded = "portcullis_config_last_reload_success_timestamp_seconds";
    let since = scene.gateway.metric(loaded).await;
    assert!(since > 1.7e9, "{since}");

    let bad = with("auth = [\"keys\"]", "auth = [\"kyes\"]").replace("status", "stauts") + EXTRA + "colour = 1\n";
    scene.gateway.rewrite(&bad);
    let reload = scene.gateway.reload().await;

    assert_eq!((reload.code, reload.stdout.as_str()), (2, ""), "{reload:?}");
    let file = scene.gateway.dir().join("portcullis.toml");
    for (field, wrong) in [("kyes", "auth = [\"kyes\"]"), ("colour", "colour = 1")] {
        let line = 1 + bad.lines().position(|line| line.contains(wrong)).expect("it is there");
        let place = format!("{}:{line}:", file.display());
        let said = reload.stderr.lines().any(|said| said.starts_with(&place) && said.contains(field));
        assert!(said, "no line {place} about {field}: {}", reload.stderr);
    }
    let last = "error: the configuration has 2 problems\nThe previous configuration is still in use.\n";
    assert!(reload.stderr.ends_with(last), "{}", reload.stderr);

    let is_refusal = |line: &Value| line["event"] == "reload" && line["level"] == "error";
    let line = scene.gateway.wait_line(is_refusal, LIMIT).await;
    assert_eq!((&line["problems"], &line["generation"]), (&2.into(), &1.into()));
    let errors = line["errors"].as_str().expect("text");
    assert!(errors.contains("kyes") && errors.contains("colour"), "{errors}");

    assert_eq!(scene.gateway.metric("portcullis_reloads_total{result=\"failure\"}").await, 1.0);
    assert_eq!(scene.gateway.metric("portcullis_reloads_total{result=\"success\"}").await, 1.0);
    assert_eq!(scene.gateway.metric("portcullis_config_generation").await, 1.0);
    assert_eq!(scene.gateway.metric(loaded).await, since);

    assert!(scene.systemd.next().await.says("RELOADING"));
    let told = scene.systemd.next().await;
    let status = told.value("STATUS").expect("a status");
    assert!(told.says("READY") && status.starts_with("generation 1, 2 routes; "), "{status}");
    assert!(status.contains("refused (2 problems)") && status.contains("kyes"), "{status}");

    assert_eq!((scene.status_of("/orders/1").await, scene.status_of("/extra").await), (200, 404));
    assert_eq!(scene.take(GATEWAY).await, "generation 2 serves, 2 routes\n");
    scene.systemd.next().await;
    assert_eq!(scene.systemd.next().await.value("STATUS"), Some("generation 2, 2 routes"));
}

#[tokio::test]
async fn sighup_with_a_bad_file_is_no_end() {
    let scene = start().await;
    scene.gateway.rewrite("this is no TOML = = =");
    scene.gateway.signal(libc::SIGHUP);
    scene.gateway.wait_line(|line| line["event"] == "reload" && line["level"] == "error", LIMIT).await;
    assert_eq!((scene.status_of("/orders/1").await, scene.generation().await), (200, 1));
    scene.gateway.rewrite(&(GATEWAY.to_owned() + EXTRA));
    scene.gateway.signal(libc::SIGHUP);
    eventually("the next file serves", async || scene.status_of("/extra").await == 204).await;
    assert_eq!(scene.generation().await, 2);
}

#[tokio::test]
async fn whatever_lies_in_the_place_of_the_file_the_old_one_serves() {
    let scene = start().await;
    let file = scene.gateway.dir().join("portcullis.toml");
    let refused = async |what: &str| {
        let reload = scene.gateway.reload().await;
        assert_eq!(reload.code, 2, "{what}: {reload:?}");
        assert!(reload.stderr.contains(&file.display().to_string()), "{what}: {reload:?}");
        assert_eq!((scene.status_of("/orders/1").await, scene.generation().await), (200, 1), "{what}");
    };
    for (what, bytes) in [
        ("nothing in it", &b""[..]),
        ("half a file", &GATEWAY.as_bytes()[..GATEWAY.len() / 2]),
        ("no UTF-8", b"\xff\xfe[routes]\n"),
        ("an include of what is not there", b"include = [\"none.toml\"]\n"),
    ] {
        fs::write(&file, bytes).expect("our own file");
        refused(what).await;
    }
    fs::remove_file(&file).expect("our own file");
    refused("no file").await;
    fs::create_dir(&file).expect("our own directory");
    refused("a directory").await;
    fs::remove_dir(&file).expect("our own directory");
    assert_eq!(scene.take(GATEWAY).await, "generation 2 serves, 2 routes\n");
}

#[tokio::test]
async fn requests_in_flight_end_by_the_route_they_began_with() {
    let scene = start().await;
    let client = Client::http1(scene.gateway.address(0));
    let (asking, body) = client.request("POST", "/orders/echo").header("x-api-key", &scene.key).streamed();
    assert!(body.send("one "));
    let mut answer = asking.open().await;
    assert_eq!(answer.next().await.expect("a piece").expect("a piece"), "one ");

    // The new file has another limit for bodies, and then no such route, upstream or credential any more.
    let elsewhere = Upstream::start();
    let other = with("@UPSTREAM@", &elsewhere.address().to_string());
    scene.take(&other.replace("upstream = \"app\"", "upstream = \"app\"\nmax_body_bytes = 4")).await;
    assert_eq!(scene.status_of("/orders/1").await, 200);
    assert_eq!((scene.upstream.requests(), elsewhere.requests()), (1, 1));
    assert!(body.send("two"));
    assert_eq!(answer.next().await.expect("a piece").expect("a piece"), "two");
    drop(body);
    assert!(answer.next().await.is_none());
    let line = scene.gateway.access(|line| line["method"] == "POST").await;
    assert_eq!((&line["route"], &line["status"]), (&"orders".into(), &200.into()));
    assert_eq!(line["target"], scene.upstream.address().to_string());
}

#[tokio::test]
async fn a_request_of_a_route_that_is_gone_still_gets_its_answer() {
    let scene = start().await;
    let client = Client::http1(scene.gateway.address(0));
    let asking = client.get("/orders/slow?ms=400").header("x-api-key", &scene.key);
    let reload = async {
        scene.upstream.wait_for(1).await;
        let gone = with("[routes.orders]", "[routes.later]").replace("/orders/", "/later/");
        assert!(scene.take(&gone).await.ends_with("+ later\n- orders\n"));
        assert_eq!(scene.status_of("/orders/1").await, 404);
    };
    let (answer, ()) = tokio::join!(asking.send(), reload);
    assert_eq!(answer.status, 200);
    let line = scene.gateway.access(|line| line["path"] == "/orders/slow").await;
    assert_eq!((&line["route"], &line["consumer"]), (&"orders".into(), &"acme".into()));
}

#[tokio::test]
async fn key_use_and_counters_outlive_a_reload() {
    let scene = start().await;
    let requests = "portcullis_requests_total{route=\"orders\",status_class=\"2xx\"}";
    let granted = "portcullis_authentications_total{policy=\"keys\",result=\"granted\",reason=\"none\"}";
    for number in 1..=3 {
        assert_eq!(scene.status_of("/orders/1").await, 200);
        // Another route, then the very policy, the very route and the credential itself.
        let other = with("steady\\n", &format!("steady {number}\\n"));
        let other =
            if number == 1 { other } else { other.replace("auth = [\"keys\"]", "auth = [\"keys\"]\nrealm = \"x\"") };
        let other =
            if number == 3 { other.replace("id = \"acme-1\"", "id = \"acme-1\"\nscopes = [\"a\"]") } else { other };
        scene.take(&other).await;
        // A refused one in between forgets nothing either.
        scene.gateway.rewrite("[routes]\n");
        assert_eq!(scene.gateway.reload().await.code, 2);
        assert_eq!(scene.gateway.credential("acme-1").await["uses"], number);
        let counted = async || [scene.gateway.metric(requests).await, scene.gateway.metric(granted).await];
        eventually("both are counted", async || counted().await == [f64::from(number); 2]).await;
    }
}

#[tokio::test]
async fn what_only_a_restart_can_change_is_refused_by_name() {
    let scene = start().await;
    let listener = "[[listeners]]\naddress = \"127.0.0.1:0\"";
    for (name, changed) in [
        ("listeners.address", with(listener, "[[listeners]]\naddress = \"127.0.0.1:1\"")),
        ("listeners.address", with(listener, &format!("{listener}\n\n{listener}"))),
        ("admin.listen", with("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:1\"")),
        ("admin.listen", with("[admin]\nlisten = \"127.0.0.1:0\"\n", "")),
        ("server", format!("[server]\nthreads = 7\n{GATEWAY}")),
        ("server", format!("[server]\ndrain_timeout = \"7s\"\n{GATEWAY}")),
        ("server", format!("[server]\ncontrol = \"@DIR@/other.sock\"\n{GATEWAY}")),
    ] {
        scene.gateway.rewrite(&(changed + EXTRA));
        // Asked by the socket that the gateway has, whatever the file says now.
        let socket = scene.gateway.dir().join("control.sock");
        let file = scene.gateway.dir().join("portcullis.toml");
        let arguments = ["reload".as_ref(), "-c".as_ref(), file.as_os_str(), "--socket".as_ref(), socket.as_os_str()];
        let reload = crate::harness::portcullis(&arguments, "").await;
        assert_eq!(reload.code, 2, "{reload:?}");
        assert!(reload.stderr.contains(&format!("`{name}`")) && reload.stderr.contains("restart"), "{reload:?}");
        assert_eq!((scene.status_of("/extra").await, scene.generation().await), (404, 1), "taken in part: {name}");
    }
    assert_eq!(scene.gateway.metric("portcullis_reloads_total{result=\"failure\"}").await, 7.0);
}

/// The command is about a file, and a gateway that serves another one says so rather than reloading its own.
#[tokio::test]
async fn the_command_does_not_reload_another_file() {
    let scene = start().await;
    let other = scene.gateway.dir().join("other.toml");
    fs::write(&other, GATEWAY).expect("the directory can be written to");
    let socket = scene.gateway.dir().join("control.sock");
    let arguments = ["reload".as_ref(), "-c".as_ref(), other.as_os_str(), "--socket".as_ref(), socket.as_os_str()];
    let reload = crate::harness::portcullis(&arguments, "").await;
    assert_eq!(reload.code, 2, "{reload:?}");
    assert!(reload.stderr.starts_with("error: the gateway serves `"), "{reload:?}");
    assert!(reload.stderr.contains("--config") && reload.stderr.contains("--socket"), "{reload:?}");
    assert!(!reload.stderr.contains(":1:1") && !reload.stderr.contains("1 problem"), "{reload:?}");
    assert_eq!(scene.generation().await, 1);
    // The same file by another way is the same file.
    let link = scene.gateway.dir().join("link.toml");
    symlink("portcullis.toml", &link).expect("a link in our own directory");
    let arguments = ["reload".as_ref(), "-c".as_ref(), link.as_os_str(), "--socket".as_ref(), socket.as_os_str()];
    assert_eq!(crate::harness::portcullis(&arguments, "").await.code, 0);
    assert_eq!(scene.generation().await, 2);
}

/// As the kubelet lays out a ConfigMap: a new version is a new directory, and one link that is changed in one step.
#[tokio::test]
async fn a_file_behind_links_that_are_swapped_is_the_file_it_was() {
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let file = dir.path().join("portcullis.toml");
    let publish = |version: &str, toml: &str| {
        let versions = dir.path().join(version);
        fs::create_dir(&versions).expect("a new directory");
        fs::write(versions.join("portcullis.toml"), toml).expect("a file in it");
        symlink(version, dir.path().join("new")).expect("a link");
        fs::rename(dir.path().join("new"), dir.path().join("..data")).expect("one step");
    };
    let socket = dir.path().join("control.sock").display().to_string();
    let toml = |body: &str| {
        let answer =
            format!("[routes.steady]\npaths = [\"/steady\"]\npublic = true\nrespond = {{ body = \"{body}\" }}\n");
        format!("[server]\ncontrol = \"{socket}\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n{answer}")
    };
    publish("v1", &toml("one"));
    symlink("..data/portcullis.toml", &file).expect("a link");
    let gateway = Gateway::builder("").configured_by(&file).start().await;
    let client = Client::http1(gateway.address(0));
    let says = async |body: &str| client.get("/steady").send().await.text() == body;
    assert!(says("one").await);

    publish("v2", &toml("two"));
    fs::remove_dir_all(dir.path().join("v1")).expect("the kubelet removes what is old");
    let reload = crate::harness::portcullis(&["reload".as_ref(), "-c".as_ref(), file.as_os_str()], "").await;
    assert_eq!((reload.code, reload.stderr.as_str()), (0, ""), "{reload:?}");
    assert!(says("two").await);

    publish("v3", &toml("three"));
    gateway.signal(libc::SIGHUP);
    eventually("the third version serves", async || says("three").await).await;
}

/// The gateway is found by its `control` even where the parser loses its way before that line.
#[tokio::test]
async fn the_command_finds_the_gateway_through_a_file_with_syntax_errors() {
    let own_place = format!("[server]\ncontrol = \"@DIR@/elsewhere.sock\"\n{GATEWAY}");
    let scene = start_with(&own_place).await;
    scene.gateway.rewrite(&format!("x = [\n{own_place}"));
    let reload = scene.gateway.reload().await;
    assert_eq!(reload.code, 2, "{reload:?}");
    assert!(reload.stderr.contains("portcullis.toml:"), "{reload:?}");
}

#[tokio::test]
async fn a_reload_takes_the_settings_of_the_log() {
    let quiet = GATEWAY.to_owned() + "[log]\naccess = false\nlevel = \"error\"\n";
    let scene = start_with(&quiet).await;
    assert_eq!(scene.status_of("/steady").await, 200);
    ask_for_nonsense(&scene.gateway).await;
    scene.take(&(GATEWAY.to_owned() + "[log]\nlevel = \"warn\"\n")).await;
    assert_eq!(scene.status_of("/orders/1").await, 200);
    ask_for_nonsense(&scene.gateway).await;
    scene.gateway.wait_line(|line| line["event"] == "log" && line["level"] == "warn", LIMIT).await;
    scene.gateway.access(|line| line["path"] == "/orders/1").await;
    scene.take(&quiet).await;
    ask_for_nonsense(&scene.gateway).await;
    scene.take(GATEWAY).await;
    let lines = scene.gateway.lines();
    assert!(!lines.iter().any(|line| line["path"] == "/steady"), "an access line in spite of `access = false`");
    assert_eq!(lines.iter().filter(|line| line["event"] == "log").count(), 1, "a warning in spite of `level`");
}

/// Makes the gateway warn.
async fn ask_for_nonsense(gateway: &Gateway) {
    use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::UnixStream};
    let mut socket = UnixStream::connect(gateway.dir().join("control.sock")).await.expect("it listens");
    socket.write_all(b"sing\n").await.expect("it listens");
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut answer)).await;
    assert!(closed.is_ok() && answer.is_empty(), "{answer:?}");
}

#[tokio::test]
async fn a_route_has_changed_when_a_file_that_its_policy_reads_has() {
    let signed = "\n[policies.signatures]\nuse = \"hmac\"\n\n[[consumers.acme.credentials]]\nuse = \"hmac\"\n\
                  id = \"acme-signing\"\nsecret = { file = \"signing.secret\" }\n\n[routes.signed]\n\
                  paths = [\"/signed\"]\nauth = [\"signatures\"]\nrespond = { body = \"ok\" }\n";
    let scene = start().await;
    let secret = scene.gateway.dir().join("signing.secret");
    fs::write(&secret, "one secret of no less than 32 bytes").expect("our own directory");
    let toml = GATEWAY.to_owned() + signed;
    assert_eq!(scene.take(&toml).await, "generation 2 serves, 3 routes\n+ credential acme-signing\n+ signed\n");
    assert_eq!(scene.take(&toml).await, "generation 3 serves, 3 routes\n");
    fs::write(&secret, "another secret of no less than 32 bytes").expect("our own file");
    let told = "generation 4 serves, 3 routes\n~ signed (policy signatures: a file or a secret it reads changed)\n";
    assert_eq!(scene.take(&toml).await, told);
    let is_it = |line: &Value| line["event"] == "reload" && line["generation"] == 4;
    let line = scene.gateway.wait_line(is_it, LIMIT).await;
    assert_eq!((&line["added"], &line["changed"]), (&0.into(), &1.into()), "{line}");
}

#[tokio::test]
async fn callers_of_the_control_socket_do_not_wait_for_each_other() {
    let scene = start().await;
    let socket = scene.gateway.dir().join("control.sock");
    // It has five seconds to say what it wants.
    let silent: Vec<_> = (0..3).map(|_| UnixStream::connect(&socket).expect("the gateway listens")).collect();
    let began = Instant::now();
    assert_eq!(scene.gateway.reload().await.code, 0);
    assert!(began.elapsed() < Duration::from_secs(4), "it waited for who says nothing: {:?}", began.elapsed());
    drop(silent);
}
