//! Servers behind the gateway: those that fail, several of one name, and connections that are kept.
//!
//! - `answers`: what of an answer passes, and which are none.
//! - `limits`: what clients are held to: bodies, idle and slow connections, how many there may be.
//! - `names`: targets whose addresses are looked up.
//! - `retries`: requests that are sent again, and how often.

mod answers;
mod limits;
mod names;
mod retries;

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use crate::harness::{Client, Gateway, LIMIT, RawUpstream, Reply, Response, Upstream, eventually};

const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[upstreams.app]
targets = [@TARGETS@]
connect_timeout = "300ms"
read_timeout = "300ms"
@UPSTREAM@

[routes.app]
paths = ["/{*rest}"]
upstream = "app"
public = true
"#;

/// A gateway whose upstream has these targets, as the file has them.
async fn before(targets: &str) -> Gateway {
    Gateway::builder(GATEWAY).set("TARGETS", targets).set("UPSTREAM", "").start().await
}

/// The same for plain addresses.
async fn before_all(addresses: &[SocketAddr]) -> Gateway {
    before(&addresses.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ")).await
}

/// An address on which nobody listens.
fn unreachable() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("a bound socket")
}

/// A socket that takes connections and never answers.
fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    (listener, address)
}

/// Holds that the answer is this problem, that the access line tells why, and that it was counted.
async fn assert_problem(gateway: &Gateway, answer: &Response, status: u16, code: &str, why: &str, kind: &str) {
    assert_eq!((answer.status, answer.header("content-type")), (status, Some("application/problem+json")));
    let problem = answer.json();
    assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()));
    let line = gateway.access(|line| line["request_id"] == problem["request_id"]).await;
    assert_eq!((&line["status"], &line["route"], &line["upstream"]), (&status.into(), &"app".into(), &"app".into()));
    assert_eq!(line["error"], why, "{line}");
    assert_eq!(errors(gateway, kind).await, 1.0);
}

/// How many errors of this kind the upstream has had.
async fn errors(gateway: &Gateway, kind: &str) -> f64 {
    gateway.metric(&format!("portcullis_upstream_errors_total{{upstream=\"app\",kind=\"{kind}\"}}")).await
}

#[tokio::test]
async fn one_that_is_unreachable_is_502() {
    let gateway = before_all(&[unreachable()]).await;
    let answer = Client::http1(gateway.address(0)).get("/").send().await;
    assert_problem(&gateway, &answer, 502, "upstream_unreachable", "upstream: ConnectRefused", "connect").await;
}

#[tokio::test]
async fn one_that_does_not_answer_in_time_is_504() {
    let (_silent, address) = silent();
    let gateway = before_all(&[address]).await;
    let began = Instant::now();
    let answer = Client::http1(gateway.address(0)).post("/", "hello").send().await;
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_problem(&gateway, &answer, 504, "upstream_timeout", "upstream: ReadTimedout", "timeout").await;
}

#[tokio::test]
async fn one_that_takes_no_connection_in_time_is_504() {
    let (listener, address) = silent();
    // SAFETY: listen(2) on a socket that is ours; it touches no memory.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    // Once the queue is full the kernel answers no handshake.
    let short = Duration::from_millis(50);
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, short) {
        queued.push(stream);
    }
    let gateway = before_all(&[address]).await;
    let answer = Client::http1(gateway.address(0)).get("/").send().await;
    assert_problem(&gateway, &answer, 504, "upstream_timeout", "upstream: ConnectTimedout", "connect").await;
}

#[tokio::test]
async fn one_that_answers_garbage_is_502() {
    for garbage in
        ["220 smtp.example.com ESMTP\r\n\r\n", "HTTP/1.1 xyz OK\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n"]
    {
        let upstream = RawUpstream::start(garbage);
        let gateway = before_all(&[upstream.address()]).await;
        let answer = Client::http1(gateway.address(0)).get("/").send().await;
        assert_problem(&gateway, &answer, 502, "upstream_broken", "upstream: InvalidHTTPHeader", "protocol").await;
    }
}

#[tokio::test]
async fn one_that_closes_before_it_answers_is_502() {
    let upstream = RawUpstream::closing_after(0, "");
    let gateway = before_all(&[upstream.address()]).await;
    let answer = Client::http1(gateway.address(0)).get("/").send().await;
    assert_problem(&gateway, &answer, 502, "upstream_broken", "upstream: ConnectionClosed", "closed").await;
}

#[tokio::test]
async fn one_that_closes_inside_its_head_is_502() {
    let upstream = RawUpstream::start("HTTP/1.1 200 OK\r\nConnection: close\r\nX-Half:");
    let gateway = before_all(&[upstream.address()]).await;
    let answer = Client::http1(gateway.address(0)).get("/").send().await;
    assert_problem(&gateway, &answer, 502, "upstream_broken", "upstream: ConnectionClosed", "closed").await;
}

#[tokio::test]
async fn one_that_closes_inside_its_body_cuts_the_answer_off() {
    for framing in [
        "Content-Length: 10\r\nConnection: close\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n",
    ] {
        let upstream = RawUpstream::start(format!("HTTP/1.1 200 OK\r\n{framing}").leak());
        let gateway = before_all(&[upstream.address()]).await;
        let client = Client::http1(gateway.address(0));
        let mut answer = client.get("/").open().await;
        assert_eq!(
            (answer.status(), answer.next().await.expect("a piece").expect("whole").as_ref()),
            (200, &b"abc"[..])
        );
        assert!(answer.next().await.expect("word of the end").is_err(), "a proper end would say that this is all");
        let line = gateway.access(|line| line["status"] == 200).await;
        assert!(line["error"].as_str().is_some_and(|error| error.starts_with("upstream: ")), "{line}");
        assert_eq!((&line["bytes_sent"], errors(&gateway, "closed").await), (&3.into(), 1.0), "{line}");
    }
}

#[tokio::test]
async fn one_that_stands_still_inside_its_body_cuts_the_answer_off() {
    let upstream = Upstream::start();
    let gateway = before_all(&[upstream.address()]).await;
    let client = Client::http1(gateway.address(0));
    let mut answer = client.get("/sse?chunks=2&ms=3600000").open().await;
    assert!(answer.next().await.expect("a piece").is_ok());
    assert!(answer.next().await.expect("word of the end").is_err());
    let line = gateway.access(|line| line["status"] == 200).await;
    assert_eq!((&line["error"], errors(&gateway, "timeout").await), (&"upstream: ReadTimedout".into(), 1.0));
}

#[tokio::test]
async fn a_failure_of_one_request_is_no_failure_of_another() {
    let upstream = Upstream::start();
    let gateway = before_all(&[upstream.address()]).await;
    let address = gateway.address(0);
    let failing = async || Client::http1(address).get("/slow?ms=3600000").send().await.status;
    let good = async || Client::http1(address).get("/good").send().await.status;
    assert_eq!(tokio::join!(failing(), good(), good(), failing()), (504, 200, 200, 504));
}

#[tokio::test]
async fn targets_take_turns_by_weight() {
    let targets = [Upstream::start(), Upstream::start(), Upstream::start()];
    let [a, b, c] = targets.each_ref().map(Upstream::address);
    let gateway = before(&format!("\"{a}\", {{ address = \"{b}\", weight = 3 }}, \"{c}\"")).await;
    let client = Client::http1(gateway.address(0));
    for _ in 0..10 {
        assert_eq!(client.get("/").send().await.status, 200);
    }
    assert_eq!(targets.each_ref().map(Upstream::requests), [2, 6, 2]);
    let line = gateway.access(|line| line["target"] == b.to_string()).await;
    assert_eq!(line["upstream"], "app");
}

#[tokio::test]
async fn a_dead_target_is_passed_over_whatever_the_method() {
    let alive = Upstream::start();
    let gateway = before_all(&[unreachable(), alive.address()]).await;
    let client = Client::http1(gateway.address(0));
    for number in 0..3 {
        assert_eq!(client.get("/").send().await.status, 200);
        let answer = client.post("/", format!("hello {number}")).send().await;
        assert_eq!((answer.status, alive.last().body), (200, format!("hello {number}").into_bytes()));
    }
    assert_eq!(alive.requests(), 6);
    assert!(errors(&gateway, "connect").await >= 1.0);
}

#[tokio::test]
async fn when_all_targets_are_dead_each_is_tried_once() {
    let gateway = before_all(&[unreachable(), unreachable()]).await;
    let answer = Client::http1(gateway.address(0)).get("/").send().await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (502, Some("upstream_unreachable")));
    let line = gateway.access(|line| line["status"] == 502).await;
    assert_eq!((line.get("target"), line["unreached"].as_array().map(Vec::len)), (None, Some(2)), "{line}");
    assert_eq!(errors(&gateway, "connect").await, 2.0);
}

#[tokio::test]
async fn a_post_that_was_sent_is_never_sent_again() {
    // Read and not answered on a connection of its own, and on one that was kept from an earlier answer.
    for answered in [0, 1] {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let [first, second] = [(); 2].map(|()| RawUpstream::closing_after(answered, ok));
        let gateway = before_all(&[first.address(), second.address()]).await;
        let client = Client::http1(gateway.address(0));
        for _ in 0..answered * 2 {
            assert_eq!(client.get("/").send().await.status, 200);
        }
        let answer = Client::http1(gateway.address(0)).post("/order", "one pizza").send().await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (502, Some("upstream_broken")));
        let posts = [first, second].iter().flat_map(RawUpstream::saw).filter(|saw| saw.starts_with("POST ")).count();
        assert_eq!(posts, 1);
    }
}

#[tokio::test]
async fn a_get_on_a_kept_connection_that_was_closed_meanwhile_is_tried_again() {
    let upstream = RawUpstream::closing_after(1, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = before_all(&[upstream.address()]).await;
    let client = Client::http1(gateway.address(0));
    for _ in 0..4 {
        assert_eq!(client.get("/").send().await.status, 200);
    }
}

#[tokio::test]
async fn host_is_as_received_unless_the_file_names_one() {
    let upstream = Upstream::start();
    let gateway = before_all(&[upstream.address()]).await;
    let ask =
        async |gateway: &Gateway| Client::http1(gateway.address(0)).get("/").host("api.example.com:8080").send().await;
    assert_eq!(ask(&gateway).await.status, 200);
    assert_eq!(upstream.last().header("host"), Some("api.example.com:8080"));

    let builder = Gateway::builder(GATEWAY).set("TARGETS", &format!("\"{}\"", upstream.address()));
    let gateway = builder.set("UPSTREAM", "host = \"orders.internal\"").start().await;
    assert_eq!(ask(&gateway).await.status, 200);
    let saw = upstream.last();
    assert_eq!(
        (saw.header("host"), saw.header("x-forwarded-host")),
        (Some("orders.internal"), Some("api.example.com:8080"))
    );
}

#[tokio::test]
async fn connections_to_the_upstream_are_kept_and_used_again() {
    let upstream = Upstream::start();
    let gateway = before_all(&[upstream.address()]).await;
    for _ in 0..5 {
        // Clients come and go.
        assert_eq!(Client::http1(gateway.address(0)).get("/").send().await.status, 200);
    }
    assert_eq!(upstream.saw().iter().map(|saw| saw.connection).collect::<Vec<_>>(), [1; 5]);
}

#[tokio::test]
async fn a_kept_connection_is_closed_after_its_idle_timeout() {
    let upstream = Upstream::start();
    let builder = Gateway::builder(GATEWAY).set("TARGETS", &format!("\"{}\"", upstream.address()));
    let gateway = builder.set("UPSTREAM", "idle_timeout = \"100ms\"").start().await;
    let client = Client::http1(gateway.address(0));
    let asked_anew = async || {
        client.get("/").send().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        upstream.last().connection > 1
    };
    eventually("another connection", asked_anew).await;
}

#[tokio::test]
async fn the_answer_of_an_upstream_that_refuses_early_is_passed_on() {
    let upstream = RawUpstream::start("HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch");
    let gateway = before_all(&[upstream.address()]).await;
    let client = Client::http1(gateway.address(0));
    let answer = client.post("/", "x").send().await;
    assert_eq!((answer.status, answer.text()), (413, "much".into()));
}

#[tokio::test]
async fn statuses_and_headers_of_the_upstream_are_its_own() {
    let upstream = Upstream::with(|_| {
        Reply::new(418).header("x-tea", "green").header("set-cookie", "a=1").header("set-cookie", "b=2")
    });
    let gateway = before_all(&[upstream.address()]).await;
    let answer = Client::http1(gateway.address(0)).get("/").send().await;
    assert_eq!((answer.status, answer.header("x-tea")), (418, Some("green")));
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    let line = gateway.wait_line(|line| line["event"] == "access", LIMIT).await;
    assert_eq!((&line["status"], line.get("error")), (&418.into(), None));
}
