//! Functions of OpenSSL that its Rust crate does not expose: five calls, each behind a safe function.
//!
//! # Unsafe
//! Every call gets pointers that are valid as long as the borrow they were taken from, and OpenSSL copies or counts
//! what it keeps. A call that the crate comes to expose is to be removed from here.

use std::{
    ffi::{c_long, c_uint, c_void},
    ptr, slice,
    time::{Duration, Instant},
};

use foreign_types::ForeignTypeRef;
use openssl::{
    error::ErrorStack,
    ssl::{SslContextBuilder, SslOptions, SslRef},
    x509::{X509Ref, X509StoreContextRef},
};
use parking_lot::Mutex;
use zeroize::Zeroize;

/// `server_name` (RFC 6066 section 3).
const EXTENSION_SERVER_NAME: c_uint = 0;
/// `SSL_CTRL_SET_TLSEXT_TICKET_KEYS` of OpenSSL's ssl.h.
const CTRL_SET_TICKET_KEYS: i32 = 59;
/// The time that a key seals sessions, in hours. OpenSSL resumes no session that is older than two.
const TICKET_KEY_HOURS: u64 = 12;

unsafe extern "C" {
    // In all versions from OpenSSL 1.1.0 on.
    fn SSL_set_options(ssl: *mut openssl_sys::SSL, options: u64) -> u64;
    fn X509_STORE_CTX_get0_untrusted(context: *const openssl_sys::X509_STORE_CTX) -> *mut openssl_sys::stack_st_X509;
}

/// The key that session tickets are sealed with. It outlives reloads, so that a reload does not force full handshakes,
/// and is replaced after [`TICKET_KEY_HOURS`], because with a stolen key the TLS 1.2 traffic of the sessions that it
/// sealed can be read (RFC 5077 section 5.6). After a replacement each client makes one full handshake.
pub(crate) struct TicketKeys(Mutex<Sealing>);

struct Sealing {
    /// Name, MAC key and cipher key.
    key: [u8; 80],
    number: u64,
    since: Instant,
}

impl TicketKeys {
    /// Returns keys from OpenSSL's random numbers.
    ///
    /// # Errors
    /// There are no random numbers.
    pub(crate) fn random() -> Result<Self, ErrorStack> {
        Ok(Self(Mutex::new(Sealing { key: random()?, number: 0, since: Instant::now() })))
    }

    /// Returns the number of the current key. One that is too old is replaced first.
    pub(super) fn number(&self, now: Instant) -> u64 {
        const PERIOD: Duration = Duration::from_secs(TICKET_KEY_HOURS * 60 * 60);
        let mut sealing = self.0.lock();
        // Without random numbers the old key stays: handshakes would not work either.
        if now.saturating_duration_since(sealing.since) >= PERIOD
            && let Ok(key) = random()
        {
            *sealing = Sealing { key, number: sealing.number + 1, since: now };
        }
        sealing.number
    }

    /// Makes a context seal sessions with the current key, and returns its number.
    pub(super) fn apply(&self, context: &mut SslContextBuilder) -> Result<u64, ErrorStack> {
        let mut sealing = self.0.lock();
        // SAFETY: the context is alive, and OpenSSL copies from the key after it has checked that the length is its
        // own.
        let outcome = unsafe {
            let length = c_long::try_from(sealing.key.len()).expect("eighty");
            openssl_sys::SSL_CTX_ctrl(context.as_ptr(), CTRL_SET_TICKET_KEYS, length, sealing.key.as_mut_ptr().cast())
        };
        if outcome == 1 { Ok(sealing.number) } else { Err(ErrorStack::get()) }
    }
}

fn random() -> Result<[u8; 80], ErrorStack> {
    let mut key = [0; 80];
    openssl::rand::rand_priv_bytes(&mut key)?;
    Ok(key)
}

impl Drop for Sealing {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// Adds an intermediate of the certificate that was set last. The crate's own call adds it to every certificate of the
/// context, and an RSA chain would be sent after an ECDSA certificate.
pub(super) fn add_to_chain(context: &mut SslContextBuilder, certificate: &X509Ref) -> Result<(), ErrorStack> {
    const COUNTED: c_long = 1;
    // SAFETY: both are alive, and with `COUNTED` OpenSSL takes a reference of its own.
    let outcome = unsafe {
        let certificate = certificate.as_ptr().cast::<c_void>();
        openssl_sys::SSL_CTX_ctrl(context.as_ptr(), openssl_sys::SSL_CTRL_CHAIN_CERT, COUNTED, certificate)
    };
    if outcome == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// Returns how many certificates a client has sent along with its own.
pub(super) fn sent_along(chain: &X509StoreContextRef) -> usize {
    // SAFETY: the context is alive, and with it the list that it was given, which may be null: OpenSSL returns -1 then.
    let count = unsafe { openssl_sys::OPENSSL_sk_num(X509_STORE_CTX_get0_untrusted(chain.as_ptr()).cast()) };
    // The client's own is in the list.
    usize::try_from(count).unwrap_or(0).saturating_sub(1)
}

/// Returns the extension `server_name` as the client sent it. Works only while its first message is processed.
pub(super) fn server_name_extension(ssl: &SslRef) -> Option<&[u8]> {
    let (mut start, mut length) = (ptr::null(), 0);
    // SAFETY: OpenSSL returns something only within the callback for a client's first message (it discards the message
    // right after it), and there a pointer into the message's buffer. That changes when the connection is read from,
    // which takes `ssl` mutably: not while the borrow lasts.
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

/// Makes this connection neither issue nor accept session tickets.
pub(super) fn refuse_tickets(ssl: &mut SslRef) {
    // SAFETY: the connection is alive, and the call sets flags of it.
    unsafe { SSL_set_options(ssl.as_ptr(), SslOptions::NO_TICKET.bits()) };
}
