//! What holds for each hook.

use super::{GATEWAY, TICKET, page, porter, route, start, ticketed};
use crate::harness::{Client, WebSocket, eventually, key};

#[tokio::test]
async fn hooks_run_in_the_order_of_the_file_and_on_the_response_in_reverse() {
    for (plugins, order) in
        [("\"first\", \"second\"", ["first", "second"]), ("\"second\", \"first\"", ["second", "first"])]
    {
        let (gateway, upstream) = start(&route(plugins)).await;
        let client = Client::http1(gateway.address(0));
        let answer = ticketed(client.get("/app/1")).send().await;
        let [a, b] = order;
        assert_eq!(upstream.last().header("x-signed"), Some(format!("{a} {b}").as_str()));
        assert_eq!(answer.header("x-signed"), Some(format!("{b} {a}").as_str()));
        // Both would refuse: the first one does.
        let refused = ticketed(client.get("/app/1").header("user-agent", "Bad/1.0")).send().await;
        assert_eq!((refused.status, upstream.requests()), (403, 1));
        let event = gateway.audit(|event| event["reason"] == "agent_banned").await;
        assert_eq!(event["policy"], a);
    }
}

#[tokio::test]
async fn a_guard_refuses_before_it_is_known_who_calls() {
    let (gateway, upstream) = start(&route("\"first\"")).await;
    let client = Client::http1(gateway.address(0));
    for ticket in [TICKET, "wrong.ticket"] {
        let asking = client.get("/app/1").header("user-agent", "Worse/2.0").header("x-ticket", ticket);
        let refused = asking.send().await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (403, Some("forbidden")));
        assert!(!refused.text().contains("agent_banned"));
    }
    assert_eq!(upstream.requests(), 0);
    let line = gateway.access(|line| line["status"] == 403).await;
    assert_eq!((&line["reason"], line.get("consumer")), (&"agent_banned".into(), None));
    assert!(gateway.lines().iter().all(|line| line["event"] != "authentication"), "{}", gateway.output());
}

#[tokio::test]
async fn what_admit_reads_ahead_is_judged_and_forwarded_whole() {
    let (gateway, upstream) = start(&route(&porter("p", "word = \"please\""))).await;
    let client = Client::http1(gateway.address(0));
    let long = format!("{}please", "x".repeat(60_000));
    for body in ["please", long.as_str()] {
        let answer = ticketed(client.post("/app/1", body.to_owned())).send().await;
        let saw = upstream.last();
        assert_eq!((answer.status, saw.body == body.as_bytes(), saw.is_complete), (200, true, true));
        let (asking, feed) = ticketed(client.request("POST", "/app/1")).streamed();
        body.as_bytes().chunks(20_000).for_each(|piece| _ = feed.send(piece.to_vec()));
        drop(feed);
        assert_eq!((asking.send().await.status, upstream.last().body == body.as_bytes()), (200, true));
    }
    assert_eq!(upstream.requests(), 4);
    let refused = ticketed(client.post("/app/1", "now")).send().await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (403, Some("forbidden")));
    let event = gateway.audit(|event| event["reason"] == "word_missing").await;
    assert_eq!((&event["event"], &event["consumer"]), (&"authorization".into(), &"acme".into()));
    let too_long = "x".repeat(70_000);
    assert_eq!(ticketed(client.post("/app/1", too_long)).send().await.status, 413);
    assert_eq!(upstream.requests(), 4);
}

#[tokio::test]
async fn admit_is_asked_after_who_calls_is_known() {
    let (gateway, upstream) = start(&route(&porter("p", "word = \"please\""))).await;
    let client = Client::http1(gateway.address(0));
    assert_eq!(client.post("/app/1", "please").send().await.status, 401);
    assert_eq!(client.post("/app/1", "rude").header("x-ticket", "wrong.ticket").send().await.status, 401);
    assert_eq!(upstream.requests(), 0);
    let public = route(&porter("p", "word = \"please\"")).replace("auth = [\"tickets\"]", "public = true");
    gateway.rewrite(&format!("{GATEWAY}{public}"));
    let refused = gateway.reload().await;
    assert!(refused.code == 2 && refused.stderr.contains("needs to know who is calling"), "{refused:?}");
}

#[tokio::test]
async fn edit_request_sets_headers_and_asks_for_another_path_made_canonical() {
    let more = "token = { file = \"token.secret\" }, headers = { x-colour = \"red\" }, path = \"/%7Euser/a%2fb?x=%20\"";
    let (gateway, upstream) = start(&route(&porter("p", more))).await;
    let asking = ticketed(Client::http1(gateway.address(0)).get("/app/1")).header("x-colour", "blue").send().await;
    let saw = upstream.last();
    assert_eq!((asking.status, saw.target.as_str()), (200, "/~user/a%2Fb?x=%20"));
    assert_eq!((saw.all("x-colour"), saw.header("x-gateway-token")), (vec!["red"], Some("by the front door")));
    assert!(!gateway.output().contains("by the front door"));
    let line = gateway.access(|line| line["status"] == 200).await;
    assert_eq!(line["path"], "/app/1");
}

#[tokio::test]
async fn a_hook_that_fails_refuses_with_503() {
    for (more, why) in [
        ("headers = { x-user-id = \"root\" }", "x-user-id"),
        ("headers = { X_Consumer = \"root\" }", "x_consumer"),
        ("headers = { connection = \"close\" }", "connection"),
        ("headers = { content-length = \"0\" }", "content-length"),
        ("headers = { x-forwarded-for = \"10.0.0.1\" }", "x-forwarded-for"),
        ("headers = { x-request-id = \"1\" }", "x-request-id"),
        ("path = \"/app/../admin\"", ""),
        ("path = \"//admin\"", ""),
        ("path = \"admin\"", ""),
        ("path = \"/a;b\"", ""),
    ] {
        let (gateway, upstream) = start(&route(&porter("p", more))).await;
        let client = Client::http1(gateway.address(0));
        let refused = ticketed(client.post("/app/1", "hello")).send().await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("unavailable")), "{more}");
        assert_eq!(upstream.requests(), 0, "{more}");
        let line = gateway.access(|line| line["status"] == 503).await;
        assert_eq!(line["reason"], "plugin_failed");
        assert!(line["error"].as_str().is_some_and(|error| error.contains(why) && error.contains('p')), "{line}");
    }
}

#[tokio::test]
async fn a_body_filter_sees_every_piece_both_ways() {
    let (gateway, upstream) = start(&route(&porter("p", "mask = true"))).await;
    let client = Client::http1(gateway.address(0));
    let body: String = (0..100_000).map(|n| n.to_string() + ",").collect();
    let masked: String = body.chars().map(|c| if c.is_ascii_digit() { '*' } else { c }).collect();
    let answer = ticketed(client.request("PUT", "/app/echo").body(body.clone())).send().await;
    assert_eq!(answer.status, 200);
    assert!(upstream.last().body == masked.as_bytes() && answer.text() == masked);

    let (asking, feed) = ticketed(client.request("PUT", "/app/echo")).streamed();
    let mut answer = asking.open().await;
    for piece in ["card 4711", " and 0815"] {
        feed.send(piece);
        let got = answer.next().await.expect("a piece").expect("not cut off");
        assert_eq!(got, piece.chars().map(|c| if c.is_ascii_digit() { '*' } else { c }).collect::<String>());
    }
    drop(feed);
    assert!(answer.next().await.is_none());
    assert_eq!(upstream.last().body, b"card **** and ****");
    // What the upstream says about length is no longer sure to be so.
    let fixed = ticketed(client.get("/app/plain?n=12")).send().await;
    assert!(fixed.text().contains("n=**") && fixed.header("content-length").is_none(), "{fixed:?}");
}

#[tokio::test]
async fn a_body_filter_sees_nothing_of_a_websocket() {
    let (gateway, _upstream) = start(&route(&porter("p", "mask = true"))).await;
    let mut socket = WebSocket::open(gateway.address(0), "/app/chat", &[("x-ticket", TICKET)]).await.expect("let in");
    socket.send("card 4711").await;
    assert_eq!(socket.next().await.as_deref(), Some("card 4711"), "neither side's frames are a body");
}

#[tokio::test]
async fn a_body_filter_that_refuses_says_when_to_come_back() {
    let (gateway, _upstream) = start(&route(&porter("p", "mask = true"))).await;
    let refused = ticketed(Client::http1(gateway.address(0)).post("/app/1", "some spam")).send().await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("2")), "{}", refused.text());
    assert_eq!(refused.json()["code"], "too_many_requests");
}

#[tokio::test]
async fn observe_is_told_once_of_each_request_however_it_ended() {
    let (gateway, upstream) = start(&route("\"first\"")).await;
    let client = Client::http1(gateway.address(0));
    assert_eq!(ticketed(client.get("/app/status/204")).send().await.status, 204);
    assert_eq!(client.get("/app/1").send().await.status, 401);
    assert_eq!(ticketed(client.get("/app/1").header("user-agent", "Bad/1.0")).send().await.status, 403);
    let leaver = Client::http1(gateway.address(0));
    let held = ticketed(leaver.get("/app/held")).open().await;
    drop((held, leaver));
    upstream.finish();
    // The access line follows the hook.
    for (status, path) in [(204, "/app/status/204"), (401, "/app/1"), (403, "/app/1"), (200, "/app/held")] {
        gateway.access(|line| line["status"] == status && line["path"] == path).await;
    }
    assert!(page(&gateway)().await.ends_with("requests=4"));
    // Not of one that no route matched.
    assert_eq!(client.get("/elsewhere").send().await.status, 404);
    gateway.access(|line| line["status"] == 404).await;
    assert!(page(&gateway)().await.ends_with("requests=5"));
}

#[tokio::test]
async fn an_unchanged_policy_is_kept_over_a_reload_and_a_changed_one_is_built_anew() {
    let (gateway, _upstream) = start(&route("\"first\"")).await;
    let read = page(&gateway);
    let (kept, both) = ("built=2 begun=2 ended=0", format!("{GATEWAY}{}", route("\"first\"")));
    assert!(read().await.starts_with(kept), "two policies share the book");
    // Another route comes, and the policies stay.
    gateway.rewrite(&format!("{both}[routes.more]\npaths = [\"/more\"]\nrespond = {{}}\npublic = true\n"));
    assert_eq!(gateway.reload().await.code, 0);
    assert!(read().await.starts_with(kept));
    let before = read().await;

    // One is changed: the other's work goes on, and what is counted stays.
    gateway.rewrite(&both.replace("sign = \"second\"", "sign = \"third\""));
    assert_eq!(gateway.reload().await.code, 0);
    eventually("the old policy's work ends", async || read().await.starts_with("built=3 begun=3 ended=1")).await;
    let requests = |page: &str| page.rsplit('=').next().and_then(|count| count.parse::<usize>().ok()).expect("a count");
    assert!(requests(&read().await) > requests(&before));

    // A file that they read is changed, and the configuration is not.
    std::fs::write(gateway.dir().join("banned.txt"), "Curl/8.0\n").expect("a file of the test's own");
    assert_eq!(gateway.reload().await.code, 0);
    eventually("both are built anew", async || read().await.starts_with("built=5 begun=5 ended=3")).await;
    let client = Client::http1(gateway.address(0));
    assert_eq!(ticketed(client.get("/app/1").header("user-agent", "Curl/8.0")).send().await.status, 403);
    assert_eq!(ticketed(client.get("/app/1").header("user-agent", "Bad/1.0")).send().await.status, 200);

    // A policy that the file no longer has ends too.
    let without = both.replace(
        "[policies.second]\nuse = \"porter\"\nsign = \"second\"\nbook = \"hall\"\nbanned = \"banned.txt\"\n",
        "",
    );
    gateway.rewrite(&without);
    assert_eq!(gateway.reload().await.code, 0);
    eventually("its work ends", async || read().await.starts_with("built=5 begun=5 ended=4")).await;
}

#[tokio::test]
async fn background_work_of_a_configuration_that_is_refused_never_begins() {
    let (gateway, _upstream) = start(&route("\"first\"")).await;
    let read = page(&gateway);
    gateway.rewrite(
        &format!("{GATEWAY}{}nonsense = 1\n", route("\"first\"")).replace("sign = \"second\"", "sign = \"third\""),
    );
    assert_eq!(gateway.reload().await.code, 2);
    assert!(read().await.contains("begun=2 ended=0"), "{}", read().await);
}

#[tokio::test]
async fn only_an_absent_ticket_is_the_anonymous_consumer() {
    let (gateway, upstream) = start(&route("").replace("auth =", "anonymous = \"guest\"\nauth =")).await;
    let client = Client::http1(gateway.address(0));
    assert_eq!(client.get("/app/1").header("x-consumer", "acme").send().await.status, 200);
    let saw = upstream.last();
    assert_eq!((saw.header("x-consumer"), saw.header("x-auth-method")), (Some("guest"), Some("anonymous")));
    assert_eq!((client.get("/app/1").header("x-ticket", "a.b").send().await.status, upstream.requests()), (401, 1));
    assert_eq!(ticketed(client.get("/app/1")).send().await.status, 200);
    assert_eq!(upstream.last().header("x-consumer"), Some("acme"));
}

#[tokio::test]
async fn alternatives_take_a_ticket_or_a_key() {
    let (gateway, upstream) = start(&route("").replace("[\"tickets\"]", "[\"tickets\", \"keys\"]")).await;
    let client = Client::http1(gateway.address(0));
    let [(acme, _), (other, _)] = ["acme", "other"].map(key);
    let refused = client.get("/app/1").send().await;
    let challenges: Vec<_> = refused.headers.get_all("www-authenticate").iter().collect();
    assert_eq!((refused.status, challenges.len()), (401, 2), "one challenge for each alternative");
    for (ticket, key, consumer) in [
        (Some(TICKET), None, "acme"),
        (None, Some(&other), "other"),
        (Some("wrong.ticket"), Some(&other), "other"),
        (Some(TICKET), Some(&acme), "acme"),
    ] {
        let asking = ticket.into_iter().fold(client.get("/app/1"), |asking, ticket| asking.header("x-ticket", ticket));
        let asking = key.into_iter().fold(asking, |asking, key| asking.header("x-api-key", key));
        assert_eq!(asking.send().await.status, 200, "{ticket:?} {key:?}");
        let saw = upstream.last();
        assert_eq!(saw.header("x-consumer"), Some(consumer));
        assert_eq!(
            (saw.header("x-ticket"), saw.header("x-api-key")),
            (None, None),
            "whichever granted, both are hidden"
        );
    }
}

#[tokio::test]
async fn all_of_takes_a_ticket_and_a_key_of_one_consumer() {
    let (gateway, upstream) = start(&route("").replace("[\"tickets\"]", "[[\"tickets\", \"keys\"]]")).await;
    let client = Client::http1(gateway.address(0));
    let [(acme, _), (other, _)] = ["acme", "other"].map(key);
    assert_eq!(ticketed(client.get("/app/1")).send().await.status, 401);
    assert_eq!(client.get("/app/1").header("x-api-key", &acme).send().await.status, 401);
    assert_eq!(ticketed(client.get("/app/1")).header("x-api-key", &other).send().await.status, 403);
    gateway.audit(|event| event["reason"] == "identity_conflict").await;
    assert_eq!(upstream.requests(), 0);
    assert_eq!(ticketed(client.get("/app/1")).header("x-api-key", &acme).send().await.status, 200);
    let saw = upstream.last();
    assert_eq!((saw.header("x-consumer"), saw.header("x-auth-method")), (Some("acme"), Some("ticket+key-auth")));
    assert_eq!(saw.header("x-credential-id"), Some("acme-ticket,acme-key"));
}

#[tokio::test]
async fn default_plugins_come_first_and_a_route_may_go_without() {
    let defaults = "[defaults]\nplugins = [\"first\"]\n";
    let more = "[routes.free]\npaths = [\"/free\"]\nupstream = \"app\"\npublic = true\nwithout = [\"first\"]\n";
    let (gateway, upstream) = start(&format!("{defaults}{}{more}", route("\"second\""))).await;
    let client = Client::http1(gateway.address(0));
    assert_eq!(ticketed(client.get("/app/1")).send().await.header("x-signed"), Some("second first"));
    assert_eq!(upstream.last().header("x-signed"), Some("first second"));
    assert_eq!(client.get("/free").header("user-agent", "Bad/1.0").send().await.header("x-signed"), None);
    assert_eq!(upstream.last().header("x-signed"), None);

    let misspelt = more.replace("[\"first\"]", "[\"fist\"]");
    let no_default = more.replace("[\"first\"]", "[\"second\"]");
    for (wrong, parts) in [
        (route("\"first\""), ["routes.app.plugins[0]", "defaults.plugins"]),
        (misspelt, ["routes.free.without", "first"]),
        (no_default, ["routes.free.without", "second"]),
    ] {
        gateway.rewrite(&format!("{GATEWAY}{defaults}{wrong}"));
        let refused = gateway.reload().await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(parts.iter().all(|part| refused.stderr.contains(part)), "{parts:?}: {refused:?}");
    }
}
