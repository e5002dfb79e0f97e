//! How it ends: nothing in flight is lost, and nothing that is not in flight holds it up.

use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Client, Gateway, LIMIT, Opened, Raw, Upstream, WebSocket, eventually, within};

const GATEWAY: &str = r#"
[server]
drain_timeout = "@DRAIN@"

[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[upstreams.app]
targets = ["@UPSTREAM@"]

[routes.app]
paths = ["/{*rest}"]
upstream = "app"
public = true
"#;

/// Far less than any time that a stop could wait for by mistake, far more than a busy machine needs.
const AT_ONCE: Duration = Duration::from_secs(1);

async fn start(drain_timeout: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let builder = Gateway::builder(GATEWAY).set("DRAIN", drain_timeout).set("UPSTREAM", &upstream.address());
    (builder.start().await, upstream)
}

/// A request whose answer has begun and ends when the test says so.
async fn held(client: &Client, upstream: &Upstream) -> Opened {
    let mut answer = client.get("/held").open().await;
    upstream.send("begun");
    assert_eq!(answer.next().await.expect("a piece").expect("a piece"), "begun");
    answer
}

/// Sends the signal and waits until the gateway has understood it.
async fn told(gateway: &Gateway, signal: i32) -> Instant {
    let began = Instant::now();
    gateway.signal(signal);
    gateway.wait_line(|line| line["event"] == "stopping", LIMIT).await;
    began
}

#[tokio::test]
async fn an_idle_gateway_ends_at_once() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let (mut gateway, _upstream) = start("30s").await;
        let began = Instant::now();
        gateway.signal(signal);
        let status = gateway.ended(LIMIT).await;
        let took = began.elapsed();
        println!("an idle gateway ends within {took:?} of signal {signal}");
        assert!(status.success() && took < AT_ONCE, "{status} after {took:?}");
    }
}

#[tokio::test]
async fn connections_without_a_request_hold_nothing_up() {
    let (mut gateway, _upstream) = start("30s").await;
    let client = Client::http1(gateway.address(0));
    assert_eq!(client.get("/a").send().await.status, 200);
    let (mut silent, mut kept) = (Raw::open(gateway.address(0)).await, Raw::open(gateway.address(0)).await);
    kept.send("GET /b HTTP/1.1\r\nHost: a\r\n\r\n").await;
    kept.until("\r\n\r\n").await;
    let mut half = Raw::open(gateway.address(0)).await;
    half.send("GET /c HTTP/1.1\r\nHost:").await;
    let mut admin = Raw::open(gateway.admin()).await;
    admin.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    admin.until("ok\n").await;

    let began = told(&gateway, libc::SIGTERM).await;
    for connection in [&mut silent, &mut kept, &mut half, &mut admin] {
        assert!(connection.is_closed_within(AT_ONCE).await, "a connection without a request stays open");
    }
    let status = gateway.ended(LIMIT).await;
    assert!(status.success() && began.elapsed() < AT_ONCE, "{status} after {:?}", began.elapsed());
}

#[tokio::test]
async fn what_is_in_flight_finishes_and_then_it_ends() {
    for version in ["HTTP/1.1", "HTTP/2"] {
        let (mut gateway, upstream) = start("30s").await;
        let address = gateway.address(0);
        let client = if version == "HTTP/2" { Client::http2(address) } else { Client::http1(address) };
        let mut answer = held(&client, &upstream).await;
        told(&gateway, libc::SIGTERM).await;
        // It goes on as if nothing were.
        for piece in ["one", "two"] {
            upstream.send(piece);
            assert_eq!(answer.next().await.expect("a piece").expect("a piece"), piece);
        }
        // A reload in between is no second stop.
        gateway.signal(libc::SIGHUP);
        upstream.send("three");
        assert_eq!(answer.next().await.expect("a piece").expect("a piece"), "three");
        let finished = Instant::now();
        upstream.finish();
        assert!(answer.next().await.is_none(), "{version}: the answer is not whole");
        let status = gateway.ended(LIMIT).await;
        let took = finished.elapsed();
        println!("{version}: it ends within {took:?} of its last request");
        // An HTTP/2 peer that stays is given a moment more.
        assert!(status.success() && took < 2 * AT_ONCE, "{version}: {status} after {took:?}");
        let line = gateway.access(|line| line["path"] == "/held").await;
        assert_eq!((&line["status"], &line["bytes_sent"]), (&200.into(), &16.into()), "{version}");
        gateway.wait_line(|line| line["event"] == "stopped" && line["requests_in_flight"] == 0, LIMIT).await;
    }
}

#[tokio::test]
async fn a_request_that_was_not_answered_yet_is_answered_and_its_connection_closed() {
    let (mut gateway, upstream) = start("30s").await;
    let mut raw = Raw::open(gateway.address(0)).await;
    raw.send("GET /slow?ms=300 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    upstream.wait_for(1).await;
    told(&gateway, libc::SIGTERM).await;
    let head = raw.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.to_ascii_lowercase().contains("connection: close"), "{head}");
    assert!(raw.is_closed_within(AT_ONCE).await, "the connection stays open");
    assert!(gateway.ended(LIMIT).await.success());
}

#[tokio::test]
async fn drain_timeout_cuts_what_does_not_end() {
    let (mut gateway, upstream) = start("1s").await;
    let client = Client::http1(gateway.address(0));
    let mut answer = held(&client, &upstream).await;
    let began = told(&gateway, libc::SIGTERM).await;
    let status = gateway.ended(LIMIT).await;
    let took = began.elapsed();
    assert!(status.success() && took >= Duration::from_millis(950) && took < 3 * AT_ONCE, "{status} after {took:?}");
    assert!(answer.next().await.is_some_and(|piece| piece.is_err()), "half an answer looks like a whole one");
    let line = gateway.wait_line(|line| line["event"] == "stopped", LIMIT).await;
    assert_eq!(line["requests_in_flight"], 1, "{line}");
    // Cut off or not, it has its line in the log.
    gateway.access(|line| line["path"] == "/held").await;
}

#[tokio::test]
async fn a_second_signal_cuts() {
    for second in [libc::SIGTERM, libc::SIGINT] {
        let (mut gateway, upstream) = start("30s").await;
        let client = Client::http1(gateway.address(0));
        let _answer = held(&client, &upstream).await;
        told(&gateway, libc::SIGTERM).await;
        let again = Instant::now();
        gateway.signal(second);
        let status = gateway.ended(LIMIT).await;
        assert!(status.success() && again.elapsed() < 2 * AT_ONCE, "{status} after {:?}", again.elapsed());
        let line = gateway.access(|line| line["path"] == "/held").await;
        assert_eq!((&line["bytes_sent"], &line["error"]), (&5.into(), &"the gateway stopped".into()), "{line}");
    }
}

#[tokio::test]
async fn sigint_waits_as_well_but_not_so_long() {
    let (mut gateway, upstream) = start("30s").await;
    let client = Client::http1(gateway.address(0));
    let answer = client.get("/slow?ms=300");
    let stop = async {
        upstream.wait_for(1).await;
        told(&gateway, libc::SIGINT).await;
    };
    let (answer, ()) = tokio::join!(answer.send(), stop);
    assert_eq!(answer.status, 200);
    assert!(gateway.ended(LIMIT).await.success());

    let (mut gateway, upstream) = start("30s").await;
    let client = Client::http1(gateway.address(0));
    let _answer = held(&client, &upstream).await;
    let began = told(&gateway, libc::SIGINT).await;
    let status = gateway.ended(LIMIT).await;
    let took = began.elapsed();
    assert!(status.success() && took > AT_ONCE && took < Duration::from_secs(5), "{status} after {took:?}");
}

#[tokio::test]
async fn an_http2_peer_that_stays_does_not_hold_it_up() {
    let (mut gateway, _upstream) = start("30s").await;
    let mut peer = Raw::open(gateway.address(0)).await;
    // The preface and empty settings (RFC 9113 section 3.4), and then nothing, whatever it is told.
    peer.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    peer.until("\0\0\0\x04\x01\0\0\0\0").await;
    let began = Instant::now();
    gateway.signal(libc::SIGTERM);
    let status = gateway.ended(LIMIT).await;
    let took = began.elapsed();
    println!("an HTTP/2 peer that stays costs {took:?}");
    assert!(status.success() && took < 4 * AT_ONCE, "{status} after {took:?}");
}

#[tokio::test]
async fn new_connections_are_refused_while_it_drains() {
    let (mut gateway, upstream) = start("30s").await;
    let address = gateway.address(0);
    let client = Client::http1(address);
    let mut answer = held(&client, &upstream).await;
    told(&gateway, libc::SIGTERM).await;
    let refused = async || TcpStream::connect(address).await.is_err();
    eventually("new connections are refused", refused).await;
    upstream.finish();
    assert!(answer.next().await.is_none());
    assert!(TcpStream::connect(address).await.is_err());
    assert!(gateway.ended(LIMIT).await.success());
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn a_websocket_goes_on_until_the_time_is_up() {
    let (mut gateway, _upstream) = start("1s").await;
    let mut socket = WebSocket::open(gateway.address(0), "/ws", &[]).await.expect("an upgrade");
    let began = told(&gateway, libc::SIGTERM).await;
    socket.send("still there?").await;
    assert_eq!(socket.next().await.as_deref(), Some("still there?"));
    assert_eq!(within("the end of the WebSocket", socket.next()).await, None);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(950), "cut off after {took:?}");
    assert!(gateway.ended(LIMIT).await.success());
    gateway.access(|line| line["path"] == "/ws" && line["status"] == 101).await;
}

#[tokio::test]
async fn a_websocket_that_its_client_closes_is_not_waited_for() {
    let (mut gateway, _upstream) = start("30s").await;
    let socket = WebSocket::open(gateway.address(0), "/ws", &[]).await.expect("an upgrade");
    told(&gateway, libc::SIGTERM).await;
    let closed = Instant::now();
    drop(socket);
    assert!(gateway.ended(LIMIT).await.success());
    assert!(closed.elapsed() < 2 * AT_ONCE, "{:?}", closed.elapsed());
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let (mut gateway, _upstream) = start("30s").await;
    let control = gateway.dir().join("control.sock");
    assert!(control.exists());
    gateway.signal(libc::SIGTERM);
    assert!(gateway.ended(LIMIT).await.success());
    assert!(!control.exists(), "the control socket is left");
    assert!(TcpStream::connect(gateway.address(0)).await.is_err());
    assert_eq!(gateway.reload().await.code, 1);
}

/// A start that waits for somebody: here for the keys of an issuer, which takes connections and never answers.
#[tokio::test]
async fn a_gateway_that_does_not_serve_yet_ends_at_once() {
    let issuer = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = issuer.local_addr().expect("a bound socket");
    let policy = format!(
        "[policies.tokens]\nuse = \"jwt\"\nissuer = \"http://{address}\"\naudience = [\"a\"]\n\
         algorithms = [\"RS256\"]\ndiscovery = true\n"
    );
    let config = GATEWAY
        .replace("public = true", "auth = [\"tokens\"]")
        .replace("[upstreams.app]", &format!("{policy}[upstreams.app]"));
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let builder = Gateway::builder(&config).set("DRAIN", "30s").set("UPSTREAM", &address);
        let mut gateway = builder.spawn();
        let _asked = within("the issuer is asked", issuer.accept()).await.expect("a connection");
        let began = Instant::now();
        gateway.signal(signal);
        assert!(gateway.ended(LIMIT).await.success(), "{}", gateway.output());
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        assert!(!gateway.lines().iter().any(|line| line["event"] == "ready"), "{}", gateway.output());
        assert!(!gateway.dir().join("control.sock").exists(), "the socket that it had bound is gone");
    }
}
