//! Why OpenSSL gave up a connection to an upstream, in words.
//!
//! Of most errors nothing is left but a text, in which OpenSSL's own errors stand as `error:0A00010B:SSL routines:...`:
//! Pingora keeps none that it meets in a handshake, and `h2` none at all. The text is taken from places alone where
//! nothing of a request can be, and no more of it is told than a reason that OpenSSL has.

use std::io;

use pingora::{Error, ErrorType};

/// Returns the message of OpenSSL. `None`: the error is not one of TLS.
pub(super) fn reason(error: &Error) -> Option<String> {
    let root = error.root_cause();
    let io = root.downcast_ref::<io::Error>().or_else(|| root.downcast_ref::<h2::Error>()?.get_io());
    let text = match io.and_then(io::Error::get_ref) {
        Some(inner) => inner.to_string(),
        None if is_of_handshake(error) => error.context.as_ref()?.as_str().to_owned(),
        None => return None,
    };
    let (number, words) = first(&text)?;
    // Once a connection stands, its end is no fault of TLS.
    let is_end = number == UNEXPECTED_EOF && !is_of_handshake(error);
    (!is_end).then(|| said(number, words))
}

/// Returns whether the error is one of a handshake. Pingora's context contains OpenSSL's errors then, and the name in
/// the certificate that the file asks for. It says `InvalidCert` of whatever went wrong after a certificate that it did
/// not verify itself.
fn is_of_handshake(error: &Error) -> bool {
    matches!(error.etype(), ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert)
}

/// The number and the words of the first error of the TLS library, which began the others; where there is none, of the
/// first of another library, without the number.
fn first(text: &str) -> Option<(u32, &str)> {
    // A reason may end in the word too: `decrypt error:`.
    let errors = text.match_indices(MARK).filter_map(|(at, _)| {
        let mut parts = text[at + MARK.len()..].split(':');
        let code = u32::from_str_radix(parts.next()?, 16).ok()?;
        // Library, function, reason.
        let words = parts.nth(2)?;
        let is_plain = words.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" ()/_-".contains(&byte));
        let is_of_tls = (code >> LIBRARY_AT) & 0xff == TLS_LIBRARY;
        is_plain.then_some((if is_of_tls { code & REASON } else { 0 }, words))
    });
    let errors: Vec<_> = errors.collect();
    errors.iter().find(|(number, _)| *number > 0).or(errors.first()).copied()
}

/// The beginning of each of its errors.
const MARK: &str = "error:";
/// The position of the library in the code of an error (err.h of OpenSSL 3).
const LIBRARY_AT: u32 = 23;
const TLS_LIBRARY: u32 = 20;
const REASON: u32 = 0x7f_ffff;
const UNEXPECTED_EOF: u32 = 294;
/// An alert of the other side is this and its number (RFC 8446 section 6).
const ALERTS: u32 = 1000;

/// Returns the text for a reason. The numbers are those of OpenSSL's sslerr.h, which are part of its interface.
fn said(reason: u32, words: &str) -> String {
    match reason {
        // WRONG_VERSION_NUMBER, HTTP_REQUEST
        267 | 156 => format!("the upstream speaks no TLS ({words})"),
        // UNSUPPORTED_PROTOCOL, protocol_version
        258 | 1070 => format!("there is no version of TLS that both speak ({words})"),
        // bad_certificate to certificate_unknown
        1042..=1046 => format!("the upstream did not take the gateway's certificate, or wants one ({words})"),
        // unknown_ca, access_denied, decrypt_error
        1048 | 1049 | 1051 => format!("the upstream did not take the gateway's certificate ({words})"),
        // certificate_required
        1116 => format!("the upstream wants a certificate of the gateway ({words})"),
        alert if alert >= ALERTS => format!("the upstream refused ({words})"),
        _ => words.to_owned(),
    }
}

#[cfg(test)]
mod tests;
