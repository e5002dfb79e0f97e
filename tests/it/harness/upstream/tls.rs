//! The same server behind TLS, the witness of what the gateway asked for and proved.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
};

use openssl::{
    hash::MessageDigest,
    ssl::{AlpnError, NameType, Ssl, SslAcceptor, SslMethod, SslVerifyMode, SslVersion, select_next_proto},
    stack::StackRef,
    x509::{X509, store::X509StoreBuilder},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_openssl::SslStream;

use crate::harness::{LIMIT, Pair};

/// How a server speaks TLS.
#[derive(Clone)]
pub(crate) struct TlsServer {
    pair: Pair,
    /// In the form of RFC 7301: each protocol after its length.
    alpn: &'static [u8],
    client_ca: Option<X509>,
    max_version: Option<SslVersion>,
}

/// What a client said and proved in its handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shaken {
    /// The name it asked for.
    pub(crate) sni: Option<String>,
    /// SHA-256 over its certificate, in lower-case hex.
    pub(crate) certificate: Option<String>,
    /// How many certificates it sent.
    pub(crate) chain: usize,
    /// The protocol that was agreed on.
    pub(crate) alpn: Option<String>,
}

impl TlsServer {
    /// Proves itself by this certificate, offers HTTP/2 and HTTP/1.1, and asks for no certificate.
    pub(crate) fn new(pair: &Pair) -> Self {
        Self { pair: pair.clone(), alpn: b"\x02h2\x08http/1.1", client_ca: None, max_version: None }
    }

    /// Offers HTTP/1.1 alone.
    pub(crate) fn http1(mut self) -> Self {
        self.alpn = b"\x08http/1.1";
        self
    }

    /// Agrees on no protocol at all, as servers do that do not know ALPN.
    pub(crate) fn without_alpn(mut self) -> Self {
        self.alpn = b"";
        self
    }

    /// Demands a certificate that this authority has signed.
    pub(crate) fn demanding(mut self, authority: &Pair) -> Self {
        self.client_ca = Some(authority.certificate.clone());
        self
    }

    /// Speaks nothing newer.
    pub(crate) fn at_most(mut self, version: SslVersion) -> Self {
        self.max_version = Some(version);
        self
    }

    pub(crate) fn acceptor(&self) -> SslAcceptor {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("OpenSSL");
        if let Some(version) = self.max_version {
            builder.set_min_proto_version(None).expect("any version");
            builder.set_max_proto_version(Some(version)).expect("a version");
            // OpenSSL 3 speaks versions before 1.2 at no other level.
            builder.set_cipher_list("DEFAULT@SECLEVEL=0").expect("ciphers");
        }
        // A certificate with a key that is too short is sent all the same.
        builder.set_security_level(0);
        builder.set_certificate(&self.pair.certificate).expect("a certificate");
        builder.set_private_key(&self.pair.key).expect("its key");
        for certificate in &self.pair.intermediates {
            builder.add_extra_chain_cert(certificate.clone()).expect("a certificate");
        }
        let offered = self.alpn;
        builder.set_alpn_select_callback(move |_, asked| {
            select_next_proto(offered, asked).filter(|_| !offered.is_empty()).ok_or(AlpnError::NOACK)
        });
        if let Some(authority) = &self.client_ca {
            let mut store = X509StoreBuilder::new().expect("a store");
            store.add_cert(authority.clone()).expect("an authority");
            builder.set_verify_cert_store(store.build()).expect("a store");
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
        builder.build()
    }
}

/// The handshakes of a server, in order, also those that failed.
pub(super) type Shakings = Arc<Mutex<Vec<Shaken>>>;

/// `None` where the handshake failed; what had been said is on record.
pub(super) async fn accept(
    acceptor: &SslAcceptor,
    stream: TcpStream,
    shakings: &Shakings,
) -> Option<SslStream<TcpStream>> {
    let ssl = Ssl::new(acceptor.context()).expect("OpenSSL");
    let mut stream = SslStream::new(ssl, stream).expect("OpenSSL");
    let accepted = Pin::new(&mut stream).accept().await;
    let ssl = stream.ssl();
    let digest = |certificate: X509| hex::encode(certificate.digest(MessageDigest::sha256()).expect("a digest"));
    shakings.lock().expect("no holder panics").push(Shaken {
        sni: ssl.servername(NameType::HOST_NAME).map(str::to_owned),
        certificate: ssl.peer_certificate().map(digest),
        // A server's list has what came after the leaf.
        chain: ssl.peer_certificate().map_or(0, |_| 1 + ssl.peer_cert_chain().map_or(0, StackRef::len)),
        alpn: ssl.selected_alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned()),
    });
    if accepted.is_ok() {
        return Some(stream);
    }
    // A reset, for what was not read, would overtake the alert that says why.
    let plain = stream.get_mut();
    let _ = plain.shutdown().await;
    let _ = tokio::time::timeout(LIMIT, tokio::io::copy(plain, &mut tokio::io::sink())).await;
    None
}
