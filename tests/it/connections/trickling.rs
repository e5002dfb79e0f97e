//! Bodies that come too slowly to mean it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::site;
use crate::harness::{Client, Gateway, Raw, Upstream};

/// More slowly than a body may come, and never still for `body_timeout`.
const DRIP_EVERY: Duration = Duration::from_millis(100);

async fn start(rate: u32) -> (Gateway, Upstream) {
    let (builder, upstream) = site(Duration::ZERO);
    let rate = format!("min_body_bytes_per_second = {rate}");
    let builder = builder.listener("h2c = true").server("body_timeout = \"1s\"").server(&rate);
    (builder.start().await, upstream)
}

#[tokio::test]
async fn a_body_that_trickles_is_408() {
    let (gateway, upstream) = start(1000).await;
    for (number, (lines, drip)) in [
        ("Content-Length: 1000", "x"),
        ("Transfer-Encoding: chunked", "1\r\nx\r\n"),
        ("Transfer-Encoding: chunked", "0"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = Raw::open(gateway.address(0)).await;
        let begun = Instant::now();
        client.send(format!("POST /app/{number} HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n")).await;
        while !client.is_closed_within(DRIP_EVERY).await {
            client.send(drip).await;
            assert!(begun.elapsed() < Duration::from_secs(8), "{lines}: it drips for ever");
        }
        assert!(begun.elapsed() > Duration::from_secs(1), "{lines}: {:?}", begun.elapsed());
        let line = gateway.access(|line| line["path"] == format!("/app/{number}").as_str()).await;
        assert_eq!((&line["status"], &line["error"]), (&408.into(), &"client: the body came too slowly".into()));
    }
    assert!(upstream.saw().iter().all(|saw| !saw.is_complete));
}

#[tokio::test]
async fn over_http2_too_but_for_grpc() {
    let (gateway, upstream) = start(1000).await;
    for (number, content_type) in ["text/plain", "application/grpc"].into_iter().enumerate() {
        let client = Client::http2(gateway.address(0));
        let target = format!("/app/{number}");
        let (asking, feed) = client.request("POST", &target).header("content-type", content_type).streamed();
        let drip = async {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(2500) && feed.send("x") {
                sleep(DRIP_EVERY).await;
            }
            drop(feed);
        };
        let (answer, ()) = tokio::join!(asking.send(), drip);
        assert_eq!(answer.status, if number == 0 { 408 } else { 200 }, "{content_type}");
    }
    assert!(upstream.last().is_complete);
}

#[tokio::test]
async fn any_rate_will_do_where_there_is_none() {
    let (gateway, upstream) = start(0).await;
    let client = Client::http1(gateway.address(0));
    let (asking, feed) = client.request("POST", "/app/a").streamed();
    let drip = async {
        for _ in 0..25 {
            feed.send("x");
            sleep(DRIP_EVERY).await;
        }
        drop(feed);
    };
    let (answer, ()) = tokio::join!(asking.send(), drip);
    assert_eq!((answer.status, upstream.last().body.len()), (200, 25));
}
