//! The context that a connection begins with, and the switch to that of the requested name.

use std::sync::Arc;

use openssl::{
    error::ErrorStack,
    ssl::{ClientHelloResponse, SslAlert, SslContext, SslRef, SslVerifyMode},
};

use super::{
    context::base,
    ffi::{self, TicketKeys},
    names::{Name, Names},
    observer::{HandshakeObserver, observer},
};
use crate::{config::file, router::host_key};

/// Returns the context that a connection begins with. The name in the client's first message chooses the context of the
/// name, before OpenSSL looks for a session to resume.
///
/// Sessions are sealed and opened with the key of this context, also after the switch. It comes with the number of that
/// key.
pub(super) fn entry(
    file: &file::Tls,
    names: &Arc<Names>,
    tickets: &TicketKeys,
) -> Result<(u64, SslContext), ErrorStack> {
    let mut context = base(file)?;
    let key = tickets.apply(&mut context)?;
    // A session of no name: replaced with the context.
    context.set_session_id_context(b"entry")?;
    let names = names.clone();
    context.set_client_hello_callback(move |ssl, alert| match choose(&names, ssl) {
        Ok(()) => Ok(ClientHelloResponse::SUCCESS),
        Err(why) => {
            *alert = why;
            Err(ErrorStack::get())
        }
    });
    Ok((key, context.build()))
}

/// Reads a client's first message and switches to the context of the requested name.
fn choose(names: &Names, ssl: &mut SslRef) -> Result<(), SslAlert> {
    let observer = observer(ssl).cloned().ok_or(SslAlert::INTERNAL_ERROR)?;
    let asked = match ffi::server_name_extension(ssl) {
        Some(extension) => Some(server_name(extension).ok_or(SslAlert::DECODE_ERROR)?),
        None => None,
    };
    let name = names.requested(asked.as_deref()).cloned();
    observer.note_name(asked, name.clone());
    let name = name.ok_or(SslAlert::UNRECOGNIZED_NAME)?;
    take(&name, ssl, observer).map_err(|_| SslAlert::INTERNAL_ERROR)
}

/// Returns the one host name of the extension (RFC 6066 section 3), in lower case. An address should not be there; it
/// is looked up like a name.
pub(super) fn server_name(extension: &[u8]) -> Option<Box<str>> {
    let (length, list) = extension.split_first_chunk::<2>()?;
    let (kind, rest) = list.split_first()?;
    let (name_length, name) = rest.split_first_chunk::<2>()?;
    let is_whole = usize::from(u16::from_be_bytes(*length)) == list.len()
        && *kind == 0
        && usize::from(u16::from_be_bytes(*name_length)) == name.len();
    let name = is_whole.then(|| host_key(name)).flatten()?;
    Some(name.into())
}

/// Switches a connection to this name. OpenSSL takes certificates, CAs and the session id from the new context, and
/// leaves two things on the connection as they were: the request for a certificate and the options.
fn take(name: &Arc<Name>, ssl: &mut SslRef, observer: Arc<HandshakeObserver>) -> Result<(), ErrorStack> {
    ssl.set_ssl_context(&name.context)?;
    if name.clients.trust.is_none() {
        return Ok(());
    }
    ffi::refuse_tickets(ssl);
    ssl.set_num_tickets(0)?;
    let mode = match name.clients.auth {
        file::ClientAuth::Required => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
        _ => SslVerifyMode::PEER,
    };
    let clients = name.clients.clone();
    ssl.set_verify_callback(mode, move |is_good, chain| observer.judge(&clients, is_good, chain));
    Ok(())
}
