//! The hook that runs once for a request that was let through, before an upstream is connected.

use super::{GATEWAY, TICKET, porter, program, route, start, ticketed};
use crate::harness::{Client, Gateway, RawUpstream, Upstream, WebSocket, key, within};

async fn exchanges(gateway: &Gateway) -> f64 {
    gateway.metric("portcullis_escort_exchanges_total").await
}

#[tokio::test]
async fn each_request_brings_what_was_waited_for() {
    let (gateway, upstream) = start(&route("{ use = \"escort\", id = \"e\" }")).await;
    for client in [0, 1].map(|_| Client::http1(gateway.address(0))) {
        // What a client says of its own does not stay.
        let answer = ticketed(client.get("/app/1").header("x-service-token", "mine")).send().await;
        let id = upstream.last().header("x-request-id").expect("an id").to_owned();
        assert_eq!(answer.status, 200);
        assert_eq!(upstream.last().all("x-service-token"), [format!("acme-{id}")]);
    }
    assert_eq!(exchanges(&gateway).await, 2.0);
}

#[tokio::test]
async fn nothing_is_prepared_for_a_request_that_is_refused() {
    // The porter refuses by the body, which it reads in `admit`.
    let plugins = format!("{{ use = \"escort\", id = \"e\" }}, {}", porter("p", "word = \"please\""));
    let (gateway, upstream) = start(&route(&plugins)).await;
    let client = Client::http1(gateway.address(0));
    assert_eq!(client.get("/app/1").header("x-ticket", "wrong.ticket").send().await.status, 401);
    assert_eq!(ticketed(client.post("/app/1", "now")).send().await.status, 403);
    assert_eq!((exchanges(&gateway).await, upstream.requests()), (0.0, 0));
    assert_eq!(ticketed(client.post("/app/1", "please")).send().await.status, 200);
    assert_eq!((exchanges(&gateway).await, upstream.last().body.as_slice()), (1.0, &b"please"[..]));
}

#[tokio::test]
async fn a_preparation_may_refuse() {
    let (gateway, upstream) = start(&route("{ use = \"escort\", id = \"e\", banned = \"acme\" }")).await;
    let client = Client::http1(gateway.address(0));
    let refused = ticketed(client.get("/app/1")).send().await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (403, Some("forbidden")));
    let event = gateway.audit(|event| event["reason"] == "no_token").await;
    assert_eq!((&event["event"], &event["consumer"]), (&"authorization".into(), &"acme".into()));
    assert_eq!(event["policy"], "app/e");
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn a_public_route_prepares_for_nobody() {
    let routes = "[routes.open]\npaths = [\"/open/{*rest}\"]\nupstream = \"app\"\npublic = true\n\
                  plugins = [{ use = \"escort\", id = \"e\" }]\n";
    let (gateway, upstream) = start(routes).await;
    assert_eq!(Client::http1(gateway.address(0)).get("/open/1").send().await.status, 200);
    let seen = upstream.last();
    assert!(seen.header("x-service-token").is_some_and(|token| token.starts_with("nobody-")), "{seen:?}");
}

#[tokio::test]
async fn it_is_done_once_however_often_the_request_is_tried() {
    // The first target takes the request and closes: what is safe to repeat goes to the second.
    let (broken, good) = (RawUpstream::closing_after(0, ""), Upstream::start());
    let toml = format!("{GATEWAY}{}", route("{ use = \"escort\", id = \"e\" }"));
    let both = format!("{}\", \"{}", broken.address(), good.address());
    let builder = Gateway::builder(&toml).program(program()).set("UPSTREAM", &both).set("SHA256", &key("acme").1);
    let builder = builder.set("OTHER", &key("other").1).file("acme.secret", "open sesame\n");
    let gateway = builder.file("banned.txt", "Bad/1.0\n").file("token.secret", "by the door\n").start().await;
    let client = Client::http1(gateway.address(0));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(ticketed(client.get("/app/1")).send().await.status);
    }
    let is_token = |seen: Option<&str>| seen.is_some_and(|token| token.starts_with("acme-"));
    assert!(good.requests() > 0 && is_token(good.last().header("x-service-token")), "{statuses:?}");
    assert_eq!(exchanges(&gateway).await, 4.0, "{statuses:?}");
}

#[tokio::test]
async fn a_stream_ends_when_its_preparation_is_another() {
    let (gateway, _upstream) = start(&route("{ use = \"escort\", id = \"e\" }")).await;
    let opened = WebSocket::open(gateway.address(0), "/app/chat", &[("x-ticket", TICKET)]).await;
    let mut socket = opened.unwrap_or_else(|refused| panic!("refused: {refused:?}"));
    gateway.rewrite(&gateway.configuration().replace("id = \"e\"", "id = \"e\", banned = \"other\""));
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!(within("the end of the stream", socket.next()).await, None);
    assert_eq!(gateway.audit(|event| event["event"] == "stream_ended").await["reason"], "policy_changed");
}
