//! Bytes that come behind a request: before it is answered, and while it is (RFC 9112 section 9.3.2).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::sleep};

use super::{answers, site};
use crate::harness::{Gateway, Raw, RawUpstream, Upstream, key};

/// What comes behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    EmptyLine,
    Get,
    HalfOfAGet,
    ManyGets,
}

/// The request itself.
#[derive(Clone, Copy, Debug)]
enum First {
    Get,
    Post { length: usize },
    Chunked { length: usize },
}

impl First {
    fn bytes(self, target: &str) -> String {
        let head = format!("{target} HTTP/1.1\r\nHost: a\r\n");
        match self {
            Self::Get => format!("GET {head}\r\n"),
            Self::Post { length } => format!("POST {head}Content-Length: {length}\r\n\r\n{}", "x".repeat(length)),
            Self::Chunked { length } => {
                let chunk = format!("{:x};e=\"f\"\r\n{}\r\n", length / 4, "x".repeat(length / 4)).repeat(4);
                format!("POST {head}Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\nX-Trailer: y\r\n\r\n")
            }
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Get => 0,
            Self::Post { length } | Self::Chunked { length } => length,
        }
    }
}

impl Behind {
    fn bytes(self, target: &str) -> String {
        let get = |number: usize| format!("GET {target}/{number} HTTP/1.1\r\nHost: a\r\n\r\n");
        match self {
            Self::EmptyLine => "\r\n".to_owned(),
            Self::Get => get(1),
            Self::HalfOfAGet => get(1)[..20].to_owned(),
            Self::ManyGets => (1..=self.whole()).map(get).collect(),
        }
    }

    fn whole(self) -> usize {
        match self {
            Self::EmptyLine | Self::HalfOfAGet => 0,
            Self::Get => 1,
            Self::ManyGets => 200,
        }
    }
}

#[tokio::test]
async fn what_comes_behind_a_request_changes_nothing_about_it() {
    let (builder, upstream) = site(Duration::from_millis(5));
    let (gateway, upstream) = (builder.start().await, Arc::new(upstream));
    let (slow_builder, slow_upstream) = site(Duration::from_millis(600));
    let (slow_gateway, slow_upstream) = (slow_builder.start().await, Arc::new(slow_upstream));
    let mut cases = JoinSet::new();
    let firsts = [
        First::Get,
        First::Post { length: 5 },
        First::Post { length: 100_000 },
        First::Chunked { length: 20 },
        First::Chunked { length: 100_000 },
    ];
    let mut number = 0;
    for first in firsts {
        for behind in [Behind::EmptyLine, Behind::Get, Behind::HalfOfAGet, Behind::ManyGets] {
            for route in ["app", "fixed", "locked"] {
                number += 1;
                cases.spawn(case(
                    gateway.address(0),
                    upstream.clone(),
                    first,
                    behind,
                    format!("/{route}/{number}"),
                    false,
                ));
                if behind != Behind::ManyGets {
                    let later = format!("/{route}/later-{number}");
                    cases.spawn(case(slow_gateway.address(0), slow_upstream.clone(), first, behind, later, true));
                }
            }
        }
    }
    cases.join_all().await;
}

/// One row of the table.
async fn case(
    address: SocketAddr,
    upstream: Arc<Upstream>,
    first: First,
    behind: Behind,
    target: String,
    is_late: bool,
) {
    let what = format!("{first:?}, then {behind:?}, {target}");
    let mut client = Raw::open(address).await;
    if is_late {
        client.send(first.bytes(&target)).await;
        sleep(Duration::from_millis(200)).await;
        client.send(behind.bytes(&target)).await;
    } else {
        client.send(first.bytes(&target) + &behind.bytes(&target)).await;
    }
    let answers = answers(&client.rest().await);
    let (status, body) = match &target {
        target if target.starts_with("/app/") => (200, format!("{target} {}", first.length())),
        target if target.starts_with("/fixed/") => (200, "fixed".to_owned()),
        _ => (401, String::new()),
    };
    assert_eq!(answers[0].status, status, "{what}: {}", answers[0].body);
    assert!(status == 401 || answers[0].body == body, "{what}: {}", answers[0].body);
    // Each is answered in order, or the first answer has said that it is the last.
    let is_last = answers[0].head.contains("\r\nconnection: close");
    assert_eq!(answers.len(), if is_last { 1 } else { 1 + behind.whole() }, "{what}");
    assert!(first.length() > 0 || !is_last, "{what}: closed for nothing");
    for (number, answer) in answers.iter().enumerate().skip(1) {
        assert_eq!(answer.status, status, "{what}, {number}");
        assert!(!target.starts_with("/app/") || answer.body == format!("{target}/{number} 0"), "{}", answer.body);
    }
    let saw: Vec<_> = upstream.saw().into_iter().filter(|saw| is_of(&saw.target, &target)).collect();
    assert_eq!(saw.len(), if target.starts_with("/app/") { answers.len() } else { 0 }, "{what}");
    assert!(saw.iter().all(|saw| saw.is_complete), "{what}");
    assert!(saw.first().is_none_or(|saw| saw.body.len() == first.length()), "{what}");
}

fn is_of(saw: &str, target: &str) -> bool {
    saw.strip_prefix(target).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where an upgrade is not agreed to, what comes behind it is the next request.
#[tokio::test]
async fn what_comes_behind_a_refused_upgrade_is_the_next_request() {
    let upstream = RawUpstream::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let builder = Gateway::builder(super::GATEWAY).set("UPSTREAM", &upstream.address());
    let gateway = builder.set("SHA256", &key("acme").1).start().await;
    let mut client = Raw::open(gateway.address(0)).await;
    let upgrade =
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eHh4\r\n";
    let next = "GET /app/next HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(format!("GET /app/chat HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n{next}")).await;
    let answers = answers(&client.rest().await);
    assert_eq!((answers[0].status, answers[0].body.as_str()), (200, "ok"));
    let saw = upstream.saw();
    assert_eq!(saw.len(), answers.len(), "{saw:?}");
    assert!(saw[0].starts_with("GET /app/chat ") && saw.get(1).is_none_or(|saw| saw.starts_with("GET /app/next ")));
}
