use std::time::Duration;

use bytes::Bytes;
use h2::server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const PREFACE: &[u8; PREFACE_BYTES] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;
const LIMIT: usize = CONTROL_FRAMES_BURST as usize;

fn frame(kind: u8, payload_bytes: u8) -> Vec<u8> {
    let mut frame = vec![0, 0, payload_bytes, kind, 0, 0, 0, 0, 1];
    frame.extend(vec![7; payload_bytes.into()]);
    frame
}

/// Returns a watch for which no time passes.
fn new() -> FrameWatch {
    FrameWatch { refilled: Instant::now() + Duration::from_secs(3600), ..FrameWatch::new() }
}

fn begun() -> FrameWatch {
    let mut watch = new();
    assert_eq!(watch.received(PREFACE), None);
    watch
}

#[test]
fn a_flood_is_seen_at_the_end_of_the_frame_that_is_too_many() {
    for kind in [2, 3, SETTINGS, PING, 8, 10, 255] {
        let frame = frame(kind, 8);
        let mut watch = begun();
        assert_eq!(watch.received(&frame.repeat(LIMIT)), None, "{kind}");
        assert_eq!(watch.received(&frame.repeat(2)), Some(frame.len()), "{kind}");
    }
}

#[test]
fn pieces_of_every_size_count_the_same() {
    let flood = [PREFACE.as_slice(), &frame(PING, 8).repeat(LIMIT + 3)].concat();
    let end = flood.len() - 2 * frame(PING, 8).len();
    for size in [1, 7, 9, 100, 4096] {
        let mut watch = new();
        let mut seen = 0;
        let cut = flood.chunks(size).find_map(|piece| {
            let cut = watch.received(piece).map(|cut| seen + cut);
            seen += piece.len();
            cut
        });
        assert_eq!(cut, Some(end), "{size}");
    }
}

#[test]
fn requests_and_data_that_is_sent_earn_more() {
    let mut watch = begun();
    for _ in 0..LIMIT {
        assert_eq!(watch.received(&frame(PING, 8).repeat(5)), None);
        watch.sent(&frame(DATA, 20));
        assert_eq!(watch.received(&frame(8, 4).repeat(5)), None);
    }
    for _ in 0..LIMIT {
        assert_eq!(watch.received(&[frame(HEADERS, 30), frame(2, 5).repeat(10)].concat()), None);
    }
    watch.sent(&[frame(PING, 8), frame(SETTINGS, 0), frame(DATA, 0)].concat().repeat(LIMIT));
    assert!(watch.received(&frame(PING, 8).repeat(LIMIT + 1)).is_some(), "acknowledgements earn nothing");
}

#[test]
fn what_is_left_grows_with_time() {
    let mut watch = begun();
    watch.left = 0;
    watch.refilled = Instant::now().checked_sub(Duration::from_secs(1)).expect("the machine runs longer");
    assert_eq!(watch.received(&frame(PING, 8).repeat(CONTROL_FRAMES_PER_SECOND as usize)), None);
    assert!(watch.left < 100, "{}", watch.left);
}

#[test]
fn data_and_continuations_are_counted_by_h2() {
    let mut watch = begun();
    assert_eq!(watch.received(&[frame(DATA, 5), frame(CONTINUATION, 5)].concat().repeat(2 * LIMIT)), None);
}

#[tokio::test]
async fn h2_answers_the_end_of_a_flood_by_goaway() {
    let (mut client, gateway) = tokio::io::duplex(1 << 16);
    let serving = tokio::spawn(async move {
        let mut builder = server::Builder::new();
        builder.max_header_list_size(64 << 10);
        let mut connection = builder.handshake::<_, Bytes>(gateway).await.expect("it speaks HTTP/2");
        while connection.accept().await.is_some_and(|stream| stream.is_ok()) {}
    });
    client.write_all(PREFACE).await.expect("it is read");
    client.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await.expect("it is read");
    client.write_all(&CALM_DOWN).await.expect("it is read");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.expect("it is closed");
    serving.await.expect("no panic");
    let mut bytes = answer.as_slice();
    let goaway = std::iter::from_fn(|| {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let (payload, rest) = rest.split_at_checked(usize::from(head[2]))?;
        bytes = rest;
        Some((head[3], payload))
    });
    let goaway = goaway.filter(|(kind, _)| *kind == GOAWAY).last().expect("GOAWAY").1;
    assert_eq!(goaway[4..8], ENHANCE_YOUR_CALM.to_be_bytes());
}
