//! What OpenSSL can do and its Rust crate does not show: four calls, each behind a safe function.

use std::{
    ffi::{c_long, c_uint, c_void},
    ptr, slice,
};

use foreign_types::ForeignTypeRef;
use openssl::{
    error::ErrorStack,
    ssl::{SslContextBuilder, SslRef},
    x509::X509Ref,
};
use zeroize::Zeroize;

/// `server_name` (RFC 6066 section 3).
const EXTENSION_SERVER_NAME: c_uint = 0;
/// `SSL_CTRL_SET_TLSEXT_TICKET_KEYS` of OpenSSL's ssl.h.
const CTRL_SET_TICKET_KEYS: i32 = 59;
/// `SSL_OP_NO_TICKET` of OpenSSL's ssl.h.
const OP_NO_TICKET: u64 = 1 << 14;

unsafe extern "C" {
    /// Of OpenSSL 1.1.0 and later.
    fn SSL_set_options(ssl: *mut openssl_sys::SSL, options: u64) -> u64;
}

/// The keys that session tickets are sealed with: name, MAC and cipher. One set for the life of the process, so that a
/// reload does not make every client begin anew.
pub struct TicketKeys([u8; 80]);

impl TicketKeys {
    /// New ones, out of OpenSSL's random numbers.
    ///
    /// # Errors
    /// There are none to be had.
    pub fn random() -> Result<Self, ErrorStack> {
        let mut keys = [0; 80];
        openssl::rand::rand_priv_bytes(&mut keys)?;
        Ok(Self(keys))
    }

    /// Has the sessions of a context sealed with these.
    pub(super) fn apply(&self, context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
        let mut keys = self.0;
        // SAFETY: the context is alive, and OpenSSL copies as many bytes as it is told there are.
        let outcome = unsafe {
            let length = c_long::try_from(keys.len()).expect("eighty");
            openssl_sys::SSL_CTX_ctrl(context.as_ptr(), CTRL_SET_TICKET_KEYS, length, keys.as_mut_ptr().cast())
        };
        keys.zeroize();
        if outcome == 1 { Ok(()) } else { Err(ErrorStack::get()) }
    }
}

impl Drop for TicketKeys {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Adds a certificate that leads from the one which was set last to its CA. The crate's own call adds it for every
/// certificate of the context, and an RSA chain would be sent after an ECDSA certificate.
pub(super) fn add_to_chain(context: &mut SslContextBuilder, certificate: &X509Ref) -> Result<(), ErrorStack> {
    const COUNTED: c_long = 1;
    // SAFETY: both are alive, and with `COUNTED` OpenSSL takes a reference of its own.
    let outcome = unsafe {
        let certificate = certificate.as_ptr().cast::<c_void>();
        openssl_sys::SSL_CTX_ctrl(context.as_ptr(), openssl_sys::SSL_CTRL_CHAIN_CERT, COUNTED, certificate)
    };
    if outcome == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// The extension `server_name` as the client sent it. Only while its first message is looked at.
pub(super) fn server_name_extension(ssl: &SslRef) -> Option<&[u8]> {
    let (mut start, mut length) = (ptr::null(), 0);
    // SAFETY: OpenSSL gives nothing unless a client's first message is being looked at, and else a pointer into that
    // message, which lives as long as the look does; the borrow of `ssl` ends before it.
    unsafe {
        let found = openssl_sys::SSL_client_hello_get0_ext(
            ssl.as_ptr(),
            EXTENSION_SERVER_NAME,
            &raw mut start,
            &raw mut length,
        );
        (found == 1 && !start.is_null()).then(|| slice::from_raw_parts(start, length))
    }
}

/// Has this connection neither give nor take session tickets.
pub(super) fn refuse_tickets(ssl: &mut SslRef) {
    // SAFETY: the connection is alive, and the call sets bits of it.
    unsafe { SSL_set_options(ssl.as_ptr(), OP_NO_TICKET) };
}
