//! The way to a server: another host, a proxy, and addresses that must not be asked.

use super::*;

#[tokio::test]
async fn another_host_is_connected_to_for_the_configured_origin_alone() {
    let server = Server::start().await;
    server.serves("/", answer(200, "", b"yes"));
    let mut settings = settings();
    settings.connect_to = Some(server.address().to_string());
    let origin: Url = "http://auth.invalid:8080/".parse().unwrap();
    let client = client(&origin, &settings);
    assert_eq!(&*client.send(Request::get(&origin)).await.unwrap().body, b"yes");
    assert!(server.saw()[0].1.contains("host: auth.invalid:8080\r\n"), "{:?}", server.saw());
    for other in ["http://auth.invalid/", "http://other.invalid:8080/"] {
        let error = client.send(Request::get(&other.parse().unwrap())).await.unwrap_err();
        assert_eq!(error.kind(), "unreachable", "{other}");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_proxy_is_asked_for_a_tunnel() {
    let server = Server::start().await;
    server.serves("/", answer(200, "", b"yes"));
    let (address, saw) = server::proxy(Some("Basic planted")).await;
    let mut settings = settings();
    settings.proxy = Some(format!("http://{address}"));
    let url = server.url("/");
    let error = client(&url, &settings).send(Request::get(&url)).await.unwrap_err();
    assert!(error.to_string().contains(&format!("through the proxy {address}: ")), "{error}");
    assert!(error.to_string().contains("authorization required"), "{error}");
    settings.proxy_authorization = Some(secret("Basic planted"));
    let client = client(&url, &settings);
    assert_eq!(&*client.send(Request::get(&url)).await.unwrap().body, b"yes");
    let last = saw.lock().unwrap().last().cloned().unwrap();
    assert!(last.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", server.address())), "{last}");
    assert!(!server.saw()[0].1.contains("planted"), "what is for the proxy stays with it");
}

#[tokio::test]
async fn a_proxy_that_is_gone_or_hangs_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url: Url = "http://auth.invalid/".parse().unwrap();
    let mut settings = settings();
    settings.proxy = Some(format!("http://{address}"));
    let client = client(&url, &settings);
    let started = tokio::time::Instant::now();
    let error = client.send(Request::get(&url)).await.unwrap_err();
    assert!(started.elapsed() < CONNECT_TIMEOUT + Duration::from_secs(2));
    assert_eq!(error.kind(), "unreachable", "{error}");
    drop(listener);
    let error = client.send(Request::get(&url)).await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("tcp connect error"), "{error}");
}

#[tokio::test]
async fn addresses_that_a_document_names_are_judged() {
    let (configured, own) = (Server::start().await, Server::start().await);
    for server in [&configured, &own] {
        server.serves("/", answer(200, "", b"yes"));
    }
    configured.serves("/leads", answer(302, &format!("location: {}\r\n", own.url("/")), b""));
    let mut build = Build::new();
    build.forbidden_addresses = vec![own.address(), configured.address()];
    let client = built(&mut build, &configured.url("/"), &settings()).unwrap();
    // The file may name it, and leaves a connection behind that nobody else may use.
    assert!(client.send(Request::get(&own.url("/"))).await.is_ok());
    for host in ["127.0.0.1", "localhost"] {
        let request = Request::get(&own.url_of(host, "/")).named_by_document();
        let error = client.send(request).await.unwrap_err();
        assert_eq!(error.kind(), "forbidden", "{host}: {error}");
        assert!(error.to_string().contains(host), "{error}");
    }
    let error = client.send(Request::get(&configured.url("/leads")).redirects(1)).await.unwrap_err();
    assert_eq!(error.kind(), "forbidden", "{error}");
    assert_eq!(own.saw().len(), 1);
    let same = Request::get(&configured.url("/")).named_by_document();
    assert!(client.send(same).await.is_ok(), "the configured origin is the file's own");
}
