//! What plugins are lent beside the request: headers of their own, counters, a store, time before publishing, the
//! target as it came, what stands in the path. The witness is `badge`, which tells the upstream what it saw.

use std::time::Instant;

use super::{GATEWAY, TICKET, program, ticketed};
use crate::harness::{Asking, Client, Gateway, GatewayBuilder, Recorded, Upstream, eventually, key, program as run};

const BADGES: &str = "[policies.badges]\nuse = \"badge\"\n\n";
const ROUTES: &str = r#"
[routes.app]
paths = ["/app/{tenant}/orders", "/app/{tenant}/{*rest}", "/other/{*rest}"]
upstream = "app"
auth = ["badges"]

[routes.free]
paths = ["/free/{*rest}"]
upstream = "app"
public = true
"#;

fn builder(upstream: &Upstream, toml: &str) -> GatewayBuilder {
    let builder = Gateway::builder(toml).program(program()).set("UPSTREAM", &upstream.address());
    let builder = builder.set("SHA256", &key("acme").1).set("OTHER", &key("other").1);
    builder.file("acme.secret", "open sesame\n").file("banned.txt", "Bad/1.0\n")
}

/// A gateway with the policy `badges` and the routes.
async fn start() -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let gateway = builder(&upstream, &format!("{GATEWAY}{BADGES}{ROUTES}")).start().await;
    (gateway, upstream)
}

fn badged(asking: Asking<'_>) -> Asking<'_> {
    asking.header("x-badge", "alice")
}

/// What the upstream saw of a request that the gateway let through.
async fn saw(upstream: &Upstream, asking: Asking<'_>) -> Recorded {
    let answer = asking.send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    upstream.last()
}

#[tokio::test]
async fn a_denial_has_the_status_that_it_asks_for() {
    let (gateway, upstream) = start().await;
    let client = Client::http1(gateway.address(0));
    for (badge, status, code, reason) in [
        ("forged", 401, "unauthenticated", "badge_forged"),
        ("endless", 411, "length_required", "body_length_unknown"),
        ("heavy", 413, "body_too_large", "body_too_large"),
        ("tired", 429, "too_many_requests", "too_many_attempts"),
    ] {
        let refused = client.get("/app/a/b").header("x-badge", badge).send().await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (status, Some(code)), "{badge}");
        assert_eq!(refused.header("retry-after"), (status == 429).then_some("3"), "{badge}");
        assert_eq!(refused.header("www-authenticate").is_some(), status == 401, "{badge}");
        gateway.audit(|event| event["reason"] == reason && event["result"] == "denied").await;
    }
    assert_eq!(upstream.requests(), 0);
}

/// Says three times in the place of the gateway what only it may say.
fn forged(asking: Asking<'_>) -> Asking<'_> {
    ["x-plan", "X_Plan", "x.plan"].into_iter().fold(asking, |asking, name| asking.header(name, "platinum"))
}

#[tokio::test]
async fn headers_that_a_policy_fills_are_nobody_elses() {
    let (gateway, upstream) = start().await;
    let client = Client::http1(gateway.address(0));
    let all = |saw: &Recorded| -> Vec<(String, String)> {
        saw.headers.iter().filter(|(name, _)| name.replace(['_', '.'], "-") == "x-plan").cloned().collect()
    };
    let gold = [("x-plan".to_owned(), "gold".to_owned())];
    assert_eq!(all(&saw(&upstream, forged(badged(client.get("/app/a/b")))).await), gold);
    let plain = client.get("/app/a/b").header("x-badge", "plain");
    assert_eq!(all(&saw(&upstream, forged(plain)).await), [], "absent is absent");
    assert_eq!(all(&saw(&upstream, forged(client.get("/free/1"))).await), [], "on every route");
    let connection = badged(client.get("/app/a/b")).header("connection", "close, x-plan");
    assert_eq!(all(&saw(&upstream, connection).await), gold, "set behind hop-by-hop removal");
}

#[tokio::test]
async fn headers_that_a_policy_fills_count_towards_the_limit_of_the_identity() {
    let upstream = Upstream::start();
    let toml = format!("[identity]\nmax_bytes = 80\n{GATEWAY}{BADGES}{ROUTES}");
    let gateway = builder(&upstream, &toml).start().await;
    let client = Client::http1(gateway.address(0));
    // x-user-id, x-client-id, x-auth-method and their values; then the plan.
    let fits = "plain";
    assert_eq!(client.get("/app/a/b").header("x-badge", fits).send().await.status, 200);
    let longer = "a".repeat(80 - "x-user-idx-client-iduse-1x-auth-methodbadge".len());
    assert_eq!(client.get("/app/a/b").header("x-badge", &longer).send().await.status, 403);
    gateway.audit(|event| event["reason"] == "identity_too_large").await;
}

#[tokio::test]
async fn a_policy_that_fills_a_managed_header_is_refused_with_its_place() {
    let upstream = Upstream::start();
    for name in ["X-User-ID", "x-request-id", "Content-Length", "X-Forwarded-For", "Authorization", "Cookie"] {
        let badges = format!("{BADGES}plan_header = \"{name}\"\n").replace("\n\nplan", "\nplan");
        let (code, said) = builder(&upstream, &format!("{GATEWAY}{badges}{ROUTES}")).fails().await;
        assert_eq!(code, 2);
        assert!(said.contains("policies.badges") && said.contains(&name.to_ascii_lowercase()), "{name}: {said}");
    }
}

#[tokio::test]
async fn the_target_is_shown_as_it_came_and_as_it_was_matched() {
    let (gateway, upstream) = start().await;
    let client = Client::http1(gateway.address(0));
    for (sent, matched) in [
        ("/app/a/b?x=%2f&y", "/app/a/b?x=%2f&y"),
        ("/app/%61/b%7e?x=%61", "/app/a/b~?x=%61"),
        ("/app/a/caf%c3%a9", "/app/a/caf%C3%A9"),
    ] {
        let saw = saw(&upstream, badged(client.get(sent))).await;
        assert_eq!((saw.target.as_str(), saw.header("badge-target")), (matched, Some(sent)));
    }
    let http2 = builder(&upstream, &format!("{GATEWAY}{BADGES}{ROUTES}")).listener("h2c = true").start().await;
    let saw = saw(&upstream, badged(Client::http2(http2.address(0)).get("/app/%61/b?q"))).await;
    assert_eq!((saw.target.as_str(), saw.header("badge-target")), ("/app/a/b?q", Some("/app/%61/b?q")));
    let absolute = "GET http://h/app/%61/b?q HTTP/1.1\r\nHost: h\r\nX-Badge: a\r\nConnection: close\r\n\r\n";
    crate::harness::raw(gateway.address(0), absolute).await;
    assert_eq!(upstream.last().header("badge-target"), Some("/app/%61/b?q"), "in origin form");
}

#[tokio::test]
async fn what_stands_at_the_parameters_of_the_path_is_shown() {
    let (gateway, upstream) = start().await;
    let client = Client::http1(gateway.address(0));
    for (path, tenant, rest) in [
        ("/app/acme/orders", "acme", "(none)"),
        ("/app/acme/items/7", "acme", "items/7"),
        ("/app/a%2Cb/x", "a%2Cb", "x"),
        ("/app/%61cme/", "acme", ""),
        ("/other/a/b", "(none)", "a/b"),
    ] {
        let saw = saw(&upstream, badged(client.get(path))).await;
        let shown = (saw.header("badge-tenant"), saw.header("badge-rest"));
        assert_eq!(shown, (Some(tenant), Some(rest)), "{path}");
    }
}

#[tokio::test]
async fn https_is_what_a_trusted_hop_says() {
    let (gateway, upstream) = start().await;
    let said = |client: Client| {
        let upstream = &upstream;
        async move {
            let asking = badged(client.get("/app/a/b")).header("x-forwarded-proto", "https");
            saw(upstream, asking).await.header("badge-https").map(str::to_owned)
        }
    };
    assert_eq!(said(Client::http1(gateway.address(0))).await.as_deref(), Some("false"));
    let trusting = format!("[client_address]\ntrust = [\"127.0.0.0/8\"]\n{GATEWAY}{BADGES}{ROUTES}");
    let trusting = builder(&upstream, &trusting).start().await;
    assert_eq!(said(Client::http1(trusting.address(0))).await.as_deref(), Some("true"));
}

#[tokio::test]
async fn counters_and_the_store_outlive_a_reload() {
    let (gateway, upstream) = start().await;
    let client = Client::http1(gateway.address(0));
    let uses = async || saw(&upstream, badged(client.get("/app/a/b"))).await.header("x-client-id").map(str::to_owned);
    let shown = async || gateway.metric("badges_shown_total{policy=\"badges\"}").await;
    assert_eq!((uses().await.as_deref(), shown().await), (Some("use-1"), 1.0));
    let changed =
        format!("{GATEWAY}{BADGES}{ROUTES}").replace("use = \"badge\"", "use = \"badge\"\nplan_header = \"x-tier\"");
    gateway.rewrite(&changed);
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!((uses().await.as_deref(), shown().await), (Some("use-2"), 2.0));
    assert_eq!(upstream.last().header("x-tier"), Some("gold"), "it was built anew");

    // A policy of another name counts for itself, and the metric of a policy that is no more is gone.
    gateway.rewrite(&changed.replace("badges", "others"));
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!(uses().await.as_deref(), Some("use-1"));
    assert!(!gateway.ask_admin("/metrics").await.text().contains("policy=\"badges\""));
}

#[tokio::test]
async fn a_counter_of_the_engines_name_refuses_the_configuration() {
    let (gateway, _upstream) = start().await;
    gateway
        .rewrite(&format!("{GATEWAY}{BADGES}{ROUTES}").replace("use = \"badge\"", "use = \"badge\"\ncounter = \"x\""));
    let refused = gateway.reload().await;
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("policies.badges") && refused.stderr.contains("portcullis_connections"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn work_before_publishing_is_finished_when_the_first_request_comes_and_done_once() {
    let upstream = Upstream::start();
    let inline = "\n[routes.inline]\npaths = [\"/inline\"]\nupstream = \"app\"\nauth = [{ use = \"badge\", ready_after_ms = 100 }]\n";
    let slow = BADGES.replace("use = \"badge\"", "use = \"badge\"\nready_after_ms = 300");
    let toml = format!("{GATEWAY}{slow}{ROUTES}{inline}");
    let gateway = builder(&upstream, &toml).start().await;
    let client = Client::http1(gateway.address(0));
    let state = async |path: &str| {
        let saw = saw(&upstream, badged(client.get(path))).await;
        [saw.header("badge-ready"), saw.header("badge-begun")].map(|value| value.map(str::to_owned).expect("told"))
    };
    for path in ["/app/a/b", "/inline"] {
        assert_eq!(state(path).await, ["true", "1"], "{path}");
    }
    // A policy that is kept has done it.
    gateway.rewrite(&format!("{toml}\n[routes.more]\npaths = [\"/more\"]\nrespond = {{}}\npublic = true\n"));
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!(state("/app/a/b").await, ["true", "1"]);
    // One that is changed does it again, before it serves.
    gateway.rewrite(&toml.replace("ready_after_ms = 300", "ready_after_ms = 301"));
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!(state("/app/a/b").await, ["true", "2"]);
    // One of a configuration that is refused does not.
    gateway.rewrite(
        &toml.replace("ready_after_ms = 300", "ready_after_ms = 302").replace("[server]", "[server]\nthreads = 7"),
    );
    assert_eq!(gateway.reload().await.code, 2);
    gateway.rewrite(&toml.replace("ready_after_ms = 300", "ready_after_ms = 301"));
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!(state("/app/a/b").await, ["true", "2"]);
}

#[tokio::test]
async fn work_before_publishing_has_five_seconds() {
    let (gateway, upstream) = start().await;
    let endless =
        format!("{GATEWAY}{BADGES}{ROUTES}").replace("use = \"badge\"", "use = \"badge\"\nready_after_ms = 60000");
    gateway.rewrite(&endless);
    let began = Instant::now();
    assert_eq!(gateway.reload().await.code, 0);
    let took = began.elapsed().as_secs_f64();
    assert!((5.0..8.0).contains(&took), "{took}");
    let client = Client::http1(gateway.address(0));
    assert_eq!(saw(&upstream, badged(client.get("/app/a/b"))).await.header("badge-ready"), Some("false"));
    eventually("it is told", async || gateway.output().contains("`badges` was not ready")).await;
    // `check` asks nobody, and waits for nobody.
    let config = gateway.dir().join("portcullis.toml").display().to_string();
    let began = Instant::now();
    assert_eq!(run(program(), &["check", "-c", &config], "").await.code, 0);
    assert!(began.elapsed().as_secs() < 5);
}

#[tokio::test]
async fn a_body_that_proves_the_head_wrong_is_401_and_nobodys() {
    let (gateway, upstream) = start().await;
    let client = Client::http1(gateway.address(0));
    let signed = |length: &str| badged(client.post("/app/a/b", "hello")).header("x-badge-length", length);
    assert_eq!(saw(&upstream, signed("5")).await.body, b"hello");
    let refused = signed("6").send().await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (401, Some("unauthenticated")));
    assert_eq!(refused.header("www-authenticate"), Some("Badge realm=\"app\", shown=\"true\""));
    let event = gateway.audit(|event| event["reason"] == "digest_mismatch").await;
    assert_eq!((event["result"].as_str(), event["policy"].as_str()), (Some("denied"), Some("badges")));
    let counted = "portcullis_authentications_total{policy=\"badges\",result=\"denied\",reason=\"digest_mismatch\"}";
    assert_eq!(gateway.metric(counted).await, 1.0);
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn who_did_not_grant_has_no_say_about_the_body() {
    let upstream = Upstream::start();
    let toml = format!("{GATEWAY}{BADGES}{ROUTES}");
    let gateway =
        builder(&upstream, &toml.replace("auth = [\"badges\"]", "auth = [\"badges\", \"tickets\"]")).start().await;
    let client = Client::http1(gateway.address(0));
    let both =
        |badge: &str| ticketed(client.post("/app/a/b", "hello")).header("x-badge", badge).header("x-badge-length", "6");
    let saw = saw(&upstream, both("forged")).await;
    assert_eq!((saw.header("x-consumer"), saw.body.as_slice()), (Some("acme"), &b"hello"[..]), "{TICKET}");
    assert_eq!(both("alice").send().await.status, 401, "who granted has");
    // Also where the gateway answers by itself.
    let answers = toml.replace("upstream = \"app\"\nauth", "respond = { status = 204 }\nauth");
    let gateway = builder(&upstream, &answers).start().await;
    let client = Client::http1(gateway.address(0));
    let asking = |length: &str| badged(client.post("/app/a/b", "hello")).header("x-badge-length", length);
    assert_eq!((asking("5").send().await.status, asking("6").send().await.status), (204, 401));
}

#[tokio::test]
async fn a_restriction_may_say_what_would_be_enough_to_who_proved_it_that_way() {
    let upstream = Upstream::start();
    let porter = |scheme: &str| format!("plugins = [{}]\n", super::porter("p", &format!("wants = \"{scheme}\"")));
    let routes = ROUTES.replace("auth = [\"badges\"]\n", "auth = [\"badges\", \"tickets\"]\n@PLUGINS@");
    for (scheme, badge, ticket) in [
        ("badge", Some("badge realm=\"app\", error=\"insufficient_scope\""), None),
        ("Ticket", None, Some("Ticket realm=\"app\", error=\"insufficient_scope\"")),
        ("Bearer", None, None),
    ] {
        let toml = format!("{GATEWAY}{BADGES}{}", routes.replace("@PLUGINS@", &porter(scheme)));
        let gateway = builder(&upstream, &toml).start().await;
        let client = Client::http1(gateway.address(0));
        for (asking, told) in [(badged(client.get("/app/a/b")), badge), (ticketed(client.get("/app/a/b")), ticket)] {
            let refused = asking.send().await;
            assert_eq!((refused.status, refused.header("www-authenticate")), (403, told), "{scheme}");
        }
        gateway.audit(|event| event["reason"] == "scope_missing").await;
    }
    assert_eq!(upstream.requests(), 0);
}
