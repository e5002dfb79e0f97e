use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering::Relaxed},
};

use pingora::proxy::Session;
use tokio::io::{AsyncWriteExt, DuplexStream};

use super::{
    read::{RETRY_BUFFER_BYTES, stand_in},
    *,
};
use crate::body_budget::BodyBudget;

/// Returns a budget of this size, and the counter of what is taken of it.
fn budget(max_bytes: usize) -> (Arc<BodyBudget>, Arc<AtomicUsize>) {
    let used = Arc::new(AtomicUsize::new(0));
    let budget = BodyBudget::new(used.clone());
    budget.set_max_bytes(max_bytes);
    (Arc::new(budget), used)
}

fn growing(budget: &Arc<BodyBudget>) -> Growing {
    Growing { bytes: Vec::new(), reservation: budget.reservation(IpAddr::V4(Ipv4Addr::LOCALHOST)) }
}

#[test]
fn what_is_counted_is_what_is_allocated() {
    let (budget, used) = budget(1 << 20);
    let mut body = growing(&budget);
    for _ in 0..100 {
        assert!(body.push(&[1; 700], 50_000));
        assert!(used.load(Relaxed) >= body.bytes.capacity(), "{} {}", used.load(Relaxed), body.bytes.capacity());
    }
    assert_eq!(body.bytes.len(), 70_000, "more than was expected is taken too");
    let whole = Bytes::from_owner(body);
    let part = whole.slice(..10);
    drop(whole);
    assert!(used.load(Relaxed) >= 70_000, "a part of it keeps all of it");
    drop(part);
    assert_eq!(used.load(Relaxed), 0);
}

#[test]
fn a_body_of_known_length_takes_no_more_than_that() {
    let (budget, used) = budget(1 << 20);
    let mut body = growing(&budget);
    for piece in [&[0; 60_000][..], &[0; 40_000]] {
        assert!(body.push(piece, 100_000));
    }
    assert_eq!(used.load(Relaxed), 100_000);
}

#[test]
fn the_room_is_shared_and_bounded() {
    // One address has half of it.
    let (budget, used) = budget(2000);
    let (mut first, mut second) = (growing(&budget), growing(&budget));
    assert!(first.push(&[0; 600], 10_000));
    assert!(!second.push(&[0; 401], 10_000));
    assert!(second.push(&[0; 400], 10_000), "what was refused took nothing");
    assert!(!first.push(&[0; 1], 10_000));
    drop(second);
    assert!(first.push(&[0; 300], 10_000), "without the budget to be generous it takes what it needs");
    assert_eq!(used.load(Relaxed), 900);
    drop(first);
    assert_eq!(used.load(Relaxed), 0);
}

/// What is held, with so many bytes of what Pingora hands on standing for it.
fn held(content: Content, stand_in_bytes: usize) -> Held {
    Held { content, stand_in_bytes, ..Held::default() }
}

fn handed_on(held: &mut Held, piece: Option<&'static [u8]>) -> Option<Vec<u8>> {
    let mut piece = piece.map(Bytes::from_static);
    held.hand_on(&mut piece);
    piece.map(|piece| piece.to_vec())
}

#[test]
fn a_body_takes_the_place_of_what_stands_for_it_once_for_each_target() {
    let mut head = RequestHeader::build("POST", b"/", None).expect("a head");
    let mut whole = held(Content::Whole(Bytes::from_static(b"the body")), 1);
    for _target in 0..2 {
        head.insert_header("transfer-encoding", "chunked").expect("a header");
        whole.frame(&mut head).expect("a head to frame");
        assert_eq!(head.headers["content-length"], "8");
        assert!(!head.headers.contains_key("transfer-encoding"));
        assert_eq!(handed_on(&mut whole, Some(b"-")), Some(b"the body".to_vec()));
        assert_eq!(handed_on(&mut whole, None), None, "the end is the end");
    }
}

#[test]
fn a_piece_beyond_the_room_is_kept_and_counted() {
    let (budget, used) = budget(1000);
    let mut body = growing(&budget);
    assert!(body.push(&[1; 400], 10_000));
    assert!(!body.push(&[2; 200], 10_000));
    body.push_beyond(&[2; 200]);
    assert_eq!((body.bytes.len(), used.load(Relaxed)), (600, 600));
    assert_eq!(handed_on(&mut held(Content::Begun(body), 0), Some(b"rest")).expect("a body").len(), 604);
    assert_eq!(used.load(Relaxed), 0);
}

#[test]
fn a_beginning_comes_before_the_rest() {
    let (budget, _) = budget(1000);
    let begun = |stand_in_bytes| {
        let mut body = growing(&budget);
        assert!(body.push(b"begin", 100));
        held(Content::Begun(body), stand_in_bytes)
    };
    assert_eq!(handed_on(&mut begun(0), Some(b"ning")), Some(b"beginning".to_vec()));
    // Tried again: Pingora has kept what came since.
    assert_eq!(handed_on(&mut begun(2), Some(b"bening")), Some(b"beginning".to_vec()));
    assert_eq!(handed_on(&mut begun(0), None), Some(b"begin".to_vec()));
}

#[test]
fn an_empty_body_stays_none() {
    let mut head = RequestHeader::build("GET", b"/", None).expect("a head");
    let mut empty = held(Content::Whole(Bytes::new()), 0);
    empty.frame(&mut head).expect("a head to frame");
    assert!(head.headers.is_empty());
    assert_eq!(handed_on(&mut empty, None), None);
}

/// Returns a session that has read the head of a request, and the client's end of its connection, which has sent all of
/// it.
async fn session(request: Vec<u8>) -> (Session, DuplexStream) {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    client.write_all(&request).await.expect("it fits");
    let mut session = Session::new_h1(Box::new(server));
    assert!(session.downstream_session.read_request().await.expect("a head"));
    (session, client)
}

async fn read_to_the_end(session: &mut Session) -> usize {
    let mut bytes = 0;
    while let Some(piece) = session.downstream_session.read_request_body().await.expect("a body") {
        bytes += piece.len();
    }
    bytes
}

#[tokio::test]
async fn pingora_keeps_64_kib_of_a_body_to_hand_on() {
    for (length, kept) in [(RETRY_BUFFER_BYTES, Some(RETRY_BUFFER_BYTES)), (RETRY_BUFFER_BYTES + 1, None)] {
        let mut request = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        request.resize(request.len() + length, b'x');
        let (mut session, _client) = session(request).await;
        session.enable_retry_buffering();
        assert_eq!(read_to_the_end(&mut session).await, length);
        assert_eq!(session.retry_buffer_truncated(), kept.is_none());
        assert_eq!(session.get_retry_buffer().map(|body| body.len()), kept);
    }
}

#[tokio::test]
async fn a_stand_in_is_what_pingora_hands_on() {
    const LENGTH: usize = 2 * RETRY_BUFFER_BYTES;
    let mut request = format!("PUT /a?b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{LENGTH:x}\r\n");
    request.extend(std::iter::repeat_n('x', LENGTH));
    request.push_str("\r\n0\r\n\r\n");
    let (mut session, _client) = session(request.into_bytes()).await;
    session.enable_retry_buffering();
    assert_eq!(read_to_the_end(&mut session).await, LENGTH);
    assert!(session.retry_buffer_truncated() && session.get_retry_buffer().is_none(), "nothing would be handed on");
    stand_in(&mut session).await.expect("it is a request");
    assert_eq!(session.get_retry_buffer().as_deref(), Some(&b"-"[..]));
    assert!(session.is_body_done() && !session.retry_buffer_truncated());
    let head = session.req_header();
    assert_eq!((head.method.as_str(), head.raw_path()), ("PUT", &b"/a?b"[..]));
    assert!(head.headers.contains_key("transfer-encoding"), "the head is the client's");
}
