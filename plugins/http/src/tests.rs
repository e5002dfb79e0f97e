mod faults;
mod secure;
mod server;
mod ways;

use std::{io::Write as _, time::Duration};

use flate2::{Compression, write::GzEncoder};
use portcullis_plugin::{BuildCx, Secret, SecretSource, Span, http::StatusCode, testing::Build};
use url::Url;

use crate::*;
use server::{Server, Step, answer, text};

const LIMIT: usize = 10_000;

fn settings() -> HttpSettings {
    HttpSettings {
        timeout: Some(Span(Duration::from_secs(10))),
        max_body_bytes: Some(LIMIT),
        ..HttpSettings::default()
    }
}

fn client(origin: &Url, settings: &HttpSettings) -> Client {
    built(&mut Build::new(), origin, settings).unwrap()
}

fn built(build: &mut Build, origin: &Url, settings: &HttpSettings) -> Result<Client, Vec<(String, String)>> {
    let client = Client::shared(&mut BuildCx::new(build), origin, settings, Limits::default());
    client.map_err(|error| error.problems)
}

async fn get(server: &Server, path: &str) -> Result<Response, HttpError> {
    client(&server.url("/"), &settings()).send(Request::get(&server.url(path))).await
}

fn secret(text: &str) -> SecretSource {
    SecretSource::Value(Secret::new(text.as_bytes().to_vec()))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_request_says_what_it_is_told_to() {
    let server = Server::start().await;
    server.serves("/a?b=c", answer(200, "cache-control: max-age=60\r\n", b"yes"));
    let mut settings = settings();
    settings.headers.insert("authorization".to_owned(), secret("Bearer planted"));
    let client = client(&server.url("/"), &settings);
    let url = server.url("/a?b=c");
    let response = client.send(Request::get(&url).accept("application/json")).await.unwrap().ok().unwrap();
    assert_eq!((&*response.body, response.max_age()), (&b"yes"[..], Some(Duration::from_secs(60))));
    client.send(Request::post(&url).form([("a", "1&2"), ("b", "é")])).await.unwrap();
    client.send(Request::post(&url).json(&["x"])).await.unwrap();
    client.send(Request::post(&url).body("application/ocsp-request", vec![b'!'])).await.unwrap();
    let saw: Vec<String> = server.saw().into_iter().map(|(_, request)| request).collect();
    let (host, head) = (format!("host: {}\r\n", server.address()), &saw[0]);
    assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n") && head.contains(&host), "{head}");
    for line in ["authorization: Bearer planted", "accept: application/json", "accept-encoding: gzip"] {
        assert!(head.contains(line), "{line}: {head}");
    }
    assert!(!head.contains("cookie") && !head.contains("referer"), "{head}");
    assert!(
        saw[1].contains("content-type: application/x-www-form-urlencoded\r\n")
            && saw[1].ends_with("\r\n\r\na=1%262&b=%C3%A9")
    );
    assert!(saw[2].contains("content-type: application/json\r\n") && saw[2].ends_with("\r\n\r\n[\"x\"]"));
    assert!(saw[3].contains("content-type: application/ocsp-request\r\n") && saw[3].ends_with("\r\n\r\n!"));
    assert_eq!(server.connections(), 1, "all of them over one connection");
}

#[tokio::test]
async fn every_status_is_an_answer_and_only_200_is_ok() {
    let server = Server::start().await;
    for status in [204, 302, 400, 401, 404, 500, 503] {
        server.serves("/", answer(status, "", b""));
        let answer = get(&server, "/").await.unwrap();
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.ok().unwrap_err(), HttpError::Status(StatusCode::from_u16(status).unwrap()));
    }
}

#[tokio::test]
async fn what_is_packed_is_unpacked_within_the_limit() {
    let server = Server::start().await;
    let packed = "content-encoding: gzip\r\n";
    server.serves("/packed", answer(200, packed, &gzip(b"{\"keys\":[]}")));
    server.serves("/twice", answer(200, packed, &[gzip(b"{\"keys\":"), gzip(b"[]}")].concat()));
    server.serves("/fits", answer(200, packed, &gzip(&vec![b' '; LIMIT])));
    server.serves("/bomb", answer(200, packed, &gzip(&vec![b' '; 100 * LIMIT])));
    server.serves("/cut", answer(200, packed, &gzip(&vec![b'x'; LIMIT])[..20]));
    server.serves("/forged", answer(200, packed, b"{\"keys\":[]}"));
    server.serves("/trailing", answer(200, packed, &[gzip(b"x"), b"garbage".to_vec()].concat()));
    server.serves("/other", answer(200, "content-encoding: br\r\n", b"x"));
    server.serves("/both", answer(200, "content-encoding: gzip, gzip\r\n", &gzip(&gzip(b"x"))));
    for path in ["/packed", "/twice"] {
        assert_eq!(&*get(&server, path).await.unwrap().body, b"{\"keys\":[]}", "{path}");
    }
    assert_eq!(get(&server, "/fits").await.unwrap().body.len(), LIMIT);
    assert_eq!(get(&server, "/bomb").await.unwrap_err(), HttpError::TooLarge(Part::Unpacked, LIMIT));
    for path in ["/cut", "/forged", "/trailing", "/other", "/both"] {
        let error = get(&server, path).await.unwrap_err();
        assert_eq!(error.kind(), "malformed", "{path}: {error}");
    }
}

#[tokio::test]
async fn redirects_are_followed_only_if_asked_and_take_no_secret_elsewhere() {
    let (server, other) = (Server::start().await, Server::start().await);
    server.serves("/here", answer(302, "location: /there\r\n", b""));
    server.serves("/there", answer(200, "", b"there"));
    server.serves("/away", answer(307, &format!("location: {}\r\n", other.url("/x")), b""));
    server.serves("/round", answer(301, "location: /round\r\n", b""));
    server.serves("/file", answer(302, "location: file:///etc/passwd\r\n", b""));
    other.serves("/x", answer(200, "", b"elsewhere"));
    let mut settings = settings();
    settings.headers.insert("authorization".to_owned(), secret("Bearer planted"));
    let client = client(&server.url("/"), &settings);
    let follow = |path: &str| {
        Request::get(&server.url(path))
            .redirects(3)
            .header(portcullis_plugin::http::header::COOKIE, "planted=1".parse().unwrap())
    };
    assert_eq!(client.send(Request::get(&server.url("/away"))).await.unwrap().status, 307);
    assert!(other.saw().is_empty());
    assert_eq!(&*client.send(follow("/here")).await.unwrap().body, b"there");
    assert!(server.saw().last().unwrap().1.contains("planted=1"), "the same origin may see it");
    assert_eq!(&*client.send(follow("/away")).await.unwrap().body, b"elsewhere");
    assert!(!other.saw()[0].1.contains("planted"), "{:?}", other.saw());
    assert_eq!(client.send(follow("/round")).await.unwrap().status, 301);
    assert_eq!(client.send(follow("/file")).await.unwrap_err().kind(), "malformed");
    let post = Request::post(&server.url("/away")).redirects(3);
    assert_eq!(client.send(post).await.unwrap().status, 307, "what is posted is for one address");
}

#[tokio::test]
async fn as_many_exchanges_as_allowed_are_under_way() {
    let server = Server::start().await;
    server.serves("/hang", vec![Step::Hang]);
    server.serves("/", answer(200, "", b""));
    let client = client(&server.url("/"), &settings());
    let hanging: Vec<_> = (0..MAX_EXCHANGES)
        .map(|_| {
            let (client, url) = (client.clone(), server.url("/hang"));
            tokio::spawn(async move { client.send(Request::get(&url)).await })
        })
        .collect();
    while server.saw().len() < MAX_EXCHANGES {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let within = Duration::from_millis(200);
    let error = client.send(Request::get(&server.url("/")).timeout(within)).await.unwrap_err();
    assert_eq!(error, HttpError::Timeout(within, Stage::Queue));
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
    assert!(client.send(Request::get(&server.url("/"))).await.is_ok(), "and turns come back");
}

#[test]
fn settings_are_told_what_is_wrong_with_them() {
    let origin: Url = "https://auth.example.com/".parse().unwrap();
    let problems = |text: &str| {
        let settings: HttpSettings = toml::from_str(text).unwrap();
        let problems = built(&mut Build::new(), &origin, &settings).err().unwrap_or_default();
        problems.into_iter().map(|(field, why)| format!("{field}: {why}")).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(problems(""), "");
    for (text, words) in [
        ("timeout = '1ms'", "timeout: is shorter than 100ms"),
        ("timeout = '1h'", "timeout: is longer than 30s"),
        ("max_body_bytes = 0", "max_body_bytes: is not between 1 and 67108864"),
        ("ca = '/nowhere/ca.pem'", "ca: "),
        ("system_ca = true", "system_ca: without `ca`"),
        ("cert = '/nowhere'\nkey = 'x'", "cert: "),
        ("cert = '/dev/null'", "cert: a certificate is proved by its `key`"),
        ("key = 'x'", "key: this is the key of no certificate"),
        ("proxy = 'https://proxy'", "proxy: is not an HTTP proxy"),
        ("proxy = 'socks5://proxy'", "proxy: is not an HTTP proxy"),
        ("proxy = 'proxy:3128'", "proxy: is not an HTTP proxy"),
        ("proxy = 'http://u:planted@proxy'", "proxy: has a user name"),
        ("proxy = 'http://proxy/path'", "proxy: has a path"),
        ("proxy_authorization = 'Basic x'", "proxy_authorization: there is no `proxy`"),
        ("connect_to = ''", "connect_to: is not a host"),
        ("connect_to = 'http://x'", "connect_to: is not a host"),
        ("connect_to = 'a:99999'", "connect_to: "),
        ("connect_to = 'a:'", "connect_to: "),
        ("connect_to = 'a:0'", "connect_to: "),
        ("connect_to = 'u@a:1'", "connect_to: has a user name"),
        ("headers = { 'a b' = 'x' }", "headers.a b: is not the name of a header"),
        ("headers = { host = 'x' }", "headers.host: is a header that the client makes itself"),
        ("headers = { authorization = \"a\\nplanted\" }", "headers.authorization: has bytes in it"),
        ("headers = { a = 'x', A = 'y' }", "headers.a: stands there twice"),
    ] {
        let said = problems(text);
        assert!(said.contains(words) && !said.contains("planted"), "{text}: {said}");
    }
    for text in ["connect_to = '10.0.0.5:8443'", "connect_to = '[::1]:1'", "connect_to = '[::1]'", "connect_to = 'a'"] {
        assert_eq!(problems(text), "", "{text}");
    }
    assert!(toml::from_str::<HttpSettings>("timout = '1s'").is_err());
}

#[test]
fn addresses_are_of_https_or_of_this_machine() {
    for good in ["https://a.example/x?y", "http://localhost/", "http://127.8.8.8:1/", "http://[::ffff:127.0.0.1]/"] {
        assert!(address(good, false).is_ok(), "{good}");
    }
    for (bad, why) in [
        ("http://a.example/", AddressError::PlainText),
        ("http://localhost.a.example/", AddressError::PlainText),
        ("http://0.0.0.0/", AddressError::PlainText),
        ("ftp://a.example/", AddressError::Scheme),
        ("https://a:b@a.example/", AddressError::UserInfo),
        ("https://a.example/#x", AddressError::Fragment),
        ("https://", AddressError::Malformed(url::ParseError::EmptyHost)),
    ] {
        assert_eq!(address(bad, false), Err(why), "{bad}");
    }
    assert!(address("http://a.example/", true).is_ok());
}

#[test]
fn clients_share_what_does_not_tell_them_apart() {
    let digest = |origin: &str, text: &str| {
        let client = client(&origin.parse().unwrap(), &toml::from_str(text).unwrap());
        client.settings_digest().to_owned()
    };
    let (one, other) = ("https://a.example/x", "https://b.example/");
    let plain = digest(one, "");
    for (origin, text) in [(one, "timeout = '1s'"), (one, "max_body_bytes = 1"), (other, "")] {
        assert_eq!(digest(origin, text), plain, "{origin} {text}");
    }
    let texts = [
        "headers = { a = 'x' }",
        "headers = { a = 'y' }",
        "headers = { b = 'x' }",
        "connect_to = 'c:1'",
        "connect_to = 'c:2'",
        "proxy = 'http://p:1'",
        "proxy = 'http://p:1'\nproxy_authorization = 'x'",
    ];
    let mut seen = vec![plain];
    for (origin, text) in [one, other].iter().flat_map(|origin| texts.map(|text| (origin, text))) {
        let digest = digest(origin, text);
        let is_for_all = text.starts_with("proxy") && *origin == other;
        assert_eq!(seen.contains(&digest), is_for_all, "{origin} {text}");
        seen.push(digest);
    }
}
