//! The same bytes, whatever their number and however they are framed.

use super::*;

const SIZES: [usize; 8] = [0, 1, 65_535, 65_536, 65_537, MEBIBYTE, 5 * MEBIBYTE, 8 * MEBIBYTE];

/// Sends bodies of all sizes in all framings, and looks at what arrives.
async fn the_same_arrives(routes: &str, sizes: &[usize]) {
    let upstream = RawUpstream::start(OK);
    let gateway = builder(&upstream.address(), routes).start().await;
    for framing in Framing::ALL {
        let client = framing.client(&gateway);
        for &size in sizes {
            let sent = body(size);
            let answer = framing.post(&client, "/app/1", &sent).send().await;
            assert_eq!(answer.status, 200, "{framing:?} {size}: {}", answer.text());
            let (head, arrived) = last(&upstream);
            assert!(arrived == sent, "{framing:?} {size}: {} bytes arrived", arrived.len());
            assert!(!head.contains("transfer-encoding"), "{framing:?} {size}: {head}");
            let length = format!("\r\ncontent-length: {size}");
            assert!(head.contains(&length) || size == 0, "{framing:?} {size}: {head}");
            let line = gateway.access(|line| line["bytes_received"] == size && line["status"] == 200).await;
            assert_eq!(line["error"], serde_json::Value::Null, "{line}");
        }
    }
    assert_eq!(upstream.saw().len(), 4 * sizes.len());
    eventually("no memory is held", async || gateway.metric("portcullis_held_body_bytes").await == 0.0).await;
}

#[tokio::test]
async fn a_body_that_was_read_arrives_whole() {
    the_same_arrives(&route(&porter("p", "reads = 8388608")), &SIZES).await;
}

#[tokio::test]
async fn a_body_that_was_judged_last_arrives_whole() {
    the_same_arrives(&route(&porter("p", "reads = 8388608, holds = true")), &SIZES).await;
}

#[tokio::test]
async fn a_body_longer_than_was_asked_for_arrives_whole_where_that_is_let_pass() {
    let routes = route(&porter("p", "reads = 65536, lets_pass = true"));
    let upstream = RawUpstream::start(OK);
    let gateway = builder(&upstream.address(), &routes).start().await;
    for framing in Framing::ALL {
        let client = framing.client(&gateway);
        for size in [65_535, 65_536, 65_537, 70_000, 100_000, MEBIBYTE] {
            let sent = body(size);
            assert_eq!(framing.post(&client, "/app/1", &sent).send().await.status, 200, "{framing:?} {size}");
            let (head, arrived) = last(&upstream);
            let arrived = if head.contains("transfer-encoding: chunked") { unchunked(&arrived) } else { arrived };
            assert!(arrived == sent, "{framing:?} {size}: {} bytes arrived behind {head}", arrived.len());
        }
    }
}

#[tokio::test]
async fn a_body_of_which_a_part_was_read_arrives_whole_at_the_second_attempt() {
    let routes = route(&porter("p", "reads = 16384, lets_pass = true"));
    for framing in Framing::ALL {
        for size in [16_384, 20_000, 60_000] {
            // What it is sent on a connection that it kept it reads, and closes: the request is sent again on a new one.
            let upstream = RawUpstream::closing_after(1, OK);
            let gateway = builder(&upstream.address(), &routes).start().await;
            let client = framing.client(&gateway);
            let put = |sent: &[u8]| framing.put(ticketed(client.request("PUT", "/app/1")), sent);
            assert_eq!(put(b"kept").send().await.status, 200);
            let sent = body(size);
            let answer = put(&sent).send().await;
            assert_eq!(answer.status, 200, "{framing:?} {size}: {}", answer.text());
            let (head, arrived) = last(&upstream);
            let arrived = if head.contains("transfer-encoding: chunked") { unchunked(&arrived) } else { arrived };
            assert!(arrived == sent, "{framing:?} {size}: {} bytes arrived behind {head}", arrived.len());
            assert_eq!(upstream.saw().len(), 3, "{framing:?} {size}: not sent twice");
        }
    }
}

/// What the chunks hold (RFC 9112 section 7.1).
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = bytes.windows(2).position(|end| end == b"\r\n").expect("a chunk's size");
        let size = str::from_utf8(&bytes[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("a number");
        if size == 0 {
            return body;
        }
        bytes = &bytes[line + 2..];
        body.extend_from_slice(&bytes[..size]);
        bytes = &bytes[size + 2..];
    }
}

#[tokio::test]
async fn several_hooks_read_one_body_each_with_a_limit_of_its_own() {
    let limited = |id: &str, limit: usize| porter(id, &format!("reads = {limit}, lets_pass = true"));
    let plugins = [limited("a", 1000), limited("b", 8 * MEBIBYTE), limited("c", 100_000)].join(", ");
    the_same_arrives(&route(&plugins), &[0, 1, 1000, 1001, 65_537, 100_001, MEBIBYTE]).await;
}

#[tokio::test]
async fn it_arrives_over_http2_as_well() {
    let upstream = Upstream::start();
    let toml = reading("")
        .replace("[routes.app]", "[upstreams.h2]\ntargets = [\"@UPSTREAM@\"]\nprotocol = \"h2c\"\n\n[routes.app]");
    let toml = toml.replace("upstream = \"app\"", "upstream = \"h2\"");
    let gateway = builder(&upstream.address(), &toml).start().await;
    for framing in Framing::ALL {
        let client = framing.client(&gateway);
        for size in [11, 65_536, 65_537, MEBIBYTE, 5 * MEBIBYTE] {
            let sent = body(size);
            let answer = framing.post(&client, "/app/1", &sent).send().await;
            assert_eq!(answer.status, 200, "{framing:?} {size}: {}", answer.text());
            let saw = upstream.last();
            assert!(saw.body == sent && saw.is_complete, "{framing:?} {size}: {} bytes arrived", saw.body.len());
            assert_eq!(saw.header("content-length"), Some(size.to_string().as_str()), "{framing:?} {size}");
        }
    }
}

#[tokio::test]
async fn what_filters_make_of_it_arrives() {
    let upstream = Upstream::start();
    let routes = route(&porter("p", "reads = 8388608, mask = true"));
    let gateway = builder(&upstream.address(), &routes).start().await;
    for framing in Framing::ALL {
        let client = framing.client(&gateway);
        for size in [10, 65_537, MEBIBYTE] {
            let sent = body(size);
            let masked: Vec<u8> = sent.iter().map(|c| if c.is_ascii_digit() { b'*' } else { *c }).collect();
            assert_eq!(framing.post(&client, "/app/1", &sent).send().await.status, 200);
            assert!(upstream.last().body == masked, "{framing:?} {size}");
        }
    }
}

#[tokio::test]
async fn another_target_gets_it_too() {
    let gone = Nobody::listen().address();
    let upstream = RawUpstream::start(OK);
    let targets = format!("{}\", \"{gone}", upstream.address());
    let gateway = builder(&targets, &reading("")).start().await;
    for framing in Framing::ALL {
        for size in [WORD.len(), 65_536, 65_537, MEBIBYTE] {
            // Targets take turns: of two requests one meets the dead one first.
            for _ in 0..2 {
                let sent = body(size);
                let answer = framing.post(&framing.client(&gateway), "/app/1", &sent).send().await;
                assert_eq!(answer.status, 200, "{framing:?} {size}: {}", answer.text());
                assert!(last(&upstream).1 == sent, "{framing:?} {size}");
            }
        }
    }
    let errors = "portcullis_upstream_errors_total{upstream=\"app\",kind=\"connect\"}";
    assert!(gateway.metric(errors).await > 0.0, "none met the dead one");
    let line = gateway.access(|line| line["unreached"].is_array()).await;
    assert_eq!((&line["unreached"][0], &line["status"]), (&gone.to_string().into(), &200.into()), "{line}");
}

#[tokio::test]
async fn a_client_that_waits_is_told_to_continue_and_the_upstream_is_not_asked_to() {
    let upstream = RawUpstream::start(OK);
    let gateway = builder(&upstream.address(), &reading("")).start().await;
    for (framing, chunked) in
        [(format!("Content-Length: {MEBIBYTE}"), false), ("Transfer-Encoding: chunked".into(), true)]
    {
        let mut raw = Raw::open(gateway.address(0)).await;
        let head = format!(
            "POST /app/1 HTTP/1.1\r\nHost: a\r\nX-Ticket: {}\r\nExpect: 100-continue\r\n{framing}\r\n\r\n",
            super::super::TICKET
        );
        raw.send(head).await;
        raw.until("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(upstream.saw().len(), usize::from(chunked), "not asked before the body is here");
        let sent = body(MEBIBYTE);
        if chunked {
            raw.send(format!("{MEBIBYTE:x}\r\n")).await;
        }
        raw.send(&sent).await;
        if chunked {
            raw.send("\r\n0\r\n\r\n").await;
        }
        raw.until("HTTP/1.1 200 OK").await;
        let (head, arrived) = last(&upstream);
        assert!(arrived == sent && !head.contains("expect:"), "{head}");
    }
}

#[tokio::test]
async fn a_request_without_a_body_gets_none() {
    let upstream = RawUpstream::start(OK);
    let routes = route(&porter("p", "reads = 8388608, holds = true"));
    let gateway = builder(&upstream.address(), &routes).start().await;
    for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))] {
        for method in ["GET", "DELETE", "POST"] {
            assert_eq!(ticketed(client.request(method, "/app/1")).send().await.status, 200);
            let (head, arrived) = last(&upstream);
            assert!(arrived.is_empty() && !head.contains("transfer-encoding"), "{method}: {head}");
        }
    }
}

#[tokio::test]
async fn a_connection_goes_on_where_its_bytes_are_all_accounted_for() {
    let upstream = RawUpstream::start(OK);
    let gateway = builder(&upstream.address(), &reading("")).start().await;
    for (framing, connections) in [(Framing::Http1Length, 1), (Framing::Http1Chunked, 3), (Framing::Http2Unknown, 1)] {
        let client = framing.client(&gateway);
        for _ in 0..3 {
            assert_eq!(framing.post(&client, "/app/1", &body(MEBIBYTE)).send().await.status, 200);
        }
        assert_eq!(client.connections().await, connections, "{framing:?}");
    }
    // A request behind a chunked body is lost with its connection, and not read as anything else.
    let mut raw = Raw::open(gateway.address(0)).await;
    let ticket = super::super::TICKET;
    raw.send(format!("POST /app/1 HTTP/1.1\r\nHost: a\r\nX-Ticket: {ticket}\r\nTransfer-Encoding: chunked\r\n\r\n"))
        .await;
    raw.send(format!("{:x}\r\n", 100_000)).await;
    raw.send(&body(100_000)).await;
    raw.send(format!("\r\n0\r\n\r\nGET /app/2 HTTP/1.1\r\nHost: a\r\nX-Ticket: {ticket}\r\n\r\n")).await;
    let answers = String::from_utf8(raw.rest().await).expect("text");
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 1, "{answers}");
    assert!(last(&upstream).1 == body(100_000));
}
