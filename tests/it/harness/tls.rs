//! Clients that speak TLS: what our own ones connect with, and `openssl s_client` as a witness that is none of ours.
//!
//! ```ignore
//! let tls = Tls::trusting(&ca).name("api.example.com").certificate(&acme).http2();
//! let answer = Client::by_tls(gateway.address(0), &tls).get("/orders").send().await;
//! ```

use std::{net::SocketAddr, path::Path, pin::Pin};

use http::Version;
use openssl::{
    ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVerifyMode, SslVersion},
    x509::store::X509StoreBuilder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_openssl::SslStream;

use super::{Authority, LIMIT, Output, Pair, program, within};

/// A connection, by TLS or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// How a client speaks TLS: whom it trusts, whom it asks for, who it is.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: SslConnector,
    name: Option<String>,
    is_name_verified: bool,
    /// Whether HTTP/2 is all that it offers.
    is_http2: bool,
}

impl Tls {
    /// Trusts this authority and no other.
    pub(crate) fn trusting(authority: &Authority) -> TlsBuilder {
        let mut builder = started();
        let mut store = X509StoreBuilder::new().expect("a store");
        store.add_cert(authority.pair().certificate.clone()).expect("taken");
        builder.set_cert_store(store.build());
        TlsBuilder { builder, name: None, is_name_verified: true }
    }

    /// Does not look at the server's certificate.
    pub(crate) fn trusting_anyone() -> TlsBuilder {
        let mut builder = started();
        builder.set_verify(SslVerifyMode::NONE);
        TlsBuilder { builder, name: None, is_name_verified: true }
    }

    /// Shakes hands. In TLS 1.3 a client has done so before the server has judged its certificate.
    pub(crate) async fn connect(&self, stream: TcpStream) -> Result<SslStream<TcpStream>, String> {
        let mut configuration = self.connector.configure().expect("a client");
        configuration.set_use_server_name_indication(self.name.is_some());
        configuration.set_verify_hostname(self.is_name_verified && self.name.is_some());
        let ssl = configuration.into_ssl(self.name.as_deref().unwrap_or_default()).expect("a name");
        let mut stream = SslStream::new(ssl, stream).expect("a client");
        let connected = within("a handshake", Pin::new(&mut stream).connect()).await;
        connected.map(|()| stream).map_err(|error| error.to_string())
    }

    /// The name it asks for.
    pub(super) fn asked_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The version of HTTP that it offers.
    pub(super) fn http(&self) -> Version {
        if self.is_http2 { Version::HTTP_2 } else { Version::HTTP_11 }
    }
}

fn started() -> SslConnectorBuilder {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).expect("OpenSSL");
    // Tests have keys that nobody would accept elsewhere.
    builder.set_security_level(0);
    builder
}

/// A [`Tls`] that is being put together.
pub(crate) struct TlsBuilder {
    builder: SslConnectorBuilder,
    name: Option<String>,
    is_name_verified: bool,
}

impl TlsBuilder {
    /// Asks for this name (SNI), and wants it in the certificate.
    pub(crate) fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Asks for this name, whatever the certificate says.
    pub(crate) fn name_unverified(mut self, name: &str) -> Self {
        self.is_name_verified = false;
        self.name(name)
    }

    /// Has a certificate.
    pub(crate) fn certificate(mut self, pair: &Pair) -> Self {
        self.builder.set_certificate(&pair.certificate).expect("taken");
        self.builder.set_private_key(&pair.key).expect("a key that fits");
        for intermediate in &pair.intermediates {
            self.builder.add_extra_chain_cert(intermediate.clone()).expect("taken");
        }
        self
    }

    /// Speaks this version and no other.
    pub(crate) fn version(mut self, version: SslVersion) -> Self {
        self.builder.set_min_proto_version(Some(version)).expect("a version of OpenSSL");
        self.builder.set_max_proto_version(Some(version)).expect("a version of OpenSSL");
        self
    }

    /// Offers HTTP/1.1 (RFC 7301).
    pub(crate) fn http1(mut self) -> Tls {
        self.builder.set_alpn_protos(b"\x08http/1.1").expect("names of protocols");
        self.build(false)
    }

    /// Offers HTTP/2.
    pub(crate) fn http2(mut self) -> Tls {
        self.builder.set_alpn_protos(b"\x02h2").expect("names of protocols");
        self.build(true)
    }

    fn build(self, is_http2: bool) -> Tls {
        let Self { builder, name, is_name_verified } = self;
        Tls { connector: builder.build(), name, is_name_verified, is_http2 }
    }
}

/// `openssl s_client` with these arguments: says this, and reads until the server closes. Ask with `Connection: close`.
pub(crate) async fn s_client(address: SocketAddr, arguments: &[&str], says: &str) -> Output {
    let address = address.to_string();
    let limit = LIMIT.as_secs().to_string();
    // It neither ends by itself where a server does not close, nor has a limit of its own.
    let always = [&limit, "openssl", "s_client", "-connect", &address, "-ign_eof"];
    program(Path::new("timeout"), &[&always, arguments].concat(), says).await
}
