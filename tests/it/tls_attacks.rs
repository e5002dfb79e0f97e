//! Ways around what a TLS listener asks for, each of which was open once.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
};

use openssl::ssl::{
    ShutdownState, Ssl, SslContext, SslContextBuilder, SslMethod, SslStream, SslVerifyMode, SslVersion,
};

use super::harness::{Authority, Gateway, GatewayBuilder, KeyType, LIMIT, Leaf, Pair, Purpose};

const GATEWAY: &str = r#"
[server]
[[listeners]]
address = "127.0.0.1:0"
hsts = "max-age=63072000"

[listeners.tls]
certificates = [{ cert = "server.pem", key = "server.pem" }]
@TLS@

[routes.corp]
hosts = ["*.corp.example"]
paths = ["/{*rest}"]
public = true
respond = { status = 200, body = "corp" }

[routes.open]
hosts = ["open.example"]
paths = ["/{*rest}"]
public = true
respond = { status = 200, body = "open" }
"#;

fn authority() -> Authority {
    Authority::new("Test CA")
}

/// With the certificate and its key in one file, as some issuers of certificates write it.
fn gateway(authority: &Authority, tls: &str) -> GatewayBuilder {
    let server = authority.issue(Leaf::server("open.example").dns("*.corp.example"));
    Gateway::builder(&GATEWAY.replace("@TLS@", tls))
        .file("server.pem", format!("{}{}", server.key_pem(), server.chain_pem()))
        .file("clients.pem", authority.pem())
}

/// A client that believes every server: it is the gateway that is tried here.
fn client(change: impl FnOnce(&mut SslContextBuilder)) -> SslContext {
    let mut context = SslContextBuilder::new(SslMethod::tls_client()).unwrap();
    context.set_verify(SslVerifyMode::NONE);
    change(&mut context);
    context.build()
}

fn showing(pair: &Pair, more: usize) -> SslContext {
    client(|context| {
        context.set_certificate(&pair.certificate).unwrap();
        context.set_private_key(&pair.key).unwrap();
        for _ in 0..more {
            context.add_extra_chain_cert(pair.certificate.clone()).unwrap();
        }
    })
}

fn tcp(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(LIMIT)).unwrap();
    tcp
}

fn connect(context: &SslContext, address: SocketAddr, name: &str) -> Option<SslStream<TcpStream>> {
    let mut ssl = Ssl::new(context).unwrap();
    ssl.set_hostname(name).unwrap();
    ssl.connect(tcp(address)).ok()
}

fn ask(stream: &mut impl std::io::Write, host: &str) {
    // Where it was closed already, reading says so.
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
}

/// Everything up to the end of the connection, however it ends.
fn rest(stream: &mut impl std::io::Read) -> String {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        all.extend_from_slice(&piece[..read]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// One answer of a connection that stays open.
fn answer(stream: &mut impl std::io::Read) -> String {
    let mut all = [0; 4096];
    let read = stream.read(&mut all).unwrap_or(0);
    String::from_utf8_lossy(&all[..read]).into_owned()
}

/// What comes of a request for a name. Over TLS 1.3 a client learns that it was refused when it reads.
fn request(context: &SslContext, address: SocketAddr, name: &str, host: &str) -> String {
    let Some(mut stream) = connect(context, address, name) else { return "refused".into() };
    ask(&mut stream, host);
    let answer = answer(&mut stream);
    if answer.is_empty() { "refused".into() } else { answer }
}

#[tokio::test]
async fn a_wildcard_of_the_file_reaches_as_deep_as_that_of_a_route() {
    let authority = authority();
    let tls = "[listeners.tls.names.\"*.corp.example\"]\nclient_auth = \"required\"\nclient_ca = \"clients.pem\"";
    let gateway = gateway(&authority, tls).start().await;
    let (nobody, somebody) = (client(|_| {}), showing(&authority.issue(Leaf::client("alice")), 0));
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let nobody = client(|context| context.set_max_proto_version(Some(version)).unwrap());
        for name in ["a.corp.example", "a.b.corp.example", "A.B.Corp.Example", "a.b.corp.example."] {
            assert_eq!(request(&nobody, gateway.address(0), name, name), "refused", "{name}");
        }
    }
    for name in ["a.corp.example", "a.b.corp.example"] {
        assert!(request(&somebody, gateway.address(0), name, name).starts_with("HTTP/1.1 200"), "{name}");
        // Nor is there a way by another name.
        let elsewhere = request(&nobody, gateway.address(0), "open.example", name);
        assert!(elsewhere.starts_with("HTTP/1.1 421"), "{name}: {elsewhere}");
    }
    assert!(request(&nobody, gateway.address(0), "open.example", "open.example").starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_plain_connection_ends_when_its_listener_has_come_to_speak_tls() {
    let authority = authority();
    let secure = GATEWAY.replace("@TLS@", "client_auth = \"required\"\nclient_ca = \"clients.pem\"");
    let plain: String =
        secure.split("\n\n").filter(|part| !part.contains("[listeners.tls]")).collect::<Vec<_>>().join("\n\n");
    let plain = plain.replace("hsts = \"max-age=63072000\"", "");
    let server = authority.issue(Leaf::server("open.example").dns("*.corp.example"));
    let gateway = Gateway::builder(&plain)
        .file("server.pem", format!("{}{}", server.key_pem(), server.chain_pem()))
        .file("clients.pem", authority.pem())
        .start()
        .await;
    let mut old = tcp(gateway.address(0));
    ask(&mut old, "a.corp.example");
    assert!(answer(&mut old).starts_with("HTTP/1.1 200"));
    gateway.rewrite(&secure);
    let reloaded = gateway.reload().await;
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    ask(&mut old, "a.corp.example");
    let last = rest(&mut old);
    assert!(last.starts_with("HTTP/1.1 421") && !last.contains("trict-"), "{last}");
    assert_eq!(request(&client(|_| {}), gateway.address(0), "a.corp.example", "a.corp.example"), "refused");
}

#[tokio::test]
async fn every_answer_over_tls_has_hsts_also_to_what_is_no_request() {
    let gateway = gateway(&authority(), "").server("head_timeout = \"1s\"").start().await;
    let context = client(|_| {});
    let dripped = "GET / HTTP/1.1\r\nHost: open.example\r\nX-Late:";
    let long = format!("GET / HTTP/1.1\r\nHost: open.example\r\nX-Long: {}\r\n\r\n", "x".repeat(40_000));
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("get / HTTP/1.1\r\nHost: open.example\r\nA b\r\n\r\n", 400),
        ("GET /a/../b HTTP/1.1\r\nHost: open.example\r\nConnection: close\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: nobody.example\r\nConnection: close\r\n\r\n", 404),
        ("TRACE / HTTP/1.1\r\nHost: open.example\r\n\r\n", 405),
        (dripped, 408),
        (long.as_str(), 431),
    ] {
        let mut stream = connect(&context, gateway.address(0), "open.example").unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let answer = rest(&mut stream).to_ascii_lowercase();
        assert!(answer.starts_with(&format!("http/1.1 {status}")), "{answer}");
        assert_eq!(answer.matches("strict-transport-security: max-age=63072000\r\n").count(), 1, "{answer}");
    }
    // In plain it would be for anybody to say.
    let mut plain = tcp(gateway.address(0));
    ask(&mut plain, "open.example");
    let answer = rest(&mut plain).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 400") && !answer.contains("strict-transport"), "{answer}");
}

#[tokio::test]
async fn the_end_of_a_connection_that_was_idle_is_said() {
    let gateway = gateway(&authority(), "").server("idle_timeout = \"1s\"").start().await;
    let context = client(|_| {});
    let is_said = |mut stream: SslStream<TcpStream>| {
        rest(&mut stream);
        stream.get_shutdown().contains(ShutdownState::RECEIVED)
    };
    let fresh = connect(&context, gateway.address(0), "open.example").unwrap();
    assert!(is_said(fresh), "before a request");
    let mut used = connect(&context, gateway.address(0), "open.example").unwrap();
    ask(&mut used, "open.example");
    assert!(answer(&mut used).starts_with("HTTP/1.1 200"));
    assert!(is_said(used), "after a request");
    let mut left = connect(&context, gateway.address(0), "open.example").unwrap();
    ask(&mut left, "open.example");
    assert!(answer(&mut left).starts_with("HTTP/1.1 200"));
    gateway.signal(libc::SIGTERM);
    assert!(is_said(left), "at the end of the process");
}

#[tokio::test]
async fn a_client_sends_no_more_certificates_than_are_judged_later() {
    let authority = authority();
    let gateway = gateway(&authority, "client_auth = \"required\"\nclient_ca = \"clients.pem\"").start().await;
    let alice = authority.issue(Leaf::client("alice"));
    let ask = |more| request(&showing(&alice, more), gateway.address(0), "open.example", "open.example");
    assert!(ask(16).starts_with("HTTP/1.1 200"));
    assert_eq!(ask(17), "refused");
    let line = gateway.wait_line(|line| line["event"] == "handshake", LIMIT).await;
    assert_eq!(line["reason"], "certificate_chain_too_long", "{line}");
    // Nor one with a key that is too weak, whatever the machine's OpenSSL was built with.
    let weak = authority.issue(Leaf::client("weak").key(KeyType::Rsa1024));
    let weak = client(|context| {
        context.set_security_level(0);
        context.set_certificate(&weak.certificate).unwrap();
        context.set_private_key(&weak.key).unwrap();
    });
    assert_eq!(request(&weak, gateway.address(0), "open.example", "open.example"), "refused");
}

#[tokio::test]
async fn what_clients_would_not_take_is_said_beforehand() {
    let authority = authority();
    let short = authority.issue(Leaf::server("open.example").key(KeyType::Rsa1024));
    let good = authority.issue(Leaf::server("open.example"));
    let names = "certificates = [{ cert = \"cert.pem\", key = \"key.pem\" }]\n[listeners.tls.names.\"10.0.0.1\"]";
    let one = "certificates = [{ cert = \"cert.pem\", key = \"key.pem\" }]";
    let old = format!("{one}\nmin_version = \"1.3\"\nciphers = [\"ECDHE-RSA-AES128-GCM-SHA256\"]");
    let client = authority.issue(Leaf::client("open.example").dns("open.example"));
    let nameless = authority.issue(Leaf::new("open.example").uri("spiffe://example.org/a").purpose(Purpose::Server));
    for (tls, cert, key, field, words) in [
        (
            one,
            client.pem(),
            client.key_pem(),
            "certificates[0].cert",
            "was not made for servers: its extended key usage",
        ),
        (one, nameless.pem(), nameless.key_pem(), "certificates[0].cert", "no DNS name and no address among"),
        (one, short.pem(), short.key_pem(), "certificates[0].key", "2048 bits or more, and this one 1024"),
        (one, good.pem() + &good.key_pem(), good.key_pem(), "certificates[0].cert", "`PRIVATE KEY`"),
        (one, String::new(), good.key_pem(), "certificates[0].cert", "holds no certificate"),
        (one, good.pem(), "-".repeat(9), "certificates[0].key", "not a private key"),
        (names, good.pem(), good.key_pem(), "names", "a server name is a host"),
        (&old, good.pem(), good.key_pem(), "ciphers", "for TLS 1.2"),
        ("certificates = [{ cert = \".\", key = \"key.pem\" }]", good.pem(), good.key_pem(), "cert", "is not a file"),
        (
            "certificates = [{ cert = \"/dev/zero\", key = \"key.pem\" }]",
            good.pem(),
            good.key_pem(),
            "cert",
            "not a file",
        ),
    ] {
        let toml = format!("[[listeners]]\naddress = \"127.0.0.1:0\"\n[listeners.tls]\n{tls}\n");
        let toml = format!("{toml}[routes.all]\npublic = true\nrespond = {{ status = 204 }}\n");
        let builder = Gateway::builder(&toml).file("cert.pem", cert).file("key.pem", key);
        let (code, text) = builder.fails().await;
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(field) && text.contains(words), "{field}, {words}: {text}");
    }
}
