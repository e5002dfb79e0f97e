//! The OpenSSL context of a name.

use openssl::{
    error::ErrorStack,
    hash::MessageDigest,
    ssl::{
        AlpnError, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslVersion,
        select_next_proto,
    },
    stack::Stack,
    x509::{X509, X509Ref},
};

use super::{certificate::Certified, clients::Clients, ffi, staple::Staple};
use crate::config::file;

/// Returns the context for clients that ask for a name: its certificates and its client certificate settings.
pub(super) fn of_name(
    file: &file::Tls,
    listener: usize,
    certificates: &[&Certified],
    clients: &Clients,
) -> Result<SslContext, ErrorStack> {
    let mut context = base(file)?;
    for certificate in certificates {
        context.set_certificate(&certificate.chain[0])?;
        context.set_private_key(&certificate.key)?;
        for above in &certificate.chain[1..] {
            ffi::add_to_chain(&mut context, above)?;
        }
    }
    staple(&mut context, certificates)?;
    context.set_session_id_context(&session_id_context(listener, certificates, clients)?)?;
    if let Some(trust) = &clients.trust {
        context.set_cert_store(trust.store()?);
        let mut names = Stack::new()?;
        for ca in trust.cas() {
            names.push(ca.subject_name().to_owned()?)?;
        }
        context.set_client_ca_list(names);
    }
    Ok(context.build())
}

/// Returns a context with the settings that entry and names have in common.
pub(super) fn base(file: &file::Tls) -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContextBuilder::new(SslMethod::tls_server())?;
    // Set explicitly, as the default depends on the build of OpenSSL. It is the level that a handshake judges a chain
    // by, whatever its store says.
    context.set_security_level(portcullis_x509::SECURITY_LEVEL);
    context.set_options(
        SslOptions::NO_COMPRESSION
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::CIPHER_SERVER_PREFERENCE
            | SslOptions::PRIORITIZE_CHACHA,
    );
    context.set_mode(
        SslMode::AUTO_RETRY
            | SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::RELEASE_BUFFERS
            // A certificate without a chain is sent alone. OpenSSL would look for one among the CAs of clients, in
            // every handshake.
            | SslMode::NO_AUTO_CHAIN,
    );
    context.set_min_proto_version(Some(match file.min_version {
        file::Version::Tls12 => SslVersion::TLS1_2,
        file::Version::Tls13 => SslVersion::TLS1_3,
    }))?;
    let listed = |chosen: Option<Vec<&'static str>>, all: &[&'static str]| chosen.as_deref().unwrap_or(all).join(":");
    let ciphers = file.ciphers.as_ref().map(|list| list.0.iter().map(|cipher| cipher.0.0).collect());
    context.set_cipher_list(&listed(ciphers, file::Cipher::ALL))?;
    let suites = file.ciphersuites.as_ref().map(|list| list.0.iter().map(|suite| suite.0.0).collect());
    context.set_ciphersuites(&listed(suites, file::Ciphersuite::ALL))?;
    let groups = file.groups.as_ref().map(|list| list.0.iter().map(|group| group.0.0).collect());
    context.set_groups_list(&listed(groups, file::Group::ALL))?;
    // Tickets keep a session's state with the client: nothing is kept here, and nothing can be filled up.
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    // One for each connection, enough to make the next one short, which gets a new one.
    context.set_num_tickets(1)?;
    let offered: &'static [u8] = if file.http2 { b"\x02h2\x08http/1.1" } else { b"\x08http/1.1" };
    // A client that offers protocols but none of ours meant another server (RFC 7301 section 3.2).
    context.set_alpn_select_callback(move |_, wanted| select_next_proto(offered, wanted).ok_or(AlpnError::ALERT_FATAL));
    Ok(context)
}

fn staple(context: &mut SslContextBuilder, certificates: &[&Certified]) -> Result<(), ErrorStack> {
    let stapled = certificates.iter().filter_map(|one| Some((one.chain.clone(), one.ocsp.clone()?)));
    let stapled: Vec<(Vec<X509>, Staple)> = stapled.collect();
    if stapled.is_empty() {
        return Ok(());
    }
    context.set_status_callback(move |ssl| {
        let is_shown = |certificate: &X509Ref| ssl.certificate().is_some_and(|shown| shown == certificate);
        let of_shown = stapled.iter().find(|(chain, _)| is_shown(&chain[0]));
        match of_shown.and_then(|(chain, staple)| staple.fresh(chain)) {
            Some(response) => ssl.set_ocsp_status(response).map(|()| true),
            None => Ok(false),
        }
    })
}

/// Returns an id that binds sessions to their settings: another listener, certificate or client certificate setting
/// does not accept them.
fn session_id_context(listener: usize, certificates: &[&Certified], clients: &Clients) -> Result<[u8; 32], ErrorStack> {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new().chain_update(listener.to_le_bytes()).chain_update(clients.fingerprint);
    for certificate in certificates {
        hash.update(certificate.chain[0].digest(MessageDigest::sha256())?);
    }
    Ok(hash.finalize().into())
}
