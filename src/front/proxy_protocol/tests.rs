use super::*;

fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(rest.len()).expect("short").to_be_bytes());
    header.extend(rest);
    header
}

const IPV4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb];

async fn of(bytes: &[u8]) -> (Result<Option<ProxiedPeer>, &'static str>, usize) {
    let mut left = bytes;
    let outcome = read(&mut left).await;
    (outcome, left.len())
}

fn client(address: &str) -> Result<Option<ProxiedPeer>, &'static str> {
    Ok(Some(ProxiedPeer::Client(address.parse().expect("an address"))))
}

#[tokio::test]
async fn both_versions_name_the_client_and_leave_what_follows() {
    let mut ipv6 = [0; 36];
    ipv6[15] = 1;
    ipv6[32..34].copy_from_slice(&4711u16.to_be_bytes());
    let with_extension = [&IPV4[..], &[0xEE, 0, 2, 1, 2]].concat();
    for (header, expected) in [
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 12345 443\r\n".to_vec(), client("203.0.113.7:12345")),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 12345 443\r\n".to_vec(), client("[2001:db8::7]:12345")),
        (b"PROXY UNKNOWN\r\n".to_vec(), Ok(Some(ProxiedPeer::Itself))),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), Ok(Some(ProxiedPeer::Itself))),
        (version_2(0x21, 0x11, &IPV4), client("203.0.113.7:12345")),
        (version_2(0x21, 0x21, &ipv6), client("[::1]:4711")),
        (version_2(0x21, 0x11, &with_extension), client("203.0.113.7:12345")),
        (version_2(0x20, 0x00, &[]), Ok(Some(ProxiedPeer::Itself))),
        (version_2(0x20, 0x11, &IPV4), Ok(Some(ProxiedPeer::Itself))),
    ] {
        let shown = String::from_utf8_lossy(&header).into_owned();
        let followed = [&header[..], b"\x16\x03\x01"].concat();
        assert_eq!(of(&followed).await, (expected, 3), "{shown:?}");
    }
}

#[tokio::test]
async fn what_is_no_header_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
    let huge = version_2(0x21, 0x11, &[0; MAX_REST_BYTES + 1]);
    let (udp, unix) = (version_2(0x21, 0x12, &IPV4), version_2(0x21, 0x31, &[0; 216]));
    let (short, version_3) = (version_2(0x21, 0x11, &IPV4[..8]), version_2(0x31, 0x11, &IPV4));
    for wrong in [
        &b"P"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaa",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 12345 443\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 12345\r\n",
        b"PROXY TCP4 2001:db8::7 10.0.0.1 12345 443\r\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 70000 443\r\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 -1 443\r\n",
        b"proxy TCP4 203.0.113.7 10.0.0.1 12345 443\r\n",
        b"PROXY TCP5 203.0.113.7 10.0.0.1 12345 443\r\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 12345 443 more\r\n",
        b"PROXY TCP4 \xff\xfe 10.0.0.1 12345 443\r\n",
        long.as_bytes(),
        &huge,
        &udp,
        &unix,
        &short,
        &version_3,
        &SIGNATURE[..],
    ] {
        let (outcome, _) = of(wrong).await;
        assert!(outcome.is_err(), "{:?}: {outcome:?}", String::from_utf8_lossy(wrong));
    }
}

#[tokio::test]
async fn who_leaves_without_a_byte_said_nothing_wrong() {
    assert_eq!(of(b"").await, (Ok(None), 0));
}

#[tokio::test]
async fn it_is_known_by_what_follows_the_bytes_that_openssl_takes() {
    for (first, is_known) in [
        (&b"PROXY TCP4 203.0.113.7 10.0.0.1 12345 443\r\n"[..], true),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 12345 443\r\n", true),
        (b"PROXY UNKNOWN\r\n", true),
        (&version_2(0x21, 0x11, &IPV4), true),
        (b"PROXY", false),
        (b"PROXY TC", false),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false),
    ] {
        assert_eq!(is_unexpected(&mut &first[5..]).await, is_known, "{}", first.escape_ascii());
    }
    let (mut silent, _other) = tokio::io::duplex(64);
    assert!(!is_unexpected(&mut silent).await, "it waits for nothing");
}

#[test]
fn no_bytes_make_it_panic() {
    bolero::check!().with_iterations(20_000).for_each(|bytes: &[u8]| {
        let _ = of_version_1(bytes);
        let _ = of_version_2(bytes);
        let _ = of_version_2(&[&SIGNATURE[..], bytes].concat());
        let _ = of_version_1(&[&b"PROXY TCP4 "[..], bytes, b"\r\n"].concat());
    });
}
