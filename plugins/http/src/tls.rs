//! TLS to a server: TLS 1.2 or later, a certificate that the authorities vouch for, and the name that was asked for in it.

use std::{net::IpAddr, pin::Pin};

use openssl::{
    error::ErrorStack,
    pkey::PKey,
    ssl::{Ssl, SslConnector, SslConnectorBuilder, SslMethod, SslVersion},
    x509::{
        X509, X509PurposeId, X509VerifyResult,
        store::X509StoreBuilder,
        verify::{X509CheckFlags, X509VerifyFlags},
    },
};
use portcullis_plugin::{BuildError, Secret};
use portcullis_x509::{SECURITY_LEVEL, certificates, certificates_beside_key};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::{HttpError, settings::Read};

/// The most certificates between the server's and an authority.
const MAX_INTERMEDIATES: i32 = 8;

/// Makes an error without a field: OpenSSL has refused an operation.
#[expect(clippy::needless_pass_by_value, reason = "it stands where errors are mapped")]
fn broken(error: ErrorStack) -> BuildError {
    BuildError::new("", format!("OpenSSL cannot prepare TLS: {error}"))
}

/// Makes what opens TLS connections.
///
/// # Errors
/// The problems of the files, by field.
pub(crate) fn connector(read: &Read) -> Result<SslConnector, BuildError> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(broken)?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(broken)?;
    builder.set_alpn_protos(b"\x08http/1.1").map_err(broken)?;
    // What `builder` believes by itself is what OpenSSL was compiled with, which is not where this system has it.
    let store = X509StoreBuilder::new().map_err(broken)?.build();
    builder.set_cert_store(store);
    if read.has_system_ca {
        let found = openssl_probe::probe();
        // Without any, no server is accepted, and the error of each handshake says so.
        if found.cert_file.is_some() || !found.cert_dir.is_empty() {
            let folder = found.cert_dir.first().map(std::path::PathBuf::as_path);
            builder.load_verify_locations(found.cert_file.as_deref(), folder).map_err(broken)?;
        }
    }
    let parameters = builder.verify_param_mut();
    parameters.set_auth_level(SECURITY_LEVEL.cast_signed());
    parameters.set_depth(MAX_INTERMEDIATES);
    parameters.set_purpose(X509PurposeId::SSL_SERVER).map_err(broken)?;
    if let Some(pem) = &read.ca {
        // The file names them one by one, so each counts by itself, root or not.
        parameters.set_flags(X509VerifyFlags::PARTIAL_CHAIN).map_err(broken)?;
        for authority in certificates(pem).map_err(|why| BuildError::new("ca", why.to_string()))? {
            builder.cert_store_mut().add_cert(authority).map_err(broken)?;
        }
    }
    if let Some((cert, key)) = &read.own {
        own(&mut builder, cert, key)?;
    }
    Ok(builder.build())
}

fn own(builder: &mut SslConnectorBuilder, cert: &[u8], key: &Secret) -> Result<(), BuildError> {
    let chain: Vec<X509> = certificates_beside_key(cert).map_err(|why| BuildError::new("cert", why.to_string()))?;
    let key = PKey::private_key_from_pem_callback(key.expose(), |_| Ok(0));
    let key = key.map_err(|_| BuildError::new("key", "is not a private key in PEM form without a password"))?;
    let mut chain = chain.into_iter();
    let leaf = chain.next().ok_or_else(|| BuildError::new("cert", "holds no certificate"))?;
    if !leaf.public_key().is_ok_and(|public| public.public_eq(&key)) {
        return Err(BuildError::new("key", "is not the key of the first certificate in `cert`"));
    }
    builder.set_certificate(&leaf).map_err(broken)?;
    builder.set_private_key(&key).map_err(broken)?;
    for intermediate in chain {
        builder.add_extra_chain_cert(intermediate).map_err(broken)?;
    }
    Ok(())
}

/// Opens TLS on a connection to a server that has to prove to be `host`.
///
/// # Errors
/// The handshake failed.
pub(crate) async fn handshake(
    connector: &SslConnector,
    host: &str,
    stream: TcpStream,
) -> Result<SslStream<TcpStream>, HttpError> {
    let broken = |error: ErrorStack| HttpError::Tls(format!("OpenSSL will not speak TLS with {host}: {error}"));
    let ssl = session(connector, host).map_err(broken)?;
    let mut stream = SslStream::new(ssl, stream).map_err(broken)?;
    match Pin::new(&mut stream).connect().await {
        Ok(()) => Ok(stream),
        Err(error) => Err(failure(host, stream.ssl().verify_result(), &error)),
    }
}

fn session(connector: &SslConnector, host: &str) -> Result<Ssl, ErrorStack> {
    let mut configuration = connector.configure()?.verify_hostname(false);
    let parameters = configuration.param_mut();
    match host.parse::<IpAddr>() {
        Ok(address) => parameters.set_ip(address)?,
        // Names stand among the alternative names, whole labels alone are wild (RFC 9525 sections 2 and 6.3).
        Err(_) => {
            parameters.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS | X509CheckFlags::NEVER_CHECK_SUBJECT);
            parameters.set_host(host)?;
        }
    }
    configuration.into_ssl(host)
}

fn failure(host: &str, verified: X509VerifyResult, error: &openssl::ssl::Error) -> HttpError {
    if verified != X509VerifyResult::OK {
        let why = verified.error_string();
        let advice = match why {
            "unable to get local issuer certificate"
            | "unable to get issuer certificate"
            | "self-signed certificate"
            | "self-signed certificate in certificate chain" => "; if that is meant, name its authority as `ca`",
            _ => "",
        };
        return HttpError::Tls(format!("the certificate of {host}: certificate verify failed: {why}{advice}"));
    }
    match error.io_error() {
        Some(error) => HttpError::Unreachable(format!("the connection to {host} ended in the TLS handshake: {error}")),
        // Of the text only the reasons: it has no secrets, but source files and line numbers of OpenSSL.
        None => {
            let stack = error.ssl_error().map_or(&[][..], ErrorStack::errors);
            let reasons: Vec<_> = stack.iter().filter_map(openssl::error::Error::reason).collect();
            let reasons = if reasons.is_empty() { "the connection ended".to_owned() } else { reasons.join(", ") };
            HttpError::Tls(format!("no TLS with {host}: {reasons}"))
        }
    }
}
