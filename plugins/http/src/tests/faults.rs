//! Servers that do what none should.

use tokio::time::Instant;

use super::*;

const SOON: Duration = Duration::from_millis(300);

/// Sends to `/` what the server answers by this script, and then looks whether the next request is answered, over which
/// connection.
async fn fault(script: Vec<Step>) -> (HttpError, usize) {
    let server = Server::start().await;
    server.serves("/", script);
    server.serves("/next", answer(200, "", b"next"));
    let client = client(&server.url("/"), &settings());
    assert_eq!(&*client.send(Request::get(&server.url("/next"))).await.unwrap().body, b"next");
    let started = Instant::now();
    let error = client.send(Request::post(&server.url("/")).timeout(SOON)).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5), "{error}: {:?}", started.elapsed());
    let next = client.send(Request::get(&server.url("/next"))).await.unwrap();
    assert_eq!(&*next.body, b"next", "an answer to another request: {error}");
    server.all_but(1).await;
    (error, server.connections())
}

#[tokio::test]
async fn slow_servers_are_left_at_the_deadline() {
    let drip = |bytes: &str| Step::Drip(bytes.into(), 1000, Duration::from_millis(50));
    let head = text("HTTP/1.1 200 x\r\ncontent-length: 1000\r\n\r\n");
    for (script, stage) in [
        (vec![Step::Hang], Stage::Head),
        (vec![drip("H")], Stage::Head),
        ([text("HTTP/1.1 200 x\r\n"), vec![drip("a: b\r\n")]].concat(), Stage::Head),
        ([head.clone(), vec![Step::Hang]].concat(), Stage::Body),
        ([head, vec![drip("x")]].concat(), Stage::Body),
        (
            [text("HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n"), vec![drip("1\r\nx\r\n")]].concat(),
            Stage::Body,
        ),
    ] {
        assert_eq!(fault(script).await, (HttpError::Timeout(SOON, stage), 2));
    }
}

#[tokio::test]
async fn large_answers_are_not_read() {
    let chunks = Step::Endless(format!("1000\r\n{}\r\n", " ".repeat(0x1000)).into_bytes());
    let too_large = HttpError::TooLarge(Part::Body, LIMIT);
    for script in [
        answer(200, "", &vec![b' '; 5_000_000]),
        answer(200, "", &vec![b' '; LIMIT + 1]),
        text("HTTP/1.1 200 x\r\ncontent-length: 1000000000000000000\r\n\r\n"),
        [text("HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n"), vec![chunks.clone()]].concat(),
        [text("HTTP/1.1 500 x\r\ntransfer-encoding: chunked\r\n\r\n"), vec![chunks]].concat(),
        [text("HTTP/1.0 200 x\r\n\r\n"), vec![Step::Endless(vec![b'x'; 0x1000])]].concat(),
    ] {
        let (error, connections) = fault(script).await;
        assert_eq!((error, connections), (too_large.clone(), 2));
    }
    let server = Server::start().await;
    server.serves("/", answer(200, "", &vec![b' '; LIMIT]));
    assert_eq!(get(&server, "/").await.unwrap().body.len(), LIMIT);
}

#[tokio::test]
async fn large_heads_are_not_read() {
    let (error, _) =
        fault(vec![Step::Send(b"HTTP/1.1 200 x\r\na: ".to_vec()), Step::Endless(vec![b'x'; 0x1000])]).await;
    assert_eq!(error.kind(), "too_large", "{error}");
    let (error, _) = fault(vec![Step::Send(b"HTTP/1.1 200 x\r\n".to_vec()), Step::Endless(b"a: b\r\n".to_vec())]).await;
    assert_eq!(error.kind(), "too_large", "{error}");
}

#[tokio::test]
async fn half_an_answer_is_none() {
    for cut in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 x\r\ncontent-length: 10\r\n",
        "HTTP/1.1 200 x\r\ncontent-length: 10\r\n\r\n",
        "HTTP/1.1 200 x\r\ncontent-length: 10\r\n\r\nabc",
        "HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc",
        "HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let (error, connections) = fault([text(cut), vec![Step::Close]].concat()).await;
        assert_eq!((error.kind(), connections), ("unreachable", 2), "{cut:?}: {error}");
        assert!(error.is_absence());
    }
}

#[tokio::test]
async fn answers_that_can_be_read_in_two_ways_are_none() {
    for head in [
        "content-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "content-length: 2\r\ncontent-length: 2\r\n\r\nab",
        "content-length: 2, 3\r\n\r\nab",
        "content-length: +2\r\n\r\nab",
        "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nab",
        "a b: c\r\ncontent-length: 2\r\n\r\nab",
    ] {
        let (error, connections) = fault(text(&format!("HTTP/1.1 200 x\r\n{head}"))).await;
        assert!(matches!(error.kind(), "malformed" | "unreachable"), "{head:?}: {error}");
        assert_eq!(connections, 2, "{head:?}");
    }
    for bytes in ["SSH-2.0-OpenSSH_9\r\n", "\u{16}\u{3}\u{1}", "HTTP/2 200\r\n\r\n", "HTTP/1.1 99999 x\r\n\r\n"] {
        let (error, _) = fault([text(bytes), vec![Step::Close]].concat()).await;
        assert!(matches!(error.kind(), "malformed" | "unreachable"), "{bytes:?}: {error}");
    }
}

#[tokio::test]
async fn interim_answers_are_skipped_up_to_a_number() {
    let server = Server::start().await;
    let interim = "HTTP/1.1 103 x\r\nlink: <x>\r\n\r\n";
    let few = interim.repeat(MAX_INTERIM_ANSWERS);
    server.serves("/", [text(&few), answer(200, "", b"yes")].concat());
    assert_eq!(&*get(&server, "/").await.unwrap().body, b"yes");
    let (error, connections) = fault(vec![Step::Endless(interim.into())]).await;
    assert_eq!((error.kind(), connections), ("malformed", 2), "{error}");
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_answers_nothing() {
    let server = Server::start().await;
    let two = b"HTTP/1.1 200 x\r\ncontent-length: 1\r\n\r\naHTTP/1.1 200 x\r\ncontent-length: 6\r\n\r\nforged";
    server.serves("/", vec![Step::Send(two.to_vec())]);
    server.serves("/next", answer(200, "", b"next"));
    let client = client(&server.url("/"), &settings());
    assert_eq!(&*client.send(Request::get(&server.url("/"))).await.unwrap().body, b"a");
    let next = client.send(Request::get(&server.url("/next"))).await.unwrap();
    assert_eq!(&*next.body, b"next");
}

#[tokio::test]
async fn a_kept_connection_that_ends_costs_no_request_that_may_be_sent_twice() {
    for (request, arrives) in [
        (Request::get as fn(&Url) -> Request, true),
        (|url| Request::post(url).repeatable(), true),
        (Request::post, false),
    ] {
        let server = Server::start().await;
        server.serves("/", answer(200, "", b""));
        let client = client(&server.url("/"), &settings());
        client.send(Request::get(&server.url("/"))).await.unwrap();
        // From now on every connection ends instead of answering.
        server.serves("/", vec![Step::Close]);
        let sent = client.send(request(&server.url("/"))).await;
        assert_eq!(sent.unwrap_err().kind(), "unreachable");
        let sent = server.saw().len() - 1;
        assert_eq!(sent, if arrives { 2 } else { 1 }, "once more over a new connection, and no more");
    }
}

#[tokio::test]
async fn whoever_leaves_ends_the_exchange() {
    let server = Server::start().await;
    server.serves("/head", vec![Step::Hang]);
    let head = text("HTTP/1.1 200 x\r\ncontent-length: 1000\r\n\r\nx");
    server.serves("/body", [head, vec![Step::Hang]].concat());
    let client = client(&server.url("/"), &settings());
    for path in ["/head", "/body"] {
        let before = server.saw().len();
        let exchange = client.send(Request::get(&server.url(path)));
        let asked = async {
            while server.saw().len() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = exchange => panic!("an answer"),
            () = asked => {}
        }
        server.all_but(0).await;
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_named_and_secrets_are_not() {
    let server = Server::start().await;
    let url = server.url("/planted?code=planted");
    drop(server);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let client = client(&url, &settings());
    let error = client.send(Request::get(&url)).await.unwrap_err();
    assert!(error.to_string().starts_with("no connection to 127.0.0.1: tcp connect error"), "{error}");
    let nowhere: Url = "http://nowhere.invalid:1/planted".parse().unwrap();
    let error_of_name = client.send(Request::get(&nowhere)).await.unwrap_err();
    assert!(error_of_name.to_string().starts_with("no connection to nowhere.invalid: "), "{error_of_name}");
    for error in [error, error_of_name] {
        assert!(!format!("{error} {error:?}").contains("planted"), "{error}");
        assert_eq!(error.kind(), "unreachable");
    }
}
