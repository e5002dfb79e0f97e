//! TLS.

use std::path::PathBuf;

use portcullis_x509::testing::Ca;

use super::*;

struct Files {
    folder: tempfile::TempDir,
    root: Ca,
}

impl Files {
    fn new() -> Self {
        let (folder, root) = (tempfile::tempdir().unwrap(), Ca::root("Root"));
        std::fs::write(folder.path().join("ca.pem"), root.pem()).unwrap();
        Self { folder, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self, names: &[&str]) -> Ca {
        self.root.issue("server", |sketch| sketch.dns(names))
    }

    fn trusting(&self) -> HttpSettings {
        HttpSettings { ca: Some(self.path("ca.pem")), ..settings() }
    }
}

async fn asked(server: &Server, host: &str, settings: &HttpSettings) -> Result<Response, HttpError> {
    server.serves("/", answer(200, "", b"yes"));
    let url = server.url_of(host, "/");
    client(&url, settings).send(Request::get(&url)).await
}

#[tokio::test]
async fn a_server_proves_its_name_by_an_authority_that_is_believed() {
    let files = Files::new();
    let server = Server::tls(&files.server(&["localhost"])).await;
    assert_eq!(&*asked(&server, "localhost", &files.trusting()).await.unwrap().body, b"yes");
    let both = HttpSettings { system_ca: true, ..files.trusting() };
    assert!(asked(&server, "localhost", &both).await.is_ok());

    let error = asked(&server, "localhost", &settings()).await.unwrap_err();
    assert_eq!(error.kind(), "tls");
    assert!(error.to_string().contains("the certificate of localhost: certificate verify failed"), "{error}");
    assert!(error.to_string().contains("name its authority as `ca`"), "{error}");
    let error = asked(&server, "127.0.0.1", &files.trusting()).await.unwrap_err();
    assert!(error.to_string().contains("IP address mismatch"), "{error}");
    let other = Server::tls(&files.server(&["other.example"])).await;
    let error = asked(&other, "localhost", &files.trusting()).await.unwrap_err();
    assert!(error.to_string().contains("hostname mismatch"), "{error}");
    assert!(other.saw().is_empty(), "no handshake, no request");
}

#[tokio::test]
async fn a_common_name_is_no_name() {
    let files = Files::new();
    let server = Server::tls(&files.root.issue("localhost", |_| {})).await;
    let error = asked(&server, "localhost", &files.trusting()).await.unwrap_err();
    assert!(error.to_string().contains("hostname mismatch"), "{error}");
}

#[tokio::test]
async fn another_host_proves_the_name_of_the_configured_one() {
    let files = Files::new();
    let server = Server::tls(&files.server(&["auth.invalid"])).await;
    server.serves("/", answer(200, "", b"yes"));
    let settings = HttpSettings { connect_to: Some(server.address().to_string()), ..files.trusting() };
    let url: Url = "https://auth.invalid/".parse().unwrap();
    assert!(client(&url, &settings).send(Request::get(&url)).await.is_ok());
    assert!(server.saw()[0].1.contains("host: auth.invalid\r\n"));
    let (proxy, saw) = server::proxy(None).await;
    let settings = HttpSettings { proxy: Some(format!("http://{proxy}")), ..settings };
    assert!(client(&url, &settings).send(Request::get(&url)).await.is_ok());
    assert!(saw.lock().unwrap()[0].starts_with(&format!("CONNECT {} ", server.address())));
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let files = Files::new();
    let server = Server::tls(&files.server(&["localhost"])).await;
    let own = files.root.client("gateway", |_| {});
    std::fs::write(files.path("own.pem"), own.pem()).unwrap();
    let pem = String::from_utf8(own.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    let with = HttpSettings { cert: Some(files.path("own.pem")), key: Some(secret(&pem)), ..files.trusting() };
    assert!(asked(&server, "localhost", &with).await.is_ok());
    assert!(asked(&server, "localhost", &files.trusting()).await.is_ok());
    let subjects = server.subjects();
    assert!(subjects[0].contains("gateway"), "{subjects:?}");
    assert_eq!(subjects[1], "none");

    let origin = server.url_of("localhost", "/");
    let wrong = |settings: HttpSettings| built(&mut Build::new(), &origin, &settings).unwrap_err().remove(0);
    let other = String::from_utf8(files.root.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    let (field, why) = wrong(HttpSettings { key: Some(secret(&other)), ..with.clone() });
    assert_eq!((&*field, &*why), ("key", "is not the key of the first certificate in `cert`"));
    let (field, why) = wrong(HttpSettings { key: Some(secret("planted")), ..with.clone() });
    assert_eq!((&*field, &*why), ("key", "is not a private key in PEM form without a password"));
    std::fs::write(files.path("own.pem"), "").unwrap();
    assert_eq!(wrong(with).0, "cert");
    std::fs::write(files.path("ca.pem"), "").unwrap();
    assert_eq!(wrong(files.trusting()).0, "ca");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_no_server() {
    let files = Files::new();
    let plain = Server::start().await;
    plain.serves("/", answer(200, "", b""));
    let url: Url = format!("https://localhost:{}/", plain.address().port()).parse().unwrap();
    // The server reads for a head that never ends.
    let error = client(&url, &files.trusting()).send(Request::get(&url)).await.unwrap_err();
    assert!(matches!(error.kind(), "tls" | "unreachable"), "{error}");
    assert!(plain.saw().is_empty());
}
