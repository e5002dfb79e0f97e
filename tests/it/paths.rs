//! One path for the router, for the policies and for the upstream: raw targets, byte for byte, and what becomes of them.

use std::net::SocketAddr;

use crate::harness::{Client, Gateway, RawUpstream, key, raw};

/// `/admin` asks for a key, and beside it on the same upstream stand open routes.
const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.keys]
use = "key-auth"

[consumers.acme]

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-1"
sha256 = "@SHA256@"

[routes.admin]
paths = ["/admin", "/admin/{*rest}"]
upstream = "app"
auth = ["keys"]

[routes.public]
paths = ["/public/{*rest}", "/caf%c3%a9"]
upstream = "app"
public = true

[routes.files]
paths = ["/files/{name}"]
upstream = "app"
public = true
allow_encoded_slash = true
"#;

/// What becomes of a request without any credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is forwarded, with this target.
    Seen(&'static str),
    /// It is answered with this status, and the upstream hears nothing.
    Refused(u16),
}
use Fate::{Refused, Seen};

struct Site {
    gateway: Gateway,
    upstream: RawUpstream,
    key: String,
}

impl Site {
    async fn start() -> Self {
        let (key, sha256) = key("acme");
        let upstream = RawUpstream::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let builder = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).set("SHA256", &sha256);
        Self { gateway: builder.start().await, upstream, key }
    }

    /// Sends exactly this target; `more` is further header lines.
    async fn ask(&self, target: &[u8], more: &str) -> u16 {
        let tail = format!(" HTTP/1.1\r\nHost: api.example\r\n{more}Connection: close\r\n\r\n");
        let answer = raw(self.gateway.address(0), [b"GET ", target, tail.as_bytes()].concat()).await;
        status(&answer)
    }

    /// Asks without a credential, and holds what the client was told against what the upstream saw and what the log
    /// says that was matched.
    async fn judge(&self, target: &[u8], fate: Fate) {
        let shown = String::from_utf8_lossy(target);
        let before = self.upstream.saw().len();
        let status = self.ask(target, "").await;
        let saw = self.upstream.saw().split_off(before);
        match fate {
            Refused(expected) => assert_eq!((status, saw), (expected, Vec::new()), "{shown:?}"),
            Seen(expected) => {
                assert_eq!((status, saw.len()), (200, 1), "{shown:?}");
                assert_eq!(target_of(&saw[0]), expected, "{shown:?}");
                let id = line(&saw[0], "x-request-id");
                let access = self.gateway.access(|access| access["request_id"] == id).await;
                let matched = access["path"].as_str().expect("a path");
                assert_eq!(Some(matched), expected.split('?').next(), "{shown:?}: one was matched, another forwarded");
            }
        }
    }
}

fn status(answer: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(answer);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|digits| digits.parse().ok());
    status.unwrap_or_else(|| panic!("no answer: {text:?}"))
}

fn target_of(request: &str) -> &str {
    let first = request.lines().next().expect("a request line");
    first.strip_prefix("GET ").and_then(|rest| rest.strip_suffix(" HTTP/1.1")).unwrap_or_else(|| panic!("{first:?}"))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).expect("an escape"));
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    bytes
}

fn line<'r>(request: &'r str, name: &str) -> &'r str {
    let lines = request.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next().expect("the header")
}

/// Raw target, and its fate without a credential.
const TABLE: &[(&[u8], Fate)] = &[
    // Plain, and the spellings that are made one.
    (b"/public/a", Seen("/public/a")),
    (b"/public/", Seen("/public/")),
    (b"/%70ublic/%61", Seen("/public/a")),
    (b"/public/%7e%2D%5f%2E%41", Seen("/public/~-_.A")),
    (b"/public/a%3fb%23c%25", Seen("/public/a%3Fb%23c%25")),
    (b"/public/caf%c3%a9", Seen("/public/caf%C3%A9")),
    (b"/caf%c3%a9", Seen("/caf%C3%A9")),
    (b"/public/a b", Refused(400)),
    (b"/public/a ", Refused(400)),
    (b"/public/a HTTP/1.1", Refused(400)),
    (b"/public/a%20b", Seen("/public/a%20b")),
    (b"/public/[a]{b}|^", Seen("/public/%5Ba%5D%7Bb%7D%7C%5E")),
    (b"/public/..a/a../...", Seen("/public/..a/a../...")),
    (b"/public/%252e%252e/admin", Seen("/public/%252e%252e/admin")),
    (b"/public/a:b@c!$&'()*+,=", Seen("/public/a:b@c!$&'()*+,=")),
    // Case is significant: these are other resources, and nobody's.
    (b"/PUBLIC/a", Refused(404)),
    (b"/ADMIN", Refused(404)),
    (b"/Admin/x", Refused(404)),
    (b"/public", Refused(404)),
    (b"/admin.json", Refused(404)),
    (b"/admin%20", Refused(404)),
    (b"/admin%3Fx", Refused(404)),
    // The way to /admin leads past its key, however it is spelt.
    (b"/admin", Refused(401)),
    (b"/admin/", Refused(401)),
    (b"/admin/users", Refused(401)),
    (b"/%61dmin", Refused(401)),
    (b"/adm%69n/users", Refused(401)),
    (b"/%61%64%6D%69%6e/", Refused(401)),
    (b"/admin?x=/public/a", Refused(401)),
    (b"/admin/public/a", Refused(401)),
    // Dot segments, in every spelling.
    (b"/./admin", Refused(400)),
    (b"/../admin", Refused(400)),
    (b"/public/../admin", Refused(400)),
    (b"/public/./a", Refused(400)),
    (b"/public/..", Refused(400)),
    (b"/public/.", Refused(400)),
    (b"/public/%2e%2e/admin", Refused(400)),
    (b"/public/%2E%2e/admin", Refused(400)),
    (b"/public/.%2e/admin", Refused(400)),
    (b"/public/%2e/a", Refused(400)),
    (b"/admin/../public/a", Refused(400)),
    // Encoded slashes, where the route does not take them, and dots behind them.
    (b"/public/a%2fb", Refused(400)),
    (b"/public/a%2Fb", Refused(400)),
    (b"/public%2fa", Refused(404)),
    (b"/admin%2fusers", Refused(404)),
    (b"/admin%2f..%2fpublic", Refused(400)),
    (b"/public/..%2fadmin", Refused(400)),
    (b"/public/%2e%2e%2fadmin", Refused(400)),
    (b"/%2fadmin", Refused(404)),
    // Empty segments.
    (b"//admin", Refused(400)),
    (b"//public/a", Refused(400)),
    (b"/public//a", Refused(400)),
    (b"/public/a//", Refused(400)),
    (b"///", Refused(400)),
    // What some servers take for a slash, for an end, or for a second thing.
    (b"/public\\a", Refused(400)),
    (b"/public/..\\admin", Refused(400)),
    (b"/public/a%5cb", Refused(400)),
    (b"/public/..%5Cadmin", Refused(400)),
    (b"/admin;x", Refused(400)),
    (b"/admin;/x", Refused(400)),
    (b"/public/..;/admin", Refused(400)),
    (b"/public;a=b/c", Refused(400)),
    (b"/public/a%00", Refused(400)),
    (b"/admin%00/public/a", Refused(400)),
    (b"/public/a%0d%0aX-User-ID:%20root", Refused(400)),
    (b"/public/a%09", Refused(400)),
    (b"/public/a%7f", Refused(400)),
    (b"/public/a\tb", Refused(400)),
    (b"/public/a\x00", Refused(400)),
    // Escapes that are none, and bytes that are not UTF-8, overlong slashes and dots among them.
    (b"/public/a%", Refused(400)),
    (b"/public/a%2", Refused(400)),
    (b"/public/a%zz", Refused(400)),
    (b"/public/%u0061", Refused(400)),
    (b"/public/%c0%af", Refused(400)),
    (b"/public/%c0%ae%c0%ae/admin", Refused(400)),
    (b"/public/%e0%80%af", Refused(400)),
    (b"/public/%f0%80%80%af", Refused(400)),
    (b"/public/%ed%a0%80", Refused(400)),
    (b"/public/%ff", Refused(400)),
    (b"/public/caf\xc3\xa9", Refused(400)),
    (b"/public/\xff", Refused(400)),
    // Absolute form: the same host, another host.
    (b"http://api.example/public/a?b", Seen("/public/a?b")),
    (b"HTTP://API.example/%70ublic/a%20b", Seen("/public/a%20b")),
    (b"http://api.example/admin", Refused(401)),
    (b"http://api.example//admin", Refused(400)),
    (b"http://api.example/public/../admin", Refused(400)),
    (b"http://api.example", Refused(404)),
    (b"http://other.example/public/a", Refused(400)),
    (b"http://api.example:8080/public/a", Refused(400)),
    (b"http://api.example.other/public/a", Refused(400)),
    (b"http://api.example@other.example/public/a", Refused(400)),
    (b"http://api.example\\@other.example/public/a", Refused(400)),
    (b"//api.example/public/a", Refused(400)),
];

#[tokio::test]
async fn every_target_is_made_canonical_or_refused() {
    let site = Site::start().await;
    for (target, fate) in TABLE {
        site.judge(target, *fate).await;
    }
}

#[tokio::test]
async fn what_is_matched_is_what_is_authorised_is_what_is_forwarded() {
    let site = Site::start().await;
    let with_key = format!("X-API-Key: {}\r\n", site.key);
    for (target, expected) in [
        ("/admin", "/admin"),
        ("/%61dmin/", "/admin/"),
        ("/adm%69n/a%7eb%20c?q=%61/../x", "/admin/a~b%20c?q=%61/../x"),
        ("http://api.example/admin/x", "/admin/x"),
    ] {
        assert_eq!(site.ask(target.as_bytes(), "").await, 401, "{target}");
        assert_eq!(site.ask(target.as_bytes(), &with_key).await, 200, "{target}");
        let saw = site.upstream.saw().pop().expect("a request");
        assert_eq!((target_of(&saw), line(&saw, "x-consumer")), (expected, "acme"), "{target}");
    }
}

#[tokio::test]
async fn no_spelling_of_admin_gets_through_without_a_key() {
    let site = Site::start().await;
    let ups = ["..", "%2e%2e", ".%2E", "..;", "..%5c", "..\\", "%c0%ae%c0%ae", "%252e%252e", "..%00"];
    let slashes = ["/", "//", "%2f", "\\", "%5c", "%252f", "%c0%af", "/./", ";/"];
    let names = ["admin", "%61dmin", "admin;", "admin%00", "admin."];
    let spellings = slashes.iter().flat_map(|slash| names.map(|name| format!("{slash}{name}")));
    for spelling in spellings.collect::<Vec<_>>() {
        site.ask(spelling.as_bytes(), "").await;
        for up in ups {
            site.ask(format!("/public/{up}{spelling}").as_bytes(), "").await;
        }
    }
    for saw in site.upstream.saw() {
        // Whoever decodes it once, and splits it wherever a server might, finds it below /public and stays there.
        let decoded = percent_decoded(target_of(&saw));
        let segments: Vec<&[u8]> = decoded.split(|byte| b"/\\;".contains(byte)).skip(1).collect();
        assert_eq!(segments.first(), Some(&&b"public"[..]), "{saw}");
        assert!(!segments.iter().any(|segment| matches!(*segment, b"" | b"." | b"..")), "{saw}");
        assert!(decoded.is_ascii() && !decoded.contains(&0), "{saw}");
    }
}

#[tokio::test]
async fn an_encoded_slash_passes_only_where_the_route_takes_it() {
    let site = Site::start().await;
    for (target, fate) in [
        (&b"/files/a%2fb"[..], Seen("/files/a%2Fb")),
        (b"/files/http:%2F%2Fx.example%2fy", Seen("/files/http:%2F%2Fx.example%2Fy")),
        (b"/files/a%2F..%2fb", Refused(400)),
        (b"/files/%2e%2e%2Fadmin", Refused(400)),
        (b"/files/a%2f.", Refused(400)),
        (b"/files/a%2F/b", Refused(404)),
        (b"/files%2Fa", Refused(404)),
        (b"/public/a%2Fb", Refused(400)),
    ] {
        site.judge(target, fate).await;
    }
}

#[tokio::test]
async fn a_query_arrives_byte_for_byte() {
    let site = Site::start().await;
    for (query, expected) in [
        ("", ""),
        ("a=1&b=2", "a=1&b=2"),
        ("%61=%7e&x=%2f%2F..//;\\[]{}|^", "%61=%7e&x=%2f%2F..//;\\[]{}|^"),
        ("a=%zz&b=%", "a=%zz&b=%"),
        ("next=/../../admin?x?y", "next=/../../admin?x?y"),
        ("a=%00%c0%af", "a=%00%c0%af"),
        ("a+b=c%20d", "a+b=c%20d"),
        ("&&==&", "&&==&"),
    ] {
        for path in ["/public/a", "/%70ublic/a"] {
            assert_eq!(site.ask(format!("{path}?{query}").as_bytes(), "").await, 200, "{query}");
            let saw = site.upstream.saw().pop().expect("a request");
            assert_eq!(target_of(&saw), format!("/public/a?{expected}"), "{query}");
        }
    }
    for query in ["a#b", "a b", "a\tb", "\u{e9}", "\"", "<", ">", "`"] {
        assert_eq!(site.ask(format!("/public/a?{query}").as_bytes(), "").await, 400, "{query:?}");
    }
}

#[tokio::test]
async fn the_same_rule_holds_over_http2() {
    let site = Site::start().await;
    let client = Client::http2(site.gateway.address(0));
    for (target, status) in [
        ("/admin", 401),
        ("/%61dmin/x", 401),
        ("/public/../admin", 400),
        ("/public/%2e%2e/admin", 400),
        ("/public/%2e%2e%2fadmin", 400),
        ("/public/a%2fb", 400),
        ("/public//a", 400),
        ("/public/a;b", 400),
        ("/public/a\\b", 400),
        ("/public/a%5cb", 400),
        ("/public/a%00", 400),
        ("/public/%c0%af", 400),
        ("/public/%zz", 400),
        ("//admin", 400),
        ("/ADMIN", 404),
    ] {
        let answer = client.get(target).host("api.example").send().await;
        assert_eq!((answer.status, site.upstream.saw().len()), (status, 0), "{target}");
    }
    let answer = client.get("/%70ublic/%7ea%3f?q=%7e;/../").host("api.example").send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(target_of(&site.upstream.saw().concat()), "/public/~a%3F?q=%7e;/../");
}

/// The codec of HTTP/2 cuts a fragment off before anybody here could see it. So it is no 400 as over HTTP/1, and it is no
/// way around anything either: matched, authorised and forwarded is what is left.
#[tokio::test]
async fn what_is_left_of_a_fragment_over_http2_is_the_path_for_all() {
    let site = Site::start().await;
    for (path, status) in
        [("/public/a#b", 200_u16), ("/public/a?q#b", 200), ("/public/a#/../../admin", 200), ("/admin#/public/a", 401)]
    {
        assert_eq!(status_over_http2(site.gateway.address(0), path).await, status, "{path}");
    }
    for path in ["#", "#/public/a", "/public/a\"", "/public/a?<", "/public/a b", "/public/a\u{e9}"] {
        assert_ne!(status_over_http2(site.gateway.address(0), path).await, 200, "{path}");
    }
    let saw: Vec<String> = site.upstream.saw().iter().map(|saw| target_of(saw).to_owned()).collect();
    assert_eq!(saw, ["/public/a", "/public/a?q", "/public/a"]);
}

/// The status of a request with this `:path`, which no client would send; 0 for one whose stream or connection ends.
async fn status_over_http2(address: SocketAddr, path: &str) -> u16 {
    const HEADERS: u8 = 1;
    let mut fields = b"\x82\x86\x01\x0bapi.example\x04".to_vec();
    fields.push(u8::try_from(path.len()).expect("short"));
    fields.extend_from_slice(path.as_bytes());
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend_from_slice(&[0, 0, u8::try_from(fields.len()).expect("short"), HEADERS, 5, 0, 0, 0, 1]);
    bytes.extend_from_slice(&fields);
    let answer = raw(address, bytes).await;
    let mut rest = &answer[..];
    while let [high, middle, low, kind, _, _, _, _, _, after @ ..] = rest {
        let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        if *kind == HEADERS {
            // Indexed fields of HPACK's static table (RFC 7541 appendix A), or a literal with the name of one.
            return match after {
                [0x88, ..] => 200,
                [0x8c, ..] => 400,
                [0x8d, ..] => 404,
                [0x48 | 0x08, 3, code @ ..] => str::from_utf8(&code[..3]).expect("text").parse().expect("a status"),
                _ => 401,
            };
        }
        rest = &after[length.min(after.len())..];
    }
    0
}

#[tokio::test]
async fn a_refused_path_is_named_in_the_log_and_not_in_the_answer() {
    let site = Site::start().await;
    let client = Client::http1(site.gateway.address(0));
    let answer = client.get("/public/a;b").send().await;
    assert_eq!((answer.status, &answer.json()["code"]), (400, &"bad_path".into()));
    let access = site.gateway.access(|line| line["request_id"] == answer.json()["request_id"]).await;
    assert_eq!((&access["status"], &access["error"]), (&400.into(), &"the path has a `;`".into()));
    assert_eq!((&access["method"], &access["path"]), (&"GET".into(), &"/public/a;b".into()));
    assert!(!answer.text().contains("`;`"), "the answer says what was wrong: {}", answer.text());
    assert!(client.get("/public/a").send().await.status == 200 && client.connections().await == 2, "left open");
}
