//! What is refused reaches nobody, and what is held is bounded.

use super::*;

#[tokio::test]
async fn a_body_that_is_refused_is_nobodys() {
    for (more, status, reason) in [("", 403, "word_missing"), ("holds = true", 401, "word_missing")] {
        let upstream = Nobody::listen();
        let gateway = builder(&upstream.address(), &reading(more)).start().await;
        for framing in Framing::ALL {
            for size in [0, 1, 65_536, 65_537, MEBIBYTE] {
                let mut sent = body(size);
                sent.pop();
                let answer = framing.post(&framing.client(&gateway), "/app/1", &sent).send().await;
                assert_eq!(answer.status, status, "{more} {framing:?} {size}");
            }
        }
        gateway.audit(|event| event["reason"] == reason).await;
        let line = gateway.access(|line| line["status"] == status && line["reason"] == reason).await;
        assert_eq!(line["consumer"].as_str(), (status == 403).then_some("acme"), "who is not proven is not named");
        assert!(upstream.was_left_alone(), "{more}");
        eventually("no memory is held", async || gateway.metric("portcullis_held_body_bytes").await == 0.0).await;
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_and_nobodys() {
    for more in ["", ", holds = true"] {
        let upstream = Nobody::listen();
        let routes = route(&porter("p", &format!("reads = 100000{more}")));
        let gateway = builder(&upstream.address(), &routes).start().await;
        for framing in Framing::ALL {
            for size in [100_001, MEBIBYTE] {
                let client = framing.client(&gateway);
                let asking = framing.post(&client, "/app/1", &body(size));
                // An answer before the body is whole may meet a client that still writes.
                match asking.attempt().await {
                    Ok(answer) => assert_eq!(answer.status(), 413, "{more} {framing:?} {size}"),
                    Err(error) => assert!(!error.is_timeout(), "{more} {framing:?} {size}: {error:?}"),
                }
            }
        }
        let refused = gateway.access(|line| line["status"] == 413).await;
        assert_eq!(refused["reason"], "body_too_large");
        assert!(upstream.was_left_alone());
    }
}

#[tokio::test]
async fn a_routes_own_limit_holds_for_what_is_read() {
    let upstream = Nobody::listen();
    let routes = format!("{}max_body_bytes = 70000\n", reading(""));
    let gateway = builder(&upstream.address(), &routes).start().await;
    for framing in Framing::ALL {
        let answer = framing.post(&framing.client(&gateway), "/app/1", &body(70_001)).send().await;
        assert_eq!(answer.status, 413, "{framing:?}");
    }
    assert!(upstream.was_left_alone());
}

#[tokio::test]
async fn all_bodies_together_have_one_room() {
    let upstream = RawUpstream::start(OK);
    let toml = reading("");
    let gateway = builder(&upstream.address(), &toml);
    // One address has half of it.
    let gateway = gateway.server("max_held_body_bytes = 2000000").start().await;
    let full = || async { gateway.metric("portcullis_held_body_bytes").await };
    for framing in Framing::ALL {
        let answer = framing.post(&framing.client(&gateway), "/app/1", &body(MEBIBYTE)).send().await;
        assert_eq!(answer.status, 503, "{framing:?}: larger than all the room there is for it");
        gateway.access(|line| line["status"] == 503 && line["reason"] == "plugin_failed").await;
        eventually("it is given back", async || full().await == 0.0).await;
    }
    // One that is not whole yet keeps what it has come to.
    let holder = Client::http2(gateway.address(0));
    let (asking, feed) = ticketed(holder.request("POST", "/app/1")).streamed();
    feed.send(vec![b'a'; 600_000]);
    let held = async { asking.send().await };
    let others = async {
        eventually("it is held", async || full().await >= 600_000.0).await;
        let client = Client::http1(gateway.address(0));
        let refused = Framing::Http1Length.post(&client, "/app/1", &body(500_000)).send().await;
        assert_eq!(refused.status, 503);
        assert_eq!(Framing::Http1Length.post(&client, "/app/1", &body(100_000)).send().await.status, 200);
        feed.send(WORD);
        drop(feed);
    };
    let (answer, ()) = tokio::join!(held, others);
    assert_eq!(answer.status, 200, "{}", answer.text());
    eventually("it is given back", async || full().await == 0.0).await;
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    let upstream = Nobody::listen();
    let gateway = builder(&upstream.address(), &reading("")).server("body_timeout = \"1s\"").start().await;
    let ticket = super::super::TICKET;
    for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let mut raw = Raw::open(gateway.address(0)).await;
        raw.send(format!("POST /app/1 HTTP/1.1\r\nHost: a\r\nX-Ticket: {ticket}\r\n{framing}\r\n\r\n5\r\nhello")).await;
        let answer = String::from_utf8(raw.rest().await).expect("text");
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"), "{framing}: {answer}");
    }
    let line = gateway.access(|line| line["status"] == 408).await;
    assert_eq!(line["error"], "client: the body did not come in time");
    let client = Client::http2(gateway.address(0));
    let (asking, feed) = ticketed(client.request("POST", "/app/1")).streamed();
    feed.send("hello");
    let answer = asking.send().await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (408, Some("request_timeout")));
    let line = gateway.access(|line| line["protocol"] == "HTTP/2").await;
    assert_eq!((&line["status"], &line["error"]), (&408.into(), &"client: the body did not come in time".into()));
    // It is the stream that ends, and not the connection.
    let asking = Framing::Http2Length.post(&client, "/app/1", &body(10));
    assert_eq!(asking.send().await.status, 403, "the word is missing");
    assert_eq!(client.connections().await, 1);
    assert!(upstream.was_left_alone());
    eventually("no memory is held", async || gateway.metric("portcullis_held_body_bytes").await == 0.0).await;
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_body_with_it() {
    let upstream = Nobody::listen();
    let gateway = builder(&upstream.address(), &reading("")).start().await;
    let ticket = super::super::TICKET;
    for framing in ["Content-Length: 900000", "Transfer-Encoding: chunked"] {
        let mut raw = Raw::open(gateway.address(0)).await;
        raw.send(format!("POST /app/1 HTTP/1.1\r\nHost: a\r\nX-Ticket: {ticket}\r\n{framing}\r\n\r\n61a80\r\n")).await;
        raw.send(&body(400_000)[..399_000]).await;
        eventually("it is held", async || gateway.metric("portcullis_held_body_bytes").await > 0.0).await;
        drop(raw);
        eventually("it is let go", async || gateway.metric("portcullis_held_body_bytes").await == 0.0).await;
    }
    let client = Client::http2(gateway.address(0));
    let (asking, feed) = ticketed(client.request("POST", "/app/1")).streamed();
    feed.send(body(400_000));
    let leaving =
        async { eventually("it is held", async || gateway.metric("portcullis_held_body_bytes").await > 0.0).await };
    tokio::select! {
        () = leaving => {}
        _ = asking.attempt() => panic!("an answer to half a body"),
    }
    drop((client, feed));
    eventually("it is let go", async || gateway.metric("portcullis_held_body_bytes").await == 0.0).await;
    assert!(upstream.was_left_alone());
    let left = gateway.wait_line(|line| line["error"] == "client: the body broke off", LIMIT).await;
    assert_eq!(left["event"], "access");
}

#[tokio::test]
async fn a_body_that_breaks_off_inside_the_limit_never_passes_as_whole() {
    let upstream = Nobody::listen();
    let routes = route(&porter("p", "reads = 1000, lets_pass = true, holds = true"));
    let gateway = builder(&upstream.address(), &routes).start().await;
    let ticket = super::super::TICKET;
    for (framing, rest) in [("Transfer-Encoding: chunked", "5\r\nhelloX\r\n"), ("Transfer-Encoding: chunked", "zz\r\n")]
    {
        let mut raw = Raw::open(gateway.address(0)).await;
        raw.send(format!("POST /app/1 HTTP/1.1\r\nHost: a\r\nX-Ticket: {ticket}\r\n{framing}\r\n\r\n{rest}")).await;
        assert!(raw.is_closed_within(Duration::from_secs(5)).await, "{rest:?}");
    }
    assert!(upstream.was_left_alone());
}
