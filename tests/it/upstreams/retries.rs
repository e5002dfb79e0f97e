//! Requests that are sent again: which, how often, and how many of all.

use std::{net::SocketAddr, time::Instant};

use super::GATEWAY;
use crate::harness::{Client, FrameUpstream, Gateway, Upstream, frames};

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A gateway whose upstream speaks HTTP/2 at these addresses.
async fn before_http2(targets: &[SocketAddr]) -> Gateway {
    let targets: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
    let builder = Gateway::builder(GATEWAY).set("TARGETS", &targets.join(", "));
    builder.set("UPSTREAM", "protocol = \"h2c\"").start().await
}

async fn counted(gateway: &Gateway, name: &str) -> f64 {
    gateway.metric(&format!("portcullis_upstream_{name}_total{{upstream=\"app\"}}")).await
}

/// Sixteen times, if Pingora has its way.
#[tokio::test]
async fn one_request_is_sent_three_times_at_most() {
    for refuse in [
        |_, stream| frames::reset(stream, REFUSED_STREAM),
        |_, _| frames::go_away(0, NO_ERROR),
        |_, _| frames::go_away(0, ENHANCE_YOUR_CALM),
    ] {
        let upstream = FrameUpstream::start(refuse);
        let gateway = before_http2(&[upstream.address()]).await;
        let began = Instant::now();
        let answer = Client::http1(gateway.address(0)).get("/").send().await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (502, Some("upstream_broken")));
        assert_eq!((upstream.requests(), counted(&gateway, "retries").await), (3, 2.0));
        assert!(began.elapsed().as_millis() >= 60, "there is a pause before each: {:?}", began.elapsed());
    }
}

/// RFC 9113 section 8.7: the upstream says that it has not looked at it.
#[tokio::test]
async fn a_post_that_was_refused_unprocessed_goes_to_another_target() {
    for refuse in [|_, stream| frames::reset(stream, REFUSED_STREAM), |_, _| frames::go_away(0, NO_ERROR)] {
        let (refusing, good) = (FrameUpstream::start(refuse), Upstream::start());
        let gateway = before_http2(&[refusing.address(), good.address()]).await;
        for number in 0..4 {
            let body = format!("pizza {number}").repeat(1000);
            let answer = Client::http1(gateway.address(0)).post("/order", body.clone()).send().await;
            assert_eq!((answer.status, good.last().body), (200, body.into_bytes()));
        }
        assert_eq!((good.requests(), refusing.requests()), (4, 4), "each request took both turns");
    }
}

#[tokio::test]
async fn a_post_that_may_have_been_processed_is_not_sent_again() {
    for broken in [
        |_, stream| frames::reset(stream, INTERNAL_ERROR),
        // It has taken this stream, and ends the connection before it has answered.
        |_, stream| [frames::go_away(stream, NO_ERROR), frames::reset(stream, INTERNAL_ERROR)].concat(),
    ] {
        let (upstream, other) = (FrameUpstream::start(broken), Upstream::start());
        let gateway = before_http2(&[upstream.address(), other.address()]).await;
        let answer = Client::http1(gateway.address(0)).post("/order", "one pizza").send().await;
        assert_eq!((answer.status, upstream.requests(), other.requests()), (502, 1, 0));
    }
}

/// An upstream in trouble gets a fifth more, and not three times as many.
#[tokio::test]
async fn retries_are_a_fifth_of_all_requests() {
    const REQUESTS: usize = 300;
    let upstream = FrameUpstream::start(|_, stream| frames::reset(stream, REFUSED_STREAM));
    let gateway = before_http2(&[upstream.address()]).await;
    let began = Instant::now();
    for _ in 0..REQUESTS {
        assert_eq!(Client::http1(gateway.address(0)).get("/").send().await.status, 502);
    }
    // Ten to begin with, and one a second at least.
    let most = REQUESTS / 5 + 10 + usize::try_from(began.elapsed().as_secs()).expect("not long") + 1;
    let retries = upstream.requests() - REQUESTS;
    assert!((REQUESTS / 5..=most).contains(&retries), "{retries} retries of {REQUESTS} requests");
    assert_eq!(counted(&gateway, "retries").await, retries as f64);
    assert!(counted(&gateway, "retries_refused").await > 100.0);
    // Over a reload what is spent stays spent.
    assert_eq!(gateway.reload().await.code, 0);
    let before = upstream.requests();
    Client::http1(gateway.address(0)).get("/").send().await;
    assert!(upstream.requests() - before <= 2);
}
