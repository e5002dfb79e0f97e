use std::fs;

use super::{assert_refused, at_loopback, before, errors, get};
use crate::harness::{Authority, Client, Gateway, Leaf, Pair, TlsServer, Upstream};

const BY_CERTIFICATE: &str = "[upstreams.app.tls]\nca = \"ca.pem\"\ncert = \"own.pem\"\nkey = \"own.key\"";

struct Scene {
    authority: Authority,
    clients: Authority,
    upstream: Upstream,
}

/// A server that demands a certificate of `clients`.
fn scene() -> Scene {
    let (authority, clients) = (Authority::new("ours"), Authority::new("clients"));
    let server = TlsServer::new(&at_loopback(&authority)).demanding(clients.pair());
    Scene { upstream: Upstream::tls(&server), authority, clients }
}

async fn with(scene: &Scene, own: &Pair, says: &str) -> Gateway {
    let builder = before(&[&scene.upstream], &scene.authority, says);
    builder.file("own.pem", own.chain_pem()).file("own.key", own.key_pem()).start().await
}

#[tokio::test]
async fn the_upstream_gets_the_certificate_with_its_chain() {
    for protocol in ["http1", "h2"] {
        let scene = scene();
        let own = scene.clients.intermediate("below").issue(Leaf::client("gateway"));
        let says = format!("protocol = \"{protocol}\"\n{BY_CERTIFICATE}");
        let gateway = with(&scene, &own, &says).await;
        assert_eq!(get(&gateway).await.status, 200, "{}", gateway.output());
        let shaken = scene.upstream.shakings().remove(0);
        assert_eq!((shaken.certificate, shaken.chain), (Some(own.fingerprint()), 2), "{protocol}");
    }
}

#[tokio::test]
async fn the_key_may_be_in_any_place_of_secrets() {
    for key in ["{ file = \"own.key\" }", "{ env = \"OWN_KEY\" }", "{ credential = \"own.key\" }"] {
        let scene = scene();
        let own = scene.clients.issue(Leaf::client("gateway"));
        let says = BY_CERTIFICATE.replace("\"own.key\"", key);
        let builder = before(&[&scene.upstream], &scene.authority, &says).env("OWN_KEY", &own.key_pem());
        let builder = builder.file("own.pem", own.pem()).file("own.key", own.key_pem());
        let gateway = builder.env("CREDENTIALS_DIRECTORY", "@DIR@").start().await;
        assert_eq!(get(&gateway).await.status, 200, "{key}: {}", gateway.output());
    }
}

#[tokio::test]
async fn without_one_or_with_one_of_others_the_upstream_refuses() {
    for protocol in ["http1", "h2"] {
        let scene = scene();
        let says = format!("protocol = \"{protocol}\"\ntls = {{ ca = \"ca.pem\" }}");
        let gateway = before(&[&scene.upstream], &scene.authority, &says).start().await;
        assert_eq!((get(&gateway).await.status, scene.upstream.requests()), (502, 0), "{}", gateway.output());

        let others = Authority::new("clients").issue(Leaf::client("gateway"));
        let gateway = with(&scene, &others, &format!("protocol = \"{protocol}\"\n{BY_CERTIFICATE}")).await;
        assert_eq!((get(&gateway).await.status, scene.upstream.requests()), (502, 0), "{}", gateway.output());
        assert_eq!(errors(&gateway, "tls").await, 1.0, "{protocol}: {}", gateway.output());
        let line = gateway.access(|line| line["status"] == 502).await;
        // The authorities have the same name, and other keys.
        let why = "upstream: tls: the upstream did not take the gateway's certificate (tlsv1 alert decrypt error)";
        assert_eq!(line["error"], why, "{protocol}");
    }
}

/// TLS 1.2 says it within the handshake, 1.3 after it: for HTTP/1.1 both are called what they are. OpenSSL's servers
/// have a word for it in TLS 1.3 alone.
#[tokio::test]
async fn the_refusal_of_the_certificate_is_an_error_of_tls() {
    use openssl::ssl::SslVersion;
    let (authority, clients) = (Authority::new("ours"), Authority::new("clients"));
    for (version, why) in [
        (SslVersion::TLS1_2, "alert handshake failure)"),
        (
            SslVersion::TLS1_3,
            "tls: the upstream wants a certificate of the gateway (tlsv13 alert certificate required)",
        ),
    ] {
        let server = TlsServer::new(&at_loopback(&authority)).demanding(clients.pair()).at_most(version);
        let upstream = Upstream::tls(&server);
        let gateway = before(&[&upstream], &authority, "protocol = \"http1\"\ntls = { ca = \"ca.pem\" }").start().await;
        assert_refused(&gateway, &upstream, "tls", why).await;
    }
}

/// Two upstreams with the same server: each has its own connections.
#[tokio::test]
async fn a_connection_is_not_shared_with_who_has_another_certificate() {
    const TWO: &str = r#"
        [[listeners]]
        address = "127.0.0.1:0"
        [upstreams.first]
        targets = ["@UPSTREAM@"]
        tls = { ca = "ca.pem", cert = "first.pem", key = "first.key" }
        [upstreams.second]
        targets = ["@UPSTREAM@"]
        tls = { ca = "ca.pem", cert = "second.pem", key = "second.key" }
        [routes.first]
        paths = ["/first"]
        upstream = "first"
        public = true
        [routes.second]
        paths = ["/second"]
        upstream = "second"
        public = true
    "#;
    let scene = scene();
    let [first, second] = ["first", "second"].map(|name| scene.clients.issue(Leaf::client(name)));
    let builder =
        Gateway::builder(TWO).set("UPSTREAM", &scene.upstream.address()).file("ca.pem", scene.authority.pem());
    let builder = builder.file("first.pem", first.pem()).file("first.key", first.key_pem());
    let gateway = builder.file("second.pem", second.pem()).file("second.key", second.key_pem()).start().await;
    let client = Client::http1(gateway.address(0));
    for path in ["/first", "/second", "/first", "/second"] {
        assert_eq!(client.get(path).send().await.status, 200, "{}", gateway.output());
    }
    let shakings = scene.upstream.shakings();
    for saw in scene.upstream.saw() {
        let own = if saw.target == "/first" { &first } else { &second };
        assert_eq!(shakings[saw.connection - 1].certificate, Some(own.fingerprint()), "{}", saw.target);
    }
}

/// What is wrong with the files is said before anything serves, and never shows a key.
#[tokio::test]
async fn files_that_do_not_fit_refuse_the_start() {
    let scene = scene();
    let own = scene.clients.issue(Leaf::client("gateway"));
    let other = scene.clients.issue(Leaf::client("other"));
    let locked = own.key.private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_256_cbc(), b"word");
    let locked = String::from_utf8(locked.expect("a key")).expect("PEM is ASCII");
    let late = scene.clients.issue(Leaf::client("late").valid(-9, -1));
    let early = scene.clients.issue(Leaf::client("early").valid(1, 9));
    let server = scene.clients.issue(Leaf::server("gateway"));
    let unordered = format!("{}{}", own.pem(), other.pem());
    let cases = [
        ("tls.key: this is not the key of the certificate of `CN=gateway`", own.pem(), other.key_pem()),
        ("tls.key: this is not a private key in PEM without a passphrase", own.pem(), locked),
        ("tls.key: this is not a private key in PEM without a passphrase", own.pem(), own.pem()),
        ("the certificate of `CN=gateway` was not made for clients: its extended", server.pem(), server.key_pem()),
        ("tls.key: the secret is empty", own.pem(), String::new()),
        ("the certificate of `CN=late` expired: ", late.pem(), late.key_pem()),
        ("the certificate of `CN=early` is not valid before ", early.pem(), early.key_pem()),
        ("holds a `PRIVATE KEY`: only certificates belong here", own.key_pem(), own.key_pem()),
        ("is not PEM", own.pem().replace("MII", "!!!"), own.key_pem()),
        ("the certificate of `CN=other` did not sign the one before it, of `CN=gateway`", unordered, own.key_pem()),
    ];
    for (why, cert, key) in cases {
        let builder = before(&[&scene.upstream], &scene.authority, BY_CERTIFICATE);
        let (code, said) = builder.file("own.pem", cert).file("own.key", &key).fails().await;
        let is_located = said.contains("portcullis.toml:14:8: ") || said.contains("portcullis.toml:15:7: ");
        assert!(code == 2 && said.contains(why) && is_located, "{why}:\n{said}");
        assert!(!key.lines().any(|line| line.len() > 20 && said.contains(line)), "{said}");
    }
    let expired = Authority::valid("ours", -9, -1);
    let (_, said) = before(&[&scene.upstream], &expired, "tls = { ca = \"ca.pem\" }").fails().await;
    assert!(said.contains("tls.ca: ") && said.contains("the certificate of `CN=ours` expired"), "{said}");
    let dir = tempfile::TempDir::new().expect("a directory");
    fs::write(dir.path().join("empty.pem"), "").expect("a file");
    let builder = before(&[&scene.upstream], &scene.authority, "tls = true");
    let nobody = builder.env("SSL_CERT_FILE", &dir.path().join("empty.pem").display().to_string());
    let (_, said) = nobody.fails().await;
    assert!(said.contains("upstreams.app.tls: ") && said.contains("there is no certificate in it"), "{said}");
}
