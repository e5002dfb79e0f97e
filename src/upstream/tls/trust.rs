use std::sync::Arc;

use openssl::x509::X509;

/// Who is believed.
pub enum Trust {
    /// Whom these authorities vouch for.
    Authorities(Arc<[X509]>),
    /// The same, and each of them by itself too: the file names them one by one.
    Named(Arc<[X509]>),
    /// Anybody.
    Anybody,
}
