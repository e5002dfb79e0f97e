//! The whole of it, over real sockets.

use super::{
    server::{Answer, Server},
    *,
};

fn jwks_text(keys: &[Value]) -> String {
    String::from_utf8(jwks(keys)).unwrap()
}

/// A source as a plugin makes it, fetched and kept fresh as the engine does it.
async fn built(location: Location, settings: Settings) -> (Arc<KeySource>, Build) {
    let mut build = Build::new();
    let source = KeySource::shared(&mut BuildCx::new(&mut build), location, settings).unwrap();
    for work in build.before_publish.drain(..) {
        work.await;
    }
    build.background.drain(..).for_each(|work| drop(tokio::spawn(work)));
    (source, build)
}

fn fetches(build: &Build, server: &Server, result: &str) -> u64 {
    let name = format!("portcullis_key_set_fetches_total{{source={},result={result}}}", server.url("/jwks"));
    build.counters[&name].value()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_comes_back_with_new_keys_loses_nothing() {
    let (old, new) = (signer(), signer());
    let server = Server::start().await;
    server.serves("/jwks", Answer::ok(&jwks_text(&[old.jwk("old")])));
    let (source, build) = built(Location::Url(server.url("/jwks")), Settings::default()).await;
    assert_eq!(verifies(&source, &old, Some("old")).await, Ok(true));

    server.serves("/jwks", Answer::new(500, ""));
    let unconfirmed = verifies(&source, &new, Some("new")).await;
    assert!(matches!(unconfirmed, Err(KeysUnavailable::Unconfirmed(_))), "{unconfirmed:?}");
    assert_eq!(verifies(&source, &old, Some("old")).await, Ok(true), "what is known serves on");
    assert_eq!((fetches(&build, &server, "ok"), fetches(&build, &server, "invalid")), (1, 1));

    for body in ["<html>", "{\"keys\":1}"] {
        server.serves("/jwks", Answer::ok(body));
        assert_eq!(verifies(&source, &old, Some("old")).await, Ok(true), "{body}");
    }
    server.serves("/jwks", Answer::ok(&jwks_text(&[new.jwk("new")])));
    eventually(|| fetches(&build, &server, "ok") == 2).await;
    assert_eq!(verifies(&source, &new, Some("new")).await, Ok(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_under_load() {
    let signers: Vec<_> = (0..5).map(|_| Arc::new(signer())).collect();
    let server = Server::start().await;
    server.serves("/jwks", Answer::ok(&jwks_text(&[signers[0].jwk("0")])));
    let settings = Settings { cooldown: Span(Settings::SHORTEST_COOLDOWN), ..Settings::default() };
    let (source, build) = built(Location::Url(server.url("/jwks")), settings).await;
    for (number, signer) in signers.iter().enumerate().skip(1) {
        // The one before is still good; the one before that is withdrawn.
        let keys = [signers[number - 1].jwk(&(number - 1).to_string()), signer.jwk(&number.to_string())];
        server.serves("/jwks", Answer::ok(&jwks_text(&keys)).after(Duration::from_millis(50)));
        let requests: Vec<_> = (0..100)
            .map(|request| {
                let number = number - request % 2;
                let (source, signer) = (source.clone(), signers[number].clone());
                tokio::spawn(async move { verifies(&source, &signer, Some(&number.to_string())).await })
            })
            .collect();
        for request in requests {
            assert_eq!(request.await.unwrap(), Ok(true));
        }
        tokio::time::sleep(Settings::SHORTEST_COOLDOWN).await;
    }
    assert_eq!(fetches(&build, &server, "ok"), 5, "one at the start, and one for each new key");
    assert_eq!(server.saw().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_holds_requests_no_longer_than_they_wait() {
    let key = signer();
    let server = Server::start().await;
    server.serves("/jwks", Answer::ok(&jwks_text(&[key.jwk("1")])));
    let span = |milliseconds| Span(Duration::from_millis(milliseconds));
    let settings = Settings { max_wait: span(200), timeout: span(3000), ..Settings::default() };
    let (source, build) = built(Location::Url(server.url("/jwks")), settings).await;
    server.serves("/jwks", Answer::ok("").after(Duration::from_secs(60)));
    let started = Instant::now();
    assert!(verifies(&source, &key, Some("2")).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let started = Instant::now();
    assert_eq!(verifies(&source, &key, Some("1")).await, Ok(true));
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    eventually(|| fetches(&build, &server, "unreachable") == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_at_the_start_is_503_and_then_not() {
    let key = signer();
    let server = Server::start().await;
    server.serves("/jwks", Answer::new(503, ""));
    let settings = Settings { cooldown: Span(Settings::SHORTEST_COOLDOWN), ..Settings::default() };
    let (source, _build) = built(Location::Url(server.url("/jwks")), settings).await;
    assert!(matches!(verifies(&source, &key, Some("1")).await, Err(KeysUnavailable::NeverFetched(_))));
    server.serves("/jwks", Answer::ok(&jwks_text(&[key.jwk("1")])));
    // In the background, without a request.
    eventually(|| source.current().is_ok()).await;
    assert_eq!(verifies(&source, &key, Some("1")).await, Ok(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issuer_is_asked_where_its_keys_are() {
    let key = signer();
    let server = Server::start().await;
    let document = serde_json::json!({ "issuer": server.url("/realm"), "jwks_uri": server.url("/jwks") });
    server.serves("/realm/.well-known/openid-configuration", Answer::ok(&document.to_string()));
    server.serves("/jwks", Answer::ok(&jwks_text(&[key.jwk("1")])));
    let (source, _build) = built(Location::Issuer(server.url("/realm")), Settings::default()).await;
    assert_eq!(verifies(&source, &key, Some("1")).await, Ok(true));
}
