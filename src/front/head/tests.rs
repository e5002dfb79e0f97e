use super::*;

const MAX_BYTES: usize = 32 * 1024;
const MAX_LINES: usize = 100;

fn checked(head: &[u8]) -> Result<Option<Head>, Fault> {
    check(head, MAX_BYTES, MAX_LINES)
}

/// Returns the bytes that Pingora is given for a head that passes.
fn handed_over(head: &[u8]) -> Result<String, Fault> {
    let checked = checked(head)?.expect("a whole head");
    let request = checked.hand_over(BytesMut::from(head)).map_err(Fault::BadRequest)?;
    Ok(String::from_utf8_lossy(&request.bytes).into_owned())
}

/// Returns a GET with these header lines beside Host.
fn with(lines: &str) -> Vec<u8> {
    format!("GET /orders HTTP/1.1\r\nHost: api.example.com\r\n{lines}\r\n").into_bytes()
}

/// Returns a whole head with this request line.
fn line(line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: api.example.com\r\n\r\n").into_bytes()
}

fn assert_refused(head: &[u8], why: &str) {
    assert_eq!(checked(head).map_err(Fault::why), Err(why), "{}", head.escape_ascii());
}

fn assert_unchanged(head: &[u8]) {
    assert_eq!(handed_over(head).expect("passes"), String::from_utf8_lossy(head));
}

#[test]
fn ordinary_heads_pass_as_they_are() {
    for head in [
        with("").as_slice(),
        &with("Accept: */*\r\nCookie: a=b; c=\"d\"\r\nX-Empty:\r\nX-Blank: \t \r\nX-Opaque: \u{fc}\tx\r\n"),
        &with("Content-Length: 0\r\n"),
        &with("Content-Length:999999999999999999 \r\n"),
        &with("Transfer-Encoding: Chunked\r\n"),
        &with("Authorization: Basic eA==\r\nProxy-Authorization: Basic eQ==\r\n"),
        &with("!#$%&'*+-.^_`|~09azAZ: x\r\n"),
        &line("M-SEARCH /a?b=c&d[]={e}|'f'\\^~ HTTP/1.1"),
        &line("OPTIONS / HTTP/1.1"),
        &line("GET /a%20b%2F..;x//\\ HTTP/1.0"),
        b"GET / HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost:a\r\ncontent-length: 4\r\n\r\nbody",
    ] {
        assert_unchanged(head);
    }
}

#[test]
fn what_follows_the_head_is_not_looked_at() {
    let head = checked(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\0\n\x80").expect("passes").expect("whole");
    assert_eq!(head.end, 27);
}

#[test]
fn every_beginning_of_a_good_head_is_incomplete() {
    let head = with("Content-Length: 12\r\nTransfer-Encoding-X: y\r\n");
    for length in 0..head.len() {
        assert_eq!(checked(&head[..length]), Ok(None), "{length}");
        assert!(!has_end(&head[..length], 0));
    }
    assert!(checked(&head).expect("passes").is_some());
}

#[test]
fn the_end_is_found_wherever_the_pieces_break() {
    for head in [&with("X: y\r\n")[..], b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1\r\nHost: a\n\r\n"] {
        for seen in 0..head.len() {
            assert!(has_end(head, seen), "{} {seen}", head.escape_ascii());
        }
    }
}

#[test]
fn one_leading_empty_line_is_skipped() {
    assert_eq!(
        handed_over(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Ok("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned())
    );
    assert_eq!(
        handed_over(b"\r\nGET http://a HTTP/1.1\r\nHost: a\r\n\r\n"),
        Ok("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned())
    );
    assert_eq!(checked(b"\r\n"), Ok(None));
    assert_refused(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "request line without HTTP/1.1 or HTTP/1.0");
}

#[test]
fn a_host_is_one_name_with_or_without_a_port() {
    for host in
        ["a", "API.example.com.", "a_b-c.d:0", "127.0.0.1:65535", "[::1]", "[2001:db8::1]:8443", "xn--bcher-kva.ch"]
    {
        assert_unchanged(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    }
    for host in [
        "",
        " ",
        "user@a",
        "a b",
        "a,b",
        "a/b",
        "a?b",
        "a#b",
        "a\\b",
        "http://a",
        "%61",
        ".a",
        "a..b",
        ":80",
        "a:",
        "a:x",
        "a:65536",
        "a:123456",
        "a:80:80",
        "[::1",
        "[::1]x",
        "[::1]:",
        "[::g]",
        "[fe80::1%25eth0]",
        "::1",
        "a\u{fc}b",
        "a;b",
    ] {
        assert_refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(), "Host");
        assert_refused(format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes(), "Host");
    }
    assert_refused(&with("Host: api.example.com\r\n"), "two Host lines");
    assert_refused(b"GET / HTTP/1.0\r\nHost: a\r\nhOST: b\r\n\r\n", "two Host lines");
}

#[test]
fn http_11_needs_a_host() {
    assert_refused(b"GET / HTTP/1.1\r\n\r\n", "no Host");
    assert_refused(b"GET / HTTP/1.1\r\nX-Host: a\r\n\r\n", "no Host");
}

#[test]
fn a_request_has_one_length() {
    for (lines, why) in [
        ("Content-Length: 3\r\nContent-Length: 3\r\n", "two Content-Length lines"),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", "two Content-Length lines"),
        ("Content-Length: 3, 3\r\n", "Content-Length"),
        ("Content-Length: +3\r\n", "Content-Length"),
        ("Content-Length: -3\r\n", "Content-Length"),
        ("Content-Length: 0x3\r\n", "Content-Length"),
        ("Content-Length: 3 3\r\n", "Content-Length"),
        ("Content-Length:\r\n", "Content-Length"),
        ("Content-Length: 1000000000000000000\r\n", "Content-Length"),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "Content-Length with Transfer-Encoding"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "Content-Length with Transfer-Encoding"),
        ("Transfer-Encoding: identity, chunked\r\n", "Transfer-Encoding other than chunked"),
        ("Transfer-Encoding: chunked, chunked\r\n", "Transfer-Encoding other than chunked"),
        ("Transfer-Encoding: gzip\r\n", "Transfer-Encoding other than chunked"),
        ("Transfer-Encoding: xchunked\r\n", "Transfer-Encoding other than chunked"),
        ("Transfer-Encoding:\r\n", "Transfer-Encoding other than chunked"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "two Transfer-Encoding lines"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "two Transfer-Encoding lines"),
        ("Transfer-Encoding : chunked\r\n", "header name"),
        ("Content-Length : 3\r\n", "header name"),
    ] {
        assert_refused(&with(lines), why);
    }
    assert_refused(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding in HTTP/1.0");
}

#[test]
fn methods_lines_and_sizes() {
    for method in ["get", "Get", "GEt", "G_T", "G T ", "", "\u{c4}"] {
        assert!(matches!(checked(&line(&format!("{method} / HTTP/1.1"))), Err(Fault::BadRequest(_))), "{method}");
    }
    for head in [line("TRACE / HTTP/1.1"), line("CONNECT a:443 HTTP/1.1"), line("CONNECT /a HTTP/1.0")] {
        assert_eq!(checked(&head), Err(Fault::MethodNotAllowed));
    }
    assert_unchanged(&line("TRACER / HTTP/1.1"));
    for head in [
        b"GET / HTTP/1.1\nHost: a\n\n".as_slice(),
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_refused(head, "bare line feed");
    }
    assert_refused(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\r\n\r\n", "byte in a header value");
    let large = with(&format!("X-Large: {}\r\n", "x".repeat(MAX_BYTES)));
    assert_eq!(checked(&large), Err(Fault::HeadTooLarge(TOO_MANY_BYTES)));
    assert_eq!(checked(&large[..MAX_BYTES]), Ok(None), "not yet too large");
    assert_eq!(checked(&large[..=MAX_BYTES]), Err(Fault::HeadTooLarge(TOO_MANY_BYTES)));
    assert_eq!(checked(&vec![b'G'; MAX_BYTES + 1]), Err(Fault::HeadTooLarge(TOO_MANY_BYTES)));
    assert_unchanged(&with(&"X: y\r\n".repeat(MAX_LINES - 1)));
    assert_eq!(checked(&with(&"X: y\r\n".repeat(MAX_LINES))), Err(Fault::HeadTooLarge(TOO_MANY_LINES)));
}

#[test]
fn a_large_body_does_not_make_a_large_head() {
    let mut request = with("Content-Length: 65536\r\n");
    request.resize(request.len() + 65_536, b'x');
    assert!(checked(&request).expect("passes").is_some());
}

#[test]
fn the_target_has_a_path() {
    let form = "target in neither origin nor absolute form";
    for (target, why) in [
        ("admin", form),
        ("*", form),
        ("api.example.com:80", form),
        ("?a", form),
        ("", form),
        ("ftp://api.example.com/", form),
        ("http:/api.example.com/", form),
        ("http:", form),
        ("/a#b", "byte in the target"),
        ("/a<b", "byte in the target"),
        ("/a>b", "byte in the target"),
        ("/a`b", "byte in the target"),
        ("/a?b=\"c\"", "byte in the target"),
        ("/a\tb", "byte in the target"),
        ("/a\0b", "byte in the target"),
        ("/a\u{7f}b", "byte in the target"),
        ("/a\u{fc}b", "byte in the target"),
        ("/a\rb", "byte in the target"),
        ("http://other.example.com/", "target's authority is not the Host"),
        ("http://user@api.example.com/", "target's authority is not the Host"),
        ("http://api.example.com:80/", "target's authority is not the Host"),
        ("http:///", "target's authority is not the Host"),
        ("http://api.example.com\\@x/", "target's authority is not the Host"),
    ] {
        assert_refused(&line(&format!("GET {target} HTTP/1.1")), why);
    }
    assert_refused(&line("OPTIONS * HTTP/1.1"), form);
    assert_refused(&line("OPTIONS http://api.example.com HTTP/1.1"), "OPTIONS without a path");
    assert_refused(b"GET http://a/ HTTP/1.0\r\n\r\n", "target's authority is not the Host");
}

#[test]
fn absolute_form_becomes_origin_form() {
    for (target, origin) in [
        ("http://api.example.com/orders?a=b", "/orders?a=b"),
        ("HTTPS://API.Example.com/", "/"),
        ("http://api.example.com", "/"),
        ("http://api.example.com?a=/b", "/?a=/b"),
        ("http://api.example.com//x", "//x"),
    ] {
        let handed_over = handed_over(&line(&format!("GET {target} HTTP/1.1")));
        assert_eq!(handed_over, Ok(format!("GET {origin} HTTP/1.1\r\nHost: api.example.com\r\n\r\n")));
    }
}

/// RFC 9112 section 3.2: if it is repaired, two servers may read two targets, or two versions.
#[test]
fn a_request_line_has_two_spaces() {
    for rest in [
        "/a b HTTP/1.1",
        "/a  HTTP/1.1",
        " /a HTTP/1.1",
        "/a HTTP/1.1 HTTP/1.1",
        "/a HTTP/1.0 HTTP/1.1",
        "/a?b c HTTP/1.1",
        "http://api.example.com/a b HTTP/1.1",
        "/a\t HTTP/1.1",
        "\t/a HTTP/1.1",
        " HTTP/1.1 HTTP/1.1",
    ] {
        assert_refused(&line(&format!("GET {rest}")), "byte in the target");
    }
    assert_refused(&line("GET /a HTTP/1.1 "), "request line without HTTP/1.1 or HTTP/1.0");
    assert_refused(&line("GET\t/a HTTP/1.1"), "method");
}

/// The request's own body goes to Pingora, the bytes after it do not.
#[test]
fn a_head_is_handed_over_with_its_own_body_only() {
    for (lines, body, behind, is_whole) in [
        ("", "", "GET / HTTP", true),
        ("Content-Length: 0\r\n", "", "x", true),
        ("Content-Length: 4\r\n", "body", "\r\n", true),
        ("Content-Length: 5\r\n", "body", "", false),
        ("Transfer-Encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n", "GET /", true),
        ("Transfer-Encoding: chunked\r\n", "2\r\nab\r\n0\r\n", "", false),
    ] {
        let (head, all) = (with(lines), [&with(lines)[..], body.as_bytes(), behind.as_bytes()].concat());
        let request = checked(&all).expect("passes").expect("whole").hand_over(BytesMut::from(&all[..]));
        let request = request.expect("well-formed");
        assert_eq!(request.bytes, [&head[..], body.as_bytes()].concat(), "{lines}");
        assert_eq!((&request.behind[..], request.framing.is_done()), (behind.as_bytes(), is_whole), "{lines}");
    }
    let bad = [&with("Transfer-Encoding: chunked\r\n")[..], b"2 \nab"].concat();
    assert_eq!(handed_over(&bad), Err(Fault::BadRequest("chunk size")));
}

#[test]
fn versions_other_than_1_1_and_1_0_are_refused() {
    for request in [
        "GET /",
        "GET / HTTP/2.0",
        "GET / HTTP/0.9",
        "GET / HTTP/1.2",
        "GET / http/1.1",
        "GET /\tHTTP/1.1",
        "PRI * HTTP/2.0",
    ] {
        assert_refused(&line(request), "request line without HTTP/1.1 or HTTP/1.0");
    }
    assert_refused(&line("GET HTTP/1.1"), "method");
    assert_refused(&line(" / HTTP/1.1"), "method");
}

#[test]
fn header_lines_are_names_and_values() {
    for (lines, why) in [
        ("X: y\r\n folded\r\n", "folded header line"),
        ("X: y\r\n\tfolded\r\n", "folded header line"),
        ("no colon\r\n", "header name"),
        (": y\r\n", "header name"),
        ("X y: z\r\n", "header name"),
        ("X\u{fc}: y\r\n", "header name"),
        ("X(y): z\r\n", "header name"),
        ("X\0: z\r\n", "header name"),
        ("X: a\0b\r\n", "byte in a header value"),
        ("X: a\rb\r\n", "byte in a header value"),
        ("X: a\u{7f}\r\n", "byte in a header value"),
        ("X: \u{1b}[0m\r\n", "byte in a header value"),
        ("Authorization: a\r\nauthorization: b\r\n", "two Authorization lines"),
    ] {
        assert_refused(&with(lines), why);
    }
    assert_refused(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "folded header line");
}

/// Nothing is left for Pingora to refuse with an answer of its own.
#[test]
fn pingora_takes_every_byte_that_passes_in_a_target() {
    for target in (b' '..=b'~').flat_map(|byte| [format!("/{}", byte as char), format!("/?{}", byte as char)]) {
        let head = line(&format!("GET {target} HTTP/1.1"));
        assert_eq!(assert_read_alike(&head), !target.contains(['#', '"', '<', '>', '`', ' ']), "{target}");
    }
}

/// The parser that Pingora uses reads a head that passes in the same way, and Pingora makes a request of it.
#[test]
fn whatever_passes_other_parsers_read_alike() {
    // Pieces of heads, with `~` between them.
    const PIECES: &str = "GET~ ~/~*~ HTTP/1.1~ HTTP/1.0~\r\n~\n~\r~Host:~a.example~http://a.example~a~\t~Content-Length: ~3~,~\
        Transfer-Encoding: ~chunked~%2f~#~?~:~X-Y: z\r\n~\0~\u{fc}~<~+~{~\\~|~^~TRACE~x~@";
    let pieces: Vec<&str> = PIECES.split('~').collect();
    let mut passed = 0;
    bolero::check!().with_type::<(Vec<u8>, Vec<(u8, u8)>)>().for_each(|(bytes, changes)| {
        // Anything at all must not panic.
        let _ = checked(bytes);
        // A good head with a target and lines put together from pieces, then changed here and there.
        let piece = |byte: &u8| pieces[usize::from(*byte) % pieces.len()];
        let (target, lines) = bytes.split_at(bytes.len() / 2);
        let (target, lines): (String, String) =
            (target.iter().take(4).map(piece).collect(), lines.iter().take(4).map(piece).collect());
        let mut head = format!("GET /{target} HTTP/1.1\r\nHost: a.example\r\nX: {lines}\r\n\r\n").into_bytes();
        for (at, change) in changes.iter().take(2) {
            let at = usize::from(*at) % head.len();
            head.splice(at..=at, piece(change).bytes());
        }
        passed += usize::from(assert_read_alike(&head));
    });
    assert!(passed > 0, "the generator makes nothing that passes");
}

fn assert_read_alike(raw: &[u8]) -> bool {
    let Ok(Some(head)) = checked(raw) else { return false };
    let (method, body) = (raw[head.method.clone()].to_vec(), raw.len() - head.end);
    let (target, path) = (&raw[head.target.clone()], &raw[head.path..head.target.end]);
    let Ok(Request { mut bytes, behind, .. }) = head.hand_over(BytesMut::from(raw)) else { return false };
    bytes.unsplit(behind);
    let mut headers = [httparse::EMPTY_HEADER; MAX_LINES];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", bytes.escape_ascii()));
    assert_eq!(parsed, httparse::Status::Complete(bytes.len() - body), "{}", bytes.escape_ascii());
    assert_eq!(request.method.map(str::as_bytes), Some(&method[..]));
    let path = String::from_utf8_lossy(path);
    let expected = if path.starts_with('/') { path.into_owned() } else { format!("/{path}") };
    assert_eq!(request.path, Some(&expected[..]), "{}", target.escape_ascii());
    pingora::http::RequestHeader::build(&method[..], expected.as_bytes(), None).expect("Pingora takes the target");
    true
}
