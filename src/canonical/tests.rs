use super::*;

fn made(raw: &str) -> Result<String, PathFault> {
    canonical(raw.as_bytes()).map(|path| path.path.into_owned())
}

#[test]
fn a_canonical_path_is_borrowed() {
    for raw in ["/", "/orders", "/orders/", "/a/b.c/..d/.../e..", "/a%20b", "/%2F", "/%C3%A9", "/!$&'()*+,=:@-._~"] {
        let path = canonical(raw.as_bytes()).expect(raw);
        assert!(matches!(path.path, Cow::Borrowed(_)), "{raw} was copied");
        assert_eq!(path.path, raw);
    }
}

#[test]
fn every_spelling_becomes_the_same() {
    for (raw, expected) in [
        ("/%61dmin", "/admin"),
        ("/%7Ejoe/%7ejoe", "/~joe/~joe"),
        ("/a%2db%5fc%2Ed", "/a-b_c.d"),
        ("/a%3fb%23c%3b%25", "/a%3Fb%23c%3B%25"),
        ("/a b", "/a%20b"),
        ("/\"<>[]^`{|}", "/%22%3C%3E%5B%5D%5E%60%7B%7C%7D"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/%e2%82%ac/%f0%9f%8f%b0", "/%E2%82%AC/%F0%9F%8F%B0"),
        ("/%252e%252e/x y", "/%252e%252e/x%20y"),
        ("/%2a%2B", "/%2A%2B"),
        ("/..a/%2e%2e%2e", "/..a/..."),
    ] {
        assert_eq!(made(raw).as_deref(), Ok(expected), "{raw}");
    }
}

#[test]
fn case_is_significant() {
    assert_ne!(made("/ADMIN"), made("/admin"));
}

#[test]
fn ambiguous_paths_are_refused() {
    use PathFault::*;
    for (raw, fault) in [
        ("", NotAbsolute),
        ("admin", NotAbsolute),
        ("*", NotAbsolute),
        ("http://other.example/admin", NotAbsolute),
        ("%2Fadmin", NotAbsolute),
        ("//", EmptySegment),
        ("//admin", EmptySegment),
        ("/a//b", EmptySegment),
        ("/a//", EmptySegment),
        ("/%61//b", EmptySegment),
        ("/.", DotSegment),
        ("/..", DotSegment),
        ("/./admin", DotSegment),
        ("/a/../b", DotSegment),
        ("/a/..", DotSegment),
        ("/%2e/a", DotSegment),
        ("/%2E%2e/a", DotSegment),
        ("/.%2e", DotSegment),
        ("/%2e.", DotSegment),
        ("/a/%2e%2e/", DotSegment),
        ("/admin%2f..%2fpublic", DotSegment),
        ("/admin%2F..%2Fpublic", DotSegment),
        ("/..%2Fadmin", DotSegment),
        ("/a%2F.", DotSegment),
        ("/a%2f%2e%2e", DotSegment),
        ("/a\\b", Backslash),
        ("/a%5cb", Backslash),
        ("/a%5C..%5Cb", Backslash),
        ("/admin;x", Semicolon),
        ("/..;/admin", Semicolon),
        ("/a%00", Control),
        ("/a%0d%0Ab", Control),
        ("/a%1f", Control),
        ("/a%7F", Control),
        ("/a\tb", Control),
        ("/a\0", Control),
        ("/a\x7f", Control),
        ("/a?b", Delimiter),
        ("/a#b", Delimiter),
        ("/a%", BadEscape),
        ("/a%4", BadEscape),
        ("/a%4g", BadEscape),
        ("/a%+1", BadEscape),
        ("/a%u0041", BadEscape),
        ("/é", NotAscii),
        ("/%c0%af", NotUtf8),
        ("/%c0%ae%c0%ae/", NotUtf8),
        ("/%e0%80%af", NotUtf8),
        ("/%f0%80%80%af", NotUtf8),
        ("/%ed%a0%80", NotUtf8),
        ("/%f4%90%80%80", NotUtf8),
        ("/%80", NotUtf8),
        ("/%c3", NotUtf8),
        ("/%c3a", NotUtf8),
        ("/%c3/%a9", NotUtf8),
        ("/%c3%2f", NotUtf8),
        ("/%ff", NotUtf8),
        ("/%c3%4", BadEscape),
    ] {
        assert_eq!(made(raw), Err(fault), "{raw:?}");
    }
}

#[test]
fn an_encoded_slash_stays_data_and_is_told() {
    for (raw, expected, has_encoded_slash) in [
        ("/group%2Fproject", "/group%2Fproject", true),
        ("/group%2fproject", "/group%2Fproject", true),
        ("/%61%2F", "/a%2F", true),
        ("/to/https:%2F%2Fexample.com", "/to/https:%2F%2Fexample.com", true),
        ("/a%252Fb", "/a%252Fb", false),
        ("/%61%252fb", "/a%252fb", false),
        ("/a/b", "/a/b", false),
    ] {
        let path = canonical(raw.as_bytes()).expect(raw);
        assert_eq!((path.path.as_ref(), path.has_encoded_slash), (expected, has_encoded_slash), "{raw}");
    }
}

#[test]
fn length_is_limited_as_received_and_as_made() {
    let raw = format!("/{}", "a".repeat(MAX_PATH_BYTES - 1));
    assert!(made(&raw).is_ok());
    assert_eq!(made(&format!("{raw}a")), Err(PathFault::TooLong));
    assert_eq!(made(&format!("/{}", " ".repeat(MAX_PATH_BYTES / 2))), Err(PathFault::TooLong));
}

#[test]
fn every_single_byte_and_every_escape_keeps_the_promises() {
    for byte in 0..=u8::MAX {
        keeps_the_promises(&[b'/', byte]);
        keeps_the_promises(&[b'/', b'a', byte, b'b']);
        keeps_the_promises(format!("/a%{byte:02x}b").as_bytes());
        keeps_the_promises(format!("/a%{byte:02X}").as_bytes());
    }
}

#[test]
fn fuzz_any_bytes() {
    bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
        keeps_the_promises(bytes);
        keeps_the_promises(&[b"/", bytes.as_slice()].concat());
    });
}

/// Random bytes are seldom a path; these pieces make one that is nearly good, most of the time.
#[test]
fn fuzz_near_paths() {
    const PIECES: [&str; 32] = [
        "/",
        "/",
        "/",
        "a",
        "B",
        ".",
        ".",
        "..",
        "%2e",
        "%2E",
        "%2f",
        "%2F",
        "%61",
        "%7e",
        "%3b",
        "%25",
        "%20",
        " ",
        "{",
        "%c3%a9",
        "%E2%82%AC",
        "%c0%ae",
        "%C3",
        "%A9",
        "%5c",
        "%00",
        ";",
        "\\",
        "%",
        "2",
        "F",
        "?",
    ];
    bolero::check!().with_type::<Vec<u8>>().for_each(|choices| {
        let mut raw = String::from("/");
        for choice in choices {
            // The last six mostly end in a refusal: one draw in eight may take them.
            let among = if choice < &224 { PIECES.len() - 8 } else { PIECES.len() };
            raw.push_str(PIECES[usize::from(*choice) % among]);
        }
        keeps_the_promises(raw.as_bytes());
    });
}

/// Checks the properties of every path that is let through.
fn keeps_the_promises(raw: &[u8]) {
    let Ok(once) = canonical(raw) else { return };
    let path = once.path.as_ref();
    assert_eq!(canonical(path.as_bytes()).as_ref(), Ok(&once), "not a fixed point");

    assert!(path.starts_with('/') && path.len() <= MAX_PATH_BYTES);
    assert!(!path.contains("//"), "{path}");
    assert!(!path.replace("%2F", "/").split('/').any(|segment| matches!(segment, "." | "..")), "{path}");
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\;?#\"<>[]^`{|}".contains(&byte)), "{path}");
    assert_eq!(once.has_encoded_slash, path.contains("%2F"), "{path}");

    let mut decoded = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = [bytes.next(), bytes.next()].map(|digit| digit.expect("an escape has two digits"));
        assert!(digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F')), "{path}");
        let digits = std::str::from_utf8(&digits).expect("hexadecimal digits");
        let escaped = u8::from_str_radix(digits, 16).expect("hexadecimal digits");
        assert!(!escaped.is_ascii_alphanumeric() && !b"-._~\\".contains(&escaped), "{path}");
        assert!(!escaped.is_ascii_control(), "{path}");
        decoded.push(escaped);
    }
    assert!(std::str::from_utf8(&decoded).is_ok(), "{path} decodes to something that is not UTF-8");
}
