//! The certificate authorities that are trusted for a target.

use std::sync::Arc;

use openssl::x509::X509;

/// The trusted certificates.
pub(crate) enum Trust {
    /// Those that these CAs vouch for.
    Authorities(Arc<[X509]>),
    /// The same, and each of these itself too: the file names them one by one.
    Named(Arc<[X509]>),
    /// Any certificate.
    Anybody,
}
