//! Frames that cost their sender nothing, by the thousand: the connection that sends them is ended, by GOAWAY with
//! ENHANCE_YOUR_CALM, and no other is the worse for it.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{GATEWAY, peers::Connection};
use crate::harness::{Gateway, within};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const UNKNOWN: u8 = 0xfa;

const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A GET of `/quick` in HPACK, by the static table: method, scheme, path, authority.
const REQUEST: &[u8] = b"\x82\x86\x04\x06/quick\x01\x01a";
/// A POST of it.
const UPLOAD: &[u8] = b"\x83\x86\x04\x12/files/anything/is\x01\x01a";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

async fn start() -> Gateway {
    Gateway::builder(GATEWAY).set("UPSTREAM", "127.0.0.1:1").start().await
}

/// The error code of the GOAWAY that ends a connection on which this is sent, if it ends.
async fn goaway(address: SocketAddr, frames: Vec<u8>) -> Option<u32> {
    let (mut reading, mut writing) = TcpStream::connect(address).await.expect("a connection").into_split();
    let sending = async move {
        let begin = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, &[])].concat();
        // It may be closed before all of it is sent.
        let _ = writing.write_all(&begin).await;
        let _ = writing.write_all(&frames).await;
        writing
    };
    let receiving = async move {
        let mut head = [0; 9];
        let mut code = None;
        while reading.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            reading.read_exact(&mut payload).await.ok()?;
            if head[3] == GOAWAY {
                code = Some(u32::from_be_bytes(payload[4..8].try_into().expect("four bytes")));
            }
        }
        code
    };
    within("the connection ends", async { tokio::join!(sending, receiving).1 }).await
}

#[tokio::test]
async fn a_flood_of_control_frames_is_told_to_calm_down() {
    let gateway = start().await;
    let other = Connection::open(gateway.address(0)).await;
    for (what, flooding) in [
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("PING", frame(PING, 0, 0, b"12345678")),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown", frame(UNKNOWN, 0, 0, b"anything")),
    ] {
        assert_eq!(goaway(gateway.address(0), flooding.repeat(14_000)).await, Some(ENHANCE_YOUR_CALM), "{what}");
    }
    assert_eq!(gateway.ask_admin("/status").await.json()["floods_ended"], 5);
    gateway.wait_line(|line| line["message"].to_string().contains("control frames"), crate::harness::LIMIT).await;
    assert!(other.is_alive().await);
}

/// These `h2` ends by itself.
#[tokio::test]
async fn floods_of_streams_and_of_empty_frames_are_told_to_calm_down() {
    let gateway = start().await;
    let streams = |frames: fn(u32) -> Vec<u8>| (0..2000).flat_map(|index| frames(2 * index + 1)).collect::<Vec<_>>();
    let request = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, REQUEST);
    let rapid_reset = streams(|stream| {
        let request = frame(HEADERS, END_HEADERS | END_STREAM, stream, REQUEST);
        [request, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    });
    let unending = [frame(HEADERS, END_STREAM, 1, REQUEST), frame(CONTINUATION, 0, 1, &[]).repeat(2000)].concat();
    let empty = [frame(HEADERS, END_HEADERS, 1, UPLOAD), frame(DATA, 0, 1, &[]).repeat(2000)].concat();
    for (what, flood) in [("rapid reset", rapid_reset), ("CONTINUATION", unending), ("empty DATA", empty)] {
        assert_eq!(goaway(gateway.address(0), flood).await, Some(ENHANCE_YOUR_CALM), "{what}");
    }
    // One frame after the end of the client's own words: the connection was not ended before.
    let last = frame(GOAWAY, 0, 0, &[0; 8]);
    let honest = [request(1), frame(PING, 0, 0, b"12345678").repeat(2000), request(3), last].concat();
    assert_ne!(goaway(gateway.address(0), honest).await, Some(ENHANCE_YOUR_CALM));
}
