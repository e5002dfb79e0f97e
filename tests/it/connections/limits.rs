//! How many connections there may be, all together and of one address, and which close first.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};

use super::site;
use crate::harness::{Gateway, LIMIT, eventually};

const GET: &str = "GET /fixed/a HTTP/1.1\r\nHost: a\r\n\r\n";

/// A connection from this address of the loopback network.
async fn from(address: Ipv4Addr, gateway: &Gateway) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((address, 0))).expect("an address of this machine");
    socket.connect(gateway.address(0)).await.expect("connects")
}

/// Whether a request on it is answered.
async fn is_served(stream: &mut TcpStream) -> bool {
    if stream.write_all(GET.as_bytes()).await.is_err() {
        return false;
    }
    let mut answer = Vec::new();
    let read = async { while !answer.ends_with(b"fixed") && matches!(stream.read_buf(&mut answer).await, Ok(1..)) {} };
    timeout(LIMIT, read).await.expect("an answer or an end");
    answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"fixed")
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    // A reset is an end as well.
    timeout(LIMIT, stream.read_to_end(&mut rest)).await.is_ok()
}

async fn has_open(gateway: &Gateway, connections: u64) {
    eventually("so many connections are open", async || gateway.status().await["connections"] == connections).await;
}

#[tokio::test]
async fn one_client_does_not_hold_every_connection() {
    let gateway = site(Duration::ZERO).0.server("max_connections = 50").start().await;
    let mut silent = vec![from(Ipv4Addr::LOCALHOST, &gateway).await];
    has_open(&gateway, 1).await;
    for _ in 1..50 {
        silent.push(from(Ipv4Addr::LOCALHOST, &gateway).await);
    }
    let begun = Instant::now();
    assert!(is_served(&mut from(Ipv4Addr::new(127, 0, 0, 2), &gateway).await).await);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    // Those beyond its part were closed as they came.
    has_open(&gateway, 16).await;
    assert!(is_served(&mut silent[0]).await, "the others go on");
    let rejected = "portcullis_connections_rejected_total{reason=\"max_connections_per_address\"}";
    assert_eq!(gateway.metric(rejected).await, 34.0);
    let is_told = |line: &serde_json::Value| line["reason"] == "max_connections_per_address";
    let line = gateway.wait_line(is_told, LIMIT).await;
    assert_eq!((&line["level"], &line["address"]), (&"warn".into(), &"127.0.0.1".into()), "{line}");
    assert!(gateway.lines().iter().filter(|line| is_told(line)).count() < 5, "a line for each: {}", gateway.output());
    // What is closed makes room again.
    drop(silent);
    has_open(&gateway, 0).await;
    assert!(is_served(&mut from(Ipv4Addr::LOCALHOST, &gateway).await).await);
}

#[tokio::test]
async fn the_limit_of_an_address_is_a_setting_and_not_for_those_that_are_trusted() {
    let gateway = site(Duration::ZERO).0.server("max_connections_per_address = 2").start().await;
    let mut clients = Vec::new();
    for number in 1..=3 {
        clients.push(from(Ipv4Addr::LOCALHOST, &gateway).await);
        has_open(&gateway, number.min(2)).await;
    }
    assert!(is_closed(&mut clients[2]).await && is_served(&mut clients[0]).await);

    // With a number of hops any peer may be the proxy.
    for trust in ["[\"127.0.0.1/32\"]", "1"] {
        let configuration = format!("{}\n[client_address]\ntrust = {trust}\n", super::GATEWAY);
        let builder = site(Duration::ZERO).0.toml(&configuration);
        let gateway = builder.server("max_connections_per_address = 2").start().await;
        let mut trusted: Vec<TcpStream> = Vec::new();
        for _ in 0..10 {
            trusted.push(from(Ipv4Addr::LOCALHOST, &gateway).await);
        }
        for client in &mut trusted {
            assert!(is_served(client).await, "{trust}");
        }
    }
}

#[tokio::test]
async fn behind_a_load_balancer_the_client_counts() {
    let builder = site(Duration::ZERO).0.listener("proxy_protocol = [\"127.0.0.0/8\"]");
    let gateway = builder.server("max_connections_per_address = 2").start().await;
    let brought = async |client: &str| {
        let mut stream = from(Ipv4Addr::LOCALHOST, &gateway).await;
        let line = format!("PROXY TCP4 {client} 127.0.0.1 1000 80\r\n");
        stream.write_all(line.as_bytes()).await.expect("sends");
        let is_served = is_served(&mut stream).await;
        (stream, is_served)
    };
    let one = [brought("203.0.113.7").await, brought("203.0.113.7").await, brought("203.0.113.7").await];
    assert_eq!(one.each_ref().map(|(_, is_served)| *is_served), [true, true, false]);
    assert!(brought("203.0.113.8").await.1);
    let line = gateway.wait_line(|line| line["reason"] == "max_connections_per_address", LIMIT).await;
    assert_eq!(line["address"], "203.0.113.7");
}

#[tokio::test]
async fn idle_connections_from_everywhere_make_room_the_oldest_first() {
    let gateway = site(Duration::ZERO).0.server("max_connections = 20").start().await;
    let mut silent = Vec::new();
    for number in 1..=18 {
        silent.push(from(Ipv4Addr::new(127, 0, 1, number), &gateway).await);
        has_open(&gateway, number.into()).await;
    }
    // One that has asked for something is the youngest of them.
    assert!(is_served(&mut silent[0]).await);
    for number in 1..=10 {
        let mut new = from(Ipv4Addr::new(127, 0, 2, number), &gateway).await;
        assert!(is_served(&mut new).await, "{number}");
        assert!(is_closed(&mut silent[usize::from(number)]).await, "{number}");
        has_open(&gateway, 18).await;
        silent.push(new);
    }
    assert!(is_served(&mut silent[0]).await, "it was not the oldest");
    let displaced = gateway.metric("portcullis_connections_rejected_total{reason=\"displaced\"}").await;
    assert_eq!(displaced, 10.0);
}
