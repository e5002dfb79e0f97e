//! Plugins that answer by themselves, add to whatever response ends the request, and keep data with it.

use super::program;
use crate::harness::{Asking, Client, Gateway, Raw, Recorded, Reply, Response, Upstream, eventually, key};

const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[upstreams.app]
targets = ["@UPSTREAM@"]

[upstreams.gone]
targets = ["127.0.0.1:1"]

[policies.keys]
use = "key-auth"

[policies.people]
use = "login"
page = "https://login.example/start?to="
secret = { file = "cookie.secret" }

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-key"
sha256 = "@SHA256@"

[consumers.guest]

"#;

const COOKIE: &str = "session=alice.open sesame";
const RENEWED: &str = "session=alice.open sesame; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600";
const REMOVED: &str = "session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0";

fn reply(asked: &Recorded) -> Reply {
    let status = asked.target.rsplit('/').next().and_then(|status| status.parse().ok()).filter(|status| *status >= 200);
    let reply = Reply::new(status.unwrap_or(200)).header("set-cookie", "upstream=1").header("set-cookie", "upstream=2");
    let reply = if asked.target.contains("planted") {
        let planted = ["session=planted; Path=/", " session = planted", "=session=planted", "session", "sessions=1"];
        planted.into_iter().fold(reply, |reply, cookie| reply.header("set-cookie", cookie))
    } else {
        reply
    };
    if asked.target.contains("stored") { reply.header("cache-control", "max-age=60") } else { reply }
}

async fn start(routes: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::with(reply);
    let builder = Gateway::builder(&format!("{GATEWAY}{routes}")).program(program());
    let builder = builder.set("UPSTREAM", &upstream.address()).set("SHA256", &key("acme").1);
    (builder.file("cookie.secret", "open sesame\n").start().await, upstream)
}

fn route(name: &str, more: &str) -> String {
    let upstream = if more.contains("upstream") || more.contains("respond") { "" } else { "upstream = \"app\"\n" };
    format!("[routes.{name}]\npaths = [\"/{name}/{{*rest}}\"]\n{upstream}{more}\n")
}

/// Routes for people, and for people and programs.
async fn logins() -> (Gateway, Upstream) {
    let routes = [
        route("app", "auth = [\"people\"]"),
        route("both", "auth = [\"people\", \"keys\"]"),
        route("all", "auth = [{ all = [\"people\", \"keys\"], speaker = \"people\" }]"),
        route("guests", "auth = [\"people\"]\nanonymous = \"guest\""),
        route("gone", "auth = [\"people\"]\nupstream = \"gone\""),
        route("fixed", "auth = [\"people\"]\nrespond = { status = 200, body = \"hello\" }"),
        route(
            "few",
            "auth = [\"people\"]\nplugins = [{ use = \"consumer-restriction\", allow = [{ groups = [\"few\"] }] }]",
        ),
    ];
    start(&routes.join("\n")).await
}

fn clients(gateway: &Gateway) -> [Client; 2] {
    [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))]
}

/// As a browser shows a page.
fn shown(asking: Asking<'_>) -> Asking<'_> {
    asking.header("sec-fetch-mode", "navigate").header("sec-fetch-dest", "document").header("accept", "text/html,*/*")
}

fn cookies(response: &Response) -> Vec<&str> {
    response.headers.get_all("set-cookie").iter().map(|value| value.to_str().expect("text")).collect()
}

#[tokio::test]
async fn whoever_navigates_without_a_session_is_sent_to_log_in() {
    let (gateway, upstream) = logins().await;
    for client in clients(&gateway) {
        let sent = shown(client.get("/app/orders?a=b")).send().await;
        assert_eq!((sent.status, sent.header("location")), (302, Some("https://login.example/start?to=/app/orders")));
        assert_eq!((sent.header("cache-control"), sent.body.len()), (Some("no-store"), 0));
        assert_eq!((sent.header("www-authenticate"), cookies(&sent)), (None, vec![]));
        assert_eq!(sent.header("vary"), Some("Cookie"), "its own `edit_response` saw it");
        let id = sent.header("x-request-id").expect("an id").to_owned();
        let line = gateway.access(|line| line["request_id"] == id.as_str()).await;
        assert_eq!((&line["status"], &line["reason"]), (&302.into(), &"login_needed".into()));
        let event = gateway.audit(|event| event["request_id"] == id.as_str()).await;
        assert_eq!((&event["reason"], &event["policy"]), (&"login_needed".into(), &"people".into()));
        // One connection serves on.
        let script = client.get("/both/orders").send().await;
        assert_eq!(
            (script.status, script.json()["login_url"].as_str()),
            (401, Some("https://login.example/start?to=/both/orders"))
        );
        assert_eq!(script.header("content-type"), Some("application/json"));
        let schemes: Vec<_> = script.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(schemes.len(), 2, "a 401 says what is taken: {schemes:?}");
        let head = client.request("HEAD", "/app/orders").send().await;
        assert_eq!((head.status, head.body.len()), (401, 0));
    }
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn a_wrong_key_and_an_all_of_are_not_sent_to_log_in() {
    let (gateway, _upstream) = logins().await;
    let client = Client::http1(gateway.address(0));
    let wrong = shown(client.get("/both/1")).header("x-api-key", "wrong").send().await;
    assert_eq!((wrong.status, wrong.json()["code"].as_str()), (401, Some("unauthenticated")));
    let good = shown(client.get("/both/1")).header("x-api-key", &key("acme").0).send().await;
    assert_eq!((good.status, cookies(&good)), (200, vec!["upstream=1", "upstream=2"]));
    assert_eq!(shown(client.get("/guests/1")).send().await.status, 200);
    for asking in [shown(client.get("/all/1")), shown(client.get("/all/1")).header("cookie", COOKIE)] {
        let refused = asking.send().await;
        assert_eq!((refused.status, cookies(&refused)), (401, vec![]), "nothing is told about half of it");
    }
    let both = client.get("/all/1").header("cookie", COOKIE).header("x-api-key", &key("acme").0).send().await;
    assert_eq!((both.status, cookies(&both)), (200, vec!["upstream=1", "upstream=2", RENEWED]));
}

#[tokio::test]
async fn a_renewed_cookie_goes_on_whatever_answer_ends_the_request_beside_the_upstreams() {
    let (gateway, upstream) = logins().await;
    for client in clients(&gateway) {
        for (target, status, own) in [
            ("/app/200", 200, false),
            ("/app/304", 304, false),
            ("/app/204", 204, false),
            ("/app/500", 500, false),
            ("/fixed/1", 200, true),
            ("/few/1", 403, true),
            ("/gone/1", 502, true),
        ] {
            let answer = client.get(target).header("cookie", COOKIE).send().await;
            let mut expected = if own { vec![] } else { vec!["upstream=1", "upstream=2"] };
            expected.push(RENEWED);
            assert_eq!((answer.status, cookies(&answer)), (status, expected), "{target}");
            let cached = if own && status != 200 { "no-store" } else { "private, no-cache" };
            assert_eq!(answer.header("cache-control"), Some(cached), "{target}");
        }
        let stored = client.get("/app/stored").header("cookie", COOKIE).send().await;
        assert_eq!(stored.header("cache-control"), Some("max-age=60"), "the upstream has said something");
        assert_eq!(upstream.last().header("cookie"), None, "it never sees the session");
    }
    let mut raw = Raw::open(gateway.address(0)).await;
    raw.send(format!(
        "GET /app/ws HTTP/1.1\r\nHost: a\r\nCookie: {COOKIE}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ))
    .await;
    let head = raw.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101") && head.to_lowercase().contains(&RENEWED.to_lowercase()), "{head}");
}

#[tokio::test]
async fn no_upstream_gets_the_cookie_of_a_policy_and_all_others_stay() {
    let routes = [
        route("app", "auth = [\"people\"]"),
        route("keys", "auth = [\"keys\"]"),
        route("open", "public = true"),
        route("echo", "public = true\nupstream = \"app\""),
    ];
    let (gateway, upstream) = start(&routes.join("\n")).await;
    let cases: [(&[&str], Option<&str>); 9] = [
        (&[COOKIE], None),
        (&["session"], None),
        (&["a=1; session=alice.open sesame; b=\"x y\""], Some("a=1; b=\"x y\"")),
        (&["session=x;a=1 ; Session=2;session=y"], Some("a=1 ; Session=2")),
        (&["a=1;  session = x ;b=2"], Some("a=1;b=2")),
        (&["a=session=1; xsession=2; sessionx=3"], Some("a=session=1; xsession=2; sessionx=3")),
        (&["session=\"a.b\"; $Version=1"], Some("$Version=1")),
        (&["  a=1 ;; ,b"], Some("a=1 ;; ,b")),
        (&["a=1", "session=alice.open sesame", "b=2"], Some("a=1; b=2")),
    ];
    for client in clients(&gateway) {
        for target in ["/open/1", "/keys/1", "/echo/1"] {
            for (lines, expected) in cases {
                let asking = client.get(target).header("x-api-key", &key("acme").0);
                let asking = lines.iter().fold(asking, |asking, line| asking.header("cookie", line));
                assert_eq!(asking.send().await.status, 200, "{target}: {lines:?}");
                // Lines that stay apart over HTTP/1 are one over HTTP/2 (RFC 9113 section 8.2.3).
                let seen = upstream.last().all("cookie").join("; ");
                assert_eq!((!seen.is_empty()).then_some(seen.as_str()), expected, "{target}: {lines:?}");
            }
        }
        assert_eq!(client.get("/app/1").header("cookie", &format!("a=1; {COOKIE}")).send().await.status, 200);
        assert_eq!(upstream.last().header("cookie"), Some("a=1"));
    }
}

#[tokio::test]
async fn an_upstream_sets_no_cookie_of_a_policy() {
    let routes = [route("app", "auth = [\"people\"]"), route("open", "public = true")];
    let (gateway, _upstream) = start(&routes.join("\n")).await;
    for client in clients(&gateway) {
        let open = client.get("/open/planted").send().await;
        assert_eq!(cookies(&open), ["upstream=1", "upstream=2", "sessions=1"]);
        let own = client.get("/app/planted").header("cookie", COOKIE).send().await;
        assert_eq!(cookies(&own), ["upstream=1", "upstream=2", "sessions=1", RENEWED], "the policy sets its own");
    }
}

#[tokio::test]
async fn a_cookie_that_does_not_open_is_none_and_is_removed() {
    let (gateway, _upstream) = logins().await;
    let client = Client::http1(gateway.address(0));
    let sent = shown(client.get("/app/1")).header("cookie", "session=alice.guess").send().await;
    assert_eq!((sent.status, cookies(&sent)), (302, vec![REMOVED]));
    let let_in = client.get("/both/1").header("cookie", "session=.").header("x-api-key", &key("acme").0).send().await;
    assert_eq!((let_in.status, cookies(&let_in)), (200, vec!["upstream=1", "upstream=2", REMOVED]));
}

#[tokio::test]
async fn guards_and_restrictions_answer_by_themselves() {
    let answerer = |hook: &str, status: u16, more: &str| {
        format!(
            "auth = [\"keys\"]\nplugins = [{{ use = \"answerer\", id = \"a\", hook = \"{hook}\", status = {status}{more} }}]"
        )
    };
    let routes = [
        route("page", &answerer("guard", 200, ", headers = { cache-control = \"max-age=5\", set-cookie = \"a=b\" }")),
        route("admit", &answerer("admit", 303, ", headers = { location = \"/elsewhere\" }")),
        route("empty", &answerer("guard", 204, "")),
        route("gone", &answerer("guard", 410, "")),
    ];
    let (gateway, upstream) = start(&routes.join("\n")).await;
    for client in clients(&gateway) {
        let page = client.get("/page/1").send().await;
        assert_eq!((page.status, page.text().as_str()), (200, "<p>Answered.</p>"));
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(
            (page.header("cache-control"), cookies(&page)),
            (Some("max-age=5"), vec!["a=b"]),
            "it says otherwise"
        );
        assert!(page.header("x-request-id").is_some());
        let head = client.request("HEAD", "/page/1").send().await;
        assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, Some("16")));
        assert_eq!(client.get("/admit/1").send().await.status, 401, "it is asked when it is known who calls");
        let admitted = client.get("/admit/1").header("x-api-key", &key("acme").0).send().await;
        assert_eq!((admitted.status, admitted.header("location")), (303, Some("/elsewhere")));
        let empty = client.get("/empty/1").send().await;
        assert_eq!((empty.status, empty.header("content-length"), empty.body.len()), (204, None, 0));
        assert_eq!(client.get("/gone/1").send().await.status, 410);
    }
    let grpc =
        Client::http2(gateway.address(0)).post("/gone/1", "").header("content-type", "application/grpc").send().await;
    assert_eq!((grpc.status, grpc.header("grpc-status"), grpc.body.len()), (200, Some("7"), 0), "{grpc:?}");
    assert_eq!(upstream.requests(), 0);
    let line = gateway.access(|line| line["status"] == 303).await;
    assert_eq!((&line["reason"], &line["consumer"]), (&"answered".into(), &"acme".into()));
    let events = || gateway.lines().into_iter().filter(|line| line["event"] == "authorization");
    gateway.audit(|event| event["reason"] == "answered" && event["route"] == "gone").await;
    assert!(events().all(|event| event["route"] != "page" && event["route"] != "empty"), "{}", gateway.output());
    assert!(events().any(|event| event["route"] == "admit" && event["consumer"] == "acme"));
}

#[tokio::test]
async fn what_the_gateway_says_for_itself_is_an_error_of_the_configuration() {
    for name in ["content-length", "connection", "transfer-encoding", "x-request-id", "strict-transport-security"] {
        for answers in [", status = 200", ""] {
            let plugins = format!(
                "{{ use = \"answerer\", id = \"a\", hook = \"guard\", headers = {{ {name} = \"1\" }}{answers} }}"
            );
            let upstream = Upstream::start();
            let toml = format!("{GATEWAY}{}", route("app", &format!("auth = [\"keys\"]\nplugins = [{plugins}]")));
            let builder = Gateway::builder(&toml).program(program()).file("cookie.secret", "open sesame\n");
            let (code, said) = builder.set("UPSTREAM", &upstream.address()).set("SHA256", &key("acme").1).fails().await;
            assert!(code == 2 && said.contains(&format!("`{name}` is set by the gateway alone")), "{said}");
        }
    }
}

#[tokio::test]
async fn headers_of_a_limit_reach_known_callers_alone_where_it_says_so() {
    let limit = "use = \"answerer\", hook = \"guard\", headers = { ratelimit = \"r=1\" }";
    let routes = [
        route("every", &format!("auth = [\"people\", \"keys\"]\nplugins = [{{ {limit}, id = \"a\" }}]")),
        route(
            "known",
            &format!("auth = [\"people\", \"keys\"]\nplugins = [{{ {limit}, id = \"a\", for_known = true }}]"),
        ),
        route(
            "over",
            &format!("auth = [\"keys\"]\nplugins = [{{ {limit}, id = \"a\", refuses = true, for_known = true }}]"),
        ),
    ];
    let (gateway, _upstream) = start(&routes.join("\n")).await;
    for client in clients(&gateway) {
        let limited = async |asking: Asking<'_>| {
            let answer = asking.send().await;
            (answer.status, answer.header("ratelimit").is_some())
        };
        let known = |path| client.get(path).header("x-api-key", &key("acme").0);
        for (path, anyone) in [("/every/1", true), ("/known/1", false)] {
            assert_eq!(limited(known(path)).await, (200, true));
            assert_eq!(limited(client.get(path).header("x-api-key", "wrong")).await, (401, anyone));
            assert_eq!(limited(shown(client.get(path))).await, (302, anyone));
        }
        assert_eq!(limited(client.get("/over/1")).await, (429, true), "its own refusal");
    }
}

#[tokio::test]
async fn edit_response_sees_the_gateways_own_answers_and_does_not_change_what_they_are() {
    let edits = |more: &str| {
        let plugin = format!("{{ use = \"answerer\", id = \"a\", hook = \"guard\", edits = {more} }}");
        format!("auth = [\"keys\"]\nplugins = [{plugin}]")
    };
    let routes = [
        route("own", &edits("\"x-edited\", edits_own = true")),
        route("others", &edits("\"x-edited\"")),
        route("hardening", &edits("\"cache-control\", edits_own = true")),
        route("challenge", &edits("\"www-authenticate\", edits_own = true")),
        route("away", &format!("{}\nupstream = \"gone\"", edits("\"x-edited\", edits_own = true"))),
    ];
    let (gateway, _upstream) = start(&routes.join("\n")).await;
    for client in clients(&gateway) {
        for (target, edited) in
            [("/own/1", true), ("/others/1", false), ("/hardening/1", false), ("/challenge/1", false)]
        {
            let refused = client.get(target).send().await;
            assert_eq!((refused.status, refused.header("x-edited").is_some()), (401, edited), "{target}");
            assert_eq!(refused.header("cache-control"), Some("no-store"), "{target}");
            assert!(refused.header("www-authenticate").is_some_and(|told| told.starts_with("ApiKey")), "{target}");
        }
        let away = client.get("/away/1").header("x-api-key", &key("acme").0).send().await;
        assert_eq!((away.status, away.header("x-edited")), (502, Some("edited")));
        let upstreams = client.get("/others/1").header("x-api-key", &key("acme").0).send().await;
        assert_eq!((upstreams.status, upstreams.header("x-edited")), (418, Some("edited")), "as ever");
    }
    let unknown = Client::http1(gateway.address(0)).get("/nowhere").send().await;
    assert_eq!((unknown.status, unknown.header("x-edited")), (404, None), "no route, no plugin");
}

#[tokio::test]
async fn data_is_seen_by_later_hooks_and_dropped_however_the_request_ends() {
    let keeping = |more: &str| {
        format!("auth = [\"keys\"]\nplugins = [{{ use = \"answerer\", id = \"a\", hook = \"guard\" }}, {more}]")
    };
    let routes = [
        route("ends", &keeping("{ use = \"answerer\", id = \"b\", hook = \"guard\" }")),
        route("panics", &keeping("{ use = \"faulty\", id = \"f\", hook = \"guard\" }")),
        route(
            "late",
            &keeping("{ use = \"faulty\", id = \"f\", hook = \"guard\", sleeps = \"120s\", hook_timeout = \"100ms\" }"),
        ),
        route("left", &keeping("{ use = \"faulty\", id = \"f\", hook = \"guard\", sleeps = \"120s\" }")),
        route("wrong", &keeping("{ use = \"answerer\", id = \"b\", hook = \"guard\", drop_panics = true }")),
    ];
    let (gateway, _upstream) = start(&routes.join("\n")).await;
    let count = async |policy: &str, event: &str| {
        gateway.metric(&format!("portcullis_answerer_data_total{{policy=\"{policy}\",event=\"{event}\"}}")).await
    };
    let client = Client::http1(gateway.address(0));
    let known = |path| client.get(path).header("x-api-key", &key("acme").0);
    assert_eq!(known("/ends/1").send().await.status, 200);
    assert_eq!(known("/panics/1").send().await.status, 500);
    assert_eq!(known("/late/1").send().await.status, 503);
    assert_eq!(known("/wrong/1").send().await.status, 200);
    let mut left = Raw::open(gateway.address(0)).await;
    left.send("GET /left/1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("it waits", async || count("left/a", "kept").await == 1.0).await;
    drop(left);
    for policy in ["ends/a", "ends/b", "panics/a", "late/a", "left/a", "wrong/a", "wrong/b"] {
        eventually(policy, async || count(policy, "dropped").await == 1.0).await;
        assert_eq!(count(policy, "observed").await, 1.0, "{policy}");
    }
    // A destructor that panics harms nobody else.
    assert_eq!(known("/ends/1").send().await.status, 200);
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn an_answer_of_a_plugin_is_hardened_as_every_other() {
    let plugins = "plugins = [{ use = \"answerer\", id = \"a\", hook = \"guard\", status = 200 }]";
    let routes = [
        "[client_address]\ntrust = [\"127.0.0.0/8\"]\n".to_owned(),
        route("page", &format!("public = true\nhsts = \"max-age=5\"\n{plugins}")),
        route("app", "auth = [\"people\"]\nhsts = \"max-age=5\""),
    ];
    let (gateway, _upstream) = start(&routes.join("\n")).await;
    for client in clients(&gateway) {
        for asking in [client.get("/page/1"), shown(client.get("/app/1"))] {
            let answer = asking.header("x-forwarded-proto", "https").send().await;
            assert_eq!(answer.header("strict-transport-security"), Some("max-age=5"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert!(answer.header("x-request-id").is_some());
        }
    }
}

#[tokio::test]
async fn what_a_body_proves_wrong_takes_the_headers_of_its_grant_with_it() {
    let answerer = |hook: &str| {
        format!("{{ use = \"answerer\", id = \"{hook}\", hook = \"{hook}\", headers = {{ {hook} = \"1\" }} }}")
    };
    let plugins = format!("plugins = [{}, {}]", answerer("guard"), answerer("admit"));
    let (gateway, upstream) =
        start(&route("app", &format!("auth = [{{ use = \"badge\", id = \"b\" }}]\n{plugins}"))).await;
    let client = Client::http1(gateway.address(0));
    let asking =
        |length: &str| client.post("/app/1", "hello").header("x-badge", "alice").header("x-badge-length", length);
    let seen = |answer: &Response| (answer.status, answer.header("guard").is_some(), answer.header("admit").is_some());
    assert_eq!(seen(&asking("5").send().await), (200, true, true));
    assert_eq!(seen(&asking("6").send().await), (401, true, false));
    assert_eq!(upstream.requests(), 1);
}
