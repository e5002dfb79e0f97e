//! Clients that connect, shake hands and leave: threads that block, with OpenSSL as the proxies have it.
//!
//! A connection is over when the proxy has closed it, so that all that a handshake costs the proxy, the making of
//! session tickets included, lies within what is measured.

use std::{
    io::Read,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use openssl::ssl::{
    ShutdownResult, SslConnector, SslMethod, SslOptions, SslRef, SslSession, SslSessionCacheMode, SslStream,
    SslVerifyMode, SslVersion,
};

use super::{certificate::NAME, load::Cost, process::Process};

/// Connections at the same time: enough that the proxy never waits for one of them.
const CLIENTS: usize = 16;

/// How hands are shaken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// This version and no other.
    pub version: SslVersion,
    /// By the ticket of a session before.
    pub is_resumed: bool,
}

/// Clients with one way of shaking hands.
pub(crate) struct Clients {
    connector: SslConnector,
    manner: Manner,
    /// The session that came last.
    session: Arc<Mutex<Option<SslSession>>>,
}

impl Clients {
    /// They leave the proxy no choice: one version, one cipher, and a key for one group. The certificate is not
    /// verified, its signature of the handshake always is.
    pub(crate) fn new(manner: Manner) -> Self {
        let session = Arc::new(Mutex::new(None));
        let mut builder = SslConnector::builder(SslMethod::tls_client()).expect("OpenSSL");
        let version = Some(manner.version);
        let chosen = builder
            .set_min_proto_version(version)
            .and_then(|()| builder.set_max_proto_version(version))
            .and_then(|()| builder.set_cipher_list("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"))
            .and_then(|()| builder.set_ciphersuites("TLS_AES_128_GCM_SHA256"))
            // The second for its name alone: without it TLS 1.2 does not take a certificate of that curve.
            .and_then(|()| builder.set_groups_list("X25519:P-256"));
        chosen.expect("what OpenSSL has");
        builder.set_verify(SslVerifyMode::NONE);
        // A proxy that ends a connection without a goodbye ends nothing else: OpenSSL would not resume its session.
        builder.set_options(SslOptions::IGNORE_UNEXPECTED_EOF);
        builder.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
        let kept = session.clone();
        builder.set_new_session_callback(move |_: &mut SslRef, new| *kept.lock().expect("no panic") = Some(new));
        Self { connector: builder.build(), manner, session }
    }

    /// Shakes hands for `span`, after doing so for `warm_up` unmeasured.
    #[expect(clippy::disallowed_methods, reason = "this thread has nothing else to do")]
    pub(crate) fn measure(&self, proxy: &Process, warm_up: Duration, span: Duration) -> Cost {
        // Tickets are good for some minutes only: each measurement has its own.
        self.shake(proxy.address, None);
        let session = self.session.lock().expect("no panic").take();
        let session = session.filter(|_| self.manner.is_resumed).map(|session| session.to_der().expect("a session"));
        assert_eq!(session.is_some(), self.manner.is_resumed, "the proxy gave no session ticket");
        let (is_over, took) = (AtomicBool::new(false), Mutex::new(vec![]));
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    while !is_over.load(Relaxed) {
                        let begun = Instant::now();
                        self.shake(proxy.address, session.as_deref());
                        took.lock().expect("no panic").push(begun.elapsed());
                    }
                });
            }
            thread::sleep(warm_up);
            took.lock().expect("no panic").clear();
            let (begun, cpu_begun) = (Instant::now(), proxy.cpu_time());
            thread::sleep(span);
            let (wall, cpu) = (begun.elapsed(), proxy.cpu_time() - cpu_begun);
            let took = std::mem::take(&mut *took.lock().expect("no panic"));
            is_over.store(true, Relaxed);
            Cost::of(took, cpu, wall)
        })
    }

    /// One connection, from its opening until the proxy has closed it too.
    fn shake(&self, address: SocketAddr, session: Option<&[u8]>) {
        let stream = TcpStream::connect(address).expect("the proxy accepts");
        stream.set_nodelay(true).expect("a socket");
        let mut ssl = self.connector.configure().and_then(|it| it.into_ssl(NAME)).expect("a client");
        if let Some(session) = session {
            // One for each: OpenSSL resumes none again on which anything went wrong.
            let session = SslSession::from_der(session).expect("a session");
            // SAFETY: it has been on no context yet.
            unsafe { ssl.set_session(&session) }.expect("a session of this version");
        }
        let mut stream = SslStream::new(ssl, stream).expect("a client");
        stream.connect().expect("a handshake");
        assert_eq!(stream.ssl().session_reused(), session.is_some(), "resumed, or not");
        // The proxy may have gone by now; that is all that is wanted of it.
        let _: Result<ShutdownResult, _> = stream.shutdown();
        while matches!(stream.read(&mut [0; 512]), Ok(1..)) {}
    }
}
