use super::*;

/// Reads `bytes` in pieces of this size. Returns how many belong to the body, and whether it is complete.
fn read(bytes: &[u8], piece_bytes: usize) -> Result<(usize, bool), &'static str> {
    let mut framing = Framing::Chunked(Chunks::default());
    let mut ours = 0;
    for piece in bytes.chunks(piece_bytes) {
        let taken = framing.advance(piece)?;
        ours += taken;
        if taken < piece.len() {
            break;
        }
    }
    Ok((ours, framing.is_done()))
}

fn whole(bytes: &[u8]) -> Result<(usize, bool), &'static str> {
    let outcome = read(bytes, bytes.len().max(1));
    for piece_bytes in 1..bytes.len().min(9) {
        assert_eq!(read(bytes, piece_bytes), outcome, "{} in pieces of {piece_bytes}", bytes.escape_ascii());
    }
    outcome
}

#[test]
fn a_body_with_a_length_ends_there() {
    let mut framing = Framing::Length(5);
    assert_eq!((framing.advance(b"hel"), framing.is_done()), (Ok(3), false));
    assert_eq!((framing.advance(b"lo, and more"), framing.is_done()), (Ok(2), true));
    assert_eq!(framing.advance(b"x"), Ok(0));
    assert!(Framing::Length(0).is_done());
}

#[test]
fn chunks_end_behind_the_empty_line() {
    for body in [
        "0\r\n\r\n",
        "000\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "9\r\n\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n",
        "1;a\r\nx\r\n0;b=\"c d\";\u{fc}\r\n\r\n",
        "1 \t;a = b\r\nx\r\n0\r\n\r\n",
        "00000000000000A\r\n0123456789\r\n0\r\nX-Sum: abc\r\ny:\r\n\r\n",
    ] {
        assert_eq!(whole(body.as_bytes()), Ok((body.len(), true)), "{body:?}");
        let behind = format!("{body}GET / HTTP/1.1\r\n");
        assert_eq!(whole(behind.as_bytes()), Ok((body.len(), true)), "{body:?}");
        for length in 0..body.len() {
            assert_eq!(whole(&body.as_bytes()[..length]), Ok((length, false)), "{body:?} {length}");
        }
    }
}

#[test]
fn what_is_read_in_two_ways_is_refused() {
    for (body, why) in [
        ("1\nx\r\n0\r\n\r\n", "chunk size"),
        ("1;a\nx\r\n0\r\n\r\n", "byte in a chunk extension"),
        ("1;a\0b\r\nx", "byte in a chunk extension"),
        ("1;a\rb\r\nx", "bare carriage return in chunks"),
        ("1;a\u{7f}\r\nx", "byte in a chunk extension"),
        ("1;a=\"\r\nx", "data"),
        ("1\r\r\nx", "bare carriage return in chunks"),
        ("1 \r\nx\r\n0\r\n\r\n", "chunk size"),
        (" 1\r\nx\r\n0\r\n\r\n", "chunk size"),
        ("1 1\r\nx", "chunk size"),
        ("+1\r\nx", "chunk size"),
        ("-1\r\nx", "chunk size"),
        ("0x1\r\nx", "chunk size"),
        ("1_0\r\nx", "chunk size"),
        ("g\r\nx", "chunk size"),
        ("\r\n0\r\n\r\n", "chunk size"),
        (";a\r\nx", "chunk size"),
        ("\n", "chunk size"),
        ("10000000000000000\r\nx", "chunk size of too many digits"),
        ("0000000000000001\r\nx", "chunk size of too many digits"),
        ("1\r\nxy\r\n0\r\n\r\n", "chunk longer than its size"),
        ("1\r\nx\n0\r\n\r\n", "chunk longer than its size"),
        ("1\r\nx\r0\r\n\r\n", "chunk longer than its size"),
        ("1\r\nx0\r\n\r\n", "chunk longer than its size"),
        ("0\r\n\n", "trailer line"),
        ("0\r\nno colon\r\n\r\n", "trailer line"),
        ("0\r\n: x\r\n\r\n", "trailer line"),
        ("0\r\nX: a\r\n folded\r\n\r\n", "trailer line"),
        ("0\r\nX: a\nY: b\r\n\r\n", "trailer line"),
        ("0\r\nX: a\0\r\n\r\n", "trailer line"),
        ("0\r\nX\r\n\r\n", "trailer line"),
        ("0\r\nX: a\rb\r\n\r\n", "bare carriage return in chunks"),
        ("0\r\n\rG", "bare carriage return in chunks"),
        ("0\nGET", "chunk size"),
    ] {
        // An extension in quotes ends with its line like any other.
        let expected = if why == "data" { Ok((body.len(), false)) } else { Err(why) };
        assert_eq!(whole(body.as_bytes()), expected, "{body:?}");
    }
}

#[test]
fn what_is_no_data_has_limits() {
    let long = format!("1;{}\r\nx\r\n", "a".repeat(300));
    assert_eq!(whole(long.as_bytes()), Err("chunk extension too long"));
    let many = format!("1;{}\r\nx\r\n", "a".repeat(200)).repeat(100);
    assert_eq!(whole(many.as_bytes()), Err("chunk extensions too long"));
    let small = "1\r\nx\r\n".repeat(100_000);
    assert_eq!(read(small.as_bytes(), 4096), Ok((small.len(), false)), "small chunks are nothing bad");
    let trailers = format!("0\r\n{}", "X: y\r\n".repeat(2000));
    assert_eq!(whole(trailers.as_bytes()), Err("trailers too long"));
}

/// Pingora parses chunk sizes with `httparse`. It reads what passes here in the same way, so that both see the same
/// body.
#[test]
fn pingora_reads_the_same_chunks() {
    bolero::check!().with_type::<Vec<(u8, u8)>>().for_each(|pieces| {
        const PIECES: &str = "0~1~2~a~10~\r\n~\n~\r~;~ ~x~X: y\r\n~\0~0\r\n\r\n~1\r\nx\r\n~2;e\r\nxy\r\n~A \t;\"\r\n";
        let known: Vec<&str> = PIECES.split('~').collect();
        let body: String = pieces.iter().map(|(piece, _)| known[usize::from(*piece) % known.len()]).collect();
        let mut framing = Framing::Chunked(Chunks::default());
        let Ok(ours) = framing.advance(body.as_bytes()) else { return };
        if framing.is_done() {
            assert_eq!(as_pingora(body.as_bytes()), Some(ours), "{body:?}");
        }
    });
}

/// Returns the length of a body by Pingora's rules: sizes as `httparse` reads them, trailers until the first empty
/// line.
fn as_pingora(body: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let Ok(httparse::Status::Complete((length, size))) = httparse::parse_chunk_size(&body[at..]) else {
            return None;
        };
        at += length;
        if size == 0 {
            let end = body[at - 2..].windows(4).position(|four| four == b"\r\n\r\n")?;
            return Some(at + 2 + end);
        }
        at += usize::try_from(size).ok()? + 2;
    }
}
