//! Heads that are larger than they look, and answers of the gateway's own that their client leaves where they are.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header::COOKIE};
use serde_json::Value;

use super::{
    GATEWAY,
    peers::{Connection, read},
};
use crate::harness::{Gateway, within};

async fn start(settings: &[&str]) -> Gateway {
    let builder = Gateway::builder(GATEWAY).set("UPSTREAM", "127.0.0.1:1");
    settings.iter().fold(builder, |builder, line| builder.server(line)).start().await
}

/// So many lines of one name, each with so long a value.
fn fields(name: &HeaderName, lines: usize, bytes: usize) -> HeaderMap {
    let value = HeaderValue::try_from("x".repeat(bytes)).expect("a value");
    let mut fields = HeaderMap::new();
    (0..lines).for_each(|_| _ = fields.append(name, value.clone()));
    fields
}

#[tokio::test]
async fn heads_are_limited_as_over_http1() {
    let gateway = start(&[]).await;
    let client = Connection::open(gateway.address(0)).await;
    let a = HeaderName::from_static("a");
    for (lines, bytes, name, why) in [
        (99, 0, &a, None),
        (100, 0, &a, Some("head of too many lines")),
        (900, 0, &a, Some("head of too many lines")),
        (1, 32_000, &a, None),
        (1, 33 << 10, &a, Some("head of too many bytes")),
        (400, 20, &COOKIE, None),
    ] {
        let answer = client.ask_with("/quick", fields(name, lines, bytes)).await.expect("a stream");
        let answer = within("an answer", answer).await.expect("an answer");
        let status = if why.is_some() { 431 } else { 200 };
        assert_eq!(answer.status(), status, "{lines} lines of {bytes} bytes");
        if let Some(why) = why {
            let mut body = answer.into_body();
            let problem = within("a body", body.data()).await.expect("a body").expect("a body");
            let problem: Value = serde_json::from_slice(&problem).expect("problem JSON");
            assert_eq!(problem["code"], "head_too_large");
            let line = gateway.access(|line| line["request_id"] == problem["request_id"]).await;
            assert_eq!((&line["status"], &line["error"]), (&431.into(), &why.into()));
        }
    }
    // These `h2` answers by itself.
    for (lines, bytes) in [(1, 40 << 10), (1500, 0)] {
        let answer = client.ask_with("/quick", fields(&a, lines, bytes)).await.expect("a stream");
        let answer = within("an answer", answer).await.expect("an answer");
        assert_eq!((answer.status().as_u16(), answer.body().is_end_stream()), (431, true));
    }
    assert!(client.is_alive().await);
}

#[tokio::test]
async fn a_small_answer_of_the_gateway_s_own_that_nobody_takes_is_given_up_soon() {
    let gateway = start(&["write_timeout = \"1h\""]).await;
    let client = Connection::with_windows(gateway.address(0), 0, 65_535).await;
    let mut answers = Vec::new();
    for (path, status) in [("/nowhere", 404), ("/quick", 200)].repeat(10) {
        let answer = within("a head", client.ask(path).await.expect("a stream")).await.expect("a head");
        assert_eq!(answer.status(), status);
        answers.push(answer);
    }
    for answer in answers {
        let ended = within("an end", read(&mut answer.into_body())).await;
        assert!(ended.is_err_and(|error| error.is_reset()), "it is not whole");
    }
    for status in [404, 200] {
        gateway.access(|line| line["status"] == status && line["error"] == "client: WriteTimedout").await;
    }
}

#[tokio::test]
async fn a_large_answer_of_a_route_s_own_may_be_taken_slowly() {
    const BYTES: usize = 40_000;
    let large = format!(
        "[routes.large]\npaths = [\"/large\"]\npublic = true\nrespond = {{ body = \"{}\" }}\n",
        "x".repeat(BYTES)
    );
    let gateway = Gateway::builder(&format!("{GATEWAY}\n{large}")).set("UPSTREAM", "127.0.0.1:1").start().await;
    let client = Connection::with_windows(gateway.address(0), 10_000, 65_535).await;
    let answer = within("a head", client.ask("/large").await.expect("a stream")).await.expect("a head");
    // Longer than a small one is given.
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(within("all of it", read(&mut answer.into_body())).await.ok(), Some(BYTES));
}

#[tokio::test]
async fn connections_on_which_only_refusals_wait_make_room() {
    let settings = ["max_connections = 20", "max_connections_per_address = 20", "write_timeout = \"1h\""];
    let gateway = start(&settings).await;
    let mut waiting = Vec::new();
    // Two less than there may be: from here on one closes for each that comes.
    for _ in 0..18 {
        let client = Connection::with_windows(gateway.address(0), 0, 65_535).await;
        let answer = within("a head", client.ask("/nowhere").await.expect("a stream")).await.expect("a head");
        assert_eq!(answer.status(), 404);
        waiting.push((client, answer));
    }
    let other = Connection::open(gateway.address(0)).await;
    assert!(other.is_alive().await);
    assert!(gateway.metric("portcullis_connections_rejected_total{reason=\"displaced\"}").await >= 1.0);
}
