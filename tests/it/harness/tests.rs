//! The upstream and the clients against each other, without a gateway: what a scenario asserts must mean something.

use std::time::Duration;

use http::Version;

use super::{Client, LIMIT, Raw, RawUpstream, Reply, Upstream, WebSocket, eventually, key, raw};

#[test]
fn a_key_is_the_same_each_time_and_its_hash_is_of_the_whole_key() {
    let (first, sha256) = key("acme");
    assert_eq!(key("acme"), (first.clone(), sha256.clone()));
    assert_ne!(key("other").1, sha256);
    assert!(first.len() >= 32 && sha256.len() == 64, "{first} {sha256}");
}

#[tokio::test]
async fn the_upstream_records_target_headers_body_and_connection() {
    let upstream = Upstream::start();
    let client = Client::http1(upstream.address());
    let asking = client.post("/a%2Fb?x=%20", "hello").host("api.example.com");
    let answer = asking.header("x-twice", "1").header("x-twice", "2").send().await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.json()["target"], "/a%2Fb?x=%20");

    let saw = upstream.last();
    assert_eq!(
        (saw.method.as_str(), saw.target.as_str(), saw.body.as_slice()),
        ("POST", "/a%2Fb?x=%20", &b"hello"[..])
    );
    assert_eq!(
        (saw.header("host"), saw.all("x-twice"), saw.is_complete),
        (Some("api.example.com"), vec!["1", "2"], true)
    );
    assert_eq!((saw.version, saw.authority, saw.connection), (Version::HTTP_11, None, 1));
}

#[tokio::test]
async fn a_client_keeps_its_connection_and_opens_another_when_it_was_closed() {
    let upstream = Upstream::with(|asked| match asked.target.as_str() {
        "/last" => Reply::new(204).header("connection", "close"),
        _ => Reply::new(200).body("more"),
    });
    let client = Client::http1(upstream.address());
    for target in ["/", "/last", "/"] {
        client.get(target).send().await;
    }
    assert_eq!(upstream.saw().iter().map(|saw| saw.connection).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(client.connections().await, 2);
}

#[tokio::test]
async fn http2_shares_one_connection_and_brings_trailers() {
    let upstream = Upstream::start();
    let client = Client::http2(upstream.address());
    let call = client.post("/pkg.Service/Method", "\0\0\0\0\x02hi").header("content-type", "application/grpc");
    let (slow, call) = tokio::join!(client.get("/slow?ms=50").send(), call.host("grpc.example.com").send());
    assert_eq!((slow.status, call.status, call.body.as_slice()), (200, 200, &b"\0\0\0\0\x02hi"[..]));
    assert_eq!(call.trailers.expect("trailers")["grpc-status"], "0");

    let saw = upstream.last();
    assert_eq!((saw.version, saw.target.as_str()), (Version::HTTP_2, "/pkg.Service/Method"));
    assert_eq!(saw.authority.as_deref(), Some("grpc.example.com"));
    assert_eq!((upstream.requests(), saw.connection, client.connections().await), (2, 1, 1));
}

#[tokio::test]
async fn a_body_is_echoed_while_it_is_still_being_sent() {
    let upstream = Upstream::start();
    for client in [Client::http1(upstream.address()), Client::http2(upstream.address())] {
        let (asking, feed) = client.request("PUT", "/echo").streamed();
        let mut answer = asking.open().await;
        for word in ["one", "two"] {
            assert!(feed.send(word));
            assert_eq!(answer.next().await.expect("an echo").expect("not cut off"), word);
        }
        assert!(!upstream.last().is_complete);
        drop(feed);
        assert!(answer.next().await.is_none());
        assert_eq!((upstream.last().body.as_slice(), upstream.last().is_complete), (&b"onetwo"[..], true));
    }
}

#[tokio::test]
async fn streams_come_at_intervals_or_when_the_test_says_so() {
    let upstream = Upstream::start();
    let client = Client::http1(upstream.address());
    let events = client.get("/sse?chunks=2&ms=1").send().await;
    assert_eq!(
        (events.header("content-type"), events.text()),
        (Some("text/event-stream"), "data: 0\n\ndata: 1\n\n".into())
    );
    assert_eq!(client.get("/stream?chunks=1").send().await.text(), "chunk 0\n");

    let mut held = client.get("/held").open().await;
    assert_eq!(held.status(), 200);
    upstream.send("now");
    assert_eq!(held.next().await.expect("a chunk").expect("not cut off"), "now");
    upstream.finish();
    assert!(held.next().await.is_none());
}

#[tokio::test]
async fn a_request_is_seen_before_it_is_answered() {
    let upstream = Upstream::with(|_| Reply::new(200).after(LIMIT * 10));
    let client = Client::http1(upstream.address());
    tokio::select! {
        _ = client.get("/").send() => panic!("answered early"),
        () = upstream.wait_for(1) => {}
    }
    let address = upstream.address();
    drop(upstream);
    eventually("a port that is closed", async || tokio::net::TcpStream::connect(address).await.is_err()).await;
}

#[tokio::test]
async fn a_peer_that_goes_away_in_the_middle_is_an_error_and_not_a_short_body() {
    let upstream = Upstream::start();
    let client = Client::http1(upstream.address());
    let mut answer = client.get("/held").open().await;
    drop(upstream);
    assert!(answer.next().await.expect("word of the end").is_err());
}

#[tokio::test]
async fn a_websocket_is_echoed_and_a_refused_handshake_gives_the_answer() {
    let upstream = Upstream::start();
    let mut socket =
        WebSocket::open(upstream.address(), "/chat", &[("x-api-key", "k")]).await.map_err(|answer| answer.status);
    let socket = socket.as_mut().expect("a handshake");
    socket.send("hello").await;
    assert_eq!(socket.next().await.as_deref(), Some("hello"));
    assert_eq!(upstream.last().header("x-api-key"), Some("k"));
    drop(upstream);
    assert_eq!(socket.next().await, None);

    let refusing = RawUpstream::start("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
    let refused = WebSocket::open(refusing.address(), "/chat", &[]).await.err().expect("a refusal");
    assert_eq!((refused.status, refused.text()), (401, "no".into()));
}

#[tokio::test]
async fn raw_bytes_are_sent_and_recorded_as_they_are() {
    let upstream = RawUpstream::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let first = "POST /a HTTP/1.1\r\nX_User_ID: \u{1}\r\nContent-Length: 3\r\n\r\nabc";
    let second = "POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let mut connection = Raw::open(upstream.address()).await;
    connection.send(format!("{first}{second}GET")).await;
    for _ in 0..2 {
        assert!(connection.until("\r\n\r\nok").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    assert_eq!(upstream.saw(), [first, second]);
    drop(connection);
    eventually("the bytes left over", async || upstream.saw().last().is_some_and(|rest| rest == "GET")).await;
}

#[tokio::test]
async fn raw_reads_until_the_peer_closes() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let upstream = RawUpstream::start(answer);
    assert_eq!(raw(upstream.address(), "GET / HTTP/1.1\r\n\r\n").await, answer.as_bytes());

    let mut connection = Raw::open(upstream.address()).await;
    assert!(!connection.is_closed_within(Duration::from_millis(20)).await);
    connection.send("GET / HTTP/1.1\r\n\r\n").await;
    assert!(connection.is_closed_within(LIMIT).await);
}

#[tokio::test]
async fn a_status_comes_as_asked() {
    let upstream = Upstream::start();
    assert_eq!(Client::http1(upstream.address()).get("/status/418").send().await.status, 418);
}

#[tokio::test]
async fn trailers_end_a_streamed_answer() {
    let upstream =
        Upstream::with(|_| Reply::new(200).header("content-type", "text/plain").body("all").trailer("x-sum", "3"));
    let answer = Client::http2(upstream.address()).get("/").send().await;
    assert_eq!((answer.text(), answer.trailers.expect("trailers")["x-sum"].to_str().ok()), ("all".into(), Some("3")));
}
