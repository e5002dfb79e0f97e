mod gateway;

use std::{sync::atomic::Ordering::SeqCst, time::Instant};

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use portcullis_plugin::{Reason, UnixTime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{admission::Admission, streams::CONNECTION_REQUESTS_MAX, *};

use self::gateway::{Echo, GET, Gateway, SOON, limits};
use crate::streams::{OpenStreams, Withdrawn, tests::basis};

const WITHDRAWN: StreamEnd =
    StreamEnd::Withdrawn(Withdrawn { reason: Reason::TokenRevoked, policy: None, detail: None });

fn assert_took(since: Instant, at_least_ms: u64, at_most_ms: u64) {
    let took = since.elapsed();
    let range = Duration::from_millis(at_least_ms)..Duration::from_millis(at_most_ms);
    assert!(range.contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let gateway = Gateway::start(limits()).await;
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        client.send(GET).await;
        assert!(client.until("/hello").await.starts_with("HTTP/1.1 200 OK\r\n"));
        client.send("POST /body HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello").await;
        client.until("/body").await;
    }
    assert_eq!(gateway.open.connections(), 1);
    // One life a connection, made anew for each request.
    let lives = gateway.app.lives.lock().expect("no panics");
    assert!(lives.len() == 6 && lives.iter().all(|life| Arc::ptr_eq(life, &lives[0])));
}

#[tokio::test]
async fn a_head_and_its_body_may_come_in_pieces() {
    let gateway = Gateway::start(limits()).await;
    let mut client = gateway.connect().await;
    let request = "\r\nPOST /body HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc";
    for piece in request.as_bytes().chunks(7) {
        client.send(piece).await;
        sleep(Duration::from_millis(2)).await;
    }
    client.until("/body").await;
}

#[tokio::test]
async fn the_target_arrives_in_origin_form() {
    let gateway = Gateway::start(limits()).await;
    let mut client = gateway.connect().await;
    client.send("GET http://A.example/xy HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    client.until("/xy").await;
}

#[tokio::test]
async fn requests_in_one_write_are_answered_in_order() {
    let gateway = Gateway::start(limits()).await;
    let mut client = gateway.connect().await;
    let slow = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    client.send([slow, post, "\r\n", GET, chunked, GET].concat()).await;
    for target in ["/slow", "/body", "/hello", "/body", "/hello"] {
        let answer = client.until(target).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
    }
    // More than is kept of what comes while a request is served.
    let many = GET.repeat(300);
    client.send([slow, &many].concat()).await;
    client.until("/slow").await;
    for _ in 0..300 {
        client.until("/hello").await;
    }
}

#[tokio::test]
async fn an_empty_line_between_requests_begins_nothing() {
    let limits = Limits { head_timeout: Duration::from_millis(100), ..limits() };
    let gateway = Gateway::start(limits).await;
    let mut client = gateway.connect().await;
    for _ in 0..2 {
        client.send(GET).await;
        client.until("/hello").await;
        client.send("\r\n").await;
        sleep(Duration::from_millis(200)).await;
    }
    client.send(GET).await;
    client.until("/hello").await;
}

#[tokio::test]
async fn a_bad_head_is_answered_and_the_connection_closed() {
    let gateway = Gateway::start(limits()).await;
    for (request, start) in [
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 no Host"),
        ("GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 400 bare"),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 405"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 400 request line"),
    ] {
        let answer = gateway.ask(request).await;
        assert!(answer.starts_with(start), "{answer}");
    }
    assert!(gateway.app.lives.lock().expect("no panics").is_empty(), "none of them reached the application");
}

#[tokio::test]
async fn an_oversized_head_is_refused_and_the_answer_survives_what_is_still_sent() {
    let gateway = Gateway::start(limits()).await;
    // More than the limit and more than is read before the answer.
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(100_000));
    let mut client = gateway.connect().await;
    client.send(&large).await;
    sleep(Duration::from_millis(100)).await;
    client.send("x".repeat(50_000)).await;
    assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 431 head of too many bytes"));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(20));
    assert!(gateway.ask(many).await.starts_with("HTTP/1.1 431 head of too many lines"));
}

#[tokio::test]
async fn a_dripping_head_gets_408() {
    let gateway = Gateway::start(Limits { head_timeout: Duration::from_millis(300), ..limits() }).await;
    let mut client = gateway.connect().await;
    let since = Instant::now();
    let (mut read, mut write) = client.0.split();
    let drip = async {
        for byte in GET.bytes().cycle() {
            let _ = write.write_u8(if byte == b'\r' { b'x' } else { byte }).await;
            sleep(Duration::from_millis(20)).await;
        }
    };
    let mut answer = String::new();
    tokio::select! {
        () = drip => {}
        read = read.read_to_string(&mut answer) => drop(read.expect("no reset")),
    }
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_took(since, 290, 1200);
}

#[tokio::test]
async fn an_idle_connection_is_closed_before_and_after_a_request() {
    let gateway = Gateway::start(Limits { idle_timeout: Duration::from_millis(300), ..limits() }).await;
    let since = Instant::now();
    assert_eq!(gateway.ask("").await, "");
    assert_took(since, 290, 1000);

    let mut client = gateway.connect().await;
    // The second request comes when the first wait is nearly over: the time counts from its answer.
    for _ in 0..2 {
        client.send(GET).await;
        client.until("/hello").await;
        sleep(Duration::from_millis(200)).await;
    }
    let since = Instant::now();
    assert_eq!(client.rest().await, "");
    assert_took(since, 50, 600);
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_the_request() {
    let gateway = Gateway::start(Limits { body_timeout: Duration::from_millis(200), ..limits() }).await;
    assert_eq!(gateway.ask("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel").await, "");
    gateway.serves(0).await;
}

#[tokio::test]
async fn too_many_connections_are_closed_at_once() {
    let gateway = Gateway::start(Limits { max_connections: 2, ..limits() }).await;
    let mut clients = [gateway.connect().await, gateway.connect().await];
    for client in &mut clients {
        client.send("GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }
    gateway.serves(2).await;
    assert_eq!(gateway.connect().await.rest().await, "");
    assert_eq!((gateway.open.connections(), gateway.open.rejected()), (2, 1));
    let drained = async {
        while timeout(Duration::from_millis(50), gateway.open.drained()).await.is_err() {
            gateway.withdraw();
        }
    };
    timeout(SOON, drained).await.expect("drains");
    let mut client = gateway.connect().await;
    client.send(GET).await;
    client.until("/hello").await;
}

#[tokio::test]
async fn the_oldest_idle_connection_closes_for_a_new_one() {
    let gateway = Gateway::start_with(Limits { max_connections: 3, ..limits() }, Echo::default(), true).await;
    let mut busy = gateway.connect().await;
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gateway.serves(1).await;
    let (mut http2, connection) = h2(&gateway).await;
    h2_get(&mut http2, "/hello").await.expect("no error");
    let mut silent = gateway.connect().await;
    while gateway.open.connections() < 3 {
        sleep(Duration::from_millis(5)).await;
    }
    // Both stay open: a connection that has gone makes room for the next by itself.
    let mut new = [gateway.connect().await, gateway.connect().await];
    for client in &mut new {
        client.send(GET).await;
        client.until("/hello").await;
    }
    timeout(SOON, connection).await.expect("closed by the gateway").expect("no panic");
    assert_eq!(silent.rest().await, "");
    busy.until("/slow").await;
    assert_eq!(gateway.open.rejected(), 0);
}

#[tokio::test]
async fn a_short_request_on_an_h2c_listener_does_not_wait() {
    let gateway = Gateway::start_with(limits(), Echo::default(), true).await;
    let short = "GET / HTTP/1.0\r\n\r\n";
    assert!(short.len() < 24);
    let since = Instant::now();
    assert!(gateway.ask(short).await.starts_with("HTTP/1.1 200"));
    assert_took(since, 0, 1000);
    // Begins like the preface for longer than one read.
    let mut client = gateway.connect().await;
    for piece in ["P", "RI * HTT", "P/1.1\r\nHost: a\r\n\r\n"] {
        client.send(piece).await;
        sleep(Duration::from_millis(20)).await;
    }
    assert!(client.rest().await.starts_with("HTTP/1.1 400 target"), "checked from its first byte");
    // The preface comes first or not at all.
    let mut client = gateway.connect().await;
    client.send(GET).await;
    client.until("/hello").await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(client.rest().await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn an_incomplete_preface_ends() {
    let short = Duration::from_millis(200);
    let gateway = Gateway::start_with(Limits { head_timeout: short, ..limits() }, Echo::default(), true).await;
    let since = Instant::now();
    assert!(gateway.ask("PRI * HTTP/2.0\r\n\r\n").await.starts_with("HTTP/1.1 408"));
    assert_took(since, 190, 900);
}

async fn h2(gateway: &Gateway) -> (SendRequest<Bytes>, JoinHandle<()>) {
    let socket = TcpStream::connect(gateway.address).await.expect("connects");
    let (client, connection) = h2::client::handshake(socket).await.expect("speaks HTTP/2");
    (client, tokio::spawn(async { drop(connection.await) }))
}

async fn h2_get(client: &mut SendRequest<Bytes>, path: &str) -> Result<String, h2::Error> {
    let request = http::Request::get(format!("http://a.example{path}")).body(()).expect("a request");
    let response = client.send_request(request, true)?.0.await?;
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(piece) = body.data().await {
        text.extend_from_slice(&piece?);
    }
    Ok(String::from_utf8(text).expect("text"))
}

#[tokio::test]
async fn http2_is_spoken_where_the_listener_asks_for_it() {
    let gateway = Gateway::start_with(limits(), Echo::default(), true).await;
    let (mut client, _connection) = h2(&gateway).await;
    for _ in 0..2 {
        let answer = timeout(SOON, h2_get(&mut client, "/hello")).await.expect("an answer");
        assert_eq!(answer.expect("no error"), "/hello");
    }
    // Streams run side by side: each has a life of its own.
    let lives = gateway.app.lives.lock().expect("no panics");
    assert!(lives.len() == 2 && !Arc::ptr_eq(&lives[0], &lives[1]));
}

#[tokio::test]
async fn an_http2_preface_may_come_in_pieces() {
    let gateway = Gateway::start_with(limits(), Echo::default(), true).await;
    let mut client = gateway.connect().await;
    // The preface and an empty SETTINGS frame; the answer begins with SETTINGS too (RFC 9113 section 3.4).
    for piece in [b"PRI * HTT".as_slice(), b"P/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04", b"\0\0\0\0\0"] {
        client.send(piece).await;
        sleep(Duration::from_millis(20)).await;
    }
    let mut frame = [0; 9];
    timeout(SOON, client.0.read_exact(&mut frame)).await.expect("an answer").expect("not closed");
    assert_eq!(frame[3], 4, "{frame:?}");
}

/// After ALPN has chosen HTTP/2 only the preface is accepted, and there is no HTTP/1 answer.
#[tokio::test]
async fn after_alpn_only_the_preface_opens_a_connection() {
    for (sent, is_whole) in
        [(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore".as_slice(), true), (b"PRI * HTTQ", false), (b"GET", false)]
    {
        let (mut near, far) = tokio::io::duplex(64);
        let (_close, closing) = watch::channel(false);
        near.write_all(sent).await.expect("sends");
        let mut stream: Stream = Box::new(far);
        let mut waits = Waits::new(&closing, Admission::default().enter());
        let read = connection::read_head(&mut stream, BytesMut::new(), &mut waits, &limits(), Expected::Http2).await;
        match read {
            Ok(Opening::Preface(read)) => assert!(is_whole && read == sent),
            Err(End::Quiet) => assert!(!is_whole),
            _ => panic!("neither preface nor end"),
        }
    }
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed() {
    let gateway =
        Gateway::start_with(Limits { idle_timeout: Duration::from_millis(300), ..limits() }, Echo::default(), true)
            .await;
    let (mut client, connection) = h2(&gateway).await;
    timeout(SOON, h2_get(&mut client, "/hello")).await.expect("an answer").expect("no error");
    timeout(SOON, connection).await.expect("closed by the gateway").expect("no panic");
    timeout(SOON, gateway.open.drained()).await.expect("drains");
}

#[tokio::test]
async fn a_stuck_http2_stream_ends_and_its_neighbours_do_not() {
    let age = Duration::from_millis(1200);
    let gateway = Gateway::start_with(Limits { max_stream_age: age, ..limits() }, Echo::default(), true).await;
    let (mut client, _connection) = h2(&gateway).await;
    let mut other = client.clone();
    let since = Instant::now();
    let stuck = timeout(SOON, h2_get(&mut client, "/stuck")).await.expect("an end");
    assert!(stuck.expect_err("reset").is_reset());
    assert_took(since, 1190, 2500);
    assert_eq!(h2_get(&mut other, "/hello").await.expect("no error"), "/hello");
    assert_eq!(gateway.app.lives.lock().expect("no panics")[0].ended(), Some(StreamEnd::TooOld));
}

#[tokio::test]
async fn a_client_that_resets_its_streams_has_no_more_in_flight_than_it_may() {
    let gateway = Gateway::start_with(limits(), Echo::default(), true).await;
    let (client, _connection) = h2(&gateway).await;
    let mut flood = client.clone();
    // Twenty at a time, so that what is reset has been taken: `h2` itself ends a flood of what has not.
    for round in 1..=15 {
        let begun = (0..20).map(|_| {
            let request = http::Request::get("http://a.example/stuck").body(()).expect("a request");
            flood.send_request(request, true).expect("below the limit of open streams").0
        });
        let begun: Vec<_> = begun.collect();
        let taken = (round * 20).min(CONNECTION_REQUESTS_MAX);
        gateway.serves(taken as u64).await;
        let refused = async {
            while gateway.open.streams_refused() < (round * 20 - taken) as u64 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, refused).await.expect("those beyond it are refused");
        drop(begun); // resets them
    }
    assert_eq!(gateway.app.lives.lock().expect("no panics").len(), CONNECTION_REQUESTS_MAX);
    let mut same = client;
    let error = timeout(SOON, h2_get(&mut same, "/hello")).await.expect("an answer").expect_err("refused");
    assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM), "{error}");
    // Others have room, and so has this one once something has ended.
    let (mut other, _connection) = h2(&gateway).await;
    assert_eq!(h2_get(&mut other, "/hello").await.expect("no error"), "/hello");
    let served = async {
        while h2_get(&mut same, "/hello").await.is_err() {
            gateway.withdraw();
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, served).await.expect("room again");
}

#[tokio::test]
async fn shutdown_closes_idle_connections_at_once() {
    let gateway = Gateway::start_with(limits(), Echo::default(), true).await;
    let mut fresh = gateway.connect().await;
    let (mut used, mut half, mut preface) = (gateway.connect().await, gateway.connect().await, gateway.connect().await);
    half.send("GET / HTT").await;
    preface.send("PRI * ").await;
    used.send(GET).await;
    used.until("/hello").await;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(gateway.open.connections(), 4);
    let since = Instant::now();
    gateway.close.send(true).expect("heard");
    timeout(SOON, gateway.open.drained()).await.expect("drains");
    assert_took(since, 0, 50);
    for client in [&mut fresh, &mut used, &mut half, &mut preface] {
        assert_eq!(client.rest().await, "");
    }
}

#[tokio::test]
async fn shutdown_lets_a_request_in_flight_finish_and_closes_after_it() {
    let gateway = Gateway::start(limits()).await;
    let mut client = gateway.connect().await;
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gateway.serves(1).await;
    gateway.close.send(true).expect("heard");
    assert!(timeout(Duration::from_millis(100), gateway.open.drained()).await.is_err());
    assert!(client.rest().await.ends_with("/slow"), "answered, and not kept");
    timeout(SOON, gateway.open.drained()).await.expect("drains");
}

#[tokio::test]
async fn an_idle_http2_peer_does_not_hold_up_a_stop() {
    let gateway = Gateway::start_with(limits(), Echo::default(), true).await;
    // A peer that does not read, and so does not hear GOAWAY.
    let mut peer = gateway.connect().await;
    peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    sleep(Duration::from_millis(50)).await;
    gateway.close.send(true).expect("heard");
    assert!(timeout(Duration::from_millis(100), gateway.open.drained()).await.is_err());
    timeout(SOON, gateway.open.idle_for(Duration::from_millis(200))).await.expect("nothing in flight");
    assert_eq!(gateway.open.connections(), 1);
}

#[tokio::test]
async fn idle_for_waits_for_requests() {
    let gateway = Gateway::start(limits()).await;
    let mut client = gateway.connect().await;
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gateway.serves(1).await;
    let since = Instant::now();
    gateway.open.idle_for(Duration::from_millis(100)).await;
    assert_took(since, 350, 900);
}

#[tokio::test]
async fn a_request_ends_when_its_credential_expires() {
    let app = Echo { deadline: Some(UnixTime(UnixTime::now().0 + 1)), ..Echo::default() };
    let gateway = Gateway::start_with(limits(), app, false).await;
    let mut client = gateway.connect().await;
    // On a connection already used: its timer runs from an earlier request.
    client.send(GET).await;
    client.until("/hello").await;
    let since = Instant::now();
    client.send("GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.rest().await, "");
    assert_took(since, 0, 3000);
    assert_eq!(gateway.app.dropped.load(SeqCst), 2, "what waits for the end of a request sees it");
    assert_eq!(gateway.app.lives.lock().expect("no panics")[0].ended(), Some(StreamEnd::Expired));
    assert_eq!(gateway.open.in_flight(), 0);
}

#[tokio::test]
async fn a_request_that_lasts_ends_when_it_would_be_refused_now() {
    let gateway = Gateway::start(limits()).await;
    let mut client = gateway.connect().await;
    client.send("GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gateway.serves(1).await;
    sleep(Duration::from_millis(1300)).await;
    assert_eq!(gateway.open.in_flight(), 1, "not before");
    gateway.withdraw();
    let since = Instant::now();
    assert_eq!(client.rest().await, "");
    // Its deadlines are looked at once a second, and the next time is later.
    assert_took(since, 0, 600);
    assert_eq!(gateway.app.lives.lock().expect("no panics")[0].ended(), Some(WITHDRAWN));
    assert!(gateway.app.streams.is_empty());
}

#[tokio::test]
async fn a_life_starts_anew_with_each_request() {
    let life = StreamLife::default();
    let streams: Arc<OpenStreams> = Arc::default();
    life.rest_on(basis(&streams));
    life.set_deadline(UnixTime(1));
    life.set_deadline(UnixTime(i64::MAX - 1));
    life.over(SOON, SOON, &mut Timer::default()).await;
    assert_eq!(life.ended(), Some(StreamEnd::Expired), "the earlier deadline counts");
    life.reset();
    assert_eq!(life.ended(), None);
    let over = timeout(Duration::from_millis(50), life.over(SOON, SOON, &mut Timer::default())).await;
    assert!(over.is_err() && streams.is_empty(), "nothing of the request before is left");
}

#[tokio::test]
async fn the_applications_cleanup_is_called() {
    let app = Arc::new(Echo::default());
    let refuse: Refuse = Arc::new(|_, _, _| Bytes::new());
    Front::new(app.clone(), limits(), Arc::default(), refuse, Acceptor::plain(false)).cleanup().await;
    assert_eq!(app.cleaned.load(SeqCst), 1);
}
