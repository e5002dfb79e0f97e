use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::{
    BodyError, ClientCert, Place, Places, Reason,
    testing::{Request, Response},
};

/// A secret in the credentials of odd requests. Nothing that a plugin says may repeat it.
pub(super) const MARK: &str = "conformance-mark-5f2dd9";

/// Makes a request, as often as it is asked for.
type Make = Box<dyn Fn() -> Request>;

/// Times at which clocks have stood.
pub(super) const CLOCKS: [i64; 7] = [0, -1, 1, 4_102_444_800, 253_402_300_800, i64::MAX, i64::MIN];

/// Headers that plugins look at, whatever their settings say.
const HEADERS: [&str; 16] = [
    "authorization",
    "content-digest",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "dpop",
    "host",
    "origin",
    "signature",
    "signature-input",
    "user-agent",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-forwarded-client-cert",
    "x-api-key",
];

/// Odd requests, by name.
pub(super) fn odd(places: &Places) -> Vec<(String, Make)> {
    let mut all: Vec<(String, Make)> = vec![("nothing".to_owned(), Box::new(|| from(Request::get("/"))))];
    let mut headers: Vec<(String, Option<String>)> = HEADERS.map(|name| (name.to_owned(), None)).into();
    for place in &places.0 {
        match place {
            Place::Header { name, scheme } => headers.push((name.to_string(), scheme.clone())),
            Place::Query(name) => all.extend(queries(name)),
            Place::Cookie(name) => all.extend(cookies(name)),
        }
    }
    all.extend(queries("x"));
    all.extend(cookies("x"));
    for (name, scheme) in headers {
        all.extend(values(scheme.as_deref()).into_iter().map(|(label, lines)| {
            let name = name.clone();
            let make: Make = {
                let name = name.clone();
                Box::new(move || with_lines(&name, &lines))
            };
            (format!("the header `{name}`, {label}"), make)
        }));
    }
    all.extend(lines());
    all.extend(bodies());
    all.extend(certificates());
    all.extend(clocks());
    all
}

/// Responses of the upstream, and the gateway's own.
pub(super) fn responses() -> Vec<Response> {
    let of = |status| Response::new(status).header("set-cookie", "a=b").header("set-cookie", "c").header("vary", "*");
    let own = [401, 403, 429, 503].map(|status| Response { is_own: true, ..of(status) });
    [200, 204, 304, 500, 999].map(of).into_iter().chain(own).collect()
}

/// From somebody who is nobody else: limits on attempts are not reached for others.
fn from(request: Request) -> Request {
    Request { address: [192, 0, 2, 7].into(), ..request }
}

/// A header's lines. Those that no parser lets through are left out.
fn with_lines(name: &str, lines: &[Vec<u8>]) -> Request {
    let mut request = from(Request::get("/"));
    for line in lines {
        if let (Ok(name), Ok(line)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(line)) {
            request.head.headers.append(name, line);
        }
    }
    request
}

/// The odd values of a header, each with one line or several.
fn values(scheme: Option<&str>) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let text = |text: &str| vec![text.as_bytes().to_vec()];
    let marked = |with: &str| scheme.map_or_else(|| with.to_owned(), |scheme| format!("{scheme} {with}"));
    vec![
        ("empty", text("")),
        ("blank", text("   ")),
        ("unknown", text(&marked(MARK))),
        ("twice the same", [text(&marked(MARK)), text(&marked(MARK))].concat()),
        ("twice, different", [text(&marked(MARK)), text(&marked("other"))].concat()),
        ("a scheme alone", text(scheme.unwrap_or("Bearer"))),
        ("a scheme that nobody knows", text(&format!("Odd {MARK}"))),
        ("not UTF-8", vec![b"\xff\xfe\x80".to_vec()]),
        ("not UTF-8 after its scheme", vec![[marked("").as_bytes(), b"\xff\xfe"].concat()]),
        ("not ASCII", text(&marked("\u{fc}\u{1f511}"))),
        ("oversized", vec![vec![b'a'; 1 << 16]]),
        ("of commas", vec![vec![b','; 1 << 12]]),
        ("of quotes", text(r#",;="\"="\""#)),
        ("with a quote that does not end", text(&marked("a=\"b, c=\"d"))),
        ("a list", text("a, b, c")),
        ("a number that is too large", text(&"9".repeat(400))),
        ("a negative number", text("-1")),
        ("a date that there is not", text("Thu, 32 Foo 99999 25:61:61 GMT")),
        ("a password", text("Basic dXNlcjpjb25mb3JtYW5jZS1tYXJrLTVmMmRkOQ==")),
        ("a password that is no Base64", text("Basic =====")),
        ("a token of nobody", text(&format!("Bearer {MARK}"))),
        ("an unsigned token", text("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.")),
        ("a token that is deep", text(&format!("Bearer {}.e30.e30", "W1tb".repeat(2_000)))),
        ("dots", text(&marked("....."))),
        ("a signature", text("sig=();created=99999999999999999999;keyid=\"\u{e9}\"")),
        ("an AWS signature", text("AWS4-HMAC-SHA256 Credential=////, SignedHeaders=;;, Signature=zz")),
        ("a fingerprint", text(&marked(&"0".repeat(64)))),
    ]
}

fn of_target(target: &str) -> Option<Make> {
    let uri: http::Uri = target.parse().ok()?;
    Some(Box::new(move || {
        let mut request = from(Request::get("/"));
        request.head.uri = uri.clone();
        request
    }))
}

fn queries(name: &str) -> Vec<(String, Make)> {
    let of = |query: String| of_target(&format!("/a?{query}")).map(|make| (format!("a query `{name}`"), make));
    let long = "a".repeat(1 << 15);
    [
        name.to_owned(),
        format!("{name}="),
        format!("{name}={MARK}"),
        format!("{name}={MARK}&{name}={MARK}"),
        format!("{name}=a&{name}=b"),
        format!("{name}=%"),
        format!("{name}=%ff%00%zz"),
        format!("%{:02x}{}={MARK}", name.as_bytes().first().unwrap_or(&b'x'), name.get(1..).unwrap_or_default()),
        format!("&&=&{name}&=;{name}={MARK};"),
        format!("{name}={long}"),
        vec![format!("{name}=1"); 2_000].join("&"),
    ]
    .into_iter()
    .filter_map(of)
    .collect()
}

fn cookies(name: &str) -> Vec<(String, Make)> {
    let lines = [
        vec![format!("{name}={MARK}")],
        vec![format!("{name}={MARK}; {name}={MARK}")],
        vec![format!("{name}=a"), format!("{name}=b")],
        vec![format!("{name}")],
        vec![format!("{name}=\"{MARK}\"; ;; =; {name}")],
        vec![format!("{name}={}", "a".repeat(1 << 16))],
        vec![format!("a=1; {name}=b; ").repeat(2_000)],
        vec![format!("{name}={MARK}.{MARK}.{MARK}")],
    ];
    lines
        .into_iter()
        .map(|lines| {
            let lines: Vec<_> = lines.into_iter().map(String::into_bytes).collect();
            let make: Make = Box::new(move || with_lines("cookie", &lines));
            (format!("a cookie `{name}`"), make)
        })
        .collect()
}

/// Odd methods and targets.
fn lines() -> Vec<(String, Make)> {
    let methods = ["OPTIONS", "CONNECT", "get", "M-SEARCH", "PROPFIND", "A"].map(str::to_owned);
    let methods = methods.into_iter().chain([format!("X{}", "Y".repeat(500))]).map(|method| {
        let make: Make = {
            let method = method.clone();
            Box::new(move || from(Request::new(&method, "/a/b?c=d")))
        };
        (format!("the method `{method}`"), make)
    });
    let long = format!("/{}", "a/".repeat(1 << 13));
    let targets = ["*", "//", "/%2e%2e/%00", "/%", "/a;b=c/", "/?", "http://other.example/", "/\u{e9}", &long];
    let targets = targets.map(|target| Some((format!("the target `{target:.40}`"), of_target(target)?)));
    methods.chain(targets.into_iter().flatten()).collect()
}

fn bodies() -> Vec<(String, Make)> {
    fn error(number: usize) -> BodyError {
        match number {
            0 => BodyError::TooLarge,
            1 => BodyError::NoRoom,
            _ => BodyError::Broken("the test says so".to_owned()),
        }
    }
    let with = |body: &'static [u8], waits: usize| -> (String, Make) {
        let make = move || Request {
            body: Bytes::from_static(body),
            body_waits: waits,
            ..from(Request::new("POST", "/")).header("content-length", body.len().to_string())
        };
        ("a body".to_owned(), Box::new(make))
    };
    let broken = (0..3).map(|number| -> (String, Make) {
        let make = move || Request { body_error: Some(error(number)), ..from(Request::new("POST", "/")) };
        (format!("a body that cannot be read: {:?}", error(number)), Box::new(make))
    });
    [with(b"", 1), with(b"\xff\0", 2), with(&[b'a'; 1 << 16], 5)].into_iter().chain(broken).collect()
}

fn certificates() -> Vec<(String, Make)> {
    let with = |label: &str, certificate: fn() -> Result<Option<ClientCert>, Reason>| -> (String, Make) {
        let make = move || Request { certificate: certificate(), is_https: true, ..from(Request::get("/")) };
        (format!("a certificate, {label}"), Box::new(make))
    };
    vec![
        with("empty", || Ok(Some(ClientCert::new(Vec::new(), Vec::new())))),
        with("malformed", || Ok(Some(ClientCert::new(b"\x30\x84\xff\xff\xff\xff".to_vec(), vec![vec![0x30]; 20])))),
        with("oversized", || Ok(Some(ClientCert::new(vec![0x30; 1 << 16], Vec::new())))),
        with("which does not count", || Err(Reason::Plugin("test"))),
    ]
}

fn clocks() -> impl Iterator<Item = (String, Make)> {
    CLOCKS.into_iter().map(|now| -> (String, Make) {
        let make = move || {
            let request = from(Request::get("/")).header("authorization", format!("Bearer {MARK}"));
            Request { now: crate::UnixTime(now), ..request }
        };
        (format!("the clock at {now}"), Box::new(make))
    })
}
