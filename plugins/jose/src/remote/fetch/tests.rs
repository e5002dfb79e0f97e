use openssl::ssl::{SslAcceptor, SslMethod};
use tokio::time::Instant;

use portcullis_http::{CONNECT_TIMEOUT, HttpSettings};
use portcullis_plugin::{BuildCx, testing::Build};

use super::*;
use crate::remote::tests::server::{Answer, Server};
use crate::{Algorithm, testing::Signer};

fn target(location: Location) -> Target {
    Target::new(location, false).unwrap()
}

async fn page(target: &Target, allow_http: bool) -> Result<Page, FetchError> {
    let client =
        Client::shared(&mut BuildCx::new(&mut Build::new()), target.origin(), &HttpSettings::default(), LIMITS);
    super::page(&client.unwrap(), target, allow_http).await
}

async fn fetch(server: &Server, path: &str) -> Result<Page, FetchError> {
    page(&target(Location::Url(server.url(path))), false).await
}

async fn discover(server: &Server, issuer: &str) -> Result<Page, FetchError> {
    page(&target(Location::Issuer(server.url(issuer))), false).await
}

fn problem(text: &str, allow_http: bool) -> Option<String> {
    Target::new(Location::Url(text.to_owned()), allow_http).err()
}

#[test]
fn keys_come_by_https_or_from_this_machine() {
    for text in [
        "https://auth.example.com/jwks",
        "https://auth.example.com:8443/jwks?tenant=1",
        "http://localhost/jwks",
        "http://127.0.0.1:8080/jwks",
        "http://127.8.8.8/jwks",
        "http://[::1]:8080/jwks",
        "http://[::ffff:127.0.0.1]/jwks",
    ] {
        assert_eq!(problem(text, false), None, "{text}");
    }
    for text in [
        "http://auth.example.com/jwks",
        "http://10.0.0.1/jwks",
        "http://localhost.example.com/",
        "http://127.0.0.1.example.com/",
        "http://0.0.0.0/",
        "http://[::]/",
    ] {
        assert!(problem(text, false).unwrap().contains("is not https"), "{text}");
        assert_eq!(problem(text, true), None, "{text}");
    }
    for (text, words) in [
        ("", "is not an address"),
        ("auth.example.com/jwks", "is not an address"),
        ("ftp://auth.example.com/", "is not https"),
        ("file:///etc/passwd", "is not https"),
        ("https://", "is not an address"),
        ("https://ann:secret@auth.example.com/", "has a user name or a password"),
        ("https://auth.example.com/jwks#keys", "has a fragment"),
    ] {
        let why = problem(text, true).unwrap();
        assert!(why.contains(words) && !why.contains("secret"), "{text}: {why}");
    }
    let issuer = Target::new(Location::Issuer("https://auth.example.com/?a=b".to_owned()), false);
    assert!(issuer.unwrap_err().contains("has a query"));
}

#[test]
fn discovery_documents_are_where_they_are_specified() {
    for (issuer, paths) in [
        ("https://a.example", ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"]),
        ("https://a.example/", ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"]),
        (
            "https://a.example/realms/one",
            ["/realms/one/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/realms/one"],
        ),
        (
            "https://a.example/realms/one/",
            ["/realms/one/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/realms/one"],
        ),
    ] {
        let found = documents(&Url::parse(issuer).unwrap());
        assert_eq!([found[0].path(), found[1].path()], paths, "{issuer}");
    }
}

#[test]
fn names_leave_out_what_may_be_secret() {
    let target = target(Location::Url("https://auth.example.com/jwks?code=planted".to_owned()));
    assert_eq!(target.name(), "https://auth.example.com/jwks");
}

#[tokio::test]
async fn a_key_set_is_fetched() {
    let server = Server::start().await;
    server.serves("/jwks?a=b", Answer::ok("{\"keys\":[]}").header("cache-control: max-age=120"));
    let page = fetch(&server, "/jwks?a=b").await.unwrap();
    assert_eq!((&*page.jwks, page.max_age), (&b"{\"keys\":[]}"[..], Some(Duration::from_secs(120))));
    let head = server.saw().remove(0);
    assert!(head.contains("accept: application/jwk-set+json") && !head.to_lowercase().contains("referer"), "{head}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = Server::start().await;
    server.serves("/jwks", Answer::new(302, "").header(&format!("location: {}", server.url("/other"))));
    server.serves("/other", Answer::ok("{\"keys\":[]}"));
    assert_eq!(fetch(&server, "/jwks").await.err(), Some(FetchError::Status(StatusCode::FOUND)));
    assert_eq!(server.saw().len(), 1);
}

#[tokio::test]
async fn errors_are_no_key_sets() {
    let server = Server::start().await;
    for status in [204, 400, 404, 500, 503] {
        server.serves("/jwks", Answer::new(status, "{\"keys\":[]}"));
        let error = fetch(&server, "/jwks").await.err().unwrap();
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
}

#[tokio::test]
async fn no_more_than_the_limit_is_read() {
    let server = Server::start().await;
    server.serves("/fits", Answer::ok(&" ".repeat(MAX_BODY_BYTES)));
    server.serves("/large", Answer::ok(&" ".repeat(MAX_BODY_BYTES + 1)));
    server.serves("/endless", Answer::endless());
    assert!(fetch(&server, "/fits").await.is_ok());
    let too_large = Some(invalid("the answer has more than 1048576 bytes"));
    assert_eq!(fetch(&server, "/large").await.err(), too_large);
    assert_eq!(fetch(&server, "/endless").await.err(), too_large);
}

#[tokio::test]
async fn a_server_that_is_gone_or_breaks_off_is_unreachable() {
    let server = Server::start().await;
    server.serves("/jwks", Answer::cut("{\"keys\":["));
    assert!(matches!(fetch(&server, "/jwks").await, Err(FetchError::Unreachable(_))));
    let url = server.url("/jwks?code=planted");
    drop(server);
    let error = page(&target(Location::Url(url)), false).await.err().unwrap();
    assert!(matches!(&error, FetchError::Unreachable(why) if why.contains("tcp connect error")), "{error}");
    assert!(!error.to_string().contains("planted"));
}

fn document(server: &Server, issuer: &str, keys: &str) -> Answer {
    Answer::ok(&serde_json::json!({ "issuer": server.url(issuer), "jwks_uri": keys }).to_string())
}

const OPENID: &str = "/.well-known/openid-configuration";

#[tokio::test]
async fn an_issuer_says_where_its_keys_are() {
    let server = Server::start().await;
    server.serves("/keys", Answer::ok("{\"keys\":[]}"));
    server.serves("/a/.well-known/openid-configuration", document(&server, "/a", &server.url("/keys")));
    server.serves("/.well-known/oauth-authorization-server/b", document(&server, "/b", &server.url("/keys")));
    assert!(discover(&server, "/a").await.is_ok(), "OpenID Connect");
    assert!(discover(&server, "/b").await.is_ok(), "RFC 8414");
    assert_eq!(discover(&server, "/c").await.err(), Some(FetchError::Status(StatusCode::NOT_FOUND)));
}

#[tokio::test]
async fn a_discovery_document_is_of_the_issuer_to_the_letter() {
    let server = Server::start().await;
    server.serves("/keys", Answer::ok("{\"keys\":[]}"));
    for other in ["/", "/a", "?"] {
        server.serves(OPENID, document(&server, other, &server.url("/keys")));
        let error = discover(&server, "").await.err();
        assert_eq!(error, Some(invalid("its discovery document is of another issuer")), "{other}");
    }
    server.serves(OPENID, document(&server, "", &server.url("/keys")));
    assert!(discover(&server, "").await.is_ok());
}

#[tokio::test]
async fn a_discovery_document_that_lies_is_refused() {
    let server = Server::start().await;
    for (keys, words) in [
        ("http://10.0.0.1/keys", "`jwks_uri` `http://10.0.0.1/keys` is not https"),
        ("file:///etc/passwd", "is not https"),
        ("/keys", "is not an address"),
        ("", "is not an address"),
    ] {
        server.serves(OPENID, document(&server, "", keys));
        let error = discover(&server, "").await.err().unwrap().to_string();
        assert!(error.contains(words), "{keys}: {error}");
    }
    let issuer = server.url("");
    for (body, words) in [
        ("<html>".to_owned(), "is not JSON"),
        (format!(r#"{{"issuer":"{issuer}"}}"#), "has no `jwks_uri`"),
        (format!(r#"{{"issuer":"{issuer}","jwks_uri":["{issuer}"]}}"#), "has no `jwks_uri`"),
        (format!(r#"{{"issuer":"x","issuer":"{issuer}","jwks_uri":"{issuer}/keys"}}"#), "has a member twice"),
    ] {
        server.serves(OPENID, Answer::ok(&body));
        let error = discover(&server, "").await.err().unwrap().to_string();
        assert!(error.contains(words), "{body}: {error}");
    }
    assert!(server.saw().iter().all(|head| head.contains(OPENID)), "and nothing else was asked");
}

#[tokio::test]
async fn a_server_that_takes_no_connection_does_not_hold_us() {
    // A listener whose queue is full: what connects now waits.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let _waiting: Vec<_> = (0..4).map(|_| tokio::spawn(tokio::net::TcpStream::connect(address))).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let started = Instant::now();
    let target = target(Location::Url(format!("http://{address}/")));
    let answer = tokio::time::timeout(Duration::from_secs(5), page(&target, false)).await;
    assert!(answer.is_ok_and(|answer| answer.is_err()));
    assert!(started.elapsed() < CONNECT_TIMEOUT + Duration::from_secs(1));
}

#[tokio::test]
async fn a_server_that_cannot_prove_its_name_is_unreachable() {
    let signer = Signer::new(Algorithm::Rs256);
    let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).unwrap();
    acceptor.set_private_key(signer.pair()).unwrap();
    acceptor.set_certificate(&signer.certificate()).unwrap();
    let acceptor = acceptor.build();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || acceptor.accept(listener.accept().unwrap().0).is_ok());
    let target = target(Location::Url(format!("https://localhost:{port}/jwks")));
    let error = page(&target, false).await.err().unwrap().to_string();
    assert!(error.contains("certificate verify failed"), "{error}");
    assert!(!server.join().unwrap(), "no handshake, no request");
}
